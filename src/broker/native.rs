//! Putting back by the broker itself, without a program in between: all of a queue, as it is.

use async_trait::async_trait;

use super::Result;
use crate::event::Name;

/// What is asked of it.
#[derive(Clone, Debug, Default)]
pub struct NativeWish {
    /// All into this queue; `None`: each letter into the queue that it died in.
    pub into: Option<Name>,
    /// At most so many in a second.
    pub per_second: Option<u64>,
}

/// What is known before it begins.
#[derive(Clone, Debug)]
pub struct NativePlan {
    /// How many letters wait; an estimate.
    pub waiting: u64,
    /// Into which queues, by the names that evcat calls them.
    pub into: Vec<Name>,
    /// It was begun before, by whomever, and is going on.
    pub under_way: Option<NativeProgress>,
}

/// How far it is; all numbers are the broker's estimates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeProgress {
    /// So many letters are back.
    pub moved: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
    /// Whether it goes on.
    pub state: NativeState,
}

/// Whether it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativeState {
    /// It does, or is about to end because it was cancelled.
    Running,
    /// It is done.
    Completed,
    /// Somebody ended it before that.
    Cancelled,
    /// It ended by itself: why, in words, and what to do next.
    Failed(String, Option<String>),
}

/// A queue of dead letters that the broker can empty itself. Dropped, a task that was begun goes on.
#[async_trait]
pub trait NativeReplay: Send + Sync {
    /// What would be done.
    fn plan(&self) -> &NativePlan;

    /// Begins, or joins a task that is under way. Behaviour: one task at a time, whoever began it.
    async fn start(&mut self) -> Result<()>;

    /// How far it is. Requires: it was begun.
    async fn progress(&mut self) -> Result<NativeProgress>;

    /// Asks for its end. Behaviour: what was moved stays moved; one that has ended already is well; `progress` tells the end.
    async fn cancel(&mut self) -> Result<()>;
}
