//! `evcat completions`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Setup;

/// Completions.
#[derive(Debug, Args)]
pub struct CompletionsArgs {}

/// Runs it.
pub async fn run(_args: CompletionsArgs, _setup: &Setup) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
