//! `evcat topics`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Topics.
#[derive(Debug, Args)]
pub struct TopicsArgs {}

/// Runs it.
pub async fn run(_args: TopicsArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
