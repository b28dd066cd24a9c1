//! What one group of a topic has not settled yet.

use std::collections::BTreeMap;

use evcat::broker::Token;
use evcat::event::Event;
use tokio::time::Instant;

use super::partitions::Owner;

/// The name of the queue that belongs to no group: a `queue:x`, a dead-letter queue.
pub const OWN: &str = "";
/// What the names of the queues of runs over dead letters begin with; no group's can.
pub const RUN: char = '\0';

/// The unsettled events of a group, by the serial numbers they got when they were published.
#[derive(Default)]
pub struct Queue {
    pub items: BTreeMap<u64, Item>,
    /// The log alone: who works on each partition.
    pub owners: Vec<Owner>,
    /// Where its dead letters go.
    pub dead_letters: Option<String>,
    /// Retention dropped what was not settled.
    pub fell_behind: bool,
}

/// One of them.
#[derive(Clone)]
pub struct Item {
    pub event: Event,
    pub partition: usize,
    pub state: State,
    pub handed_out: u32,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Here, and may be handed out from then on.
    Waiting { from: Instant },
    /// With a member.
    Out { token: Token, member: u64 },
    /// A member does not want it: hidden until it leaves.
    Released { member: u64 },
}

impl Item {
    pub fn new(event: Event, partition: usize, from: Instant) -> Item {
        Item { event, partition, state: State::Waiting { from }, handed_out: 0 }
    }

    /// May be handed out again at once.
    pub fn free(&mut self) {
        self.state = State::Waiting { from: Instant::now() };
    }
}

impl Queue {
    /// Frees what this member released in a partition, or in all of them.
    pub fn free_released(&mut self, member: u64, partition: Option<usize>) {
        for item in self.items.values_mut() {
            if item.state == (State::Released { member }) && partition.is_none_or(|p| p == item.partition) {
                item.free();
            }
        }
    }

    /// The first offset of a partition that is not settled.
    pub fn first_open(&self, partition: usize) -> Option<i64> {
        self.items
            .values()
            .filter(|item| item.partition == partition)
            .find_map(|i| i.event.position().offset())
    }
}

/// Whether a queue is a group's, and not one's own or a run's.
pub fn is_group(name: &str) -> bool {
    name != OWN && !name.starts_with(RUN)
}
