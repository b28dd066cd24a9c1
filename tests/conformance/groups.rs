//! Groups: each gets everything, its members share it, and it begins where it was told to.

use std::collections::HashMap;
use std::time::Duration;

use evcat::broker::{Kind, Settlement, Start, Stop, abilities};
use tokio::time::timeout;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => every_group_gets_every_event;
    [] => members_share_the_work;
    [] => no_more_in_flight_than_asked;
    [] => what_was_acked_stays_acked;
    [] => the_end_is_said_when_all_before_it_was_delivered;
    [] => the_end_waits_for_what_is_held;
    [RETRY_DELAY] => the_end_waits_for_a_retry;
    [] => dropping_receive_at_random_loses_nothing;
    [] => a_sleeping_member_wakes;
    [HISTORY] => a_new_group_begins_where_it_was_told_to;
    [] => a_group_that_exists_stays_where_it_is;
    [] => one_member_works_on_several_topics;
    [ORDER] => a_key_keeps_its_order_with_one_member;
    [LAG] => lag_is_what_is_not_settled;
    [SEEK] => a_group_can_be_moved;
    [SEEK] => a_group_with_members_is_not_moved;
    [] => a_deleted_group_is_gone;
    [] => a_group_with_members_is_not_deleted;
};

async fn every_group_gets_every_event(rig: Rig) {
    let topic = rig.topic_with_group("t", "one").await;
    rig.group(&topic, "two", rig.whole_history()).await;
    rig.publish(rig.numbered(&topic, 0, 30, 3)).await;
    for group in ["one", "two"] {
        let mut member = rig.member(&topic, group, working(50)).await;
        let got = member.take(30).await;
        assert_eq!(sorted(of(&got)), numbers(0, 30));
        member.ack(&got).await;
        member.close().await;
    }
}

async fn members_share_the_work(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(5)).await);
    }
    rig.publish(rig.numbered(&topic, 0, 300, 50)).await;
    let (mut got, mut by_member) = (Vec::new(), [0; 3]);
    while got.len() < 300 {
        for (i, member) in members.iter_mut().enumerate() {
            if let Ok(Some(some)) = timeout(QUIET, member.step()).await {
                member.ack(&some).await;
                by_member[i] += some.len();
                got.extend(of(&some));
            }
        }
    }
    assert_eq!(sorted(got), numbers(0, 300), "each event went to one member");
    if rig.can(&abilities::ORDER_MEMBERS) && !rig.can(&abilities::PARTITIONS) {
        assert!(by_member.iter().all(|n| *n > 0), "all members work: {by_member:?}");
    }
}

async fn no_more_in_flight_than_asked(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 50, 10)).await;
    let mut member = rig.member(&topic, "g", working(4)).await;
    let first = member.take(4).await;
    member.idle().await;
    member.ack(&first[..1]).await;
    let next = member.some().await;
    assert_eq!(next.len(), 1, "one was settled, one more comes");
    member.idle().await;
}

async fn what_was_acked_stays_acked(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 20, 4)).await;
    let mut member = rig.member(&topic, "g", working(20)).await;
    let got = member.take(20).await;
    let (odd, even): (Vec<_>, Vec<_>) =
        got.into_iter().partition(|d| text(&d.event).parse::<u32>().unwrap() % 2 == 1);
    member.ack(&odd).await;
    member.close().await;
    let mut next = Member::of(&rig.another(), group_of(&[topic], "g"), working(20)).await;
    let again = next.take(10).await;
    assert_eq!(sorted(of(&again)), sorted(of(&even)), "what was not settled comes again, and nothing else");
    next.idle().await;
}

async fn the_end_is_said_when_all_before_it_was_delivered(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 120, 4)).await;
    let mut options = working(10);
    options.stop = Stop::Now;
    let mut member = rig.member(&topic, "g", options.clone()).await;
    rig.publish(rig.numbered(&topic, 1000, 5, 4)).await;
    let mut got = of(&member.drain().await);
    assert_eq!(got.len(), 120, "as many as there were");
    if rig.can(&abilities::ORDER) {
        assert_eq!(sorted(got.clone()), numbers(0, 120), "to the end as it was, not to the new one");
    }
    member.close().await;
    let mut rest = rig.member(&topic, "g", options.clone()).await;
    got.extend(of(&rest.drain().await));
    assert_eq!(sorted(got), [numbers(0, 120), numbers(1000, 1005)].concat(), "each once");
    rest.close().await;
    assert!(
        rig.member(&topic, "g", options).await.drain().await.is_empty(),
        "nothing left is the end at once"
    );
}

async fn the_end_waits_for_what_is_held(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 4, 4)).await;
    let mut options = working(10);
    options.stop = Stop::Now;
    let mut member = rig.member(&topic, "g", options).await;
    let held = member.take(4).await;
    member.ack(&held[..3]).await;
    let early = timeout(QUIET, member.step()).await;
    assert!(early.is_err(), "the end is the last word, and one is still out");
    member.settle(&held[3], Settlement::Release).await.unwrap();
    assert!(member.drain().await.is_empty());
}

async fn the_end_waits_for_a_retry(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 2, 2)).await;
    let mut options = working(10);
    options.stop = Stop::Now;
    let mut member = rig.member(&topic, "g", options).await;
    let held = member.take(2).await;
    member.ack(&held[..1]).await;
    member.settle(&held[1], Settlement::Retry(Duration::from_millis(300))).await.unwrap();
    assert_eq!(of(&member.drain().await), of(&held[1..]), "it comes again before the end is said");
}

async fn dropping_receive_at_random_loses_nothing(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let publisher = rig.publisher().await;
    let mut member = rig.member(&topic, "g", working(30)).await;
    let mut random = fastrand::Rng::with_seed(5);
    let (mut sent, mut got, mut dropped) = (0, Vec::new(), 0);
    while got.len() < 1500 {
        if sent < 1500 && random.bool() {
            let size = random.usize(1..=100).min(1500 - sent);
            drop(publisher.send(rig.numbered(&topic, sent, size, 7).into()));
            sent += size;
        }
        match timeout(Duration::from_micros(random.u64(0..2000)), member.step()).await {
            Err(_) => dropped += 1,
            Ok(some) => {
                let some = some.expect("nobody set a stop");
                member.ack(&some).await;
                got.extend(of(&some));
            }
        }
    }
    assert!(dropped > 0, "some futures were dropped");
    assert_eq!(sorted(got), numbers(0, 1500), "each once");
}

async fn a_sleeping_member_wakes(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let mut member = Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(10)).await;
    for i in 0..5 {
        assert!(timeout(Duration::from_millis(60), member.step()).await.is_err());
        rig.publish(rig.numbered(&topic, i, 1, 0)).await;
        let woken = timeout(rig.fixture.wake, member.step()).await.expect("a sleeping member wakes").unwrap();
        assert_eq!(of(&woken), [i.to_string()]);
        member.ack(&woken).await;
    }
}

async fn a_new_group_begins_where_it_was_told_to(rig: Rig) {
    let topic = rig.topic("t").await;
    let receipts = rig.publish(rig.numbered(&topic, 0, 20, 1)).await;
    let mut starts = vec![(Start::Earliest, 0), (Start::Latest, 20)];
    if rig.can(&abilities::BY_POSITION) {
        starts.push((Start::At(vec![(topic.clone(), receipts[7].position.clone())]), 7));
        starts.push((Start::After(vec![(topic.clone(), receipts[7].position.clone())]), 8));
    }
    if rig.can(&abilities::LAST) {
        starts.push((Start::Last(3), 17));
    }
    if rig.can(&abilities::BY_TIME) {
        starts.push((Start::Time(0), 0));
        starts.push((Start::Time(i64::MAX / 2), 20));
    }
    for (i, (start, _)) in starts.iter().enumerate() {
        rig.group(&topic, &format!("g{i}"), start.clone()).await;
    }
    rig.publish(rig.numbered(&topic, 20, 1, 1)).await;
    for (i, (start, first)) in starts.into_iter().enumerate() {
        let mut options = working(50);
        options.stop = Stop::Now;
        let got = rig.member(&topic, &format!("g{i}"), options).await.drain().await;
        assert_eq!(of(&got), numbers(first, 21), "{start:?}");
    }
}

async fn a_group_that_exists_stays_where_it_is(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish_to_nobody(rig.numbered(&topic, 0, 10, 1)).await;
    let source = group_of(&[topic.clone()], "g");
    let letters = format!("{topic}.g.dlq");
    let made = rig.broker.create_group(&source, &Start::Latest, Some(&letters)).await.unwrap();
    assert!(!made.is_empty(), "it says what it made");
    rig.publish(rig.numbered(&topic, 10, 5, 1)).await;
    let again = rig.broker.create_group(&source, &rig.whole_history(), Some(&letters)).await.unwrap();
    assert_eq!(again, Vec::<String>::new(), "nothing was missing");
    let mut member = rig.member(&topic, "g", working(20)).await;
    assert_eq!(sorted(of(&member.take(5).await)), numbers(10, 15));
    member.idle().await;
}

async fn one_member_works_on_several_topics(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await];
    let source = group_of(&topics, "g");
    rig.broker.create_group(&source, &rig.whole_history(), None).await.unwrap();
    for (i, topic) in topics.iter().enumerate() {
        rig.publish(rig.numbered(topic, i * 50, 50, 5)).await;
    }
    let mut member = Member::of(&rig.broker, source, working(10)).await;
    let mut got = HashMap::<String, Vec<String>>::new();
    for _ in 0..100 {
        let one = member.take(1).await.remove(0);
        member.ack(std::slice::from_ref(&one)).await;
        got.entry(one.event.topic().to_string()).or_default().push(text(&one.event));
    }
    assert_eq!(sorted(got.remove("a").unwrap()), numbers(0, 50));
    assert_eq!(sorted(got.remove("b").unwrap()), numbers(50, 100));
}

async fn a_key_keeps_its_order_with_one_member(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 400, 8)).await;
    let mut member = rig.member(&topic, "g", working(30)).await;
    let mut last = HashMap::<Vec<u8>, usize>::new();
    let mut random = fastrand::Rng::with_seed(3);
    let (mut held, mut seen) = (Vec::new(), 0);
    while seen < 400 {
        if held.len() < 30 {
            // A broker may hold a key back while something of it is out.
            let wait = if held.is_empty() { PATIENCE } else { Duration::from_millis(20) };
            for delivery in timeout(wait, member.step()).await.map(Option::unwrap).unwrap_or_default() {
                let n: usize = text(&delivery.event).parse().unwrap();
                let key = delivery.event.key().unwrap_or_default().to_vec();
                assert!(last.insert(key, n).is_none_or(|before| before < n), "{n} overtook");
                seen += 1;
                held.push(delivery);
            }
        }
        // Settled in any order.
        assert!(!held.is_empty(), "{seen} of 400 came");
        for _ in 0..random.usize(1..=held.len()) {
            let one = held.swap_remove(random.usize(..held.len()));
            member.ack(&[one]).await;
        }
    }
}

async fn lag_is_what_is_not_settled(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    assert!(rig.lag_is(&topic, "g", 0).await);
    rig.publish(rig.numbered(&topic, 0, 40, 4)).await;
    assert!(rig.lag_is(&topic, "g", 40).await);
    let mut member = rig.member(&topic, "g", working(25)).await;
    let got = member.take(25).await;
    assert!(rig.lag_is(&topic, "g", 40).await, "handed out is not settled");
    member.ack(&got[..10]).await;
    assert!(rig.lag_is(&topic, "g", 30).await);
    let facts = rig.facts(&topic, "g").await;
    assert!(facts.members.is_none_or(|members| members == 1), "{facts:?}");
    assert!(
        facts.oldest.is_some() || !rig.can(&abilities::HISTORY),
        "who keeps it can tell its time: {facts:?}"
    );
    for delivery in &got[10..] {
        member.settle(delivery, Settlement::Ack).await.unwrap();
    }
    assert!(rig.lag_is(&topic, "g", 15).await);
    member.close().await;
    assert!(rig.lag_is(&topic, "g", 15).await);
}

async fn a_group_can_be_moved(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let receipts = rig.publish(rig.numbered(&topic, 0, 20, 2)).await;
    let mut options = working(50);
    options.stop = Stop::Now;
    let mut starts = vec![(Start::Latest, 20), (Start::Earliest, 0), (Start::Latest, 20)];
    if rig.can(&abilities::BY_POSITION) && !rig.can(&abilities::PARTITIONS) {
        starts.push((Start::At(vec![(topic.clone(), receipts[5].position.clone())]), 5));
    }
    for (start, first) in starts {
        rig.broker.seek_group(&topic, "g", &start).await.unwrap();
        if rig.can(&abilities::LAG) {
            assert!(rig.lag_is(&topic, "g", 20 - first as u64).await, "{start:?}");
        }
        let mut member = rig.member(&topic, "g", options.clone()).await;
        let got = member.drain().await;
        assert_eq!(sorted(of(&got)), numbers(first, 20), "{start:?}");
        member.close().await;
    }
    // What was open before the move is forgotten with it.
    rig.broker.seek_group(&topic, "g", &Start::Earliest).await.unwrap();
    let mut member = rig.member(&topic, "g", working(5)).await;
    let held = member.take(5).await;
    if rig.can(&abilities::RETRY_DELAY) {
        member.settle(&held[0], Settlement::Retry(Duration::ZERO)).await.unwrap();
    }
    member.close().await;
    rig.broker.seek_group(&topic, "g", &Start::Latest).await.unwrap();
    assert!(rig.member(&topic, "g", options).await.drain().await.is_empty());
    let error = rig.broker.seek_group(&topic, "nobody", &Start::Latest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

async fn a_group_with_members_is_not_moved(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 5, 1)).await;
    let mut member = rig.member(&topic, "g", working(5)).await;
    let held = member.take(1).await;
    let error = rig.broker.seek_group(&topic, "g", &Start::Latest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
    member.ack(&held).await;
    member.close().await;
    rig.broker.seek_group(&topic, "g", &Start::Latest).await.unwrap();
}

async fn a_deleted_group_is_gone(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 5, 1)).await;
    rig.broker.delete_group(&topic, "g").await.unwrap();
    assert!(rig.broker.groups(&topic).await.unwrap().is_empty());
    let error = rig.broker.delete_group(&topic, "g").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    let error = rig.broker.subscription(group_of(&[topic.clone()], "g"), working(5)).await.err();
    assert_eq!(error.expect("there is no such group").kind(), Kind::NotFound);
    rig.group(&topic, "g", Start::Latest).await;
    rig.member(&topic, "g", working(5)).await.idle().await;
}

async fn a_group_with_members_is_not_deleted(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 5, 1)).await;
    let mut member = rig.member(&topic, "g", working(5)).await;
    let held = member.take(1).await;
    if rig.facts(&topic, "g").await.members.is_none() {
        // Nobody can tell: it goes, and its members are told.
        rig.broker.delete_group(&topic, "g").await.unwrap();
        return assert_eq!(member.failure().await.kind(), Kind::NotFound);
    }
    let error = rig.broker.delete_group(&topic, "g").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
    member.ack(&held).await;
    member.close().await;
    rig.broker.delete_group(&topic, "g").await.unwrap();
}
