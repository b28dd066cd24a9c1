//! A publisher of one event at a time, on the thread that asks.
//!
//! It has nothing to do while its event is stored, and a thread of its own would cost a good part of the time of a publish
//! of one event. It never waits: where anybody is in the way (another writer, a foreign program), the thread it saved takes
//! over, and can be waited for with patience.

use std::sync::{Mutex, OnceLock};

use super::checkpoint::Keeper;
use super::file::Store;
use super::publish_work::{Call, publish};
use super::publisher::LocalPublisher;
use crate::broker::{Publisher, Receipts};
use crate::event::Events;

/// See [`PublishOptions::in_flight`](crate::broker::PublishOptions): one.
pub struct OneShot {
    /// Until the thread has it.
    store: Mutex<Option<Store>>,
    thread: OnceLock<LocalPublisher>,
}

impl OneShot {
    /// With a store that does not wait.
    pub fn new(store: Store) -> OneShot {
        OneShot { store: Mutex::new(Some(store)), thread: OnceLock::new() }
    }
}

impl Publisher for OneShot {
    fn send(&self, events: Events) -> Receipts {
        let mut slot = self.store.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(store) = slot.take() {
            let place = store.place().clone();
            let mut store = Some(store);
            if let Ok(mut receipts) = publish(&place, &mut store, &mut [Call::of_one(events.clone())]) {
                *slot = store;
                return Box::pin(std::future::ready(receipts.pop().unwrap_or_default()));
            }
            let begin = move || store.filter(|store| store.wait().is_ok());
            match LocalPublisher::start(&place, begin) {
                Ok(thread) => drop(self.thread.set(thread)),
                Err(error) => return Box::pin(std::future::ready(vec![Err(error); events.len()])),
            }
        }
        match self.thread.get() {
            Some(thread) => thread.send(events),
            // It could not be started, which was told.
            None => Box::pin(std::future::ready(vec![])),
        }
    }
}

impl Drop for OneShot {
    /// Keeps the log short where nobody is in the way; else the next one does.
    fn drop(&mut self) {
        let store = self.store.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(store) = store {
            Keeper::new(0).end(store);
        }
    }
}
