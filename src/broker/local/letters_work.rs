//! Work on dead letters: a run over the positions of its plan.
//!
//! Nothing moves a frontier here. What the run was handed is a claim, a row in `open` of a group that nobody can name;
//! what it has settled is in [`settled`]. Giving back only drops the claim, so a run may leave as much as it likes.

use std::collections::{HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Result;
use super::file::Store;
use super::frontier::{self, LETTERS, Slots};
use super::log::{self, Topic, offset_of};
use super::loot::{Loot, Slot};
use super::member::{self, Member};
use super::settled;
use super::shared_work::stop_of;
use super::topics;
use super::work::{Claimed, Work};
use crate::broker::{Error, Kind, SubscribeOptions};
use crate::event::{Millis, Name, Position};

/// A run over dead letters.
pub struct LettersWork {
    topic: i64,
    name: Name,
    slots: Slots,
    group: i64,
    member: Member,
    lease: Millis,
    ahead: Ahead,
    /// Given back by us, to come again: not before when, and the offset.
    later: VecDeque<(Millis, i64)>,
    /// Another run was at them when their turn came. They are not ours to wait for, but if that run dies or leaves them
    /// while we are here, we take them.
    elsewhere: VecDeque<i64>,
}

/// What has not had its turn.
enum Ahead {
    /// The plan's positions, in its order.
    Chosen(VecDeque<i64>),
    /// Everything from the first to before the second.
    All(i64, i64),
}

impl LettersWork {
    /// Begins a run, inside a write transaction. The end is fixed here.
    pub fn join(
        store: &Store,
        sql: &Connection,
        dlq: &Name,
        chosen: Option<&[Position]>,
        options: &SubscribeOptions,
    ) -> Result<LettersWork> {
        let topic = match log::topic(sql, dlq)? {
            Some(topic) => topic,
            None => return Err(topics::not_found("subscription", dlq, &topics::names(sql)?).into()),
        };
        let ahead = match chosen {
            None => Ahead::All(topic.first, stop_of(sql, &topic, &options.stop)?),
            Some(positions) => {
                let offset = |position: &Position| {
                    position.offset().ok_or_else(|| {
                        let message =
                            format!("{position} is no position here: they are numbers, such as 123");
                        Error::new(Kind::Rejected, "subscription", format!("topic {dlq}"), message)
                    })
                };
                Ahead::Chosen(positions.iter().map(offset).collect::<std::result::Result<_, _>>()?)
            }
        };
        let group = match frontier::find(sql, topic.id, LETTERS)? {
            Some(group) => group.id,
            None => frontier::insert(sql, topic.id, LETTERS, 0, None)?,
        };
        let lease = options.lease.as_millis() as Millis;
        let slots = Slots::of(group);
        forget_the_dead(store, sql, group, slots)?;
        Ok(LettersWork {
            topic: topic.id,
            name: dlq.clone(),
            slots,
            group,
            member: Member::join(store, sql, group, lease)?,
            lease,
            ahead,
            later: VecDeque::new(),
            elsewhere: VecDeque::new(),
        })
    }

    fn topic(&self, sql: &Connection) -> Result<Topic> {
        let found = log::topic(sql, &self.name)?.filter(|topic| topic.id == self.topic);
        Ok(found.ok_or_else(|| {
            let subject = format!("topic {}", self.name);
            Error::new(Kind::NotFound, "receive", subject, "was deleted while its letters were worked on")
        })?)
    }

    /// The next offset whose turn it is.
    fn next(&mut self, sql: &Connection, topic: &Topic, end: i64) -> Result<Option<i64>> {
        Ok(match &mut self.ahead {
            Ahead::Chosen(offsets) => offsets.pop_front(),
            Ahead::All(at, stop) => {
                // In one step over what is settled: there may be millions.
                *at = (*at).max(topic.first);
                if let Some(range) = settled::covering(sql, topic.id, *at)? {
                    *at = range.end;
                }
                let offset = (*at < (*stop).min(end)).then_some(*at);
                *at += i64::from(offset.is_some());
                offset
            }
        })
    }

    /// Nothing that may become ours is left, apart from what another run is at.
    fn is_over(&self) -> bool {
        let ahead = match &self.ahead {
            Ahead::Chosen(offsets) => offsets.is_empty(),
            Ahead::All(at, stop) => at >= stop,
        };
        ahead && self.later.is_empty()
    }

    /// Claims the letter, unless it is settled, gone with retention, or another run is at it.
    fn try_take(
        &mut self,
        sql: &Connection,
        topic: &Topic,
        offset: i64,
        alive: &HashSet<i64>,
        loot: &mut Loot,
    ) -> Result<()> {
        if offset < topic.first || settled::covering(sql, topic.id, offset)?.is_some() {
            return Ok(());
        }
        let row = self.slots.at(offset);
        let claim: Option<(i64, i64)> = sql
            .prepare_cached("SELECT owner, attempt FROM open WHERE id=?1")?
            .query_row([row], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let attempt = match claim {
            Some((owner, _)) if alive.contains(&owner) => {
                self.elsewhere.push_back(offset);
                return Ok(());
            }
            // Of a run that died with it.
            Some((_, attempt)) => attempt + 1,
            None => 1,
        };
        if !loot.add_logged(sql, topic, offset, row, attempt)? {
            return Ok(());
        }
        sql.prepare_cached(
            "INSERT OR REPLACE INTO open(id, key, owner, attempt, due) VALUES(?1, NULL, ?2, ?3, 0)",
        )?
        .execute(params![row, self.member.id, attempt])?;
        Ok(())
    }

    fn drop_claim(&self, sql: &Connection, slot: Slot) -> Result<bool> {
        let mut delete = sql.prepare_cached("DELETE FROM open WHERE id=?1 AND owner=?2")?;
        Ok(delete.execute([slot.row, self.member.id])? == 1)
    }
}

impl Work for LettersWork {
    fn is_due(&mut self, store: &Store, sql: &Connection) -> Result<bool> {
        let now = store.now();
        let ahead = match &self.ahead {
            Ahead::Chosen(offsets) => !offsets.is_empty(),
            Ahead::All(at, stop) => *at < (*stop).min(log::end(sql, &self.topic(sql)?)?.next),
        };
        Ok(ahead
            || !self.elsewhere.is_empty()
            || self.later.iter().any(|(due, _)| *due <= now)
            || self.is_over())
    }

    fn keep(&mut self, store: &Store, sql: &Connection, _: bool) -> Result<Vec<usize>> {
        if self.member.renew(sql, store.now(), self.lease)? {
            return Ok(vec![]);
        }
        self.member = Member::join(store, sql, self.group, self.lease)?;
        Ok(vec![0])
    }

    fn claim(&mut self, store: &Store, sql: &Connection, want: usize, loot: &mut Loot) -> Result<Claimed> {
        let now = store.now();
        let alive = member::bury(store, sql, self.group, now)?;
        let topic = self.topic(sql)?;
        let end = log::end(sql, &topic)?.next;
        let enough = |loot: &Loot| loot.len() == want || loot.is_full();
        while !enough(loot)
            && let Some(offset) = self.next(sql, &topic, end)?
        {
            self.try_take(sql, &topic, offset, &alive, loot)?;
        }
        for _ in 0..self.later.len() {
            let Some((due, offset)) = self.later.pop_front() else { break };
            if due <= now && !enough(loot) {
                self.try_take(sql, &topic, offset, &alive, loot)?;
            } else {
                self.later.push_back((due, offset));
            }
        }
        for _ in 0..self.elsewhere.len() {
            if enough(loot) {
                break;
            }
            let Some(offset) = self.elsewhere.pop_front() else { break };
            self.try_take(sql, &topic, offset, &alive, loot)?;
        }
        let due = self.later.iter().map(|(due, _)| *due).filter(|due| *due > now).min();
        Ok(Claimed { due, exhausted: !enough(loot) && self.is_over() })
    }

    fn finish(&mut self, sql: &Connection, slot: Slot) -> Result<bool> {
        let ours = self.drop_claim(sql, slot)?;
        if ours {
            settled::add(sql, self.topic, offset_of(slot.row))?;
        }
        Ok(ours)
    }

    fn retry(&mut self, sql: &Connection, slot: Slot, due: Millis) -> Result<bool> {
        let ours = self.drop_claim(sql, slot)?;
        if ours {
            self.later.push_back((due, offset_of(slot.row)));
        }
        Ok(ours)
    }

    fn release(&mut self, sql: &Connection, slot: Slot) -> Result<bool> {
        self.drop_claim(sql, slot)
    }

    fn leave(&mut self, _: &Store, sql: &Connection, _: &[Slot]) -> Result<()> {
        let all = self.slots.all();
        sql.prepare_cached("DELETE FROM open WHERE id >= ?1 AND id < ?2 AND owner=?3")?.execute([
            all.start,
            all.end,
            self.member.id,
        ])?;
        self.member.leave(sql)
    }
}

/// Drops the claims of runs that died, so that none stays for ever; what they claimed and did not settle waits again.
fn forget_the_dead(store: &Store, sql: &Connection, group: i64, slots: Slots) -> Result<()> {
    let alive = member::bury(store, sql, group, store.now())?;
    let mut select = sql.prepare_cached("SELECT id, owner FROM open WHERE id >= ?1 AND id < ?2")?;
    let all = slots.all();
    let mut rows = select.query([all.start, all.end])?;
    let mut dead = vec![];
    while let Some(row) = rows.next()? {
        if !alive.contains(&row.get(1)?) {
            dead.push(row.get::<_, i64>(0)?);
        }
    }
    let mut delete = sql.prepare_cached("DELETE FROM open WHERE id=?1")?;
    for row in dead {
        delete.execute([row])?;
    }
    Ok(())
}
