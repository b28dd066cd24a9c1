//! Messages turned into batches of events.

use std::collections::{HashMap, VecDeque};

use super::super::error::Trouble;
use super::super::message::Message;
use super::super::settled::Settled;
use super::intake::Sink;
use super::lane::Lane;
use crate::event::{Batch, Events, HeadersBuf, Name};

/// A batch ends at this many bytes, which a processor's cache holds,
const BYTES: usize = 256 << 10;
/// or at this many events: a handle is larger than a small event.
const EVENTS: usize = 4096;

/// Puts events into batches, each of one lane, so that a batch is held as a whole or not at all.
pub struct Take<'a> {
    ready: &'a mut VecDeque<(usize, Events)>,
    settled: &'a HashMap<Name, Settled>,
    at: usize,
    batch: Batch,
    headers: HeadersBuf,
}

impl Take<'_> {
    /// Adds to what is ready.
    pub fn new<'a>(
        ready: &'a mut VecDeque<(usize, Events)>,
        settled: &'a HashMap<Name, Settled>,
    ) -> Take<'a> {
        Take { ready, settled, at: 0, batch: Batch::default(), headers: HeadersBuf::default() }
    }

    /// The last batch too.
    pub fn finish(mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        if !self.batch.is_empty() {
            self.ready.push_back((self.at, std::mem::take(&mut self.batch).finish()));
        }
    }
}

impl Sink for Take<'_> {
    #[inline]
    fn take(&mut self, at: usize, lane: &Lane, message: Message<'_>) -> Result<(), Trouble> {
        let offset = message.offset();
        if self.settled.get(&lane.topic).is_some_and(|settled| settled.has(lane.partition, offset)) {
            return Ok(());
        }
        if at != self.at || self.batch.len() >= EVENTS || self.batch.bytes() >= BYTES {
            self.cut();
            self.at = at;
        }
        message.push(&mut self.batch, &lane.topic, &mut self.headers)
    }
}
