//! What a member may take, and taking it: the open rows of its group first, then the log from the frontier on.
//!
//! An event is handed out when nobody alive owns it, its time has come, and every earlier open event of its key is ours.
//! So events of one key may go to one member together (its lanes keep them in order), never to two.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, params};

use super::block::{self, Entries};
use super::fault::{Fault, Result};
use super::frontier::{Place, Slots};
use super::log::{self, Topic};
use super::loot::Loot;
use crate::broker::{Error, Kind};
use crate::event::Millis;

/// The most rows a group may have open. A key that is stuck and goes on arriving fills it and then stops the group.
pub const WINDOW: usize = 10_000;

/// For whom, and how far.
pub struct Scope<'a> {
    /// The rows of the group.
    pub slots: Slots,
    /// The member that takes.
    pub me: i64,
    /// Members that are alive, with us.
    pub alive: &'a HashSet<i64>,
    /// Rows that we gave back for good.
    pub released: &'a HashSet<i64>,
    /// Whether keys hold their later events back.
    pub ordered: bool,
    /// The offset to end before.
    pub stop: i64,
    /// The time.
    pub now: Millis,
    /// The most to take, 1 or more.
    pub want: usize,
}

/// Who has a key, as far as its open events were seen; the greater wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    /// Nobody else.
    #[default]
    Ours,
    /// Another member, or a time that has not come.
    Waits,
    /// An event that we gave back for good: nothing behind it will be ours.
    GivenUp,
}

/// What there is to take among the open rows.
#[derive(Debug, Default)]
pub struct Plan {
    /// Row, and which attempt this hand-out is.
    pub take: Vec<(i64, i64)>,
    /// The earliest time at which another row may be taken.
    pub due: Option<Millis>,
    /// Some row may yet become ours: its owner, its key or its time stands in the way.
    pub unfinished: bool,
    open: usize,
    keys: HashMap<i64, Hold>,
}

impl Plan {
    /// Looks, and changes nothing.
    pub fn look(sql: &Connection, scope: &Scope) -> Result<Plan> {
        let mut plan = Plan::default();
        if scope.ordered {
            plan.foresee(sql, scope)?;
        }
        let all = scope.slots.all();
        let mut select = sql.prepare_cached(
            "SELECT id, key, owner, attempt, due FROM open WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )?;
        let mut rows = select.query([all.start, all.end.min(scope.slots.at(scope.stop))])?;
        while plan.take.len() < scope.want
            && let Some(row) = rows.next()?
        {
            plan.open += 1;
            let (id, key, owner, attempt, due): (i64, Option<i64>, i64, i64, Millis) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            let key = key.filter(|_| scope.ordered);
            let before = key.and_then(|key| plan.keys.get(&key).copied()).unwrap_or_default();
            let hold = if owner != 0 && scope.alive.contains(&owner) {
                if owner == scope.me { before } else { before.max(Hold::Waits) }
            } else if scope.released.contains(&id) {
                Hold::GivenUp
            } else if before == Hold::Ours && due <= scope.now {
                plan.take.push((id, attempt + 1));
                Hold::Ours
            } else {
                if due > scope.now {
                    plan.due = Some(plan.due.map_or(due, |earliest| earliest.min(due)));
                }
                plan.unfinished |= before != Hold::GivenUp;
                before.max(Hold::Waits)
            };
            if let Some(key) = key {
                plan.keys.insert(key, hold);
            }
        }
        Ok(plan)
    }

    /// A put-back stands before the log although later events of its key may be at work with others: those hold it too.
    fn foresee(&mut self, sql: &Connection, scope: &Scope) -> Result<()> {
        let (put_backs, log) = (scope.slots.put_backs(), scope.slots.log());
        let mut any = sql.prepare_cached("SELECT EXISTS(SELECT 1 FROM open WHERE id >= ?1 AND id < ?2)")?;
        if !any.query_row([put_backs.start, put_backs.end], |row| row.get::<_, bool>(0))? {
            return Ok(());
        }
        let mut select = sql.prepare_cached(
            "SELECT key, owner FROM open WHERE id >= ?1 AND id < ?2 AND owner NOT IN (0, ?3) AND key IS NOT NULL",
        )?;
        let mut rows = select.query([log.start, log.end, scope.me])?;
        while let Some(row) = rows.next()? {
            if scope.alive.contains(&row.get(1)?) {
                self.keys.insert(row.get(0)?, Hold::Waits);
            }
        }
        Ok(())
    }

    /// Room for unseen events: there is some left of what was wanted, and of the window.
    pub fn has_room(&self, scope: &Scope) -> bool {
        self.take.len() < scope.want && self.open < WINDOW
    }
}

/// Carries the plan out and goes on with the log from `next`, inside a write transaction. Answers the new `next`.
///
/// Fails with `Gone` where retention has removed what was to be handed out: never a silent jump.
pub fn take(
    sql: &Connection,
    scope: &Scope,
    topic: &Topic,
    group: &str,
    plan: &mut Plan,
    next: i64,
    loot: &mut Loot,
) -> Result<i64> {
    let gone = || gone(sql, scope.slots, topic, group, next);
    if next < topic.first {
        return Err(gone()?);
    }
    let mut own = sql.prepare_cached("UPDATE open SET owner=?2, attempt=?3, due=0 WHERE id=?1")?;
    for &(row, attempt) in &plan.take {
        if loot.is_full() {
            return Ok(next);
        }
        own.execute(params![row, scope.me, attempt])?;
        let found = match scope.slots.place(row) {
            Place::Log(offset) if offset < topic.first => false,
            Place::Log(offset) => loot.add_logged(sql, topic, offset, row, attempt)?,
            Place::PutBack(number) => {
                let mut find = sql.prepare_cached("SELECT data FROM open WHERE id=?1")?;
                let data: Option<Vec<u8>> = find.query_row([row], |row| row.get(0)).optional()?.flatten();
                loot.put_back(topic, data.as_deref().unwrap_or_default(), number, row, attempt)?;
                true
            }
        };
        if !found {
            return Err(gone()?);
        }
    }
    if plan.has_room(scope) { unseen(sql, scope, topic, plan, next, loot) } else { Ok(next) }
}

/// Hands out what comes after the frontier; what its key forbids is parked.
fn unseen(
    sql: &Connection,
    scope: &Scope,
    topic: &Topic,
    plan: &mut Plan,
    mut next: i64,
    loot: &mut Loot,
) -> Result<i64> {
    let mut taken = plan.take.len();
    let mut insert =
        sql.prepare_cached("INSERT INTO open(id, key, owner, attempt, due) VALUES(?1, ?2, ?3, ?4, 0)")?;
    log::scan(sql, topic.id, next, |row| {
        if row.first > next {
            return Err(log::missing(topic, next, row.first).into());
        }
        let entries = Entries::open(row.data).map_err(|damage| log::damaged(topic, &row, damage))?;
        for (offset, entry) in (row.first..).zip(entries) {
            let entry = entry.map_err(|damage| log::damaged(topic, &row, damage))?;
            if offset < next {
                continue;
            }
            let enough = taken == scope.want || loot.is_full();
            if enough || plan.open >= WINDOW || offset >= scope.stop {
                return Ok(ControlFlow::Break(()));
            }
            let key = entry.key.of(row.data).map(block::hash);
            let hold = key
                .filter(|_| scope.ordered)
                .and_then(|key| plan.keys.get(&key).copied())
                .unwrap_or_default();
            let (owner, attempt) = if hold == Hold::Ours { (scope.me, 1) } else { (0, 0) };
            let slot = scope.slots.at(offset);
            insert.execute(params![slot, key, owner, attempt])?;
            plan.open += 1;
            match hold {
                Hold::Ours => {
                    loot.entry(topic, row.data, entry, offset, slot, 1);
                    taken += 1;
                }
                Hold::Waits => plan.unfinished = true,
                Hold::GivenUp => {}
            }
            next = offset + 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(next)
}

/// How much retention has taken from the group, and what to do.
fn gone(sql: &Connection, slots: Slots, topic: &Topic, group: &str, next: i64) -> Result<Fault> {
    let open: i64 = sql
        .prepare_cached("SELECT count(*) FROM open WHERE id >= ?1 AND id < ?2")?
        .query_row([slots.log().start, slots.at(topic.first)], |row| row.get(0))?;
    let count = open + (topic.first - next).max(0);
    let message = format!("retention has removed {count} events that it had not settled");
    Ok(Error::new(Kind::Gone, "receive", format!("group {group} on {}", topic.name), message)
        .with_hint(format!(
            "to go on with what is left: evcat groups seek {group} {} --from beginning",
            topic.name
        ))
        .into())
}
