//! `evcat dlq`: what could not be handled, and the way back.

mod choosing;
mod drop;
mod heap;
mod list;
mod others;
mod peek;
mod replay;
mod show;
mod stats;
mod words;

use clap::{Args, Subcommand};

use crate::outcome::Outcome;
use crate::session::Session;

/// Read, understand and put back what could not be handled
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// The topics with dead letters, how many wait, since when, and when they expire
    List(list::ListArgs),
    /// One line for each dead letter
    Peek(Box<peek::PeekArgs>),
    /// All that is known of one dead letter
    Show(show::ShowArgs),
    /// What they died of, when, and where they came from
    Stats(Box<stats::StatsArgs>),
    Replay(Box<replay::ReplayArgs>),
    Drop(Box<drop::DropArgs>),
}

/// Runs it.
pub async fn run(args: DlqArgs, session: &Session) -> anyhow::Result<Outcome> {
    match args.command {
        DlqCommand::List(args) => list::run(args, session).await,
        DlqCommand::Peek(args) => peek::run(*args, session).await,
        DlqCommand::Show(args) => show::run(args, session).await,
        DlqCommand::Stats(args) => stats::run(*args, session).await,
        DlqCommand::Replay(args) => replay::run(*args, session).await,
        DlqCommand::Drop(args) => drop::run(*args, session).await,
    }
}
