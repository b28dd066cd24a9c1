//! `evcat replay`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Replay.
#[derive(Debug, Args)]
pub struct ReplayArgs {}

/// Runs it.
pub async fn run(_args: ReplayArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
