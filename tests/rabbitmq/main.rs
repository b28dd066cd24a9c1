//! What holds on a real RabbitMQ and nowhere else; the conformance suite has what every broker does.
#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/brokers.rs"]
mod brokers;
mod chaos;
mod dlq;
mod foreign;
#[path = "../support/proxy.rs"]
mod proxy;
mod publish;
#[path = "../support/rabbit.rs"]
mod rabbit;
#[path = "../cli/rig.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "a suite takes what it needs; tests read their own variables"
)]
mod rig;
mod secure;
mod streams;
#[path = "../support/suite.rs"]
mod suite;
mod topology;

use std::sync::Arc;

use evcat::broker::*;
use evcat::event::{Event, Headers, Name, Position};

use rabbit::Vhost;
use suite::*;

/// A virtual host of the test's own on the shared server, or `None` after a line that says that there is none.
fn vhost() -> Option<Vhost> {
    Some(Vhost::new(&brokers::or_skip(brokers::shared_rabbitmq())?))
}

/// A client of this exchange, which has this group.
async fn with_group(url: &str, topic: &str, group: &str) -> Arc<dyn Broker> {
    let broker = broker(url);
    broker.create_topic(topic, &[]).await.unwrap();
    let source = Source::Group { topics: vec![topic.into()], group: group.into() };
    broker.create_group(&source, &Start::Latest, Some(&format!("{topic}.{group}.dlq"))).await.unwrap();
    broker
}

fn said(topic: &str, key: Option<&str>, payload: &str) -> Event {
    let key = key.map(str::as_bytes);
    let (topic, payload): (Name, _) = (topic.into(), Some(payload.as_bytes()));
    Event::new(&topic, key, Headers::default(), payload, Some(1_700_000_000_000), Position::Unknown)
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.payload().unwrap_or_default()).into_owned()
}

/// All that waits in the queue of a group, acked.
async fn drained(broker: &Arc<dyn Broker>, source: Source) -> Vec<Event> {
    let options = SubscribeOptions {
        stop: Stop::Now,
        in_flight: 1000,
        lease: DEADLINE,
        grace: DEADLINE,
        ordered: true,
    };
    let member = broker.subscription(source, options).await.unwrap();
    let mut all = Vec::new();
    loop {
        match member.receive().await.unwrap() {
            Received::Deliveries(deliveries) => {
                let acks = deliveries.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
                member.settle(acks).await.unwrap();
                all.extend(deliveries.into_iter().map(|delivery| delivery.event));
            }
            Received::End => break,
            other => panic!("{other:?}"),
        }
    }
    member.close().await.unwrap();
    all
}

fn group(topic: &str, group: &str) -> Source {
    Source::Group { topics: vec![topic.into()], group: group.into() }
}
