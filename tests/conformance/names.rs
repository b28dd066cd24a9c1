//! Names of every shape: a broker takes one whole, or refuses it with words. Nothing in between.

use evcat::broker::{Kind, PublishOptions, Start, Stop, abilities};
use evcat::event::Name;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [CREATE_TOPICS] => names_of_topics_are_taken_whole_or_refused;
    [] => names_of_groups_are_taken_whole_or_refused;
    [CREATE_TOPICS] => names_that_differ_are_different;
};

/// What people and programs come up with.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "with space",
        " lead",
        "trail ",
        "a/b",
        "../up",
        "/root",
        "it's",
        "say \"x\"",
        "`cmd`",
        "semi;colon",
        "%",
        "a%b",
        "under_score",
        "back\\slash",
        "ünïcödé",
        "日本語",
        "🙂",
        "new\nline",
        "tab\t",
        "nul\0byte",
        "",
        " ",
        ".",
        "..",
        "*",
        "a*",
        "a?",
        "[ab]",
        "{a,b}",
        "-dash",
        "--flag",
        "queue:x",
        "a.dlq",
        "UPPER",
        "upper",
        "@file",
        "x:3",
        "\u{202e}rtl",
        "\u{7f}",
        "'; DROP TABLE topic; --",
    ]
    .map(str::to_owned)
    .into();
    names.push("n".repeat(255));
    names.push("n".repeat(1000));
    names.push("ü".repeat(1000));
    names
}

async fn names_of_topics_are_taken_whole_or_refused(rig: Rig) {
    let publisher = rig.broker.publisher(PublishOptions::default()).await.unwrap();
    let mut taken = 0;
    // Where a prefix names a queue, no group reads it: `queues.rs`.
    let is_queue = |name: &String| rig.fixture.habits.has_queues && name.starts_with("queue:");
    for name in odd_names().into_iter().filter(|name| !is_queue(name)) {
        let topic: Name = name.as_str().into();
        let made = rig.broker.create_topic(&name, &[]).await;
        let Ok(()) = made else {
            let error = made.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}: {error}");
            assert!(error.detail().message.len() > 10, "{name:?} is refused with words, not '{error}'");
            let receipt = publisher.send(vec![said(&topic, "x")].into()).await.remove(0);
            let error = receipt.expect_err("what cannot be made cannot be published to");
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}: {error}");
            continue;
        };
        taken += 1;
        rig.group(&topic, "g", rig.whole_history()).await;
        publisher.send(vec![said(&topic, &name)].into()).await.remove(0).unwrap();
        let mut member = rig.member(&topic, "g", working(1)).await;
        let got = member.take(1).await;
        assert_eq!((text(&got[0].event), got[0].event.topic()), (name.clone(), &topic));
        member.ack(&got).await;
        member.close().await;
        if rig.can(&abilities::HISTORY) {
            assert_eq!(texts(&rig.read(&[topic], Start::Earliest).await), [name.clone()]);
        }
        let listed = rig.broker.topics("*").await.unwrap();
        let internal = name.ends_with(".dlq");
        assert!(internal || listed.iter().any(|info| info.name == name), "{name:?} is listed by its name");
        rig.broker.delete_topic(&name).await.unwrap();
    }
    assert!(taken > 0, "not all of these can be wrong");
}

async fn names_of_groups_are_taken_whole_or_refused(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish_to_nobody(rig.numbered(&topic, 0, 1, 1)).await;
    for name in odd_names() {
        let source = group_of(&[topic.clone()], &name);
        match rig.broker.create_group(&source, &Start::Latest, None).await {
            Err(error) => {
                assert_eq!(error.kind(), Kind::Invalid, "{name:?}: {error}");
                assert!(error.detail().message.len() > 10, "{name:?} is refused with words, not '{error}'");
            }
            Ok(_) => {
                assert_eq!(rig.facts(&topic, &name).await.group, name);
                let mut options = working(5);
                options.stop = Stop::Now;
                let mut member = Member::of(&rig.broker, source, options).await;
                assert!(member.drain().await.is_empty());
                member.close().await;
                rig.broker.delete_group(&topic, &name).await.unwrap();
            }
        }
    }
}

async fn names_that_differ_are_different(rig: Rig) {
    let names = ["a", "A", "a ", "a_", "a%", "ab", "ä", "a\u{308}"];
    let mut made = Vec::new();
    for name in names {
        if rig.broker.create_topic(name, &[]).await.is_ok() {
            rig.group(&name.into(), "g", rig.whole_history()).await;
            made.push(name);
        }
    }
    for name in &made {
        rig.publish(vec![said(&(*name).into(), name)]).await;
    }
    for name in &made {
        let mut member = rig.member(&(*name).into(), "g", working(10)).await;
        assert_eq!(of(&member.take(1).await), [*name]);
        member.idle().await;
        member.close().await;
    }
}
