//! Between a local topic and Kafka: history by `replay --to-broker`, what happens now by `subscribe --into`. Whoever
//! carries is killed on the way.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::brokers::{kafka, or_skip, python};
use crate::{DEADLINE, address, output, unique};

/// A directory with a local broker in it, and the shared Kafka.
struct Rig {
    url: String,
    home: tempfile::TempDir,
}

impl Rig {
    fn new() -> Option<Rig> {
        Some(Rig { url: kafka()?, home: tempfile::tempdir().unwrap() })
    }

    fn evcat(&self, broker: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
        command.args(["-b", broker]).args(arguments).current_dir(&self.home).env("HOME", self.home.path());
        command
    }

    fn run(&self, broker: &str, arguments: &[&str], stdin: &[u8]) -> String {
        String::from_utf8(output(&mut self.evcat(broker, arguments), stdin)).unwrap()
    }

    fn start(&self, broker: &str, arguments: &[&str]) -> Running {
        let command = &mut self.evcat(broker, arguments);
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// A topic on Kafka.
    fn topic(&self, partitions: &str) -> String {
        let topic = unique("bridge");
        let size = ["-X", "topic.max.message.bytes=2000000", "-X", "topic.retention.ms=-1"];
        self.run(
            &self.url,
            &[&["topics", "create", &topic, "--partitions", partitions], &size[..]].concat(),
            b"",
        );
        topic
    }

    /// Keys and numbers, in the order of each partition.
    fn read(&self, broker: &str, topic: &str) -> Vec<(String, usize)> {
        let tail = ["tail", topic, "--from", "beginning", "--no-follow", "-F", "%k %s\\n"];
        let pair = |line: &str| {
            let (key, number) = line.split_once(' ').unwrap();
            (key.to_owned(), number.parse().unwrap())
        };
        self.run(broker, &tail, b"").lines().map(pair).collect()
    }

    fn python(&self, topic: &str, step: &str) -> Option<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let mut command = Command::new(or_skip(python())?);
        command.args([script, address(&self.url), topic, step]);
        Some(String::from_utf8(output(&mut command, b"")).unwrap())
    }
}

/// Killed, if it still runs, when dropped.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

const KEYS: usize = 50;

/// `kN:n`, a line for each of so many.
fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("k{}:{n}\n", n % KEYS)).collect()
}

/// Each of so many is there, those of a key in their order if only the first of each counts; how many came again.
fn whole(seen: &[(String, usize)], count: usize) -> usize {
    let mut last = HashMap::<&str, usize>::new();
    let mut first = vec![false; count];
    for (key, number) in seen {
        if !std::mem::replace(&mut first[*number], true) {
            let before = last.insert(key, *number);
            assert!(before < Some(*number), "{key}: {number} after {before:?}");
        }
    }
    let missing: Vec<usize> = (0..count).filter(|number| !first[*number]).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    seen.len() - count
}

/// Longer than a member that was killed counts.
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < 2 * DEADLINE, "not so after {:?}: {what}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn verbatim_to_kafka_and_back_and_there_again_it_is_the_same() {
    let Some(rig) = Rig::new() else { return };
    let written = rig.topic("1");
    let Some(_) = rig.python(&written, "mixed") else { return };
    let carry = |from: &str, topic: &str, to: &str, into: &str| {
        rig.run(from, &["replay", topic, "--to-broker", to, "--into", into, "--verbatim"], b"");
    };
    carry(&rig.url, &written, "local:a.db", "here");
    let there = rig.topic("1");
    carry("local:a.db", "here", &rig.url, &there);
    carry(&rig.url, &there, "local:b.db", "here");
    assert_eq!(rig.python(&there, "dump"), rig.python(&written, "dump"));
    let local =
        |file| rig.run(file, &["tail", "here", "--from", "beginning", "--no-follow", "-o", "json"], b"");
    let lines = local("local:a.db");
    assert!(lines.lines().count() > 30);
    assert!(local("local:b.db") == lines);
    // With the partitions as they were.
    let (spread, copy) = (rig.topic("4"), rig.topic("4"));
    rig.run(&rig.url, &["publish", &spread, "-K", ":"], numbers(0..400).as_bytes());
    rig.run(&rig.url, &["publish", &spread, "out of place", "-k", "k1", "--partition", "3"], b"");
    carry(&rig.url, &spread, &rig.url, &copy);
    let places = |topic: &str| {
        let tail = ["tail", topic, "--from", "beginning", "--no-follow", "-F", "%p %o %T %k %s\\n"];
        let seen = rig.run(&rig.url, &tail, b"");
        let mut lines: Vec<String> = seen.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(places(&copy), places(&spread));
}

/// Carries a topic as long as it takes, and kills whoever does, so many times.
fn carry_and_kill(rig: &Rig, from: &str, topic: &str, to: &str, into: &str) {
    let file = format!("{}.at", unique("resume"));
    let checkpoint = rig.home.path().join(&file);
    let replay = ["replay", topic, "--to-broker", to, "--into", into, "--verbatim", "--resume", &file];
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    for _ in 0..3 {
        let before = read(&checkpoint);
        let mut replay = rig.start(from, &[&replay[..], &["--rate", "5000/s"]].concat());
        wait_for("a step", || read(&checkpoint) != before);
        assert!(replay.runs(), "it is killed on its way");
        replay.kill();
    }
    rig.run(from, &replay, b"");
    // Finished is finished.
    let count = rig.read(to, into).len();
    rig.run(from, &replay, b"");
    assert_eq!(rig.read(to, into).len(), count);
}

#[test]
fn a_topic_goes_to_kafka_and_back_though_whoever_carries_it_is_killed() {
    const COUNT: usize = 20_000;
    let Some(rig) = Rig::new() else { return };
    rig.run("local:a.db", &["publish", "orders", "-K", ":"], numbers(0..COUNT).as_bytes());
    let topic = rig.topic("3");
    carry_and_kill(&rig, "local:a.db", "orders", &rig.url, &topic);
    let there = whole(&rig.read(&rig.url, &topic), COUNT);
    carry_and_kill(&rig, &rig.url, &topic, "local:b.db", "orders");
    let back = whole(&rig.read("local:b.db", "orders"), COUNT);
    println!(
        "3 kills each way: {there} of {COUNT} came twice on the way to Kafka, {back} in all on the way back"
    );
}

#[test]
fn a_live_bridge_carries_what_happens_both_ways_and_goes_on_after_a_kill() {
    const ROUND: usize = 2_000;
    let Some(rig) = Rig::new() else { return };
    let topic = rig.topic("3");
    rig.run("local:a.db", &["topics", "create", "orders"], b"");
    let there =
        ["subscribe", "orders", "-g", "bridge", "--from", "beginning", "--to-broker", &rig.url, "--into"];
    let there = [&there[..], &[&topic]].concat();
    let back =
        ["subscribe", &topic, "-g", "back", "--from", "beginning", "--to-broker", "local:b.db", "--into"];
    let back = [&back[..], &["orders"]].concat();
    let mut bridges = [rig.start("local:a.db", &there), rig.start(&rig.url, &back)];
    // What was published comes out at the other end while both bridges run, whichever of them was killed before.
    let mut published = 0;
    for killed in [0, 1, 0, 1] {
        let lines = numbers(published..published + ROUND);
        let (broker, publish) = ("local:a.db", ["publish", "orders", "-K", ":", "--rate", "4000/s"]);
        std::thread::scope(|scope| {
            scope.spawn(|| rig.run(broker, &publish, lines.as_bytes()));
            wait_for("some of them arrive", || {
                rig.read_count("local:b.db", "orders") > published + ROUND / 4
            });
            bridges[killed].kill();
        });
        published += ROUND;
        bridges[killed] = match killed {
            0 => rig.start("local:a.db", &there),
            _ => rig.start(&rig.url, &back),
        };
        let last = format!("{}", published - 1);
        wait_for("the last of them arrives", || {
            // What comes again may come after it.
            let tail = ["tail", "orders", "-n", "5000", "--no-follow", "-F", "%s\\n"];
            rig.run("local:b.db", &tail, b"").lines().any(|line| line == last)
        });
    }
    wait_for("all are acked", || {
        let lag = |broker, group| {
            let lag = ["groups", "lag", group, "-o", "json"];
            rig.run(broker, &lag, b"").contains(r#""lag":0"#)
        };
        lag("local:a.db", "bridge") && lag(&rig.url, "back")
    });
    bridges.iter_mut().for_each(Running::kill);
    let there = whole(&rig.read(&rig.url, &topic), published);
    let back = whole(&rig.read("local:b.db", "orders"), published);
    println!("4 kills: {there} of {published} came twice on the way to Kafka, {back} in all on the way back");
}

impl Rig {
    fn read_count(&self, broker: &str, topic: &str) -> usize {
        // It may not be there yet.
        let command = &mut self.evcat(broker, &["topics", "list", topic, "-o", "json"]);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let count = said.split_once(r#""events":"#).map(|(_, rest)| rest.split([',', '}']).next().unwrap());
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}
