//! What the work has come to.

use std::time::Duration;

use crate::broker::Receipt;
use crate::event::Event;
use crate::flow::lanes::{Death, Failure};

/// What happened on the way.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A try failed; another follows.
    Waiting {
        /// What failed.
        event: &'a Event,
        /// Which try comes next.
        next: u32,
        /// After how long.
        wait: Duration,
        /// Why.
        failure: &'a Failure,
    },
    /// It is a dead letter now.
    Dead {
        /// What died, and why.
        death: &'a Death,
        /// Where the dead letter lies.
        receipt: Option<&'a Receipt>,
    },
}

/// Why the work ended.
#[derive(Debug, Default)]
pub enum Ended {
    /// Everything before the stop was worked off.
    #[default]
    Complete,
    /// Somebody asked.
    Asked,
    /// As many as were wanted.
    Limit,
    /// Nothing came for long enough.
    Idle,
    /// It was to last no longer.
    TimeOver,
    /// Nobody reads our output any more.
    ReaderLeft,
    /// So many died in a row.
    MaxDead(u32),
    /// This one died, and there is no place for the dead.
    Died(Box<Death>),
    /// The handler cannot work.
    Halted(Failure),
    /// The broker or the output failed.
    Failed(anyhow::Error),
}

/// The account.
#[derive(Debug, Default)]
pub struct Report {
    /// Handled and acked.
    pub acked: u64,
    /// Acked because they did not match.
    pub skipped: u64,
    /// Dead letters made.
    pub dead: u64,
    /// Tries that another one followed.
    pub retried: u64,
    /// Handed out and given back.
    pub given_back: u64,
    /// Taken away while in hand: somebody else handles them, perhaps again.
    pub lost: u64,
    /// Why it ended.
    pub ended: Ended,
}
