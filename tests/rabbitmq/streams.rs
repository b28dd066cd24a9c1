//! Streams: read from anywhere, to an end that is fixed at the start.

use evcat::broker::{Kind, PublishOptions, Read, ReadOptions, Start, Stop};
use evcat::event::{Event, Headers, Name, Position};

use crate::suite::*;
use crate::{text, vhost};

fn reading(topic: &str, start: Start, stop: Stop) -> ReadOptions {
    ReadOptions { topics: vec![topic.into()], partition: None, start, stop, unsettled: false }
}

async fn all(broker: &std::sync::Arc<dyn evcat::broker::Broker>, options: ReadOptions) -> Vec<String> {
    let mut reader = broker.reader(options).await.unwrap();
    let mut all = Vec::new();
    loop {
        match reader.next().await.unwrap() {
            Read::Events(events) => all.extend(events.iter().map(text)),
            Read::CaughtUp => {}
            Read::End => break,
        }
    }
    reader.close().await.unwrap();
    all
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_stream_is_read_from_every_start() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let broker = broker(&vhost.url());
        let topic: Name = "stream:s".into();
        broker.create_topic(&topic, &[]).await.unwrap();
        assert_eq!(all(&broker, reading(&topic, Start::Earliest, Stop::Now)).await, numbers(0..0));
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let base = 1_700_000_000_000;
        let event = |n: usize| {
            let at = Some(base + n as i64 * 10);
            let payload = n.to_string();
            Event::new(
                &topic,
                Some(b"k"),
                Headers::default(),
                Some(payload.as_bytes()),
                at,
                Position::Unknown,
            )
        };
        for batch in 0..5 {
            let events = (batch * 500..(batch + 1) * 500).map(event).collect();
            publisher.send(events).await.into_iter().for_each(|receipt| drop(receipt.unwrap()));
        }
        let at = |offset| vec![(topic.clone(), Position::Offset(offset))];
        for (start, first) in [
            (Start::Earliest, 0),
            (Start::Latest, 2500),
            (Start::Last(10), 2490),
            (Start::Last(9999), 0),
            (Start::At(at(700)), 700),
            (Start::After(at(700)), 701),
            (Start::Time(base + 12_345), 1235),
            (Start::Time(0), 0),
        ] {
            let got = all(&broker, reading(&topic, start.clone(), Stop::Now)).await;
            assert_eq!(got, numbers(first..2500), "{start:?}");
        }
        let bounded = reading(&topic, Start::At(at(5)), Stop::At(at(9)));
        assert_eq!(all(&broker, bounded).await, numbers(5..9));
        let beyond = broker.reader(reading(&topic, Start::At(at(2501)), Stop::Now)).await.err().unwrap();
        assert_eq!(beyond.kind(), Kind::Invalid, "{beyond}");

        let mut reader = broker.reader(reading(&topic, Start::Last(1), Stop::Never)).await.unwrap();
        assert_eq!((reader.start(), reader.end()), (&at(2499)[..], &at(2500)[..]));
        let mut seen = Vec::new();
        publisher.send(vec![event(2500)].into()).await.remove(0).unwrap();
        while seen.len() < 2 {
            if let Read::Events(events) = reader.next().await.unwrap() {
                assert!(events.iter().all(|event| event.key() == Some(b"k")));
                seen.extend(events.iter().map(|event| event.position().clone()));
            }
        }
        assert_eq!(seen, [Position::Offset(2499), Position::Offset(2500)]);
        reader.close().await.unwrap();
    });
}

#[test]
fn groups_of_streams_and_looks_at_queues_are_refused_with_a_way_out() {
    let Some(vhost) = vhost() else { return };
    run(async {
        let broker = broker(&vhost.url());
        let source = crate::group("stream:s", "g");
        let error = broker.create_group(&source, &Start::Latest, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(words(&error).contains("--resume"), "{}", words(&error));
        let error = broker.reader(reading("queue:q", Start::Latest, Stop::Never)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(words(&error).contains("dlq peek"), "{}", words(&error));
        let missing = broker.reader(reading("stream:none", Start::Earliest, Stop::Now)).await.err().unwrap();
        assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
    });
}
