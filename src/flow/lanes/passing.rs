//! Events that were handed over without a lane, to a handler that takes them as they come and answers in that order.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::broker::{Delivery, Token};
use crate::event::Event;

/// Those that were not answered, the oldest first.
#[derive(Default)]
pub struct Passing {
    runs: VecDeque<Run>,
    bytes: usize,
}

/// Some that were handed over together.
struct Run {
    events: Arc<[Event]>,
    slots: Vec<Slot>,
    /// So many of them are answered.
    answered: usize,
    bytes: usize,
}

/// One delivery without its event.
#[derive(Clone, Copy)]
pub struct Slot {
    pub token: Token,
    /// What the broker counted.
    pub base: Option<u32>,
    /// How many were received before it.
    pub seq: u64,
    /// No longer ours: its end settles nothing.
    pub lost: bool,
}

impl Passing {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Of runs that are not answered to their end: until then their events are in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is still ours.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        let slots = self.runs.iter().flat_map(|run| &run.slots[run.answered..]);
        slots.filter(|slot| !slot.lost).map(|slot| slot.token)
    }

    /// Hands these over, each with its place among all that were received.
    pub fn begin(&mut self, deliveries: Vec<(Delivery, u64)>) -> Arc<[Event]> {
        let mut slots = Vec::with_capacity(deliveries.len());
        let mut bytes = 0;
        let events: Arc<[Event]> = deliveries
            .into_iter()
            .map(|(Delivery { event, token, attempt }, seq)| {
                slots.push(Slot { token, base: attempt, seq, lost: false });
                bytes += event.size();
                event
            })
            .collect();
        self.bytes += bytes;
        self.runs.push_back(Run { events: events.clone(), slots, answered: 0, bytes });
        events
    }

    /// So many more, the oldest, were answered.
    pub fn answered(&mut self, mut count: usize, mut each: impl FnMut(Slot, &Event)) {
        while let Some(run) = self.runs.front_mut() {
            let to = run.slots.len().min(run.answered + count);
            count -= to - run.answered;
            for at in run.answered..to {
                each(run.slots[at], &run.events[at]);
            }
            run.answered = to;
            if to < run.slots.len() {
                break;
            }
            self.bytes -= run.bytes;
            self.runs.pop_front();
        }
    }

    /// These are no longer ours; answers how many of them had been handed over.
    pub fn lose(&mut self, tokens: &HashSet<Token>) -> usize {
        let slots = self.runs.iter_mut().flat_map(|run| &mut run.slots[run.answered..]);
        let lost = slots.filter(|slot| !slot.lost && tokens.contains(&slot.token));
        lost.map(|slot| slot.lost = true).count()
    }
}
