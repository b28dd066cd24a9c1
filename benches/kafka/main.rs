//! Every number that is promised of Kafka, measured beside its peer on the same broker in the same run.
//!
//! `cargo bench --bench kafka` starts a broker for it (`tests/brokers/broker up kafka:perf`), or takes the one that
//! `EVCAT_TEST_KAFKA` names. Words choose rows: `cargo bench --bench kafka -- one-shot bulk`. `chaos`, which takes minutes,
//! runs only by its name, and on a cluster of its own.
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
#[path = "../../tests/kafka/chaos.rs"]
mod chaos;
mod cluster;
mod dlq;
#[path = "../local/measure.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod measure;
#[path = "../../tests/support/proxy.rs"]
mod proxy;
mod publish;
mod read;
mod site;
mod spent;
#[path = "../local/table.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod table;

use std::fs::File;

use measure::Bench;
use site::Kafka;
use spent::{evcat, spend};
use table::Row;

/// A group of rows, by the word that chooses it.
type Group = (&'static str, fn(&Bench, &Kafka) -> Vec<Row>);

const ROWS: &[Group] = &[
    ("one-shot", publish::one_shot),
    ("bulk", publish::bulk),
    ("memory", publish::memory),
    ("slow-link", publish::slow_link),
    ("read", read::read),
    ("subscribe", read::subscribe),
    ("few", read::few),
    ("dlq", dlq::replay),
];

/// The broker compiles what it runs often, and until then a run measures that.
fn warm(bench: &Bench, kafka: &Kafka) {
    let topic = kafka.topic(1);
    for _ in 0..3 {
        let lines = File::open(bench.lines(1_000_000)).unwrap();
        spend(evcat(kafka.url()).args(["publish", &topic]).stdin(lines));
        spend(evcat(kafka.url()).args(["tail", &topic, "-n", "1000000", "--no-follow", "-o", "raw"]));
    }
    for _ in 0..200 {
        spend(evcat(kafka.url()).args(["publish", &topic, "x"]));
    }
    kafka.delete(&topic);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // cargo adds --bench.
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if chosen.iter().any(|choice| *choice == "chaos") {
        let row = cluster::chaos();
        println!("{row}");
        std::process::exit(table::verdict(&[row]));
    }
    let Some(kafka) = brokers::or_skip(Kafka::find()) else { return };
    let bench = Bench::new(false);
    warm(&bench, &kafka);
    let mut all = Vec::new();
    for (word, rows) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == word) {
            let rows = rows(&bench, &kafka);
            rows.iter().for_each(|row| println!("{row}"));
            all.extend(rows);
        }
    }
    let code = table::verdict(&all);
    drop(kafka);
    std::process::exit(code);
}
