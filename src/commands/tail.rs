//! `evcat tail`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Tail.
#[derive(Debug, Args)]
pub struct TailArgs {}

/// Runs it.
pub async fn run(_args: TailArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
