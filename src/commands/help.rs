//! `evcat help`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Help.
#[derive(Debug, Args)]
pub struct HelpArgs {}

/// Runs it.
pub async fn run(_args: HelpArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
