//! What the tests of this backend share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::Local;
use super::file::{Place, Store};
use super::worker::Worker;
use crate::broker::{Broker, PublishOptions, Receipt, Result};
use crate::event::{Batch, Event, HeadersBuf, Millis, Position};

/// A broker on a file of its own with a clock that is set by hand.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub place: Arc<Place>,
    pub clock: Arc<AtomicI64>,
    pub broker: Local,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(1_000_000));
        let now = clock.clone();
        let place =
            Arc::new(Place::new(dir.path().join("t.db"), Arc::new(move || now.load(Ordering::Relaxed))));
        let broker = Local { place: place.clone(), worker: Worker::new(place.clone()) };
        Bench { dir, place, clock, broker }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.place, "test").unwrap()
    }

    pub fn set_clock(&self, now: Millis) {
        self.clock.store(now, Ordering::Relaxed);
    }

    /// Sends one batch and waits for its receipts.
    pub async fn publish(&self, events: Vec<Event>) -> Vec<Result<Receipt>> {
        self.broker.publisher(PublishOptions::default()).await.unwrap().send(events.into()).await
    }

    /// Sends events that nobody refuses, and answers where they lie.
    pub async fn offsets(&self, events: Vec<Event>) -> Vec<i64> {
        let receipts = self.publish(events).await;
        receipts.into_iter().map(|receipt| receipt.unwrap().position.offset().unwrap()).collect()
    }
}

/// An event with a payload of its own.
pub fn event(topic: &str, payload: &str, timestamp: Option<Millis>) -> Event {
    full(topic, payload, timestamp, &[])
}

/// An event with an id.
pub fn with_id(topic: &str, payload: &str, id: &str) -> Event {
    full(topic, payload, None, &[("ce_id", id)])
}

/// An event with headers.
pub fn full(topic: &str, payload: &str, timestamp: Option<Millis>, pairs: &[(&str, &str)]) -> Event {
    let mut headers = HeadersBuf::default();
    pairs.iter().for_each(|(name, value)| headers.push_str(name, value));
    let mut batch = Batch::default();
    let payload = Some(payload.as_bytes());
    batch.push(&topic.into(), None, headers.as_headers(), payload, timestamp, Position::Unknown);
    batch.finish()[0].clone()
}

/// The payload as text.
pub fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.payload().unwrap_or_default()).into_owned()
}
