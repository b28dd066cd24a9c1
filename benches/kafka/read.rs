//! Reading against `kcat -C`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::brokers;
use crate::measure::{Bench, has, peak};
use crate::site::*;
use crate::spent::*;
use crate::table::{Row, Unit};

const MILLION: usize = 1_000_000;
const NO_KCAT: &str = "kcat is not installed";
const HEADERS: [&str; 4] =
    ["-H", "id=A-17", "-H", "traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];

/// A topic of one partition with a million events of 100 bytes, published by the peer.
fn filled(bench: &Bench, kafka: &Kafka, options: &[&str]) -> String {
    let topic = kafka.topic(1);
    let lines = bench.lines(MILLION);
    spend(kcat(kafka.url()).args(["-P", "-t", &topic]).args(options).stdin(File::open(lines).unwrap()));
    topic
}

fn ours(kafka: &Kafka, topic: &str, how: &[&str]) -> Command {
    let mut command = evcat(kafka.url());
    command.args(["tail", topic, "--from", "beginning", "--no-follow"]).args(how);
    command
}

fn peer(kafka: &Kafka, topic: &str, how: &[&str]) -> Command {
    let mut command = kcat(kafka.url());
    command.args(["-C", "-e", "-q", "-o", "beginning", "-t", topic]).args(how);
    command
}

/// Into a pipe that somebody empties as fast as it fills.
fn piped(mut command: Command) -> Spent {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let into = cat.stdin.take().unwrap();
    let spent = spend(command.stdout(into));
    drop(command);
    cat.wait().unwrap();
    spent
}

fn to_file(mut command: Command, path: &Path) -> Spent {
    spend(command.stdout(File::create(path).unwrap()))
}

/// A million events.
pub fn read(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    if !has("kcat") {
        return vec![Row::not_measured("reading 1,000,000 events of 100 B", NO_KCAT)];
    }
    let (room, any) = (bench.room(), (f64::MAX, 1.0));
    let file = room.path().join("out");
    let plain = filled(bench, kafka, &[]);
    let format = "%t %p %o %T %k %s\n";
    let mut rows = against(
        "1,000,000 x 100 B, -o raw, to a pipe, against kcat -C",
        [(0.30, 0.20), any],
        3,
        || piped(ours(kafka, &plain, &["-o", "raw"])),
        || piped(peer(kafka, &plain, &[])),
    );
    rows.extend(against(
        "the same to a file",
        [(0.60, 0.30), any],
        3,
        || to_file(ours(kafka, &plain, &["-o", "raw"]), &file),
        || to_file(peer(kafka, &plain, &[]), &file),
    ));
    rows.extend(against(
        "the same as -F '%t %p %o %T %k %s\\n', against -f",
        [(0.20, 0.10), any],
        1,
        || piped(ours(kafka, &plain, &["-F", format])),
        || piped(peer(kafka, &plain, &["-f", format])),
    ));
    kafka.delete(&plain);
    let with_headers = filled(bench, kafka, &HEADERS);
    rows.extend(against(
        "the same with headers as -o json, against -J",
        [(0.10, 0.06), any],
        1,
        || piped(ours(kafka, &with_headers, &["-o", "json"])),
        || piped(peer(kafka, &with_headers, &["-J"])),
    ));
    for (format, how) in [("raw", &["-o", "raw"]), ("json", &["-o", "json"])] {
        let most = peak(&mut ours(kafka, &with_headers, how)) as f64 / 1024.0;
        rows.push(Row {
            work: format!("memory: tail -o {format} of 1,000,000"),
            measured: "highest resident set".into(),
            value: Some(most),
            unit: Unit::Mebibytes,
            must: 96.0,
            aim: 48.0,
        });
    }
    kafka.delete(&with_headers);
    rows
}

/// Every event acknowledged after its line was written, against only looking at them.
pub fn subscribe(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let work = "1,000,000 x 100 B, subscribe -o raw, to a pipe, against tail";
    if !has("kcat") {
        return vec![Row::not_measured(work, NO_KCAT)];
    }
    let topic = filled(bench, kafka, &[]);
    let mut groups = 0..;
    let handled = || {
        let group = format!("g{}", groups.next().unwrap_or(0));
        let mut command = evcat(kafka.url());
        command.args(["subscribe", &topic, "-g", &group, "--from", "beginning", "--no-follow", "-o", "raw"]);
        piped(command)
    };
    let rows = against(work, [(2.0, 1.2), (f64::MAX, 1.0)], 1, handled, || {
        piped(ours(kafka, &topic, &["-o", "raw"]))
    });
    kafka.delete(&topic);
    rows
}

/// Ten events to the end, whole process; also where the end of a transaction is the last that the topic has.
pub fn few(_: &Bench, kafka: &Kafka) -> Vec<Row> {
    let work = "a topic of ten events to its end, against kcat -C -e";
    if !has("kcat") {
        return vec![Row::not_measured(work, NO_KCAT)];
    }
    let ten = |topic: &str, step: &str| -> Result<(), String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let address = kafka.url().split_once("://").unwrap().1;
        let mut client = Command::new(brokers::python()?);
        spend(client.args([script, address, topic, step]).stderr(Stdio::null()));
        Ok(())
    };
    let mut rows = Vec::new();
    for (what, step) in [("", "plain:10"), (", which ends in a transaction", "commit:10")] {
        let (work, topic) = (format!("{work}{what}"), kafka.topic(1));
        match ten(&topic, step) {
            Err(missing) => rows.push(Row::not_measured(&work, &missing)),
            Ok(()) => rows.extend(against(
                &work,
                [(0.03, 0.012), (f64::MAX, 1.0)],
                10,
                || spend(&mut ours(kafka, &topic, &[])),
                || spend(&mut peer(kafka, &topic, &[])),
            )),
        }
        kafka.delete(&topic);
    }
    rows
}
