//! Settling: ack, retry, release, each answered by itself.

use std::time::{Duration, Instant};

use evcat::broker::{Settlement, Stop, abilities};

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => each_item_has_its_answer;
    [RETRY_DELAY] => a_retry_comes_again_and_not_before_its_time;
    [RETRY_DELAY] => a_retry_may_be_taken_by_another_member;
    [ATTEMPTS, RETRY_DELAY] => attempts_are_counted;
    [] => what_is_released_comes_to_another_member_only;
    [ATTEMPTS] => a_release_is_as_if_never_delivered;
    [] => a_release_by_the_last_member_is_there_for_the_next;
    [] => settling_many_at_once;
};

async fn each_item_has_its_answer(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 3, 3)).await;
    let mut member = rig.member(&topic, "g", working(3)).await;
    let got = member.take(3).await;
    let (letters, copy) = (rig.topic("t.g.dlq").await, text(&got[1].event));
    let mut watch = rig.watch(&letters).await;
    let moved = Settlement::Move { event: Box::new(said(&letters, &copy)), only: None };
    let items =
        got.iter().map(|delivery| delivery.token).zip([Settlement::Ack, moved, Settlement::Ack]).collect();
    let answers: Vec<_> = member.settle_each(items).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    let letter = watch.take(1).await.remove(0);
    assert_eq!(text(&letter), copy);
    assert!(rig.same_place(answers[1].as_ref().unwrap(), &letter));
    member.idle().await;
}

async fn a_retry_comes_again_and_not_before_its_time(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let first = member.take(1).await;
    let delay = Duration::from_millis(600);
    let before = Instant::now();
    member.settle(&first[0], Settlement::Retry(delay)).await.unwrap();
    let again = member.take(1).await;
    assert!(before.elapsed() >= delay - Duration::from_millis(5), "after {:?}", before.elapsed());
    assert!(before.elapsed() < delay + Duration::from_secs(5), "and not much later: {:?}", before.elapsed());
    assert_eq!((of(&again), again[0].event.position()), (of(&first), first[0].event.position()));
    assert_ne!(again[0].token, first[0].token, "a token is never used again");
    member.ack(&again).await;
    member.idle().await;
}

async fn a_retry_may_be_taken_by_another_member(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let first = member.take(1).await;
    member.settle(&first[0], Settlement::Retry(Duration::from_millis(300))).await.unwrap();
    member.close().await;
    let mut other = Member::of(&rig.another(), group_of(&[topic], "g"), working(1)).await;
    assert_eq!(of(&other.take(1).await), ["0"]);
}

async fn attempts_are_counted(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 2, 2)).await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let one = member.take(1).await;
        if text(&one[0].event) == "1" {
            member.ack(&one).await;
            continue;
        }
        attempts.push(one[0].attempt);
        member.settle(&one[0], Settlement::Retry(Duration::ZERO)).await.unwrap();
    }
    member.close().await;
    let mut other = Member::of(&rig.another(), group_of(&[topic], "g"), working(2)).await;
    for delivery in other.take(if attempts.len() == 3 { 2 } else { 1 }).await {
        let zero = text(&delivery.event) == "0";
        assert_eq!(
            delivery.attempt,
            Some(if zero { attempts.len() as u32 + 1 } else { 1 }),
            "over members too"
        );
    }
    assert_eq!(attempts, (1..=attempts.len() as u32).map(Some).collect::<Vec<_>>());
}

async fn what_is_released_comes_to_another_member_only(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 6, 6)).await;
    let mut first = rig.member(&topic, "g", working(6)).await;
    let held = first.take(6).await;
    first.settle_all(held[..4].iter().map(|delivery| delivery.token), Settlement::Release).await;
    first.idle().await;
    first.ack(&held[4..]).await;
    first.idle().await;
    if !rig.fixture.habits.releases_at_once {
        first.close().await;
        let mut second = Member::of(&rig.another(), group_of(&[topic], "g"), working(6)).await;
        return assert_eq!(sorted(of(&second.take(4).await)), sorted(of(&held[..4])));
    }
    let mut second = Member::of(&rig.another(), group_of(&[topic], "g"), working(6)).await;
    let again = second.take(4).await;
    assert_eq!(sorted(of(&again)), sorted(of(&held[..4])));
    second.ack(&again).await;
}

async fn a_release_is_as_if_never_delivered(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    for before in 0..3 {
        let mut member = rig.member(&topic, "g", working(1)).await;
        let got = member.take(1).await;
        let counted = if rig.fixture.habits.counts_releases { before } else { 0 };
        assert_eq!(got[0].attempt, Some(1 + counted), "a release does not count");
        member.settle(&got[0], Settlement::Release).await.unwrap();
        member.close().await;
    }
}

async fn a_release_by_the_last_member_is_there_for_the_next(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 40, 0)).await;
    let mut options = working(10);
    options.stop = Stop::Now;
    let mut member = rig.member(&topic, "g", options.clone()).await;
    let mut released = 0;
    while let Some(some) = tokio::time::timeout(PATIENCE, member.step()).await.expect("the end comes") {
        released += some.len();
        member.settle_all(some.iter().map(|delivery| delivery.token), Settlement::Release).await;
    }
    assert_eq!(released, 40, "each is shown once: without a key nothing holds it back");
    member.close().await;
    assert_eq!(rig.member(&topic, "g", options).await.drain().await.len(), 40);
}

async fn settling_many_at_once(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 3000, 100)).await;
    let mut member = rig.member(&topic, "g", working(1000)).await;
    let mut got = Vec::new();
    while got.len() < 3000 {
        // Who orders over all members may hold a key back while some of it is out.
        let some = match rig.can(&abilities::ORDER_MEMBERS) {
            true => member.some().await,
            false => member.take(1000.min(3000 - got.len())).await,
        };
        member.ack(&some).await;
        got.extend(of(&some));
    }
    assert_eq!(sorted(got), numbers(0, 3000));
    member.idle().await;
}
