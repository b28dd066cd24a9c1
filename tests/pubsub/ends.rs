//! Where a look and a bounded run end: at once where the server says that there is no more, and never because it hangs, or
//! because what it sent was lost on the way, which does not lose its place in its key either.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evcat::broker::{
    Broker, PublishOptions, Read, Reader, Received, Settlement, Source, Start, Stop, SubscribeOptions,
    Subscription,
};

use crate::proxy::Proxy;
use crate::pubsub_fake::Fake;
use crate::{history, member, orders, publish, said, stage, suite};

/// A client that goes through somebody else.
fn through(proxy: &Proxy) -> Arc<dyn Broker> {
    let url = format!("pubsub://evcat?emulator={}", proxy.address());
    suite::try_broker(&url, Duration::from_secs(30), &[]).unwrap()
}

fn proxy(fake: &Fake) -> Proxy {
    Proxy::to(&format!("pubsub://{}", fake.address), Duration::ZERO)
}

/// A member with the shortest lease that the service knows.
async fn hasty(broker: &Arc<dyn Broker>, source: Source, stop: Stop) -> Box<dyn Subscription> {
    let lease = Duration::from_secs(10);
    let options = SubscribeOptions { stop, in_flight: 10, lease, grace: lease, ordered: true };
    broker.subscription(source, options).await.unwrap()
}

async fn fill(broker: &Arc<dyn Broker>, topic: &str, count: usize) -> BTreeSet<String> {
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    let names: BTreeSet<String> = (0..count).map(|n| n.to_string()).collect();
    for receipt in publisher.send(names.iter().map(|name| said(topic, name)).collect()).await {
        receipt.unwrap();
    }
    names
}

/// All up to the end, or until it has caught up.
async fn read(reader: &mut Box<dyn Reader>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    while let Read::Events(events) = reader.next().await.unwrap() {
        all.extend(events.iter().map(|event| String::from_utf8_lossy(event.payload().unwrap()).into_owned()));
    }
    all
}

/// All up to the end, acked.
async fn drain(worker: &dyn Subscription) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    loop {
        match worker.receive().await.unwrap() {
            Received::End => return all,
            Received::Deliveries(deliveries) => {
                let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
                all.extend(deliveries.iter().map(|delivery| text(delivery.event.payload().unwrap())));
                let acks = deliveries.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
                worker.settle(acks).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_end_is_known_soon_and_nothing_before_it_is_left_out() {
    suite::run(async {
        let (_fake, broker) = stage(&[("topic.retention", "1d")]);
        let shipping = orders(&broker).await;
        let names = fill(&broker, "orders", 300).await;
        let begun = Instant::now();
        let mut reader = broker.reader(history(&["orders"], Stop::Now)).await.unwrap();
        publish(&broker, said("orders", "behind the end")).await.unwrap();
        assert_eq!(read(&mut reader).await, names);
        reader.close().await.unwrap();
        let worker = member(&broker, shipping, Stop::Now).await;
        publish(&broker, said("orders", "behind the end of this too")).await.unwrap();
        let mut all = names;
        all.insert("behind the end".into());
        assert_eq!(drain(&*worker).await, all);
        worker.close().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_topic_that_is_never_quiet_has_an_end() {
    suite::run(async {
        let (_fake, broker) = stage(&[("topic.retention", "1d")]);
        let shipping = orders(&broker).await;
        let names = fill(&broker, "orders", 300).await;
        let mut reader = broker.reader(history(&["orders"], Stop::Now)).await.unwrap();
        let worker = member(&broker, shipping, Stop::Now).await;
        let others = broker.clone();
        let busy = tokio::spawn(async move {
            loop {
                publish(&others, said("orders", "behind the end")).await.unwrap();
            }
        });
        assert_eq!(read(&mut reader).await, names);
        assert_eq!(drain(&*worker).await, names);
        busy.abort();
        reader.close().await.unwrap();
        worker.close().await.unwrap();
    });
}

#[test]
fn a_server_that_hangs_is_not_the_end() {
    suite::run(async {
        let (fake, broker) = stage(&[("topic.retention", "1d")]);
        let shipping = orders(&broker).await;
        let names = fill(&broker, "orders", 5).await;
        let hangs = Duration::from_secs(3);
        let worker = member(&broker, shipping, Stop::Now).await;
        fake.pause(true);
        assert!(tokio::time::timeout(hangs, worker.receive()).await.is_err(), "longer than it is quiet");
        fake.pause(false);
        assert_eq!(drain(&*worker).await, names);
        worker.close().await.unwrap();
        let mut reader = broker.reader(history(&["orders"], Stop::Never)).await.unwrap();
        fake.pause(true);
        assert!(tokio::time::timeout(hangs, reader.next()).await.is_err());
        fake.pause(false);
        assert_eq!(read(&mut reader).await, names, "before it has caught up");
        reader.close().await.unwrap();
    });
}

#[test]
fn a_server_that_refuses_for_a_while_is_not_the_end() {
    suite::run(async {
        let (fake, broker) = stage(&[("topic.retention", "1d")]);
        let shipping = orders(&broker).await;
        let names = fill(&broker, "orders", 5).await;
        // The pauses between them are some three seconds.
        fake.state().fail("StreamingPull", tonic::Code::Unavailable, 6);
        let worker = hasty(&broker, shipping, Stop::Now).await;
        assert_eq!(drain(&*worker).await, names);
        worker.close().await.unwrap();
    });
}

#[test]
fn what_was_lost_on_the_way_comes_again_before_the_end() {
    suite::run(async {
        let (fake, direct) = stage(&[("topic.retention", "1d")]);
        let shipping = orders(&direct).await;
        let names = fill(&direct, "orders", 5).await;
        for works in [true, false] {
            let proxy = proxy(&fake);
            let broker = through(&proxy);
            let seen = match works {
                true => {
                    let worker = hasty(&broker, shipping.clone(), Stop::Now).await;
                    miss(&fake, &proxy, worker.receive()).await;
                    let seen = drain(&*worker).await;
                    worker.close().await.unwrap();
                    seen
                }
                false => {
                    let mut reader = broker.reader(history(&["orders"], Stop::Never)).await.unwrap();
                    miss(&fake, &proxy, reader.next()).await;
                    let seen = read(&mut reader).await;
                    reader.close().await.unwrap();
                    seen
                }
            };
            assert_eq!(seen, names, "by a member: {works}");
        }
    });
}

/// Lets a stream be opened, on which everything is sent and arrives nowhere, and breaks it.
async fn miss<T: std::fmt::Debug>(fake: &Fake, proxy: &Proxy, comes: impl Future<Output = T>) {
    proxy.mute();
    let streams = || fake.state().calls.get("StreamingPull").copied().unwrap_or(0);
    let before = streams();
    let opened = suite::until("a stream is opened", async || streams() > before);
    tokio::select! {
        () = opened => {}
        came = comes => panic!("{came:?}"),
    }
    // It is sent at once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.unmute();
}

#[test]
fn what_was_lost_on_the_way_is_not_overtaken_in_its_key() {
    suite::run(async {
        let (fake, direct) = stage(&[]);
        let shipping = orders(&direct).await;
        let proxy = proxy(&fake);
        publish(&direct, said("orders", "first")).await.unwrap();
        let worker = hasty(&through(&proxy), shipping, Stop::Never).await;
        miss(&fake, &proxy, worker.receive()).await;
        publish(&direct, said("orders", "second")).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match tokio::time::timeout(suite::DEADLINE, worker.receive()).await.expect("both come").unwrap() {
                Received::Deliveries(some) => {
                    seen.extend(some.iter().map(|delivery| delivery.event.payload().unwrap().to_vec()));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, [&b"first"[..], b"second"]);
        worker.close().await.unwrap();
    });
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_noticed() {
    suite::run(async {
        let (fake, direct) = stage(&[]);
        let shipping = orders(&direct).await;
        let proxy = proxy(&fake);
        let broker = through(&proxy);
        let worker = member(&broker, shipping, Stop::Never).await;
        let options =
            evcat::broker::ReadOptions { start: Start::Latest, ..history(&["orders"], Stop::Never) };
        let mut reader = broker.reader(options).await.unwrap();
        publish(&direct, said("orders", "before")).await.unwrap();
        let first = async {
            crate::one(&*worker).await;
            while !matches!(reader.next().await.unwrap(), Read::Events(_)) {}
        };
        tokio::time::timeout(suite::DEADLINE, first).await.expect("both are there");
        proxy.strand();
        publish(&direct, said("orders", "after")).await.unwrap();
        // Within 10 s of silence and the 20 s that one try may take.
        let second = async { while !matches!(reader.next().await.unwrap(), Read::Events(_)) {} };
        tokio::time::timeout(Duration::from_secs(45), second).await.expect("by another connection");
        worker.close().await.unwrap();
        reader.close().await.unwrap();
    });
}
