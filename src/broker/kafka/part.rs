//! A partition that is ours: what was handed out of it, and what was settled.

use std::sync::Arc;

use super::error::Trouble;
use super::holes::Holes;
use super::message::{self, Message};
use super::queue::Queue;
use super::sys::{self, Code};
use crate::event::{Batch, HeadersBuf, Name};

/// Where the topic begins, wherever that is.
pub const BEGINNING: i64 = sys::RD_KAFKA_OFFSET_BEGINNING as i64;

/// See the module.
pub struct Part {
    /// Its topic.
    pub topic: Name,
    /// Its number.
    pub number: i32,
    /// What was settled.
    pub holes: Holes,
    /// So many are handed out and not settled or given back.
    pub held: usize,
    /// It goes to another member: nothing more is handed out.
    pub leaves: bool,
    /// Whether its next event is there is being asked: nothing is taken.
    pub doubted: bool,
    /// Something was settled that was not committed.
    pub dirty: bool,
    /// The last [commit](super::commits::Commits) that had it.
    pub committed: u64,
    queue: Arc<Queue>,
    /// Where it was begun: an offset, or [`BEGINNING`].
    first: i64,
    /// All before it was handed out, or was settled, or is not there.
    next: i64,
    /// So many were given back: open until the partition comes again.
    released: usize,
    /// Nothing from here on is wanted.
    stop: Option<i64>,
}

/// Events taken out of partitions and not yet handed over.
#[derive(Default)]
pub struct Taken {
    /// The events.
    pub batch: Batch,
    /// Of each, the partition's name here and the offset.
    pub slots: Vec<(u64, i64)>,
    headers: HeadersBuf,
}

impl Part {
    /// One that was assigned. `place`: the offset of its first event that is not settled, with what is settled beyond it;
    /// of one that is new, nothing. `queue` has what is fetched from there on.
    pub fn new(topic: Name, number: i32, place: Option<Holes>, queue: Queue, stop: Option<i64>) -> Part {
        let first = place.as_ref().map_or(BEGINNING, Holes::base);
        let holes = place.unwrap_or_else(|| Holes::read(0, b""));
        let next = holes.base();
        let (held, released, committed, leaves, doubted, dirty) = (0, 0, 0, false, false, false);
        Part {
            topic,
            number,
            holes,
            held,
            leaves,
            doubted,
            dirty,
            committed,
            queue: Arc::new(queue),
            first,
            next,
            released,
            stop,
        }
    }

    /// Where it is read on: the offset after the last one seen, or [`BEGINNING`] where none was.
    pub fn place(&self) -> i64 {
        if self.next == 0 { self.first } else { self.next }
    }

    /// Nothing more will be handed out.
    pub fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// Takes at most so many of what was fetched, and answers whether there may be more now. Errors: the partition
    /// cannot be read on.
    pub fn take(&mut self, name: u64, most: usize, taken: &mut Taken) -> Result<bool, Trouble> {
        let most = most.min(self.holes.room(self.next, self.held + self.released));
        if self.leaves || self.doubted || self.is_done() || most == 0 {
            return Ok(false);
        }
        // What comes behind the end, or behind a trouble, is not for us.
        let (mut over, mut trouble) = (false, None);
        let queue = self.queue.clone();
        let count = message::take(&queue, most, |message| {
            if !over {
                match self.took(name, message, taken) {
                    Ok(()) => over = self.is_done(),
                    Err(error) => (over, trouble) = (true, Some(error)),
                }
            }
        });
        trouble.map_or(Ok(count == most), Err)
    }

    fn took(&mut self, name: u64, message: Message<'_>, taken: &mut Taken) -> Result<(), Trouble> {
        let offset = message.offset();
        match message.code() {
            Code::OK => {}
            Code::LOCAL_PARTITION_EOF => {
                // Behind the last event there may be the marks of transactions.
                self.pass(offset);
                return Ok(());
            }
            _ => match message.trouble() {
                // The library gets over it by itself. What lies behind it in the queue is taken all the same: it does
                // not come again, and would count as not there.
                trouble if trouble.passes() => return Ok(()),
                // What follows is not taken: what is missing before it would pass for not there.
                trouble => return Err(trouble),
            },
        }
        self.pass(offset);
        // Fetched again after a trouble, or after a rebalance: the library may begin a little before where we are.
        if self.is_done() || offset < self.next {
            return Ok(());
        }
        if !self.holes.has(offset) {
            message.push(&mut taken.batch, &self.topic, &mut taken.headers)?;
            taken.slots.push((name, offset));
            self.held += 1;
        }
        self.next = offset + 1;
        Ok(())
    }

    /// There is no event before this offset that was not seen: what is between is not there.
    fn pass(&mut self, offset: i64) {
        let offset = self.stop.map_or(offset, |stop| offset.min(stop));
        if offset > self.next {
            self.holes.settle(self.next, offset);
            (self.next, self.dirty) = (offset, true);
        }
    }

    /// One was handled.
    pub fn ack(&mut self, offset: i64) {
        self.held -= 1;
        self.holes.settle(offset, offset + 1);
        self.dirty = true;
    }

    /// One was given back.
    pub fn release(&mut self) {
        self.held -= 1;
        self.released += 1;
    }
}
