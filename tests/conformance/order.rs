//! Order per key over all members: a key is at work in one place at a time, and never overtakes itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use evcat::broker::{Delivery, Settlement, abilities};
use tokio::time::timeout;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [ORDER, ORDER_MEMBERS] => a_key_is_at_work_in_one_member_at_a_time;
    [ORDER_MEMBERS] => a_key_held_by_one_member_holds_back_nobody_else;
    [ORDER_MEMBERS] => a_key_keeps_its_order_when_its_member_leaves;
    [ORDER_MEMBERS, RETRY_DELAY] => a_key_that_waits_for_its_retry_does_not_overtake_itself;
    [ORDER_MEMBERS] => without_order_a_key_may_be_at_work_twice;
};

fn key(delivery: &Delivery) -> Vec<u8> {
    delivery.event.key().unwrap_or_default().to_vec()
}

fn number(delivery: &Delivery) -> usize {
    text(&delivery.event).parse().unwrap()
}

/// Three members take and settle at random; every delivery is checked against what all of them hold.
async fn a_key_is_at_work_in_one_member_at_a_time(rig: Rig) {
    let topic = rig.topic_for_many("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 900, 9)).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(12)).await);
    }
    let mut held: [Vec<Delivery>; 3] = Default::default();
    let (mut last, mut seen) = (HashMap::new(), HashSet::new());
    let mut random = fastrand::Rng::with_seed(17);
    while seen.len() < 900 {
        let i = random.usize(..3);
        let some = match held[i].len() < 12 {
            true => timeout(Duration::from_millis(30), members[i].step()).await.ok().flatten(),
            false => None,
        };
        // Where a member joins late what goes to it is given back, and comes again.
        for token in members[i].given_back.drain(..) {
            let Some(at) = held[i].iter().position(|held| held.token == token) else { continue };
            let back = held[i].swap_remove(at);
            seen.remove(&number(&back));
            last.remove(&key(&back));
        }
        if let Some(some) = some {
            for delivery in some {
                let (key, n) = (key(&delivery), number(&delivery));
                for (j, other) in held.iter().enumerate() {
                    assert!(
                        i == j || other.iter().all(|d| self::key(d) != key),
                        "{n}: its key is at work in member {j} and given to {i}"
                    );
                }
                assert!(seen.insert(n), "{n} came twice");
                assert!(last.insert(key, n).is_none_or(|before| before < n), "{n} overtook its key");
                held[i].push(delivery);
            }
        }
        for _ in 0..random.usize(0..=held[i].len()) {
            let one = held[i].swap_remove(random.usize(..held[i].len()));
            members[i].ack(&[one]).await;
        }
    }
}

async fn a_key_held_by_one_member_holds_back_nobody_else(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 200, 4)).await;
    let mut slow = rig.member(&topic, "g", working(1)).await;
    let stuck = slow.take(1).await;
    let mut fast = Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(50)).await;
    let mut got = Vec::new();
    // A partition is one member's, with all the keys that lie in it; else only the key that is out is held back.
    let shares = if rig.can(&abilities::PARTITIONS) { 0 } else { 150 };
    loop {
        let wait = if got.len() < shares { PATIENCE } else { QUIET };
        let Ok(some) = timeout(wait, fast.step()).await else { break };
        let some = some.expect("nobody set a stop");
        fast.ack(&some).await;
        got.extend(some);
    }
    assert!(got.len() >= shares && got.iter().all(|delivery| key(delivery) != key(&stuck[0])));
    slow.ack(&stuck).await;
    slow.close().await;
    let mut rest = Vec::new();
    while rest.len() < 199 - got.len() {
        let some = fast.some().await;
        fast.ack(&some).await;
        rest.extend(some.iter().filter(|d| key(d) == key(&stuck[0])).map(number));
        got.extend(some.into_iter().filter(|d| key(d) != key(&stuck[0])));
    }
    assert!(rest.is_sorted() && rest.len() == 49, "then the key goes on in order: {rest:?}");
}

async fn a_key_keeps_its_order_when_its_member_leaves(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 10, 1)).await;
    let mut first = rig.member(&topic, "g", working(4)).await;
    let held = first.take(4).await;
    let mut second = Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(20)).await;
    second.idle().await;
    first.ack(&held[..2]).await;
    second.idle().await;
    first.close().await;
    let rest: Vec<_> = second.take(8).await.iter().map(number).collect();
    assert_eq!(rest, (2..10).collect::<Vec<_>>());
}

async fn a_key_that_waits_for_its_retry_does_not_overtake_itself(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 12, 2)).await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let first = member.take(1).await;
    let blocked = key(&first[0]);
    member.settle(&first[0], Settlement::Retry(Duration::from_secs(1))).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..12 {
        let one = member.take(1).await;
        member.ack(&one).await;
        got.extend(one);
    }
    let of_key: Vec<_> = got.iter().filter(|delivery| key(delivery) == blocked).map(number).collect();
    assert!(of_key.is_sorted() && of_key[0] == number(&first[0]), "{of_key:?}");
    assert!(got[..6].iter().all(|delivery| key(delivery) != blocked), "the other key does not wait");
}

async fn without_order_a_key_may_be_at_work_twice(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 2, 1)).await;
    let mut options = working(1);
    options.ordered = false;
    let mut one = rig.member(&topic, "g", options.clone()).await;
    let first = one.take(1).await;
    if !rig.fixture.habits.gives_up_order {
        return one.ack(&first).await;
    }
    let mut two = Member::of(&rig.another(), group_of(&[topic], "g"), options).await;
    let second = two.take(1).await;
    assert_ne!(text(&first[0].event), text(&second[0].event));
}
