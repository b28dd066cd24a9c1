//! A thousand dead letters of two groups: seen, grouped, half of them put back, by a command that is killed five times.

use std::collections::HashMap;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::pubsub_fake::Fake;
use crate::rig::{Home, Ran, Running};

const EACH: usize = 500;

struct Site {
    home: Home,
    fake: Fake,
}

impl Site {
    fn start(&self, args: &[&str]) -> Running {
        Running::new(self.home.command(args).env("EVCAT_BROKER", self.fake.url("evcat")))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        self.start(args).end()
    }

    #[track_caller]
    fn publish(&self, topic: &str) {
        let lines: String = (0..EACH).map(|n| format!("{topic}-{n}\n")).collect();
        let file = std::fs::File::open(self.home.write("lines", lines)).unwrap();
        let mut publish = self.home.command(&["publish", topic, "--key-from", ".payload[-1:]"]);
        Running::new(publish.env("EVCAT_BROKER", self.fake.url("evcat")).stdin(file)).end().ok();
    }

    /// Dead letters as peek shows them.
    #[track_caller]
    fn letters(&self, more: &[&str]) -> Vec<Value> {
        let peek = self.run(&[&["dlq", "peek", "all.dlq", "-o", "json"], more].concat()).ok();
        peek.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_thousand_letters_come_back_whoever_is_killed_meanwhile() {
    let site = Site { home: Home::new(), fake: Fake::start() };
    for topic in ["orders", "mail"] {
        site.run(&["topics", "create", topic]).ok();
        site.run(&["groups", "create", "ship", topic]).ok();
        site.publish(topic);
        let dlq = ["--dlq", "all.dlq", "--max-dead", "100000", "--no-follow"];
        let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
        site.run(&[&["subscribe", topic, "-g", "ship"], &dlq[..], &die[..]].concat()).exit(6);
    }
    let listed = site.run(&["dlq", "list"]).ok().out;
    assert!(listed.contains("all.dlq"), "{listed}");
    let stats = site.run(&["dlq", "stats", "all.dlq", "-o", "json"]).ok().out;
    assert!(stats.contains("1000"), "{stats}");
    assert_eq!(site.letters(&["--origin", "mail"]).len(), EACH);
    assert_eq!(site.letters(&[]).len(), 2 * EACH, "looking took nothing");

    let replay = ["dlq", "replay", "all.dlq", "--origin", "orders", "--yes"];
    let published = || site.fake.state().published("orders") - EACH;
    for round in 1..=5 {
        let running = site.start(&[&replay[..], &["--rate", "200/s"]].concat());
        site.home.until("it is at it", |_| (published() >= 60 * round).then_some(()));
        running.signal(Signal::SIGKILL);
        running.end();
        // As when its leases are over, after half a minute.
        site.fake.state().forget_leases("all.dlq");
    }
    assert!(published() < EACH, "it was killed in the middle");
    let plan = site.run(&replay).ok().err;
    assert!(plan.contains("a crash can put one back twice, and loses none"), "{plan}");
    let rest = site.letters(&[]);
    assert_eq!(rest.len(), EACH, "the others stay");
    assert!(rest.iter().all(|letter| letter["failure"]["origin"]["topic"] == "mail"));

    let back = site.run(&["subscribe", "orders", "-g", "ship", "--no-follow", "-o", "raw"]).ok().out;
    let mut counts = HashMap::<&str, usize>::new();
    back.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    assert_eq!(counts.len(), EACH, "none was lost");
    let twice: usize = counts.values().map(|count| count - 1).sum();
    assert_eq!(twice, published() - EACH, "each that was published came");
    // Of each run that was killed, those that were stored and not acked yet: less than a batch.
    assert!(twice <= 5 * 100, "{twice}");
    println!("{EACH} of {} letters put back, killed five times: {twice} twice", 2 * EACH);
}
