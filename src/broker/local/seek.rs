//! A point in a topic turned into an offset.

use rusqlite::{Connection, OptionalExtension};

use super::block::Entries;
use super::fault::Result;
use super::log::{self, Topic, row_id};
use crate::event::Millis;

/// The offset of the first event at or after a time; the end where there is none.
///
/// `peak` never falls, so this is a bisection over the rows themselves, exact for any disorder of timestamps: 16 probes
/// in ten million events, and no index.
pub fn time(sql: &Connection, topic: &Topic, at: Millis) -> Result<i64> {
    let end = log::end(sql, topic)?.next;
    // The block that holds the first offset kept may begin before it.
    let first = log::block_of(sql, topic.id, topic.first)?.unwrap_or(row_id(topic.id, topic.first));
    let (mut low, mut high) = (first, row_id(topic.id, end));
    let mut found = None;
    let mut probe =
        sql.prepare_cached("SELECT id, n, peak FROM block WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let row = probe
            .query_row([middle, high], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        match row {
            Some((id, n, peak)) if peak < at => low = id + n,
            Some((id, ..)) => (found, high) = (Some(id), middle),
            None => high = middle,
        }
    }
    let Some(id) = found else { return Ok(end) };
    let first = log::offset_of(id);
    let mut select = sql.prepare_cached("SELECT data FROM block WHERE id=?1")?;
    let within = select.query_row([id], |row| {
        // A damaged block is told of by whoever reads it; the seek goes to its beginning.
        let entries = Entries::open(row.get_ref(0)?.as_blob()?).ok();
        Ok(entries.and_then(|mut entries| entries.position(|e| e.is_ok_and(|e| e.timestamp >= at))))
    })?;
    Ok((first + within.unwrap_or(0) as i64).max(topic.first))
}
