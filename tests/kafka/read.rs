//! Reading what only a Kafka has: transactions, gaps, what is deleted under a reader, many partitions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evcat::broker::{Broker, Error, Kind, Read, ReadOptions, Reader, Result, Start, Stop};
use evcat::event::{Event, HeaderValue, Name, Position};
use tokio::time::timeout;

use crate::brokers::{self, kafka};
use crate::{DEADLINE, address, broker, publish_by_kcat, run, try_broker, unique, until, words};

/// Has a topic treated so by somebody else's client.
fn others(url: &str, topic: &str, steps: &[&str]) -> Option<()> {
    let python = brokers::or_skip(brokers::python())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
    let client = std::process::Command::new(python).args([script, address(url), topic]).args(steps).status();
    assert!(client.unwrap().success(), "{steps:?}");
    Some(())
}

async fn topic_of(broker: &Arc<dyn Broker>, options: &[(&str, &str)]) -> Name {
    let topic = unique("r");
    let options: Vec<_> = options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    broker.create_topic(&topic, &options).await.unwrap();
    topic.as_str().into()
}

async fn open(broker: &Arc<dyn Broker>, topic: &Name, start: Start, stop: Stop) -> Result<Box<dyn Reader>> {
    let topics = vec![topic.clone()];
    broker.reader(ReadOptions { topics, partition: None, start, stop, unsettled: false }).await
}

/// All until the end, which has to come.
async fn to_end(reader: &mut Box<dyn Reader>) -> Result<Vec<Event>> {
    let mut all = Vec::new();
    loop {
        match timeout(DEADLINE, reader.next()).await.expect("the end comes")? {
            Read::Events(events) => all.extend_from_slice(&events),
            Read::CaughtUp => {}
            Read::End => return Ok(all),
        }
    }
}

async fn read(broker: &Arc<dyn Broker>, topic: &Name, start: Start) -> Result<Vec<Event>> {
    to_end(&mut open(broker, topic, start, Stop::Now).await?).await
}

/// What follows, until one says that it went wrong.
async fn trouble(reader: &mut Box<dyn Reader>) -> Error {
    loop {
        match timeout(DEADLINE, reader.next()).await.expect("it is said") {
            Ok(Read::End) => panic!("it ended"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

fn numbers(events: &[Event]) -> Vec<usize> {
    events
        .iter()
        .map(|event| std::str::from_utf8(event.payload().unwrap()).unwrap().parse().unwrap())
        .collect()
}

fn place(topic: &Name, partition: i32, offset: i64) -> Vec<(Name, Position)> {
    vec![(topic.clone(), Position::At { partition, offset })]
}

#[test]
fn what_was_aborted_is_not_there_and_a_marker_at_the_end_ends_it() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["plain:3", "commit:4", "abort:5", "plain:2", "commit:1"])
        else {
            return;
        };
        let committed = [0, 1, 2, 3, 4, 5, 6, 12, 13, 14];
        let begun = Instant::now();
        assert_eq!(numbers(&read(&broker, &topic, Start::Earliest).await.unwrap()), committed);
        assert!(begun.elapsed() < Duration::from_secs(5), "the end is not waited for: {:?}", begun.elapsed());
        for n in 1..=12 {
            let last = numbers(&read(&broker, &topic, Start::Last(n as u64)).await.unwrap());
            assert_eq!(last, committed[committed.len().saturating_sub(n)..], "the last {n}");
        }
        let mut reader = open(&broker, &topic, Start::Earliest, Stop::Never).await.unwrap();
        let (mut seen, mut caught_up) = (Vec::new(), false);
        while !caught_up {
            match timeout(DEADLINE, reader.next()).await.expect("it catches up").unwrap() {
                Read::Events(events) => seen.extend(numbers(&events)),
                Read::CaughtUp => caught_up = true,
                Read::End => panic!("nobody set a stop"),
            }
        }
        assert_eq!(seen, committed);
        let all = try_broker(&url, DEADLINE, &[("isolation.level", "read_uncommitted")]).unwrap();
        let all = numbers(&read(&all, &topic, Start::Earliest).await.unwrap());
        assert_eq!(all, (0..15).collect::<Vec<_>>());
    });
}

#[test]
fn a_topic_of_aborted_events_only_is_read_to_its_end() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["abort:5", "abort:30"]) else { return };
        for start in [Start::Earliest, Start::Last(1), Start::Last(1000), Start::Time(0)] {
            assert!(read(&broker, &topic, start).await.unwrap().is_empty());
        }
    });
}

#[test]
fn a_transaction_that_hangs_does_not_hang_a_reader() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["plain:3", "open:4", "plain:2"]) else { return };
        let mut reader = open(&broker, &topic, Start::Earliest, Stop::Now).await.unwrap();
        assert_eq!(reader.end(), place(&topic, 0, 3), "the last stable offset");
        assert_eq!(numbers(&to_end(&mut reader).await.unwrap()), [0, 1, 2]);
        assert_eq!(numbers(&read(&broker, &topic, Start::Last(2)).await.unwrap()), [1, 2]);
        let mut reader = open(&broker, &topic, Start::Last(1), Stop::Never).await.unwrap();
        assert!(matches!(timeout(DEADLINE, reader.next()).await.unwrap().unwrap(), Read::Events(_)));
        assert!(matches!(timeout(DEADLINE, reader.next()).await.unwrap().unwrap(), Read::CaughtUp));
        let all = try_broker(&url, DEADLINE, &[("isolation.level", "read_uncommitted")]).unwrap();
        assert_eq!(read(&all, &topic, Start::Earliest).await.unwrap().len(), 9);
    });
}

#[test]
fn a_compacted_topic_has_gaps_and_is_read_to_its_end() {
    let Some(url) = kafka() else { return };
    run(async {
        // What is in the segment that is written to is not compacted, so there are many.
        let options = [("topic.cleanup.policy", "compact"), ("topic.segment.ms", "100")];
        let broker = try_broker(&url, DEADLINE, &options).unwrap();
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["compact:200"]) else { return };
        until("the topic is compacted", || async {
            others(&url, &topic, &["compact:2"]);
            read(&broker, &topic, Start::Earliest).await.unwrap().len() < 150
        })
        .await;
        let all = read(&broker, &topic, Start::Earliest).await.unwrap();
        let end = open(&broker, &topic, Start::Latest, Stop::Now).await.unwrap().end()[0].1.offset().unwrap();
        assert!((all.len() as i64) < end, "there are gaps: {} events before {end}", all.len());
        for n in [1, 2, all.len() / 2, all.len(), all.len() + 1] {
            let last = read(&broker, &topic, Start::Last(n as u64)).await.unwrap();
            let want = &all[all.len().saturating_sub(n)..];
            assert_eq!(format!("{last:?}"), format!("{want:?}"), "the last {n}");
        }
        let in_the_gap = read(&broker, &topic, Start::At(place(&topic, 0, 1))).await.unwrap();
        assert_eq!(in_the_gap.len(), all.iter().filter(|event| event.position().offset() >= Some(1)).count());
    });
}

#[test]
fn what_was_deleted_is_told_of_and_never_jumped_over() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["plain:10", "delete:6"]) else { return };
        assert_eq!(numbers(&read(&broker, &topic, Start::Earliest).await.unwrap()), [6, 7, 8, 9]);
        assert_eq!(numbers(&read(&broker, &topic, Start::Last(9)).await.unwrap()), [6, 7, 8, 9]);
        let error = open(&broker, &topic, Start::At(place(&topic, 0, 5)), Stop::Now).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Gone);
        assert!(words(&error).contains("first that is kept is 6"), "{}", words(&error));
        let error = open(&broker, &topic, Start::At(place(&topic, 0, 11)), Stop::Now).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    });
}

#[test]
fn what_is_deleted_under_a_reader_is_told_of() {
    let Some(url) = kafka() else { return };
    run(async {
        // Fetches one batch at a time, so that most of it is still to be fetched when it goes.
        let little = [("queued.min.messages", "1"), ("max.partition.fetch.bytes", "1000")];
        let broker = try_broker(&url, DEADLINE, &little).unwrap();
        let topic = topic_of(&broker, &[]).await;
        for _ in 0..20 {
            publish_by_kcat(&url, &topic, 0, &"x\n".repeat(100));
        }
        let mut reader = open(&broker, &topic, Start::Earliest, Stop::Now).await.unwrap();
        let first = timeout(DEADLINE, reader.next()).await.unwrap().unwrap();
        assert!(matches!(first, Read::Events(_)));
        let Some(()) = others(&url, &topic, &["delete:1990"]) else { return };
        let error = trouble(&mut reader).await;
        assert_eq!(error.kind(), Kind::Gone, "{error}");
        assert!(words(&error).contains("the first that is kept is 1990"), "{}", words(&error));
    });
}

#[test]
fn a_topic_deleted_under_a_reader_is_told_of() {
    let Some(url) = kafka() else { return };
    run(async {
        let options =
            [("topic.metadata.refresh.interval.ms", "200"), ("topic.metadata.propagation.max.ms", "500")];
        let broker = try_broker(&url, DEADLINE, &options).unwrap();
        let topic = topic_of(&broker, &[]).await;
        publish_by_kcat(&url, &topic, 0, "0\n");
        let mut reader = open(&broker, &topic, Start::Earliest, Stop::Never).await.unwrap();
        assert!(matches!(timeout(DEADLINE, reader.next()).await.unwrap().unwrap(), Read::Events(_)));
        broker.delete_topic(&topic).await.unwrap();
        let error = trouble(&mut reader).await;
        assert_eq!(error.kind(), Kind::Gone, "{error}");
        assert!(words(&error).contains("was deleted while it was read"), "{}", words(&error));
    });
}

#[test]
fn partitions_that_are_added_are_followed_from_their_beginning() {
    let Some(url) = kafka() else { return };
    run(async {
        let often = [("topic.metadata.refresh.interval.ms", "200")];
        let broker = try_broker(&url, DEADLINE, &often).unwrap();
        let topic = topic_of(&broker, &[]).await;
        let mut reader = open(&broker, &topic, Start::Latest, Stop::Never).await.unwrap();
        let Some(()) = others(&url, &topic, &["partitions:3"]) else { return };
        publish_by_kcat(&url, &topic, 2, "7\n8\n");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            if let Read::Events(events) = timeout(DEADLINE, reader.next()).await.unwrap().unwrap() {
                seen.extend(numbers(&events));
            }
        }
        assert_eq!(seen, [7, 8]);
    });
}

#[test]
fn one_partition_alone_is_read_and_one_that_is_none_is_refused() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[("partitions", "3")]).await;
        for partition in 0..3 {
            publish_by_kcat(&url, &topic, partition, &format!("{partition}\n"));
        }
        let options = |partition, start| ReadOptions {
            topics: vec![topic.clone()],
            partition: Some(partition),
            start,
            stop: Stop::Now,
            unsettled: false,
        };
        let mut reader = broker.reader(options(1, Start::Earliest)).await.unwrap();
        assert_eq!(reader.end(), place(&topic, 1, 1));
        assert_eq!(numbers(&to_end(&mut reader).await.unwrap()), [1]);
        let bare = Start::At(vec![(topic.clone(), Position::Offset(0))]);
        let mut reader = broker.reader(options(2, bare)).await.unwrap();
        assert_eq!(numbers(&to_end(&mut reader).await.unwrap()), [2]);
        let error = broker.reader(options(3, Start::Earliest)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("partition 3"), "{error}");
    });
}

#[test]
fn nulls_empties_and_double_headers_are_told_apart() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[]).await;
        let Some(()) = others(&url, &topic, &["headers"]) else { return };
        let all = read(&broker, &topic, Start::Earliest).await.unwrap();
        let parts: Vec<_> = all.iter().map(|event| (event.key(), event.payload())).collect();
        assert_eq!(parts, [(Some(&b""[..]), Some(&b"\0\xff"[..])), (Some(b"k"), None), (None, Some(b""))]);
        assert_eq!(all[0].timestamp(), Some(1_700_000_000_123));
        let headers: Vec<_> = all[0].headers().iter().collect();
        let want = [
            (&b"h"[..], HeaderValue::Bytes(b"1")),
            (b"h", HeaderValue::Null),
            (b"empty", HeaderValue::Bytes(b"")),
            (b"binary", HeaderValue::Bytes(b"\0\xff")),
        ];
        assert_eq!(headers, want);
        assert!(all[1].headers().is_empty());
    });
}

#[test]
fn many_partitions_are_read_together() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        let topic = topic_of(&broker, &[("partitions", "200")]).await;
        for partition in (0..200).step_by(10) {
            publish_by_kcat(&url, &topic, partition, &format!("{partition}\n"));
        }
        let mut all = numbers(&read(&broker, &topic, Start::Earliest).await.unwrap());
        all.sort_unstable();
        assert_eq!(all, (0..200).step_by(10).collect::<Vec<_>>());
        let mut last = numbers(&read(&broker, &topic, Start::Last(3)).await.unwrap());
        last.sort_unstable();
        assert_eq!(last, [170, 180, 190], "the newest over all partitions");
    });
}

#[test]
fn a_broker_that_comes_back_in_time_is_waited_for_and_else_is_told_of() {
    let Some(own) = brokers::or_skip(brokers::Private::up("kafka")) else { return };
    run(async {
        let patience = Duration::from_secs(20);
        let broker = try_broker(own.url(), patience, &[]).unwrap();
        let topic = topic_of(&broker, &[]).await;
        let mut reader = open(&broker, &topic, Start::Latest, Stop::Never).await.unwrap();
        assert!(matches!(timeout(DEADLINE, reader.next()).await.unwrap().unwrap(), Read::CaughtUp));
        own.kill(1);
        assert!(timeout(Duration::from_millis(500), reader.next()).await.is_err(), "nothing is said yet");
        own.restart(1);
        publish_by_kcat(own.url(), &topic, 0, "1\n");
        match timeout(DEADLINE, reader.next()).await.unwrap().unwrap() {
            Read::Events(events) => assert_eq!(numbers(&events), [1]),
            other => panic!("{other:?}"),
        }
        let broker = try_broker(own.url(), Duration::from_secs(1), &[]).unwrap();
        let mut reader = open(&broker, &topic, Start::Latest, Stop::Never).await.unwrap();
        own.kill(1);
        let begun = Instant::now();
        let error = trouble(&mut reader).await;
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} {error:?}", begun.elapsed());
    });
}
