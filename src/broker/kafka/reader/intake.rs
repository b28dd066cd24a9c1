//! Partitions that the library fetches, and what has come of them.
//!
//! They are given to it one by one (`rd_kafka_consume_start_queue`), all with one queue, which needs no group, so that
//! the broker is not asked for a group's coordinator either. The queue is taken whole under one lock and each message
//! copied once: the other ways to consume cost an allocation or a lock per message.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;

use super::super::client::Client;
use super::super::error::Trouble;
use super::super::message::Message;
use super::super::partitions::Partitions;
use super::super::queue::Queue;
use super::super::sys::{self, Code, rd_kafka_message_t, rd_kafka_topic_t};
use super::lane::{Fetch, Lane};
use crate::event::Name;

/// Partitions that are fetched.
pub struct Intake {
    lanes: Vec<Lane>,
    /// Which lane: by the library's handle of its topic, and its number.
    index: HashMap<(usize, i32), usize>,
    topics: HashMap<Name, Topic>,
    queue: Queue,
    client: Client,
}

/// The library's handle of a topic.
struct Topic(NonNull<rd_kafka_topic_t>);

// SAFETY: the library's handles take calls from any thread.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// Where events go.
pub trait Sink {
    /// One of a lane, which is wanted. Errors: it is damaged.
    fn take(&mut self, at: usize, lane: &Lane, message: Message<'_>) -> Result<(), Trouble>;
}

/// What is wrong with a lane.
pub struct LaneTrouble {
    /// Which.
    pub at: usize,
    /// What.
    pub trouble: Trouble,
}

impl Intake {
    /// None so far.
    pub fn new(client: &Client) -> Intake {
        let (lanes, index, topics) = (Vec::new(), HashMap::new(), HashMap::new());
        Intake { lanes, index, topics, queue: client.queue(), client: client.clone() }
    }

    /// All of them.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// All of them, to be told what was heard of their ends.
    pub fn lanes_mut(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }

    /// Adds a lane and has it fetched, unless it is done.
    pub fn add(&mut self, mut lane: Lane) -> Result<(), Trouble> {
        let topic = self.topic(&lane.topic)?;
        if !lane.is_done() {
            // SAFETY: the topic and the queue are live.
            let started = unsafe {
                sys::rd_kafka_consume_start_queue(topic, lane.partition, lane.next, self.queue.raw())
            };
            if started != 0 {
                return Err(Trouble::of(sys::last_error()));
            }
            lane.fetch = Fetch::On;
        }
        self.index.insert((topic as usize, lane.partition), self.lanes.len());
        self.lanes.push(lane);
        Ok(())
    }

    fn topic(&mut self, name: &Name) -> Result<*mut rd_kafka_topic_t, Trouble> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.0.as_ptr());
        }
        let c_name = sys::c_text(name);
        // SAFETY: the client is live and copies the name; without a configuration it is the client's.
        let topic =
            unsafe { sys::rd_kafka_topic_new(self.client.raw(), c_name.as_ptr(), std::ptr::null_mut()) };
        let topic = NonNull::new(topic).ok_or_else(|| Trouble::of(sys::last_error()))?;
        self.topics.insert(name.clone(), Topic(topic));
        Ok(topic.as_ptr())
    }

    /// Gives all that has come to `sink`, and never waits. What a lane is in trouble with is answered; the first of them.
    pub fn sweep(&mut self, sink: &mut impl Sink) -> Option<LaneTrouble> {
        let last = ((0, -1), usize::MAX);
        let mut sweep = Sweep { lanes: &mut self.lanes, index: &self.index, last, sink, trouble: None };
        // SAFETY: the queue is live; the callback gets `sweep` during the call only.
        let answer = unsafe {
            sys::rd_kafka_consume_callback_queue(
                self.queue.raw(),
                0,
                Some(on_message_of(&sweep)),
                (&raw mut sweep).cast(),
            )
        };
        debug_assert!(answer >= 0, "a timeout of 0 cannot fail");
        sweep.trouble
    }

    /// Waits until something has come. Cancel safe.
    pub async fn filled(&self) {
        self.queue.filled().await;
    }

    /// Has exactly those lanes fetched that are neither held nor done. What was fetched of the others and not taken is
    /// fetched again later.
    pub fn pause(&mut self) {
        let mut lists = [Vec::new(), Vec::new()];
        for lane in self.lanes.iter_mut().filter(|lane| lane.fetch != Fetch::Never) {
            let fetch = if lane.held || lane.is_done() { Fetch::Paused } else { Fetch::On };
            if lane.fetch != fetch {
                lane.fetch = fetch;
                lists[usize::from(fetch == Fetch::Paused)].push((lane.topic.clone(), lane.partition));
            }
        }
        for (pause, lanes) in [false, true].into_iter().zip(lists) {
            if lanes.is_empty() {
                continue;
            }
            let mut list = Partitions::new(lanes.len());
            lanes.iter().for_each(|(topic, partition)| list.add(topic, *partition, 0, b""));
            // SAFETY: the client and the list are live. Waits for the library's own thread, never for the broker.
            unsafe {
                match pause {
                    true => sys::rd_kafka_pause_partitions(self.client.raw(), list.raw()),
                    false => sys::rd_kafka_resume_partitions(self.client.raw(), list.raw()),
                }
            };
        }
    }

    /// Has them fetched anew, each from where it is: after a trouble what had come behind it was not taken.
    pub fn again(&mut self) -> Result<(), Trouble> {
        for lane in self.lanes.iter_mut().filter(|lane| lane.fetch != Fetch::Never && !lane.is_done()) {
            let Some(topic) = self.topics.get(&lane.topic) else { continue };
            // SAFETY: topic and queue are live. Waits for the library's own thread, never for the broker.
            let started = unsafe {
                sys::rd_kafka_consume_stop(topic.0.as_ptr(), lane.partition);
                let (topic, queue) = (topic.0.as_ptr(), self.queue.raw());
                sys::rd_kafka_consume_start_queue(topic, lane.partition, lane.next, queue)
            };
            if started != 0 {
                return Err(Trouble::of(sys::last_error()));
            }
            lane.fetch = Fetch::On;
        }
        self.pause();
        Ok(())
    }

    /// Has none of them fetched any more, so that another intake of the same client can have them.
    pub fn stop(&self) {
        for lane in self.lanes.iter().filter(|lane| lane.fetch != Fetch::Never) {
            let Some(topic) = self.topics.get(&lane.topic) else { continue };
            // SAFETY: the topic is live. Waits for the library's own thread, never for the broker.
            unsafe { sys::rd_kafka_consume_stop(topic.0.as_ptr(), lane.partition) };
        }
    }
}

/// One call to take what has come.
struct Sweep<'a, S> {
    lanes: &'a mut [Lane],
    index: &'a HashMap<(usize, i32), usize>,
    /// The place of the message before, and its lane.
    last: ((usize, i32), usize),
    sink: &'a mut S,
    trouble: Option<LaneTrouble>,
}

impl<S: Sink> Sweep<'_, S> {
    #[inline]
    fn lane(&mut self, place: (usize, i32)) -> Option<usize> {
        if self.last.0 != place {
            self.last = (place, *self.index.get(&place)?);
        }
        Some(self.last.1)
    }

    #[inline]
    fn take(&mut self, message: Message<'_>) {
        let offset = message.offset();
        let Some(at) = self.lane(message.place()) else { return };
        // What follows would be taken without what is wrong before it.
        if self.trouble.is_some() {
            return;
        }
        let lane = &mut self.lanes[at];
        let taken = match message.code() {
            Code::OK => {
                if !lane.pass(offset) {
                    return;
                }
                self.sink.take(at, lane, message)
            }
            Code::LOCAL_PARTITION_EOF => {
                lane.pass_gap(offset);
                Ok(())
            }
            _ if lane.is_done() => Ok(()),
            _ => match message.trouble() {
                // The library gets over it by itself; whether the broker is there at all is asked elsewhere.
                trouble if trouble.passes() => Ok(()),
                trouble => Err(trouble),
            },
        };
        self.trouble = taken.err().map(|trouble| LaneTrouble { at, trouble });
    }
}

type Callback = unsafe extern "C" fn(*mut rd_kafka_message_t, *mut c_void);

/// The callback for what is swept so.
fn on_message_of<S: Sink>(_: &Sweep<'_, S>) -> Callback {
    unsafe extern "C" fn on_message<S: Sink>(message: *mut rd_kafka_message_t, sweep: *mut c_void) {
        // SAFETY: what `sweep` set, for as long as it calls; the library has the message until this returns.
        let (sweep, message) = unsafe { (&mut *sweep.cast::<Sweep<'_, S>>(), Message::new(message)) };
        sweep.take(message);
    }
    on_message::<S>
}
