//! One partition on its way from a start to a stop.

use crate::event::{Name, Position};

/// One partition that is read.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its topic.
    pub topic: Name,
    /// Its number.
    pub partition: i32,
    /// The next offset: nothing before it is still to come.
    pub next: i64,
    /// Not this one.
    pub stop: Option<i64>,
    /// The last stable offset as it was last heard of.
    pub end: i64,
    /// Not returned, and not fetched beyond what had been.
    pub held: bool,
    /// What the library does about it.
    pub fetch: Fetch,
}

/// What the library does about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// It was never told of it.
    Never,
    /// It fetches.
    On,
    /// It was told to wait.
    Paused,
}

impl Lane {
    /// From an offset on.
    pub fn new(topic: Name, partition: i32, next: i64, stop: Option<i64>, end: i64) -> Lane {
        Lane { topic, partition, next, stop, end, held: false, fetch: Fetch::Never }
    }

    /// Whether the stop is reached.
    pub fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// Whether nothing more is known to be there.
    pub fn is_at_end(&self) -> bool {
        self.is_done() || self.next >= self.end
    }

    /// An offset of it.
    pub fn position(&self, offset: i64) -> Position {
        Position::At { partition: self.partition, offset }
    }

    /// As errors name it.
    pub fn subject(&self) -> String {
        format!("topic {} partition {}", self.topic, self.partition)
    }

    /// Takes note of an event that came; whether it is wanted.
    pub fn pass(&mut self, offset: i64) -> bool {
        let wanted = offset >= self.next && self.stop.is_none_or(|stop| offset < stop);
        // One beyond the stop says that there is a gap before it.
        self.next = self.next.max(if wanted { offset + 1 } else { offset });
        wanted
    }

    /// Takes note that there is nothing before this offset: what was there are the ends of transactions and what
    /// compaction took.
    pub fn pass_gap(&mut self, offset: i64) {
        self.next = self.next.max(offset);
        self.end = self.end.max(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_is_reached_by_its_last_event_or_past_a_gap() {
        let lane = |stop| Lane::new("t".into(), 0, 5, Some(stop), stop);
        let mut by_event = lane(7);
        assert!(by_event.pass(5) && !by_event.is_done() && by_event.pass(6) && by_event.is_done());
        let mut by_a_later_one = lane(7);
        assert!(!by_a_later_one.pass(9) && by_a_later_one.is_done(), "one behind the stop is not wanted");
        let mut by_the_end = lane(7);
        by_the_end.pass_gap(7);
        assert!(by_the_end.is_done());
        assert!(lane(5).is_done() && lane(4).is_done(), "an end before the start is the end");
    }

    #[test]
    fn what_was_passed_does_not_come_again() {
        let mut lane = Lane::new("t".into(), 0, 5, None, 10);
        assert!(lane.pass(5) && !lane.pass(5) && !lane.pass(4) && lane.pass(8) && lane.next == 9);
    }
}
