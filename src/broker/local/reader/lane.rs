//! One topic on its way from a start to a stop.

use std::ops::{ControlFlow, Range};

use rusqlite::Connection;

use super::super::fault::Result;
use super::super::file::Store;
use super::super::log::{self, Topic};
use super::super::settled;
use crate::broker::{Error, Kind};
use crate::event::{Batch, Event, Name};

/// A batch ends at this many bytes,
const BYTES: usize = 256 << 10;
/// or at this many events,
const EVENTS: usize = 1024;
/// or after this many blocks, when nearly all of them are settled: a read that lasts keeps the log from being cut.
const BLOCKS: usize = 256;

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
    /// In order; none where there is nothing new, or all of it is settled.
    pub events: Vec<Event>,
    /// Whether it got on.
    pub moved: bool,
}

impl Lane {
    /// Whether the stop is reached.
    pub fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// Reads one batch.
    pub fn step(&mut self, store: &Store) -> Result<Step> {
        store.read(|sql| {
            let Some(topic) = self.look(sql)? else { return Ok(Step { events: vec![], moved: false }) };
            let mut batch = Batch::default();
            let (until, sound) = self.read(sql, &topic, &mut batch)?;
            let moved = until > self.next;
            self.next = until;
            let mut events = batch.finish();
            events.truncate(sound);
            Ok(Step { events, moved })
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

    /// Up to which offset it has come, and how many events of the batch that is. Whole blocks that were read before one
    /// that cannot be are given out first; it is met again, and told of, by the step after.
    fn read(&self, sql: &Connection, topic: &Topic, batch: &mut Batch) -> Result<(i64, usize)> {
        let stop = self.stop.unwrap_or(log::MAX_OFFSET);
        let (mut at, mut sound, mut blocks, mut full) = (self.next, 0, 0, false);
        let scanned = log::scan(sql, topic.id, at, |row| {
            if row.first > at {
                return Err(log::missing(topic, at, row.first).into());
            }
            let until = stop.min(row.first + row.n);
            for range in self.wanted(sql, topic.id, at..until)? {
                log::take(batch, topic, &row, range)?;
            }
            (at, sound, blocks) = (until, batch.len(), blocks + 1);
            full = batch.bytes() >= BYTES || batch.len() >= EVENTS || blocks == BLOCKS || at == stop;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        // Everything before the stop was there when the stop was set.
        let missed = self.stop.filter(|stop| scanned.is_ok() && !full && at < *stop);
        match missed.map_or(scanned, |stop| Err(log::missing(topic, at, stop).into())) {
            Err(fault) if at == self.next => Err(fault),
            _ => Ok((at, sound)),
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
