//! One topic on its way from a start to a stop.

use std::ops::{ControlFlow, Range};

use rusqlite::Connection;

use super::super::block::{Damage, Entries, FULL};
use super::super::fault::Result;
use super::super::file::Store;
use super::super::log::{self, Stored, Topic};
use super::super::settled;
use crate::broker::{Error, Kind};
use crate::event::{Batch, Events, Millis, Name};

/// A batch ends at this many bytes: those that are on their way fit a processor's cache, so a tenth faster than 512 KiB,
/// while at 32 KiB the switches between threads cost more than that,
const BYTES: usize = 128 << 10;
/// or at this many events: a handle is larger than a small event,
const EVENTS: i64 = 2048;
/// or after this many blocks, when nearly all of them are settled: a read that lasts keeps the log from being cut.
const BLOCKS: usize = 256;

/// Batches that are read in one transaction, and handed over at once: half the locks, half the wakes.
const TOGETHER: usize = 2;

/// One topic that is read.
pub struct Lane {
    /// Its name.
    pub name: Name,
    /// The id it had when it was last looked at; `None` while it does not exist.
    pub topic: Option<i64>,
    /// The next offset.
    pub next: i64,
    /// Not this one.
    pub stop: Option<i64>,
    /// Without what is settled.
    pub unsettled: bool,
}

/// What came of one step.
pub struct Step {
    /// None where there is nothing new, or all of it is settled.
    pub batches: Vec<Rows>,
    /// Whether it got on.
    pub moved: bool,
}

/// Rows as they are stored. Who waits for the events checks them and takes them apart, while the thread reads on: half
/// of the work each.
pub struct Rows {
    topic: Topic,
    bytes: Vec<u8>,
    rows: Vec<Kept>,
}

/// One row, and which of its events are wanted.
struct Kept {
    first: i64,
    n: i64,
    stored: Millis,
    /// In the bytes of all.
    place: Range<usize>,
    wanted: Range<i64>,
}

impl Rows {
    /// How many bytes they hold.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Of this topic.
    pub fn topic(&self) -> &Name {
        &self.topic.name
    }

    fn add(&mut self, data: &[u8]) -> Range<usize> {
        // A full row is followed by many.
        if self.bytes.is_empty() && data.len() > FULL / 2 {
            self.bytes.reserve(BYTES + data.len());
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(data);
        from..self.bytes.len()
    }

    /// The events, in order: those of the rows before one that is damaged, and what to say of it.
    pub fn events(self) -> (Events, Option<Error>) {
        let Rows { topic, bytes, rows } = self;
        let mut batch = Batch::default();
        batch.reserve(rows.iter().map(|row| (row.wanted.end - row.wanted.start) as usize).sum());
        let (mut sound, mut error) = (0, None);
        for row in &rows {
            if let Err(damage) = row.events(&topic, &bytes, &mut batch) {
                let Kept { first, n, stored, .. } = *row;
                error = Some(log::damaged(&topic, &Stored { first, n, stored, data: &[] }, damage));
                break;
            }
            sound = batch.len();
        }
        let mut events = batch.finish_in(bytes);
        events.truncate(sound);
        (events, error)
    }
}

impl Kept {
    fn events(&self, topic: &Topic, bytes: &[u8], batch: &mut Batch) -> std::result::Result<(), Damage> {
        let Kept { first, place, wanted, .. } = self;
        let data = &bytes[place.clone()];
        let mut damage = None;
        let entries = (*first..wanted.end).zip(Entries::open(data)?);
        let wanted = entries.skip((wanted.start - first) as usize).map_while(|(offset, entry)| match entry {
            Ok(entry) => Some(log::placed(place.start, entry, offset)),
            Err(found) => {
                damage = Some(found);
                None
            }
        });
        batch.extend_slices(&topic.name, wanted);
        damage.map_or(Ok(()), Err)
    }
}

impl Lane {
    /// Whether the stop is reached.
    pub fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// Reads on, a little.
    pub fn step(&mut self, store: &Store) -> Result<Step> {
        store.read(|sql| {
            let Some(topic) = self.look(sql)? else { return Ok(Step { batches: vec![], moved: false }) };
            let (mut batches, mut moved) = (Vec::new(), false);
            while batches.len() < TOGETHER && !self.is_done() {
                let mut rows = Rows { topic: topic.clone(), bytes: Vec::new(), rows: Vec::new() };
                let until = match self.read(sql, &topic, &mut rows) {
                    Err(_) if moved => break,
                    until => until?,
                };
                if until == self.next {
                    break;
                }
                (self.next, moved) = (until, true);
                if !rows.rows.is_empty() {
                    batches.push(rows);
                }
            }
            Ok(Step { batches, moved })
        })
    }

    /// The topic as it is now; `None` while there is none to wait for.
    fn look(&mut self, sql: &Connection) -> Result<Option<Topic>> {
        let found = log::topic(sql, &self.name)?;
        let is_another = self.topic != found.as_ref().map(|topic| topic.id);
        if is_another && self.stop.is_some() {
            let subject = format!("topic {}", self.name);
            return Err(Error::new(Kind::Gone, "read", subject, "was deleted while it was read").into());
        }
        let Some(topic) = found else {
            self.topic = None;
            return Ok(None);
        };
        // It was made, or made again: its history begins here. Dead letters that expire just drop out.
        if is_another || self.unsettled {
            self.next = if is_another { topic.first } else { self.next.max(topic.first) };
        }
        self.topic = Some(topic.id);
        if self.next < topic.first && !self.is_done() {
            let gone = self.stop.unwrap_or(i64::MAX).min(topic.first) - self.next;
            return Err(is_gone(&topic, self.next, gone).into());
        }
        Ok(Some(topic))
    }

    /// Up to which offset it has come. What was read before something that cannot be is given out first; it is met
    /// again, and told of, by the read after.
    fn read(&self, sql: &Connection, topic: &Topic, rows: &mut Rows) -> Result<i64> {
        let stop = self.stop.unwrap_or(log::MAX_OFFSET);
        let (mut at, mut blocks, mut full) = (self.next, 0, false);
        let scanned = log::scan(sql, topic.id, at, |row| {
            if row.first > at {
                return Err(log::missing(topic, at, row.first).into());
            }
            let until = stop.min(row.first + row.n);
            let wanted = self.wanted(sql, topic.id, at..until)?;
            if !wanted.is_empty() {
                let place = rows.add(row.data);
                let Stored { first, n, stored, data: _ } = row;
                let kept = |wanted| Kept { first, n, stored, place: place.clone(), wanted };
                rows.rows.extend(wanted.into_iter().map(kept));
            }
            (at, blocks) = (until, blocks + 1);
            full = rows.bytes.len() >= BYTES || at - self.next >= EVENTS || blocks == BLOCKS || at == stop;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        // Everything before the stop was there when the stop was set.
        let missed = self.stop.filter(|stop| scanned.is_ok() && !full && at < *stop);
        match missed.map_or(scanned, |stop| Err(log::missing(topic, at, stop).into())) {
            Err(fault) if at == self.next => Err(fault),
            _ => Ok(at),
        }
    }

    /// What is not settled, where that is asked for.
    fn wanted(&self, sql: &Connection, topic: i64, within: Range<i64>) -> Result<Vec<Range<i64>>> {
        if !self.unsettled {
            return Ok(vec![within]);
        }
        let mut wanted = vec![];
        let mut from = within.start;
        for settled in settled::ranges(sql, topic, within.clone())? {
            wanted.push(from..settled.start);
            from = settled.end;
        }
        wanted.push(from..within.end);
        wanted.retain(|range| !range.is_empty());
        Ok(wanted)
    }
}

/// Retention was faster.
pub fn is_gone(topic: &Topic, from: i64, n: i64) -> Error {
    let Topic { name, first, .. } = topic;
    let message = format!("{n} events from {from} on are no longer kept; the first that is kept is {first}");
    Error::new(Kind::Gone, "read", format!("topic {name}"), message)
        .with_hint(format!("--from {first}, or --from beginning, reads what is kept"))
}
