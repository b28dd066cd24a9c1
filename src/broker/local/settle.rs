//! Settling: many items in one transaction, each with an answer of its own.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::block::{Block, Blocks, hash};
use super::fault::Result;
use super::file::Store;
use super::frontier::{self, Slots};
use super::loot::{self, Slot};
use super::work::Work;
use super::{log, name, retention};
use crate::broker::{Error, Kind, Receipt, Settlement, Token};
use crate::event::{Event, Millis, Name, Position};

/// What the trait answers for one item.
pub type Answer = crate::broker::Result<Option<Receipt>>;

/// An item, with where the delivery came from; `None`: the token is not one of ours (any more).
pub struct Item {
    /// As it was handed out.
    pub token: Token,
    /// Where it came from.
    pub slot: Option<Slot>,
    /// What becomes of it.
    pub settlement: Settlement,
}

/// Settles the items inside a write transaction and answers one by one, in order. An item that fails leaves the others
/// alone; the fault that this returns undoes them all.
pub fn settle(store: &Store, sql: &Connection, work: &mut dyn Work, items: &[Item]) -> Result<Vec<Answer>> {
    let now = store.now();
    let mut answers = Vec::with_capacity(items.len());
    let mut moves = Moves::default();
    for (at, item) in items.iter().enumerate() {
        let Some(slot) = item.slot else {
            answers.push(Err(lost()));
            continue;
        };
        let receipt = match &item.settlement {
            Settlement::Ack => Ok((work.finish(sql, slot)?, None)),
            Settlement::Retry(after) => {
                let after = Millis::try_from(after.as_millis()).unwrap_or(Millis::MAX);
                Ok((work.retry(sql, slot, now.saturating_add(after))?, None))
            }
            Settlement::Release => Ok((work.release(sql, slot)?, None)),
            Settlement::Move { event, only } => match only {
                None => match name::for_new("send", "topic", event.topic()) {
                    Err(refused) => Err(refused),
                    Ok(()) => {
                        let ours = work.finish(sql, slot)?;
                        if ours {
                            moves.push(at, event);
                        }
                        Ok((ours, None))
                    }
                },
                Some(group) => match addressee(sql, event.topic(), group)? {
                    Err(refused) => Err(refused),
                    Ok(group) if work.finish(sql, slot)? => {
                        Ok((true, Some(put_back(sql, group, event, now)?)))
                    }
                    Ok(_) => Ok((false, None)),
                },
            },
        };
        answers.push(receipt.and_then(|(ours, receipt)| if ours { Ok(receipt) } else { Err(lost()) }));
    }
    moves.store(sql, now, &mut answers)?;
    Ok(answers)
}

/// Somebody else has it by now.
pub fn lost() -> Error {
    let message = "somebody else has this event by now: our lease ran out, or it was settled before";
    Error::new(Kind::Lost, "settle", "", message)
}

/// Events on their way into topics: all of one topic go into as few blocks as they fit.
#[derive(Default)]
struct Moves<'a>(HashMap<&'a Name, Vec<(usize, &'a Event)>>);

impl<'a> Moves<'a> {
    fn push(&mut self, at: usize, event: &'a Event) {
        self.0.entry(event.topic()).or_default().push((at, event));
    }

    /// Events that were stored before are never taken for duplicates: their ids are not looked up.
    fn store(self, sql: &Connection, now: Millis, answers: &mut [Answer]) -> Result<()> {
        for (topic, events) in self.0 {
            let mut blocks = Blocks::default();
            events.iter().for_each(|(_, event)| blocks.push(event, event.timestamp().unwrap_or(now)));
            let topic = log::make_topic(sql, topic)?;
            let first = log::append(sql, &topic, &blocks.finish(), now)?;
            retention::step(sql, &topic, now)?;
            for ((at, _), offset) in events.iter().zip(first..) {
                answers[*at] = Ok(Some(Receipt { position: Position::Offset(offset), duplicate: false }));
            }
        }
        Ok(())
    }
}

/// The group that an event is put back to; an answer of its own where there is none.
fn addressee(sql: &Connection, topic: &str, group: &str) -> Result<crate::broker::Result<i64>> {
    let found: Option<i64> = sql
        .prepare_cached(
            "SELECT grp.id FROM grp JOIN topic ON topic.id = grp.topic WHERE topic.name=?1 AND grp.name=?2",
        )?
        .query_row([topic, group], |row| row.get(0))
        .optional()?;
    Ok(found.filter(|_| group != frontier::LETTERS).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "send",
            format!("group {group} on {topic}"),
            "does not exist, so nothing was put back",
        )
        .with_hint(format!("evcat groups create {group} {topic}; or into the whole topic: --all-groups"))
    }))
}

/// Stores an event for one group alone: a row before its log, with the event inside. The topic and its offsets, and with
/// them every other group, see nothing of it.
fn put_back(sql: &Connection, group: i64, event: &Event, now: Millis) -> Result<Receipt> {
    let number: i64 = sql
        .prepare_cached("UPDATE grp SET back=back+1 WHERE id=?1 RETURNING back")?
        .query_row([group], |row| row.get(0))?;
    let block = Block::of(event, event.timestamp().unwrap_or(now));
    sql.prepare_cached("INSERT INTO open(id, key, owner, attempt, due, data) VALUES(?1, ?2, 0, 0, 0, ?3)")?
        .execute(params![Slots::of(group).put_backs().start + number, event.key().map(hash), block.bytes])?;
    Ok(Receipt {
        position: loot::position_of_put_back(event.topic(), event.headers(), number),
        duplicate: false,
    })
}
