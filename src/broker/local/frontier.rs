//! The row of a group, and where its open rows lie.
//!
//! A group is a frontier: below `next` an event is settled unless it has a row in `open`, above it is unseen. Settling
//! deletes the row, so what is kept is what is open, however long the topic is.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Result;
use super::log::{self, Topic, offset_of};
use super::topics;
use crate::broker::{Error, Kind};

/// The name of the group that claims dead letters are kept under; nobody can type it.
pub const LETTERS: &str = "";

/// A group as its row says.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Never used again.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The frontier: all below has been handed out or parked once.
    pub next: i64,
    /// Its dead-letter topic.
    pub dead: Option<String>,
}

/// Where the rows of a group lie in `open`: `group << 41 | lane << 40 | number`. Put-backs are lane 0 and so come before
/// the log, lane 1, whose number is the offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slots(i64);

impl Slots {
    /// Those of the group with this id.
    pub fn of(group: i64) -> Slots {
        Slots(group << 41)
    }

    /// All rows.
    pub fn all(self) -> Range<i64> {
        self.0..self.0 + (2 << 40)
    }

    /// The rows of put-backs.
    pub fn put_backs(self) -> Range<i64> {
        self.0..self.0 + (1 << 40)
    }

    /// The rows of events of the topic.
    pub fn log(self) -> Range<i64> {
        self.0 + (1 << 40)..self.0 + (2 << 40)
    }

    /// The row of the event at this offset.
    pub fn at(self, offset: i64) -> i64 {
        self.log().start + offset
    }

    /// What a row is of.
    pub fn place(self, row: i64) -> Place {
        let number = offset_of(row);
        if self.log().contains(&row) { Place::Log(number) } else { Place::PutBack(number) }
    }
}

/// What an open row is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// The event at this offset of the topic.
    Log(i64),
    /// An event that was put back to this group alone, by its number.
    PutBack(i64),
}

/// The group of that name on a topic.
pub fn find(sql: &Connection, topic: i64, name: &str) -> Result<Option<Group>> {
    let mut find = sql.prepare_cached("SELECT id, name, next, dead FROM grp WHERE topic=?1 AND name=?2")?;
    Ok(find.query_row(params![topic, name], group_of).optional()?)
}

/// The group of that name, or an error that says what to do.
pub fn need(sql: &Connection, topic: &str, name: &str, operation: &'static str) -> Result<(Topic, Group)> {
    let topic = match log::topic(sql, topic)? {
        Some(topic) => topic,
        None => return Err(topics::not_found(operation, topic, &topics::names(sql)?).into()),
    };
    match find(sql, topic.id, name)? {
        Some(group) => Ok((topic, group)),
        None => {
            let subject = format!("group {name} on {}", topic.name);
            Err(Error::new(Kind::NotFound, operation, subject, "does not exist")
                .with_hint(format!(
                    "evcat groups list; to make it: evcat groups create {name} {}",
                    topic.name
                ))
                .into())
        }
    }
}

/// Makes a group that begins at `next`, inside a write transaction, and answers its id.
pub fn insert(sql: &Connection, topic: i64, name: &str, next: i64, dead: Option<&str>) -> Result<i64> {
    sql.prepare_cached("INSERT INTO grp(topic, name, next, dead) VALUES(?1, ?2, ?3, ?4)")?
        .execute(params![topic, name, next, dead])?;
    Ok(sql.last_insert_rowid())
}

/// The groups of a topic, by name.
pub fn of_topic(sql: &Connection, topic: i64) -> Result<Vec<Group>> {
    let mut select =
        sql.prepare_cached("SELECT id, name, next, dead FROM grp WHERE topic=?1 AND name<>'' ORDER BY name")?;
    let groups = select.query_map([topic], group_of)?.collect::<rusqlite::Result<_>>()?;
    Ok(groups)
}

/// The ids of the groups of a topic, with the one that cannot be named.
pub fn all_of_topic(sql: &Connection, topic: i64) -> Result<Vec<i64>> {
    let mut select = sql.prepare_cached("SELECT id FROM grp WHERE topic=?1")?;
    let ids = select.query_map([topic], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// Deletes the rows of a group and of its members, inside a write transaction.
pub fn remove(sql: &Connection, group: i64) -> Result<()> {
    let all = Slots::of(group).all();
    sql.prepare_cached("DELETE FROM open WHERE id >= ?1 AND id < ?2")?.execute([all.start, all.end])?;
    sql.prepare_cached("DELETE FROM member WHERE grp=?1")?.execute([group])?;
    sql.prepare_cached("DELETE FROM grp WHERE id=?1")?.execute([group])?;
    Ok(())
}

fn group_of(row: &rusqlite::Row) -> rusqlite::Result<Group> {
    Ok(Group { id: row.get(0)?, name: row.get(1)?, next: row.get(2)?, dead: row.get(3)? })
}
