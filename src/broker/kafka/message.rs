//! One message as the library hands it over, and those of a partition's queue.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;

use super::error::Trouble;
use super::queue::Queue;
use super::sys::{self, Code, rd_kafka_message_t};
use crate::event::{Batch, HeaderValue, HeadersBuf, Millis, Name, Position};

/// A message, or what went wrong with its partition, for as long as the library's callback has it.
#[derive(Clone, Copy)]
pub struct Message<'a>(*const rd_kafka_message_t, PhantomData<&'a ()>);

impl<'a> Message<'a> {
    /// # Safety
    /// `raw` must be live and unchanged for `'a`.
    pub unsafe fn new(raw: *const rd_kafka_message_t) -> Message<'a> {
        Message(raw, PhantomData)
    }

    /// Whether it is an event, or what else it says of its partition.
    #[inline]
    pub fn code(self) -> Code {
        // SAFETY: live, as for all below.
        unsafe { Code::at(&raw const (*self.0).err) }
    }

    /// Which topic (the library's handle) and partition.
    #[inline]
    pub fn place(self) -> (usize, i32) {
        // SAFETY: as above.
        unsafe { ((*self.0).rkt as usize, (*self.0).partition) }
    }

    /// Its offset; of an end, that of the end.
    #[inline]
    pub fn offset(self) -> i64 {
        // SAFETY: as above.
        unsafe { (*self.0).offset }
    }

    /// `None` is no key.
    #[inline]
    fn key(self) -> Option<&'a [u8]> {
        // SAFETY: as above; so many bytes lie there.
        unsafe { bytes((*self.0).key, (*self.0).key_len) }
    }

    /// `None` is a tombstone.
    #[inline]
    fn payload(self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { bytes((*self.0).payload, (*self.0).len) }
    }

    /// When it happened, as its producer or its broker says; below 0 it says that nobody did.
    #[inline]
    pub fn timestamp(self) -> Option<Millis> {
        // SAFETY: as above; nobody asks who said it.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.0, std::ptr::null_mut()) };
        (at >= 0).then_some(at)
    }

    /// Adds the event that it is. `headers` is only for room. Errors: it is damaged, and nothing was added.
    #[inline]
    pub fn push(self, batch: &mut Batch, topic: &Name, headers: &mut HeadersBuf) -> Result<(), Trouble> {
        headers.clear();
        self.headers(headers)?;
        let position = Position::At { partition: self.place().1, offset: self.offset() };
        batch.push(topic, self.key(), headers.as_headers(), self.payload(), self.timestamp(), position);
        Ok(())
    }

    /// Adds its headers. Errors: they cannot be taken apart.
    #[inline]
    fn headers(self, into: &mut HeadersBuf) -> Result<(), Trouble> {
        let mut headers = std::ptr::null_mut();
        // SAFETY: as above; these calls answer codes of the library's own.
        match Code(unsafe { sys::rd_kafka_message_headers(self.0, &mut headers) } as i32) {
            Code::OK => {}
            Code::LOCAL_NOENT => return Ok(()),
            code => return Err(Trouble { code, words: "its headers are damaged".into() }),
        }
        let (mut name, mut value, mut len) = (std::ptr::null::<c_char>(), std::ptr::null::<c_void>(), 0);
        for at in 0.. {
            // SAFETY: the headers live as long as the message.
            let code = unsafe { sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut len) };
            if Code(code as i32) != Code::OK {
                break;
            }
            // SAFETY: the name ends with a NUL, and so many bytes lie at the value.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast_mut(), len)) };
            into.push(name.to_bytes(), value.map_or(HeaderValue::Null, HeaderValue::Bytes));
        }
        Ok(())
    }

    /// What went wrong.
    pub fn trouble(self) -> Trouble {
        // SAFETY: as above; the text lives as long as the message.
        Trouble { code: self.code(), words: unsafe { sys::text(sys::rd_kafka_message_errstr(self.0)) } }
    }
}

/// # Safety
/// `first` must be null or point to `len` bytes that live for `'a`.
#[inline]
unsafe fn bytes<'a>(first: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's.
    (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first.cast::<u8>(), len) })
}

/// Gives `each` what the queue of a partition has, the oldest first and at most so many, and answers how many there were;
/// never waits.
///
/// By callback: to ask for one at a time costs locks and a look at the clock for each, and the library's call for many
/// (2.12) counts the word that a partition ends as an event of it. It would go on one offset too far after the next
/// rebalance, and leave out the first event published meanwhile.
///
/// Requires: `most` is not 0, and the queue is a partition's.
pub fn take<F: FnMut(Message<'_>)>(queue: &Queue, most: usize, each: F) -> usize {
    let mut taking = Taking { count: 0, most, each };
    // SAFETY: the queue is live; the callback gets `taking` during the call only.
    unsafe {
        sys::rd_kafka_consume_callback_queue(queue.raw(), 0, Some(taken::<F>), (&raw mut taking).cast());
    }
    taking.count
}

struct Taking<F> {
    count: usize,
    most: usize,
    each: F,
}

unsafe extern "C" fn taken<F: FnMut(Message<'_>)>(message: *mut rd_kafka_message_t, taking: *mut c_void) {
    // SAFETY: what `take` set, for as long as it calls; the library has the message until this returns.
    let (taking, message) = unsafe { (&mut *taking.cast::<Taking<F>>(), Message::new(message)) };
    taking.count += 1;
    (taking.each)(message);
    if taking.count >= taking.most {
        // SAFETY: says to the call that runs on this thread to leave the rest in the queue; looks at no client.
        unsafe { sys::rd_kafka_yield(std::ptr::null_mut()) }
    }
}
