//! Work on a group: its members share the events of one or more topics.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use super::claim::{self, Plan, Scope};
use super::fault::Result;
use super::file::Store;
use super::frontier::{self, Slots};
use super::log::{self, MAX_OFFSET, Topic};
use super::loot::{Loot, Slot};
use super::member::{self, Member};
use super::work::{Claimed, Work};
use crate::broker::{Error, Kind, Stop, SubscribeOptions};
use crate::event::{Millis, Name};

/// A member of a group over topics.
pub struct SharedWork {
    parts: Vec<Part>,
    group: Name,
    ordered: bool,
    lease: Millis,
    /// The topic that is asked first; the next one the next time.
    turn: usize,
}

/// One topic of it.
struct Part {
    topic: i64,
    name: Name,
    group: i64,
    slots: Slots,
    member: Member,
    /// The offset to end before.
    stop: i64,
    /// Given back, not to be handed to us again.
    released: HashSet<i64>,
}

/// The row of the topic and of the group, read anew in every transaction.
struct Now {
    topic: Topic,
    next: i64,
    alive: HashSet<i64>,
    time: Millis,
}

impl SharedWork {
    /// Joins the group on every topic, inside a write transaction. The stop is fixed here.
    pub fn join(
        store: &Store,
        sql: &Connection,
        topics: &[Name],
        group: &Name,
        options: &SubscribeOptions,
    ) -> Result<SharedWork> {
        let lease = options.lease.as_millis() as Millis;
        let mut parts = Vec::with_capacity(topics.len());
        for name in topics {
            let (topic, row) = frontier::need(sql, name, group, "subscription")?;
            parts.push(Part {
                stop: stop_of(sql, &topic, &options.stop)?,
                topic: topic.id,
                name: name.clone(),
                group: row.id,
                slots: Slots::of(row.id),
                member: Member::join(store, sql, row.id, lease)?,
                released: HashSet::new(),
            });
        }
        Ok(SharedWork { parts, group: group.clone(), ordered: options.ordered, lease, turn: 0 })
    }

    /// One topic's share; answers whether there may be more, and whether it is exhausted.
    fn claim_part(
        &mut self,
        store: &Store,
        sql: &Connection,
        part: usize,
        want: usize,
        loot: &mut Loot,
        claimed: &mut Claimed,
    ) -> Result<Share> {
        let now = self.parts[part].now(store, sql, &self.group, member::bury)?;
        let scope = self.parts[part].scope(&now, self.ordered, want);
        let mut plan = Plan::look(sql, &scope)?;
        let before = loot.len();
        loot.of_part(part);
        let next = claim::take(sql, &scope, &now.topic, &self.group, &mut plan, now.next, loot)?;
        if next > now.next {
            sql.prepare_cached("UPDATE grp SET next=?2 WHERE id=?1")?
                .execute([self.parts[part].group, next])?;
        }
        claimed.due = [claimed.due, plan.due].into_iter().flatten().min();
        let taken = loot.len() - before;
        let ended = next >= self.parts[part].stop && !plan.unfinished;
        let has_more = taken == want || loot.is_full();
        Ok(Share { taken, has_more, exhausted: !has_more && ended })
    }
}

struct Share {
    taken: usize,
    has_more: bool,
    exhausted: bool,
}

impl Work for SharedWork {
    fn is_due(&mut self, store: &Store, sql: &Connection) -> Result<bool> {
        for part in &self.parts {
            let now = part.now(store, sql, &self.group, member::alive)?;
            if !now.alive.contains(&part.member.id) {
                return Ok(true);
            }
            let scope = part.scope(&now, self.ordered, 1);
            let plan = Plan::look(sql, &scope)?;
            let unseen =
                || Ok::<_, super::fault::Fault>(log::end(sql, &now.topic)?.next.min(part.stop) > now.next);
            let exhausted = now.next >= part.stop && !plan.unfinished;
            if !plan.take.is_empty() || exhausted || (plan.has_room(&scope) && unseen()?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keep(&mut self, store: &Store, sql: &Connection, must: bool) -> Result<Vec<usize>> {
        let (now, mut lost) = (store.now(), vec![]);
        for (at, part) in self.parts.iter_mut().enumerate() {
            if !part.keep(store, sql, now, self.lease, must)? {
                lost.push(at);
            }
        }
        Ok(lost)
    }

    fn claim(&mut self, store: &Store, sql: &Connection, want: usize, loot: &mut Loot) -> Result<Claimed> {
        let mut claimed = Claimed::default();
        // Every topic gets its share first, then whoever has more gets what the others left.
        let count = self.parts.len();
        let share = want.div_ceil(count);
        let (mut left, mut exhausted) = (want, 0);
        let mut hungry: Vec<usize> = (0..count).map(|at| (self.turn + at) % count).collect();
        let mut quota = share;
        while left > 0 && !loot.is_full() && !hungry.is_empty() {
            let mut more = vec![];
            for part in std::mem::take(&mut hungry) {
                if left == 0 || loot.is_full() {
                    break;
                }
                let got = self.claim_part(store, sql, part, quota.min(left), loot, &mut claimed)?;
                left -= got.taken;
                exhausted += usize::from(got.exhausted);
                if got.has_more {
                    more.push(part);
                }
            }
            (hungry, quota) = (more, left);
        }
        self.turn = (self.turn + 1) % count;
        claimed.exhausted = exhausted == count;
        Ok(claimed)
    }

    fn finish(&mut self, sql: &Connection, slot: Slot) -> Result<bool> {
        let mut delete = sql.prepare_cached("DELETE FROM open WHERE id=?1 AND owner=?2")?;
        Ok(delete.execute([slot.row, self.parts[slot.part].member.id])? == 1)
    }

    fn retry(&mut self, sql: &Connection, slot: Slot, due: Millis) -> Result<bool> {
        let mut free = sql.prepare_cached("UPDATE open SET owner=0, due=?3 WHERE id=?1 AND owner=?2")?;
        Ok(free.execute([slot.row, self.parts[slot.part].member.id, due])? == 1)
    }

    fn release(&mut self, sql: &Connection, slot: Slot) -> Result<bool> {
        let part = &mut self.parts[slot.part];
        let mut free =
            sql.prepare_cached("UPDATE open SET owner=0, attempt=attempt-1 WHERE id=?1 AND owner=?2")?;
        let ours = free.execute([slot.row, part.member.id])? == 1;
        if ours {
            part.released.insert(slot.row);
        }
        Ok(ours)
    }

    fn leave(&mut self, _: &Store, sql: &Connection, untried: &[Slot]) -> Result<()> {
        for slot in untried {
            self.release(sql, *slot)?;
        }
        for part in &self.parts {
            let all = part.slots.all();
            sql.prepare_cached("UPDATE open SET owner=0 WHERE id >= ?1 AND id < ?2 AND owner=?3")?
                .execute([all.start, all.end, part.member.id])?;
            part.member.leave(sql)?;
        }
        Ok(())
    }
}

impl Part {
    fn now(
        &self,
        store: &Store,
        sql: &Connection,
        group: &Name,
        members: fn(&Store, &Connection, i64, Millis) -> Result<HashSet<i64>>,
    ) -> Result<Now> {
        let time = store.now();
        let next = sql
            .prepare_cached("SELECT next FROM grp WHERE id=?1")?
            .query_row([self.group], |row| row.get(0))
            .optional()?;
        let topic = log::topic(sql, &self.name)?.filter(|topic| topic.id == self.topic);
        let (Some(next), Some(topic)) = (next, topic) else {
            let subject = format!("group {group} on {}", self.name);
            return Err(
                Error::new(Kind::NotFound, "receive", subject, "was deleted while we worked on it").into()
            );
        };
        Ok(Now { topic, next, alive: members(store, sql, self.group, time)?, time })
    }

    fn scope<'a>(&'a self, now: &'a Now, ordered: bool, want: usize) -> Scope<'a> {
        Scope {
            slots: self.slots,
            me: self.member.id,
            alive: &now.alive,
            released: &self.released,
            ordered,
            stop: self.stop,
            now: now.time,
            want,
        }
    }

    /// Renews the lease, unless `must` only when a sixth of it is over: each renewal is one more page in the log. False: we
    /// were dropped, and have joined again under a new id.
    fn keep(
        &mut self,
        store: &Store,
        sql: &Connection,
        now: Millis,
        lease: Millis,
        must: bool,
    ) -> Result<bool> {
        let kept = if must || now - self.member.renewed >= lease / 6 {
            self.member.renew(sql, now, lease)?
        } else {
            sql.prepare_cached("SELECT EXISTS(SELECT 1 FROM member WHERE id=?1)")?
                .query_row([self.member.id], |row| row.get(0))?
        };
        if !kept {
            // Not under the old one: others may have taken some events of a key and not the rest of it.
            self.member = Member::join(store, sql, self.group, lease)?;
        }
        Ok(kept)
    }
}

/// The offset to end before, in one topic.
pub fn stop_of(sql: &Connection, topic: &Topic, stop: &Stop) -> Result<i64> {
    Ok(match stop {
        Stop::Never => MAX_OFFSET,
        Stop::Now => log::end(sql, topic)?.next,
        // A topic that is not named is not read.
        Stop::At(places) => places
            .iter()
            .find(|(name, _)| *name == topic.name)
            .map_or(Some(topic.first), |(_, position)| position.offset())
            .ok_or_else(|| {
                let subject = format!("topic {}", topic.name);
                Error::new(Kind::Invalid, "subscription", subject, "positions are numbers here, such as 123")
            })?,
    })
}
