//! `evcat subscribe`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Subscribe.
#[derive(Debug, Args)]
pub struct SubscribeArgs {}

/// Runs it.
pub async fn run(_args: SubscribeArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
