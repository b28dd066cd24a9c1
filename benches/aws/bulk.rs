//! Many events into a queue and out of it, against a loop of boto3 that sends, receives and deletes ten at a time.

use std::fs::File;

use crate::Sqs;
use crate::measure::{Bench, peak};
use crate::spent::*;
use crate::table::{Row, Unit};

const COUNT: usize = 10_000;

/// Both ways. A queue is emptied after each time it was filled, so that it never has more than these in it.
pub fn bulk(bench: &Bench, sqs: &Sqs) -> Vec<Row> {
    let lines = bench.lines(COUNT);
    let (ours, peers) = (sqs.queue(), sqs.queue());
    let place = format!("queue:{ours}");
    let publish = || spend(evcat(&sqs.url).args(["publish", &place]).stdin(File::open(&lines).unwrap()));
    let drain = || spend(evcat(&sqs.url).args(["subscribe", &place, "-c", &COUNT.to_string(), "-o", "raw"]));
    let put = || spend(&mut sqs.peer("put", &peers, &lines));
    let take = || spend(&mut sqs.peer("drain", &peers, COUNT.to_string()));
    let any = (f64::MAX, 1.0);
    let mut rows = against(
        "10,000 x 100 B into a queue, against boto3",
        [(0.33, 0.2), any],
        1,
        || (publish(), drain()).0,
        || (put(), take()).0,
    );
    rows.extend(against(
        "10,000 x 100 B out of a queue, against boto3",
        [(0.33, 0.2), any],
        1,
        || (publish(), drain()).1,
        || (put(), take()).1,
    ));
    sqs.delete(&ours);
    sqs.delete(&peers);
    rows
}

/// The most memory held while they stream through.
pub fn memory(bench: &Bench, sqs: &Sqs) -> Vec<Row> {
    let queue = sqs.queue();
    let place = format!("queue:{queue}");
    let row = |work: &str, most: u64| Row {
        work: format!("memory: {work} of 10,000"),
        measured: "highest resident set".into(),
        value: Some(most as f64 / 1024.0),
        unit: Unit::Mebibytes,
        must: 96.0,
        aim: 48.0,
    };
    let published =
        peak(evcat(&sqs.url).args(["publish", &place]).stdin(File::open(bench.lines(COUNT)).unwrap()));
    let drained = peak(evcat(&sqs.url).args(["subscribe", &place, "-c", &COUNT.to_string(), "-o", "raw"]));
    sqs.delete(&queue);
    vec![row("publish", published), row("subscribe", drained)]
}
