//! Events of the time 0, which the library cannot be told: it takes that for no time, and writes its own.
//!
//! Such an event is handed over with a mark for its time, and before it leaves the mark is replaced where the library
//! keeps it. That place is not told; it is looked for behind what is public of a message, and the library's own answer to
//! "what is its time?" says whether it was found.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

use super::conf::Conf;
use super::sys::{self, rd_kafka_conf_t, rd_kafka_message_t, rd_kafka_resp_err_t as Answer, rd_kafka_t};
use crate::event::Millis;

/// No event is of that time.
const MARK: i64 = i64::MIN + 1970;
const NAME: &CStr = c"evcat";
/// The time is among the first numbers behind the public part (the sixth in librdkafka 2.12, on 64 bits).
const NEAR: usize = 8;

/// What the library is told of an event's time; 0 is now.
pub fn told(timestamp: Option<Millis>) -> i64 {
    match timestamp {
        None => 0,
        Some(0) => MARK,
        Some(at) => at,
    }
}

/// Has a client with this configuration replace marks.
pub fn replace_marks(conf: &mut Conf) {
    // SAFETY: the configuration is live, and the name static. Fails only for a name that is there already.
    unsafe {
        sys::rd_kafka_conf_interceptor_add_on_new(conf.raw(), NAME.as_ptr(), Some(on_new), null_mut());
    }
}

unsafe extern "C" fn on_new(
    rk: *mut rd_kafka_t,
    _: *const rd_kafka_conf_t,
    _: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> Answer {
    // SAFETY: the client is being made, the only time when this may be called.
    unsafe { sys::rd_kafka_interceptor_add_on_send(rk, NAME.as_ptr(), Some(on_send), null_mut()) }
}

unsafe extern "C" fn on_send(_: *mut rd_kafka_t, message: *mut rd_kafka_message_t, _: *mut c_void) -> Answer {
    // SAFETY: the message is live, and not yet anybody else's.
    let time = || unsafe { sys::rd_kafka_message_timestamp(message, null_mut()) };
    if time() != MARK {
        return Answer::RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    // SAFETY: the public part is the first member of a struct that is larger by far more than is looked at.
    let behind = unsafe { message.add(1) }.cast::<i64>();
    for place in (0..NEAR).map(|i| behind.wrapping_add(i)) {
        // SAFETY: as above; where the mark stands is a number, and what was no time gets its number back.
        unsafe {
            if place.read_unaligned() == MARK {
                place.write_unaligned(0);
                if time() == 0 {
                    return Answer::RD_KAFKA_RESP_ERR_NO_ERROR;
                }
                place.write_unaligned(MARK);
            }
        }
    }
    Answer::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
}
