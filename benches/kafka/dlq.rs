//! Putting dead letters back against a loop that moves each in a transaction of its own.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::brokers;
use crate::measure::Bench;
use crate::site::*;
use crate::spent::*;
use crate::table::Row;

const LETTERS: usize = 100_000;
/// So many the loop moves, from which the time of all is computed.
const PEERS: usize = 2000;

/// 100,000 dead letters, plan and all.
pub fn replay(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let work = "dlq replay of 100,000, against one transaction each";
    let python = match brokers::python() {
        Ok(python) => python,
        Err(missing) => return vec![Row::not_measured(work, &missing)],
    };
    let topic = kafka.topic(1);
    let fill = |letters: &str, count: usize| {
        spend(evcat(kafka.url()).args(["topics", "create", letters, "--partitions", "1"]));
        let origin = format!("evcat-dlq-topic={topic}");
        let facts = ["-H", &origin, "-H", "evcat-dlq-group=g", "-H", "evcat-dlq-error=exit 1"];
        let input = File::open(bench.lines(count)).unwrap();
        spend(evcat(kafka.url()).args(["publish", letters]).args(facts).stdin(input));
    };
    let ours = || {
        let letters = format!("{topic}.g.dlq");
        fill(&letters, LETTERS);
        let all = ["dlq", "replay", &letters, "--yes", "--expect", "100000"];
        let spent = spend(evcat(kafka.url()).args(all));
        kafka.delete(&letters);
        spent
    };
    let peers = format!("{topic}.peer.dlq");
    fill(&peers, 10 * PEERS);
    let address = kafka.url().split_once("://").unwrap().1;
    let moves = |count: usize| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let step = format!("redrive:{topic}:{count}");
        spend(Command::new(&python).args([script, address, &peers, &step]).stdout(Stdio::null()))
    };
    let peer = || {
        let (begin, some) = (moves(0), moves(PEERS));
        let all = |begin, some| begin + (some - begin) * (LETTERS / PEERS) as u32;
        Spent { wall: all(begin.wall, some.wall), cpu: all(begin.cpu, some.cpu) }
    };
    // The broker learns what to compile.
    moves(PEERS);
    let rows = against(work, [(0.10, 0.03), (0.10, 0.05)], 1, ours, peer);
    kafka.delete(&peers);
    kafka.delete(&topic);
    rows
}
