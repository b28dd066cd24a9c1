//! What a broker denies it refuses: by the guard before anything is done, and by the traits, without reaching it.

use std::time::Duration;

use evcat::broker::*;
use evcat::event::{Batch, Event, HeaderValue, Headers, HeadersBuf, Name, Position};

use crate::kit::*;

/// One ability, and what is to be seen where it is missing.
pub struct Refusal {
    pub ability: &'static Ability,
    pub case: Case,
}

macro_rules! refusals {
    ($($ability:ident: $name:ident;)*) => {
        &[$(Refusal {
            ability: &abilities::$ability,
            case: Case {
                name: concat!("refused: ", stringify!($name)),
                needs: &[],
                run: |rig| Box::pin(async move {
                    guarded(&rig, &abilities::$ability);
                    $name(&rig).await;
                    assert!(rig.nowhere_is_untouched(), "refused before anything was done");
                }),
            },
        }),*]
    };
}

pub const REFUSALS: &[Refusal] = refusals! {
    PEEK: looking_at_all;
    HISTORY: history;
    BY_TIME: a_time;
    BY_POSITION: a_position;
    LAST: the_last_n;
    KEY: a_key;
    HEADERS: a_header;
    DUPLICATE_HEADERS: a_header_twice;
    NULL_HEADERS: a_header_without_a_value;
    TOMBSTONE: a_tombstone;
    TIMESTAMP: a_timestamp;
    PARTITIONS: a_partition;
    DELAY: a_delay;
    DEDUP: dedup;
    ORDER: order_is_the_guards;
    ORDER_MEMBERS: order_over_members_is_the_guards;
    ATTEMPTS: attempts_are_not_made_up;
    RETRY_DELAY: a_delayed_retry;
    ATOMIC_MOVE: one_step_moves_are_the_guards;
    ATOMIC_REPLAY: one_step_replays_are_the_guards;
    ADDRESS_GROUP: one_group_alone;
    NATIVE: handing_a_queue_over;
    CREATE_TOPICS: making_topics;
    SEEK: moving_a_group;
    LAG: lag_is_not_made_up;
};

/// The function that every command asks names the flag and the ability.
fn guarded(rig: &Rig, ability: &'static Ability) {
    let have = rig.nowhere().capabilities("t");
    let (flag, missing) = missing(&have, &[("--flag", ability)]).expect("the guard refuses it");
    assert_eq!((flag, missing.name), ("--flag", ability.name));
}

fn refused<T>(result: Result<T>) {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.detail().message.split(' ').count() > 1, "'{error}' is not a sentence");
        }
    }
}

async fn beginning(rig: &Rig, start: Start) {
    let group = group_of(&["t".into()], "g");
    refused(rig.nowhere().create_group(&group, &start, None).await);
    looking(rig, start, None).await;
}

async fn looking(rig: &Rig, start: Start, partition: Option<i32>) {
    let mut options = crate::kit::looking(&["t".into()], start, Stop::Now);
    options.partition = partition;
    refused(rig.nowhere().reader(options).await);
}

async fn looking_at_all(rig: &Rig) {
    looking(rig, Start::Latest, None).await;
}

async fn history(rig: &Rig) {
    beginning(rig, Start::Earliest).await;
}

async fn a_time(rig: &Rig) {
    beginning(rig, Start::Time(1_700_000_000_000)).await;
}

async fn a_position(rig: &Rig) {
    beginning(rig, Start::At(vec![("t".into(), Position::Offset(3))])).await;
}

async fn the_last_n(rig: &Rig) {
    beginning(rig, Start::Last(3)).await;
}

async fn sending(rig: &Rig, event: Event) {
    let publisher = rig.nowhere().publisher(PublishOptions::default()).await.unwrap();
    refused(publisher.send(vec![event].into()).await.remove(0));
}

async fn a_key(rig: &Rig) {
    sending(rig, event(&"t".into(), Some(b"k"), &HeadersBuf::default(), Some(b"p"), None)).await;
}

async fn headers(rig: &Rig, all: &[(&str, HeaderValue<'_>)]) {
    let mut headers = HeadersBuf::default();
    all.iter().for_each(|(name, value)| headers.push(name.as_bytes(), *value));
    sending(rig, event(&"t".into(), None, &headers, Some(b"p"), None)).await;
}

async fn a_header(rig: &Rig) {
    headers(rig, &[("a", HeaderValue::Bytes(b"1"))]).await;
}

async fn a_header_twice(rig: &Rig) {
    headers(rig, &[("a", HeaderValue::Bytes(b"1")), ("a", HeaderValue::Bytes(b"2"))]).await;
}

async fn a_header_without_a_value(rig: &Rig) {
    headers(rig, &[("a", HeaderValue::Null)]).await;
}

async fn a_tombstone(rig: &Rig) {
    sending(rig, event(&"t".into(), None, &HeadersBuf::default(), None, None)).await;
}

async fn a_timestamp(rig: &Rig) {
    sending(rig, event(&"t".into(), None, &HeadersBuf::default(), Some(b"p"), Some(5))).await;
}

async fn a_partition(rig: &Rig) {
    let mut batch = Batch::default();
    batch.push(&"t".into(), None, Headers::default(), Some(b"p"), None, Position::Partition(1));
    sending(rig, batch.finish()[0].clone()).await;
    if rig.can(&abilities::PEEK) {
        looking(rig, Start::Latest, Some(1)).await;
    }
}

async fn a_delay(rig: &Rig) {
    let options = PublishOptions { delay: Some(Duration::from_secs(1)), ..Default::default() };
    match rig.nowhere().publisher(options).await {
        // Who holds events back in some places refuses it where the place is known.
        Ok(publisher) => refused(publisher.send(vec![said(&"t".into(), "p")].into()).await.remove(0)),
        Err(error) => refused::<()>(Err(error)),
    }
}

async fn dedup(rig: &Rig) {
    refused(rig.nowhere().create_topic("t", &[("dedup".into(), "1h".into())]).await);
}

async fn making_topics(rig: &Rig) {
    refused(rig.nowhere().create_topic("t", &[]).await);
}

async fn moving_a_group(rig: &Rig) {
    refused(rig.nowhere().seek_group("t", "g", &Start::Earliest).await);
}

/// Nothing in the traits asks for it: the capability is what the flow decides by.
async fn order_is_the_guards(rig: &Rig) {
    assert_eq!(rig.broker.capabilities("t").order, Order::None);
}

async fn order_over_members_is_the_guards(rig: &Rig) {
    assert!(rig.broker.capabilities("t").order < Order::AnyMembers);
}

async fn one_step_moves_are_the_guards(rig: &Rig) {
    assert!(!rig.broker.capabilities("t").atomic_move);
}

async fn one_step_replays_are_the_guards(rig: &Rig) {
    assert!(!rig.broker.capabilities("t").atomic_replay);
}

/// One delivery of a group at work.
async fn delivery(rig: &Rig) -> (Name, Member, Delivery) {
    let topic = rig.topic_with_group("t", "g").await;
    rig.publish(rig.numbered(&topic, 0, 1, 1)).await;
    let mut member = rig.member(&topic, "g", working(1)).await;
    let one = member.take(1).await.remove(0);
    (topic, member, one)
}

async fn attempts_are_not_made_up(rig: &Rig) {
    let (_, _, one) = delivery(rig).await;
    assert_eq!(one.attempt, None, "who does not count says so");
}

async fn a_delayed_retry(rig: &Rig) {
    let (_, member, one) = delivery(rig).await;
    refused(member.settle(&one, Settlement::Retry(Duration::from_secs(1))).await);
}

async fn one_group_alone(rig: &Rig) {
    let (topic, member, one) = delivery(rig).await;
    let moved = Settlement::Move { event: Box::new(said(&topic, "x")), only: Some("g".into()) };
    refused(member.settle(&one, moved).await);
}

async fn handing_a_queue_over(rig: &Rig) {
    refused(rig.nowhere().native_replay("t", NativeWish::default()).await);
}

async fn lag_is_not_made_up(rig: &Rig) {
    let topic = rig.topic_with_group("t", "g").await;
    let facts = rig.broker.groups(&topic).await.unwrap();
    assert!(facts.iter().all(|info| info.lag.is_none_or(|count| !count.exact)), "{facts:?}");
}
