//! Events as handles into one buffer per batch.
//!
//! A handle is 80 bytes and one refcount, whatever the event holds: from a reader to raw output an event costs 22 ns,
//! against 51 with a buffer each for key, headers and payload.

use std::mem::ManuallyDrop;
use std::ops::{Deref, Range};
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

    /// The part in these bytes; `None` where there is none.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        match self {
            Slice::NULL => None,
            Slice { at, len } => bytes.get(at as usize..)?.get(..len as usize),
        }
    }

    /// The same part where its bytes lie at `base` in larger ones.
    #[inline]
    pub fn behind(self, base: usize) -> Slice {
        match self {
            Slice::NULL => Slice::NULL,
            Slice { at, len } => Slice { at: at + base as u32, len },
        }
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

impl Parts {
    #[inline]
    fn size(&self) -> usize {
        let len = |s: Slice| if s == Slice::NULL { 0 } else { s.len as usize };
        len(self.key) + len(self.headers) + len(self.payload)
    }
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

    /// The same event with those of another, if it has any.
    pub fn with_extra_of(self, other: &Event) -> Event {
        match other.extra() {
            Some(extra) => self.with_extra(extra.clone()),
            None => self,
        }
    }

    /// One event in a buffer of its own. Many go through a [`Batch`].
    pub fn new(
        topic: &Name,
        key: Option<&[u8]>,
        headers: Headers<'_>,
        payload: Option<&[u8]>,
        timestamp: Option<Millis>,
        position: Position,
    ) -> Event {
        let mut batch = Batch::default();
        batch.push(topic, key, headers, payload, timestamp, position);
        batch.finish()[0].clone()
    }

    /// A copy in a buffer of its own, so that it no longer keeps its batch alive.
    pub fn detach(&self) -> Event {
        let (topic, position) = (self.topic(), self.position().clone());
        let copy = Event::new(topic, self.key(), self.headers(), self.payload(), self.timestamp(), position);
        Event { extra: self.extra.clone(), ..copy }
    }

    /// Bytes of key, headers and payload: what a bound on memory counts.
    pub fn size(&self) -> usize {
        self.parts.size()
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

/// Events that are passed on together. A clone is one refcount, however many they are; a handle of its own is made for
/// an event only where one is cloned.
#[derive(Clone, Default)]
pub struct Events {
    many: Arc<Many>,
    range: Range<usize>,
}

impl Events {
    /// These of them, with the same buffer.
    pub fn slice(&self, range: Range<usize>) -> Events {
        assert!(range.start <= range.end && range.end <= self.len());
        Events {
            many: self.many.clone(),
            range: self.range.start + range.start..self.range.start + range.end,
        }
    }

    /// Keeps the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.range.end = self.range.end.min(self.range.start.saturating_add(len));
    }

    /// Keeps those that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&Event) -> bool) {
        let kept: Vec<Event> = self.iter().filter(|event| keep(event)).cloned().collect();
        if kept.len() < self.len() {
            *self = kept.into();
        }
    }

    /// Bytes of all keys, headers and payloads.
    pub fn size(&self) -> usize {
        match &*self.many {
            Many::Shared(shared) if self.len() == shared.events.len() => shared.size,
            _ => self.iter().map(Event::size).sum(),
        }
    }
}

impl Deref for Events {
    type Target = [Event];

    #[inline]
    fn deref(&self) -> &[Event] {
        &self.many.as_slice()[self.range.clone()]
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Events {
        let range = 0..events.len();
        Events { many: Arc::new(Many::Each(events)), range }
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Events {
        events.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Where the handles of [`Events`] lie.
enum Many {
    /// Each counts its own buffer.
    Each(Vec<Event>),
    /// All lie in one buffer, which is counted once.
    Shared(Shared),
}

impl Many {
    #[inline]
    fn as_slice(&self) -> &[Event] {
        match self {
            Many::Each(events) => events,
            Many::Shared(shared) => shared.as_slice(),
        }
    }
}

impl Default for Many {
    fn default() -> Many {
        Many::Each(vec![])
    }
}

/// Handles into one buffer that do not count it. They are never handed out but by reference, and what is cloned from
/// one counts.
#[derive(Default)]
struct Shared {
    arena: Arc<OnceLock<Arena>>,
    events: Vec<ManuallyDrop<Event>>,
    /// Whether a position among them owns memory.
    names: bool,
    /// Bytes of all of them.
    size: usize,
}

impl Shared {
    #[inline]
    fn push(&mut self, parts: Parts) {
        self.names |= matches!(parts.position, Position::Id(_));
        self.size += parts.size();
        // SAFETY: a second owner of the one count that `self.arena` is. It is never dropped (see `Drop`) nor moved out
        // of `self`, and `self.arena`, which is never replaced, lives as long.
        let arena = unsafe { std::ptr::read(&self.arena) };
        self.events.push(ManuallyDrop::new(Event { arena, parts, extra: None }));
    }

    #[inline]
    fn extend(&mut self, many: impl Iterator<Item = Parts>) {
        let (mut names, mut size) = (self.names, self.size);
        let arena = &self.arena;
        self.events.extend(many.map(|parts| {
            names |= matches!(parts.position, Position::Id(_));
            size += parts.size();
            // SAFETY: as in `push`.
            let arena = unsafe { std::ptr::read(arena) };
            ManuallyDrop::new(Event { arena, parts, extra: None })
        }));
        (self.names, self.size) = (names, size);
    }

    #[inline]
    fn as_slice(&self) -> &[Event] {
        // SAFETY: `ManuallyDrop<T>` has the layout of `T`, and both borrows are shared.
        unsafe { std::slice::from_raw_parts(self.events.as_ptr().cast(), self.events.len()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.names {
            // All of an event but its count that may own memory; `extra` is only ever set on a clone.
            self.events.iter_mut().for_each(|event| event.parts.position = Position::Unknown);
        }
    }
}

/// An event by the places of its parts.
pub struct Placed {
    /// The key.
    pub key: Slice,
    /// The headers, packed.
    pub headers: Slice,
    /// The payload.
    pub payload: Slice,
    /// When it happened.
    pub timestamp: Millis,
    /// Where it lies.
    pub position: Position,
}

/// Builds events: one growing buffer for many.
///
/// A backend copies out of its client's buffer once, here: part by part with [`push`](Batch::push), or a whole block of
/// events with [`copy`](Batch::copy) and then their places with [`push_slices`](Batch::push_slices).
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    topics: Vec<Name>,
    /// Handles are made at once, into the buffer as it will be in the end: a second pass that makes them of their parts
    /// costs 10 ns per event.
    shared: Shared,
    last_topic: Option<(Name, u32)>,
}

impl Batch {
    /// Makes room for so many events more, so that they are not moved as they grow.
    pub fn reserve(&mut self, events: usize) {
        self.shared.events.reserve(events);
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.shared.events.len()
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.shared.events.is_empty()
    }

    /// Bytes so far: a builder ends a batch by events and by bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes that belong to no event yet and returns where they begin.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
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
                let at = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
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
        self.shared.push(Parts { key, headers, payload, topic, timestamp, position });
    }

    /// Adds many such events of one topic.
    #[inline]
    pub fn extend_slices(&mut self, topic: &Name, events: impl Iterator<Item = Placed>) {
        let topic = self.topic(topic);
        self.shared.extend(events.map(|Placed { key, headers, payload, timestamp, position }| Parts {
            key,
            headers,
            payload,
            topic,
            timestamp,
            position,
        }));
    }

    /// The events, in the order they were pushed, sharing one buffer.
    pub fn finish(self) -> Events {
        let Batch { bytes, topics, shared, last_topic: _ } = self;
        // Cannot be set yet: only this batch could.
        let _ = shared.arena.set(Arena { bytes, topics });
        let range = 0..shared.events.len();
        Events { many: Arc::new(Many::Shared(shared)), range }
    }

    /// The same where all that was pushed are places in these bytes, and nothing was copied.
    pub fn finish_in(mut self, bytes: Vec<u8>) -> Events {
        self.bytes = bytes;
        self.finish()
    }

    #[inline]
    fn topic(&mut self, topic: &Name) -> u32 {
        if let Some((last, index)) = &self.last_topic
            && Arc::ptr_eq(last, topic)
        {
            return *index;
        }
        let index = self.topics.iter().position(|t| t == topic).unwrap_or_else(|| {
            self.topics.push(topic.clone());
            self.topics.len() - 1
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
        let event = batch.finish().last().unwrap().clone();
        assert_eq!(format!("{event:?}"), format!("{:?}", event.detach()));
    }
}
