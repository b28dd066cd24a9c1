//! Who else is at the same dead letters, where they can only be seen by taking them.

use std::time::Duration;

use super::heap::{describe, is_taken};
use super::words::many;
use crate::event::Name;
use crate::outcome::{Exit, Failure};
use crate::session::Session;

/// A broker counts a member that has left for a moment more.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether somebody else takes from there now: what they have in hand nobody else sees. `false` where nobody can tell.
///
/// Requires: nothing of ours is open there.
pub async fn are_there(session: &Session, dlq: &Name) -> anyhow::Result<bool> {
    if !is_taken(session, dlq) {
        return Ok(false);
    }
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if describe(session, dlq).await?.takers.is_none_or(|takers| takers == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// So many letters could not be had because others are there; exit 6 where some were `done`, else 1.
pub fn failure(session: &Session, dlq: &Name, held: u64, done: u64) -> Failure {
    let (name, flag) = (&session.endpoint.name, &session.endpoint.flag);
    let message = match held {
        0 => format!(
            "nothing of {dlq} on {name} could be had: somebody else takes from it, and may hold what waits"
        ),
        held => format!(
            "{} of {dlq} on {name} could not be had: somebody else has them in hand, or has settled them",
            many(held, "dead letter")
        ),
    };
    let exit = if done > 0 { Exit::Partial } else { Exit::Failed };
    Failure::failed(message).exit(exit).hint(format!(
        "once they have left, what they gave back is there again: evcat dlq peek {}{flag}",
        crate::output::words::shell_quoted(dlq)
    ))
}
