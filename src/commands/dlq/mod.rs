//! `evcat dlq`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Dlq.
#[derive(Debug, Args)]
pub struct DlqArgs {}

/// Runs it.
pub async fn run(_args: DlqArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
