//! A queue of the library's that wakes the runtime.
//!
//! The library calls us when something comes into an empty queue, from its own thread and under the queue's lock, and a
//! [`Notify`] carries that over: one write to the runtime's own eventfd where it sleeps, and nothing where it does not.
//! A pipe (`rd_kafka_queue_io_event_enable`) would cost a write and a read for each waking.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use tokio::sync::Notify;

use super::client::Client;
use super::error::Trouble;
use super::news::News;
use super::sys::{self, rd_kafka_event_t, rd_kafka_queue_t, rd_kafka_t};

/// A queue, held until it is dropped.
pub struct Queue {
    raw: NonNull<rd_kafka_queue_t>,
    /// The library's callback has its address.
    wake: Arc<Notify>,
    owner: Owner,
}

/// Whose a queue is.
pub enum Owner {
    /// The client's own, which it lets go: where the news of its connections come.
    Main(Arc<News>),
    /// Somebody's, who keeps the client for as long: a queue has to go before its client.
    Somebody(#[allow(dead_code, reason = "held, not looked at")] Client),
}

// SAFETY: the library's queues take calls from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// # Safety
    /// `raw` must be a reference to a queue that is ours to let go, of the client of `owner`; [`Owner::Main`] must let it
    /// go before the client. Nobody else may have the queue call back: there is one callback for all references.
    pub unsafe fn own(raw: NonNull<rd_kafka_queue_t>, owner: Owner) -> Queue {
        // SAFETY: the caller's.
        unsafe { Queue::own_waking(raw, owner, Arc::default()) }
    }

    /// The same with somebody's own `Notify`, for who waits for several queues at once.
    ///
    /// # Safety
    /// As [`own`](Queue::own).
    pub unsafe fn own_waking(raw: NonNull<rd_kafka_queue_t>, owner: Owner, wake: Arc<Notify>) -> Queue {
        // SAFETY: the queue is live; the callback is taken back in `drop` before the `Notify` goes, under the lock that
        // the library holds while it calls.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(
                raw.as_ptr(),
                Some(on_filled),
                Arc::as_ptr(&wake).cast_mut().cast(),
            );
        }
        Queue { raw, wake, owner }
    }

    /// The queue, for the library's calls.
    pub fn raw(&self) -> *mut rd_kafka_queue_t {
        self.raw.as_ptr()
    }

    /// The next event, if there is one; never waits. News of connections in the main queue are kept by the client and
    /// not answered here; in the queue of a consumer, [`News::hear`] them.
    pub fn poll(&self) -> Option<Event> {
        loop {
            // SAFETY: the queue is live; no waiting.
            let event = Event(NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.raw(), 0) })?);
            match &self.owner {
                Owner::Main(news) if event.kind() == sys::RD_KAFKA_EVENT_ERROR => news.hear(&event),
                _ => return Some(event),
            }
        }
    }

    /// Waits until something has come into the queue.
    ///
    /// Requires: the queue was found empty since the last call, because only the first thing that comes into an empty
    /// queue wakes. Behaviour: cancel safe; what came before the call is not missed; wakes too often rather than never.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is live and the reference ours.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.raw(), None, std::ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.raw());
        }
    }
}

unsafe extern "C" fn on_filled(_: *mut rd_kafka_t, wake: *mut c_void) {
    // SAFETY: set in `Queue::own`, and taken back before it goes.
    unsafe { &*wake.cast::<Notify>() }.notify_one();
}

/// An event, freed when it is dropped.
pub struct Event(NonNull<rd_kafka_event_t>);

// SAFETY: an event belongs to whoever took it, on any thread.
unsafe impl Send for Event {}

impl Event {
    /// The event, for the library's calls.
    pub fn raw(&self) -> *mut rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// Its type: `RD_KAFKA_EVENT_...`.
    pub fn kind(&self) -> i32 {
        // SAFETY: the event is live.
        unsafe { sys::rd_kafka_event_type(self.raw()) }
    }

    /// What went wrong, if anything.
    pub fn trouble(&self) -> Option<Trouble> {
        // SAFETY: the event is live, and its text with it.
        unsafe {
            let code = sys::event_error(self.raw());
            let words = || sys::text(sys::rd_kafka_event_error_string(self.raw()));
            (code != sys::Code::OK).then(|| Trouble { code, words: words() })
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_event_destroy(self.raw()) }
    }
}
