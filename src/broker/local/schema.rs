//! The tables, and how older files get them.

use rusqlite::Connection;

/// `evca`: says that an SQLite file is ours.
pub const APPLICATION: i64 = 0x6576_6361;

/// One entry per version; the file's `user_version` is how many of them it has been through.
pub const STEPS: &[&str] = &[V1];

/// Blocks fill a page of this size, so that a row is a page and bulk writes a third faster than on 4 KiB.
pub const PAGE: u64 = 16_384;

const V1: &str = "
CREATE TABLE topic(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  first INTEGER NOT NULL DEFAULT 0, -- first offset kept
  keep_ms INTEGER, keep_n INTEGER,  -- retention; null: for ever
  dedup_ms INTEGER                  -- null: ids are not looked up
) STRICT;
CREATE TABLE block(
  id INTEGER PRIMARY KEY,  -- topic << 40 | first offset in it
  n INTEGER NOT NULL,      -- events in it, 1 or more
  stored INTEGER NOT NULL, -- when; never falls within a topic
  peak INTEGER NOT NULL,   -- highest timestamp of the topic so far; never falls
  data BLOB NOT NULL       -- see block.rs
) STRICT;
CREATE TABLE grp(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic INTEGER NOT NULL,
  name TEXT NOT NULL,
  next INTEGER NOT NULL,           -- all below has been handed out or parked once
  back INTEGER NOT NULL DEFAULT 0, -- put-backs numbered so far
  dead TEXT,                       -- its dead-letter topic
  UNIQUE(topic, name)
) STRICT;
CREATE TABLE open(
  id INTEGER PRIMARY KEY, -- grp << 41 | lane << 40 | offset; lane 0 is put-backs, 1 the log
  key INTEGER,            -- hash of the event's key; null: no order
  owner INTEGER NOT NULL, -- member; 0: nobody
  attempt INTEGER NOT NULL,
  due INTEGER NOT NULL,   -- not before
  data BLOB               -- put-backs only: a block of one
) STRICT;
CREATE TABLE member(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  grp INTEGER NOT NULL,
  until INTEGER NOT NULL -- end of its lease
) STRICT;
CREATE TABLE seen(
  id INTEGER PRIMARY KEY, -- hash of topic and event id
  seq INTEGER NOT NULL    -- offset of the event
) STRICT;
CREATE TABLE settled(
  id INTEGER PRIMARY KEY, -- dead-letter topic << 40 | first offset
  n INTEGER NOT NULL      -- settled from there on
) STRICT;
";

/// The version of this file.
pub fn version(sql: &Connection) -> rusqlite::Result<i64> {
    sql.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes a file from version `from` through all later steps, in one transaction.
pub fn migrate(sql: &Connection, steps: &[&str], from: i64) -> rusqlite::Result<()> {
    let rest = steps.get(from.max(0) as usize..).unwrap_or_default().concat();
    sql.execute_batch(&format!(
        "BEGIN IMMEDIATE; {rest} PRAGMA application_id={APPLICATION}; PRAGMA user_version={}; COMMIT",
        steps.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_goes_through_the_later_steps_only() {
        let sql = Connection::open_in_memory().unwrap();
        let (one, two) = ("CREATE TABLE a(x);", "ALTER TABLE a ADD COLUMN y DEFAULT 7;");
        migrate(&sql, &[one], 0).unwrap();
        sql.execute("INSERT INTO a VALUES (1)", []).unwrap();
        assert_eq!(version(&sql).unwrap(), 1);
        migrate(&sql, &[one, two], 1).unwrap();
        assert_eq!(version(&sql).unwrap(), 2);
        let row = sql.query_row("SELECT x, y FROM a", [], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)));
        assert_eq!(row.unwrap(), (1, 7), "what was there stays");
    }
}
