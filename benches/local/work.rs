//! Events per second through a handler, and the crowd that is killed at random.

use std::io::{BufRead, Write};
use std::path::Path;

use crate::crowd::{self, Crowd};
use crate::measure::*;
use crate::table::{Row, Unit};

/// The argument that makes this binary a handler that does nothing.
pub const TRIVIAL: &str = "--as-trivial-worker";
const EVENTS: usize = 100_000;

/// Says `ok` to each line.
pub fn trivial() {
    let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if stdout.write_all(b"ok\n").and_then(|()| stdout.flush()).is_err() {
            return;
        }
        line.clear();
    }
}

pub fn rows(bench: &Bench) -> Vec<Row> {
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| one(bench)).collect();
    rates.sort_by(f64::total_cmp);
    vec![Row {
        work: "subscribe --worker --concurrency 4".into(),
        measured: format!("{EVENTS} events of 1,000 keys, a worker that does nothing"),
        value: Some(rates[ROUNDS / 2]),
        unit: Unit::PerSecond,
        must: 30_000.0,
        aim: 100_000.0,
    }]
}

fn one(bench: &Bench) -> f64 {
    let room = bench.room();
    let (database, input) = (room.path().join("ours.db"), room.path().join("input"));
    let lines: String = (0..EVENTS).map(|i| format!("k{}:{{\"n\":{i}}}\n", i % 1000)).collect();
    std::fs::write(&input, lines).unwrap();
    run(evcat(&database).args(["publish", "t", "-K", ":"]).stdin(std::fs::File::open(&input).unwrap()));
    let mut subscribe = evcat(&database);
    subscribe.args(["subscribe", "t", "-g", "g", "--from", "beginning", "--no-follow", "--concurrency", "4"]);
    subscribe.args(["--worker", "--"]).arg(std::env::current_exe().unwrap()).arg(TRIVIAL);
    EVENTS as f64 / run(&mut subscribe).as_secs_f64()
}

/// Ten publishers of 100,000 events each, four members killed at random: counted, not timed against anybody.
pub fn crowd(bench: &Bench) -> Vec<Row> {
    let work = "10 x 100,000 events, 4 members killed at random";
    if !bench.full {
        return vec![Row::not_measured(work, "only with --full")];
    }
    let room = bench.room();
    let crowd =
        Crowd { publishers: 10, events_each: 100_000, members: 4, concurrency: 4, keys: 1000, seed: 1 };
    let report = crowd::run(Path::new(env!("CARGO_BIN_EXE_evcat")), room.path(), &crowd);
    let measured = format!(
        "{} kills, {} deliveries, {} of them duplicates, nothing lost, in {:.1?}",
        report.kills, report.deliveries, report.duplicates, report.took
    );
    let rate = report.events as f64 / report.took.as_secs_f64();
    vec![Row { work: work.into(), measured, value: Some(rate), unit: Unit::PerSecond, must: 0.0, aim: 0.0 }]
}
