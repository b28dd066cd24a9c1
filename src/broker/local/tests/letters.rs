//! Runs over dead letters.

use std::time::Duration;

use super::*;
use crate::broker::local::settled;

fn settled_ranges(rig: &Rig, topic: &str) -> Vec<std::ops::Range<i64>> {
    let topic = log::topic(rig.store.sql(), topic).unwrap().unwrap();
    settled::ranges(rig.store.sql(), topic.id, 0..log::MAX_OFFSET).unwrap()
}

fn publish_many(rig: &Rig, topic: &str, count: usize) {
    let mut blocks = Blocks::default();
    for n in 0..count {
        blocks.push(&event(topic, "k", &n.to_string(), &[]), rig.store.now());
    }
    rig.write(|sql| log::append(sql, &log::make_topic(sql, topic)?, &blocks.finish(), rig.store.now()));
}

#[test]
fn a_run_goes_through_its_plan_in_its_order_and_ends() {
    let rig = Rig::new();
    rig.publish("d", &[("", "0"), ("", "1"), ("", "2"), ("", "3"), ("", "4")]);
    let mut run = rig.letters("d", Some(&[4, 1, 2, 99]));
    let got = run.take(2);
    assert_eq!(texts(&got), ["4", "1"]);
    run.ack(&got);
    let got = run.take(10);
    assert_eq!(texts(&got), ["2"], "and what the plan names and is not there is passed over");
    assert!(run.settle(&got[0], Settlement::Release));
    assert!(run.is_exhausted());
    assert_eq!(settled_ranges(&rig, "d"), [1..2, 4..5]);
    assert_eq!(rig.count("open"), 0);

    let mut next = rig.letters("d", None);
    rig.publish("d", &[("", "after the start")]);
    let got = next.take(10);
    assert_eq!(texts(&got), ["0", "2", "3"]);
    next.ack(&got);
    assert!(next.is_exhausted());
    assert_eq!(settled_ranges(&rig, "d"), vec![0..5; 1], "neighbours are one range");
}

#[test]
fn a_filter_that_leaves_more_than_a_window_does_not_jam() {
    let rig = Rig::new();
    let count = 3 * crate::broker::local::claim::WINDOW;
    publish_many(&rig, "d", count);
    let mut run = rig.letters("d", None);
    let (mut seen, mut acked) = (0, 0);
    loop {
        let (_, got, claimed) = run.claim(1000).unwrap();
        seen += got.len();
        let items: Vec<_> = got
            .iter()
            .map(|got| {
                let wanted = got.event.position().offset().unwrap() % 10_000 == 9_999;
                acked += usize::from(wanted);
                (got, if wanted { Settlement::Ack } else { Settlement::Release })
            })
            .collect();
        run.settle_all(&items).into_iter().for_each(|answer| drop(answer.unwrap()));
        if claimed.exhausted {
            break;
        }
    }
    assert_eq!((seen, acked), (count, 3));
    assert_eq!(settled_ranges(&rig, "d"), [9_999..10_000, 19_999..20_000, 29_999..30_000]);
    assert_eq!(rig.count("open"), 0, "what is left holds nothing");
}

#[test]
fn two_runs_at_once_never_settle_the_same() {
    let rig = Rig::with_group("o", "g");
    rig.publish("d", &[("", "0"), ("", "1"), ("", "2"), ("", "3")]);
    let (mut a, mut b) = (rig.letters("d", None), rig.letters("d", Some(&[0, 1, 2, 3])));
    let first = a.take(2);
    let second = b.take(10);
    assert_eq!((texts(&first), texts(&second)), (vec!["0".into(), "1".into()], vec!["2".into(), "3".into()]));
    let put_back = |got: &Got| move_to(event("o", "", &got.text(), &[]), Some("g"));
    assert!(a.settle(&first[0], put_back(&first[0])));
    assert!(a.settle(&first[1], Settlement::Release));
    assert_eq!(b.take_texts(10), ["1"], "what the other run leaves while we are here is ours");
    assert!(!a.settle(&first[0], put_back(&first[0])), "twice is lost");
    assert_eq!(rig.count("open WHERE data IS NOT NULL"), 1, "one put-back");
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_died_leaves_nothing_behind() {
    let rig = Rig::new();
    rig.publish("d", &[("", "0"), ("", "1"), ("", "2")]);
    let mut a = rig.letters("d", None);
    let got = a.take(3);
    a.ack(&got[..1]);
    drop(a);
    let mut b = rig.letters("d", Some(&[1]));
    assert_eq!(rig.count("open"), 0, "claims of the dead are freed");
    assert_eq!(b.take_texts(10), ["1"]);
}

#[test]
fn a_run_whose_lease_ran_out_has_lost_its_letters() {
    let rig = Rig::new();
    rig.publish("d", &[("", "0"), ("", "1")]);
    let (mut a, mut b) = (rig.letters("d", None), rig.letters("d", None));
    let old = a.take(1);
    rig.pass(30_001);
    let (_, got, _) = b.claim(10).unwrap();
    assert_eq!(texts(&got), ["0", "1"]);
    assert!(!a.settle(&old[0], move_to(event("o", "", "0", &[]), None)));
    assert_eq!(rig.count("topic WHERE name='o'"), 0, "and nothing was stored");
    let (lost, got, _) = a.claim(10).unwrap();
    assert_eq!((lost, got.len()), (vec![0], 0));
}

#[test]
fn a_retry_comes_again_in_the_same_run() {
    let rig = Rig::new();
    rig.publish("d", &[("", "0")]);
    let mut run = rig.letters("d", None);
    let got = run.take(10);
    assert!(run.settle(&got[0], Settlement::Retry(Duration::from_secs(1))));
    assert!(!run.is_exhausted());
    rig.pass(1000);
    assert_eq!(run.take_texts(10), ["0"]);
}

#[test]
fn letters_that_expired_drop_out() {
    let rig = Rig::new();
    rig.publish("d", &[("", "0"), ("", "1"), ("", "2")]);
    let mut run = rig.letters("d", Some(&[0, 2]));
    rig.write(|sql| Ok(sql.execute("UPDATE topic SET first = 1", [])?));
    assert_eq!(run.take_texts(10), ["2"]);
    assert_eq!(rig.letters("d", None).take_texts(10), ["1"]);
}
