//! A server that is killed and comes back, and connections that break, under a publisher and a member of a group.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evcat::broker::*;
use evcat::event::Event;

use crate::brokers::{Private, or_skip};
use crate::suite::*;
use crate::{group, said, text, with_group};

/// Publishes all of these in batches, each until it is acknowledged; how many were in doubt.
async fn publish(broker: Arc<dyn Broker>, events: Vec<Event>) -> usize {
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    let mut doubts = 0;
    for batch in events.chunks(50) {
        let mut left = batch.to_vec();
        while !left.is_empty() {
            let receipts = publisher.send(left.clone().into()).await;
            let mut again = Vec::new();
            for (event, receipt) in left.into_iter().zip(receipts) {
                if let Err(error) = receipt {
                    assert!(matches!(error.kind(), Kind::InDoubt | Kind::Unreachable), "{error}");
                    doubts += 1;
                    again.push(event);
                }
            }
            left = again;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    doubts
}

/// Works until all of these were acked, and once more until nothing comes; how often each was delivered.
async fn work(broker: Arc<dyn Broker>, wanted: HashSet<String>) -> HashMap<String, usize> {
    let options = SubscribeOptions {
        stop: Stop::Never,
        in_flight: 40,
        lease: DEADLINE,
        grace: DEADLINE,
        ordered: true,
    };
    let member = broker.subscription(group("t", "g"), options).await.unwrap();
    let (mut seen, mut done) = (HashMap::<String, usize>::new(), HashSet::new());
    let begun = Instant::now();
    while done.len() < wanted.len() {
        assert!(begun.elapsed() < 3 * DEADLINE, "{} of {} were settled", done.len(), wanted.len());
        match tokio::time::timeout(2 * DEADLINE, member.receive()).await.expect("something comes").unwrap() {
            Received::Deliveries(deliveries) => {
                for delivery in &deliveries {
                    *seen.entry(text(&delivery.event)).or_default() += 1;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                let acks = deliveries.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
                let answers = member.settle(acks).await.unwrap();
                for (delivery, answer) in deliveries.iter().zip(answers) {
                    match answer {
                        Ok(_) => drop(done.insert(text(&delivery.event))),
                        Err(error) => assert_eq!(error.kind(), Kind::Lost, "{error}"),
                    }
                }
            }
            Received::Lost(_) => {}
            other => panic!("{other:?}"),
        }
    }
    member.close().await.unwrap();
    seen
}

#[test]
fn a_server_that_is_killed_and_comes_back_loses_nothing() {
    let Some(server) = or_skip(Private::up("rabbitmq")) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        const EVENTS: usize = 3000;
        let url = server.url().to_owned();
        let broker = with_group(&url, "t", "g").await;
        // What was declared within the last seconds before a kill -9 RabbitMQ itself may forget: it writes that down late,
        // unlike what it confirms. Ended in order, it has written all of it.
        let server = tokio::task::spawn_blocking(move || {
            server.restart(1);
            server
        });
        let server = server.await.unwrap();
        let names: HashSet<String> = (0..EVENTS).map(|n| n.to_string()).collect();
        let events = (0..EVENTS).map(|n| said("t", Some(&format!("k{}", n % 7)), &n.to_string())).collect();
        let publishing = publish(broker.clone(), events);
        let working = work(crate::suite::broker(&url), names.clone());
        let killing = tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(2500));
                server.kill(1);
                server.restart(1);
            }
            server
        });
        let (doubts, seen, server) = tokio::join!(publishing, working, killing);
        assert_eq!(seen.keys().cloned().collect::<HashSet<_>>(), names, "none was lost");
        let twice = seen.values().filter(|count| **count > 1).count();
        println!("{EVENTS} events, {doubts} not confirmed at once, {twice} delivered more than once");
        drop(server);
    });
}
