//! Looking: no ack, no commit, no membership, and no method that could.

use async_trait::async_trait;

use super::Result;
use crate::event::{Events, Millis, Name, Position};

/// Reads history, then what arrives.
#[async_trait]
pub trait Reader: Send {
    /// What comes next. Behaviour: cancel safe; returns as soon as there is one event, never an empty batch.
    async fn next(&mut self) -> Result<Read>;

    /// The start as fixed positions of every partition, resolved before opening returned: what is read first lies at
    /// or after them, so that [`Start::At`] of them begins at the same place. [`Position::Unknown`] where the broker
    /// does not read by position.
    fn start(&self) -> &[(Name, Position)];

    /// The stop as fixed positions: a checkpoint holds them, so that a rerun has the same end. Without a stop, the end
    /// as it was at opening.
    fn end(&self) -> &[(Name, Position)];

    /// Events before the stop, if known; too high where offsets have gaps.
    fn left(&self) -> Option<u64>;

    /// Stops returning exactly these partitions until called again: a merge by time then needs bounded memory. A
    /// partition of `None` is all of that topic.
    fn hold(&mut self, partitions: &[(Name, Option<i32>)]);

    /// Removes what looking needed.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// What [`Reader::next`] says.
#[derive(Debug)]
pub enum Read {
    /// At least one, in order within a partition.
    Events(Events),
    /// What existed when this was asked has been returned. Said once per catching up.
    CaughtUp,
    /// The stop is reached. Kafka: position >= end, never "offset + 1": markers and compaction leave gaps.
    End,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Exact names; globs were resolved before.
    pub topics: Vec<Name>,
    /// This partition alone.
    pub partition: Option<i32>,
    /// Where to begin.
    pub start: Start,
    /// Where to end.
    pub stop: Stop,
    /// Dead letters less those settled (local, Kafka); claims nothing. Requires `peek`.
    pub unsettled: bool,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The oldest kept.
    Earliest,
    /// What comes after now.
    Latest,
    /// The newest N over all topics given, merged by time; not N per partition.
    Last(u64),
    /// Per partition the first event at or after; the flow drops earlier ones that follow it (Kafka, RabbitMQ chunks).
    Time(Millis),
    /// At these, inclusive. Partitions not named are not read. This is how a reader goes on: a checkpoint holds
    /// [`Reader::start`] at first, and then the place behind each event that was passed.
    At(Vec<(Name, Position)>),
    /// Behind these, exclusive: places of events that were seen, never [`Reader::start`], whose event would be left
    /// out. Partitions not named are not read.
    After(Vec<(Name, Position)>),
}

/// Where to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// Go on with what arrives.
    Never,
    /// The end as it is now. Kafka: last stable offset. Queues: as many messages as are there now.
    Now,
    /// Before these.
    At(Vec<(Name, Position)>),
}
