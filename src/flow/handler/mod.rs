//! What handles an event: a process each, a worker per lane, a copy, or a line of output.

mod copy;
mod exec;
mod facts;
mod print;
mod process;
mod relay;
mod tail;
mod worker;

pub use copy::{Copying, copy};
pub use exec::exec;
pub use print::{Lines, Printed, print};
pub use process::{Program, look_up};
pub use relay::Relay;
pub use worker::worker;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::driver::{Handler, Told};
use crate::event::Event;

/// A handler at work, and what it says.
pub struct Crew<H = Box<dyn Handler>> {
    /// Given to the driver.
    pub handler: H,
    /// Given to the driver.
    pub told: mpsc::UnboundedReceiver<Told>,
    /// What is still to end when the driver has.
    pub tasks: JoinSet<()>,
}

impl<H> Crew<H> {
    /// The same, with the handler as the driver takes it.
    pub fn with<T>(self, wrap: impl FnOnce(H) -> T) -> Crew<T> {
        Crew { handler: wrap(self.handler), told: self.told, tasks: self.tasks }
    }
}

/// Waits, not for ever, until what the handler began has ended.
pub async fn ended(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
}

/// How a command is run.
pub struct Command {
    /// What, found already.
    pub program: Program,
    /// As it was typed after the program.
    pub args: Vec<std::ffi::OsString>,
    /// The canonical line on stdin instead of the payload.
    pub whole_event: bool,
    /// Broken off after so long.
    pub timeout: Option<Duration>,
    /// `EVCAT_GROUP`.
    pub group: Option<String>,
    /// `EVCAT_BROKER`.
    pub broker: String,
    /// Where its output goes.
    pub relay: Relay,
}

/// One event on its way into a lane.
struct Job {
    lane: usize,
    event: Event,
    attempt: u32,
}
