//! Reading: every start, every stop, and nothing moved by looking.

use std::time::Duration;

use evcat::broker::{PublishOptions, Read, Start, Stop, abilities};
use evcat::event::{Batch, Event, Headers, HeadersBuf, Name, Position};
use evcat::flow::checkpoint::Progress;
use tokio::time::timeout;

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [PEEK, HISTORY] => whole_history_to_now;
    [PEEK] => from_now_on;
    [PEEK, HISTORY] => the_end_stays_where_it_was_while_others_publish;
    [PEEK, LAST] => the_last_n_over_all_topics_by_time;
    [PEEK, LAST] => the_last_n_then_what_arrives;
    [PEEK, BY_TIME, TIMESTAMP] => a_time_is_found_exactly_in_disordered_timestamps;
    [PEEK, BY_POSITION] => at_a_position_and_after_one;
    [PEEK, BY_POSITION] => only_what_is_named_is_read;
    [PEEK, BY_POSITION] => a_stop_at_positions;
    [PEEK, HISTORY, BY_POSITION] => a_reader_that_stopped_anywhere_goes_on_from_there;
    [PEEK, HISTORY, BY_POSITION] => a_checkpoint_of_start_and_end_reads_the_same_again;
    [PEEK, HISTORY] => caught_up_is_said_once;
    [PEEK, HISTORY] => what_is_held_waits_and_is_not_lost;
    [PEEK, HISTORY] => dropping_next_at_random_loses_nothing;
    [PEEK] => another_client_sees_it_at_once;
    [PEEK, HISTORY, LAG] => looking_moves_nothing;
    [PEEK, HISTORY] => closing_in_the_middle_is_allowed;
};

async fn whole_history_to_now(rig: Rig) {
    let topic = rig.topic("t").await;
    assert!(rig.read(std::slice::from_ref(&topic), Start::Earliest).await.is_empty());
    rig.publish(rig.numbered(&topic, 0, 2500, 7)).await;
    let reader = rig.reader(std::slice::from_ref(&topic), Start::Earliest, Stop::Now).await;
    assert!(reader.left().is_none_or(|left| left >= 2500), "never fewer than there are: {:?}", reader.left());
    let events = to_end(reader).await;
    assert_eq!(sorted(texts(&events)), numbers(0, 2500));
    let a_key: Vec<_> = events.iter().filter(|event| event.key() == Some(b"k3")).map(text).collect();
    assert_eq!(a_key, sorted(a_key.clone()), "a key is read in the order it was published");
}

async fn from_now_on(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish_to_nobody(rig.numbered(&topic, 0, 10, 1)).await;
    let mut reader = rig.reader(std::slice::from_ref(&topic), Start::Latest, Stop::Never).await;
    rig.publish(rig.numbered(&topic, 10, 10, 1)).await;
    assert_eq!(sorted(texts(&next_n(&mut reader, 10).await)), numbers(10, 20));
}

async fn the_end_stays_where_it_was_while_others_publish(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await];
    rig.publish(rig.numbered(&topics[0], 0, 100, 3)).await;
    rig.publish(rig.numbered(&topics[1], 100, 100, 3)).await;
    let mut reader = rig.reader(&topics, Start::Earliest, Stop::Now).await;
    let end = reader.end().to_vec();
    let other = rig.another().publisher(PublishOptions::default()).await.unwrap();
    let mut got = Vec::new();
    loop {
        for receipt in other.send(rig.numbered(&topics[0], 1000, 50, 3).into()).await {
            receipt.unwrap();
        }
        match timeout(PATIENCE, reader.next()).await.expect("the stop is reached").unwrap() {
            Read::Events(events) => got.extend_from_slice(&events),
            Read::CaughtUp => {}
            Read::End => break,
        }
    }
    assert_eq!(sorted(texts(&got)), numbers(0, 200));
    assert_eq!(reader.end(), end, "the end is fixed");
}

/// One event of `topic` that says and carries this time.
fn at(topic: &Name, millis: i64) -> Event {
    let payload = millis.to_string();
    event(topic, None, &HeadersBuf::default(), Some(payload.as_bytes()), Some(millis))
}

async fn the_last_n_over_all_topics_by_time(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await, rig.topic("c").await];
    // 0..12 by turns to a and b; c has a single old one.
    let stamped = rig.can(&abilities::TIMESTAMP);
    let base = 1_700_000_000_000;
    rig.publish(vec![if stamped { at(&topics[2], base - 1000) } else { said(&topics[2], "old") }]).await;
    for i in 0..12 {
        let topic = &topics[i % 2];
        let i = i as i64;
        rig.publish(vec![if stamped { at(topic, base + i) } else { said(topic, &(base + i).to_string()) }])
            .await;
        // Without timestamps of our own the broker's clock must tell them apart.
        tokio::time::sleep(Duration::from_millis(if stamped { 0 } else { 3 })).await;
    }
    for n in [1, 5, 12] {
        let got = rig.read(&topics, Start::Last(n)).await;
        let want: Vec<_> = (12 - n as i64..12).map(|i| (base + i).to_string()).collect();
        assert_eq!(sorted(texts(&got)), want, "the newest {n} over all topics");
    }
    assert_eq!(rig.read(&topics, Start::Last(100)).await.len(), 13, "fewer than were asked for are all");
    assert!(rig.read(&topics, Start::Last(0)).await.is_empty());
    assert_eq!(rig.read(&topics[2..], Start::Last(1)).await.len(), 1);
}

async fn the_last_n_then_what_arrives(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish(rig.numbered(&topic, 0, 300, 1)).await;
    let mut reader = rig.reader(std::slice::from_ref(&topic), Start::Last(10), Stop::Never).await;
    assert_eq!(texts(&next_n(&mut reader, 10).await), numbers(290, 300));
    rig.publish(rig.numbered(&topic, 300, 5, 1)).await;
    assert_eq!(texts(&next_n(&mut reader, 5).await), numbers(300, 305));
}

async fn a_time_is_found_exactly_in_disordered_timestamps(rig: Rig) {
    let topic = rig.topic_in_order("t").await;
    let base = 1_700_000_000_000;
    let mut random = fastrand::Rng::with_seed(7);
    // Waves of disorder, one far in the future, and batches of many sizes, so that blocks of one and full ones occur.
    let mut times = Vec::new();
    while times.len() < 3000 {
        let size = [1, 1, 3, 700][random.usize(..4)];
        let mut some = Vec::new();
        for i in 0..size {
            let time = base + (times.len() + i) as i64 * 10 + random.i64(-2000..2000);
            some.push(if random.usize(..1500) == 0 { time + 40_000 } else { time });
        }
        rig.publish(some.iter().map(|time| at(&topic, *time)).collect()).await;
        times.extend(some);
    }
    let first = |from: i64| times.iter().position(|time| *time >= from);
    for _ in 0..40 {
        let from = random.i64(base - 3000..base + 35_000);
        let got = rig.read(std::slice::from_ref(&topic), Start::Time(from)).await;
        let want = first(from).map_or(&[][..], |at| &times[at..]);
        let got: Vec<i64> = got.iter().map(|event| event.timestamp().unwrap()).collect();
        let ready = got.iter().position(|time| *time >= from).unwrap_or(got.len());
        assert_eq!(got[ready..], *want, "from {from}: all at or after it, and what follows them");
        assert_eq!(ready, 0, "from {from}: nothing before the first one");
    }
    let most = *times.iter().max().unwrap();
    assert_eq!(rig.read(std::slice::from_ref(&topic), Start::Time(base - 100_000)).await.len(), times.len());
    assert!(!rig.read(std::slice::from_ref(&topic), Start::Time(most)).await.is_empty(), "from is inclusive");
    let mut reader = rig.reader(std::slice::from_ref(&topic), Start::Time(most + 1), Stop::Never).await;
    rig.publish(vec![at(&topic, most + 5)]).await;
    assert_eq!(next_n(&mut reader, 1).await[0].timestamp(), Some(most + 5), "a time to come waits for it");
}

async fn at_a_position_and_after_one(rig: Rig) {
    let topic = rig.topic("t").await;
    let receipts = rig.publish(rig.numbered(&topic, 0, 500, 0)).await;
    let topics = std::slice::from_ref(&topic);
    for i in [0, 1, 250, 499] {
        let place = vec![(topic.clone(), receipts[i].position.clone())];
        let here = rig.read(topics, Start::At(place.clone())).await;
        assert_eq!(here.first().map(text), Some(i.to_string()), "at is inclusive");
        let after = rig.read(topics, Start::After(place)).await;
        let partition = |event: &&Event| event.position().partition() == receipts[i].position.partition();
        let next =
            (i + 1..500).find(|n| receipts[*n].position.partition() == receipts[i].position.partition());
        assert_eq!(after.iter().find(partition).map(text), next.map(|n| n.to_string()), "after is not");
    }
}

async fn only_what_is_named_is_read(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await];
    let receipts = rig.publish(vec![said(&topics[0], "0"), said(&topics[1], "1")]).await;
    let place = vec![(topics[1].clone(), receipts[1].position.clone())];
    assert_eq!(texts(&rig.read(&topics, Start::At(place.clone())).await), ["1"]);
    let more = [said(&topics[0], "2"), with_position(&topics[1], "3", &receipts[1].position)];
    rig.publish(more.to_vec()).await;
    assert_eq!(texts(&rig.read(&topics, Start::After(place)).await), ["3"]);
}

/// An event for the partition of this position, where there are any.
fn with_position(topic: &Name, payload: &str, near: &Position) -> Event {
    let mut batch = Batch::default();
    let at = near.partition().map_or(Position::Unknown, Position::Partition);
    batch.push(topic, None, Headers::default(), Some(payload.as_bytes()), None, at);
    batch.finish()[0].clone()
}

async fn a_stop_at_positions(rig: Rig) {
    let topic = rig.topic("t").await;
    let topics = std::slice::from_ref(&topic);
    let receipts = rig.publish(rig.numbered(&topic, 0, 30, 1)).await;
    let stop = |i: usize| Stop::At(vec![(topic.clone(), receipts[i].position.clone())]);
    let got = to_end(rig.reader(topics, Start::Earliest, stop(12)).await).await;
    assert_eq!(texts(&got), numbers(0, 12), "the stop itself is not read");
    assert!(to_end(rig.reader(topics, Start::Earliest, stop(0)).await).await.is_empty());
    let at = Start::At(vec![(topic.clone(), receipts[20].position.clone())]);
    assert!(
        to_end(rig.reader(topics, at, stop(10)).await).await.is_empty(),
        "an end before the start is the end"
    );
}

async fn a_checkpoint_of_start_and_end_reads_the_same_again(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await];
    for (i, topic) in topics.iter().enumerate() {
        rig.publish(rig.numbered(topic, i * 100, 100, 5)).await;
    }
    let reader = rig.reader(&topics, Start::Earliest, Stop::Now).await;
    let (start, end) = (reader.start().to_vec(), reader.end().to_vec());
    assert!(
        topics
            .iter()
            .all(|topic| start.iter().any(|(t, _)| t == topic) && end.iter().any(|(t, _)| t == topic))
    );
    let first = texts(&to_end(reader).await);
    rig.publish(rig.numbered(&topics[0], 500, 10, 5)).await;
    let again = rig.reader(&topics, Start::At(start), Stop::At(end)).await;
    let again = texts(&to_end(again).await);
    assert_eq!((first.len(), sorted(again)), (200, sorted(first)), "the same again, and nothing of the new");
}

/// `Reader::start` and what a checkpoint holds are where to go on *at*; `After` is for an event that was seen.
async fn a_reader_that_stopped_anywhere_goes_on_from_there(rig: Rig) {
    let topics = [rig.topic("a").await, rig.topic("b").await];
    for (i, topic) in topics.iter().enumerate() {
        rig.publish(rig.numbered(topic, i * 300, 300, 5)).await;
    }
    let (mut place, mut got) = (Start::Earliest, Vec::new());
    for passed in [0, 1, 7, 250] {
        let mut reader = rig.reader(&topics, place, Stop::Never).await;
        let mut progress = Progress::new(reader.start());
        let mut some = Vec::new();
        while some.len() < passed {
            some.extend(until_events(&mut reader).await);
        }
        some.truncate(passed);
        some.iter().for_each(|event| progress.pass(event));
        got.extend(texts(&some));
        reader.close().await.unwrap();
        place = Start::At(progress.places().clone());
    }
    got.extend(texts(&rig.read(&topics, place).await));
    assert_eq!(sorted(got), numbers(0, 600), "each once, wherever it stopped");
}

async fn caught_up_is_said_once(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut reader = rig.reader(std::slice::from_ref(&topic), Start::Earliest, Stop::Never).await;
    for round in 0..3 {
        let (mut caught_up, mut events) = (0, 0);
        while let Ok(read) = timeout(if caught_up == 0 { PATIENCE } else { QUIET }, reader.next()).await {
            match read.unwrap() {
                Read::Events(some) => {
                    assert_eq!(caught_up, 0, "caught up means that what existed has been returned");
                    events += some.len();
                }
                Read::CaughtUp => caught_up += 1,
                Read::End => panic!("nobody set a stop"),
            }
        }
        assert_eq!((caught_up, events), (1, if round == 0 { 0 } else { 1200 }), "round {round}");
        rig.publish(rig.numbered(&topic, 0, 1200, 1)).await;
    }
}

async fn what_is_held_waits_and_is_not_lost(rig: Rig) {
    // More than any reader reads ahead.
    const N: usize = 15_000;
    let topics = [rig.topic("a").await, rig.topic("b").await];
    for (i, topic) in topics.iter().enumerate() {
        rig.publish(rig.numbered(topic, i * N, N, 1)).await;
    }
    let mut reader = rig.reader(&topics, Start::Earliest, Stop::Now).await;
    let mut got = match reader.next().await.unwrap() {
        Read::Events(events) => events.to_vec(),
        other => panic!("{other:?}"),
    };
    reader.hold(&[(topics[0].clone(), None)]);
    let before = got.len();
    let of_b = |got: &[Event]| got.iter().filter(|event| event.topic() == &topics[1]).count();
    loop {
        // All of b comes, however slowly, and then nothing.
        let patience = if of_b(&got) < N { PATIENCE } else { QUIET };
        let Ok(read) = timeout(patience, reader.next()).await else { break };
        match read.unwrap() {
            Read::Events(events) => {
                assert!(events.iter().all(|event| event.topic() == &topics[1]), "a is held");
                got.extend_from_slice(&events);
            }
            Read::CaughtUp => {}
            Read::End => panic!("the end cannot be reached while a is held"),
        }
    }
    assert_eq!(of_b(&got), N, "b goes on while a is held");
    assert!(got.len() >= before);
    reader.hold(&[(topics[1].clone(), None)]);
    got.extend(to_end(reader).await);
    for (i, topic) in topics.iter().enumerate() {
        let own: Vec<_> = got.iter().filter(|event| event.topic() == topic).map(text).collect();
        assert_eq!(own, numbers(i * N, i * N + N), "each once, in order");
    }
}

async fn dropping_next_at_random_loses_nothing(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut reader = rig.reader(std::slice::from_ref(&topic), Start::Earliest, Stop::Never).await;
    let publisher = rig.publisher().await;
    let mut random = fastrand::Rng::with_seed(11);
    let (mut sent, mut got, mut dropped) = (0, Vec::new(), 0);
    while got.len() < 4000 {
        if sent < 4000 && random.bool() {
            let size = random.usize(1..=200).min(4000 - sent);
            drop(publisher.send(rig.numbered(&topic, sent, size, 1).into()));
            sent += size;
        }
        match timeout(Duration::from_micros(random.u64(0..1500)), reader.next()).await {
            Err(_) => dropped += 1,
            Ok(Ok(Read::Events(events))) => got.extend(texts(&events)),
            Ok(Ok(Read::CaughtUp)) => {}
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert!(dropped > 0, "some futures were dropped");
    assert_eq!(got, numbers(0, 4000));
}

async fn another_client_sees_it_at_once(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut reader = rig
        .another()
        .reader(looking(std::slice::from_ref(&topic), Start::Latest, Stop::Never))
        .await
        .unwrap();
    // The reader is asleep when the event comes, each time.
    for i in 0..5 {
        assert!(timeout(Duration::from_millis(60), until_events(&mut reader)).await.is_err());
        rig.publish(rig.numbered(&topic, i, 1, 1)).await;
        let woken =
            timeout(rig.fixture.wake, until_events(&mut reader)).await.expect("a sleeping reader wakes");
        assert_eq!(texts(&woken), [i.to_string()]);
    }
}

async fn until_events(reader: &mut Box<dyn evcat::broker::Reader>) -> Vec<Event> {
    loop {
        match reader.next().await.unwrap() {
            Read::Events(events) => return events.to_vec(),
            Read::CaughtUp => {}
            Read::End => panic!("nobody set a stop"),
        }
    }
}

async fn looking_moves_nothing(rig: Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 50, 3)).await;
    let topics = std::slice::from_ref(&topic);
    let before = (rig.lag(&topic, "g").await, texts(&rig.read(topics, Start::Earliest).await));
    let after = (rig.lag(&topic, "g").await, texts(&rig.read(topics, Start::Earliest).await));
    assert_eq!((before.0, before.1.len()), (Some(50), 50));
    assert_eq!(before, after);
    let groups = rig.broker.groups(&topic).await.unwrap();
    assert_eq!(groups.len(), 1, "looking joins nothing and makes nothing: {groups:?}");
    assert_eq!(sorted(of(&rig.member(&topic, "g", working(100)).await.take(50).await)), numbers(0, 50));
}

async fn closing_in_the_middle_is_allowed(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish(rig.numbered(&topic, 0, 5000, 3)).await;
    for start in [Start::Earliest, Start::Latest] {
        let mut reader = rig.reader(std::slice::from_ref(&topic), start, Stop::Never).await;
        let _ = timeout(Duration::from_millis(20), reader.next()).await;
        timeout(PATIENCE, reader.close()).await.expect("closing ends").unwrap();
    }
}
