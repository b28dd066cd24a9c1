//! Storing what was published: calls of `send` become one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::block::{Blocks, FULL};
use super::fault::{self, Fault};
use super::file::{Bell, Durability, Place, Store};
use super::log::{self, Topic};
use super::{MAX_EVENT, dedup, name, retention};
use crate::broker::{Error, Kind, Receipt, Result};
use crate::event::{Event, Events, Millis, Name, Position};

/// A call with so many bytes brings them in blocks.
const MANY: usize = 4 * FULL;

/// What one call of `send` brings.
pub struct Call {
    /// The events.
    pub events: Events,
    /// The same in blocks, where they are many.
    blocks: Option<Blocks>,
}

/// One receipt for each event of a call.
pub type Answer = Vec<Result<Receipt>>;

/// Somebody is in the way of a store that does not wait. Nothing was done.
pub struct Busy;

impl Call {
    /// With the time for events that bring none.
    pub fn new(events: Events, now: Millis) -> Call {
        Call { blocks: in_blocks(&events, now), events }
    }

    /// The same without blocks.
    pub fn of_one(events: Events) -> Call {
        Call { events, blocks: None }
    }
}

/// Many events of one topic, put into blocks by who sends them, while the thread stores what came before. Not a few: what
/// several calls sent then shares blocks. Nor what holds an event that is refused.
fn in_blocks(events: &Events, now: Millis) -> Option<Blocks> {
    let first = events.first()?;
    let fits = |event: &Event| {
        Arc::ptr_eq(event.topic(), first.topic())
            && event.size() <= MAX_EVENT
            && !matches!(event.position(), Position::Partition(_))
    };
    if events.len() < 2 || events.size() < MANY || !events.iter().all(fits) {
        return None;
    }
    let mut blocks = Blocks::default();
    events.iter().for_each(|event| blocks.push(event, event.timestamp().unwrap_or(now)));
    blocks.seal();
    Some(blocks)
}

/// The events of one topic, in order, put into blocks before the lock is taken.
struct Share<'a> {
    topic: &'a Name,
    runs: Vec<Run<'a>>,
    blocks: Blocks,
}

/// Events of one call that follow each other.
struct Run<'a> {
    /// Which call, and where they begin in it.
    call: usize,
    at: usize,
    events: &'a [Event],
}

/// Stores the events of all calls in one transaction and answers each call. The file is made for the first event that is
/// not refused.
pub fn publish(
    place: &Arc<Place>,
    store: &mut Option<Store>,
    calls: &mut [Call],
) -> std::result::Result<Vec<Answer>, Busy> {
    let now = (place.clock)();
    let made: Vec<_> = calls.iter_mut().map(|call| call.blocks.take()).collect();
    let mut shares: Vec<Share> = vec![];
    let mut refused = vec![];
    for (call, (Call { events, .. }, made)) in calls.iter().zip(made).enumerate() {
        if let (Some(blocks), Some(first)) = (made, events.first())
            && let Ok(share) = share_of(&mut shares, first)
        {
            share.blocks.append(blocks);
            share.runs.push(Run { call, at: 0, events });
            continue;
        }
        for (at, event) in events.iter().enumerate() {
            match share_of(&mut shares, event) {
                Ok(share) => {
                    share.blocks.push(event, event.timestamp().unwrap_or(now));
                    share.runs.push(Run { call, at, events: &events[at..=at] });
                }
                Err(error) => refused.push((call, at, error)),
            }
        }
    }
    shares.iter_mut().for_each(|share| share.blocks.seal());
    let stored = store_all(place, store, &shares, now)?;
    let mut answers: Vec<_> = calls.iter().map(|call| Vec::with_capacity(call.events.len())).collect();
    for (index, share) in shares.iter().enumerate() {
        let mut number = 0;
        for run in &share.runs {
            let numbers = number..number + run.events.len();
            number = numbers.end;
            let receipt = |number| match &stored {
                Ok(stored) => Ok(stored[index].receipt(number)),
                Err(error) => Err(error.clone()),
            };
            answer(&mut answers[run.call], run.at, numbers.map(receipt));
        }
    }
    for (call, at, error) in refused {
        answer(&mut answers[call], at, std::iter::once(Err(error)));
    }
    Ok(answers)
}

/// Puts receipts where they belong, from `at` on; what stands before them and is not there yet comes later.
fn answer(answers: &mut Vec<Result<Receipt>>, at: usize, receipts: impl Iterator<Item = Result<Receipt>>) {
    if answers.len() == at {
        return answers.extend(receipts);
    }
    for (at, receipt) in (at..).zip(receipts) {
        while answers.len() <= at {
            answers.push(Ok(Receipt { position: Position::Unknown, duplicate: false }));
        }
        answers[at] = receipt;
    }
}

fn store_all(
    place: &Arc<Place>,
    slot: &mut Option<Store>,
    shares: &[Share],
    now: Millis,
) -> std::result::Result<Result<Vec<Offsets>>, Busy> {
    if shares.is_empty() {
        return Ok(Ok(vec![]));
    }
    if slot.is_none() {
        match Store::open(place, "send") {
            Ok(store) => *slot = Some(store),
            Err(error) => return Ok(Err(error)),
        }
    }
    let Some(store) = slot else { return Ok(Ok(vec![])) };
    let stored = store.write(Durability::Power, Bell::Ring, |sql| {
        shares.iter().map(|share| share.store(sql, now)).collect::<fault::Result<Vec<_>>>()
    });
    match stored {
        Err(Fault::Busy) => Err(Busy),
        stored => Ok(stored.map_err(|fault| store.explain(fault, "send"))),
    }
}

/// The share that this event belongs to, or why it is refused.
fn share_of<'s, 'e>(shares: &'s mut Vec<Share<'e>>, event: &'e Event) -> Result<&'s mut Share<'e>> {
    let topic = event.topic();
    if event.size() > MAX_EVENT {
        let message = format!("the event has {} bytes, at most {MAX_EVENT} fit", event.size());
        return Err(Error::new(Kind::Rejected, "send", format!("topic {topic}"), message)
            .with_hint("store the payload elsewhere, and where it is in the event"));
    }
    if let Position::Partition(partition) = event.position() {
        let message = format!("a local topic has no partitions, so not {partition} either");
        return Err(Error::new(Kind::Unsupported, "send", format!("topic {topic}"), message)
            .with_hint("leave --partition out; events of one key keep their order without it"));
    }
    // From the back: events of one topic come in a row.
    let known = shares.iter().rposition(|share| Arc::ptr_eq(share.topic, topic) || share.topic == topic);
    let at = match known {
        Some(at) => at,
        None => {
            name::for_new("send", "topic", topic)?;
            shares.push(Share { topic, runs: vec![], blocks: Blocks::default() });
            shares.len() - 1
        }
    };
    Ok(&mut shares[at])
}

/// Where the events of a share lie now.
enum Offsets {
    /// One after the other from here.
    From(i64),
    /// Each for itself, and whether it was there before.
    Each(Vec<(i64, bool)>),
}

impl Offsets {
    fn receipt(&self, number: usize) -> Receipt {
        let (offset, duplicate) = match self {
            Offsets::From(first) => (first + number as i64, false),
            Offsets::Each(each) => each[number],
        };
        Receipt { position: Position::Offset(offset), duplicate }
    }
}

impl Share<'_> {
    fn store(&self, sql: &Connection, now: Millis) -> fault::Result<Offsets> {
        let topic = log::make_topic(sql, self.topic)?;
        let offsets = if topic.dedup_ms.is_some() {
            Offsets::Each(self.store_unseen(sql, &topic, now)?)
        } else {
            Offsets::From(log::append(sql, &topic, self.blocks.sealed(), now)?)
        };
        retention::step(sql, &topic, now)?;
        Ok(offsets)
    }

    /// Leaves out what is there already, so the blocks that were made do not serve.
    fn store_unseen(&self, sql: &Connection, topic: &Topic, now: Millis) -> fault::Result<Vec<(i64, bool)>> {
        let mut next = log::end(sql, topic)?.next;
        let mut blocks = Blocks::default();
        let mut ours: HashMap<&str, i64> = HashMap::new();
        let mut offsets = vec![];
        for event in self.runs.iter().flat_map(|run| run.events) {
            let id = dedup::id_of(event.headers());
            if let Some(id) = id {
                let first = match ours.get(id) {
                    Some(first) => Some(*first),
                    None => dedup::find(sql, topic, id, now)?,
                };
                if let Some(first) = first {
                    offsets.push((first, true));
                    continue;
                }
                ours.insert(id, next);
                dedup::remember(sql, topic, id, next)?;
            }
            blocks.push(event, event.timestamp().unwrap_or(now));
            offsets.push((next, false));
            next += 1;
        }
        log::append(sql, topic, &blocks.finish(), now)?;
        Ok(offsets)
    }
}
