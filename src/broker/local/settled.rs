//! Which dead letters are settled: ranges of offsets per dead-letter topic, neighbours merged.
//!
//! A frontier with open rows, as groups have it, would jam on a run that leaves more than a window of letters; ranges
//! do not grow with what is left. A row is `topic << 40 | first offset` and a length.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Result;
use super::log::{MAX_OFFSET, offset_of, row_id};

/// The settled offsets of a topic within `within`, ascending, none empty, no two touching.
pub(super) fn ranges(sql: &Connection, topic: i64, within: Range<i64>) -> Result<Vec<Range<i64>>> {
    // The range that begins before `within` may reach into it.
    let from = covering(sql, topic, within.start)?.map_or(within.start, |range| range.start);
    let mut select =
        sql.prepare_cached("SELECT id, n FROM settled WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let end = within.end.min(MAX_OFFSET);
    let rows = select.query_map([row_id(topic, from), row_id(topic, end)], |row| {
        let range = range_of(row)?;
        Ok(range.start.max(within.start)..range.end.min(end))
    })?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

/// The settled range that holds this offset.
pub(super) fn covering(sql: &Connection, topic: i64, offset: i64) -> Result<Option<Range<i64>>> {
    Ok(last_at_or_before(sql, topic, offset)?.filter(|range| range.contains(&offset)))
}

/// Adds one offset, inside a write transaction. One that is settled already stays so.
pub(super) fn add(sql: &Connection, topic: i64, offset: i64) -> Result<()> {
    let (mut first, mut n) = (offset, 1);
    if let Some(before) = last_at_or_before(sql, topic, offset)? {
        if before.contains(&offset) {
            return Ok(());
        }
        if before.end == offset {
            first = before.start;
            n += before.end - before.start;
        }
    }
    let after: Option<i64> = sql
        .prepare_cached("DELETE FROM settled WHERE id = ?1 RETURNING n")?
        .query_row([row_id(topic, offset + 1)], |row| row.get(0))
        .optional()?;
    sql.prepare_cached("INSERT OR REPLACE INTO settled(id, n) VALUES(?1, ?2)")?
        .execute([row_id(topic, first), n + after.unwrap_or(0)])?;
    Ok(())
}

/// Forgets what lies below the first kept offset, inside the write transaction of retention.
pub(super) fn expire(sql: &Connection, topic: i64, first: i64) -> Result<()> {
    let rest = covering(sql, topic, first)?;
    sql.prepare_cached("DELETE FROM settled WHERE id >= ?1 AND id < ?2")?
        .execute([row_id(topic, 0), row_id(topic, first)])?;
    if let Some(rest) = rest {
        sql.prepare_cached("INSERT OR REPLACE INTO settled(id, n) VALUES(?1, ?2)")?
            .execute([row_id(topic, first), rest.end - first])?;
    }
    Ok(())
}

fn last_at_or_before(sql: &Connection, topic: i64, offset: i64) -> Result<Option<Range<i64>>> {
    Ok(sql
        .prepare_cached("SELECT id, n FROM settled WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1")?
        .query_row([row_id(topic, 0), row_id(topic, offset)], range_of)
        .optional()?)
}

fn range_of(row: &Row) -> rusqlite::Result<Range<i64>> {
    let first = offset_of(row.get(0)?);
    Ok(first..first + row.get::<_, i64>(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Connection {
        let sql = Connection::open_in_memory().unwrap();
        sql.execute_batch("CREATE TABLE settled(id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT").unwrap();
        sql
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_they_stand_for(
            offsets in prop::collection::vec(0i64..60, 0..80), first in 0i64..60, from in 0i64..60, len in 0i64..60,
        ) {
            let sql = table();
            let mut model = std::collections::BTreeSet::new();
            for &offset in &offsets {
                add(&sql, 7, offset).unwrap();
                add(&sql, 8, offset / 2).unwrap(); // a neighbour in the table that must not be touched
                model.insert(offset);
            }
            let all = ranges(&sql, 7, 0..MAX_OFFSET).unwrap();
            prop_assert_eq!(all.iter().cloned().flatten().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start), "neighbours are merged: {all:?}");

            let part = ranges(&sql, 7, from..from + len).unwrap();
            let expected: Vec<_> = model.range(from..from + len).copied().collect();
            prop_assert_eq!(part.into_iter().flatten().collect::<Vec<_>>(), expected);

            expire(&sql, 7, first).unwrap();
            let left: Vec<_> = model.range(first..).copied().collect();
            prop_assert_eq!(ranges(&sql, 7, 0..MAX_OFFSET).unwrap().into_iter().flatten().collect::<Vec<_>>(), left);
            let other: std::collections::BTreeSet<_> = offsets.iter().map(|offset| offset / 2).collect();
            let kept = ranges(&sql, 8, 0..MAX_OFFSET).unwrap();
            prop_assert_eq!(kept.into_iter().flatten().collect::<Vec<_>>(), other.into_iter().collect::<Vec<_>>());
        }
    }
}
