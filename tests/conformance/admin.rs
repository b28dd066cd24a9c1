//! Topics: what is told of them, making and deleting them, retention, and words for what is missing.

use std::time::Duration;

use evcat::broker::{Error, Kind, PublishOptions, Start, Stop, abilities};
use evcat::event::{Name, Position};

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => a_check_says_what_it_found;
    [] => capabilities_need_no_broker;
    [CREATE_TOPICS] => topics_are_listed_by_glob;
    [CREATE_TOPICS, HISTORY] => a_topic_says_what_it_keeps;
    [CREATE_TOPICS] => a_topic_is_made_once;
    [CREATE_TOPICS] => a_deleted_topic_is_gone_with_its_groups;
    [CREATE_TOPICS] => options_nobody_knows_are_refused;
    [CREATE_TOPICS, PEEK, BY_POSITION] => retention_by_count_drops_the_oldest;
    [CREATE_TOPICS, PEEK, HISTORY] => retention_by_age_drops_the_oldest;
    [CREATE_TOPICS, LAG, HISTORY, SEEK] => a_group_that_fell_behind_retention_is_told;
    [] => what_is_missing_is_named;
};

async fn a_check_says_what_it_found(rig: Rig) {
    let found = rig.broker.check().await.unwrap();
    assert!(!found.is_empty() && found.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
}

async fn capabilities_need_no_broker(rig: Rig) {
    let here = format!("{:?}", rig.broker.capabilities("t"));
    assert_eq!(here, format!("{:?}", rig.nowhere().capabilities("t")));
    assert_eq!(here, format!("{:?}", (rig.fixture.capabilities)("t")));
    assert!(rig.nowhere_is_untouched());
}

async fn topics_are_listed_by_glob(rig: Rig) {
    for name in ["orders-eu", "orders-us", "mail"] {
        rig.topic(name).await;
    }
    let names =
        |infos: Vec<evcat::broker::TopicInfo>| infos.into_iter().map(|info| info.name).collect::<Vec<_>>();
    assert_eq!(names(rig.broker.topics("orders-*").await.unwrap()), ["orders-eu", "orders-us"], "by name");
    assert_eq!(names(rig.broker.topics("mail").await.unwrap()), ["mail"]);
    assert!(
        rig.broker.topics("nothing*").await.unwrap().is_empty(),
        "no match is an empty list, not an error"
    );
    assert!(rig.broker.topics("*").await.unwrap().len() >= 3);
}

async fn a_topic_says_what_it_keeps(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish(rig.numbered(&topic, 0, 250, 3)).await;
    let info = rig.broker.topics(&topic).await.unwrap().remove(0);
    // Who cannot tell the lag of a group cannot tell this either.
    let right = info.waiting.map_or(!rig.can(&abilities::LAG), |count| count.events == 250 || !count.exact);
    assert!(right, "{info:?}");
    assert!(info.newest.is_none_or(|newest| info.oldest.is_some_and(|oldest| oldest <= newest)), "{info:?}");
    assert!(!info.temporary, "{info:?}");
}

async fn a_topic_is_made_once(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish_to_nobody(rig.numbered(&topic, 0, 3, 1)).await;
    let error = rig.broker.create_topic(&topic, &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected);
    speaks(&error, "t");
    if rig.can(&abilities::HISTORY) {
        assert_eq!(rig.read(&[topic], Start::Earliest).await.len(), 3, "what was there stays");
    }
}

async fn a_deleted_topic_is_gone_with_its_groups(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 30, 1)).await;
    rig.broker.delete_topic(&topic).await.unwrap();
    assert!(rig.broker.topics("*").await.unwrap().iter().all(|info| info.name != "t"));
    assert!(rig.broker.groups("*").await.unwrap().is_empty());
    let error = rig.broker.delete_topic(&topic).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    speaks(&error, "t");
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    rig.publish(rig.numbered(&topic, 0, 2, 1)).await;
    assert_eq!(sorted(texts(&watch.take(2).await)), ["0", "1"], "a new topic of that name begins empty");
    let error = rig.broker.subscription(group_of(&[topic], "g"), working(1)).await.err();
    assert_eq!(error.expect("its group is gone").kind(), Kind::NotFound);
}

async fn options_nobody_knows_are_refused(rig: Rig) {
    let error = rig.broker.create_topic("t", &[("no-such-option".into(), "1".into())]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    speaks(&error, "no-such-option");
    assert!(rig.broker.topics("t").await.unwrap().is_empty(), "and nothing was made");
}

/// Whether a topic can keep so many events; where not, asking for it is refused with the reason.
async fn keeps_by_count(rig: &Rig) -> bool {
    let habit = rig.fixture.habits.keeps_by_count;
    if !habit {
        let error = rig.broker.create_topic("t", &[("retention".into(), "1000".into())]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        speaks(&error, "t");
        assert!(error.detail().hint.is_some(), "what can be asked for");
    }
    habit
}

async fn retention_by_count_drops_the_oldest(rig: Rig) {
    if !keeps_by_count(&rig).await {
        return;
    }
    rig.broker.create_topic("t", &[("retention".into(), "1000".into())]).await.unwrap();
    let topic: Name = "t".into();
    let mut receipts = Vec::new();
    for i in 0..10 {
        receipts.extend(rig.publish(rig.numbered(&topic, i * 500, 500, 1)).await);
    }
    let topics = std::slice::from_ref(&topic);
    let kept = texts(&rig.read(topics, Start::Earliest).await);
    assert!(
        (1000..2500).contains(&kept.len()),
        "at least what was asked for, and not much more: {}",
        kept.len()
    );
    assert_eq!(kept, numbers(5000 - kept.len(), 5000), "the newest, without a gap");
    let info = rig.broker.topics(&topic).await.unwrap().remove(0);
    assert_eq!(info.waiting.unwrap().events, kept.len() as u64);
    let gone = Start::At(vec![(topic.clone(), receipts[0].position.clone())]);
    let error = rig.broker.reader(looking(topics, gone, Stop::Now)).await.err().expect("it is gone");
    assert_eq!(error.kind(), Kind::Gone, "never a silent jump: {error}");
    speaks(&error, "t");
}

async fn retention_by_age_drops_the_oldest(rig: Rig) {
    let keep = async |age: &str| rig.broker.create_topic("t", &[("retention".into(), age.into())]).await;
    let mut age = Duration::from_secs(1);
    if let Err(error) = keep("1s").await {
        // Who keeps longer, or not at all, says how long it can be.
        assert_eq!(error.kind(), Kind::Unsupported);
        speaks(&error, "10 minutes");
        keep("10m").await.unwrap();
        age = Duration::from_secs(600);
    }
    let topic: Name = "t".into();
    rig.publish(rig.numbered(&topic, 0, 500, 1)).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.publish(rig.numbered(&topic, 500, 5, 1)).await;
    rig.publish(rig.numbered(&topic, 505, 5, 1)).await;
    let kept = texts(&rig.read(std::slice::from_ref(&topic), Start::Earliest).await);
    if rig.fixture.habits.keeps_by_count {
        assert_eq!(kept, numbers(500, 510));
    }
    assert!(kept.ends_with(&numbers(500, 510)), "what is young is kept: {kept:?}");
    let info = rig.broker.topics(&topic).await.unwrap().remove(0);
    assert_eq!(info.kept_for, Some(age));
}

async fn a_group_that_fell_behind_retention_is_told(rig: Rig) {
    if !keeps_by_count(&rig).await {
        return;
    }
    rig.broker.create_topic("t", &[("retention".into(), "100".into())]).await.unwrap();
    let topic: Name = "t".into();
    rig.group(&topic, "g", Start::Earliest).await;
    for i in 0..10 {
        rig.publish(rig.numbered(&topic, i * 200, 200, 1)).await;
    }
    let error = match rig.broker.subscription(group_of(&[topic.clone()], "g"), working(10)).await {
        Err(error) => error,
        Ok(subscription) => {
            let said = tokio::time::timeout(PATIENCE, subscription.receive()).await.unwrap();
            subscription.close().await.unwrap();
            said.expect_err("never a silent jump")
        }
    };
    assert_eq!(error.kind(), Kind::Gone, "{error}");
    speaks(&error, "t");
    assert!(error.detail().hint.is_some(), "what to do next");
    rig.broker.seek_group(&topic, "g", &Start::Earliest).await.unwrap();
    let mut member = rig.member(&topic, "g", working(10)).await;
    assert!(!member.some().await.is_empty(), "after the seek it goes on");
}

/// An error says something and names what it is about.
pub fn speaks(error: &Error, subject: &str) {
    let words = error.to_string();
    assert!(words.contains(subject), "'{words}' does not name '{subject}'");
    assert!(error.detail().message.split(' ').count() > 1, "'{words}' is not a sentence");
}

async fn what_is_missing_is_named(rig: Rig) {
    let (topic, missing): (Name, Name) = (rig.topic_with_group("orders", "g").await, "ordrs".into());
    let error = rig.broker.subscription(group_of(&[topic.clone()], "nobody"), working(1)).await.err();
    let error = error.expect("there is no such group");
    assert_eq!(error.kind(), Kind::NotFound);
    speaks(&error, "nobody");
    let error = rig.broker.subscription(group_of(&[missing.clone()], "g"), working(1)).await.err();
    speaks(&error.expect("there is no such topic"), "ordrs");
    let error = rig.broker.delete_topic(&missing).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    speaks(&error, "ordrs");
    assert!(rig.broker.groups(&missing).await.unwrap().is_empty());
    if rig.can(&abilities::SEEK) {
        let error = rig.broker.seek_group(&missing, "g", &Start::Earliest).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
    if rig.can(&abilities::PEEK) {
        // A topic that is to come: waited for, or refused by name.
        match rig.broker.reader(looking(std::slice::from_ref(&missing), Start::Latest, Stop::Never)).await {
            Err(error) => {
                assert_eq!(error.kind(), Kind::NotFound);
                speaks(&error, "ordrs");
            }
            Ok(mut reader) => {
                let publisher = rig.broker.publisher(PublishOptions::default()).await.unwrap();
                publisher.send(vec![said(&missing, "0")].into()).await.remove(0).unwrap();
                let first = next_n(&mut reader, 1).await;
                assert_ne!(first[0].position(), &Position::Unknown);
            }
        }
    }
}
