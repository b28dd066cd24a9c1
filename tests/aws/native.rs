//! `dlq replay --native`: SQS itself empties a queue of dead letters. LocalStack does it too; ministack and ElasticMQ's other
//! half do not.

use nix::sys::signal::Signal;

use crate::{Site, account};

/// Letters of group `g` of topic `t`, that SQS itself moved to `t.g.dlq`.
fn given_up(count: usize) -> Option<Site> {
    let site = account()?;
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t", "-X", "max_receives=6"]).ok();
    let lines: String = (0..count).map(|n| format!("poison-{n}\n")).collect();
    site.feed(&["publish", "t"], &lines).ok();
    site.until_waiting("g", count as u64);
    site.boto3(&["fail", "t-g", "6"])?;
    Some(site)
}

/// Letters that evcat's subscribe sent there.
fn sent(site: &Site, count: usize) {
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    let lines: String = (0..count).map(|n| format!("dead-{n}\n")).collect();
    site.feed(&["publish", "t"], &lines).ok();
    site.until_waiting("g", count as u64);
    let die = ["--worker", "--", "sh", "-c", "while read -r line; do echo dead; done"];
    let how = ["subscribe", "t", "-g", "g", "--no-follow", "--ordering", "none", "--max-dead", "100000"];
    site.run(&[&how[..], &die].concat()).exit(6);
}

fn letters(site: &Site) -> usize {
    site.lines(&["dlq", "peek", "t.g.dlq", "-o", "json"]).len()
}

#[test]
fn what_sqs_gave_up_goes_back_by_sqs_itself() {
    let Some(site) = given_up(3) else { return };
    let plan = site.run(&["dlq", "replay", "t.g.dlq", "--native", "--dry-run"]).ok().out;
    assert!(
        plan.contains("about 3") && plan.contains("queue:t-g   each into the queue that it died in"),
        "{plan}"
    );
    assert_eq!(letters(&site), 3, "a plan changes nothing");
    site.run(&["dlq", "replay", "t.g.dlq", "--native"]).exit(2).said("--yes");
    let ran = site.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes", "-o", "json"]).ok();
    let end = &crate::json(&ran.out)[0];
    assert_eq!((&end["state"], &end["moved"]), (&"completed".into(), &3.into()), "{end}");
    ran.said("3 put back by aws");
    let mut back: Vec<String> = site
        .run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "raw"])
        .ok()
        .out
        .lines()
        .map(str::to_owned)
        .collect();
    back.sort();
    assert_eq!(back, ["poison-0", "poison-1", "poison-2"]);
    site.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes"]).ok().said("nothing to do");
}

#[test]
fn what_sqs_did_not_move_there_is_told_and_goes_into_a_queue_that_is_named() {
    let Some(site) = account() else { return };
    sent(&site, 3);
    let ran = site.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes"]).exit(1);
    assert!(ran.err.contains("it ended by itself when 0 were put back"), "{}", ran.err);
    assert!(ran.err.contains("--into queue:NAME"), "{}", ran.err);
    // The one that it failed on is hidden for a moment.
    let begun = std::time::Instant::now();
    while site.lag("t") < 3 {
        site.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes", "--into", "queue:t-g"]).ok();
        assert!(begun.elapsed() < crate::rig::DEADLINE, "{} wait", site.lag("t"));
    }
    assert_eq!((letters(&site), site.lag("t")), (0, 3));
}

#[test]
fn a_signal_ends_it_at_aws_and_says_how_many_went_and_the_rest_goes_later() {
    const COUNT: usize = 40;
    let Some(site) = account() else { return };
    sent(&site, COUNT);
    let replay = ["dlq", "replay", "t.g.dlq", "--native", "--yes", "--into", "queue:t-g"];
    let running = site.start(&[&replay[..], &["--rate", "5/s"]].concat());
    site.until_waiting("g", 5);
    running.signal(Signal::SIGINT);
    let ran = running.end().exit(130);
    let stopped = ran.err.lines().find_map(|line| line.strip_prefix("stopped: ")).unwrap_or_default();
    let moved: u64 = stopped.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{}", ran.err));
    assert!((5..COUNT as u64).contains(&moved), "{}", ran.err);
    assert_eq!(site.lag("t"), moved, "and no more goes");
    site.run(&replay).ok();
    assert_eq!((letters(&site), site.lag("t")), (0, COUNT as u64));
}

#[test]
fn one_that_goes_on_after_a_kill_is_joined_and_not_begun_twice() {
    const COUNT: usize = 12;
    let Some(site) = account() else { return };
    sent(&site, COUNT);
    let replay = ["dlq", "replay", "t.g.dlq", "--native", "--yes", "--into", "queue:t-g"];
    let running = site.start(&[&replay[..], &["--rate", "2/s"]].concat());
    site.until_waiting("g", 1);
    running.signal(Signal::SIGKILL);
    running.end();
    site.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes"])
        .exit(1)
        .said("AWS moves them already, and elsewhere: to t-g");
    site.run(&replay).ok().said("it is under way already").said("12 put back by aws");
    assert_eq!((letters(&site), site.lag("t")), (0, COUNT as u64));
}

#[test]
fn what_cannot_go_with_it_is_refused_with_the_reason() {
    let Some(site) = account() else { return };
    sent(&site, 1);
    let native = ["dlq", "replay", "t.g.dlq", "--native", "--yes"];
    let wrong: &[(&[&str], &str)] = &[
        (&["--grep", "x"], "grep x"),
        (&["--limit", "3"], "at most 3"),
        (&["some-id"], "id some-id"),
        (&["--transform", "."], "--transform"),
        (&["--expect", "1"], "estimates"),
        (&["--max-replays", "1"], "--max-replays"),
        (&["--rate", "7/m"], "whole number in a second"),
        (&["--rate", "501/s"], "at most 500"),
        (&["--into", "t"], "into queues only"),
        (&["--into", "queue:t.fifo"], "both end with .fifo"),
        (&["--into", "queue:nowhere"], "does not exist"),
        (&["--", "true"], "a command"),
    ];
    for (more, words) in wrong {
        site.run(&[&native[..], more].concat()).exit(2).said(words);
    }
    site.run(&["dlq", "replay", "queue:t-g", "--native", "--yes"])
        .exit(2)
        .said("dead-letter queue of no SQS queue");
    site.run(&["dlq", "replay", "t", "--native", "--yes"]).exit(2).said("is a topic");
    site.run(&["dlq", "replay", "@kept", "--native", "--yes"]).exit(2).said("a file");
    assert_eq!(letters(&site), 1);
    let elsewhere = site.run(&["-b", "local:", "dlq", "replay", "t.g.dlq", "--native", "--yes"]).exit(2);
    assert!(elsewhere.err.contains("these brokers can: aws"), "{}", elsewhere.err);
}
