//! What a topic no longer keeps.

use std::ops::ControlFlow;

use rusqlite::Connection;

use super::fault::Result;
use super::log::{self, Topic, row_id};
use super::{dedup, settled};
use crate::event::Millis;

/// The most blocks deleted at a time: longer, and everyone waits for the lock.
const STEP: usize = 64;

/// Moves the first offset kept, and deletes some of the blocks before it. Requires a write transaction; every publish to
/// the topic does one step in its own, so that what is deleted keeps up with what is stored.
pub fn step(sql: &Connection, topic: &Topic, now: Millis) -> Result<()> {
    if topic.keep_ms.is_none() && topic.keep_n.is_none() {
        return Ok(());
    }
    let end = log::end(sql, topic)?.next;
    let by_count = topic.keep_n.map_or(topic.first, |n| end.saturating_sub(n));
    let oldest = topic.keep_ms.map(|ms| now.saturating_sub(ms));
    let mut first = topic.first.max(by_count);
    let mut gone = vec![];
    log::scan(sql, topic.id, 0, |block| {
        let last = block.first + block.n;
        // By when it was stored: timestamps set by hand neither keep history nor lose it.
        if last > by_count && oldest.is_none_or(|oldest| block.stored >= oldest) || gone.len() == STEP {
            return Ok(ControlFlow::Break(()));
        }
        if topic.dedup_ms.is_some() {
            dedup::forget(sql, topic, &block)?;
        }
        first = first.max(last);
        gone.push(row_id(topic.id, block.first));
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(last) = gone.last() {
        let mut delete = sql.prepare_cached("DELETE FROM block WHERE id >= ?1 AND id <= ?2")?;
        delete.execute([row_id(topic.id, 0), *last])?;
    }
    if first > topic.first {
        sql.prepare_cached("UPDATE topic SET first=?2 WHERE id=?1")?.execute([topic.id, first])?;
        settled::expire(sql, topic.id, first)?;
    }
    Ok(())
}
