//! Events handed to the library, and its reports taken back: what is unsafe about publishing, wrapped.
//!
//! Many plain events go in one call with the partition of each chosen here, which takes the library half the time that
//! choosing them itself does. What the call has no place for (headers, a timestamp) goes one by one.
//!
//! To choose one has to know how many partitions there are, and only the library does. So the first event of a call is
//! left to the library, which asks [`choose`] for a partition and says so how many there are, and which of them are
//! served. Where it does not know either, it keeps the events and asks when it does.

use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::ptr::{NonNull, null_mut};

use super::client::Client;
use super::epoch;
use super::error::Trouble;
use super::queue;
use super::sys::{self, Code, rd_kafka_message_t, rd_kafka_topic_t, rd_kafka_vtype_t as Tag, rd_kafka_vu_t};
use crate::event::{Event, Headers, Position};

/// To be chosen (`RD_KAFKA_PARTITION_UA`).
const ANY: i32 = -1;

/// A topic that is published to.
pub struct Topic {
    raw: NonNull<rd_kafka_topic_t>,
    client: Client,
}

// SAFETY: the library's handles take calls from any thread.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Topic {
    /// A handle; no I/O in the call, the library asks for the topic's partitions at once. `java`: keyed events go to the
    /// partitions that Java's clients choose, others to any; else where the client's configuration says.
    pub fn new(client: &Client, name: &str, java: bool) -> Result<Topic, Trouble> {
        let name = CString::new(name).map_err(|_| Trouble::of(Code::TOPIC_EXCEPTION))?;
        // SAFETY: the client is live; the configuration is a copy of its own, given away to the topic.
        let raw = unsafe {
            let conf = sys::rd_kafka_default_topic_conf_dup(client.raw());
            if java {
                sys::rd_kafka_topic_conf_set_partitioner_cb(conf, Some(choose));
            }
            sys::rd_kafka_topic_new(client.raw(), name.as_ptr(), conf)
        };
        let raw = NonNull::new(raw).ok_or_else(|| Trouble::of(sys::last_error()))?;
        Ok(Topic { raw, client: client.clone() })
    }

    /// Hands over events of this topic, numbered from `first` on, in order. What is not taken is told to `refuse` by its
    /// index.
    ///
    /// # Safety
    /// The payloads must stay where they are until each event was refused here or [reported](reports).
    pub unsafe fn produce(
        &self,
        events: &[Event],
        first: usize,
        room: &mut Room,
        mut refuse: impl FnMut(usize, Trouble),
    ) {
        let mut learned = None;
        let mut at = 0;
        while let Some(event) = events.get(at) {
            let plain = if at == 0 { 0 } else { events[at..].iter().take_while(|it| is_plain(it)).count() };
            if plain == 0 {
                LEARNED.set(None);
                // SAFETY: the caller's.
                if let Err(trouble) = unsafe { self.one(event, first.wrapping_add(at)) } {
                    refuse(at, trouble);
                }
                learned = LEARNED.get().or(learned);
                at += 1;
                continue;
            }
            // SAFETY: the caller's.
            unsafe { self.many(&events[at..at + plain], first.wrapping_add(at), learned, room) };
            for (index, message) in room.0.iter().enumerate() {
                // SAFETY: the library left a code in each.
                let code = unsafe { Code::at(&raw const message.err) };
                if code != Code::OK {
                    refuse(at + index, Trouble::of(code));
                }
            }
            at += plain;
        }
    }

    /// An event with all its parts.
    unsafe fn one(&self, event: &Event, number: usize) -> Result<(), Trouble> {
        if asked(event).is_some_and(|partition| partition < 0) {
            return Err(Trouble::of(Code::LOCAL_UNKNOWN_PARTITION));
        }
        if event.timestamp().is_some_and(|at| at < 0) {
            return Err(Trouble::of(Code::INVALID_TIMESTAMP));
        }
        if event.headers().iter().any(|(name, _)| name.contains(&0)) {
            // It would be stored whole, and whoever reads it by this library gets what is before the NUL.
            let words = "a header's name has a NUL in it, which most of Kafka's clients cannot read";
            return Err(Trouble { code: Code::LOCAL_INVALID_ARG, words: words.into() });
        }
        let headers = HeaderList::of(event.headers());
        let (key, payload) = (part(event.key()), part(event.payload()));
        // The layout of a value is a union behind its tag.
        let value = |tag: Tag, fill: &dyn Fn(&mut rd_kafka_vu_t)| {
            // SAFETY: plain numbers and pointers; all zero is a value.
            let mut value: rd_kafka_vu_t = unsafe { std::mem::zeroed() };
            value.vtype = tag;
            fill(&mut value);
            value
        };
        let bytes = |tag, (ptr, size): (*mut c_void, usize)| {
            value(tag, &|it| it.u.mem = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size })
        };
        let values = [
            value(Tag::RD_KAFKA_VTYPE_RKT, &|it| it.u.rkt = self.raw.as_ptr()),
            value(Tag::RD_KAFKA_VTYPE_PARTITION, &|it| it.u.i32_ = asked(event).unwrap_or(ANY)),
            bytes(Tag::RD_KAFKA_VTYPE_KEY, key),
            bytes(Tag::RD_KAFKA_VTYPE_VALUE, payload),
            value(Tag::RD_KAFKA_VTYPE_OPAQUE, &|it| it.u.ptr = number as *mut c_void),
            value(Tag::RD_KAFKA_VTYPE_TIMESTAMP, &|it| it.u.i64_ = epoch::told(event.timestamp())),
            value(Tag::RD_KAFKA_VTYPE_HEADERS, &|it| it.u.headers = headers.raw()),
        ];
        let count = if headers.raw().is_null() { values.len() - 1 } else { values.len() };
        // SAFETY: client and topic are live; key and headers are copied or taken over, the payload is the caller's care.
        let error = unsafe { sys::rd_kafka_produceva(self.client.raw(), values.as_ptr(), count) };
        if error.is_null() {
            headers.give();
            return Ok(());
        }
        // SAFETY: live and ours until it is destroyed.
        unsafe {
            let code = sys::error_code(error);
            sys::rd_kafka_error_destroy(error);
            Err(Trouble::of(code))
        }
    }

    /// Plain events, in one call. What became of each is left in `room`.
    unsafe fn many(&self, events: &[Event], first: usize, learned: Option<Learned>, room: &mut Room) {
        room.0.clear();
        room.0.extend(events.iter().enumerate().map(|(index, event)| {
            let ((key, key_len), (payload, len)) = (part(event.key()), part(event.payload()));
            let partition = asked(event).unwrap_or_else(|| match (&learned, event.key()) {
                (None, _) => ANY,
                (Some(learned), Some(key)) => murmur2(key, learned.partitions),
                (Some(learned), None) => learned.keyless.unwrap_or(ANY),
            });
            rd_kafka_message_t {
                err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: null_mut(),
                partition,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: first.wrapping_add(index) as *mut c_void,
            }
        }));
        // SAFETY: the topic is live, and there are as many messages as said; keys are copied, payloads the caller's care.
        unsafe {
            sys::rd_kafka_produce_batch(
                self.raw.as_ptr(),
                ANY,
                sys::RD_KAFKA_MSG_F_PARTITION,
                room.0.as_mut_ptr(),
                room.0.len() as c_int,
            );
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: live and ours; events on their way hold references of their own.
        unsafe { sys::rd_kafka_topic_destroy(self.raw.as_ptr()) }
    }
}

/// Memory for [`Topic::produce`], kept from call to call.
#[derive(Default)]
pub struct Room(Vec<rd_kafka_message_t>);

// SAFETY: what its pointers point at is not looked at between two calls.
unsafe impl Send for Room {}

/// Whether an event is nothing but key and payload, to a partition that can be.
fn is_plain(event: &Event) -> bool {
    event.timestamp().is_none() && event.headers().is_empty() && asked(event).is_none_or(|it| it >= 0)
}

/// The partition that was asked for.
fn asked(event: &Event) -> Option<i32> {
    match event.position() {
        Position::Partition(partition) => Some(*partition),
        _ => None,
    }
}

/// No bytes is not empty bytes: a null pointer, or not.
fn part(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// What [`choose`] was told.
#[derive(Clone, Copy)]
struct Learned {
    partitions: i32,
    /// Chosen for an event without a key. Those that follow in the same call go there too: few large requests are
    /// several times faster than many small ones.
    keyless: Option<i32>,
}

thread_local! {
    static LEARNED: Cell<Option<Learned>> = const { Cell::new(None) };
}

/// Asked by the library for the partition of an event, on the thread of the call or on one of its own.
unsafe extern "C" fn choose(
    topic: *const rd_kafka_topic_t,
    key: *const c_void,
    size: usize,
    partitions: i32,
    _: *mut c_void,
    _: *mut c_void,
) -> i32 {
    if key.is_null() {
        // SAFETY: called from a partitioner, as it has to be. It avoids partitions that nobody serves.
        let any = unsafe {
            sys::rd_kafka_msg_partitioner_random(topic, key, size, partitions, null_mut(), null_mut())
        };
        LEARNED.set(Some(Learned { partitions, keyless: Some(any) }));
        return any;
    }
    let keyless = LEARNED.get().and_then(|learned| learned.keyless);
    LEARNED.set(Some(Learned { partitions, keyless }));
    // SAFETY: the library's own key.
    murmur2(unsafe { std::slice::from_raw_parts(key.cast(), size) }, partitions)
}

/// The partition that Java's clients choose for a key (`BuiltInPartitioner.partitionForKey`).
fn murmur2(key: &[u8], partitions: i32) -> i32 {
    // SAFETY: reads the key alone.
    unsafe {
        sys::rd_kafka_msg_partitioner_murmur2(
            std::ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            partitions,
            null_mut(),
            null_mut(),
        )
    }
}

/// Headers as the library has them; null where there are none.
struct HeaderList(*mut sys::rd_kafka_headers_t);

impl HeaderList {
    fn of(headers: Headers<'_>) -> HeaderList {
        if headers.is_empty() {
            return HeaderList(null_mut());
        }
        // SAFETY: allocates.
        let list = HeaderList(unsafe { sys::rd_kafka_headers_new(8) });
        for (name, value) in headers.iter() {
            let value = value.to_text();
            let (value, size) = part(value.as_deref());
            // SAFETY: both are copied; the name is as long as it says. Fails only for a list that cannot be changed.
            unsafe {
                sys::rd_kafka_header_add(
                    list.0,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    value,
                    size as isize,
                );
            }
        }
        list
    }

    fn raw(&self) -> *mut sys::rd_kafka_headers_t {
        self.0
    }

    /// Taken over by an event.
    fn give(mut self) {
        self.0 = null_mut();
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, and nobody took it.
            unsafe { sys::rd_kafka_headers_destroy(self.0) }
        }
    }
}

/// What became of one event.
pub struct Report {
    /// Its number.
    pub number: usize,
    /// Where it is; not told by a broker that was not to acknowledge.
    pub partition: i32,
    /// As above, below 0 where it is not known.
    pub offset: i64,
    /// Why it is not there, and whether it may be all the same.
    pub failed: Option<(Trouble, bool)>,
}

/// The reports in an event of type `RD_KAFKA_EVENT_DR`.
pub fn reports(event: &queue::Event) -> impl Iterator<Item = Report> {
    std::iter::from_fn(|| {
        // SAFETY: the event is live; each message lives as long, and is read field by field because its code may be one
        // that the bindings do not know.
        unsafe {
            let message = sys::rd_kafka_event_message_next(event.raw());
            if message.is_null() {
                return None;
            }
            let code = Code::at(&raw const (*message).err);
            let failed = (code != Code::OK).then(|| {
                let stored = sys::rd_kafka_message_status(message)
                    != sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
                let words = sys::text(sys::rd_kafka_message_produce_errstr(message));
                (Trouble { code, words }, stored)
            });
            let (partition, offset) = ((*message).partition, (*message).offset);
            Some(Report { number: (*message)._private as usize, partition, offset, failed })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Java's client (`UtilsTest.testMurmur2`): the hash without its sign, of 2^31 - 1 partitions the
    /// remainder.
    #[test]
    fn keys_go_where_javas_clients_send_them() {
        for (key, hash) in [
            ("21", -973932308_i32),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            for partitions in [1, 3, 12, 1000] {
                assert_eq!(murmur2(key.as_bytes(), partitions), (hash & i32::MAX) % partitions, "{key}");
            }
        }
        assert_eq!(murmur2(b"", 12), (275646681 & i32::MAX) % 12, "an empty key is a key");
    }
}
