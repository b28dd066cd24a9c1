//! `evcat groups`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Session;

/// Groups.
#[derive(Debug, Args)]
pub struct GroupsArgs {}

/// Runs it.
pub async fn run(_args: GroupsArgs, _session: &Session) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
