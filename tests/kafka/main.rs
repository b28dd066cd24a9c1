//! What holds on a real Kafka and nowhere else; the conformance suite has what every broker does.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bridge;
#[path = "../support/brokers.rs"]
mod brokers;
mod chaos;
mod cluster;
mod connections;
mod dlq;
mod foreign;
mod groups;
#[path = "../support/kick.rs"]
mod kick;
mod members;
#[path = "../support/mock.rs"]
mod mock;
mod moments;
#[path = "../support/proxy.rs"]
mod proxy;
mod publish;
mod read;
mod rebalance;
#[path = "../cli/rig.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "a suite takes what it needs; tests read their own variables"
)]
mod rig;
mod secure;
#[path = "../support/suite.rs"]
mod suite;
mod topics;

use std::io::Write;
use std::process::{Command, Stdio};

use suite::*;

/// Publishes these lines to a partition, as somebody else does.
fn publish_by_kcat(url: &str, topic: &str, partition: i32, lines: &str) {
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", address(url), "-t", topic, "-p", &partition.to_string(), "-X", "linger.ms=0"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    kcat.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(kcat.wait().unwrap().success());
}
