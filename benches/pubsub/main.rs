//! Every number that is promised of Pub/Sub, measured beside Google's own Python client with its default settings, on the
//! same server in the same run. The server is the one of the tests (`support/pubsub_fake`): Google's Go stand-in streams
//! some 90 events a second, which would be measured in place of both. So these are numbers of clients, and not of Google's
//! service.
//!
//! `cargo bench --bench pubsub`; words choose rows: `cargo bench --bench pubsub -- one-shot`. `chaos`, which takes minutes,
//! runs only by its name.
//!
//! Ours and the peer run by turns; each row is done three times and the median counts. Exit code 1: a "must" was missed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench talks and stops"
)]

#[path = "../../tests/support/brokers.rs"]
mod brokers;
#[path = "../../tests/pubsub/chaos.rs"]
mod chaos;
#[path = "../local/measure.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod measure;
#[path = "../../tests/support/proxy.rs"]
mod proxy;
#[path = "../../tests/support/pubsub_fake/mod.rs"]
mod pubsub_fake;
mod rows;
#[path = "../local/table.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod table;

use std::time::Duration;

use chaos::Chaos;
use measure::Bench;
use rows::Stage;
use table::{Row, Unit};

/// A group of rows, by the word that chooses it.
type Group = (&'static str, fn(&Bench, &Stage) -> Vec<Row>);

const ROWS: &[Group] = &[
    ("one-shot", rows::one_shot),
    ("publish", rows::publish),
    ("drain", rows::drain),
    ("memory", rows::memory),
];

/// 100,000 events while connections are cut, the server hangs and goes, and members are killed. What must hold is checked.
fn chaos() -> Row {
    let dir = tempfile::tempdir().unwrap();
    let wish = Chaos {
        events: 100_000,
        keys: 2000,
        rate: 800,
        members: 4,
        faults: 60,
        long_pause: true,
        seed: fastrand::u64(..),
        limit: Duration::from_secs(600),
    };
    println!("seed {}", wish.seed);
    let report = chaos::run(dir.path(), &wish);
    let value = Some(report.events as f64 / report.took.as_secs_f64());
    let work = "100,000 events while links, the server and members die".into();
    let measured = format!("seed {} {report:?}", wish.seed);
    Row { work, measured, value, unit: Unit::PerSecond, must: 0.0, aim: 0.0 }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // cargo adds --bench.
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if chosen.iter().any(|choice| *choice == "chaos") {
        let row = chaos();
        println!("{row}");
        std::process::exit(table::verdict(&[row]));
    }
    let (bench, stage) = (Bench::new(false), Stage::new());
    let mut all = Vec::new();
    for (word, rows) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == word) {
            let rows = rows(&bench, &stage);
            rows.iter().for_each(|row| println!("{row}"));
            all.extend(rows);
        }
    }
    std::process::exit(table::verdict(&all));
}
