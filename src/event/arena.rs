//! Events as handles into one buffer per batch.
//!
//! A handle is 80 bytes and one refcount, whatever the event holds: from a reader to raw output an event costs 22 ns,
//! against 51 with a buffer each for key, headers and payload.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::{Headers, Millis, Name, Position};

/// Offset and length of a part of an event in the buffer of its batch; no part at all (no key, a tombstone) is
/// [`Slice::NULL`], which is not the empty part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    at: u32,
    len: u32,
}

impl Slice {
    /// There is no such part.
    pub const NULL: Slice = Slice { at: 0, len: u32::MAX };

    /// The bytes of the buffer in this range. Batches end before 4 GiB, so both ends fit.
    #[inline]
    pub fn new(range: Range<usize>) -> Slice {
        debug_assert!(range.end < u32::MAX as usize);
        Slice { at: range.start as u32, len: (range.end - range.start) as u32 }
    }
}

#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    topics: Vec<Name>,
}

impl Arena {
    #[inline]
    fn get(&self, slice: Slice) -> Option<&[u8]> {
        (slice.len != u32::MAX).then(|| &self.bytes[slice.at as usize..][..slice.len as usize])
    }
}

/// What is the same for every event in its place in a batch, apart from the shared buffer.
#[derive(Clone)]
struct Parts {
    key: Slice,
    headers: Slice,
    payload: Slice,
    topic: u32,
    timestamp: Millis,
    position: Position,
}

/// An immutable fact.
///
/// A held event keeps its whole batch alive: what waits for long (backoff, the queue of a key) is
/// [detached](Event::detach) first, or a bound on memory is not one.
#[derive(Clone)]
pub struct Event {
    /// Filled when its batch is finished, before anybody has the handle.
    arena: Arc<OnceLock<Arena>>,
    parts: Parts,
    extra: Option<Box<Extra>>,
}

impl Event {
    #[inline]
    fn arena(&self) -> &Arena {
        self.arena.get_or_init(Arena::default)
    }

    /// The topic it was published to, or is to be published to.
    #[inline]
    pub fn topic(&self) -> &Name {
        &self.arena().topics[self.parts.topic as usize]
    }

    /// `None` is no key, `Some(b"")` an empty one: brokers send them to different partitions.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.arena().get(self.parts.key)
    }

    /// `None` is a tombstone, which is not an empty payload.
    #[inline]
    pub fn payload(&self) -> Option<&[u8]> {
        self.arena().get(self.parts.payload)
    }

    /// In order, duplicates kept.
    #[inline]
    pub fn headers(&self) -> Headers<'_> {
        Headers::packed(self.arena().get(self.parts.headers).unwrap_or_default())
    }

    /// When it happened, as its producer or its broker says; `None` where nobody does (an event on its way in).
    #[inline]
    pub fn timestamp(&self) -> Option<Millis> {
        (self.parts.timestamp != Millis::MIN).then_some(self.parts.timestamp)
    }

    /// Where it lies; on the way in, the partition that was asked for.
    #[inline]
    pub fn position(&self) -> &Position {
        &self.parts.position
    }

    /// What only some brokers have.
    pub fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    /// The same event with properties that only some brokers have.
    pub fn with_extra(self, extra: Extra) -> Event {
        Event { extra: Some(Box::new(extra)), ..self }
    }

    /// A copy in a buffer of its own, so that it no longer keeps its batch alive.
    pub fn detach(&self) -> Event {
        let mut batch = Batch::default();
        batch.push(
            self.topic(),
            self.key(),
            self.headers(),
            self.payload(),
            self.timestamp(),
            self.position().clone(),
        );
        let mut event = batch.finish().remove(0);
        event.extra = self.extra.clone();
        event
    }

    /// Bytes of key, headers and payload: what a bound on memory counts.
    pub fn size(&self) -> usize {
        let len = |s: Slice| if s == Slice::NULL { 0 } else { s.len as usize };
        len(self.parts.key) + len(self.parts.headers) + len(self.parts.payload)
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
        f.debug_struct("Event")
            .field("topic", self.topic())
            .field("position", self.position())
            .field("timestamp", &self.timestamp())
            .field("key", &text(self.key()))
            .field("headers", &self.headers())
            .field("payload", &text(self.payload()))
            .finish()
    }
}

/// What only some brokers have: AMQP properties, SQS system attributes. Never present on a hot path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// Name and value, in the order the broker gave them.
    pub properties: Vec<(String, String)>,
}

/// Builds events: one growing buffer for many.
///
/// A backend copies out of its client's buffer once, here: part by part with [`push`](Batch::push), or a whole block of
/// events with [`copy`](Batch::copy) and then their places with [`push_slices`](Batch::push_slices).
#[derive(Default)]
pub struct Batch {
    arena: Arena,
    /// Where `arena` goes in the end. Handles into it are made at once: a second pass that makes them of their parts
    /// costs 10 ns per event.
    shared: Arc<OnceLock<Arena>>,
    events: Vec<Event>,
    last_topic: Option<(Name, u32)>,
}

impl Batch {
    /// Makes room for so many events more, so that they are not moved as they grow.
    pub fn reserve(&mut self, events: usize) {
        self.events.reserve(events);
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes so far: a builder ends a batch by events and by bytes.
    pub fn bytes(&self) -> usize {
        self.arena.bytes.len()
    }

    /// Appends bytes that belong to no event yet and returns where they begin.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        let at = self.arena.bytes.len();
        self.arena.bytes.extend_from_slice(bytes);
        at
    }

    /// Adds an event, copying its parts.
    pub fn push(
        &mut self,
        topic: &Name,
        key: Option<&[u8]>,
        headers: Headers<'_>,
        payload: Option<&[u8]>,
        timestamp: Option<Millis>,
        position: Position,
    ) {
        let mut put = |bytes: Option<&[u8]>| match bytes {
            None => Slice::NULL,
            Some(bytes) => {
                let at = self.arena.bytes.len();
                self.arena.bytes.extend_from_slice(bytes);
                Slice::new(at..at + bytes.len())
            }
        };
        let headers = headers.as_packed();
        let (key, headers, payload) = (put(key), put((!headers.is_empty()).then_some(headers)), put(payload));
        self.push_slices(topic, key, headers, payload, timestamp, position);
    }

    /// Adds an event whose parts lie in bytes that were [copied](Batch::copy) before.
    #[inline]
    pub fn push_slices(
        &mut self,
        topic: &Name,
        key: Slice,
        headers: Slice,
        payload: Slice,
        timestamp: Option<Millis>,
        position: Position,
    ) {
        let topic = self.topic(topic);
        let timestamp = timestamp.unwrap_or(Millis::MIN);
        let parts = Parts { key, headers, payload, topic, timestamp, position };
        self.events.push(Event { arena: self.shared.clone(), parts, extra: None });
    }

    /// The events, in the order they were pushed, sharing one buffer.
    pub fn finish(self) -> Vec<Event> {
        // Cannot be set yet: only this batch could.
        let _ = self.shared.set(self.arena);
        self.events
    }

    /// The same where all that was pushed are places in these bytes, and nothing was copied.
    pub fn finish_in(mut self, bytes: Vec<u8>) -> Vec<Event> {
        self.arena.bytes = bytes;
        self.finish()
    }

    #[inline]
    fn topic(&mut self, topic: &Name) -> u32 {
        if let Some((last, index)) = &self.last_topic
            && Arc::ptr_eq(last, topic)
        {
            return *index;
        }
        let index = self.arena.topics.iter().position(|t| t == topic).unwrap_or_else(|| {
            self.arena.topics.push(topic.clone());
            self.arena.topics.len() - 1
        }) as u32;
        self.last_topic = Some((topic.clone(), index));
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let topic: Name = "t".into();
        let mut batch = Batch::default();
        batch.push(&topic, None, Headers::default(), Some(b""), None, Position::Unknown);
        batch.push(&topic, Some(b""), Headers::default(), None, Some(5), Position::Partition(2));
        let events = batch.finish();
        assert_eq!(
            (events[0].key(), events[0].payload(), events[0].timestamp()),
            (None, Some(&b""[..]), None)
        );
        assert_eq!(
            (events[1].key(), events[1].payload(), events[1].timestamp()),
            (Some(&b""[..]), None, Some(5))
        );
    }

    #[test]
    fn a_handle_stays_small() {
        assert!(size_of::<Event>() <= 80, "{}", size_of::<Event>());
    }

    #[test]
    fn detached_equals_the_original() {
        let topic: Name = "t".into();
        let mut batch = Batch::default();
        batch.push(&topic, None, Headers::default(), Some(b"other"), None, Position::Unknown);
        batch.push(&topic, Some(b"k"), Headers::default(), Some(b"v"), Some(1), Position::Unknown);
        let event = batch.finish().pop().unwrap();
        assert_eq!(format!("{event:?}"), format!("{:?}", event.detach()));
    }
}
