//! `evcat profiles`.

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::session::Setup;

/// Profiles.
#[derive(Debug, Args)]
pub struct ProfilesArgs {}

/// Runs it.
pub async fn run(_args: ProfilesArgs, _setup: &Setup) -> anyhow::Result<Outcome> {
    Err(Failure::usage("not built yet").into())
}
