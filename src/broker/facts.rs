//! What a broker can tell of its topics and groups without reading the events.

use std::time::Duration;

use crate::event::{Millis, Name, Position};

/// A number of events, and whether the broker knows or estimates it (`~` on screens).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub events: u64,
    /// Known, not estimated.
    pub exact: bool,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` where the broker has none.
    pub partitions: Option<u32>,
    /// Events kept; for a dead-letter topic those that are not settled.
    pub waiting: Option<Count>,
    /// Members that take from it now, where the broker tells. What they hold may not be in `waiting` (RabbitMQ).
    pub takers: Option<u32>,
    /// Ours, made for looking, and left behind if we were killed.
    pub temporary: bool,
    /// `TOPIC/GROUP` whose dead letters these are, where the broker knows.
    pub dead_letters_of: Option<String>,
    /// When the oldest kept event was stored (dead letters: the oldest that waits).
    pub oldest: Option<Millis>,
    /// When the newest was stored.
    pub newest: Option<Millis>,
    /// How long events are kept; `None` is for ever, or nobody knows.
    pub kept_for: Option<Duration>,
    /// Whatever else the broker tells, for `describe`.
    pub details: Vec<(String, String)>,
}

/// One group on one topic.
#[derive(Clone, Debug, Default)]
pub struct GroupInfo {
    /// The topic it reads.
    pub topic: String,
    /// Its name.
    pub group: String,
    /// When the oldest unsettled event was stored, where the broker tells.
    pub oldest: Option<Millis>,
    /// Its dead-letter topic, where the broker remembers which it is (Kafka does not).
    pub dead_letters: Option<String>,
    /// Members at work now; `None` where the broker knows no members (SQS).
    pub members: Option<u32>,
    /// Events published and not settled. An estimate may be off by what was settled out of order, but it is zero only
    /// when nothing is left.
    pub lag: Option<Count>,
    /// Per partition, the position all before which is settled.
    pub settled: Vec<(Name, Position)>,
    /// Per partition, the end of the topic, so that rates can be told.
    pub end: Vec<(Name, Position)>,
    /// The broker's own limit on deliveries (SQS redrive, delivery-limit, MaxDeliver) acts behind the flow's back:
    /// `subscribe` refuses a `--max-attempts` that is not below it.
    pub max_deliveries: Option<u32>,
}
