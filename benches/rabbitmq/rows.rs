//! Publishing and consuming against PerfTest, one event against rabbitmqadmin, and memory.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::measure::{Bench, peak};
use crate::site::Rabbit;
use crate::spent::{Spent, against, evcat, spend};
use crate::table::{Row, Unit};

const MILLION: usize = 1_000_000;
/// What the peer has on its way at a time, and how many it takes ahead.
const WINDOW: &str = "1000";

/// One event.
pub fn one_shot(_: &Bench, rabbit: &Rabbit) -> Vec<Row> {
    let work = "one event, whole process, against rabbitmqadmin publish";
    if let Err(missing) = rabbit.admin() {
        return vec![Row::not_measured(work, &missing)];
    }
    let queue = rabbit.queue();
    let payload = "x".repeat(100);
    let ours = || spend(evcat(rabbit.url()).args(["publish", &format!("queue:{queue}"), &payload]));
    let (key, body) = (format!("routing_key={queue}"), format!("payload={payload}"));
    let peer = || spend(rabbit.admin().unwrap().args(["publish", "exchange=amq.default", &key, &body]));
    _ = (ours(), peer());
    let rows = against(work, [(0.10, 0.05), (0.10, 0.05)], 20, ours, peer);
    rabbit.delete(&queue);
    rows
}

/// A million lines from stdin, each confirmed. The peer makes its payloads up and reads nothing.
pub fn publish(bench: &Bench, rabbit: &Rabbit) -> Vec<Row> {
    let work = "1,000,000 lines of 100 B with confirms, against PerfTest";
    if let Err(missing) = rabbit.perf_test("") {
        return vec![Row::not_measured(work, &missing)];
    }
    // Each has a queue of its own, new each time: one that is full takes longer.
    let ours = || anew(rabbit, |queue| spend(&mut filling(bench, rabbit, queue)));
    let peer = || {
        anew(rabbit, |queue| {
            let mut perf_test = rabbit.perf_test(queue).unwrap();
            perf_test.args(["--consumers", "0", "--exchange", "", "--routing-key", queue]);
            perf_test.args(["--pmessages", &MILLION.to_string(), "--size", "100", "--flag", "persistent"]);
            spend(perf_test.args(["--confirm", WINDOW]))
        })
    };
    against(work, [(1.0, 0.8), (f64::MAX, 0.5)], 1, ours, peer)
}

/// The same taken out, each acked. The peer acks a hundred with one word.
pub fn consume(bench: &Bench, rabbit: &Rabbit) -> Vec<Row> {
    let work = "1,000,000 events of 100 B with acks, against PerfTest";
    if let Err(missing) = rabbit.perf_test("") {
        return vec![Row::not_measured(work, &missing)];
    }
    let ours = || {
        anew(rabbit, |queue| {
            spend(&mut filling(bench, rabbit, queue));
            spend(&mut emptying(rabbit, queue))
        })
    };
    let peer = || {
        anew(rabbit, |queue| {
            spend(&mut filling(bench, rabbit, queue));
            let mut perf_test = rabbit.perf_test(queue).unwrap();
            perf_test.args(["--producers", "0", "--cmessages", &MILLION.to_string()]);
            spend(perf_test.args(["--qos", WINDOW, "--multi-ack-every", "100"]))
        })
    };
    against(work, [(1.0, 0.8), (f64::MAX, 0.5)], 1, ours, peer)
}

/// The most memory held while they stream through.
pub fn memory(bench: &Bench, rabbit: &Rabbit) -> Vec<Row> {
    let queue = rabbit.queue();
    let publishing = peak(&mut filling(bench, rabbit, &queue));
    let consuming = peak(&mut emptying(rabbit, &queue));
    let room = bench.room();
    let large = room.path().join("1MiB");
    std::fs::write(&large, vec![b'x'; 1 << 20]).unwrap();
    let topic = format!("queue:{queue}");
    for _ in 0..10 {
        let mut publish = evcat(rabbit.url());
        publish.args(["publish", &topic, "-f"]);
        spend(publish.args(std::iter::repeat_n(&large, 100)));
    }
    let large = peak(&mut emptying(rabbit, &queue));
    rabbit.delete(&queue);
    let row = |work: &str, kibibytes: u64| Row {
        work: format!("memory: {work}"),
        measured: "highest resident set".into(),
        value: Some(kibibytes as f64 / 1024.0),
        unit: Unit::Mebibytes,
        must: 96.0,
        aim: 48.0,
    };
    vec![
        row("publish of 1,000,000", publishing),
        row("subscribe of 1,000,000", consuming),
        row("subscribe of 1,000 events of 1 MiB", large),
    ]
}

/// With a queue that is new and gone afterwards.
fn anew(rabbit: &Rabbit, with: impl FnOnce(&str) -> Spent) -> Spent {
    let queue = rabbit.queue();
    let spent = with(&queue);
    rabbit.delete(&queue);
    spent
}

fn filling(bench: &Bench, rabbit: &Rabbit, queue: &str) -> Command {
    let mut publish = evcat(rabbit.url());
    publish.args(["publish", &format!("queue:{queue}")]).stdin(File::open(bench.lines(MILLION)).unwrap());
    publish
}

fn emptying(rabbit: &Rabbit, queue: &str) -> Command {
    let mut subscribe = evcat(rabbit.url());
    subscribe
        .args(["subscribe", &format!("queue:{queue}"), "--no-follow", "-o", "raw"])
        .stdout(Stdio::null());
    subscribe
}
