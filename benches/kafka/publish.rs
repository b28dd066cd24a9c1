//! Publishing against `kcat -P`.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use crate::measure::{Bench, has, peak};
use crate::proxy::Proxy;
use crate::site::*;
use crate::spent::*;
use crate::table::{Row, Unit};

const MILLION: usize = 1_000_000;
const NO_KCAT: &str = "kcat is not installed";

/// One event.
pub fn one_shot(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let work = "one event, whole process, against kcat -P";
    if !has("kcat") {
        return vec![Row::not_measured(work, NO_KCAT)];
    }
    let topic = kafka.topic(1);
    let line = bench.lines(1);
    let payload = std::fs::read_to_string(&line).unwrap();
    let ours = || spend(evcat(kafka.url()).args(["publish", &topic, payload.trim_end()]));
    let peer = || spend(kcat(kafka.url()).args(["-P", "-t", &topic]).stdin(File::open(&line).unwrap()));
    _ = (ours(), peer());
    let rows = against(work, [(0.42, 0.33), (0.60, 0.33)], 40, ours, peer);
    kafka.delete(&topic);
    rows
}

/// A million lines from stdin, each acknowledged by all replicas.
pub fn bulk(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let work = "1,000,000 lines of 100 B from stdin, against kcat -P";
    if !has("kcat") {
        return vec![Row::not_measured(work, NO_KCAT)];
    }
    let topic = kafka.topic(1);
    let lines = bench.lines(MILLION);
    let input = || File::open(&lines).unwrap();
    let ours = || spend(evcat(kafka.url()).args(["publish", &topic]).stdin(input()));
    let peer = || spend(kcat(kafka.url()).args(["-P", "-t", &topic]).stdin(input()));
    // The broker learns what to compile.
    _ = (ours(), peer());
    let rows = against(work, [(0.70, 0.45), (0.60, 0.25)], 3, ours, peer);
    kafka.delete(&topic);
    rows
}

/// The most memory held while they stream through.
pub fn memory(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let topic = kafka.topic(1);
    let mut publish = evcat(kafka.url());
    publish.args(["publish", &topic]).stdin(File::open(bench.lines(MILLION)).unwrap());
    let most = peak(&mut publish) as f64 / 1024.0;
    kafka.delete(&topic);
    vec![Row {
        work: "memory: publish of 1,000,000".into(),
        measured: "highest resident set".into(),
        value: Some(most),
        unit: Unit::Mebibytes,
        must: 96.0,
        aim: 48.0,
    }]
}

/// What it costs that a broker has one request of ours at a time, which is how events keep their order over retries: on
/// a link of 10 ms there and back, against as many requests as fit and against the library's idempotent producer.
pub fn slow_link(bench: &Bench, kafka: &Kafka) -> Vec<Row> {
    let lines = bench.lines(MILLION);
    let mut rows = Vec::new();
    for (link, delay) in [("no delay", 0), ("10 ms", 5)] {
        let proxy = Proxy::to(kafka.url(), Duration::from_millis(delay));
        let topic = kafka.topic(1);
        let publish = |option: &str| {
            let mut command: Command = evcat(&proxy.url());
            command.args(["publish", &topic, "-X", option]).stdin(File::open(&lines).unwrap());
            spend(&mut command)
        };
        let ours = || publish("max.in.flight=1");
        for (peer, option) in [("many", "max.in.flight=1000000"), ("idempotent", "enable.idempotence=true")] {
            let work = format!("1,000,000 lines, {link}: one request at a time against {peer}");
            rows.extend(against(&work, [(f64::MAX, 1.0); 2], 1, ours, || publish(option)));
        }
        kafka.delete(&topic);
    }
    rows
}
