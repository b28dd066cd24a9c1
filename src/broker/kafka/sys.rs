//! The raw calls of librdkafka, with the few declarations that the bindings have otherwise than we need them.
//!
//! The bindings give an error code the type of a Rust enum. A broker newer than librdkafka answers codes which that enum
//! does not have, and merely reading one would be undefined behaviour. So a code is a number here, and the functions
//! that return one of the broker's are declared again.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

pub use rdkafka_sys::bindings::*;

/// A code of librdkafka (below 0) or of the broker (above 0; <https://kafka.apache.org/protocol#protocol_error_codes>).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

macro_rules! codes {
    ($($name:ident = $raw:ident,)*) => {
        #[allow(missing_docs, reason = "the names of the library, without their prefix; LOCAL where it has two underscores")]
        impl Code {
            $(pub const $name: Code = Code(rd_kafka_resp_err_t::$raw as i32);)*
        }
    };
}

codes! {
    OK = RD_KAFKA_RESP_ERR_NO_ERROR,
    LOCAL_TRANSPORT = RD_KAFKA_RESP_ERR__TRANSPORT,
    LOCAL_RESOLVE = RD_KAFKA_RESP_ERR__RESOLVE,
    LOCAL_ALL_BROKERS_DOWN = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
    LOCAL_TIMED_OUT = RD_KAFKA_RESP_ERR__TIMED_OUT,
    LOCAL_TIMED_OUT_QUEUE = RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
    LOCAL_MSG_TIMED_OUT = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
    LOCAL_AUTHENTICATION = RD_KAFKA_RESP_ERR__AUTHENTICATION,
    LOCAL_SSL = RD_KAFKA_RESP_ERR__SSL,
    LOCAL_UNKNOWN_TOPIC = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
    LOCAL_UNKNOWN_PARTITION = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
    LOCAL_NOENT = RD_KAFKA_RESP_ERR__NOENT,
    LOCAL_PARTITION_EOF = RD_KAFKA_RESP_ERR__PARTITION_EOF,
    LOCAL_AUTO_OFFSET_RESET = RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
    LOCAL_ASSIGN_PARTITIONS = RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
    LOCAL_MAX_POLL_EXCEEDED = RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED,
    LOCAL_FATAL = RD_KAFKA_RESP_ERR__FATAL,
    LOCAL_FENCED = RD_KAFKA_RESP_ERR__FENCED,
    LOCAL_PURGE_QUEUE = RD_KAFKA_RESP_ERR__PURGE_QUEUE,
    LOCAL_PURGE_INFLIGHT = RD_KAFKA_RESP_ERR__PURGE_INFLIGHT,
    LOCAL_DESTROY = RD_KAFKA_RESP_ERR__DESTROY,
    LOCAL_DESTROY_BROKER = RD_KAFKA_RESP_ERR__DESTROY_BROKER,
    LOCAL_BAD_MSG = RD_KAFKA_RESP_ERR__BAD_MSG,
    LOCAL_BAD_COMPRESSION = RD_KAFKA_RESP_ERR__BAD_COMPRESSION,
    LOCAL_UNSUPPORTED_FEATURE = RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
    LOCAL_INVALID_ARG = RD_KAFKA_RESP_ERR__INVALID_ARG,
    LOCAL_STATE = RD_KAFKA_RESP_ERR__STATE,
    LOCAL_UNKNOWN_PROTOCOL = RD_KAFKA_RESP_ERR__UNKNOWN_PROTOCOL,
    LOCAL_WAIT_COORD = RD_KAFKA_RESP_ERR__WAIT_COORD,
    OFFSET_OUT_OF_RANGE = RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
    INVALID_MSG = RD_KAFKA_RESP_ERR_INVALID_MSG,
    UNKNOWN_TOPIC_OR_PART = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    LEADER_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    NOT_LEADER_FOR_PARTITION = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    REQUEST_TIMED_OUT = RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    BROKER_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
    REPLICA_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
    MSG_SIZE_TOO_LARGE = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
    OFFSET_METADATA_TOO_LARGE = RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
    NETWORK_EXCEPTION = RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    COORDINATOR_LOAD_IN_PROGRESS = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
    NOT_COORDINATOR = RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
    TOPIC_EXCEPTION = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
    RECORD_LIST_TOO_LARGE = RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
    NOT_ENOUGH_REPLICAS = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    INVALID_REQUIRED_ACKS = RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
    ILLEGAL_GENERATION = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
    INVALID_GROUP_ID = RD_KAFKA_RESP_ERR_INVALID_GROUP_ID,
    UNKNOWN_MEMBER_ID = RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
    INCONSISTENT_GROUP_PROTOCOL = RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
    INVALID_SESSION_TIMEOUT = RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
    REBALANCE_IN_PROGRESS = RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
    TOPIC_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    GROUP_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    CLUSTER_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    INVALID_TIMESTAMP = RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
    UNSUPPORTED_VERSION = RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
    TOPIC_ALREADY_EXISTS = RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS,
    INVALID_PARTITIONS = RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
    INVALID_REPLICATION_FACTOR = RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR,
    INVALID_CONFIG = RD_KAFKA_RESP_ERR_INVALID_CONFIG,
    NOT_CONTROLLER = RD_KAFKA_RESP_ERR_NOT_CONTROLLER,
    INVALID_REQUEST = RD_KAFKA_RESP_ERR_INVALID_REQUEST,
    POLICY_VIOLATION = RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    INVALID_PRODUCER_EPOCH = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
    CONCURRENT_TRANSACTIONS = RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    SECURITY_DISABLED = RD_KAFKA_RESP_ERR_SECURITY_DISABLED,
    KAFKA_STORAGE_ERROR = RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    SASL_AUTHENTICATION_FAILED = RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
    NON_EMPTY_GROUP = RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP,
    GROUP_ID_NOT_FOUND = RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND,
    TOPIC_DELETION_DISABLED = RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED,
    UNSUPPORTED_COMPRESSION_TYPE = RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE,
    GROUP_SUBSCRIBED_TO_TOPIC = RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC,
    FENCED_LEADER_EPOCH = RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
    UNKNOWN_LEADER_EPOCH = RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
    OFFSET_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
    FENCED_INSTANCE_ID = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
    GROUP_MAX_SIZE_REACHED = RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED,
    UNSTABLE_OFFSET_COMMIT = RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
    THROTTLING_QUOTA_EXCEEDED = RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    PRODUCER_FENCED = RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    INVALID_RECORD = RD_KAFKA_RESP_ERR_INVALID_RECORD,
    FENCED_MEMBER_EPOCH = RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH,
    STALE_MEMBER_EPOCH = RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH,
    UNRELEASED_INSTANCE_ID = RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID,
}

impl Code {
    /// The code in a struct of the library's.
    ///
    /// # Safety
    /// `place` must be readable, as a field of a live struct is.
    #[inline]
    pub unsafe fn at(place: *const rd_kafka_resp_err_t) -> Code {
        // SAFETY: the enum is `repr(i32)`; as a number every value is good.
        Code(unsafe { place.cast::<i32>().read() })
    }

    /// The code that a call of the library's answers which only answers its own.
    pub fn of(code: rd_kafka_resp_err_t) -> Code {
        Code(code as i32)
    }

    /// What librdkafka calls it, such as `_TRANSPORT` or `UNKNOWN_TOPIC_OR_PART`.
    pub fn name(self) -> String {
        // SAFETY: answers a static text, or one of this thread that lives until the next call of it, for any number.
        unsafe { text(err2name(self.0)) }
    }

    /// What librdkafka says about it in a few words.
    pub fn words(self) -> String {
        // SAFETY: as above.
        unsafe { text(err2str(self.0)) }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// A text of the library's; null is empty.
///
/// # Safety
/// `text` must be null or a C string that lives during this call.
pub unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller says that it is a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A text as the library takes it. No name has a NUL in it; what has one becomes a name that nothing has, and never the
/// empty one, which may be somebody's.
pub fn c_text(text: &str) -> CString {
    let bytes = text.bytes().map(|byte| byte.max(1)).collect();
    // SAFETY: no byte is 0.
    unsafe { CString::from_vec_unchecked(bytes) }
}

// Declared again with a number where the bindings have the enum.
unsafe extern "C" {
    #[link_name = "rd_kafka_err2name"]
    fn err2name(code: c_int) -> *const c_char;
    #[link_name = "rd_kafka_err2str"]
    fn err2str(code: c_int) -> *const c_char;
    #[link_name = "rd_kafka_last_error"]
    fn last_error_raw() -> c_int;
    #[link_name = "rd_kafka_event_error"]
    fn event_error_raw(event: *mut rd_kafka_event_t) -> c_int;
    #[link_name = "rd_kafka_error_code"]
    fn error_code_raw(error: *const rd_kafka_error_t) -> c_int;
    #[link_name = "rd_kafka_topic_result_error"]
    fn topic_result_error_raw(result: *const rd_kafka_topic_result_t) -> c_int;
    #[link_name = "rd_kafka_ConfigResource_error"]
    fn config_resource_error_raw(resource: *const rd_kafka_ConfigResource_t) -> c_int;
    #[link_name = "rd_kafka_fatal_error"]
    fn fatal_error_raw(rk: *mut rd_kafka_t, text: *mut c_char, size: usize) -> c_int;
    #[link_name = "rd_kafka_subscribe"]
    fn subscribe_raw(rk: *mut rd_kafka_t, topics: *const rd_kafka_topic_partition_list_t) -> c_int;
    #[link_name = "rd_kafka_assign"]
    fn assign_raw(rk: *mut rd_kafka_t, partitions: *const rd_kafka_topic_partition_list_t) -> c_int;
    #[link_name = "rd_kafka_commit_queue"]
    fn commit_queue_raw(
        rk: *mut rd_kafka_t,
        offsets: *const rd_kafka_topic_partition_list_t,
        queue: *mut rd_kafka_queue_t,
        callback: *const c_void,
        opaque: *mut c_void,
    ) -> c_int;
    #[link_name = "rd_kafka_metadata"]
    fn metadata_raw(
        rk: *mut rd_kafka_t,
        all: c_int,
        only: *mut rd_kafka_topic_t,
        out: *mut *const rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
}

/// The code of the last call on this thread that answers by errno-like state (`rd_kafka_produce`, `rd_kafka_topic_new`).
pub fn last_error() -> Code {
    // SAFETY: reads a number of this thread.
    Code(unsafe { last_error_raw() })
}

/// The code of an event.
///
/// # Safety
/// `event` must be live.
pub unsafe fn event_error(event: *mut rd_kafka_event_t) -> Code {
    // SAFETY: the caller's.
    Code(unsafe { event_error_raw(event) })
}

/// The code of an error object; null is [`Code::OK`].
///
/// # Safety
/// `error` must be null or live.
pub unsafe fn error_code(error: *const rd_kafka_error_t) -> Code {
    // SAFETY: the caller's; the library takes null.
    Code(unsafe { error_code_raw(error) })
}

/// The code of a topic's part of an answer.
///
/// # Safety
/// `result` must be live.
pub unsafe fn topic_result_error(result: *const rd_kafka_topic_result_t) -> Code {
    // SAFETY: the caller's.
    Code(unsafe { topic_result_error_raw(result) })
}

/// The code of a resource's part of an answer.
///
/// # Safety
/// `resource` must be live.
pub unsafe fn config_resource_error(resource: *const rd_kafka_ConfigResource_t) -> Code {
    // SAFETY: the caller's.
    Code(unsafe { config_resource_error_raw(resource) })
}

/// The error that made a client useless, if there was one, and its text.
///
/// # Safety
/// `rk` must be live.
pub unsafe fn fatal_error(rk: *mut rd_kafka_t) -> Option<(Code, String)> {
    let mut buffer = [0; 512];
    // SAFETY: the buffer is as long as it is said to be; the library ends it with a NUL.
    let code = Code(unsafe { fatal_error_raw(rk, buffer.as_mut_ptr(), buffer.len()) });
    // SAFETY: as above.
    (code != Code::OK).then(|| (code, unsafe { text(buffer.as_ptr()) }))
}

/// Becomes a member that works on these topics.
///
/// # Safety
/// `rk` must be a live consumer with a group, and the list live.
pub unsafe fn subscribe(rk: *mut rd_kafka_t, topics: *const rd_kafka_topic_partition_list_t) -> Code {
    // SAFETY: the caller's; the list is copied.
    Code(unsafe { subscribe_raw(rk, topics) })
}

/// Takes exactly these partitions; null takes none.
///
/// # Safety
/// `rk` must be a live consumer, and the list null or live.
pub unsafe fn assign(rk: *mut rd_kafka_t, partitions: *const rd_kafka_topic_partition_list_t) -> Code {
    // SAFETY: the caller's; the list is copied.
    Code(unsafe { assign_raw(rk, partitions) })
}

/// Commits; the answer comes into the queue as an event.
///
/// # Safety
/// `rk` must be a live consumer with a group, and the list and the queue live.
pub unsafe fn commit(
    rk: *mut rd_kafka_t,
    offsets: *const rd_kafka_topic_partition_list_t,
    queue: *mut rd_kafka_queue_t,
) -> Code {
    // SAFETY: the caller's; the list is copied.
    Code(unsafe { commit_queue_raw(rk, offsets, queue, std::ptr::null(), std::ptr::null_mut()) })
}

/// Asks any broker for metadata, and blocks for so long: of the brokers, and of all topics or of those that the client
/// uses. The answer is freed by `rd_kafka_metadata_destroy`.
///
/// # Safety
/// `rk` must be live.
pub unsafe fn metadata(
    rk: *mut rd_kafka_t,
    all_topics: bool,
    timeout_ms: c_int,
) -> Result<*const rd_kafka_metadata, Code> {
    let mut out = std::ptr::null();
    // SAFETY: the caller's; `out` is set where the answer is no error.
    let code = Code(unsafe {
        metadata_raw(rk, c_int::from(all_topics), std::ptr::null_mut(), &mut out, timeout_ms)
    });
    if code == Code::OK { Ok(out) } else { Err(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_the_bindings_do_not_know_is_a_number() {
        let place = 4711_i32;
        // SAFETY: a live number; that it is no variant of the enum is the point.
        let code = unsafe { Code::at((&raw const place).cast()) };
        assert_eq!(code, Code(4711));
        assert!(code.words().contains("4711"), "{code:?}");
        assert_eq!(Code::LOCAL_TRANSPORT.name(), "_TRANSPORT");
    }
}
