//! Groups, tried over several members and a clock that the test moves.

mod groups;
mod letters;
mod model;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::block::Blocks;
use super::file::{Bell, Durability, Place, Store};
use super::letters_work::LettersWork;
use super::log;
use super::loot::{Loot, Slot};
use super::settle::{Answer, Item, settle};
use super::shared_work::SharedWork;
use super::work::{Claimed, Work};
use super::worker::Worker;
use crate::broker::{Kind, Settlement, Stop, SubscribeOptions, Token};
use crate::event::{Batch, Event, HeadersBuf, Millis, Name, Position};

/// A file of its own and a clock.
struct Rig {
    place: Arc<Place>,
    clock: Arc<AtomicI64>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(1_000_000));
        let read = clock.clone();
        let place =
            Arc::new(Place::new(dir.path().join("local.db"), Arc::new(move || read.load(Ordering::Relaxed))));
        Rig { store: Store::open(&place, "open").unwrap(), place, clock, _dir: dir }
    }

    /// With a group on a topic, from its beginning.
    fn with_group(topic: &str, group: &str) -> Rig {
        let rig = Rig::new();
        rig.make_group(topic, group);
        rig
    }

    fn make_group(&self, topic: &str, group: &str) {
        self.write(|sql| {
            let topic = log::make_topic(sql, topic)?;
            super::frontier::insert(sql, topic.id, group, 0, None)
        });
    }

    fn write<T>(&self, work: impl FnOnce(&rusqlite::Connection) -> super::fault::Result<T>) -> T {
        self.store.write(Durability::Process, Bell::Ring, work).unwrap()
    }

    fn pass(&self, ms: Millis) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// Each event is `key payload`, in a block of its own; an empty key is none.
    fn publish(&self, topic: &str, events: &[(&str, &str)]) {
        for (key, payload) in events {
            let event = event(topic, key, payload, &[]);
            let mut blocks = Blocks::default();
            blocks.push(&event, self.store.now());
            self.write(|sql| {
                let topic = log::make_topic(sql, topic)?;
                log::append(sql, &topic, &blocks.finish(), self.store.now())
            });
        }
    }

    fn end(&self, topic: &str) -> i64 {
        let topic = log::topic(self.store.sql(), topic).unwrap().unwrap();
        log::end(self.store.sql(), &topic).unwrap().next
    }

    fn count(&self, what: &str) -> i64 {
        self.store.sql().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
    }

    fn worker(&self) -> Worker {
        Worker::new(self.place.clone())
    }

    fn member(&self, topics: &[&str], group: &str) -> Seat {
        self.seat(topics, group, options())
    }

    fn seat(&self, topics: &[&str], group: &str, options: SubscribeOptions) -> Seat {
        let store = Store::open(&self.place, "open").unwrap();
        let topics: Vec<Name> = topics.iter().map(|topic| (*topic).into()).collect();
        let work = store.write(Durability::Process, Bell::Silent, |sql| {
            SharedWork::join(&store, sql, &topics, &group.into(), &options)
        });
        Seat { work: Box::new(work.unwrap()), store }
    }

    fn letters(&self, dlq: &str, chosen: Option<&[i64]>) -> Seat {
        let store = Store::open(&self.place, "open").unwrap();
        let chosen: Option<Vec<_>> =
            chosen.map(|offsets| offsets.iter().map(|o| Position::Offset(*o)).collect());
        let work = store.write(Durability::Process, Bell::Silent, |sql| {
            let options = SubscribeOptions { stop: Stop::Now, ..options() };
            LettersWork::join(&store, sql, &dlq.into(), chosen.as_deref(), &options)
        });
        Seat { work: Box::new(work.unwrap()), store }
    }
}

fn options() -> SubscribeOptions {
    SubscribeOptions {
        stop: Stop::Never,
        in_flight: 100,
        lease: Duration::from_secs(30),
        grace: Duration::ZERO,
        ordered: true,
    }
}

fn event(topic: &str, key: &str, payload: &str, headers: &[(&str, &str)]) -> Event {
    let mut packed = HeadersBuf::default();
    headers.iter().for_each(|(name, value)| packed.push_str(name, value));
    let mut batch = Batch::default();
    let key = (!key.is_empty()).then_some(key.as_bytes());
    let (topic, payload) = (Name::from(topic), Some(payload.as_bytes()));
    batch.push(&topic, key, packed.as_headers(), payload, Some(5), Position::Unknown);
    batch.finish()[0].clone()
}

/// A member with its own store and no thread: dropping it is what `kill -9` does.
struct Seat {
    work: Box<dyn Work>,
    store: Store,
}

/// What a member was handed.
#[derive(Clone, Debug)]
struct Got {
    slot: Slot,
    event: Event,
    attempt: u32,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8(self.event.payload().unwrap().to_vec()).unwrap()
    }
}

fn texts(got: &[Got]) -> Vec<String> {
    got.iter().map(Got::text).collect()
}

impl Seat {
    fn claim(&mut self, want: usize) -> super::fault::Result<(Vec<usize>, Vec<Got>, Claimed)> {
        let mut loot = Loot::default();
        let work = &mut *self.work;
        let (lost, claimed) = self.store.write(Durability::Process, Bell::Silent, |sql| {
            let lost = work.keep(&self.store, sql, false)?;
            Ok((lost, work.claim(&self.store, sql, want, &mut loot)?))
        })?;
        let got = loot.finish().map(|(event, slot, attempt)| Got { event, slot, attempt }).collect();
        Ok((lost, got, claimed))
    }

    fn take(&mut self, want: usize) -> Vec<Got> {
        let (lost, got, _) = self.claim(want).unwrap();
        assert!(lost.is_empty(), "nobody took over");
        got
    }

    fn take_texts(&mut self, want: usize) -> Vec<String> {
        texts(&self.take(want))
    }

    fn is_exhausted(&mut self) -> bool {
        let (_, got, claimed) = self.claim(1000).unwrap();
        assert!(got.is_empty());
        claimed.exhausted
    }

    fn settle_all(&mut self, items: &[(&Got, Settlement)]) -> Vec<Answer> {
        let items: Vec<Item> = items
            .iter()
            .map(|(got, settlement)| Item {
                token: Token(0),
                slot: Some(got.slot),
                settlement: settlement.clone(),
            })
            .collect();
        let work = &mut *self.work;
        self.store
            .write(Durability::Process, Bell::Ring, |sql| settle(&self.store, sql, work, &items))
            .unwrap()
    }

    /// Whether it was still ours.
    fn settle(&mut self, got: &Got, settlement: Settlement) -> bool {
        match self.settle_all(&[(got, settlement)]).remove(0) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), Kind::Lost, "{error}");
                false
            }
        }
    }

    fn ack(&mut self, all: &[Got]) {
        for got in all {
            assert!(self.settle(got, Settlement::Ack), "{got:?}");
        }
    }

    fn leave(mut self, untried: &[Got]) {
        let untried: Vec<Slot> = untried.iter().map(|got| got.slot).collect();
        let work = &mut *self.work;
        self.store
            .write(Durability::Power, Bell::Ring, |sql| work.leave(&self.store, sql, &untried))
            .unwrap();
    }
}

fn move_to(event: Event, only: Option<&str>) -> Settlement {
    Settlement::Move { event: Box::new(event), only: only.map(Into::into) }
}
