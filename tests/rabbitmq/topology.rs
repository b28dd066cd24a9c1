//! Exchanges and queues that other people made, and what evcat leaves behind: nothing.

use evcat::broker::{PublishOptions, Start};
use nix::sys::signal::Signal;
use serde_json::Value;

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
