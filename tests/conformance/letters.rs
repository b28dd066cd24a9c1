//! Moving: dead letters, putting back to one group alone, and working on dead letters.

use std::time::Duration;

use evcat::broker::{
    Broker, Delivery, Kind, NativeState, NativeWish, Settlement, Source, Start, Stop, abilities,
};
use evcat::event::{Event, HeadersBuf, Name, Position};
use std::sync::Arc;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => a_move_stores_and_acks;
    [NATIVE] => all_is_put_back_by_the_broker_itself;
    [ATOMIC_MOVE] => a_move_of_what_was_lost_stores_nothing;
    [ATOMIC_MOVE, HISTORY] => a_batch_of_moves_acks_and_releases;
    [ADDRESS_GROUP, ATOMIC_REPLAY] => what_is_put_back_is_seen_by_its_group_alone;
    [ADDRESS_GROUP, ATTEMPTS] => what_is_put_back_is_retried_and_dies_like_any_other;
    [ADDRESS_GROUP, LAG] => what_is_put_back_counts_in_the_lag_and_moves_no_offset;
    [ATOMIC_REPLAY, PEEK, HISTORY] => only_the_chosen_dead_letters_are_worked_on;
    [ATOMIC_REPLAY, PEEK, HISTORY] => settled_dead_letters_are_not_seen_again;
    [ATOMIC_REPLAY, PEEK, HISTORY] => two_runs_at_once_settle_each_letter_once;
    [ATOMIC_REPLAY, PEEK, HISTORY] => a_run_may_leave_more_than_any_window;
    [ATOMIC_REPLAY, PEEK, HISTORY] => a_run_that_stops_gives_its_letters_back;
};

fn moved(event: Event, only: Option<&str>) -> Settlement {
    Settlement::Move { event: Box::new(event), only: only.map(Into::into) }
}

/// The event of a delivery as it is to be stored in another topic.
fn copy(delivery: &Delivery, topic: &Name) -> Event {
    let mut headers = HeadersBuf::default();
    headers.extend(delivery.event.headers());
    headers.push_str("moved", "yes");
    event(topic, delivery.event.key(), &headers, delivery.event.payload(), None)
}

async fn a_move_stores_and_acks(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let letters = rig.topic("t.g.dlq").await;
    let mut watch = rig.watch(&letters).await;
    rig.publish(rig.numbered(&topic, 0, 3, 3)).await;
    let mut member = rig.member(&topic, "g", working(3)).await;
    let got = member.take(3).await;
    let dead = got.iter().find(|delivery| text(&delivery.event) == "1").unwrap();
    let receipt = member.settle(dead, moved(copy(dead, &letters), None)).await.unwrap().expect("a receipt");
    let letter = watch.take(1).await.remove(0);
    assert_eq!((letter.payload(), letter.key()), (dead.event.payload(), dead.event.key()));
    assert_eq!(letter.headers().text("moved"), Some("yes"));
    assert!(rig.same_place(&receipt, &letter));
    member.close().await;
    let mut next = Member::of(&rig.another(), group_of(&[topic], "g"), working(3)).await;
    assert_eq!(sorted(of(&next.take(2).await)), ["0", "2"], "what was moved does not come again");
}

async fn all_is_put_back_by_the_broker_itself(rig: Rig) {
    let topic = rig.topic("t").await;
    let source = group_of(&[topic.clone()], "g");
    rig.broker.create_group(&source, &Start::Latest, Some("t.g.dlq")).await.unwrap();
    rig.publish(rig.numbered(&topic, 0, 3, 3)).await;
    let mut member = rig.member(&topic, "g", working(3)).await;
    for dead in member.take(3).await {
        member.settle(&dead, moved(copy(&dead, &"t.g.dlq".into()), None)).await.unwrap();
    }
    let origins = rig.broker.native_replay("t.g.dlq", NativeWish::default()).await.unwrap();
    let into = origins.plan().into.clone();
    assert_eq!(into.len(), 1, "the queue of the group");
    // What was sent to where it lies, and not moved there by the broker, goes where it is told to.
    let wish = NativeWish { into: Some(into[0].clone()), per_second: None };
    let mut replay = rig.broker.native_replay("t.g.dlq", wish).await.unwrap();
    assert_eq!((replay.plan().waiting, &replay.plan().under_way), (3, &None));
    replay.start().await.unwrap();
    let end = loop {
        let progress = replay.progress().await.unwrap();
        if progress.state != NativeState::Running {
            break progress;
        }
    };
    assert_eq!((end.moved, end.state), (3, NativeState::Completed));
    assert_eq!(sorted(of(&member.take(3).await)), ["0", "1", "2"]);
}

async fn a_move_of_what_was_lost_stores_nothing(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let letters = rig.topic("t.g.dlq").await;
    rig.publish(rig.numbered(&topic, 0, 2, 2)).await;
    let mut options = working(2);
    options.lease = rig.fixture.lease.unwrap_or(options.lease);
    let mut first = rig.member(&topic, "g", options).await;
    let held = first.take(2).await;
    if rig.fixture.lease.is_none() {
        rig.cut();
    }
    let mut second = Member::of(&rig.another(), group_of(&[topic.clone()], "g"), working(2)).await;
    let again = second.take(2).await;
    for delivery in &held {
        let error = first.settle(delivery, moved(copy(delivery, &letters), None)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Lost, "{error}");
    }
    let dead = second.settle(&again[0], moved(copy(&again[0], &letters), None)).await.unwrap();
    assert!(dead.is_some());
    second.ack(&again[1..]).await;
    assert_eq!(
        texts(&rig.read(&[letters], Start::Earliest).await),
        of(&again[..1]),
        "stored once, by its owner"
    );
}

async fn a_batch_of_moves_acks_and_releases(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let letters = rig.topic("t.g.dlq").await;
    rig.publish(rig.numbered(&topic, 0, 300, 300)).await;
    let mut member = rig.member(&topic, "g", working(300)).await;
    let got = member.take(300).await;
    let how = |i: usize, delivery: &Delivery| match i % 3 {
        0 => moved(copy(delivery, &letters), None),
        1 => Settlement::Ack,
        _ => Settlement::Release,
    };
    let items: Vec<_> = got.iter().enumerate().map(|(i, d)| (d.token, how(i, d))).collect();
    let answers = member.settle_each(items).await;
    let stored = rig.read(std::slice::from_ref(&letters), Start::Earliest).await;
    for (i, answer) in answers.into_iter().enumerate() {
        match answer.unwrap() {
            Some(receipt) => {
                let there = stored.iter().find(|event| event.position() == &receipt.position).unwrap();
                assert_eq!(text(there), text(&got[i].event), "the receipt of {i} is its own");
            }
            None => assert_ne!(i % 3, 0),
        }
    }
    member.close().await;
    let mut next = rig.member(&topic, "g", working(300)).await;
    assert_eq!(next.take(100).await.len(), 100);
    next.idle().await;
}

/// One dead letter of group `g` in a run that works on it.
async fn one_dead_letter(rig: &Rig) -> (Name, Name, Member, Delivery) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.group(&topic, "h", rig.whole_history()).await;
    let letters: Name = "t.g.dlq".into();
    let source = group_of(&[topic.clone()], "g");
    rig.broker.create_group(&source, &Start::Latest, Some(&letters)).await.unwrap();
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    for group in ["g", "h"] {
        let mut member = rig.member(&topic, group, working(1)).await;
        let got = member.take(1).await;
        let how = if group == "g" { moved(copy(&got[0], &letters), None) } else { Settlement::Ack };
        member.settle(&got[0], how).await.unwrap();
        member.close().await;
    }
    let mut run = run_of_all(rig, &letters).await;
    let letter = run.take(1).await.remove(0);
    (topic, letters, run, letter)
}

/// A run over all dead letters: by their places, where one can look; from a queue they are taken.
async fn run_of_all(rig: &Rig, letters: &Name) -> Member {
    if rig.can(&abilities::HISTORY) {
        let all = rig.read(std::slice::from_ref(letters), Start::Earliest).await;
        return run(&rig.broker, letters, all).await;
    }
    let mut options = working(20);
    options.stop = Stop::Now;
    Member::of(&rig.broker, Source::DeadLetters { dlq: letters.clone(), chosen: None }, options).await
}

/// A run over these dead letters.
async fn run(broker: &Arc<dyn Broker>, letters: &Name, chosen: Vec<Event>) -> Member {
    let chosen: Vec<Position> = chosen.iter().map(|event| event.position().clone()).collect();
    let mut options = working(20);
    options.stop = Stop::Now;
    Member::of(broker, Source::DeadLetters { dlq: letters.clone(), chosen: Some(chosen) }, options).await
}

async fn what_is_put_back_is_seen_by_its_group_alone(rig: Rig) {
    let (topic, letters, run, letter) = one_dead_letter(&rig).await;
    let mut watch = rig.watch(&topic).await;
    let (mut ours, mut others) =
        (rig.member(&topic, "g", working(5)).await, rig.member(&topic, "h", working(5)).await);
    run.settle(&letter, moved(copy(&letter, &topic), Some("g"))).await.unwrap();
    let back = ours.take(1).await;
    assert_eq!((of(&back), back[0].event.topic()), (of(&[letter]), &topic));
    others.idle().await;
    ours.ack(&back).await;
    ours.idle().await;
    // The next event is the first one that anybody who looks, and the other group, see.
    rig.publish(rig.numbered(&topic, 1, 1, 1)).await;
    assert_eq!(texts(&watch.take(1).await), ["1"]);
    assert_eq!(of(&others.take(1).await), ["1"]);
    assert_eq!(rig.read(&[topic], Start::Earliest).await.len(), 2, "nothing was added to the topic");
    assert!(unsettled(&rig, &letters).await.is_empty());
}

async fn what_is_put_back_is_retried_and_dies_like_any_other(rig: Rig) {
    let (topic, letters, run, letter) = one_dead_letter(&rig).await;
    run.settle(&letter, moved(copy(&letter, &topic), Some("g"))).await.unwrap();
    run.close().await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let tries = if rig.can(&abilities::RETRY_DELAY) { 3 } else { 1 };
    for attempt in 1..=tries {
        let back = member.take(1).await;
        assert_eq!((of(&back), back[0].event.topic()), (of(&[letter.clone()]), &topic));
        assert_eq!(back[0].event.key(), letter.event.key(), "its key, whatever way it went");
        assert_eq!(back[0].attempt, Some(attempt));
        let how = if attempt < tries {
            Settlement::Retry(Duration::ZERO)
        } else {
            moved(copy(&back[0], &letters), None)
        };
        member.settle(&back[0], how).await.unwrap();
    }
    member.idle().await;
    assert_eq!(unsettled(&rig, &letters).await, ["0"], "it is a dead letter again, once");
    let mut others = rig.member(&topic, "h", working(5)).await;
    others.idle().await;
}

async fn what_is_put_back_counts_in_the_lag_and_moves_no_offset(rig: Rig) {
    let (topic, _, run, letter) = one_dead_letter(&rig).await;
    let before = rig.facts(&topic, "g").await;
    assert_eq!((before.lag.unwrap().events, rig.lag(&topic, "h").await), (0, Some(0)));
    run.settle(&letter, moved(copy(&letter, &topic), Some("g"))).await.unwrap();
    let after = rig.facts(&topic, "g").await;
    assert_eq!((after.lag.unwrap().events, rig.lag(&topic, "h").await), (1, Some(0)));
    assert_eq!(before.end, after.end);
    let mut member = rig.member(&topic, "g", working(1)).await;
    let back = member.take(1).await;
    member.ack(&back).await;
    assert_eq!(rig.lag(&topic, "g").await, Some(0));
}

/// The payloads of the dead letters that nobody has settled.
async fn unsettled(rig: &Rig, letters: &Name) -> Vec<String> {
    if !rig.can(&abilities::HISTORY) {
        let mut run = run_of_all(rig, letters).await;
        let mut all = Vec::new();
        while let Some(some) = tokio::time::timeout(PATIENCE, run.step()).await.expect("the end comes") {
            run.settle_all(some.iter().map(|delivery| delivery.token), Settlement::Release).await;
            all.extend(of(&some));
        }
        run.close().await;
        return all;
    }
    let mut options = looking(std::slice::from_ref(letters), Start::Earliest, Stop::Now);
    options.unsettled = true;
    texts(&to_end(rig.broker.reader(options).await.unwrap()).await)
}

/// So many dead letters, as they are read.
async fn dead_letters(rig: &Rig, n: usize) -> (Name, Vec<Event>) {
    let letters = rig.topic("t.g.dlq").await;
    rig.publish(rig.numbered(&letters, 0, n, 5)).await;
    let all = rig.read(std::slice::from_ref(&letters), Start::Earliest).await;
    (letters, all)
}

async fn only_the_chosen_dead_letters_are_worked_on(rig: Rig) {
    let (letters, all) = dead_letters(&rig, 50).await;
    let chosen: Vec<_> = all.iter().step_by(7).cloned().collect();
    let mut run = run(&rig.broker, &letters, chosen.clone()).await;
    let got = run.drain().await;
    assert_eq!(sorted(of(&got)), sorted(texts(&chosen)));
    run.close().await;
    assert_eq!(unsettled(&rig, &letters).await.len(), 50 - chosen.len());
}

async fn settled_dead_letters_are_not_seen_again(rig: Rig) {
    let (letters, all) = dead_letters(&rig, 30).await;
    let parked = rig.topic("t.g.dlq.parked").await;
    let mut first = run(&rig.broker, &letters, all.clone()).await;
    let got = first.take(20).await;
    first.ack(&got[..5]).await;
    for delivery in &got[5..8] {
        first.settle(delivery, moved(copy(delivery, &parked), None)).await.unwrap();
    }
    first.settle_all(got[8..].iter().map(|delivery| delivery.token), Settlement::Release).await;
    first.close().await;
    let gone = of(&got[..8]);
    let left: Vec<_> = texts(&all).into_iter().filter(|text| !gone.contains(text)).collect();
    assert_eq!(unsettled(&rig, &letters).await, left);
    assert_eq!(
        rig.read(std::slice::from_ref(&letters), Start::Earliest).await.len(),
        30,
        "they stay readable"
    );
    let waiting = rig.broker.topics(&letters).await.unwrap().remove(0).waiting.unwrap();
    assert_eq!(waiting.events, 22, "what waits is what is not settled");
    let mut second = run(&rig.broker, &letters, all).await;
    assert_eq!(sorted(of(&second.drain().await)), sorted(left), "a rerun of the same plan repeats nothing");
    second.close().await;
    assert!(unsettled(&rig, &letters).await.is_empty());
    assert_eq!(sorted(texts(&rig.read(&[parked], Start::Earliest).await)), sorted(of(&got[5..8])));
}

async fn two_runs_at_once_settle_each_letter_once(rig: Rig) {
    let (letters, all) = dead_letters(&rig, 60).await;
    let other = rig.another();
    let (mut one, mut two) =
        (run(&rig.broker, &letters, all.clone()).await, run(&other, &letters, all.clone()).await);
    let parked = rig.topic("parked").await;
    let (mut done, mut lost) = (Vec::new(), 0);
    let mut open = [true, true];
    while open[0] || open[1] {
        for (i, member) in [&mut one, &mut two].into_iter().enumerate() {
            if !open[i] {
                continue;
            }
            // A run waits for what the other one holds, so each is given a little time by turns.
            let Ok(step) = tokio::time::timeout(QUIET, member.step()).await else { continue };
            let Some(some) = step else {
                open[i] = false;
                continue;
            };
            for delivery in some {
                match member.settle(&delivery, moved(copy(&delivery, &parked), None)).await {
                    Ok(receipt) => done.push((text(&delivery.event), receipt.unwrap().position)),
                    Err(error) if error.kind() == Kind::Lost => lost += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    let stored = texts(&rig.read(&[parked], Start::Earliest).await);
    assert_eq!(sorted(stored), numbers(0, 60), "each once, {lost} were lost to the other run");
    assert_eq!(done.len(), 60);
    assert!(unsettled(&rig, &letters).await.is_empty());
}

async fn a_run_may_leave_more_than_any_window(rig: Rig) {
    let (letters, all) = dead_letters(&rig, 12_000).await;
    let mut run = run(&rig.broker, &letters, all).await;
    let mut seen = 0;
    while let Some(some) = tokio::time::timeout(PATIENCE, run.step()).await.expect("the end comes") {
        seen += some.len();
        let how =
            |d: &Delivery| if text(&d.event) == "11999" { Settlement::Ack } else { Settlement::Release };
        let items = some.iter().map(|delivery| (delivery.token, how(delivery))).collect();
        run.settle_each(items).await.into_iter().for_each(|answer| assert!(answer.unwrap().is_none()));
    }
    run.close().await;
    assert_eq!(seen, 12_000);
    assert_eq!(unsettled(&rig, &letters).await.len(), 11_999);
}

async fn a_run_that_stops_gives_its_letters_back(rig: Rig) {
    let (letters, all) = dead_letters(&rig, 10).await;
    let mut first = run(&rig.broker, &letters, all.clone()).await;
    let held = first.take(10).await;
    first.ack(&held[..4]).await;
    first.close().await;
    let mut second = run(&rig.another(), &letters, all).await;
    assert_eq!(sorted(of(&second.drain().await)), sorted(of(&held[4..])));
}
