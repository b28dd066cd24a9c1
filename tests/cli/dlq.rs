//! Dead letters from death to their way back, on the embedded broker.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rig::Home;

const DLQ: &str = "orders.shipping.dlq";

impl Home {
    /// Runs it, expects this exit code, and answers stdout.
    #[track_caller]
    fn expect(&self, code: i32, args: &[&str]) -> String {
        self.run(args).exit(code).out
    }

    fn publish(&self, lines: &str) {
        self.feed(&["publish", "orders", "--key-from", ".payload.k"], lines).ok();
    }

    /// A worker that notes the offset of each event in a file, then answers by this line of shell.
    fn worker(&self, log: &str, answer: &str) -> PathBuf {
        let path = self.path(&format!("{log}.sh"));
        let script = format!(
            "while IFS= read -r line; do\n  offset=${{line#*\\\"offset\\\":}}; echo \"${{offset%%,*}}\" >> {log}\n  {answer}\ndone\n"
        );
        std::fs::write(&path, script).unwrap();
        path
    }

    fn subscribe(&self, code: i32, group: &str, worker: &Path) {
        let worker = worker.to_str().unwrap();
        let from = ["--from", "beginning", "--no-follow", "--max-dead", "100000"];
        let retry = ["--max-attempts", "2", "--backoff", "1ms..1ms", "--worker", "--", "sh", worker];
        self.expect(code, &[&["subscribe", "orders", "-g", group], &from[..], &retry[..]].concat());
    }

    /// How often each offset stands in a log.
    fn seen(&self, log: &str) -> HashMap<u64, usize> {
        let mut seen = HashMap::new();
        for line in std::fs::read_to_string(self.path(log)).unwrap_or_default().lines() {
            *seen.entry(line.parse().unwrap()).or_default() += 1;
        }
        seen
    }

    fn forget(&self, log: &str) {
        std::fs::write(self.path(log), "").unwrap();
    }

    fn letters(&self, dlq: &str) -> Vec<serde_json::Value> {
        let lines = self.expect(0, &["dlq", "peek", dlq, "-o", "json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const POISON: &str = "case \"$line\" in *poison*) echo 'retry total is not a number';; *) echo ok;; esac";

#[test]
fn a_poison_event_among_ten_thousand_is_repaired_for_the_group_that_failed_alone() {
    let home = Home::new();
    let line = |n: usize| match n {
        7000 => "{\"k\":\"A-17\",\"total\":\"poison\"}\n".to_owned(),
        n => format!("{{\"k\":\"K-{}\",\"total\":{n}}}\n", n % 100),
    };
    home.publish(&(0..10_000).map(line).collect::<String>());
    let (shipping, email) = (home.worker("shipping", POISON), home.worker("email", "echo ok"));
    home.subscribe(6, "shipping", &shipping);
    home.subscribe(0, "email", &email);
    let seen = home.seen("shipping");
    assert_eq!((seen.len(), seen[&7000], seen.values().sum::<usize>()), (10_000, 2, 10_001));

    // What is known of it.
    let letters = home.letters(DLQ);
    assert_eq!(letters.len(), 1);
    let failure = &letters[0]["failure"];
    assert_eq!(failure["origin"]["topic"], "orders");
    assert_eq!(failure["origin"]["position"], "7000");
    assert_eq!((&failure["group"], &failure["attempts"]), (&"shipping".into(), &2.into()));
    assert!(failure["error"].as_str().unwrap().contains("total is not a number"));
    let list = home.expect(0, &["dlq", "list"]);
    assert!(list.contains(DLQ) && list.contains("orders/shipping") && list.contains("evcat"), "{list}");
    home.expect(3, &["dlq", "list", "--max", "0"]);
    let peek = home.expect(0, &["dlq", "peek", DLQ]);
    assert!(peek.contains("orders 7000") && peek.contains("A-17"), "{peek}");
    let show = home.expect(0, &["dlq", "show", DLQ, "0"]);
    assert!(show.contains(&format!("put it back: evcat dlq replay {DLQ} 0")), "{show}");
    let fingerprint = failure["fingerprint"].as_str().unwrap();
    assert!(home.expect(0, &["dlq", "stats", DLQ]).contains(fingerprint));

    // Nothing happens without a yes.
    let plan = home.expect(0, &["dlq", "replay", DLQ, "--dry-run"]);
    assert!(plan.contains("PLAN, nothing was changed") && plan.contains("shipping of orders 1"), "{plan}");
    home.expect(2, &["dlq", "replay", DLQ]);
    home.expect(3, &["dlq", "replay", DLQ, "--yes", "--expect", "2"]);
    assert_eq!(home.letters(DLQ).len(), 1);

    // Back to the group that failed, once.
    home.forget("shipping");
    home.forget("email");
    home.expect(0, &["dlq", "replay", DLQ, "--yes", "--expect", "1"]);
    home.expect(0, &["dlq", "replay", DLQ, "--yes"]);
    home.run(&["dlq", "replay", DLQ, "0", "--yes"]).said("0 is settled already");
    home.subscribe(6, "shipping", &shipping);
    home.subscribe(0, "email", &email);
    assert_eq!(home.seen("shipping"), HashMap::from([(7000, 2)]), "its old place, and nothing else");
    assert_eq!(home.seen("email"), HashMap::new(), "nobody is mailed twice");

    // A second failure counts, and past the limit it is parked.
    for replays in 1..=3 {
        let letters = home.letters(DLQ);
        assert_eq!((letters.len(), &letters[0]["failure"]["replays"]), (1, &replays.into()));
        if replays < 3 {
            home.expect(0, &["dlq", "replay", DLQ, "--yes"]);
            home.subscribe(6, "shipping", &shipping);
        }
    }
    home.expect(0, &["dlq", "replay", DLQ, "--yes"]);
    assert_eq!(home.letters(DLQ).len(), 0);
    let parked = home.letters(&format!("{DLQ}.parked"));
    assert_eq!((parked.len(), &parked[0]["failure"]["origin"]["position"]), (1, &"7000".into()));
}

#[test]
fn a_replay_killed_at_any_point_and_begun_again_puts_back_each_exactly_once() {
    let home = Home::new();
    home.publish(
        &(0..1000).map(|n| format!("{{\"k\":\"K-{n}\",\"total\":\"poison\"}}\n")).collect::<String>(),
    );
    home.subscribe(6, "shipping", &home.worker("shipping", "echo dead"));
    assert_eq!(home.letters(DLQ).len(), 1000);
    let mut random = fastrand::Rng::new();
    for _ in 0..20 {
        let mut replay =
            home.command(&["dlq", "replay", DLQ, "--yes", "-q", "--rate", "1000/s"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(0..150)));
        replay.kill().unwrap();
        replay.wait().unwrap();
    }
    home.expect(0, &["dlq", "replay", DLQ, "--yes"]);
    assert_eq!(home.letters(DLQ).len(), 0);
    home.subscribe(0, "shipping", &home.worker("after", "echo ok"));
    let seen = home.seen("after");
    assert_eq!(seen.len(), 1000, "none is lost");
    assert!(seen.values().all(|times| *times == 1), "none is there twice");
}

#[test]
fn lag_tells_the_dead_and_refuses_a_wait_for_nothing() {
    let home = Home::new();
    home.run(&["publish", "t", "x"]).ok();
    let dies = [
        "subscribe",
        "t",
        "-g",
        "g",
        "--from",
        "beginning",
        "--max-attempts",
        "1",
        "--no-follow",
        "--",
        "false",
    ];
    home.run(&dies).exit(6);
    assert_eq!(home.group("g")["dead"], 1);
    assert_eq!(home.group("g")["dead_letters"], "t.g.dlq");
    home.run(&["groups", "lag", "g", "--for", "5s"]).exit(2).said("error: --for needs --max or --watch");
}

#[test]
fn peek_prints_events_in_every_format() {
    let home = Home::new();
    home.run(&["publish", "orders", "{\"total\":\"ten\"}", "-k", "A-1"]).ok();
    home.run(&[
        "subscribe",
        "orders",
        "-g",
        "shipping",
        "--from",
        "beginning",
        "--no-follow",
        "--",
        "sh",
        "-c",
        "exit 65",
    ])
    .exit(6);
    let peek = |more: &[&str]| home.run(&[&["dlq", "peek", DLQ], more].concat()).ok().out;
    assert!(peek(&[]).starts_with("ID "), "a table on a pipe too");
    assert_eq!(peek(&["-o", "human"]), peek(&[]));
    assert_eq!(peek(&["-o", "raw"]), "{\"total\":\"ten\"}\n");
    assert_eq!(peek(&["-o", "frames"]), "\0\0\0\u{f}{\"total\":\"ten\"}");
    assert_eq!(peek(&["-F", "%t %o %k\\n"]), format!("{DLQ} 0 A-1\n"));
    assert!(
        peek(&["-o", "json", "--pretty"]).contains("\n  \"failure\": {\n"),
        "{}",
        peek(&["-o", "json", "--pretty"])
    );
    assert!(peek(&["--pretty"]).contains("\"total\": \"ten\""), "{}", peek(&["--pretty"]));
    assert_eq!(peek(&["--select", ".payload.total"]), "ten\n");
    assert_eq!(peek(&["--select", ".payload.total", "-o", "json"]), "\"ten\"\n");
    home.run(&["dlq", "peek", DLQ, "-F", "%H{}"]).exit(2);
}

#[test]
fn what_dropped_letters_are_kept_in_is_not_replaced() {
    let home = Home::new();
    home.run(&["publish", "o", "--repeat", "2", "x"]).ok();
    home.run(&[
        "subscribe",
        "o",
        "-g",
        "g",
        "--from",
        "beginning",
        "--no-follow",
        "--max-attempts",
        "1",
        "--",
        "false",
    ])
    .exit(6);
    home.run(&["dlq", "drop", "o.g.dlq", "0", "--yes", "--save", "kept"]).ok();
    let kept = home.read("kept");
    assert_eq!(kept.lines().count(), 1);
    home.run(&["dlq", "drop", "o.g.dlq", "1", "--yes", "--save", "kept"]).exit(2).said("is there already");
    assert_eq!(home.read("kept"), kept);
    home.run(&["dlq", "peek", "o.g.dlq", "--snapshot", "kept"]).exit(2);
    assert_eq!(home.lines("o.g.dlq").len(), 2, "the other stays; a log keeps what was settled");
}
