//! The log of a topic: blocks by offset, its end, and what lies at a place. Everything here runs inside a transaction of
//! the caller.

use std::ops::{ControlFlow, Range};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::block::{Block, Damage, Entries, Entry};
use super::fault::Result;
use crate::broker::{Error, Kind};
use crate::event::{Batch, Event, Headers, Millis, Name, Placed, Position};

/// Bits of an offset in the id of a row.
const BITS: u32 = 40;
/// No offset reaches this.
pub const MAX_OFFSET: i64 = (1 << BITS) - 1;

/// A topic that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Never used again.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// First offset kept.
    pub first: i64,
    /// Retention by age, milliseconds.
    pub keep_ms: Option<i64>,
    /// Retention by count.
    pub keep_n: Option<i64>,
    /// For how long an id is known again, milliseconds.
    pub dedup_ms: Option<i64>,
}

/// The end of a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    /// The offset of the next event.
    pub next: i64,
    /// The highest timestamp so far; the smallest number where there is none.
    pub peak: Millis,
    /// When the last event was stored; 0 where there is none.
    pub stored: Millis,
}

/// The id of a row that begins at this offset.
pub fn row_id(topic: i64, offset: i64) -> i64 {
    topic << BITS | offset
}

/// The offset in the id of a row.
pub fn offset_of(row: i64) -> i64 {
    row & MAX_OFFSET
}

/// The columns of a [`Topic`], for [`topic_of`].
pub const TOPIC: &str = "id, name, first, keep_ms, keep_n, dedup_ms";

/// Reads the columns of [`TOPIC`].
pub fn topic_of(row: &Row) -> rusqlite::Result<Topic> {
    Ok(Topic {
        id: row.get(0)?,
        name: row.get_ref(1)?.as_str()?.into(),
        first: row.get(2)?,
        keep_ms: row.get(3)?,
        keep_n: row.get(4)?,
        dedup_ms: row.get(5)?,
    })
}

/// The topic of that name.
pub fn topic(sql: &Connection, name: &str) -> Result<Option<Topic>> {
    let mut find =
        sql.prepare_cached("SELECT id, name, first, keep_ms, keep_n, dedup_ms FROM topic WHERE name=?1")?;
    Ok(find.query_row([name], topic_of).optional()?)
}

/// The topic of that name, made where there is none. Requires a write transaction and a name that was
/// [checked](super::name::check).
pub fn make_topic(sql: &Connection, name: &str) -> Result<Topic> {
    if let Some(topic) = topic(sql, name)? {
        return Ok(topic);
    }
    sql.prepare_cached("INSERT INTO topic(name) VALUES(?1)")?.execute([name])?;
    let id = sql.last_insert_rowid();
    Ok(Topic { id, name: name.into(), first: 0, keep_ms: None, keep_n: None, dedup_ms: None })
}

/// The end of the topic: its last block knows, so that a publish writes no counter.
pub fn end(sql: &Connection, topic: &Topic) -> Result<End> {
    let mut last = sql.prepare_cached(
        "SELECT id + n - ?1, peak, stored FROM block WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1",
    )?;
    let range = [row_id(topic.id, 0), row_id(topic.id, MAX_OFFSET)];
    let end = last
        .query_row(range, |row| Ok(End { next: row.get(0)?, peak: row.get(1)?, stored: row.get(2)? }))
        .optional()?
        .filter(|end| end.next >= topic.first);
    Ok(end.unwrap_or(End { next: topic.first, peak: Millis::MIN, stored: 0 }))
}

/// Appends blocks and answers the offset of the first event. Requires a write transaction.
pub fn append(sql: &Connection, topic: &Topic, blocks: &[Block], now: Millis) -> Result<i64> {
    let End { mut next, mut peak, stored } = end(sql, topic)?;
    let (first, stored) = (next, now.max(stored));
    let mut insert =
        sql.prepare_cached("INSERT INTO block(id, n, stored, peak, data) VALUES(?1, ?2, ?3, ?4, ?5)")?;
    for block in blocks {
        if next > MAX_OFFSET - block.n {
            let message = "has taken 2^40 events, more than it can count";
            return Err(Error::new(Kind::Full, "send", format!("topic {}", topic.name), message).into());
        }
        peak = peak.max(block.peak);
        insert.execute(params![row_id(topic.id, next), block.n, stored, peak, block.bytes])?;
        next += block.n;
    }
    Ok(first)
}

/// The id of the row that begins at or before this offset.
pub fn block_of(sql: &Connection, topic: i64, offset: i64) -> Result<Option<i64>> {
    let mut find =
        sql.prepare_cached("SELECT id FROM block WHERE id <= ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1")?;
    Ok(find.query_row([row_id(topic, offset), row_id(topic, 0)], |row| row.get(0)).optional()?)
}

/// A row of a topic while it is visited.
pub struct Stored<'a> {
    /// Offset of its first event.
    pub first: i64,
    /// How many it holds.
    pub n: i64,
    /// When it was stored.
    pub stored: Millis,
    /// The block.
    pub data: &'a [u8],
}

/// Visits the rows from the one that holds `offset` on, in order, until `visit` breaks or the topic ends. The first one
/// may begin before `offset`, or after it where something is missing: the caller compares.
pub fn scan(
    sql: &Connection,
    topic: i64,
    offset: i64,
    mut visit: impl FnMut(Stored) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let from = block_of(sql, topic, offset)?.unwrap_or(row_id(topic, offset));
    let mut select =
        sql.prepare_cached("SELECT id, n, stored, data FROM block WHERE id >= ?1 AND id <= ?2 ORDER BY id")?;
    let mut rows = select.query([from, row_id(topic, MAX_OFFSET)])?;
    while let Some(row) = rows.next()? {
        let (first, n) = (offset_of(row.get(0)?), row.get::<_, i64>(1)?);
        if first + n <= offset {
            continue;
        }
        let data = row.get_ref(3)?.as_blob()?;
        if visit(Stored { first, n, stored: row.get(2)?, data })?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The event at this offset, in a buffer of its own; `None` where there is none (any more).
pub fn event_at(sql: &Connection, topic: &Topic, offset: i64) -> Result<Option<Event>> {
    let mut batch = Batch::default();
    scan(sql, topic.id, offset, |row| {
        if row.first <= offset {
            take(&mut batch, topic, &row, offset..offset + 1)?;
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(batch.finish().first().cloned())
}

/// Adds the events of a row whose offsets lie in `range` to a batch. Many cost one copy of the block; few one of their
/// own parts.
pub fn take(batch: &mut Batch, topic: &Topic, row: &Stored, range: Range<i64>) -> Result<()> {
    let entries = Entries::open(row.data).map_err(|damage| damaged(topic, row, damage))?;
    let wanted = range.end.min(row.first + row.n) - range.start.max(row.first);
    let copied = (wanted * 2 > row.n).then(|| batch.copy(row.data));
    for (offset, entry) in (row.first..range.end).zip(entries) {
        let entry = entry.map_err(|damage| damaged(topic, row, damage))?;
        if offset >= range.start {
            push(batch, topic, row.data, copied, entry, offset);
        }
    }
    Ok(())
}

/// Adds one event of a block to a batch; `copied` is where the block lies in the batch, if it does.
#[inline]
pub fn push(batch: &mut Batch, topic: &Topic, data: &[u8], copied: Option<usize>, entry: Entry, offset: i64) {
    if let Some(base) = copied {
        batch.extend_slices(&topic.name, std::iter::once(placed(base, entry, offset)));
    } else {
        let (timestamp, position) = (Some(entry.timestamp), Position::Offset(offset));
        let headers = Headers::packed(entry.headers.of(data).unwrap_or_default());
        batch.push(&topic.name, entry.key.of(data), headers, entry.payload.of(data), timestamp, position);
    }
}

/// An event of a block that lies at `base` in its batch.
#[inline]
pub fn placed(base: usize, entry: Entry, offset: i64) -> Placed {
    let Entry { timestamp, key, headers, payload } = entry;
    let [key, headers, payload] = [key, headers, payload].map(|part| part.behind(base));
    Placed { key, headers, payload, timestamp, position: Position::Offset(offset) }
}

/// A row that cannot be read.
pub fn damaged(topic: &Topic, row: &Stored, damage: Damage) -> Error {
    let (from, to) = (row.first, row.first + row.n);
    broken(topic, format!("the events {from} to {} are damaged: {damage}", to - 1), to)
}

/// Offsets that are not there although nobody deleted them.
pub fn missing(topic: &Topic, from: i64, to: i64) -> Error {
    broken(topic, format!("the events {from} to {} are missing from the file", to - 1), to)
}

fn broken(topic: &Topic, message: String, to: i64) -> Error {
    Error::new(Kind::Broken, "read", format!("topic {}", topic.name), message)
        .with_hint(format!("--from {to} reads on behind them; nothing was changed"))
}
