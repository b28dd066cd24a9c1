//! The test brokers themselves: what the tests of a backend rest on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/brokers.rs"]
mod brokers;

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use brokers::{Private, kafka, or_skip};

const DEADLINE: Duration = Duration::from_secs(60);

fn addresses(url: &str) -> Vec<&str> {
    url.split_once("://").unwrap().1.split(',').collect()
}

#[test]
fn the_shared_kafka_takes_connections() {
    let Some(url) = kafka() else { return };
    for address in addresses(&url) {
        TcpStream::connect(address).unwrap();
    }
}

#[test]
fn a_private_one_is_gone_with_its_data_when_it_is_dropped() {
    let Some(kafka) = or_skip(Private::up("kafka")) else { return };
    let (url, dir) = (kafka.url().to_owned(), kafka.variable("EVCAT_TEST_KAFKA_DIR").to_owned());
    assert!(TcpStream::connect(addresses(&url)[0]).is_ok());
    assert!(Path::new(&dir).is_dir());
    drop(kafka);
    assert!(TcpStream::connect(addresses(&url)[0]).is_err());
    assert!(!Path::new(&dir).exists());
}

#[test]
fn a_node_of_a_cluster_can_be_lost_and_come_back() {
    let Some(cluster) = or_skip(Private::up("kafka:cluster")) else { return };
    assert_eq!(addresses(cluster.url()).len(), 3);
    cluster.status().expect("all three answer");

    cluster.kill(2);
    let said = cluster.status().expect_err("one is missing");
    assert!(said.contains("node 2: ended") && said.contains("node 1: running"), "{said}");
    cluster.restart(2);
    cluster.status().expect("it is one of three again");

    cluster.pause(1);
    let said = cluster.status().expect_err("one is silent");
    assert!(said.contains("node 1: paused"), "{said}");
    assert!(
        TcpStream::connect(addresses(cluster.url())[0]).is_ok(),
        "the system still takes connections for it"
    );
    cluster.resume(1);
    // The others may have given it up meanwhile, and take it back when it reports.
    let until = Instant::now() + DEADLINE;
    while let Err(said) = cluster.status() {
        assert!(Instant::now() < until, "{said}");
    }
}

#[test]
fn the_secure_one_lets_in_whom_it_should_and_nobody_else() {
    let Some(python) = or_skip(brokers::python()) else { return };
    let Some(kafka) = or_skip(Private::up("kafka:secure")) else { return };
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/brokers/kafka/check_secure.py");
    let output = Command::new(python).arg(check).envs(kafka.variables()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("SCRAM-SHA-512 alice: published"));
}
