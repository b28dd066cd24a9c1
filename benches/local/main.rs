//! Every number that is promised of the embedded broker, measured beside its peer in the same run.
//!
//! `cargo bench --bench local` takes some minutes; `-- --full` adds 10 million events and ten publishers with four
//! members that are killed at random. Words choose rows: `cargo bench --bench local -- one-shot read`.
//!
//! Ours and the peer run by turns; each row is done three times and the median counts. Exit code 1: a "must" was missed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench talks and stops"
)]

#[path = "../../tests/crash/crowd.rs"]
mod crowd;
mod latency;
mod measure;
mod memory;
mod rows;
mod scale;
#[path = "../../tests/crash/store.rs"]
mod store;
mod table;
mod work;

use measure::Bench;
use table::Row;

/// A group of rows, by the word that chooses it.
type Group = (&'static str, fn(&Bench) -> Vec<Row>);

const ROWS: &[Group] = &[
    ("start", rows::start),
    ("one-shot", rows::one_shot),
    ("bulk", rows::bulk),
    ("read", rows::read),
    ("latency", latency::rows),
    ("memory", memory::rows),
    ("scale", scale::rows),
    ("worker", work::rows),
    ("crowd", work::crowd),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(crowd::WORKER) => return crowd::work(arguments[1].as_ref()),
        Some(work::TRIVIAL) => return work::trivial(),
        _ => {}
    }
    let full = arguments.iter().any(|argument| argument == "--full");
    // cargo adds --bench.
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let bench = Bench::new(full);
    println!("{}", bench.machine());
    let mut all = Vec::new();
    for (word, rows) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == word) {
            let rows = rows(&bench);
            rows.iter().for_each(|row| println!("{row}"));
            all.extend(rows);
        }
    }
    std::process::exit(table::verdict(&all));
}
