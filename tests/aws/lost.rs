//! What is acknowledged is not lost, whatever happens on the way.

use std::io::Write;
use std::time::Duration;

use crate::brokers::{Private, or_skip, python};
use crate::chaos::{self, Chaos};

#[test]
fn nothing_is_lost_while_connections_break_aws_stands_still_and_members_are_killed() {
    if or_skip(python()).is_none() {
        return;
    }
    let Some(broker) = or_skip(Private::up("aws:fast")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let chaos = Chaos {
        events: 5_000,
        keys: 200,
        rate: 500,
        members: 3,
        kills: 4,
        pauses: 2,
        seed: fastrand::u64(..),
        limit: Duration::from_secs(240),
    };
    writeln!(std::io::stderr(), "seed {}", chaos.seed).unwrap();
    let report = chaos::run(&broker, dir.path(), &chaos);
    // Seen also when it passes: how many came twice is the price.
    writeln!(std::io::stderr(), "{report:?}").unwrap();
}
