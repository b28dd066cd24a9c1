//! From a line written to an open publisher to the line printed by a waiting tail.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::measure::*;
use crate::table::{Row, Unit};

const LINES: usize = 500;

pub fn rows(bench: &Bench) -> Vec<Row> {
    let mut rounds: Vec<_> = (0..ROUNDS).map(|_| one(bench)).collect();
    rounds.sort();
    let (p50, p99) = rounds[ROUNDS / 2];
    let row = |work: &str, value: Duration, must, aim| Row {
        work: work.into(),
        measured: format!("{LINES} lines, one at a time"),
        value: Some(millis(value)),
        unit: Unit::Millis,
        must,
        aim,
    };
    vec![
        row("a line to a publisher to a line of a tail, p50", p50, 3.0, 1.0),
        row("the same, p99", p99, 20.0, 5.0),
    ]
}

fn one(bench: &Bench) -> (Duration, Duration) {
    let room = bench.room();
    let database = room.path().join("ours.db");
    run(evcat(&database).args(["publish", "t", "first"]));
    let mut tail = evcat(&database);
    tail.args(["tail", "t", "-n", "1", "-o", "raw"]).stdout(Stdio::piped());
    let mut tail = tail.spawn().unwrap();
    let mut printed = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(printed.next().unwrap().unwrap(), "first", "the tail is there");
    let mut publisher = evcat(&database);
    let mut publisher = publisher.args(["publish", "t"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = publisher.stdin.take().unwrap();
    let mut took = Vec::new();
    for i in 0..LINES + 20 {
        let line = format!("line {i} {}", "x".repeat(90));
        let begin = Instant::now();
        writeln!(stdin, "{line}").unwrap();
        assert_eq!(printed.next().unwrap().unwrap(), line);
        took.push(begin.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(stdin);
    publisher.wait().unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    // The first ones start the programs.
    let took = &mut took[20..];
    (percentile(took, 50), percentile(took, 99))
}
