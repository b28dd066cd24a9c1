//! What was fetched, as the library has it, and as an event.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::error::Trouble;
use super::queue::Queue;
use super::sys::{self, Code, rd_kafka_message_t};
use crate::event::{Batch, HeaderValue, HeadersBuf, Name, Position};

/// So many are taken out of a queue at a time.
const AT_ONCE: usize = 512;

/// Taken out of the queue of a partition; freed when dropped.
pub struct Messages(Vec<*mut rd_kafka_message_t>);

impl Messages {
    /// What a queue has, at most so many; never waits.
    ///
    /// One by one: the library's call for many (2.12) counts the word that a partition ends as an event of it. It would
    /// go on one offset too far after the next rebalance, and leave out the first event published meanwhile.
    pub fn take(queue: &Queue, most: usize) -> Messages {
        // SAFETY: the queue is live; null where it is empty.
        let next = || NonNull::new(unsafe { sys::rd_kafka_consume_queue(queue.raw(), 0) });
        Messages(std::iter::from_fn(next).take(most.min(AT_ONCE)).map(NonNull::as_ptr).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.0.iter().map(|message| Message(*message, PhantomData))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // SAFETY: each is live and ours.
        self.0.iter().for_each(|message| unsafe { sys::rd_kafka_message_destroy(*message) });
    }
}

/// One of them.
pub struct Message<'a>(*mut rd_kafka_message_t, PhantomData<&'a Messages>);

impl Message<'_> {
    /// Where it lies; of the end of a partition, the end.
    pub fn offset(&self) -> i64 {
        // SAFETY: live for as long as `self`.
        unsafe { (*self.0).offset }
    }

    /// What it says instead of an event.
    pub fn trouble(&self) -> Option<Trouble> {
        // SAFETY: live for as long as `self`, and its text with it.
        unsafe {
            let code = Code::at(&raw const (*self.0).err);
            let words = || sys::text(sys::rd_kafka_message_errstr(self.0));
            (code != Code::OK).then(|| Trouble { code, words: words() })
        }
    }

    /// Adds the event that it is. `headers` is only for room.
    pub fn push(&self, batch: &mut Batch, topic: &Name, headers: &mut HeadersBuf) {
        headers.clear();
        // SAFETY: all live for as long as `self`; null is no key, a tombstone, no headers, a header without a value.
        unsafe {
            let message = &raw const *self.0;
            let mut list = std::ptr::null_mut();
            if Code::of(sys::rd_kafka_message_headers(message, &mut list)) == Code::OK {
                let (mut at, mut name, mut value, mut size) = (0, std::ptr::null(), std::ptr::null(), 0);
                while Code::of(sys::rd_kafka_header_get_all(list, at, &mut name, &mut value, &mut size))
                    == Code::OK
                {
                    let name = std::ffi::CStr::from_ptr(name).to_bytes();
                    headers.push(
                        name,
                        match value.is_null() {
                            true => HeaderValue::Null,
                            false => HeaderValue::Bytes(slice::from_raw_parts(value.cast(), size)),
                        },
                    );
                    at += 1;
                }
            }
            let part = |first: *mut std::ffi::c_void, len| {
                (!first.is_null()).then(|| slice::from_raw_parts(first.cast::<u8>(), len))
            };
            let (key, payload) =
                (part((*message).key, (*message).key_len), part((*message).payload, (*message).len));
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let timestamp = sys::rd_kafka_message_timestamp(message, &mut kind);
            let position = Position::At { partition: (*message).partition, offset: (*message).offset };
            batch.push(
                topic,
                key,
                headers.as_headers(),
                payload,
                (timestamp >= 0).then_some(timestamp),
                position,
            );
        }
    }
}
