//! Looking: a thread reads ahead, a little; the handle gives out what is not held.

mod lane;
mod map;
mod newest;
mod resolve;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::fault::Result as Done;
use super::file::{Place, Store};
use super::watch::{Knocker, Watch};
use super::{topics, worker};
use crate::broker::{Error, Kind, Read, ReadOptions, Reader, Result, Stop};
use crate::event::{Name, Position};
use lane::{Lane, Rows, Step};
use map::Map;
pub use newest::newest;

/// Batches read ahead.
const AHEAD: usize = 4;

/// See [`Broker::reader`](crate::broker::Broker::reader). The store is one that is open already.
pub async fn open(place: &Arc<Place>, store: Option<Store>, options: ReadOptions) -> Result<Box<dyn Reader>> {
    if options.partition.is_some() {
        let message = "a local topic has no partitions to choose from";
        return Err(
            Error::new(Kind::Unsupported, "reader", "local", message).with_hint("leave --partition out")
        );
    }
    let (answer, answered) = oneshot::channel();
    let patience = place.patience.clone();
    let place = place.clone();
    worker::spawn("reader", move || match begin(&place, store, &options) {
        Ok((work, reader)) => {
            if answer.send(Ok(reader)).is_ok() {
                work.run();
            }
        }
        Err(error) => drop(answer.send(Err(error))),
    })?;
    let reader: LocalReader = patience.answer("reader", answered).await??;
    Ok(Box::new(reader))
}

/// Resolves start and stop, and makes both halves.
fn begin(place: &Arc<Place>, store: Option<Store>, options: &ReadOptions) -> Result<(Work, LocalReader)> {
    // Who waits for what is to come may make the file; who looks at what is there may not.
    let store = match options.stop {
        _ if store.is_some() => store,
        Stop::Never => Some(Store::open(place, "reader")?),
        Stop::Now | Stop::At(_) => Store::open_existing(place, "reader")?,
    };
    let Some(store) = store else {
        let topic = options.topics.first().map_or("", |topic| topic);
        return Err(topics::not_found("reader", topic, &[]));
    };
    let told = |fault| store.explain(fault, "reader");
    // Each page is read once, so few are kept: they stay in the processor's cache, a tenth faster than 8 MiB of them.
    store.sql().execute_batch("PRAGMA cache_size=-256").map_err(|error| told(error.into()))?;
    // Before anything is read, so that nothing that is stored after it is missed.
    let watch = match options.stop {
        Stop::Never => Watch::new(store.side().bell_path()),
        // All it will return is there already; it waits only while it is held.
        Stop::Now | Stop::At(_) => Watch::knocks(),
    };
    let (watch, knocker) = watch.map_err(|error| told(error.into()))?;
    let plan = store.read(|sql| resolve::plan(sql, options)).map_err(told)?;
    let (sender, batches) = mpsc::channel(AHEAD);
    let shared = Arc::new(Shared::default());
    let work = Work {
        store,
        watch,
        map: Map::default(),
        lanes: plan.lanes,
        shared: shared.clone(),
        batches: sender,
    };
    let reader = LocalReader {
        start: plan.start,
        end: plan.end,
        left: plan.left,
        batches,
        parked: VecDeque::new(),
        shared,
        knocker,
        over: None,
    };
    Ok((work, reader))
}

/// What both halves know.
#[derive(Default)]
struct Shared {
    held: Mutex<HashSet<Name>>,
    /// How often it has changed: what was said before is then no longer meant.
    holds: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    fn is_held(&self, topic: &Name) -> bool {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(topic)
    }
}

/// From the thread to the handle.
enum Said {
    /// Of one topic, at least one event.
    Rows(Rows),
    /// With the number of holds it was true for.
    CaughtUp(u64),
    End,
}

/// The half with the store.
struct Work {
    store: Store,
    watch: Watch,
    map: Map,
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    batches: mpsc::Sender<Result<Said>>,
}

impl Work {
    fn run(mut self) {
        let said = match self.read() {
            // The handle is gone.
            Ok(None) => return,
            Ok(Some(said)) => Ok(said),
            Err(fault) => Err(self.store.explain(fault, "read")),
        };
        let _ = self.batches.blocking_send(said);
    }

    /// Until the end, or until nobody listens any more.
    fn read(&mut self) -> Done<Option<Said>> {
        let mut caught_up = None;
        while !self.shared.closed.load(Ordering::Acquire) {
            let holds = self.shared.holds.load(Ordering::Acquire);
            let mut moved = false;
            for lane in &mut self.lanes {
                if lane.is_done() || self.shared.is_held(&lane.name) {
                    continue;
                }
                let Step { batches, moved: on } = lane.step(&self.store)?;
                moved |= on;
                let bytes = batches.iter().map(Rows::size).sum();
                for rows in batches {
                    caught_up = None;
                    if self.batches.blocking_send(Ok(Said::Rows(rows))).is_err() {
                        return Ok(None);
                    }
                }
                self.map.has_read(&self.store, bytes)?;
            }
            if self.lanes.iter().all(Lane::is_done) {
                return Ok(Some(Said::End));
            }
            if moved {
                continue;
            }
            if caught_up != Some(holds) {
                caught_up = Some(holds);
                if self.batches.blocking_send(Ok(Said::CaughtUp(holds))).is_err() {
                    return Ok(None);
                }
            }
            self.watch.wait(None);
            self.store.is_still_there()?;
        }
        Ok(None)
    }
}

/// The half that is awaited.
struct LocalReader {
    start: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
    left: Option<u64>,
    batches: mpsc::Receiver<Result<Said>>,
    /// Of topics that are held: no more than was read ahead.
    parked: VecDeque<Rows>,
    shared: Arc<Shared>,
    knocker: Knocker,
    /// How it ended: `None` is the stop.
    over: Option<Option<Error>>,
}

impl LocalReader {
    fn events(&mut self, rows: Rows) -> Result<Read> {
        let (events, error) = rows.events();
        if let Some(error) = error {
            self.over = Some(Some(error.clone()));
            if events.is_empty() {
                return Err(error);
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(events.len() as u64));
        Ok(Read::Events(events))
    }
}

#[async_trait]
impl Reader for LocalReader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            if let Some(at) = self.parked.iter().position(|rows| !self.shared.is_held(rows.topic()))
                && let Some(rows) = self.parked.remove(at)
            {
                return self.events(rows);
            }
            match &self.over {
                Some(Some(error)) => return Err(error.clone()),
                // What was read ahead is held; only another hold can change that, and it needs this future gone.
                Some(None) if !self.parked.is_empty() => std::future::pending().await,
                Some(None) => return Ok(Read::End),
                None => {}
            }
            match self.batches.recv().await {
                Some(Ok(Said::Rows(rows))) if self.shared.is_held(rows.topic()) => {
                    self.parked.push_back(rows)
                }
                Some(Ok(Said::Rows(rows))) => return self.events(rows),
                Some(Ok(Said::CaughtUp(holds))) if holds == self.shared.holds.load(Ordering::Acquire) => {
                    return Ok(Read::CaughtUp);
                }
                Some(Ok(Said::CaughtUp(_))) => {}
                Some(Ok(Said::End)) => self.over = Some(None),
                Some(Err(error)) => self.over = Some(Some(error)),
                None => self.over = Some(Some(worker::stopped("read"))),
            }
        }
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.start
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        self.left
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        let held = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        *self.shared.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = held;
        self.shared.holds.fetch_add(1, Ordering::AcqRel);
        self.knocker.knock();
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // Looking made nothing; the thread ends by itself.
        Ok(())
    }
}

impl Drop for LocalReader {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.knocker.knock();
    }
}
