//! Several topics as one story: events merged by time, in bounded memory.
//!
//! Each stream (a partition, or a topic that has none) is read ahead a little; the oldest first event of all goes next.
//! That is only known once every stream has one at hand or has nothing more, so a stream that is far ahead is held.

use std::collections::VecDeque;

use crate::broker::{Read, Reader, Result};
use crate::event::{Event, Events, Millis, Name, Position};

/// A stream with so many events waiting is held until the others catch up,
const EVENTS: usize = 4096;
/// or with so many bytes.
const BYTES: usize = 1 << 20;

/// A reader whose events come in the order of time until it has caught up, and as they arrive from then on.
///
/// Within a stream the order stays as it is, whatever the timestamps say.
pub struct Merge {
    reader: Box<dyn Reader>,
    streams: Vec<Stream>,
    held: Vec<(Name, Option<i32>)>,
    /// Whether there is anything to put in order.
    merging: bool,
    /// What the reader said last, to be said when what waits has gone.
    said: Option<Read>,
}

struct Stream {
    topic: Name,
    partition: Option<i32>,
    /// Before this there is history to be merged.
    end: Position,
    waiting: VecDeque<Event>,
    bytes: usize,
    /// Nothing more will come, as far as is known.
    dry: bool,
}

impl Stream {
    fn is(&self, event: &Event) -> bool {
        self.partition == event.position().partition() && self.topic == *event.topic()
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= EVENTS || self.bytes >= BYTES
    }

    /// Whether this event was the last before the end.
    fn ends_with(&self, event: &Event) -> bool {
        match (&self.end, event.position()) {
            (Position::Pair(ms, seq), Position::Pair(at, n)) => (at, n) >= (ms, seq),
            (end, at) => matches!((end.offset(), at.offset()), (Some(end), Some(at)) if at + 1 >= end),
        }
    }
}

impl Merge {
    /// Takes the reader over. One stream is passed on as it is.
    pub fn new(reader: Box<dyn Reader>) -> Merge {
        let starts = reader.start().to_vec();
        let stream = |(topic, end): &(Name, Position)| {
            let partition = end.partition();
            let start = starts.iter().find(|(name, at)| name == topic && at.partition() == partition);
            // An empty stream never says a word.
            let dry = start.is_none_or(|(_, start)| match (start.offset(), end.offset()) {
                (Some(start), Some(end)) => start >= end,
                _ => start == end,
            });
            let (topic, end) = (topic.clone(), end.clone());
            Stream { topic, partition, end, waiting: VecDeque::new(), bytes: 0, dry }
        };
        let streams: Vec<_> = reader.end().iter().map(stream).collect();
        let merging = streams.len() > 1;
        Merge { reader, streams, held: Vec::new(), merging, said: None }
    }

    /// The reader below.
    pub fn reader(&self) -> &dyn Reader {
        &*self.reader
    }

    /// What comes next. Cancel safe.
    pub async fn next(&mut self) -> Result<Read> {
        while self.merging {
            let ready = self.ready();
            if !ready.is_empty() {
                return Ok(Read::Events(ready.into()));
            }
            if !self.merging {
                break;
            }
            self.hold();
            match self.reader.next().await? {
                Read::Events(events) => self.keep(events),
                Read::CaughtUp if self.held.is_empty() => self.last(Read::CaughtUp),
                // Those that are not held have nothing more for now; the others may go.
                Read::CaughtUp => {
                    let held = &self.held;
                    let is_held = |s: &Stream| held.iter().any(|(t, p)| *t == s.topic && *p == s.partition);
                    self.streams.iter_mut().filter(|stream| !is_held(stream)).for_each(|s| s.dry = true);
                }
                Read::End => self.last(Read::End),
            }
        }
        match self.said.take() {
            Some(said) => Ok(said),
            None => self.reader.next().await,
        }
    }

    /// Removes what looking needed.
    pub async fn close(self) -> Result<()> {
        self.reader.close().await
    }

    /// Nothing waits that something older could still come before: what is left goes, and then this is said.
    fn last(&mut self, said: Read) {
        self.streams.iter_mut().for_each(|stream| stream.dry = true);
        self.said = Some(said);
    }

    fn keep(&mut self, events: Events) {
        let mut index = 0;
        for event in &events {
            if !self.streams.get(index).is_some_and(|stream| stream.is(event)) {
                index = self.streams.iter().position(|stream| stream.is(event)).unwrap_or_else(|| {
                    // A partition or topic that was made meanwhile: all of it is new.
                    self.streams.push(Stream {
                        topic: event.topic().clone(),
                        partition: event.position().partition(),
                        end: Position::Unknown,
                        waiting: VecDeque::new(),
                        bytes: 0,
                        dry: true,
                    });
                    self.streams.len() - 1
                });
            }
            let stream = &mut self.streams[index];
            stream.dry |= stream.ends_with(event);
            stream.bytes += event.size();
            stream.waiting.push_back(event.clone());
        }
    }

    /// What can go now: the oldest, as long as every stream has one waiting or is dry.
    fn ready(&mut self) -> Vec<Event> {
        let mut ready = Vec::new();
        while ready.len() < EVENTS
            && self.streams.iter().all(|stream| stream.dry || !stream.waiting.is_empty())
        {
            let first = |stream: &Stream| {
                stream.waiting.front().map(|event| event.timestamp().unwrap_or(Millis::MIN))
            };
            let oldest = self.streams.iter_mut().filter(|s| !s.waiting.is_empty()).min_by_key(|s| first(s));
            let Some(stream) = oldest else {
                // All of history has gone: what comes now goes as it comes.
                self.release();
                break;
            };
            if let Some(event) = stream.waiting.pop_front() {
                stream.bytes -= event.size();
                ready.push(event);
            }
        }
        ready
    }

    fn release(&mut self) {
        self.merging = false;
        if !self.held.is_empty() {
            self.held.clear();
            self.reader.hold(&[]);
        }
    }

    /// Holds the streams that are far ahead.
    fn hold(&mut self) {
        let full = self.streams.iter().filter(|stream| stream.is_full());
        let held: Vec<_> = full.map(|stream| (stream.topic.clone(), stream.partition)).collect();
        if held != self.held {
            self.reader.hold(&held);
            self.held = held;
        }
    }
}

#[cfg(test)]
mod tests;
