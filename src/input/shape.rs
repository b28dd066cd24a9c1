//! From a piece of input to an event: what the flags add to it.

use std::sync::Arc;

use memchr::memmem;

use super::split::{Piece, What};
use super::{Broken, Chunk};
use crate::event::cloudevents::{self, Binding};
use crate::event::line::{self, Parsed};
use crate::event::{Batch, Event, Extra, Headers, HeadersBuf, Millis, Name, Position, Slice, time, trace};
use crate::flow::failures;

/// What the flags say about every event.
#[derive(Clone)]
pub struct Shape {
    /// The topic, over one that an event names; empty where it is found out later.
    pub topic: Option<Name>,
    /// Whether a topic must be known by now.
    pub needs_topic: bool,
    /// The input is canonical lines.
    pub canonical: bool,
    /// `-k`.
    pub key: Option<Vec<u8>>,
    /// `-K`: the key is what stands before it.
    pub key_delimiter: Option<Vec<u8>>,
    /// `-H`, after the headers that an event has.
    pub headers: HeadersBuf,
    /// The attributes of a CloudEvent.
    pub cloud: Option<CloudEvent>,
    /// `TRACEPARENT` and `TRACESTATE`.
    pub trace: Option<(String, Option<String>)>,
    /// `--timestamp`.
    pub timestamp: Option<Millis>,
    /// Those that events name are kept.
    pub keep_timestamp: bool,
    /// The same for partitions.
    pub keep_partition: bool,
    /// `--partition`.
    pub partition: Option<i32>,
    /// How often each is published.
    pub repeat: u64,
}

/// What makes an event a CloudEvent; without a type, only its id is written.
#[derive(Clone)]
pub struct CloudEvent {
    /// How the broker's headers carry it.
    pub binding: Binding,
    /// `--id`; it names one event.
    pub id: Option<String>,
    /// `--type`.
    pub kind: Option<String>,
    /// `--source`.
    pub source: String,
    /// `--subject`.
    pub subject: Option<String>,
    /// Makes ids where none was given.
    pub ids: Arc<dyn Fn() -> String + Send + Sync>,
    /// The time of an event that has none.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
}

impl CloudEvent {
    /// Writes the attributes, in place of those that are there.
    fn write(&self, headers: &mut HeadersBuf, timestamp: Option<Millis>) {
        let mut set = |name: &str, value: &str| {
            if cloudevents::attribute(headers.as_headers(), name).is_some() {
                *headers = cloudevents::without(headers.as_headers(), name);
            }
            cloudevents::write(headers, self.binding, name, value);
        };
        let made = || (self.ids)();
        let id = self.id.clone().or_else(|| self.kind.is_some().then(made));
        if let Some(kind) = &self.kind {
            set("specversion", "1.0");
            if let Some(id) = id {
                set("id", &id);
            }
            set("source", &self.source);
            set("type", kind);
            set("time", &time::text(timestamp.unwrap_or_else(|| (self.clock)())));
            if let Some(subject) = &self.subject {
                set("subject", subject);
            }
        } else if let Some(id) = id {
            set("id", &id);
        }
    }
}

/// Makes the events of one input.
pub(super) struct Shaper {
    shape: Shape,
    made: u64,
    scratch: HeadersBuf,
    empty: Name,
    /// Properties that canonical lines had, and of which event of the batch.
    extras: Vec<(usize, Extra)>,
}

/// The parts that are the same for all events of a batch, copied into it once.
struct Same {
    base: usize,
    key: Slice,
    headers: Slice,
}

impl Shaper {
    pub fn new(shape: Shape) -> Shaper {
        Shaper { shape, made: 0, scratch: HeadersBuf::default(), empty: "".into(), extras: Vec::new() }
    }

    /// How many events it makes of each that was read.
    pub fn repeat(&self) -> u64 {
        self.shape.repeat
    }

    /// Events that may still be made, where that is bounded: `--id` names one.
    pub fn chunk(&mut self, input: &[u8], pieces: Vec<Piece>, chunk: &mut Chunk) {
        let mut batch = Batch::default();
        let used = pieces.last().map_or(0, |piece| piece.range.end);
        // Canonical lines are taken apart; anything else lies in the batch as it was read.
        let base = if self.shape.canonical { 0 } else { batch.copy(&input[..used]) };
        batch.reserve(pieces.len());
        chunk.places.numbers.reserve(pieces.len());
        let same = self.same(&mut batch, base);
        let mut raw = Vec::new();
        for Piece { range, number, what } in pieces {
            let bytes = &input[range.clone()];
            let made = match what {
                What::Blank => {
                    chunk.blank += 1;
                    continue;
                }
                What::Broken(why) => Err(why),
                What::Bytes if self.shape.canonical => self.canonical(&mut batch, bytes),
                What::Bytes => self.plain(&mut batch, &same, bytes, Some(range)),
                What::Null => self.plain(&mut batch, &same, bytes, None),
            };
            match made {
                Ok(()) => {
                    for _ in chunk.places.numbers.len()..batch.len() {
                        chunk.places.numbers.push(number);
                    }
                }
                Err(why) => raw.push((batch.len(), number, why, bytes)),
            }
        }
        chunk.broken.extend(raw.into_iter().map(|(before, number, why, bytes)| {
            let topic = self.shape.topic.as_ref().unwrap_or(&self.empty);
            let raw = Event::new(topic, None, Headers::default(), Some(bytes), None, Position::Unknown);
            Broken { before, number, why, raw }
        }));
        chunk.events = batch.finish();
        if !self.extras.is_empty() {
            let mut events = chunk.events.to_vec();
            for (at, extra) in self.extras.drain(..) {
                events[at] = events[at].clone().with_extra(extra);
            }
            chunk.events = events.into();
        }
    }

    /// An event that comes from no input: a payload of the command line, a tombstone.
    pub fn single(&mut self, payload: Option<&[u8]>, chunk: &mut Chunk) {
        let input = payload.unwrap_or_default();
        let what = if payload.is_some() { What::Bytes } else { What::Null };
        self.chunk(input, vec![Piece { range: 0..input.len(), number: 1, what }], chunk);
    }

    fn same(&mut self, batch: &mut Batch, base: usize) -> Same {
        let put = |batch: &mut Batch, bytes: &[u8]| {
            let at = batch.copy(bytes);
            Slice::new(at..at + bytes.len())
        };
        self.scratch.clear();
        self.scratch.extend(self.shape.headers.as_headers());
        if let Some((parent, state)) = &self.shape.trace {
            trace::inject(&mut self.scratch, parent, state.as_deref());
        }
        let headers = self.scratch.as_headers();
        Same {
            base,
            key: self.shape.key.as_ref().map_or(Slice::NULL, |key| put(batch, key)),
            headers: if headers.is_empty() { Slice::NULL } else { put(batch, headers.as_packed()) },
        }
    }

    /// A payload that lies in the batch, or a tombstone.
    #[inline]
    fn plain(
        &mut self,
        batch: &mut Batch,
        same: &Same,
        bytes: &[u8],
        range: Option<std::ops::Range<usize>>,
    ) -> Result<(), String> {
        let shape = &self.shape;
        let mut key = same.key;
        let payload = match range {
            None => Slice::NULL,
            Some(range) => {
                let (mut from, to) = (same.base + range.start, same.base + range.end);
                if let Some(delimiter) = &shape.key_delimiter {
                    let at = memmem::find(bytes, delimiter).ok_or_else(|| {
                        format!("there is no '{}' to end the key", String::from_utf8_lossy(delimiter))
                    })?;
                    key = Slice::new(from..from + at);
                    from += at + delimiter.len();
                }
                Slice::new(from..to)
            }
        };
        let topic = match &shape.topic {
            Some(topic) => topic,
            None if shape.needs_topic => return Err("no topic".into()),
            None => &self.empty,
        };
        let position = shape.partition.map_or(Position::Unknown, Position::Partition);
        for _ in 0..shape.repeat {
            let mut headers = same.headers;
            if let Some(cloud) = &shape.cloud {
                one_id(cloud, self.made)?;
                let mut own = self.scratch.clone();
                cloud.write(&mut own, shape.timestamp);
                let packed = own.as_headers().as_packed();
                let at = batch.copy(packed);
                headers = Slice::new(at..at + packed.len());
            }
            batch.push_slices(topic, key, headers, payload, shape.timestamp, position.clone());
            self.made += 1;
        }
        Ok(())
    }

    /// A canonical line.
    fn canonical(&mut self, batch: &mut Batch, bytes: &[u8]) -> Result<(), String> {
        if failures::is_unreadable(bytes) {
            return Err(
                "kept by --failed-to because it could not be read; mend it and take \"failure\" out".into()
            );
        }
        let parsed = line::parse(bytes).map_err(|error| error.to_string())?;
        let Parsed { topic, partition, position: _, timestamp, key, mut headers, payload, extra } = parsed;
        let shape = &self.shape;
        let topic: Name = match (&shape.topic, topic) {
            (Some(topic), _) => topic.clone(),
            (None, Some(topic)) => topic.into(),
            (None, None) if shape.needs_topic => {
                return Err("\"topic\": is missing, and no TOPIC was given".into());
            }
            (None, None) => self.empty.clone(),
        };
        let key = shape.key.clone().or(key);
        headers.extend(shape.headers.as_headers());
        let timestamp = shape.timestamp.or(timestamp.filter(|_| shape.keep_timestamp));
        let partition = shape.partition.or(partition.filter(|_| shape.keep_partition));
        let position = partition.map_or(Position::Unknown, Position::Partition);
        for _ in 0..shape.repeat {
            let mut headers = headers.clone();
            if let Some(cloud) = &shape.cloud {
                one_id(cloud, self.made)?;
                cloud.write(&mut headers, timestamp);
            }
            if let Some((parent, state)) = &shape.trace {
                trace::inject(&mut headers, parent, state.as_deref());
            }
            let headers = headers.as_headers();
            if let Some(extra) = &extra {
                self.extras.push((batch.len(), extra.clone()));
            }
            batch.push(&topic, key.as_deref(), headers, payload.as_deref(), timestamp, position.clone());
            self.made += 1;
        }
        Ok(())
    }
}

/// Two events with one id would be one event to whoever looks at ids.
fn one_id(cloud: &CloudEvent, made: u64) -> Result<(), String> {
    match cloud.id {
        Some(_) if made > 0 => Err("--id names one event; --id-from JQ takes each from its event".into()),
        _ => Ok(()),
    }
}
