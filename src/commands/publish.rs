//! `evcat publish`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Publish.
#[derive(Debug, Args)]
pub struct PublishArgs {}

/// Runs it.
pub async fn run(_args: PublishArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
