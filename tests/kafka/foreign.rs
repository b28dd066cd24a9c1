//! Round trips with other people's clients: what they wrote comes out of `evcat tail -o json` and goes back through
//! `evcat publish --input events`, and they find the same again.

use std::process::Command;

use crate::brokers::{java, kafka, or_skip, python};
use crate::{address, output, unique};

const TOOLS: &str = "org.apache.kafka.tools";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// What differs, and no line of a megabyte.
fn same(left: &str, right: &str) {
    for (number, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert!(left == right, "{number}: {left:.300} is not {right:.300}");
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

struct Rig {
    url: String,
    python: std::path::PathBuf,
}

impl Rig {
    /// The shared broker, and all the clients.
    fn new() -> Option<Rig> {
        let url = kafka()?;
        or_skip(java(TOOLS))?;
        Some(Rig { url, python: or_skip(python())? })
    }

    fn evcat(&self, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        output(Command::new(env!("CARGO_BIN_EXE_evcat")).args(["-b", &self.url]).args(arguments), stdin)
    }

    /// One that takes 1 MiB, and events of any age.
    fn topic(&self, partitions: &str) -> String {
        let topic = unique("foreign");
        let size = ["-X", "topic.max.message.bytes=2000000", "-X", "topic.retention.ms=-1"];
        let create = ["topics", "create", &topic, "--partitions", partitions];
        self.evcat(&[&create[..], &size].concat(), b"");
        topic
    }

    fn tail(&self, topic: &str) -> Vec<u8> {
        self.evcat(&["tail", topic, "--from", "beginning", "--no-follow", "-o", "json"], b"")
    }

    /// A topic with what `evcat tail` says of another.
    fn copy(&self, topic: &str, partitions: &str, more: &[&str]) -> String {
        let copy = self.topic(partitions);
        let publish = ["publish", &copy, "--input", "events", "--keep-timestamp"];
        self.evcat(&[&publish[..], more].concat(), &self.tail(topic));
        copy
    }

    fn python(&self, topic: &str, step: &str, stdin: &[u8]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        text(output(Command::new(&self.python).args([script, address(&self.url), topic, step]), stdin))
    }

    fn kcat(&self, mode: &str, topic: &str, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let fixed = [mode, "-q", "-b", address(&self.url), "-t", topic];
        output(
            Command::new("kcat").args(fixed).args(["-X", "message.max.bytes=2000000"]).args(arguments),
            stdin,
        )
    }

    /// What it prints of all parts of all events.
    fn read_by_kcat(&self, topic: &str) -> Vec<u8> {
        let format = "%p %o %T %K %S [%h] %k %s\n";
        self.kcat("-C", topic, &["-e", "-o", "beginning", "-f", format], b"")
    }

    fn write_by_java(&self, topic: &str, options: &[&str], lines: &str) {
        let mut java = java(&format!("{TOOLS}.ConsoleProducer")).unwrap();
        java.args(["--bootstrap-server", address(&self.url), "--topic", topic]).args(options);
        output(&mut java, lines.as_bytes());
    }

    /// What it prints of all parts of so many events of partition 0.
    fn read_by_java(&self, topic: &str, count: usize) -> Vec<u8> {
        let mut java = java(&format!("{TOOLS}.consumer.ConsoleConsumer")).unwrap();
        java.args(["--bootstrap-server", address(&self.url), "--topic", topic]);
        java.args(["--partition", "0", "--offset", "earliest", "--max-messages", &count.to_string()]);
        java.args(["--timeout-ms", "30000", "--command-property", "enable.auto.commit=false"]);
        for part in ["timestamp", "key", "offset", "partition", "headers"] {
            java.args(["--formatter-property", &format!("print.{part}=true")]);
        }
        java.args(["--formatter-property", "null.literal=NULL"]);
        output(&mut java, b"")
    }

    /// Tail says what the clients say; and a copy by tail and publish is the same for all three of them.
    fn goes_round(&self, topic: &str) {
        let records = self.python(topic, "dump", b"");
        let count = records.lines().count();
        assert!(count > 0);
        same(&self.python(topic, "lines", &self.tail(topic)), &records);
        let copy = self.copy(topic, "1", &[]);
        same(&self.python(&copy, "dump", b""), &records);
        assert!(self.read_by_kcat(&copy) == self.read_by_kcat(topic), "kcat finds another thing");
        assert!(
            self.read_by_java(&copy, count) == self.read_by_java(topic, count),
            "Java finds another thing"
        );
    }
}

#[test]
fn whatever_a_record_can_hold_goes_round() {
    let Some(rig) = Rig::new() else { return };
    let topic = rig.topic("1");
    rig.python(&topic, "mixed", b"");
    rig.goes_round(&topic);
}

#[test]
fn what_kcat_wrote_goes_round() {
    let Some(rig) = Rig::new() else { return };
    let topic = rig.topic("1");
    let headers = ["-H", "h=1", "-H", "h=2", "-H", "h", "-H", "h="];
    rig.kcat("-P", &topic, &[&["-Z", "-K", ":"], &headers[..]].concat(), b"k:v\nk:\n:v\n:\nk: {\"a\": 1} \n");
    rig.kcat("-P", &topic, &["-K", ":", "-z", "gzip"], "k:\n:\u{1f4e6}\n".as_bytes());
    let dir = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..1 << 20).map(|_| fastrand::u8(..)).collect();
    let path = dir.path().join("large");
    std::fs::write(&path, &file).unwrap();
    let path = path.to_str().unwrap();
    rig.kcat("-P", &topic, &["-k", "large", path], b"");
    let tailed = text(rig.tail(&topic));
    let lines: Vec<&str> = tailed.lines().collect();
    assert_eq!(lines.len(), 8);
    for (line, wanted) in [
        (
            0,
            r#""key":"k","headers":[["h","1"],["h","2"],["h",null],["h",""]],"encoding":"text","payload":"v"}"#,
        ),
        (1, r#""key":"k","headers":[["h","1"],["h","2"],["h",null],["h",""]],"payload":null}"#),
        (4, r#"["h",""]],"encoding":"text","payload":" {\"a\": 1} "}"#),
        (5, r#""key":"k","headers":[],"encoding":"text","payload":""}"#),
    ] {
        assert!(lines[line].ends_with(wanted), "{}", lines[line]);
    }
    let raw = ["tail", &topic, "--no-follow", "-n", "1", "-o", "raw"];
    let raw = rig.evcat(&raw, b"");
    assert!(raw[..raw.len() - 1] == file, "1 MiB as it was");
    rig.goes_round(&topic);
}

#[test]
fn what_javas_producer_wrote_goes_round() {
    let Some(rig) = Rig::new() else { return };
    let topic = rig.topic("1");
    let parse = ["parse.headers=true", "parse.key=true", "null.marker=NULL"];
    let parse = parse.map(|property| ["--reader-property", property]).concat();
    let lines =
        "a:1,a:2,a:NULL\tk\tv\nNULL\tNULL\tNULL\na:\t\t\nNULL\tk\t{\"a\":1.50}\nNULL\t\u{fc}\t\u{1f511}\n";
    rig.write_by_java(&topic, &parse, lines);
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        rig.write_by_java(
            &topic,
            &["--compression-codec", codec],
            &format!("{codec} {}\n", "x".repeat(9999)),
        );
    }
    let tailed = text(rig.tail(&topic));
    let lines: Vec<&str> = tailed.lines().collect();
    assert_eq!(lines.len(), 9);
    for (line, wanted) in [
        (0, r#""key":"k","headers":[["a","1"],["a","2"],["a",null]],"encoding":"text","payload":"v"}"#),
        (1, r#""key":null,"headers":[],"payload":null}"#),
        (2, r#""key":"","headers":[["a",""]],"encoding":"text","payload":""}"#),
        (3, r#""encoding":"json","payload":{"a":1.50}}"#),
    ] {
        assert!(lines[line].ends_with(wanted), "{}", lines[line]);
    }
    rig.goes_round(&topic);
}

#[test]
fn a_key_lands_in_the_partition_where_javas_producer_puts_it() {
    let Some(rig) = Rig::new() else { return };
    let topic = rig.topic("12");
    let keys = (0..300).map(|n: usize| format!("{}{n}", "\u{fc}k-\u{1f511}".repeat(n % 5)));
    let lines: String = keys.chain([String::new()]).map(|key| format!("{key}\tp\n")).collect();
    rig.write_by_java(&topic, &["--reader-property", "parse.key=true"], &lines);
    let where_keys_are = |topic: &str| {
        let seen = text(rig.kcat("-C", topic, &["-e", "-o", "beginning", "-f", "%p %k\n"], b""));
        let mut lines: Vec<String> = seen.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let wanted = where_keys_are(&topic);
    assert_eq!(wanted.len(), 301);
    let typed = rig.topic("12");
    rig.evcat(&["publish", &typed, "-K", "\t"], lines.as_bytes());
    assert_eq!(where_keys_are(&typed), wanted);
    let copy = rig.copy(&topic, "12", &[]);
    assert_eq!(where_keys_are(&copy), wanted);
    // Where they were, though no key puts them there.
    let moved = rig.topic("12");
    let line = r#"{"topic":"t","partition":7,"key":"k","headers":[],"encoding":"text","payload":"p"}"#;
    rig.evcat(&["publish", &moved, "--input", "events", "--keep-partition"], line.as_bytes());
    let again = rig.copy(&moved, "12", &["--keep-partition"]);
    assert_eq!(where_keys_are(&again), ["7 k"]);
    // Each partition in its order.
    let by_partition = |topic: &str| {
        let seen = text(rig.read_by_kcat(topic));
        let mut lines: Vec<(u32, String)> = seen
            .lines()
            .map(|line| (line.split_once(' ').unwrap().0.parse().unwrap(), line.into()))
            .collect();
        lines.sort_by_key(|(partition, _)| *partition);
        lines
    };
    assert_eq!(by_partition(&copy), by_partition(&topic));
}
