//! What a broker can do, as plain facts, and the one function that refuses what it cannot.

use std::time::Duration;

/// Which events of one key stay in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// None.
    #[default]
    None,
    /// Those of a group with one member.
    OneMember,
    /// All, over all members of a group.
    AnyMembers,
}

/// What can be asked of a topic. Known even for a backend that is not compiled in.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Events stay and can be read again.
    pub read_history: bool,
    /// From a point in time.
    pub read_by_time: bool,
    /// From a position.
    pub read_by_position: bool,
    /// The last N.
    pub read_last: bool,
    /// Looking takes nothing from anybody. False on SQS, RabbitMQ queues, Pub/Sub subscriptions.
    pub peek: bool,
    /// Order per key.
    pub order: Order,
    /// The broker counts deliveries, so attempts survive a crash.
    pub counts_attempts: bool,
    /// Store and ack are one step.
    pub atomic_move: bool,
    /// The same when dead letters are put back.
    pub atomic_replay: bool,
    /// Longest delay of a publish.
    pub publish_delay: Option<Duration>,
    /// Longest delay of a retry.
    pub retry_delay: Option<Duration>,
    /// An event has a key.
    pub key: bool,
    /// An event has headers.
    pub headers: bool,
    /// A header name may stand twice.
    pub duplicate_headers: bool,
    /// A header may have no value.
    pub null_headers: bool,
    /// A payload may be null.
    pub tombstone: bool,
    /// The publisher sets the timestamp.
    pub set_timestamp: bool,
    /// A topic has partitions, and one can be chosen.
    pub partitions: bool,
    /// Topics can be made.
    pub create_topics: bool,
    /// An id seen before is recognised.
    pub dedup: bool,
    /// A group can be moved.
    pub seek_group: bool,
    /// An event can be sent to one group alone.
    pub address_group: bool,
    /// The broker itself puts back all of a queue of dead letters.
    pub native_replay: bool,
    /// The lag of a group can be told.
    pub lag: bool,
    /// Looking makes a temporary queue or subscription (RabbitMQ, AWS, Pub/Sub): refused under `read_only`.
    pub read_creates: bool,
    /// Largest event, in bytes.
    pub max_event: Option<u64>,
    /// Most headers of an event.
    pub max_headers: Option<u32>,
}

/// One row of the README's matrix, and one thing the guard can refuse.
#[derive(Debug)]
pub struct Ability {
    /// As the matrix and a refusal call it.
    pub name: &'static str,
    /// Whether it is there.
    pub has: fn(&Capabilities) -> bool,
}

/// Every ability that a flag can need, in the order of the matrix.
pub mod abilities {
    use super::{Ability, Order};

    macro_rules! abilities {
        ($($(#[$doc:meta])* $constant:ident: $name:literal = $has:expr;)*) => {
            $($(#[$doc])* pub const $constant: Ability = Ability { name: $name, has: $has };)*
            /// All of them.
            pub const ALL: &[&Ability] = &[$(&$constant),*];
        };
    }

    abilities! {
        /// `tail` without a queue in between.
        PEEK: "look without taking" = |c| c.peek;
        /// `replay`, `tail -n`.
        HISTORY: "read history" = |c| c.read_history;
        /// `--since 10m`.
        BY_TIME: "read from a time" = |c| c.read_by_time;
        /// `--from 123`.
        BY_POSITION: "read from a position" = |c| c.read_by_position;
        /// `-n 10`.
        LAST: "read the last N" = |c| c.read_last;
        /// `--key`.
        KEY: "keys" = |c| c.key;
        /// `-H`.
        HEADERS: "headers" = |c| c.headers;
        /// `-H a=1 -H a=2`.
        DUPLICATE_HEADERS: "the same header twice" = |c| c.duplicate_headers;
        /// A header without a value.
        NULL_HEADERS: "headers without a value" = |c| c.null_headers;
        /// `--tombstone`.
        TOMBSTONE: "tombstones" = |c| c.tombstone;
        /// `--timestamp`.
        TIMESTAMP: "timestamps set by the publisher" = |c| c.set_timestamp;
        /// `--partition`.
        PARTITIONS: "partitions" = |c| c.partitions;
        /// `publish --delay`.
        DELAY: "delayed publish" = |c| c.publish_delay.is_some();
        /// `topics create --dedup`.
        DEDUP: "dedup by event id" = |c| c.dedup;
        /// `--ordering key`, one member.
        ORDER: "order per key, one member" = |c| c.order >= Order::OneMember;
        /// `--ordering key`, many members.
        ORDER_MEMBERS: "order per key, over members" = |c| c.order >= Order::AnyMembers;
        /// Attempts survive a crash.
        ATTEMPTS: "counts deliveries" = |c| c.counts_attempts;
        /// The broker holds a retry back.
        RETRY_DELAY: "delayed retry" = |c| c.retry_delay.is_some();
        /// Dead-lettering in one step.
        ATOMIC_MOVE: "dead-letters in one step" = |c| c.atomic_move;
        /// `dlq replay`, exactly once.
        ATOMIC_REPLAY: "puts back exactly once" = |c| c.atomic_replay;
        /// `dlq replay` to the failed group only.
        ADDRESS_GROUP: "delivers to one group alone" = |c| c.address_group;
        /// `dlq replay --native`.
        NATIVE: "redrives a queue by itself" = |c| c.native_replay;
        /// `topics create`.
        CREATE_TOPICS: "makes topics" = |c| c.create_topics;
        /// `groups seek`.
        SEEK: "moves a group" = |c| c.seek_group;
        /// `groups lag`.
        LAG: "tells the lag of a group" = |c| c.lag;
    }
}

/// The first pair of flag and ability that is missing. The guard is this function, called while a command resolves its
/// arguments and before any I/O, and not a wrapper round `Broker`: a wrapper sees options and cannot name the flag.
pub fn missing<'a>(have: &Capabilities, needs: &[(&'a str, &'a Ability)]) -> Option<(&'a str, &'a Ability)> {
    needs.iter().find(|(_flag, ability)| !(ability.has)(have)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_flag_that_cannot_be_served() {
        let have = Capabilities { key: true, ..Default::default() };
        let needs =
            [("--key", &abilities::KEY), ("--since", &abilities::BY_TIME), ("-H", &abilities::HEADERS)];
        assert_eq!(
            missing(&have, &needs).map(|(flag, ability)| (flag, ability.name)),
            Some(("--since", "read from a time"))
        );
        assert!(missing(&have, &needs[..1]).is_none());
    }
}
