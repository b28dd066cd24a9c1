//! Exchanges and queues that other people made, and what evcat leaves behind: nothing.

use std::time::Duration;

use evcat::broker::{Kind, PublishOptions, Source, Start};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::proxy::Proxy;
use crate::rig::{Home, Running};
use crate::suite::*;
use crate::{drained, group, said, text, vhost};

#[test]
fn a_queue_that_is_there_is_used_as_it_is() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let place = |kind: &str, name: &str| format!("{kind}/{}/{name}", vhost.name);
        vhost.ask("PUT", &place("exchanges", "t"), r#"{"type": "direct", "durable": true}"#);
        let classic = r#"{"durable": true, "arguments": {"x-queue-type": "classic", "x-max-length": 100}}"#;
        vhost.ask("PUT", &place("queues", "t.g"), classic);
        vhost.ask("POST", &format!("bindings/{}/e/t/q/t.g", vhost.name), r#"{"routing_key": "a"}"#);
        let broker = broker(&vhost.url());
        let made = broker.create_group(&group("t", "g"), &Start::Latest, None).await.unwrap();
        assert!(made.is_empty(), "{made:?}");
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let receipts =
            publisher.send(vec![said("t", Some("a"), "0"), said("t", Some("b"), "1")].into()).await;
        assert!(receipts[0].is_ok() && receipts[1].is_err(), "its binding is as it was: {receipts:?}");
        assert_eq!(drained(&broker, group("t", "g")).await.iter().map(text).collect::<Vec<_>>(), ["0"]);
        let queue: Value = serde_json::from_str(&vhost.ask("GET", &place("queues", "t.g"), "")).unwrap();
        assert_eq!(queue["type"], "classic");
    });
}

#[test]
fn a_tail_leaves_nothing_behind() {
    let Some(vhost) = vhost() else { return };
    let broker = broker(&vhost.url());
    run(async { broker.create_topic("t", &[]).await.unwrap() });
    let queues = || {
        let listed: Value =
            serde_json::from_str(&vhost.ask("GET", &format!("queues/{}", vhost.name), "")).unwrap();
        listed.as_array().unwrap().len()
    };
    for signal in [None, Some(Signal::SIGINT), Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        let home = Home::new();
        let mut command = home.command(&["tail", "t", "--for", "2s"]);
        let tail = Running::new(command.env("EVCAT_BROKER", vhost.url()));
        run(until("it has its queue", || async { queues() == 1 }));
        if let Some(signal) = signal {
            tail.signal(signal);
        }
        tail.end();
        run(until("its queue is gone", || async { queues() == 0 }));
    }
}

#[test]
fn a_binding_chooses_the_keys() {
    let Some(vhost) = vhost() else { return };
    let home = Home::new();
    let url = vhost.url();
    let evcat = |args: &[&str]| Running::new(home.command(args).env("EVCAT_BROKER", &url)).end();
    evcat(&["topics", "create", "t"]).ok();
    // Comes to its end at once, and has made the group.
    evcat(&["subscribe", "t", "-g", "eu", "--binding", "eu.*", "--binding", "de.#", "--no-follow"]).ok();
    for key in ["eu.1", "de.1.2"] {
        evcat(&["publish", "t", key, "-k", key]).ok();
    }
    evcat(&["publish", "t", "x", "-k", "us.1"]).exit(1).said("us.1");
    let got = evcat(&["subscribe", "t", "-g", "eu", "--no-follow", "-o", "raw"]).ok().out;
    assert_eq!(got, "eu.1\nde.1.2\n");
    let mut local = home.command(&["tail", "t", "--binding", "eu.*"]);
    Running::new(&mut local).end().exit(2).said("--binding");
}

#[test]
fn a_group_that_could_not_be_bound_is_not_left_behind() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let all = broker(&vhost.url());
        all.create_topic("t", &[]).await.unwrap();
        // To bind is to read from the exchange.
        let user = vhost.user(r#"{"configure": ".*", "write": ".*", "read": ""}"#);
        let some = broker(&format!("amqp://{user}:p%20w@{}/{}", vhost.server(), vhost.name));
        let error = some.create_group(&group("t", "g"), &Start::Latest, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let made = all.create_group(&group("t", "g"), &Start::Latest, None).await.unwrap();
        assert_eq!(made.len(), 1, "it is made now, and not taken for made: {made:?}");
    });
}

/// What is sent to us is counted nowhere before it is here.
#[test]
fn what_is_on_its_way_through_a_slow_link_lies_before_the_stop() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let near = broker(&vhost.url());
        let topics: Vec<_> = ["a", "b", "c", "d"].map(Into::into).to_vec();
        let source = Source::Group { topics: topics.clone(), group: "g".into() };
        for topic in &topics {
            near.create_topic(topic, &[]).await.unwrap();
        }
        near.create_group(&source, &Start::Latest, None).await.unwrap();
        let publisher = near.publisher(PublishOptions::default()).await.unwrap();
        let events = topics.iter().flat_map(|topic| (0..5).map(move |n| said(topic, None, &n.to_string())));
        assert!(publisher.send(events.collect()).await.iter().all(Result::is_ok));
        let proxy = Proxy::to(vhost.server(), Duration::from_millis(150));
        let far = broker(&vhost.url_at(&proxy.address()));
        assert_eq!(drained(&far, source).await.len(), 20);
    });
}

#[test]
fn what_fails_in_a_queue_needs_another_place() {
    let Some(vhost) = vhost() else { return };
    let home = Home::new();
    let evcat = |args: &[&str]| Running::new(home.command(args).env("EVCAT_BROKER", vhost.url())).end();
    let quorum = r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#;
    vhost.ask("PUT", &format!("queues/{}/q", vhost.name), quorum);
    evcat(&["publish", "queue:q", "x"]).ok();
    let work = ["subscribe", "queue:q", "--no-follow", "--max-attempts", "1"];
    let fail = ["--", "false"];
    evcat(&[&work[..], &fail].concat()).exit(2).said("--dlq");
    for same in ["q", "queue:q"] {
        evcat(&[&work[..], &["--dlq", same], &fail].concat()).exit(2).said("never end");
    }
    evcat(&[&work[..], &["--no-dlq"], &fail].concat()).exit(1);
    evcat(&[&work[..], &["--dlq", "dead"], &fail].concat()).exit(6).said("made topic dead");
    assert_eq!(evcat(&["dlq", "peek", "dead", "-o", "raw"]).ok().out, "x\n");
}
