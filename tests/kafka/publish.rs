//! Publishing: what other people's clients find, and what is said when it fails.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use evcat::broker::{Broker, Kind, PublishOptions, Receipt, Result};
use evcat::event::{Batch, Event, HeaderValue, HeadersBuf, Name, Position};

use crate::brokers::{self, Private};
use crate::proxy::Proxy;
use crate::{DEADLINE, address, broker, run, try_broker, unique, words};

async fn topic(broker: &dyn Broker, word: &str, partitions: usize) -> Name {
    let name = unique(word);
    broker.create_topic(&name, &[("partitions".into(), partitions.to_string())]).await.unwrap();
    name.into()
}

fn event(topic: &Name, key: Option<&[u8]>, payload: Option<&[u8]>) -> Event {
    Event::new(topic, key, HeadersBuf::default().as_headers(), payload, None, Position::Unknown)
}

async fn publish(broker: &dyn Broker, events: Vec<Event>) -> Vec<Result<Receipt>> {
    broker.publisher(PublishOptions::default()).await.unwrap().send(events.into()).await
}

/// All of a topic as kcat prints it.
fn read_by_kcat(url: &str, topic: &str, format: &str) -> String {
    let mut kcat = Command::new("kcat");
    let Output { stdout, stderr, status } =
        kcat.args(["-C", "-e", "-q", "-b", address(url), "-t", topic, "-f", format]).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The hash of Java's clients (`org.apache.kafka.common.utils.Utils.murmur2`), written down from its definition.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h = (h ^ h >> 13).wrapping_mul(M);
    h ^ h >> 15
}

#[test]
fn keys_go_where_javas_clients_send_them() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic(&*broker, "keys", 12).await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let keys: Vec<Vec<u8>> = (0..300)
            .map(|n: u32| if n == 1 { Vec::new() } else { format!("{n}").repeat(n as usize % 9 + 1).into() })
            .collect();
        // Before the library knows how many partitions there are, and after.
        for _ in 0..2 {
            let events = keys.iter().map(|key| event(&topic, Some(key), Some(b"p"))).collect();
            for (key, receipt) in keys.iter().zip(publisher.send(events).await) {
                let wanted = (murmur2(key) & 0x7fff_ffff) % 12;
                assert_eq!(receipt.unwrap().position.partition(), Some(wanted as i32), "{key:?}");
            }
        }
        let seen = read_by_kcat(&url, &topic, "%p %k\\n");
        assert_eq!(seen.lines().count(), 600);
        for line in seen.lines() {
            let (partition, key) = line.split_once(' ').unwrap();
            assert_eq!(partition, ((murmur2(key.as_bytes()) & 0x7fff_ffff) % 12).to_string(), "{key}");
        }
    });
}

#[test]
fn without_a_key_all_partitions_are_used() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic(&*broker, "keyless", 3).await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let mut used = [0; 3];
        for _ in 0..60 {
            let events = (0..5).map(|_| event(&topic, None, Some(b"p"))).collect();
            for receipt in publisher.send(events).await {
                used[receipt.unwrap().position.partition().unwrap() as usize] += 1;
            }
        }
        assert!(used.iter().all(|count| *count > 0), "{used:?}");
    });
}

#[test]
fn every_part_is_what_other_clients_read() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic(&*broker, "parts", 1).await;
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push_str("a", "2");
        headers.push(b"none", HeaderValue::Null);
        headers.push_str("empty", "");
        headers.push(b"number", HeaderValue::Int(-7));
        let mut batch = Batch::default();
        let none = HeadersBuf::default();
        let mut push = |key: Option<&[u8]>, headers: &HeadersBuf, payload: Option<&[u8]>, at| {
            batch.push(&topic, key, headers.as_headers(), payload, at, Position::Unknown);
        };
        push(Some(b"k"), &none, Some(b"plain"), None);
        push(Some(b"k"), &none, None, None);
        push(None, &none, Some(b""), None);
        push(Some(b""), &headers, Some(b"x"), Some(1_600_000_000_123));
        push(Some(b"k"), &none, Some(b"late"), Some(1));
        push(Some(b"k"), &headers, Some(b"0"), Some(0));
        push(None, &none, Some(b"last"), None);
        let receipts = publish(&*broker, batch.finish().to_vec()).await;
        let offsets: Vec<_> = receipts.into_iter().map(|it| it.unwrap().position.offset().unwrap()).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6], "in the order of the call");
        let seen = read_by_kcat(&url, &topic, "%o %K %S %k=%s [%h]\\n");
        let wanted = [
            "0 1 5 k=plain []",
            "1 1 -1 k= []",
            "2 -1 0 = []",
            "3 0 1 =x [a=1,a=2,none=NULL,empty=,number=-7]",
            "4 1 4 k=late []",
            "5 1 1 k=0 [a=1,a=2,none=NULL,empty=,number=-7]",
            "6 -1 4 =last []",
        ];
        assert_eq!(seen.lines().collect::<Vec<_>>(), wanted);
        let times = read_by_kcat(&url, &topic, "%T\\n");
        let times: Vec<&str> = times.lines().collect();
        assert_eq!(times[3..6], ["1600000000123", "1", "0"]);
    });
}

#[test]
fn a_topic_that_is_not_there_is_told_fast_with_the_nearest_name() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let there = topic(&*broker, "orders", 1).await;
        let typed: Name = format!("{}x", &*there).as_str().into();
        let begun = Instant::now();
        let events = (0..3).map(|_| event(&typed, None, Some(b"p"))).collect();
        for receipt in publish(&*broker, events).await {
            let error = receipt.unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound);
            let said = words(&error);
            assert!(
                said.contains(&*there) && said.contains(&format!("evcat topics create {typed}")),
                "{said}"
            );
        }
        assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    });
}

#[test]
fn what_is_too_large_is_refused_alone_and_the_limit_is_named() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let own = try_broker(&url, DEADLINE, &[("message.max.bytes", "2000")]).unwrap();
        let topic = topic(&*own, "large", 1).await;
        let large = vec![b'x'; 5000];
        let events = vec![event(&topic, None, Some(b"before")), event(&topic, None, Some(&large))];
        let events = [events, vec![event(&topic, None, Some(b"after"))]].concat();
        let receipts = publish(&*own, events).await;
        let error = receipts[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(words(error).contains("5000 bytes") && words(error).contains("2000"), "{}", words(error));
        assert!(receipts[0].is_ok() && receipts[2].is_ok());

        let name = unique("limited");
        let limited = try_broker(&url, DEADLINE, &[("topic.max.message.bytes", "3000")]).unwrap();
        limited.create_topic(&name, &[]).await.unwrap();
        let receipts = publish(&*limited, vec![event(&name.as_str().into(), None, Some(&large))]).await;
        let error = receipts[0].as_ref().unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(words(error).contains("max.message.bytes"), "{}", words(error));
    });
}

#[test]
fn a_partition_that_is_not_there_is_told() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic(&*broker, "few", 2).await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        // Before the library knows how many there are, and after.
        for _ in 0..2 {
            let mut batch = Batch::default();
            for partition in [0, 7, -3, 1] {
                let at = Position::Partition(partition);
                batch.push(&topic, None, HeadersBuf::default().as_headers(), Some(b"p"), None, at);
            }
            let receipts = publisher.send(batch.finish()).await;
            let kinds: Vec<_> =
                receipts.iter().map(|it| it.as_ref().err().map(|error| error.kind())).collect();
            assert_eq!(kinds, [None, Some(Kind::NotFound), Some(Kind::NotFound), None]);
        }
    });
}

#[test]
fn what_was_sent_and_not_acknowledged_is_in_doubt_and_what_was_not_sent_is_not() {
    let Some(url) = brokers::kafka() else { return };
    let proxy = Proxy::to(&url, Duration::ZERO);
    run(async {
        let topic = topic(&*broker(&url), "doubt", 1).await;
        let through = try_broker(&proxy.url(), Duration::from_millis(1500), &[]).unwrap();
        let publisher = through.publisher(PublishOptions::default()).await.unwrap();
        publisher.send(vec![event(&topic, None, Some(b"0"))].into()).await.remove(0).unwrap();
        proxy.mute();
        let error = publisher.send(vec![event(&topic, None, Some(b"1"))].into()).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::InDoubt, "{error}");
        assert!(words(&error).contains("may have been stored"), "{}", words(&error));
        assert_eq!(read_by_kcat(&url, &topic, "%s,"), "0,1,", "and it was");

        let nowhere = try_broker("kafka://127.0.0.1:1", Duration::from_millis(500), &[]).unwrap();
        let error = publish(&*nowhere, vec![event(&topic, None, Some(b"2"))]).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    });
}

#[test]
fn a_headers_name_that_would_be_read_as_another_is_refused() {
    let Some(url) = brokers::kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic(&*broker, "nul", 1).await;
        let mut headers = HeadersBuf::default();
        headers.push(b"a\0b", HeaderValue::Bytes(b"1"));
        let odd = Event::new(&topic, None, headers.as_headers(), Some(b"0"), None, Position::Unknown);
        let receipts = publish(&*broker, vec![odd, event(&topic, None, Some(b"1"))]).await;
        let error = receipts[0].as_ref().unwrap_err();
        assert!(error.kind() == Kind::Rejected && error.to_string().contains("NUL"), "{error}");
        receipts[1].as_ref().unwrap();
    });
}

#[test]
fn one_between_who_does_not_reach_the_broker_for_a_while_ends_nothing() {
    let Some(url) = brokers::kafka() else { return };
    let proxy = Proxy::to(&url, Duration::ZERO);
    run(async {
        let topic = topic(&*broker(&url), "gateway", 1).await;
        let through = try_broker(&proxy.url(), DEADLINE, &[]).unwrap();
        let publisher = through.publisher(PublishOptions::default()).await.unwrap();
        publisher.send(vec![event(&topic, None, Some(b"0"))].into()).await.remove(0).unwrap();
        proxy.at_a_loss(true);
        proxy.hang_up();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut sent = publisher.send(vec![event(&topic, None, Some(b"1"))].into());
        if let Ok(early) = tokio::time::timeout(Duration::from_secs(1), &mut sent).await {
            panic!("it is waited for: {early:?}");
        }
        proxy.at_a_loss(false);
        sent.await.remove(0).unwrap();
    });
}

#[test]
fn the_order_holds_on_a_link_that_breaks() {
    let Some(url) = brokers::kafka() else { return };
    let proxy = Proxy::to(&url, Duration::from_millis(1));
    const EVENTS: usize = 20_000;
    run(async {
        let topic = topic(&*broker(&url), "breaks", 1).await;
        // So that some requests get through before the next break.
        let small = [("batch.size", "20000")];
        let broker = try_broker(&proxy.url(), DEADLINE, &small).unwrap();
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        proxy.break_after(150_000);
        let mut waiting = Vec::new();
        for call in 0..EVENTS / 100 {
            let payloads: Vec<String> = (0..100).map(|n| format!("{:0100}", call * 100 + n)).collect();
            let events = payloads.iter().map(|it| event(&topic, Some(b"k"), Some(it.as_bytes()))).collect();
            waiting.push(publisher.send(events));
        }
        for receipts in waiting {
            receipts.await.into_iter().for_each(|receipt| drop(receipt.unwrap()));
        }
        assert!(proxy.broken() > 3, "{} times broken", proxy.broken());
        // What was sent again may be there twice; the first of each are in order.
        let (mut next, mut seen) = (0, 0);
        for line in read_by_kcat(&url, &topic, "%s\\n").lines() {
            let n: usize = line.parse().unwrap();
            assert!(n <= next, "{n} before {next}");
            (next, seen) = (next.max(n + 1), seen + 1);
        }
        assert_eq!(next, EVENTS, "of {seen} that were stored");
    });
}

#[test]
fn a_broker_that_comes_back_in_time_has_everything() {
    let Some(private) = brokers::or_skip(Private::up("kafka")) else { return };
    run(async {
        let broker = try_broker(private.url(), 2 * DEADLINE, &[]).unwrap();
        let topic = topic(&*broker, "back", 1).await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        publisher.send(vec![event(&topic, None, Some(b"0"))].into()).await.remove(0).unwrap();
        private.kill(1);
        let later = publisher.send(vec![event(&topic, None, Some(b"1"))].into());
        private.restart(1);
        later.await.remove(0).unwrap();
        let seen = read_by_kcat(private.url(), &topic, "%s,");
        assert!(seen == "0,1," || seen == "0,1,1,", "{seen}");
    });
}
