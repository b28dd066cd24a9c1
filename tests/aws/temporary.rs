//! What looking makes is gone when it ends, however it ends; and what a kill left behind is found.

use nix::sys::signal::Signal;

use crate::{Site, account};

fn queues(site: &Site, more: &[&str]) -> Vec<String> {
    let listed = site.lines(&[&["topics", "list", "queue:*", "-o", "json", "-X", "stale=0"], more].concat());
    listed.iter().filter_map(|topic| topic["topic"].as_str().map(str::to_owned)).collect()
}

/// A tail that has seen something.
fn tailing(site: &Site) -> crate::rig::Running {
    let tail = site.start(&["tail", "t", "-o", "raw"]);
    tail.says("t on aws");
    site.run(&["publish", "t", "seen"]).ok();
    tail.prints("seen");
    tail
}

#[test]
fn a_tail_leaves_nothing_behind_by_signal_and_by_itself() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let tail = tailing(&site);
        tail.signal(signal);
        tail.end();
        assert_eq!(site.boto3(&["subscriptions", "t"]).unwrap_or_default().len(), 0);
    }
    site.run(&["tail", "t", "--for", "1s"]).ok();
    assert_eq!(site.run(&["topics", "gc", "--yes", "-X", "stale=0"]).ok().out, "");
}

#[test]
fn what_a_kill_left_behind_is_found_by_its_age_and_removed() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    let tail = tailing(&site);
    tail.signal(Signal::SIGKILL);
    tail.end();
    let gone = |args: &[&str]| site.run(&[&["topics", "gc", "--yes"], args].concat()).ok().out;
    assert_eq!(gone(&[]), "", "it could be at work still");
    let found = gone(&["-X", "stale=0"]);
    assert!(found.starts_with("queue:evcat-tail-"), "{found}");
    assert_eq!(gone(&["-X", "stale=0"]), "");
    assert!(queues(&site, &[]).is_empty());
    assert_eq!(site.boto3(&["subscriptions", "t"]).unwrap_or_default().len(), 0);
}
