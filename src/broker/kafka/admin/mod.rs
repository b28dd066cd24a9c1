//! What an administrator asks: one request, one answer, whatever it is about.
//!
//! Any client can ask, also one that publishes or reads. Every request goes the same way: options, a queue for its
//! answer, the call, the event, a copy of what it says, and all of it freed. Only the call and the copy differ.

mod cluster;
mod configs;
mod groups;
mod offsets;
#[cfg(test)]
mod tests;
mod topics;

use std::ffi::c_char;
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::Client;
use super::conf::ERROR_TEXT;
use super::error::{About, Trouble};
use super::queue::{Event, Queue};
use super::sys::{
    self, Code, c_text, rd_kafka_AdminOptions_t, rd_kafka_admin_op_t, rd_kafka_error_t, rd_kafka_queue_t,
};
use crate::broker::Result;

pub use cluster::{Cluster, Node, Right};
pub use configs::Config;
pub use groups::Description;
pub use offsets::{Committed, EARLIEST, LATEST, NEWEST, Offset};
pub use topics::{Described, NewTopic, Part};

/// The options of one request.
pub(super) struct Options(NonNull<rd_kafka_AdminOptions_t>);

impl Options {
    /// `node` of `None` is whoever the library thinks is right.
    fn new(client: &Client, op: rd_kafka_admin_op_t, patience: Duration, node: Option<i32>) -> Options {
        // SAFETY: the client is live, and every `op` has options.
        let options =
            Options(unsafe { NonNull::new_unchecked(sys::rd_kafka_AdminOptions_new(client.raw(), op)) });
        let patience = patience.clamp(Duration::from_millis(1), LONGEST).as_millis() as i32;
        let mut words: [c_char; ERROR_TEXT] = [0; ERROR_TEXT];
        let (text, size) = (words.as_mut_ptr(), words.len());
        // SAFETY: all live; within the library's range, so that there is no error to read. A node is refused where the
        // request has its own way to whoever must answer, and then it goes that way.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(options.raw(), patience, text, size);
            if let Some(node) = node {
                sys::rd_kafka_AdminOptions_set_broker(options.raw(), node, text, size);
            }
        }
        options
    }

    pub(super) fn raw(&self) -> *mut rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.raw()) }
    }
}

/// How long until a busy cluster is asked again, the first time and at most.
const AGAIN: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(500);
/// How long the first answer is waited for until somebody else is asked; then twice as long each time.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The most that the library waits for.
const LONGEST: Duration = Duration::from_secs(3600);
/// What the coordinator of a group answers.
const OF_GROUPS: &[rd_kafka_admin_op_t] = &[
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS,
];
/// Those of them that change something: a request that was given up may still be heard, so none is, and who the
/// coordinator is has to be known before.
const CHANGES_GROUPS: &[rd_kafka_admin_op_t] = &[
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS,
];
/// What is not asked twice, because the first request may have been heard.
const ONCE: &[rd_kafka_admin_op_t] = &[
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS,
    rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS,
];

impl Client {
    /// Asks, and asks a busy cluster again for as long as we have patience. `call` sends the request: it gets the options
    /// and the queue for the answer. `read` copies what the answer says. Behaviour: cancel safe in that nothing is lost
    /// but the answer.
    ///
    /// Where a broker has just died the library goes on asking it, because nobody told it otherwise, and connects to it
    /// thousands of times a second. So what can be asked twice is asked of somebody who answers; what cannot has to know
    /// first that somebody does.
    async fn ask<T>(
        &self,
        about: &About,
        op: rd_kafka_admin_op_t,
        call: impl Fn(&Options, *mut rd_kafka_queue_t) + Send,
        read: impl Fn(&Event) -> std::result::Result<T, Trouble> + Send,
    ) -> Result<T> {
        Ok(self.ask_first(None, about, op, call, read).await?.0)
    }

    /// The same of this broker, and of others only if it does not answer. With the number of the one that did, where it was
    /// we who chose it.
    async fn ask_first<T>(
        &self,
        mut node: Option<i32>,
        about: &About,
        op: rd_kafka_admin_op_t,
        call: impl Fn(&Options, *mut rd_kafka_queue_t) + Send,
        read: impl Fn(&Event) -> std::result::Result<T, Trouble> + Send,
    ) -> Result<(T, Option<i32>)> {
        let end = self.timeout().map(|timeout| Instant::now() + timeout);
        let (once, of_groups) = (ONCE.contains(&op), OF_GROUPS.contains(&op));
        let changes = CHANGES_GROUPS.contains(&op);
        let (mut again, mut attempt) = (*AGAIN.start(), ATTEMPT);
        let mut nodes: Vec<i32> = Vec::new();
        loop {
            let left = end.map_or(LONGEST, |end| end.saturating_duration_since(Instant::now()));
            let searches = of_groups && node.is_none();
            let patience = match (searches, once) {
                (true, _) => LONGEST,
                (false, true) => left,
                (false, false) => left.min(attempt),
            };
            let queue = self.queue();
            call(&Options::new(self, op, patience, node), queue.raw());
            let answer = async {
                match searches {
                    true if changes => self.of_coordinator(&queue, end).await,
                    true => timeout(left.min(attempt), next(&queue)).await.ok(),
                    false => Some(next(&queue).await),
                }
            };
            let event = tokio::select! {
                biased;
                event = answer => event,
                trouble = self.refused() => return Err(trouble.error(about, self)),
            };
            let answer = match event {
                Some(event) => event.trouble().map_or_else(|| read(&event), Err),
                None => Err(Trouble::of(Code::LOCAL_TIMED_OUT)),
            };
            let trouble = match answer {
                Ok(answer) => return Ok((answer, node)),
                Err(trouble) => trouble,
            };
            let lost = !once && trouble.is_lost();
            if !(lost || trouble.is_busy()) || end.is_some_and(|end| Instant::now() + again > end) {
                return Err(trouble.error(about, self));
            }
            tracing::debug!(?trouble, operation = about.operation, "asked again");
            node = None;
            if of_groups && (trouble.code == Code::NOT_COORDINATOR || lost || !searches) {
                // The library never forgets who a coordinator was (2.12), and waits for one that died until the state of
                // some connection changes, which may be never. So each of them is asked whether it is now.
                if nodes.is_empty() {
                    nodes = self.nodes().await;
                }
                node = nodes.pop();
            } else if lost && !of_groups {
                attempt = attempt.saturating_mul(2);
                // A list of all groups is made of everybody's: one alone would leave out those of the others.
                let everybody = op == rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
                while node.is_none() && end.is_none_or(|end| Instant::now() < end) {
                    node = tokio::select! {
                        node = self.who_answers() => node,
                        trouble = self.refused() => return Err(trouble.error(about, self)),
                    };
                }
                node = node.filter(|_| !everybody);
            } else if !of_groups {
                // Where a leader is of another epoch by now the library (2.12) goes on with what it knows of the topic, for
                // minutes. Any question about the brokers has it learn anew what it knows of topics.
                tokio::select! {
                    _ = self.who_answers() => {}
                    trouble = self.refused() => return Err(trouble.error(about, self)),
                }
            }
            sleep(again).await;
            again = (again * 2).min(*AGAIN.end());
        }
    }

    /// The answer of a coordinator, or `None` at the end of our patience.
    ///
    /// It is we who lose patience, not the library: whose search for a coordinator goes on after the request has timed
    /// out, and ends the process when it finds one (<https://github.com/confluentinc/librdkafka/issues/4605>). And it
    /// looks for another coordinator than a dead one only when it hears of some broker, so one is asked for.
    async fn of_coordinator(&self, queue: &Queue, end: Option<Instant>) -> Option<Event> {
        let answer = next(queue);
        tokio::pin!(answer);
        let mut attempt = ATTEMPT;
        loop {
            let now = Instant::now();
            let until = end.map_or(now + attempt, |end| end.min(now + attempt));
            tokio::select! {
                biased;
                event = &mut answer => return Some(event),
                () = sleep_until(until) => {}
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return None;
            }
            attempt = (attempt * 2).min(ATTEMPT * 4);
            tokio::select! {
                biased;
                event = &mut answer => return Some(event),
                _ = self.who_answers() => {}
            }
        }
    }
}

async fn next(queue: &Queue) -> Event {
    loop {
        match queue.poll() {
            Some(event) => return event,
            None => queue.filled().await,
        }
    }
}

/// What an error object says, if there is one.
///
/// # Safety
/// `error` must be null or live.
unsafe fn trouble(error: *const rd_kafka_error_t) -> Option<Trouble> {
    // SAFETY: the caller's.
    let code = unsafe { sys::error_code(error) };
    // SAFETY: as above, and not null where it has a code.
    (code != Code::OK)
        .then(|| Trouble { code, words: unsafe { sys::text(sys::rd_kafka_error_string(error)) } })
}

/// An array of pointers that the library answered.
///
/// # Safety
/// `first` must be null or point to `count` pointers that live for `'a`.
unsafe fn array<'a, T>(first: *mut *const T, count: usize) -> &'a [*const T] {
    // SAFETY: the caller's.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// The first thing that went wrong, if any did.
fn all_well(troubles: impl IntoIterator<Item = Option<Trouble>>) -> std::result::Result<(), Trouble> {
    troubles.into_iter().flatten().next().map_or(Ok(()), Err)
}
