//! The embedded broker: one SQLite file, no server.

use std::sync::Arc;
use std::time::Duration;

use super::{Broker, Capabilities, Error, Kind, Location, Order, Result, Surroundings};

/// The keys of `-X`.
pub const OPTIONS: &[(&str, &str)] = &[];

/// What it can do, the same for every topic.
pub fn capabilities(_topic: &str) -> Capabilities {
    let for_ever = Some(Duration::from_secs(3650 * 24 * 3600));
    Capabilities {
        read_history: true,
        read_by_time: true,
        read_by_position: true,
        read_last: true,
        peek: true,
        order: Order::AnyMembers,
        counts_attempts: true,
        atomic_move: true,
        atomic_replay: true,
        publish_delay: None,
        retry_delay: for_ever,
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: true,
        set_timestamp: true,
        partitions: false,
        create_topics: true,
        dedup: true,
        seek_group: true,
        address_group: true,
        lag: true,
        read_creates: false,
        max_event: Some(1 << 30),
        max_headers: None,
    }
}

/// Made from its URL.
pub fn open(_location: &Location, _surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    Err(Error::new(Kind::Unsupported, "open", "local", "not built yet"))
}

/// SQLite and its version.
pub fn client() -> String {
    format!("SQLite {}", rusqlite::version())
}
