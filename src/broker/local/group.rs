//! Groups: made, told of, moved and deleted.

use super::worker::Worker;
use crate::broker::{Error, GroupInfo, Kind, Result, Source, Start};

fn unsupported(operation: &'static str) -> Error {
    Error::new(Kind::Unsupported, operation, "local", "groups are not in this build")
}

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(_worker: &Worker, _topics: &str) -> Result<Vec<GroupInfo>> {
    Err(unsupported("groups"))
}

/// See [`Broker::create_group`](crate::broker::Broker::create_group).
pub async fn create(
    _worker: &Worker,
    _source: &Source,
    _from: &Start,
    _dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    Err(unsupported("create_group"))
}

/// See [`Broker::seek_group`](crate::broker::Broker::seek_group).
pub async fn seek(_worker: &Worker, _topic: &str, _group: &str, _to: &Start) -> Result<()> {
    Err(unsupported("seek_group"))
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group).
pub async fn delete(_worker: &Worker, _topic: &str, _group: &str) -> Result<()> {
    Err(unsupported("delete_group"))
}
