//! What is in hand and not in a lane, by unit: a first event and those that wait behind it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Instant;

use super::{Ordering, Task};
use crate::broker::{ByToken, Delivery, Mixed, Token};
use crate::event::Event;

/// One delivery.
pub struct Item {
    pub event: Event,
    pub token: Token,
    /// What the broker counted.
    pub base: Option<u32>,
    /// Tries that ended since it was handed out.
    pub tries: u32,
    pub task: Task,
    /// How many were received before it.
    pub seq: u64,
    age: Age,
}

/// Whether it still shares the buffer of its batch.
#[derive(Clone, Copy, PartialEq)]
enum Age {
    New,
    SeenOnce,
    Detached,
}

impl Item {
    pub fn new(delivery: Delivery, task: Task, seq: u64) -> Item {
        let Delivery { event, token, attempt } = delivery;
        Item { event, token, base: attempt, tries: 0, task, seq, age: Age::New }
    }

    /// The number of the try that comes next, or runs.
    pub fn attempt(&self) -> u32 {
        self.base.unwrap_or(1).max(1).saturating_add(self.tries)
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum State {
    /// Its first event may begin.
    Ready,
    /// Its first event is in a lane, or its dead letter is being stored: it is no longer here.
    Running,
    /// Its first event failed and waits until then.
    Waiting(Instant),
}

struct Unit {
    state: State,
    // Most units hold one event: it is kept outside the queue, which then never allocates.
    first: Option<Item>,
    later: VecDeque<Item>,
}

/// Units are named by a hash, so that a key is not copied: two keys with the same hash wait for each other, which costs
/// time and breaks nothing.
pub struct Units {
    ordering: Ordering,
    units: HashMap<u64, Unit, BuildHasherDefault<Mixed>>,
    by_token: ByToken<u64>,
    bytes: usize,
}

impl Units {
    pub fn new(ordering: Ordering) -> Units {
        Units { ordering, units: HashMap::default(), by_token: ByToken::default(), bytes: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.by_token.keys().copied()
    }

    /// Puts it behind those of its unit. Answers the unit if its turn has come.
    pub fn add(&mut self, item: Item) -> Option<u64> {
        let name = self.name(&item);
        self.bytes += item.event.size();
        self.by_token.insert(item.token, name);
        let unit = self.units.entry(name).or_insert_with(|| Unit {
            state: State::Ready,
            first: None,
            later: VecDeque::new(),
        });
        if unit.first.is_none() && unit.state == State::Ready {
            unit.first = Some(item);
            return Some(name);
        }
        unit.later.push_back(item);
        None
    }

    /// The first event of a unit whose turn it is, if it is still the one received as `seq`.
    pub fn ready(&self, name: u64, seq: u64) -> Option<&Item> {
        let unit = self.units.get(&name)?;
        unit.first.as_ref().filter(|item| unit.state == State::Ready && item.seq == seq)
    }

    /// Takes the first event into a lane.
    pub fn begin(&mut self, name: u64) -> Option<Item> {
        let unit = self.units.get_mut(&name)?;
        let item = unit.first.take()?;
        unit.state = State::Running;
        self.forget(&item);
        Some(item)
    }

    /// The event in the lane failed: it is the first again and waits.
    pub fn wait(&mut self, name: u64, item: Item, until: Instant) {
        let Some(unit) = self.units.get_mut(&name) else { return };
        self.bytes += item.event.size();
        self.by_token.insert(item.token, name);
        unit.first = Some(item);
        unit.state = State::Waiting(until);
    }

    /// The wait until `at` is over. Answers when its first event was received.
    pub fn end_wait(&mut self, name: u64, at: Instant) -> Option<u64> {
        let unit = self.units.get_mut(&name).filter(|unit| unit.state == State::Waiting(at))?;
        unit.state = State::Ready;
        unit.first.as_ref().map(|item| item.seq)
    }

    /// The event in the lane is out of hand. Answers when the next one was received, if there is one.
    pub fn advance(&mut self, name: u64) -> Option<u64> {
        let unit = self.units.get_mut(&name)?;
        unit.state = State::Ready;
        unit.first = unit.later.pop_front();
        let next = unit.first.as_ref().map(|item| item.seq);
        if next.is_none() {
            self.units.remove(&name);
        }
        next
    }

    /// Takes one event out, wherever it waits. Answers also the unit and its new first event if their turn has come.
    pub fn take(&mut self, token: Token) -> Option<(Item, Option<(u64, u64)>)> {
        let name = *self.by_token.get(&token)?;
        let unit = self.units.get_mut(&name)?;
        if unit.first.as_ref().is_some_and(|item| item.token == token) {
            let item = unit.first.take()?;
            self.forget(&item);
            return Some((item, self.advance(name).map(|seq| (seq, name))));
        }
        let at = unit.later.iter().position(|item| item.token == token)?;
        let item = unit.later.remove(at)?;
        self.forget(&item);
        Some((item, None))
    }

    /// Takes out all of a unit, in order.
    pub fn remove(&mut self, name: u64) -> Vec<Item> {
        let Some(unit) = self.units.remove(&name) else { return Vec::new() };
        let items: Vec<_> = unit.first.into_iter().chain(unit.later).collect();
        items.iter().for_each(|item| self.forget(item));
        items
    }

    /// Takes out all units that are not running, in the order received.
    pub fn remove_unstarted(&mut self) -> Vec<Item> {
        let unstarted = self.units.iter().filter(|(_, unit)| unit.state != State::Running);
        let names: Vec<_> = unstarted.map(|(name, _)| *name).collect();
        let mut items: Vec<_> = names.into_iter().flat_map(|name| self.remove(name)).collect();
        items.sort_by_key(|item| item.seq);
        items
    }

    /// Copies out of its batch what was here at the last call already.
    pub fn detach_old(&mut self) {
        for unit in self.units.values_mut() {
            for item in unit.first.iter_mut().chain(&mut unit.later) {
                item.age = match item.age {
                    Age::New => Age::SeenOnce,
                    Age::SeenOnce => {
                        item.event = item.event.detach();
                        Age::Detached
                    }
                    Age::Detached => Age::Detached,
                };
            }
        }
    }

    fn forget(&mut self, item: &Item) {
        self.by_token.remove(&item.token);
        self.bytes -= item.event.size();
    }

    /// What its unit is called.
    pub fn name(&self, item: &Item) -> u64 {
        let mut hasher = DefaultHasher::new();
        match (self.ordering, item.event.key()) {
            (Ordering::Key, Some(key)) => (item.event.topic(), key).hash(&mut hasher),
            (Ordering::Key | Ordering::None, _) => item.seq.hash(&mut hasher),
            (Ordering::Partition, _) => {
                (item.event.topic(), item.event.position().partition()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}
