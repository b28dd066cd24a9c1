//! A thousand dead letters of two groups: seen, grouped, half of them put back, by a command that is killed five times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use evcat::broker::{PublishOptions, Received, Settlement, Source, Stop, SubscribeOptions};

use crate::brokers::{Private, or_skip};
use crate::rabbit::Vhost;
use crate::rig::{Home, Ran, Running};
use crate::suite::{DEADLINE, broker, run, until};
use crate::{drained, said, vhost, with_group};

struct Site {
    home: Home,
    vhost: Vhost,
    url: String,
}

impl Site {
    fn start(&self, args: &[&str]) -> Running {
        Running::new(self.home.command(args).env("EVCAT_BROKER", &self.url))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        self.start(args).end()
    }

    #[track_caller]
    fn publish(&self, topic: &str, count: usize) {
        let lines: String = (0..count).map(|n| format!("{topic}-{n}\n")).collect();
        let file = std::fs::File::open(self.home.write("lines", lines)).unwrap();
        let key = ["--key-from", ".payload[-1:]"];
        let mut publish = self.home.command(&[&["publish", topic], &key[..]].concat());
        Running::new(publish.env("EVCAT_BROKER", &self.url).stdin(file)).end().ok();
    }

    /// What waits there, in letters as peek shows them.
    #[track_caller]
    fn letters(&self, dlq: &str, more: &[&str]) -> Vec<Value> {
        let peek = self.run(&[&["dlq", "peek", dlq, "-o", "json"], more].concat()).ok();
        peek.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn payloads(lines: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in lines.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Events that wait in a queue and who takes from it, by AMQP: the management API tells what was so seconds ago.
fn now(site: &Site, queue: &str) -> (u64, u32) {
    run(async {
        let found = broker(&site.url).topics(&format!("queue:{queue}")).await.unwrap();
        (found[0].waiting.unwrap().events, found[0].takers.unwrap())
    })
}

#[track_caller]
fn wait_until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < DEADLINE, "not so within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_thousand_letters_come_back_whoever_is_killed_meanwhile() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    for (topic, count) in [("orders", 500), ("mail", 250)] {
        site.run(&["topics", "create", topic]).ok();
        let dlq = ["--dlq", "all.dlq", "--max-dead", "100000", "--no-follow"];
        // The group, then its events, then their death.
        site.run(&["groups", "create", "ship", topic]).ok();
        site.publish(topic, count);
        let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
        site.run(&[&["subscribe", topic, "-g", "ship"], &dlq[..], &die[..]].concat()).exit(6);
    }
    // Somebody else's queues, of two kinds and two reasons, give theirs to the same place.
    for (queue, kind, dies, count) in
        [("slow", "quorum", r#""x-message-ttl": 1"#, 150), ("full", "classic", r#""x-max-length": 1"#, 101)]
    {
        let arguments =
            format!(r#"{{"x-queue-type": "{kind}", {dies}, "x-dead-letter-exchange": "all.dlq"}}"#);
        let made = format!(r#"{{"durable": true, "arguments": {arguments}}}"#);
        site.vhost.ask("PUT", &format!("queues/{}/{queue}", site.vhost.name), &made);
        site.publish(&format!("queue:{queue}"), count);
    }
    wait_until("all are dead", || now(&site, "all.dlq").0 == 1000);
    let stats = site.run(&["dlq", "stats", "all.dlq", "-o", "json"]).ok().out;
    for words in ["1000", "expired", "maxlen", "queue:slow", "queue:full", "mail"] {
        assert!(stats.contains(words), "{words}: {stats}");
    }
    for (origin, count) in [("mail", 250), ("queue:slow", 150), ("queue:full", 100)] {
        assert_eq!(site.letters("all.dlq", &["--origin", origin]).len(), count, "{origin}");
    }
    assert_eq!(site.letters("all.dlq", &[]).len(), 1000, "looking took nothing");

    let replay = ["dlq", "replay", "all.dlq", "--origin", "orders", "--yes"];
    for round in 1..=5 {
        let (before, _) = now(&site, "orders.ship");
        let running = site.start(&[&replay[..], &["--rate", "200/s"]].concat());
        wait_until("some are back", || now(&site, "orders.ship").0 > before + 3 * round);
        running.signal(Signal::SIGKILL);
        running.end();
        // What it held is there again when the server has noticed.
        wait_until("it has left", || now(&site, "all.dlq").1 == 0);
    }
    let left = site.letters("all.dlq", &["--origin", "orders"]).len();
    assert!(left < 500, "some went before it was killed");
    site.run(&replay).ok();
    let rest = site.letters("all.dlq", &[]);
    assert_eq!(rest.len(), 500, "the others stay");
    assert!(rest.iter().all(|letter| letter["failure"]["origin"]["topic"] != "orders"));

    let back =
        payloads(&site.run(&["subscribe", "orders", "-g", "ship", "--no-follow", "-o", "raw"]).ok().out);
    assert_eq!(back.len(), 500, "none was lost");
    let twice: usize = back.values().map(|count| count - 1).sum();
    // At each kill, those that were stored and not yet settled: less than a second's worth of the rate.
    assert!(twice <= 5 * 200, "{twice}");
    println!("500 of 1000 letters put back, killed five times: {twice} twice");
}

#[test]
fn what_the_server_itself_gives_up_goes_back_to_its_queue_alone() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    let place = |kind: &str, name: &str| format!("{kind}/{}/{name}", site.vhost.name);
    // Somebody else's set-up: a queue with a short life, and a bare queue for what dies in it.
    site.vhost.ask("PUT", &place("exchanges", "jobs"), r#"{"type": "topic", "durable": true}"#);
    let quorum = r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#;
    site.vhost.ask("PUT", &place("queues", "dead"), quorum);
    site.vhost.ask("PUT", &place("queues", "others"), quorum);
    let dying = r#"{"durable": true, "arguments": {"x-queue-type": "quorum", "x-message-ttl": 300,
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}}"#;
    site.vhost.ask("PUT", &place("queues", "work"), dying);
    for queue in ["work", "others"] {
        let path = format!("bindings/{}/e/jobs/q/{queue}", site.vhost.name);
        site.vhost.ask("POST", &path, r##"{"routing_key": "#"}"##);
    }
    site.publish("jobs", 3);
    std::thread::sleep(Duration::from_millis(1500));
    let letters = site.letters("dead", &[]);
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0]["failure"]["read_as"], "rabbitmq");
    assert_eq!(letters[0]["failure"]["kind"], "expired");
    assert_eq!(letters[0]["failure"]["origin"]["topic"], "queue:work");
    assert_eq!(letters[0]["key"], letters[0]["payload"].as_str().unwrap()[5..], "the key it had");
    site.run(&["dlq", "replay", "dead", "--yes"]).ok();
    let others = site.run(&["subscribe", "queue:others", "--no-follow", "-o", "raw"]).ok().out;
    assert_eq!(others.lines().count(), 3, "nobody else got them again");
    std::thread::sleep(Duration::from_millis(1500));
    let again = site.letters("dead", &[]);
    assert_eq!(again.len(), 3, "they died a second time");
    assert_eq!(again[0]["failure"]["replays"], 1, "and it is known that they had been put back");
}

/// A quorum queue counts each look as a failed delivery, and drops or gives away what has failed too often.
fn letters_outlive_many_looks(vhost: &Vhost) {
    run(async {
        let broker = with_group(&vhost.url(), "t", "g").await;
        let letters = || Source::DeadLetters { dlq: "t.g.dlq".into(), chosen: None };
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let sent = publisher.send((0..5).map(|n| said("t.g.dlq", None, &n.to_string())).collect()).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        let options = SubscribeOptions {
            stop: Stop::Now,
            in_flight: 10,
            lease: DEADLINE,
            grace: DEADLINE,
            ordered: false,
        };
        for look in 0..25 {
            let member = broker.subscription(letters(), options.clone()).await.unwrap();
            let mut seen = 0;
            while let Received::Deliveries(deliveries) = member.receive().await.unwrap() {
                seen += deliveries.len();
                let release =
                    deliveries.iter().map(|delivery| (delivery.token, Settlement::Release)).collect();
                member.settle(release).await.unwrap();
            }
            member.close().await.unwrap();
            assert_eq!(seen, 5, "look {look}");
        }
        assert_eq!(drained(&broker, letters()).await.len(), 5);
    });
}

#[test]
fn letters_that_are_looked_at_often_stay() {
    let Some(vhost) = vhost() else { return };
    letters_outlive_many_looks(&vhost);
}

#[test]
fn letters_that_are_looked_at_often_stay_on_3_10_too() {
    let Some(server) = or_skip(Private::up("rabbitmq:old")) else { return };
    letters_outlive_many_looks(&Vhost::new(server.url()));
}

/// RabbitMQ drops what came back more than twenty times, where nobody has said otherwise.
#[test]
fn letters_of_others_are_not_looked_at_until_they_are_gone() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    let quorum = r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#;
    site.vhost.ask("PUT", &format!("queues/{}/dead", site.vhost.name), quorum);
    site.publish("queue:dead", 5);
    let look = || site.run(&["dlq", "peek", "queue:dead", "-o", "raw"]);
    for _ in 0..15 {
        assert_eq!(look().ok().out.lines().count(), 5);
    }
    look().exit(1).said("set_policy");
    let policy =
        r#"{"pattern": "^dead$", "definition": {"delivery-limit": 1000000000}, "apply-to": "queues"}"#;
    site.vhost.ask("PUT", &format!("policies/{}/high", site.vhost.name), policy);
    let name = format!("queues/{}?disable_stats=true&enable_queue_totals=true", site.vhost.name);
    run(until("the policy holds", || async {
        site.vhost.ask("GET", &name, "").contains("\"policy\":\"high\"")
    }));
    assert_eq!(look().ok().out.lines().count(), 5, "to be refused took nothing");
}

#[test]
fn a_lost_connection_settles_nothing_for_anybody_else() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    site.publish("t", 300);
    let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
    site.run(&[&["subscribe", "t", "-g", "g", "--max-dead", "1000", "--no-follow"], &die[..]].concat())
        .exit(6);
    let replay = site.start(&["dlq", "replay", "t.g.dlq", "--rate", "100/s", "--yes"]);
    // Some are put back, and 300 are in hand.
    wait_until("it is at it", || now(&site, "t.g").0 > 0);
    site.vhost.cut();
    let ran = replay.end();
    let said = &ran.err;
    assert!(!said.contains("somebody else"), "{said}");
    // What was under way to the group just then is in doubt, which ends the run.
    if ran.code != 0 {
        site.run(&["dlq", "replay", "t.g.dlq", "--yes"]).ok();
    }
    assert_eq!(site.letters("t.g.dlq", &[]).len(), 0, "{said}");
    let back = payloads(&site.run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "raw"]).ok().out);
    assert_eq!(back.len(), 300, "none was lost");
}

#[test]
fn letters_in_the_hands_of_somebody_else_are_not_taken_for_settled() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    site.publish("t", 200);
    let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
    site.run(&[&["subscribe", "t", "-g", "g", "--max-dead", "1000", "--no-follow"], &die[..]].concat())
        .exit(6);
    let replay = ["dlq", "replay", "t.g.dlq", "--yes"];
    let first = site.start(&[&replay[..], &["--rate", "1/s"]].concat());
    // Its plan is over and all is in its hands when one of them is put back.
    wait_until("the first has begun", || now(&site, "t.g").0 > 0);
    site.run(&replay).exit(1).said("somebody else takes from it");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, 143);
    site.run(&replay).ok().said("0 still wait");
    site.run(&replay).ok().said("nothing to do");
    let back = payloads(&site.run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "raw"]).ok().out);
    assert_eq!(back.len(), 200, "none was lost");
    assert!(back.values().all(|count| *count == 1), "and none is there twice");
}

#[test]
fn a_queue_is_browsed_and_all_of_it_is_given_back() {
    let Some(vhost) = vhost() else { return };
    let site = Site { home: Home::new(), url: vhost.url(), vhost };
    for kind in ["quorum", "classic"] {
        let limit = if kind == "quorum" { r#", "x-delivery-limit": 5"# } else { "" };
        let queue = format!(r#"{{"durable": true, "arguments": {{"x-queue-type": "{kind}"{limit}}}}}"#);
        site.vhost.ask("PUT", &format!("queues/{}/{kind}", site.vhost.name), &queue);
        let queue = format!("queue:{kind}");
        site.publish(&queue, 1200);
        let browse = ["tail", &queue, "--browse", "-o", "raw"];
        for _ in 0..3 {
            let seen = site.run(&browse).ok().said("looking takes what waits").out;
            assert_eq!(payloads(&seen).len(), 1200, "{kind}");
        }
        let few = site.run(&[&browse[..], &["-c", "2"]].concat());
        match kind {
            // Its limit of 5 is near: a look that would end in losing it is refused, before it is lost.
            "quorum" => drop(few.exit(1).said("was given back 3 times")),
            _ => assert_eq!(few.ok().out.lines().count(), 2),
        }
        site.run(&["tail", &queue]).exit(2).said("--browse");
        site.run(&["tail", &queue, "--browse", "-n", "3"]).exit(2).said("cannot be used with");
        let left = site.run(&["subscribe", &queue, "--no-follow", "-o", "raw"]).ok().out;
        assert_eq!(left.lines().count(), 1200, "{kind}: all is there, and once");
        assert_eq!(payloads(&left).len(), 1200);
    }
}
