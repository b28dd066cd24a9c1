//! Ids seen before, on topics that ask for it.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension};

use super::block::{Entries, hash};
use super::fault::Result;
use super::log::{self, Stored, Topic};
use crate::event::{Event, Headers, Millis, cloudevents, own};

/// The id an event is known again by. A copy that was put back or replayed has none: it is meant to be there twice.
pub fn id_of(headers: Headers<'_>) -> Option<&str> {
    if headers.is_empty() || headers.last(own::REPLAY_RUN).is_some() {
        return None;
    }
    cloudevents::id(headers)
}

/// Where the event with this id lies, if it was stored within the topic's time.
pub fn find(sql: &Connection, topic: &Topic, id: &str, now: Millis) -> Result<Option<i64>> {
    let mut select = sql.prepare_cached("SELECT seq FROM seen WHERE id=?1")?;
    let Some(offset) = select.query_row([row(topic, id)], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(None);
    };
    let horizon = now.saturating_sub(topic.dedup_ms.unwrap_or(0));
    if offset < topic.first || stored_at(sql, topic, offset)?.is_none_or(|stored| stored < horizon) {
        return Ok(None);
    }
    // A hash alone would lose an event whose id only looks the same.
    let event = log::event_at(sql, topic, offset)?;
    Ok(event.filter(|event: &Event| id_of(event.headers()) == Some(id)).map(|_| offset))
}

/// Remembers where it lies, in place of an older one.
pub fn remember(sql: &Connection, topic: &Topic, id: &str, offset: i64) -> Result<()> {
    let mut insert = sql.prepare_cached("INSERT OR REPLACE INTO seen(id, seq) VALUES(?1, ?2)")?;
    insert.execute([row(topic, id), offset])?;
    Ok(())
}

/// Forgets the ids of a block that is about to be deleted. What cannot be read is left: [`find`] does not take it for a
/// hit.
pub fn forget(sql: &Connection, topic: &Topic, block: &Stored) -> Result<()> {
    let Ok(entries) = Entries::open(block.data) else { return Ok(()) };
    let mut delete = sql.prepare_cached("DELETE FROM seen WHERE id=?1 AND seq=?2")?;
    for (offset, entry) in (block.first..).zip(entries.flatten()) {
        let packed = entry.headers.of(block.data).unwrap_or_default();
        if let Some(id) = id_of(Headers::packed(packed)) {
            delete.execute([row(topic, id), offset])?;
        }
    }
    Ok(())
}

fn stored_at(sql: &Connection, topic: &Topic, offset: i64) -> Result<Option<Millis>> {
    let mut stored = None;
    log::scan(sql, topic.id, offset, |row| {
        stored = (row.first <= offset).then_some(row.stored);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(stored)
}

fn row(topic: &Topic, id: &str) -> i64 {
    hash(&[&topic.id.to_le_bytes()[..], id.as_bytes()].concat())
}
