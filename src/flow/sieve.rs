//! Which of the events that were read are wanted: those in the range of time that pass the filters.

use super::filter::{Filter, Tally, Verdict};
use crate::event::{Event, Events};
use crate::settings::point::Range;

/// The range and the filters of a command.
pub struct Sieve {
    filter: Filter,
    range: Range,
    seen: u64,
}

impl Sieve {
    /// Of these filters, and of the times in this range.
    pub fn new(filter: Filter, range: Range) -> Sieve {
        Sieve { filter, range, seen: 0 }
    }

    /// Whether any filter was given.
    pub fn filters(&self) -> bool {
        !self.filter.is_empty()
    }

    /// Whether results are printed instead of events.
    pub fn selects(&self) -> bool {
        self.filter.has_selection()
    }

    /// Events in the range so far, before the filters.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What the filters did so far.
    pub fn tally(&self) -> &Tally {
        self.filter.tally()
    }

    /// The events that are wanted. Errors: a filter took too long for the third time.
    pub async fn sift(&mut self, mut events: Events) -> anyhow::Result<Events> {
        if self.range.from.is_some() || self.range.to.is_some() {
            // Without a time it is in no range of times, and left out by none.
            events.retain(|event| event.timestamp().is_none_or(|at| self.range.holds(at)));
        }
        self.seen += events.len() as u64;
        if self.filter.is_empty() || events.is_empty() {
            return Ok(events);
        }
        let mut verdicts = self.filter.judge(&events, None).await?.into_iter();
        events.retain(|_| verdicts.next() == Some(Verdict::Keep));
        Ok(events)
    }

    /// The results of `--select` for each event.
    pub async fn select(&mut self, events: &[Event]) -> anyhow::Result<Vec<Vec<String>>> {
        self.filter.select(events, None).await
    }
}
