//! What the shapes can do, and what they refuse before anything is done.

use std::collections::HashSet;
use std::time::Duration;

use evcat::broker::{Capabilities, Error, Kind, Order, Result, Start};
use evcat::event::{Event, HeaderValue, Position};

/// Like which family it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Kafka: partitions, history, committed offsets; no attempt counts, no delay; takes partitions away after saying so.
    Log,
    /// SQS behind SNS: each delivery has a lease of its own, in no order, and is counted; nothing can be looked at.
    Lease,
    /// SQS FIFO: the same with a key, whose events are held back while one of them is out.
    Fifo,
    /// RabbitMQ: pushes in order; when its channel closes, all that was handed out is void.
    Push,
}

/// The longest delay of a queue with leases.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// The largest event.
const MAX_EVENT: usize = 1 << 20;
/// The partitions of a topic when nobody says how many.
pub const PARTITIONS: usize = 3;

impl Shape {
    /// Whether a name is a queue's own, and not a topic's that groups read.
    pub fn is_queue(self, name: &str) -> bool {
        self != Shape::Log && name.starts_with("queue:")
    }

    /// See [`evcat::broker::Broker::capabilities`].
    pub fn capabilities(self, topic: &str) -> Capabilities {
        let leased = matches!(self, Shape::Lease | Shape::Fifo);
        let common = Capabilities {
            key: true,
            headers: true,
            create_topics: true,
            lag: true,
            max_event: Some(MAX_EVENT as u64),
            ..Capabilities::default()
        };
        match self {
            Shape::Log => Capabilities {
                read_history: true,
                read_by_time: true,
                read_by_position: true,
                read_last: true,
                peek: true,
                order: Order::AnyMembers,
                atomic_replay: true,
                duplicate_headers: true,
                null_headers: true,
                tombstone: true,
                set_timestamp: true,
                partitions: true,
                seek_group: true,
                ..common
            },
            Shape::Lease | Shape::Fifo => Capabilities {
                key: self == Shape::Fifo,
                order: if self == Shape::Fifo { Order::AnyMembers } else { Order::None },
                counts_attempts: leased,
                publish_delay: Some(LONGEST_DELAY),
                retry_delay: Some(LONGEST_DELAY),
                max_headers: Some(10),
                ..common
            },
            Shape::Push => {
                let topic = !self.is_queue(topic);
                Capabilities { peek: topic, read_creates: topic, order: Order::OneMember, ..common }
            }
        }
    }

    /// Refuses a name that this shape cannot have.
    pub fn check_name(self, operation: &'static str, what: &str, name: &str) -> Result<()> {
        let bare = if self.is_queue(name) { &name["queue:".len()..] } else { name };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let (longest, legal) = match self {
            Shape::Log => (249, bare.chars().all(plain) && bare != "." && bare != ".."),
            Shape::Lease | Shape::Fifo => (80, bare.chars().all(plain)),
            Shape::Push => (255, !bare.chars().any(char::is_control)),
        };
        if legal && !bare.is_empty() && bare.len() <= longest {
            return Ok(());
        }
        let rule = match self {
            Shape::Push => "without control characters",
            _ => "of letters, digits, '.', '-' and '_'",
        };
        let message = format!("a name has 1 to {longest} bytes {rule}");
        Err(Error::new(Kind::Invalid, operation, format!("{what} '{}'", name.escape_debug()), message))
    }

    /// Refuses an event that this shape cannot hold.
    pub fn check_event(self, event: &Event) -> Result<()> {
        let have = self.capabilities(event.topic());
        let subject = || format!("topic {}", event.topic());
        let unsupported = |what: &str| {
            Err(Error::new(Kind::Unsupported, "send", subject(), format!("there are no {what} here")))
        };
        let mut names = HashSet::new();
        let twice = event.headers().iter().any(|(name, _)| !names.insert(name));
        let null = event.headers().iter().any(|(_, value)| matches!(value, HeaderValue::Null));
        let missing = [
            (event.key().is_some() && !have.key, "keys"),
            (twice && !have.duplicate_headers, "headers that stand twice"),
            (null && !have.null_headers, "headers without a value"),
            (event.payload().is_none() && !have.tombstone, "tombstones"),
            (event.timestamp().is_some() && !have.set_timestamp, "timestamps of the publisher"),
            (matches!(event.position(), Position::Partition(_)) && !have.partitions, "partitions"),
        ];
        if let Some((_, what)) = missing.iter().find(|(is_missing, _)| *is_missing) {
            return unsupported(what);
        }
        self.check_name("send", "topic", event.topic())?;
        let headers = event.headers().iter().count();
        if have.max_headers.is_some_and(|most| headers > most as usize) {
            let message = format!("an event has {headers} headers, and at most 10 are allowed");
            return Err(Error::new(Kind::Rejected, "send", subject(), message));
        }
        if event.payload().is_some_and(|payload| payload.len() > MAX_EVENT) {
            let message = format!("an event has more than {MAX_EVENT} bytes");
            return Err(Error::new(Kind::Rejected, "send", subject(), message));
        }
        Ok(())
    }

    /// Refuses to begin where this shape has no history to begin in.
    pub fn check_start(self, operation: &'static str, topic: &str, start: &Start) -> Result<()> {
        let have = self.capabilities(topic);
        let (can, what) = match start {
            Start::Latest => (true, ""),
            Start::Earliest => (have.read_history, "the beginning"),
            Start::Last(_) => (have.read_last, "the last events"),
            Start::Time(_) => (have.read_by_time, "a time"),
            Start::At(_) | Start::After(_) => (have.read_by_position, "a position"),
        };
        match can {
            true => Ok(()),
            false => {
                let message = format!("nothing is kept here, so nothing can begin at {what}");
                Err(Error::new(Kind::Unsupported, operation, format!("topic {topic}"), message))
            }
        }
    }

    /// How it names the place of an event. `copy`: which queue's copy of it, where each has a name of its own.
    pub fn position(self, partition: usize, offset: i64, serial: u64, copy: &str) -> Position {
        match self {
            Shape::Log => Position::At { partition: partition as i32, offset },
            Shape::Lease | Shape::Fifo => Position::Id(format!("{serial:08}{copy}").into()),
            Shape::Push => Position::Unknown,
        }
    }
}
