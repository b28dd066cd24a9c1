//! The rows.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::brokers;
use crate::measure::{Bench, against, installed, peak, run};
use crate::pubsub_fake::Fake;
use crate::table::{Row, Unit};

const MANY: usize = 100_000;

/// A server, and who talks to it.
pub struct Stage {
    fake: Fake,
}

impl Stage {
    pub fn new() -> Stage {
        Stage { fake: Fake::start() }
    }

    fn evcat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(installed());
        command.args(["-b", &self.fake.url("evcat")]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Google's client; `Err`: it is not here.
    fn peer(&self, arguments: &[&str]) -> Result<Command, String> {
        let mut command = Command::new(brokers::google_python()?);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pubsub/client.py")).args(arguments);
        command.envs([("PUBSUB_EMULATOR_HOST", self.fake.address.to_string()), ("PROJECT", "evcat".into())]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    /// A topic that nobody else has, with a group `g`, in which what is published waits.
    fn topic(&self) -> String {
        let name = format!("bench-{:016x}", fastrand::u64(..));
        run(&mut self.evcat(&["topics", "create", &name]));
        run(&mut self.evcat(&["groups", "create", "g", &name]));
        name
    }

    fn delete(&self, topic: &str) {
        run(&mut self.evcat(&["topics", "delete", topic, "--yes"]));
    }

    fn fill(&self, bench: &Bench, topic: &str) {
        run(self.evcat(&["publish", topic]).stdin(File::open(bench.lines(MANY)).unwrap()));
    }

    /// By turns, each on a topic of its own that is made, and removed, outside the time.
    fn by_turns(
        &self,
        work: &str,
        must: f64,
        times: usize,
        before: impl Fn(&str),
        ours: impl Fn(&str) -> Command,
        peer: impl Fn(&str) -> Result<Command, String>,
    ) -> Row {
        if let Err(missing) = peer("") {
            return Row::not_measured(work, &missing);
        }
        let timed = |command: &dyn Fn(&str) -> Command| -> Duration {
            let topic = self.topic();
            before(&topic);
            let took = run(&mut command(&topic));
            self.delete(&topic);
            took
        };
        let peers = |topic: &str| peer(topic).unwrap();
        against(work, (must, must / 2.0), times, || timed(&ours), || timed(&peers))
    }
}

/// One event, of a whole process.
pub fn one_shot(bench: &Bench, stage: &Stage) -> Vec<Row> {
    let line = bench.lines(1);
    let payload = std::fs::read_to_string(&line).unwrap();
    vec![stage.by_turns(
        "one event, whole process, against a Python one-shot",
        0.1,
        5,
        |_| {},
        |topic| stage.evcat(&["publish", topic, payload.trim_end()]),
        |topic| {
            let mut peer = stage.peer(&["bulk", topic])?;
            peer.stdin(File::open(&line).unwrap());
            Ok(peer)
        },
    )]
}

/// Lines from stdin, each confirmed.
pub fn publish(bench: &Bench, stage: &Stage) -> Vec<Row> {
    let lines = bench.lines(MANY);
    vec![stage.by_turns(
        "100,000 lines of 100 B from stdin, against Python",
        1.0 / 3.0,
        1,
        |_| {},
        |topic| {
            let mut ours = stage.evcat(&["publish", topic]);
            ours.stdin(File::open(&lines).unwrap());
            ours
        },
        |topic| {
            let mut peer = stage.peer(&["bulk", topic])?;
            peer.stdin(File::open(&lines).unwrap());
            Ok(peer)
        },
    )]
}

/// Each printed and acked.
pub fn drain(bench: &Bench, stage: &Stage) -> Vec<Row> {
    let many = MANY.to_string();
    vec![stage.by_turns(
        "100,000 events printed and acked, against Python",
        1.0 / 3.0,
        1,
        |topic| stage.fill(bench, topic),
        |topic| stage.evcat(&["subscribe", topic, "-g", "g", "-c", &many, "-o", "raw"]),
        |topic| stage.peer(&["drain", &format!("{topic}.g"), &many]),
    )]
}

/// The most that is held while they stream through.
pub fn memory(bench: &Bench, stage: &Stage) -> Vec<Row> {
    let topic = stage.topic();
    let row = |work: &str, command: &mut Command| Row {
        work: format!("memory: {work} of 100,000"),
        measured: "highest resident set".into(),
        value: Some(peak(command) as f64 / 1024.0),
        unit: Unit::Mebibytes,
        must: 96.0,
        aim: 48.0,
    };
    let mut publish = stage.evcat(&["publish", &topic]);
    let published = row("publish", publish.stdin(File::open(bench.lines(MANY)).unwrap()));
    let drained =
        row("subscribe", &mut stage.evcat(&["subscribe", &topic, "-g", "g", "--no-follow", "-o", "raw"]));
    stage.delete(&topic);
    vec![published, drained]
}
