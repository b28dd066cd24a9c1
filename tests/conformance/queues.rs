//! Queues of their own: `queue:x` where there are such, and dead letters where they lie in one.

use std::time::Duration;

use evcat::broker::{Kind, Settlement, Source, Start, Stop, abilities};
use evcat::event::Name;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => a_queue_is_worked_on_as_it_is;
    [] => a_queue_has_no_groups_and_nothing_is_looked_at;
    [] => dead_letters_are_worked_on_and_what_is_released_stays;
};

fn queue(name: &str) -> Source {
    Source::Queue(name.into())
}

async fn a_queue_is_worked_on_as_it_is(rig: Rig) {
    if !rig.fixture.habits.has_queues {
        let error =
            rig.nowhere().subscription(queue("queue:x"), working(1)).await.err().expect("there are none");
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        return assert!(rig.nowhere_is_untouched(), "refused before anything was done");
    }
    let missing = rig.broker.subscription(queue("queue:x"), working(1)).await.err();
    assert_eq!(missing.expect("it is not there yet").kind(), Kind::NotFound);
    let topic = rig.topic("queue:x").await;
    let receipts = rig.publish(rig.numbered(&topic, 0, 20, 3)).await;
    let mut member = Member::of(&rig.broker, queue("queue:x"), working(20)).await;
    let got = member.take(12).await;
    for delivery in &got {
        let sent = &receipts[text(&delivery.event).parse::<usize>().unwrap()];
        assert_eq!(&sent.position, delivery.event.position(), "one queue has one name for it");
    }
    member.ack(&got).await;
    member.close().await;
    let mut options = working(20);
    options.stop = Stop::Now;
    let mut rest = Member::of(&rig.another(), queue("queue:x"), options).await;
    let left = of(&rest.drain().await);
    assert_eq!(sorted([of(&got), left].concat()), numbers(0, 20), "each once");
    if let Some(longest) = rig.broker.capabilities(&topic).publish_delay {
        let options = evcat::broker::PublishOptions { delay: Some(longest * 2), ..Default::default() };
        let error = rig.broker.publisher(options).await.err().expect("longer than it can");
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    }
}

async fn a_queue_has_no_groups_and_nothing_is_looked_at(rig: Rig) {
    if !rig.fixture.habits.has_queues {
        return;
    }
    let name: Name = "queue:x".into();
    assert!(!rig.broker.capabilities(&name).peek, "looking would take");
    let looking = looking(std::slice::from_ref(&name), Start::Latest, Stop::Never);
    let error = rig.nowhere().reader(looking).await.err().expect("a queue cannot be looked at");
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    let group = group_of(&[name], "g");
    let error = rig.nowhere().create_group(&group, &Start::Latest, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(rig.nowhere_is_untouched(), "refused before anything was done");
}

async fn dead_letters_are_worked_on_and_what_is_released_stays(rig: Rig) {
    let topic = rig.topic("t").await;
    let letters: Name = "t.g.dlq".into();
    let group = group_of(&[topic.clone()], "g");
    let made = rig.broker.create_group(&group, &Start::Latest, Some(&letters)).await.unwrap();
    assert!(made.len() >= 2, "the group and its dead letters: {made:?}");
    let known = rig.facts(&topic, "g").await.dead_letters;
    assert_eq!(known.as_deref(), rig.fixture.habits.knows_dead_letters.then_some(&*letters));
    rig.publish(rig.numbered(&topic, 0, 6, 6)).await;
    let mut member = rig.member(&topic, "g", working(6)).await;
    for delivery in member.take(6).await {
        let dead = said(&letters, &text(&delivery.event));
        member.settle(&delivery, Settlement::Move { event: Box::new(dead), only: None }).await.unwrap();
    }
    member.close().await;
    let run = || async {
        // Where one can look, a plan names what was chosen; else all of it is taken, and the rest released.
        let mut chosen = None;
        if rig.can(&abilities::ATOMIC_REPLAY) {
            let all = rig.read(std::slice::from_ref(&letters), Start::Earliest).await;
            chosen = Some(all.iter().map(|event| event.position().clone()).collect());
        }
        let mut options = working(10);
        options.stop = Stop::Now;
        Member::of(&rig.broker, Source::DeadLetters { dlq: letters.clone(), chosen }, options).await
    };
    let mut first = run().await;
    let got = first.take(6).await;
    first.ack(&got[..2]).await;
    first.settle_all(got[2..].iter().map(|delivery| delivery.token), Settlement::Release).await;
    assert!(first.drain().await.is_empty(), "what is released is not shown to this run again");
    first.close().await;
    let mut second = run().await;
    let again = tokio::time::timeout(Duration::from_secs(10), second.take(4)).await.unwrap();
    assert_eq!(sorted(of(&again)), sorted(of(&got[2..])));
}
