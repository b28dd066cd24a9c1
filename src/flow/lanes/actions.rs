//! What goes into the lanes and what comes out.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Token;
use crate::event::Event;

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `exit`, `signal`, `timeout`, `dead`, `worker`, `filter`, `copy`, `unsettled`.
    pub kind: &'static str,
    /// In a few words: `exit 1`, `killed by signal 9`, `no end after 30s`.
    pub what: String,
    /// What the handler said about it: the end of its stderr, or its reason. May be empty.
    pub text: String,
}

impl Failure {
    /// A failure that says all in a few words.
    pub fn new(kind: &'static str, what: impl Into<String>) -> Failure {
        Failure { kind, what: what.into(), text: String::new() }
    }

    /// With what the handler said.
    pub fn said(self, text: impl Into<String>) -> Failure {
        Failure { text: text.into(), ..self }
    }
}

/// `exit 1: total is not a number`.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

/// What to do with a delivery when its turn comes; the filters said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Hand it to a lane.
    Handle,
    /// Ack it: no match.
    Skip,
    /// It cannot even be judged: a dead letter.
    Dead(Box<Failure>),
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Ack,
    /// Failed; another try may help.
    Retry(Failure),
    /// Failed; no other try is wanted.
    Dead(Failure),
    /// The handler cannot work at all: give the event back and stop.
    Halt(Failure),
    /// Broken off because a [`Action::Kill`] asked for it: nothing is known of the event.
    Killed,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Hand it to this idle lane. [`Lanes::finished`](super::Lanes::finished) is to be said once for it.
    Start {
        /// Counted from 0.
        lane: usize,
        /// What to handle.
        event: Event,
        /// 1 for the first try.
        attempt: u32,
    },
    /// Hand these over, without a lane. [`Lanes::passed`](super::Lanes::passed) is to be said for them, in this order.
    Pass(Arc<[Event]>),
    /// Settle this token; of a [`Settled::Dead`] the answer is wanted, by [`Lanes::settled`](super::Lanes::settled).
    Settle(Token, Settled),
    /// This event failed and waits for its next try.
    Waiting {
        /// What failed.
        event: Event,
        /// Which try comes next.
        next: u32,
        /// For how long it waits.
        wait: Duration,
        /// Why.
        failure: Failure,
    },
    /// Break off what this lane does; it still says how it ended.
    Kill(usize),
    /// No more is started, because of this; what runs may end.
    Stopping(Reason),
    /// Nothing is in hand and nothing will be.
    Done,
}

/// How a delivery ends.
#[derive(Clone, Debug)]
pub enum Settled {
    /// Handled.
    Ack,
    /// Ack: it did not match.
    Skip,
    /// The broker holds it back so long.
    Retry(Duration),
    /// Given back as if it had never been handed out.
    Release,
    /// Given back after a try.
    GiveBack,
    /// Into the dead letters.
    Dead(Box<Death>),
}

/// A dead letter in the making.
#[derive(Clone, Debug)]
pub struct Death {
    /// As it was received.
    pub event: Event,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub failure: Failure,
}

/// Why no more is started.
#[derive(Clone, Debug)]
pub enum Reason {
    /// Somebody asked.
    Asked,
    /// [`Rules::limit`](super::Rules::limit) is reached.
    Limit,
    /// [`Rules::max_dead`](super::Rules::max_dead) in a row.
    MaxDead(u32),
    /// An event died and there is no place for the dead.
    Died(Box<Death>),
    /// The handler cannot work.
    Halted(Failure),
}
