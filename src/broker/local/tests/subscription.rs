//! The trait, with its thread.

use std::collections::BTreeSet;

use super::*;
use crate::broker::local::subscription;
use crate::broker::{Received, Source, Subscription};

async fn open(rig: &Rig, options: SubscribeOptions) -> Box<dyn Subscription> {
    let source = Source::Group { topics: vec!["o".into()], group: "g".into() };
    subscription::open(&rig.place, source, options).await.unwrap()
}

async fn deliveries(subscription: &dyn Subscription) -> Vec<crate::broker::Delivery> {
    match subscription.receive().await.unwrap() {
        Received::Deliveries(deliveries) => deliveries,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_published_later_wakes_it() {
    let rig = Rig::with_group("o", "g");
    let member = open(&rig, options()).await;
    let waits = deliveries(&*member);
    rig.publish("o", &[("x", "1")]);
    let got = waits.await;
    assert_eq!((got[0].attempt, got[0].event.payload()), (Some(1), Some(&b"1"[..])));
    let answers = member.settle(vec![(got[0].token, Settlement::Ack)]).await.unwrap();
    assert!(answers[0].is_ok());
    let again = member.settle(vec![(got[0].token, Settlement::Ack)]).await.unwrap();
    assert_eq!(again[0].as_ref().unwrap_err().kind(), Kind::Lost);
    member.close().await.unwrap();
    assert_eq!((rig.count("open"), rig.count("member")), (0, 0));
}

#[tokio::test]
async fn large_events_are_handed_out_a_few_at_a_time() {
    let rig = Rig::with_group("o", "g");
    rig.make_group("p", "g");
    let large = "x".repeat(1 << 20);
    (0..30).for_each(|_| rig.publish("o", &[("", &large)]));
    (0..30).for_each(|_| rig.publish("p", &[("", &large)]));
    let source = Source::Group { topics: vec!["o".into(), "p".into()], group: "g".into() };
    let options = SubscribeOptions { in_flight: 1000, stop: Stop::Now, ..options() };
    let member = subscription::open(&rig.place, source, options).await.unwrap();
    let mut seen = 0;
    while let Received::Deliveries(got) = member.receive().await.unwrap() {
        // Whoever does not ask for more is not sent more either.
        let more = tokio::time::timeout(Duration::from_millis(50), member.receive()).await;
        assert!(more.is_err(), "{more:?}");
        let bytes: usize = got.iter().map(|delivery| delivery.event.size()).sum();
        assert!(bytes <= 17 << 20, "{bytes}");
        seen += got.len();
        let acks = got.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
        assert!(member.settle(acks).await.unwrap().iter().all(Result::is_ok));
    }
    assert_eq!(seen, 60);
}

#[tokio::test]
async fn in_flight_is_the_most_that_is_handed_out() {
    let rig = Rig::with_group("o", "g");
    let events: Vec<String> = (0..95).map(|n| n.to_string()).collect();
    events.iter().for_each(|text| rig.publish("o", &[("", text)]));
    let member = open(&rig, SubscribeOptions { in_flight: 10, stop: Stop::Now, ..options() }).await;
    let (mut held, mut seen) = (BTreeSet::new(), 0);
    loop {
        match member.receive().await.unwrap() {
            Received::Deliveries(got) => {
                seen += got.len();
                held.extend(got.iter().map(|delivery| delivery.token));
                assert!(held.len() <= 10, "{}", held.len());
                let settled: Vec<_> = std::mem::take(&mut held).into_iter().take(7).collect();
                held.extend(got.iter().map(|d| d.token).filter(|token| !settled.contains(token)));
                let acks = settled.into_iter().map(|token| (token, Settlement::Ack)).collect();
                assert!(member.settle(acks).await.unwrap().iter().all(Result::is_ok));
                if seen == 95 {
                    let rest = held.iter().map(|token| (*token, Settlement::Ack)).collect();
                    member.settle(rest).await.unwrap();
                }
            }
            Received::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(member.receive().await.unwrap(), Received::End), "and stays at its end");
    assert_eq!((seen, rig.count("open")), (95, 0));
}

#[tokio::test]
async fn an_empty_topic_is_at_its_end_at_once() {
    let rig = Rig::with_group("o", "g");
    let member = open(&rig, SubscribeOptions { stop: Stop::Now, ..options() }).await;
    assert!(matches!(member.receive().await.unwrap(), Received::End));
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let rig = Rig::with_group("o", "g");
    let member = open(&rig, SubscribeOptions { in_flight: 4, ..options() }).await;
    for n in 0..40 {
        rig.publish("o", &[("", &n.to_string())]);
    }
    let mut seen = vec![];
    while seen.len() < 40 {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            got = deliveries(&*member) => {
                let acks = got.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
                seen.extend(got.iter().map(|d| String::from_utf8(d.event.payload().unwrap().to_vec()).unwrap()));
                member.settle(acks).await.unwrap();
            }
        }
        if let Ok(Ok(Received::Deliveries(got))) =
            tokio::time::timeout(std::time::Duration::from_millis(1), member.receive()).await
        {
            let acks = got.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
            seen.extend(got.iter().map(|d| String::from_utf8(d.event.payload().unwrap().to_vec()).unwrap()));
            member.settle(acks).await.unwrap();
        }
    }
    assert_eq!(seen, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropped_without_close_gives_back() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("", "1"), ("", "2")]);
    let member = open(&rig, options()).await;
    deliveries(&*member).await;
    drop(member);
    let other = open(&rig, options()).await;
    let got = deliveries(&*other).await;
    assert_eq!(got[0].attempt, Some(2));
}

#[tokio::test]
async fn what_was_not_received_was_not_tried() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("", "1")]);
    let member = open(&rig, options()).await;
    while rig.count("open") == 0 {
        tokio::task::yield_now().await;
    }
    member.close().await.unwrap();
    let other = open(&rig, options()).await;
    assert_eq!(deliveries(&*other).await[0].attempt, Some(1));
}

#[tokio::test]
async fn a_lease_that_was_taken_over_is_said() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("x", "1")]);
    let member = open(&rig, SubscribeOptions { in_flight: 1, ..options() }).await;
    let got = deliveries(&*member).await;
    rig.pass(30_001);
    let mut other = rig.member(&["o"], "g");
    assert_eq!(other.take_texts(10), ["1"]);
    member.extend(&[got[0].token]).await.unwrap();
    let Received::Lost(lost) = member.receive().await.unwrap() else { panic!("it is lost") };
    assert_eq!(lost, [got[0].token]);
    let answer = member.settle(vec![(got[0].token, Settlement::Ack)]).await.unwrap().remove(0);
    assert_eq!(answer.unwrap_err().kind(), Kind::Lost);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_idle_member_takes_over_from_one_that_died_although_nobody_rings() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("x", "1")]);
    let mut killed = rig.member(&["o"], "g");
    assert_eq!(killed.take_texts(1), ["1"]);
    rig.publish("o", &[("y", "2")]);
    let member = open(&rig, options()).await;
    assert_eq!(deliveries(&*member).await[0].event.payload(), Some(&b"2"[..]), "it has looked");
    drop(killed);
    let within = std::time::Duration::from_secs(10); // as cli.md promises
    let got = tokio::time::timeout(within, deliveries(&*member)).await.unwrap();
    assert_eq!(got[0].attempt, Some(2));
}

#[tokio::test]
async fn extending_keeps_the_lease() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("x", "1")]);
    let member = open(&rig, options()).await;
    let got = deliveries(&*member).await;
    let mut other = rig.member(&["o"], "g");
    for _ in 0..10 {
        rig.pass(10_000);
        member.extend(&[got[0].token]).await.unwrap();
        let (_, theirs, _) = other.claim(10).unwrap();
        assert!(theirs.is_empty());
    }
    let answer = member.settle(vec![(got[0].token, Settlement::Ack)]).await.unwrap().remove(0);
    assert!(answer.is_ok());
}

#[tokio::test]
async fn an_unknown_group_or_queue_is_refused() {
    let rig = Rig::with_group("o", "g");
    let refused = async |source| match subscription::open(&rig.place, source, options()).await {
        Ok(_) => panic!("it is refused"),
        Err(error) => error.kind(),
    };
    let group = |topic: &str, group: &str| Source::Group { topics: vec![topic.into()], group: group.into() };
    assert_eq!(refused(group("o", "h")).await, Kind::NotFound);
    assert_eq!(refused(group("p", "g")).await, Kind::NotFound);
    assert_eq!(refused(Source::Queue("q".into())).await, Kind::Unsupported);
    let letters = Source::DeadLetters { dlq: "none".into(), chosen: None };
    assert_eq!(refused(letters).await, Kind::NotFound);
    assert_eq!(rig.count("member"), 0);
}

#[tokio::test]
async fn letters_are_worked_on_through_the_same_trait() {
    let rig = Rig::with_group("o", "g");
    rig.publish("d", &[("", "0"), ("", "1"), ("", "2")]);
    let chosen = Some(vec![Position::Offset(2), Position::Offset(0)]);
    let source = Source::DeadLetters { dlq: "d".into(), chosen };
    let run =
        subscription::open(&rig.place, source, SubscribeOptions { in_flight: 1, ..options() }).await.unwrap();
    let mut seen = vec![];
    while let Received::Deliveries(got) = run.receive().await.unwrap() {
        assert_eq!(got.len(), 1);
        seen.push(got[0].event.position().offset().unwrap());
        let back = move_to(event("o", "", "back", &[]), Some("g"));
        run.settle(vec![(got[0].token, back)]).await.unwrap().remove(0).unwrap();
    }
    run.close().await.unwrap();
    assert_eq!(seen, [2, 0]);
    assert_eq!(rig.member(&["o"], "g").take_texts(10), ["back", "back"]);
}
