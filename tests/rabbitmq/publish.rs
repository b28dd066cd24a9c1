//! Publishing: what went nowhere, what is in doubt, and what is refused before it is sent.

use std::collections::HashSet;
use std::time::Duration;

use evcat::broker::{Kind, PublishOptions, Receipt, Result};
use evcat::event::{Event, Extra, HeaderValue, HeadersBuf, Position};

use crate::brokers::{Private, or_skip};
use crate::proxy::Proxy;
use crate::suite::*;
use crate::{drained, group, said, text, vhost, with_group};

/// The server confirms at once what goes nowhere, and later what a quorum queue stores.
#[test]
fn each_event_that_goes_nowhere_is_told_and_no_other() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let url = format!("{}&binding=in.%23", vhost.url());
        let broker = with_group(&url, "t", "g").await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let goes = |n: usize| n % 3 != 1;
        let event = |n: usize| {
            let key = format!("{}.{}", if goes(n) { "in" } else { "out" }, n % 5);
            // Many are the same, so that nothing but the key tells them apart.
            said("t", Some(&key), if n.is_multiple_of(2) { "same" } else { "other" })
        };
        let mut calls = Vec::new();
        for batch in 0..40 {
            calls.push(publisher.send((batch * 50..(batch + 1) * 50).map(event).collect()));
        }
        let receipts = futures_util::future::join_all(calls).await.concat();
        for (n, receipt) in receipts.iter().enumerate() {
            match receipt {
                Ok(_) => assert!(goes(n), "{n} went nowhere, and nobody said so"),
                Err(error) => {
                    assert_eq!((error.kind(), goes(n)), (Kind::Unroutable, false), "{n}: {error}");
                    assert!(words(error).contains("'t'") && words(error).contains("out."), "{error}");
                }
            }
        }
        assert_eq!(drained(&broker, group("t", "g")).await.len(), (0..2000).filter(|n| goes(*n)).count());
    });
}

/// Publishes these; again, by a new batch, what is in doubt or did not leave.
async fn until_all_are_there(
    publisher: &dyn evcat::broker::Publisher,
    mut events: Vec<Event>,
) -> (usize, usize) {
    let (mut again, mut doubts) = (0, 0);
    while !events.is_empty() {
        let receipts: Vec<Result<Receipt>> = publisher.send(events.clone().into()).await;
        let mut left = Vec::new();
        for (event, receipt) in events.into_iter().zip(receipts) {
            match receipt {
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::InDoubt | Kind::Unreachable), "{error}");
                    doubts += usize::from(error.kind() == Kind::InDoubt);
                    left.push(event);
                }
            }
        }
        again += left.len();
        events = left;
    }
    (again, doubts)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_connection_breaks() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let proxy = Proxy::to(vhost.server(), Duration::ZERO);
        let direct = with_group(&vhost.url(), "t", "g").await;
        let through = broker(&vhost.url_at(&proxy.address()));
        let (mut published, mut doubts) = (HashSet::new(), 0);
        // From within the handshake to the middle of the events.
        for (round, bytes) in [200, 700, 1100, 1500, 2000, 3000, 5000, 8000, 20_000].into_iter().enumerate() {
            proxy.break_after(bytes);
            let publisher = through.publisher(PublishOptions::default()).await.unwrap();
            let name = |n: usize| format!("{round}-{n}");
            let events: Vec<Event> = (0..60).map(|n| said("t", Some("k"), &name(n))).collect();
            let first = publisher.send(events.clone().into());
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.break_after(0);
            let mut left = Vec::new();
            for (event, receipt) in events.into_iter().zip(first.await) {
                published.insert(text(&event));
                if let Err(error) = receipt {
                    assert!(matches!(error.kind(), Kind::InDoubt | Kind::Unreachable), "{error}");
                    doubts += usize::from(error.kind() == Kind::InDoubt);
                    left.push(event);
                }
            }
            until_all_are_there(&*publisher, left).await;
        }
        assert!(proxy.broken() >= 9, "{} connections broke", proxy.broken());
        assert!(doubts > 0, "some were sent and not confirmed");
        let stored: Vec<String> = drained(&direct, group("t", "g")).await.iter().map(text).collect();
        let there: HashSet<String> = stored.iter().cloned().collect();
        assert_eq!(there, published, "all that was acknowledged is there");
        assert!(
            stored.len() - there.len() <= doubts,
            "what was in doubt may be there twice, and nothing else"
        );
    });
}

#[test]
fn what_is_never_confirmed_is_in_doubt() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let proxy = Proxy::to(vhost.server(), Duration::ZERO);
        with_group(&vhost.url(), "t", "g").await;
        let through = try_broker(&vhost.url_at(&proxy.address()), Duration::from_secs(2), &[]).unwrap();
        let publisher = through.publisher(PublishOptions::default()).await.unwrap();
        publisher.send(vec![said("t", None, "0")].into()).await.remove(0).unwrap();
        proxy.mute();
        let error = publisher.send(vec![said("t", None, "1")].into()).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::InDoubt, "{error}");
        assert!(words(&error).contains("may have been stored"), "{error}");
    });
}

/// Of many some are under way at a time; the others do not wait for the server once more.
#[test]
fn of_many_that_are_never_confirmed_the_rest_was_not_sent() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let proxy = Proxy::to(vhost.server(), Duration::ZERO);
        with_group(&vhost.url(), "t", "g").await;
        let through = try_broker(&vhost.url_at(&proxy.address()), Duration::from_secs(3), &[]).unwrap();
        let publisher = through.publisher(PublishOptions::default()).await.unwrap();
        publisher.send(vec![said("t", None, "0")].into()).await.remove(0).unwrap();
        proxy.mute();
        let many = (0..5000).map(|n| said("t", None, &n.to_string())).collect::<Vec<_>>();
        let begun = std::time::Instant::now();
        let receipts = publisher.send(many.into()).await;
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        let kinds: Vec<Kind> = receipts.into_iter().map(|receipt| receipt.unwrap_err().kind()).collect();
        let doubts = kinds.iter().take_while(|kind| **kind == Kind::InDoubt).count();
        assert!((1..5000).contains(&doubts), "{doubts}");
        assert!(kinds[doubts..].iter().all(|kind| *kind == Kind::Unreachable));
    });
}

#[test]
fn an_alarm_of_the_server_is_shown_as_such() {
    let Some(server) = or_skip(Private::up("rabbitmq:alarm")) else { return };
    run(async {
        let broker = try_broker(server.url(), Duration::from_secs(3), &[]).unwrap();
        let source = group("t", "g");
        broker.create_topic("t", &[]).await.unwrap();
        broker.create_group(&source, &evcat::broker::Start::Latest, None).await.unwrap();
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let error = publisher.send(vec![said("t", None, "0")].into()).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::InDoubt, "{error}");
        assert!(words(&error).contains("alarm") && words(&error).contains("disk"), "{error}");
    });
}

#[test]
fn what_amqp_cannot_carry_is_refused_by_itself() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let broker = with_group(&vhost.url(), "t", "g").await;
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let mut large = HeadersBuf::default();
        large.push_str("h", &"x".repeat(130_000));
        let mut named = HeadersBuf::default();
        named.push_str(&"n".repeat(256), "x");
        let mut table = HeadersBuf::default();
        table.push(b"t", HeaderValue::Table("{"));
        let with = |headers: &HeadersBuf| {
            Event::new(&"t".into(), None, headers.as_headers(), Some(b"p"), Some(1), Position::Unknown)
        };
        let extra = |name: &str, value: &str| {
            let properties = vec![(name.to_owned(), value.to_owned())];
            said("t", None, "p").with_extra(Extra { properties })
        };
        let bad =
            [with(&large), with(&named), with(&table), extra("user_id", "eve"), extra("expiration", "1m")];
        let mut events = Vec::new();
        for event in &bad {
            events.extend([event.clone(), said("t", None, "good")]);
        }
        for (at, receipt) in publisher.send(events.into()).await.into_iter().enumerate() {
            match receipt {
                Ok(_) => assert_eq!(at % 2, 1, "{at}"),
                Err(error) => assert_eq!((error.kind(), at % 2), (Kind::Rejected, 0), "{at}: {error}"),
            }
        }
        assert_eq!(drained(&broker, group("t", "g")).await.len(), bad.len());
        let nowhere =
            publisher.send(vec![said("queue:nobody", None, "x")].into()).await.remove(0).unwrap_err();
        assert_eq!(nowhere.kind(), Kind::NotFound, "{nowhere}");
        let missing = publisher.send(vec![said("missing", None, "x")].into()).await.remove(0).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
        publisher.send(vec![said("t", None, "after")].into()).await.remove(0).unwrap();
    });
}

/// Neither key nor payload tells what came back from a headers exchange.
#[test]
fn what_goes_nowhere_for_its_headers_is_told_and_no_other() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let place = |kind: &str, name: &str| format!("{kind}/{}/{name}", vhost.name);
        vhost.ask("PUT", &place("exchanges", "h"), r#"{"type": "headers", "durable": true}"#);
        let quorum = r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#;
        vhost.ask("PUT", &place("queues", "h.g"), quorum);
        let all = r#"{"routing_key": "", "arguments": {"x-match": "all", "way": "in"}}"#;
        vhost.ask("POST", &format!("bindings/{}/e/h/q/h.g", vhost.name), all);
        let broker = broker(&vhost.url());
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let event = |n: usize| {
            let mut headers = HeadersBuf::default();
            headers.push_str("way", if n.is_multiple_of(2) { "in" } else { "out" });
            let time = Some(1_700_000_000_000);
            Event::new(&"h".into(), None, headers.as_headers(), Some(b"same"), time, Position::Unknown)
        };
        let receipts = publisher.send((0..400).map(event).collect()).await;
        for (n, receipt) in receipts.iter().enumerate() {
            assert_eq!(receipt.is_ok(), n.is_multiple_of(2), "{n}: {receipt:?}");
        }
        assert_eq!(drained(&broker, group("h", "g")).await.len(), 200);
    });
}
