//! Dead letters: those that evcat wrote and those that AWS itself moved, looked at, put back and killed in between.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::account;

#[test]
fn what_aws_gave_up_goes_back_to_the_queue_that_it_died_in() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t", "-X", "max_receives=6"]).ok();
    site.run(&["publish", "t", "poison", "-k", "A-17"]).ok();
    site.until_waiting("g", 1);
    if site.boto3(&["fail", "t-g", "6"]).is_none() {
        return;
    }
    let letters = site.lines(&["dlq", "peek", "t.g.dlq", "-o", "json"]);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((&letter["payload"], &letter["key"]), (&"poison".into(), &"A-17".into()));
    assert_eq!(letter["failure"]["kind"], "delivery_limit", "{letter}");
    assert_eq!(letter["failure"]["group"], "g", "{letter}");
    assert!(letter["properties"]["DeadLetterQueueSourceArn"].as_str().unwrap().ends_with(":t-g"));
    let listed = site.run(&["dlq", "list"]).ok().out;
    assert!(listed.contains("t.g.dlq") && listed.contains("t/g"), "{listed}");
    site.run(&["dlq", "replay", "t.g.dlq", "--yes"]).ok();
    site.run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "raw"]).ok().printed("poison\n");
    assert!(site.lines(&["dlq", "peek", "t.g.dlq", "-o", "json"]).is_empty());
}

#[test]
fn a_limit_of_the_queue_that_would_act_behind_our_back_is_refused() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t", "-X", "max_receives=3"]).ok();
    site.run(&["subscribe", "t", "-g", "g", "--no-follow", "--", "true"]).exit(2).said("after 3 deliveries");
}

#[test]
fn letters_of_two_topics_come_back_whoever_is_killed_meanwhile() {
    const EACH: usize = 500;
    const KILLS: u64 = 5;
    let Some(site) = account() else { return };
    for topic in ["orders", "mail"] {
        site.run(&["topics", "create", topic]).ok();
        site.run(&["groups", "create", "ship", topic]).ok();
        let lines: String = (0..EACH).map(|n| format!("{topic}-{n}\n")).collect();
        site.feed(&["publish", topic, "--key-from", ".payload[-1:]"], &lines).ok();
        site.until_waiting("ship", EACH as u64);
        let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
        let dlq = ["--dlq", "queue:all-dlq", "--max-dead", "100000", "--no-follow", "--ordering", "none"];
        site.run(&[&["subscribe", topic, "-g", "ship"], &dlq[..], &die[..]].concat()).exit(6);
    }
    let letters =
        |more: &[&str]| site.lines(&[&["dlq", "peek", "queue:all-dlq", "-o", "json"], more].concat());
    assert_eq!(letters(&[]).len(), 2 * EACH);
    assert_eq!(letters(&["--origin", "mail"]).len(), EACH, "looking took nothing");
    let listed = site.run(&["dlq", "list", "--all"]).ok().out;
    assert!(listed.contains("queue:all-dlq"), "{listed}");
    let stats = site.run(&["dlq", "stats", "queue:all-dlq"]).ok().out;
    assert!(stats.contains("orders") && stats.contains("mail") && stats.contains("500"), "{stats}");
    let replay = ["dlq", "replay", "queue:all-dlq", "--origin", "orders", "--yes"];
    for round in 0..KILLS {
        let running = site.start(&[&replay[..], &["--rate", "40/s"]].concat());
        std::thread::sleep(Duration::from_millis(900 + 100 * round));
        running.signal(Signal::SIGKILL);
        running.end();
    }
    // What it held is hidden until its lease ends; then the rest goes. All of them wait again when as many do as died.
    let begun = std::time::Instant::now();
    while site.lag("orders") < EACH as u64 || letters(&[]).len() != EACH {
        site.run(&replay);
        assert!(begun.elapsed() < Duration::from_secs(150), "{:?}", letters(&[]).len());
    }
    assert_eq!(letters(&[]).len(), EACH, "the others stay");
    let back = ["subscribe", "orders", "-g", "ship", "--no-follow", "-o", "raw"];
    let mut counts = HashMap::<String, usize>::new();
    for line in site.run(&back).ok().out.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(counts.len(), EACH, "none was lost");
    let twice = counts.values().filter(|count| **count > 1).count();
    writeln!(std::io::stderr(), "{EACH} put back with {KILLS} kills, {twice} of them twice").unwrap();
    assert!(twice <= KILLS as usize * 10, "{twice} came twice: no more than a batch for each kill");
}
