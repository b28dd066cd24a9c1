//! Publishing: a receipt for each event, in order, and every part of it as it was sent.

use std::collections::HashSet;
use std::time::Duration;

use evcat::broker::{Kind, Order, PublishOptions, Receipt, Start, abilities};
use evcat::event::{Event, HeaderValue, Headers, HeadersBuf, Position};

use crate::kit::*;

pub const CASES: &[Case] = cases! {
    [] => receipts_come_in_order;
    [] => an_empty_topic_takes_a_batch_of_every_size;
    [] => the_order_of_the_calls_is_the_order_of_the_events;
    [] => one_batch_goes_to_several_topics;
    [] => two_publishers_keep_their_own_order;
    [] => dropping_the_receipts_does_not_unsend;
    [] => payloads_are_bytes;
    [] => a_mebibyte_goes_through;
    [] => an_event_that_is_too_large_is_refused_alone;
    [] => what_nobody_gets_is_kept_or_told;
    [KEY] => keys_are_bytes_and_null_is_not_empty;
    [TOMBSTONE] => a_tombstone_is_not_empty;
    [HEADERS] => headers_keep_their_order;
    [HEADERS, DUPLICATE_HEADERS] => a_header_may_stand_twice;
    [HEADERS, NULL_HEADERS] => a_header_without_a_value_is_not_empty;
    [HEADERS] => as_many_headers_as_are_allowed_and_not_one_more;
    [HEADERS] => typed_headers_keep_what_they_say;
    [TIMESTAMP] => timestamps_are_kept_to_the_millisecond;
    [] => an_event_without_a_timestamp_gets_one_or_none;
    [DEDUP, HEADERS] => an_id_seen_before_is_not_stored_again;
    [DEDUP, HEADERS] => ids_count_only_where_they_were_asked_for;
    [DELAY] => a_delayed_event_comes_later;
    [PARTITIONS] => a_partition_can_be_chosen;
};

async fn receipts_come_in_order(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let receipts = rig.publish(rig.numbered(&topic, 0, 20, 3)).await;
    assert_eq!(receipts.len(), 20);
    assert!(receipts.iter().all(|receipt| !receipt.duplicate));
    let events = watch.take(20).await;
    for event in &events {
        let sent = &receipts[text(event).parse::<usize>().unwrap()];
        assert!(rig.same_place(sent, event), "the receipt says where {} lies", text(event));
        assert_eq!(event.topic(), &topic);
    }
    let places: HashSet<_> =
        receipts.iter().map(|receipt| &receipt.position).filter(|at| **at != Position::Unknown).collect();
    assert!(places.len() == 20 || places.is_empty(), "no two events lie in one place: {places:?}");
    assert!(places.len() == 20 || !rig.can(&abilities::BY_POSITION), "who reads by position tells it");
}

async fn an_empty_topic_takes_a_batch_of_every_size(rig: Rig) {
    let publisher = rig.publisher().await;
    for size in [1, 2, 999, 3000] {
        let topic = rig.topic(&format!("t{size}")).await;
        let mut watch = rig.watch(&topic).await;
        let receipts = publisher.send(rig.numbered(&topic, 0, size, 1).into()).await;
        assert_eq!(receipts.into_iter().filter(Result::is_ok).count(), size);
        assert_eq!(sorted(texts(&watch.take(size).await)), numbers(0, size));
    }
}

async fn the_order_of_the_calls_is_the_order_of_the_events(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let publisher = rig.publisher().await;
    let (mut sent, mut receipts) = (0, Vec::new());
    for size in (1..40).chain([500, 1, 1]) {
        receipts.push(publisher.send(rig.numbered(&topic, sent, size, 1).into()));
        sent += size;
    }
    for receipt in futures_util::future::join_all(receipts).await.concat() {
        receipt.unwrap();
    }
    let got = texts(&watch.take(sent).await);
    if rig.broker.capabilities("t").order > Order::None {
        assert_eq!(got, numbers(0, sent));
    } else {
        assert_eq!(sorted(got), numbers(0, sent));
    }
}

async fn one_batch_goes_to_several_topics(rig: Rig) {
    let (a, b) = (rig.topic("a").await, rig.topic("b").await);
    let (mut watch_a, mut watch_b) = (rig.watch(&a).await, rig.watch(&b).await);
    let mixed = ["0", "1", "2", "3", "4"].map(|n| said(if n < "3" && n != "1" { &a } else { &b }, n));
    let receipts = rig.publish(mixed.to_vec()).await;
    let (in_a, in_b) = (watch_a.take(2).await, watch_b.take(3).await);
    assert_eq!((sorted(texts(&in_a)), sorted(texts(&in_b))), (list(&["0", "2"]), list(&["1", "3", "4"])));
    for event in in_a.iter().chain(&in_b) {
        assert!(rig.same_place(&receipts[text(event).parse::<usize>().unwrap()], event));
    }
}

async fn two_publishers_keep_their_own_order(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let (one, two) =
        (rig.publisher().await, rig.another().publisher(PublishOptions::default()).await.unwrap());
    let mut receipts = Vec::new();
    for i in 0..50 {
        receipts.push(one.send(rig.numbered(&topic, i * 2, 2, 1).into()));
        receipts.push(two.send(rig.numbered(&topic, 1000 + i * 2, 2, 1).into()));
    }
    let receipts: Vec<Receipt> =
        futures_util::future::join_all(receipts).await.concat().into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.len(), 200);
    let got: Vec<usize> = watch.take(200).await.iter().map(|event| text(event).parse().unwrap()).collect();
    for own in [0..100, 1000..1100] {
        let mut seen: Vec<_> = got.iter().copied().filter(|n| own.contains(n)).collect();
        if rig.broker.capabilities("t").order == Order::None {
            seen.sort();
        }
        assert_eq!(seen, own.collect::<Vec<_>>());
    }
}

async fn dropping_the_receipts_does_not_unsend(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let publisher = rig.publisher().await;
    for i in 0..10 {
        drop(publisher.send(rig.numbered(&topic, i, 1, 1).into()));
    }
    publisher.send(rig.numbered(&topic, 10, 1, 1).into()).await.remove(0).unwrap();
    assert_eq!(sorted(texts(&watch.take(11).await)), numbers(0, 11));
}

/// Sends events one by one and answers them as they came back.
async fn there_and_back(rig: &Rig, events: Vec<Event>) -> Vec<Event> {
    let topic = rig.topic(events[0].topic()).await;
    let mut watch = rig.watch(&topic).await;
    let mut back = Vec::new();
    for event in events {
        rig.publish(vec![event]).await;
        back.extend(watch.take(1).await);
    }
    back
}

async fn payloads_are_bytes(rig: Rig) {
    let every: Vec<u8> = (0..=255).collect();
    let payloads = [&b""[..], b"\0", b"\n", b"null", b"\xff\xfe", b"{\"a\":1}", &every];
    let events = batch(&"t".into(), payloads.map(|payload| (None, Some(payload.to_vec()))));
    for (back, sent) in there_and_back(&rig, events).await.iter().zip(payloads) {
        assert_eq!(back.payload(), Some(sent));
    }
}

async fn a_mebibyte_goes_through(rig: Rig) {
    let most = rig.broker.capabilities("t").max_event.unwrap_or(u64::MAX).min(1 << 20) as usize;
    let payload: Vec<u8> = (0..most).map(|i| (i * 31 % 251) as u8).collect();
    let topic = "t".into();
    let events = batch(&topic, [(None, Some(payload.clone())), (None, Some(b"after".to_vec()))]);
    let back = there_and_back(&rig, events).await;
    assert!(back[0].payload() == Some(&payload), "a large payload comes back as it was");
    assert_eq!(text(&back[1]), "after");
}

async fn an_event_that_is_too_large_is_refused_alone(rig: Rig) {
    // Nobody wants to send so much only to see it refused.
    let most = rig.broker.capabilities("t").max_event.unwrap_or(u64::MAX);
    if most > 64 << 20 {
        return;
    }
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let large = batch(&topic, [(None, Some(vec![b'x'; most as usize + 1]))]);
    let sent = [large, vec![said(&topic, "after")]].concat();
    let receipts = rig.publisher().await.send(sent.into()).await;
    let error = receipts[0].as_ref().expect_err("it is too large");
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
    assert!(receipts[1].is_ok());
    assert_eq!(texts(&watch.take(1).await), ["after"]);
}

async fn what_nobody_gets_is_kept_or_told(rig: Rig) {
    let topic = rig.topic("t").await;
    rig.publish_to_nobody(vec![said(&topic, "0")]).await;
    if rig.can(&abilities::HISTORY) {
        assert_eq!(texts(&rig.read(&[topic], Start::Earliest).await), ["0"]);
    }
}

async fn keys_are_bytes_and_null_is_not_empty(rig: Rig) {
    let long = vec![b'k'; 10_000];
    let keys = [None, Some(&b""[..]), Some(b"\0\n\xff"), Some("schlüssel".as_bytes()), Some(&long)];
    let events = batch(&"t".into(), keys.map(|key| (key.map(<[u8]>::to_vec), Some(b"p".to_vec()))));
    for (back, key) in there_and_back(&rig, events).await.iter().zip(keys) {
        assert_eq!(back.key(), key);
    }
}

async fn a_tombstone_is_not_empty(rig: Rig) {
    let key = rig.can(&abilities::KEY).then(|| b"k".to_vec());
    let events = batch(&"t".into(), [(key.clone(), None), (key, Some(Vec::new()))]);
    let back = there_and_back(&rig, events).await;
    assert_eq!((back[0].payload(), back[1].payload()), (None, Some(&b""[..])));
}

fn with_headers(headers: &HeadersBuf) -> Vec<Event> {
    vec![event(&"t".into(), None, headers, Some(b"p"), None)]
}

/// The headers that were sent, without what a broker adds of its own.
fn ours<'a>(back: &'a Event, sent: &HeadersBuf) -> Vec<(&'a [u8], HeaderValue<'a>)> {
    let names: Vec<_> = sent.as_headers().iter().map(|(name, _)| name.to_vec()).collect();
    back.headers().iter().filter(|(name, _)| names.iter().any(|n| n == name)).collect()
}

async fn headers_keep_their_order(rig: Rig) {
    let mut headers = HeadersBuf::default();
    for (name, value) in [("z", "1"), ("a", "2"), ("m", "drei"), ("b", "{\"x\": 1}"), ("empty", "")] {
        headers.push_str(name, value);
    }
    let back = there_and_back(&rig, with_headers(&headers)).await;
    assert_eq!(ours(&back[0], &headers), headers.as_headers().iter().collect::<Vec<_>>());
}

async fn as_many_headers_as_are_allowed_and_not_one_more(rig: Rig) {
    let most = rig.broker.capabilities("t").max_headers;
    let mut headers = HeadersBuf::default();
    (0..most.unwrap_or(200)).for_each(|i| headers.push_str(&format!("h{i}"), "x"));
    let back = there_and_back(&rig, with_headers(&headers)).await;
    assert_eq!(ours(&back[0], &headers), headers.as_headers().iter().collect::<Vec<_>>());
    if most.is_some() {
        headers.push_str("one-more", "x");
        let error = rig.publisher().await.send(with_headers(&headers).into()).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected, "{error}");
    }
}

async fn a_header_may_stand_twice(rig: Rig) {
    let mut headers = HeadersBuf::default();
    ["1", "2", "1"].iter().for_each(|value| headers.push_str("a", value));
    headers.push_str("b", "");
    let back = there_and_back(&rig, with_headers(&headers)).await;
    assert_eq!(ours(&back[0], &headers), headers.as_headers().iter().collect::<Vec<_>>());
}

async fn a_header_without_a_value_is_not_empty(rig: Rig) {
    let mut headers = HeadersBuf::default();
    headers.push(b"none", HeaderValue::Null);
    headers.push(b"empty", HeaderValue::Bytes(b""));
    headers.push(b"bytes", HeaderValue::Bytes(b"\0\xff"));
    let back = there_and_back(&rig, with_headers(&headers)).await;
    assert_eq!(ours(&back[0], &headers), headers.as_headers().iter().collect::<Vec<_>>());
}

async fn typed_headers_keep_what_they_say(rig: Rig) {
    let mut headers = HeadersBuf::default();
    headers.push(b"int", HeaderValue::Int(-7));
    headers.push(b"float", HeaderValue::Float(0.5));
    headers.push(b"yes", HeaderValue::Bool(true));
    headers.push(b"time", HeaderValue::Time(1_700_000_000_000));
    headers.push(b"table", HeaderValue::Table("{\"a\":[1,null]}"));
    let back = there_and_back(&rig, with_headers(&headers)).await;
    let got = ours(&back[0], &headers);
    assert_eq!(got.len(), 5, "{got:?}");
    for ((name, sent), (same, got)) in Headers::iter(headers.as_headers()).zip(got) {
        assert_eq!(name, same);
        // A broker whose headers are bytes says it as text, in the form the canonical line has.
        assert!(got == sent || got.as_str().is_some_and(|text| !text.is_empty()), "{sent:?} became {got:?}");
    }
}

async fn timestamps_are_kept_to_the_millisecond(rig: Rig) {
    let times = [1_700_000_000_123, 0, 1, 4_070_908_800_000, 1_600_000_000_999];
    let events = times.map(|at| event(&"t".into(), None, &HeadersBuf::default(), Some(b"p"), Some(at)));
    let back = there_and_back(&rig, events.to_vec()).await;
    assert_eq!(back.iter().map(Event::timestamp).collect::<Vec<_>>(), times.map(Some));
}

async fn an_event_without_a_timestamp_gets_one_or_none(rig: Rig) {
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now();
    let back = there_and_back(&rig, vec![said(&"t".into(), "x")]).await;
    match back[0].timestamp() {
        // A broker's own clock may be a little off.
        Some(at) => assert!((before - 5_000..=now() + 5_000).contains(&at), "{at}"),
        None => assert!(!rig.can(&abilities::TIMESTAMP), "a broker that keeps timestamps gives one"),
    }
}

fn with_id(topic: &evcat::event::Name, id: &str, payload: &str, run: bool) -> Event {
    let mut headers = HeadersBuf::default();
    headers.push_str("ce_id", id);
    if run {
        headers.push_str(evcat::event::own::REPLAY_RUN, "r1");
    }
    event(topic, None, &headers, Some(payload.as_bytes()), None)
}

async fn an_id_seen_before_is_not_stored_again(rig: Rig) {
    let options = [("dedup".to_owned(), "1h".to_owned())];
    rig.broker.create_topic("t", &options).await.unwrap();
    let topic = "t".into();
    let mut watch = rig.watch(&topic).await;
    let first = rig.publish(vec![with_id(&topic, "a", "0", false), with_id(&topic, "b", "1", false)]).await;
    let again =
        [("a", "x", false), ("c", "2", false), ("a", "x", false), ("c", "x", false), ("b", "3", true)];
    let again = again.map(|(id, payload, run)| with_id(&topic, id, payload, run));
    let receipts = rig.publish(again.to_vec()).await;
    let duplicates: Vec<_> = receipts.iter().map(|receipt| receipt.duplicate).collect();
    assert_eq!(duplicates, [true, false, true, true, false], "a copy put back is never a duplicate");
    assert_eq!(
        receipts[0].position, first[0].position,
        "a duplicate's receipt says where the first one lies"
    );
    assert_eq!(receipts[3].position, receipts[1].position, "also within one batch");
    let other = rig.another().publisher(PublishOptions::default()).await.unwrap();
    assert!(other.send(vec![with_id(&topic, "a", "x", false)].into()).await.remove(0).unwrap().duplicate);
    rig.publish(vec![said(&topic, "4"), said(&topic, "5")]).await;
    assert_eq!(texts(&watch.take(6).await), numbers(0, 6));
}

async fn ids_count_only_where_they_were_asked_for(rig: Rig) {
    let topic = rig.topic("plain").await;
    let mut watch = rig.watch(&topic).await;
    let receipts =
        rig.publish(vec![with_id(&topic, "a", "0", false), with_id(&topic, "a", "1", false)]).await;
    assert!(receipts.iter().all(|receipt| !receipt.duplicate));
    assert_eq!(texts(&watch.take(2).await), numbers(0, 2));
    for name in ["one", "two"] {
        rig.broker.create_topic(name, &[("dedup".into(), "1h".into())]).await.unwrap();
        let receipts = rig.publish(vec![with_id(&name.into(), "a", "0", false)]).await;
        assert!(!receipts[0].duplicate, "another topic's id is another id");
    }
}

async fn a_delayed_event_comes_later(rig: Rig) {
    let topic = rig.topic("t").await;
    let mut watch = rig.watch(&topic).await;
    let delay = Duration::from_secs(1);
    let options = PublishOptions { delay: Some(delay), ..Default::default() };
    let later = rig.broker.publisher(options).await.unwrap();
    let before = std::time::Instant::now();
    later.send(vec![said(&topic, "0")].into()).await.remove(0).unwrap();
    assert_eq!(texts(&watch.take(1).await), ["0"]);
    assert!(before.elapsed() >= delay - Duration::from_millis(50), "after {:?}", before.elapsed());
}

async fn a_partition_can_be_chosen(rig: Rig) {
    rig.broker.create_topic("t", &[("partitions".into(), "3".into())]).await.unwrap();
    let topic: evcat::event::Name = "t".into();
    let mut events = evcat::event::Batch::default();
    for partition in [2, 0, 2] {
        let at = evcat::event::Position::Partition(partition);
        events.push(&topic, None, Headers::default(), Some(b"p"), None, at);
    }
    let receipts = rig.publish(events.finish().to_vec()).await;
    let went: Vec<_> = receipts.iter().map(|receipt| receipt.position.partition()).collect();
    assert_eq!(went, [Some(2), Some(0), Some(2)]);
    let mut options = looking(&[topic], Start::Earliest, evcat::broker::Stop::Now);
    options.partition = Some(2);
    assert_eq!(to_end(rig.broker.reader(options.clone()).await.unwrap()).await.len(), 2);
    options.partition = Some(7);
    let error = rig.broker.reader(options).await.err().expect("there is no partition 7");
    assert_eq!(error.kind(), Kind::NotFound);
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
