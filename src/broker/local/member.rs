//! Members of a group: joining, the lease, and who is alive.
//!
//! The lease belongs to the member and not to the event: all its events come back together, so an early one is never
//! handed out while a later one of its key is still at work. A killed member is noticed at once, by the lock that died
//! with its process; the lease is the second net, for processes that hang.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::fault::Result;
use super::file::Store;
use super::side::Life;
use crate::event::Millis;

/// Ourselves in a group.
#[derive(Debug)]
pub struct Member {
    /// The owner of our rows in `open`; never used again, so that nobody settles for a successor.
    pub id: i64,
    /// When the lease was last renewed.
    pub renewed: Millis,
    _life: Life,
}

impl Member {
    /// Joins, inside a write transaction.
    pub fn join(store: &Store, sql: &Connection, group: i64, lease: Millis) -> Result<Member> {
        let now = store.now();
        sql.prepare_cached("INSERT INTO member(grp, until) VALUES(?1, ?2)")?
            .execute(params![group, now + lease])?;
        let id = sql.last_insert_rowid();
        // Before the commit that shows the row: from then on somebody may ask whether we live.
        Ok(Member { id, renewed: now, _life: store.live(id)? })
    }

    /// Renews the lease, inside a write transaction. False: the lease ran out and somebody dropped us.
    pub fn renew(&mut self, sql: &Connection, now: Millis, lease: Millis) -> Result<bool> {
        let mut renew = sql.prepare_cached("UPDATE member SET until=?2 WHERE id=?1")?;
        self.renewed = now;
        Ok(renew.execute(params![self.id, now + lease])? == 1)
    }

    /// Leaves, inside a write transaction.
    pub fn leave(&self, sql: &Connection) -> Result<()> {
        sql.prepare_cached("DELETE FROM member WHERE id=?1")?.execute([self.id])?;
        Ok(())
    }
}

/// The members of a group that are alive.
pub fn alive(store: &Store, sql: &Connection, group: i64, now: Millis) -> Result<HashSet<i64>> {
    Ok(members(store, sql, group, now)?.into_iter().filter(|(_, alive)| *alive).map(|(id, _)| id).collect())
}

/// Deletes the members that are not alive, inside a write transaction, and answers the others. Their rows stay as they
/// are: a row whose owner is not alive is free.
pub fn bury(store: &Store, sql: &Connection, group: i64, now: Millis) -> Result<HashSet<i64>> {
    let mut left = HashSet::new();
    for (id, alive) in members(store, sql, group, now)? {
        if alive {
            left.insert(id);
        } else {
            sql.prepare_cached("DELETE FROM member WHERE id=?1")?.execute([id])?;
        }
    }
    Ok(left)
}

fn members(store: &Store, sql: &Connection, group: i64, now: Millis) -> Result<Vec<(i64, bool)>> {
    let mut select = sql.prepare_cached("SELECT id, until FROM member WHERE grp=?1")?;
    let rows = select.query_map([group], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Millis>(1)?)))?;
    let mut all = vec![];
    for row in rows {
        let (id, until) = row?;
        all.push((id, until >= now && store.is_alive(id)));
    }
    Ok(all)
}
