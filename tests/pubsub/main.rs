//! What is Pub/Sub's own: tried on a server of ours that can do it (`support/pubsub_fake`), and with Google's own client.
#![cfg(feature = "pubsub")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/brokers.rs"]
mod brokers;
mod chaos;
mod dlq;
mod ends;
mod foreign;
mod leaving;
mod letters;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/pubsub_fake/mod.rs"]
mod pubsub_fake;
#[path = "../cli/rig.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "a suite takes what it needs; tests read their own variables"
)]
mod rig;
#[path = "../support/suite.rs"]
mod suite;
mod wrong;

use std::sync::Arc;
use std::time::Duration;

use evcat::broker::{
    Broker, Delivery, PublishOptions, ReadOptions, Receipt, Received, Result, Source, Start, Stop,
    SubscribeOptions, Subscription,
};
use evcat::event::{Event, HeadersBuf, Name, Position};

use pubsub_fake::Fake;

/// A server, and evcat on it.
fn stage(options: &[(&str, &str)]) -> (Fake, Arc<dyn Broker>) {
    let fake = Fake::start();
    let broker = suite::try_broker(&fake.url("evcat"), Duration::from_secs(10), options).unwrap();
    (fake, broker)
}

fn said(topic: &str, payload: &str) -> Event {
    let (name, headers): (Name, _) = (topic.into(), HeadersBuf::default());
    Event::new(&name, Some(b"k"), headers.as_headers(), Some(payload.as_bytes()), None, Position::Unknown)
}

async fn publish(broker: &Arc<dyn Broker>, event: Event) -> Result<Receipt> {
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    publisher.send(vec![event].into()).await.remove(0)
}

fn group(topic: &str, group: &str) -> Source {
    Source::Group { topics: vec![topic.into()], group: group.into() }
}

/// All of a topic that keeps its events, from its beginning.
fn history(topics: &[&str], stop: Stop) -> ReadOptions {
    ReadOptions {
        topics: topics.iter().map(|topic| (*topic).into()).collect(),
        partition: None,
        start: Start::Earliest,
        stop,
        unsettled: false,
    }
}

/// A topic with a group that has a place for its dead letters.
async fn orders(broker: &Arc<dyn Broker>) -> Source {
    broker.create_topic("orders", &[]).await.unwrap();
    let shipping = group("orders", "shipping");
    broker.create_group(&shipping, &Start::Latest, Some("orders.shipping.dlq")).await.unwrap();
    shipping
}

async fn member(broker: &Arc<dyn Broker>, source: Source, stop: Stop) -> Box<dyn Subscription> {
    let lease = Duration::from_secs(30);
    let options = SubscribeOptions { stop, in_flight: 10, lease, grace: lease, ordered: true };
    broker.subscription(source, options).await.unwrap()
}

/// The next delivery.
async fn one(member: &dyn Subscription) -> Delivery {
    match tokio::time::timeout(suite::DEADLINE, member.receive()).await.expect("something comes").unwrap() {
        Received::Deliveries(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    }
}
