//! Every number that is promised of RabbitMQ, measured beside its peer on the same server in the same run.
//!
//! `cargo bench --bench rabbitmq` starts a server for it (`tests/brokers/broker up rabbitmq`), or takes the one that
//! `EVCAT_TEST_RABBITMQ` names. Words choose rows: `cargo bench --bench rabbitmq -- one-shot publish consume memory`.
//!
//! The peers are PerfTest, RabbitMQ's own bench in Java (the stage `perftest` of `tests/brokers/provision.sh`), and
//! rabbitmqadmin, which comes with the server. Ours and the peer run by turns; each row is done three times and the median
//! counts. Exit code 1: a "must" was missed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench talks and stops"
)]

#[path = "../../tests/support/brokers.rs"]
mod brokers;
#[path = "../local/measure.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod measure;
mod rows;
mod site;
#[path = "../kafka/spent.rs"]
mod spent;
#[path = "../local/table.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod table;

use measure::Bench;
use site::Rabbit;
use table::Row;

/// A group of rows, by the word that chooses it.
type Group = (&'static str, fn(&Bench, &Rabbit) -> Vec<Row>);

const ROWS: &[Group] = &[
    ("one-shot", rows::one_shot),
    ("publish", rows::publish),
    ("consume", rows::consume),
    ("memory", rows::memory),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // cargo adds --bench.
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let Some(rabbit) = brokers::or_skip(Rabbit::find()) else { return };
    let bench = Bench::new(false);
    let mut all = Vec::new();
    for (word, rows) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == word) {
            let rows = rows(&bench, &rabbit);
            rows.iter().for_each(|row| println!("{row}"));
            all.extend(rows);
        }
    }
    let code = table::verdict(&all);
    drop(rabbit);
    std::process::exit(code);
}
