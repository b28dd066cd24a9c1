//! What holds at AWS and nowhere else, by those who stand in for it; the conformance suite has what every broker does.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/account.rs"]
mod account;
#[path = "../support/between.rs"]
mod between;
#[path = "../support/brokers.rs"]
mod brokers;
mod chaos;
mod dlq;
mod foreign;
mod lost;
mod native;
#[path = "../support/proxy.rs"]
mod proxy;
mod publish;
mod refused;
#[path = "../cli/rig.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "a suite takes what it needs; tests read their own variables"
)]
mod rig;
#[path = "../support/suite.rs"]
mod suite;
mod temporary;

use std::process::Command;

use serde_json::Value;

use rig::{Home, Ran, Running};

/// An account of the test's own at the most faithful of them, or `None` after a line that says that there is none.
fn account() -> Option<Site> {
    site("")
}

/// The same at another.
fn site(variant: &str) -> Option<Site> {
    let shared = brokers::or_skip(brokers::shared_aws(variant))?;
    Some(Site { home: Home::new(), url: account::new(&shared) })
}

/// A home whose broker is this account.
struct Site {
    home: Home,
    url: String,
}

impl Site {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("EVCAT_BROKER", &self.url);
        command
    }

    fn start(&self, args: &[&str]) -> Running {
        Running::new(&mut self.command(args))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        self.start(args).end()
    }

    #[track_caller]
    fn feed(&self, args: &[&str], stdin: &str) -> Ran {
        let file = std::fs::File::open(self.home.write("stdin", stdin)).unwrap();
        Running::new(self.command(args).stdin(file)).end()
    }

    /// What a command prints, a JSON object per line.
    #[track_caller]
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        json(&self.run(args).ok().out)
    }

    /// Runs the script of somebody else's client with this account.
    fn boto3(&self, args: &[&str]) -> Option<Vec<Value>> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/client.py");
        let mut command = Command::new(brokers::or_skip(brokers::python())?);
        command.arg(script).arg(&self.url).args(args);
        Some(json(&String::from_utf8(suite::output(&mut command, b"")).unwrap()))
    }

    /// How many events of a topic wait for its groups.
    fn lag(&self, topic: &str) -> u64 {
        let groups = self.lines(&["groups", "lag", "-o", "json"]);
        groups.iter().filter(|group| group["topic"] == topic).filter_map(|group| group["lag"].as_u64()).sum()
    }

    /// Waits until a group says that so many wait, or more: SNS hands on after it has acknowledged.
    fn until_waiting(&self, group: &str, count: u64) {
        let begun = std::time::Instant::now();
        loop {
            let groups = self.lines(&["groups", "lag", group, "-o", "json"]);
            if groups.iter().any(|group| group["lag"].as_u64() >= Some(count)) {
                return;
            }
            assert!(begun.elapsed() < rig::DEADLINE, "{count} were to wait: {groups:?}");
        }
    }
}

fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
