//! Leases: how long a delivery is ours, and what happens when it is no longer.

use std::time::{Duration, Instant};

use evcat::broker::{Delivery, Kind, Settlement, SubscribeOptions};
use evcat::event::Name;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => closing_gives_back_at_once;
    [] => a_lease_that_ends_passes_to_another_member;
    [] => what_is_extended_stays_ours;
    [] => what_was_taken_over_is_lost_and_changes_nothing;
    [] => who_still_works_on_what_was_taken_over_is_told;
    [ATTEMPTS] => a_delivery_that_was_taken_over_counts;
    [ATTEMPTS] => closing_without_settling_counts_as_handed_out;
};

fn leased(rig: &Rig, in_flight: usize) -> SubscribeOptions {
    let options = working(in_flight);
    SubscribeOptions { lease: rig.fixture.lease.unwrap_or(options.lease), ..options }
}

async fn closing_gives_back_at_once(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 8, 4)).await;
    let mut first = rig.member(&topic, "g", working(8)).await;
    let held = first.take(8).await;
    first.ack(&held[..3]).await;
    first.close().await;
    let before = Instant::now();
    let mut second = Member::of(&rig.another(), group_of(&[topic], "g"), working(8)).await;
    assert_eq!(sorted(of(&second.take(5).await)), sorted(of(&held[3..])));
    assert!(before.elapsed() < Duration::from_secs(10), "long before the lease of two minutes is over");
}

/// A member that holds `n` events and is not heard of again until it lost them, and one that takes over from it.
async fn taken_over(rig: &Rig, n: usize) -> (Member, Vec<Delivery>, Member) {
    if rig.fixture.lease.is_some() {
        return holding(rig, "t", n).await;
    }
    let until = Instant::now() + PATIENCE;
    for round in 0.. {
        let (first, held, mut second) = holding(rig, &format!("t{round}"), n).await;
        rig.cut();
        // Both come again, and the one who was cut may be faster.
        if second.has_some(PATIENCE / 5).await {
            return (first, held, second);
        }
        assert!(Instant::now() < until, "the other one never gets them");
        first.close().await;
        second.close().await;
        // A group that somebody is in is not given another topic.
        let topic: Name = format!("t{round}").into();
        while rig.facts(&topic, "g").await.members != Some(0) {
            assert!(Instant::now() < until, "they never leave");
            tokio::time::sleep(QUIET).await;
        }
    }
    unreachable!("it is returned from")
}

/// A member that holds `n` events, and one that waits for them.
async fn holding(rig: &Rig, topic: &str, n: usize) -> (Member, Vec<Delivery>, Member) {
    let topic = rig.topic_with_group(topic, "g").await;
    rig.publish(rig.numbered(&topic, 0, n, 3)).await;
    let mut first = rig.member(&topic, "g", leased(rig, n)).await;
    let held = first.take(n).await;
    let second = Member::of(&rig.another(), group_of(&[topic], "g"), working(n)).await;
    (first, held, second)
}

async fn a_lease_that_ends_passes_to_another_member(rig: Rig) {
    let before = Instant::now();
    let (_first, held, mut second) = taken_over(&rig, 6).await;
    let again = second.take(6).await;
    let lease = rig.fixture.lease.unwrap_or_default();
    assert!(before.elapsed() >= lease, "not before it was over: {:?}", before.elapsed());
    assert_eq!(sorted(of(&again)), sorted(of(&held)));
    second.ack(&again).await;
    second.idle().await;
}

async fn what_is_extended_stays_ours(rig: Rig) {
    let (first, held, mut second) = holding(&rig, "t", 3).await;
    let lease = rig.fixture.lease.unwrap_or(QUIET);
    let until = Instant::now() + lease * 4;
    while Instant::now() < until {
        first.extend(&held).await;
        let third = tokio::time::timeout(lease / 3, second.step()).await;
        assert!(third.is_err(), "it was ours all the time");
    }
    first.ack(&held).await;
    second.idle().await;
}

async fn what_was_taken_over_is_lost_and_changes_nothing(rig: Rig) {
    let (mut first, held, mut second) = taken_over(&rig, 4).await;
    let again = second.take(4).await;
    if rig.fixture.lease.is_none() {
        // Before it is told, it may give back what is not its own: nobody is the worse for that.
        first.until_lost().await;
    }
    let ways = [Settlement::Ack, Settlement::Retry(Duration::ZERO), Settlement::Release, Settlement::Ack];
    let items = held.iter().zip(ways).map(|(delivery, how)| (delivery.token, how)).collect();
    for answer in first.settle_each(items).await {
        assert_eq!(answer.unwrap_err().kind(), Kind::Lost);
    }
    second.ack(&again).await;
    second.idle().await;
}

async fn who_still_works_on_what_was_taken_over_is_told(rig: Rig) {
    let (mut first, held, mut second) = taken_over(&rig, 4).await;
    let again = second.take(4).await;
    first.extend(&held).await;
    first.until_lost().await;
    assert!(first.lost.iter().all(|token| held.iter().any(|delivery| delivery.token == *token)));
    second.ack(&again).await;
    second.idle().await;
}

async fn a_delivery_that_was_taken_over_counts(rig: Rig) {
    let (_first, held, mut second) = taken_over(&rig, 2).await;
    assert!(held.iter().all(|delivery| delivery.attempt == Some(1)));
    let again = second.take(2).await;
    assert!(again.iter().all(|delivery| delivery.attempt == Some(2)), "{again:?}");
}

async fn closing_without_settling_counts_as_handed_out(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let mut member = rig.member(&topic, "g", working(1)).await;
        attempts.push(member.take(1).await[0].attempt.unwrap());
        member.close().await;
    }
    assert_eq!(attempts[0], 1);
    assert!(attempts.is_sorted(), "never fewer than were handed out for sure: {attempts:?}");
}
