//! What the cases are written with: a broker to try, events to send, members to work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evcat::broker::*;
use evcat::event::{Batch, Event, HeadersBuf, Name, Position};
use tokio::time::{Instant, timeout, timeout_at};

use crate::fixture::{Fixture, World};
pub use crate::member::{Member, Watch};

/// How long something that must happen may take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long something that must not happen is waited for.
pub const QUIET: Duration = Duration::from_millis(150);

/// One thing that holds on every broker with these abilities. It fails by panicking.
pub struct Case {
    /// The function's name.
    pub name: &'static str,
    /// What it needs, and so proves.
    pub needs: &'static [&'static Ability],
    /// Runs it on a fresh broker.
    pub run: fn(Rig) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// A list of cases: the abilities each one proves, and its function.
macro_rules! cases {
    ($([$($ability:ident),*] => $name:ident;)*) => {
        &[$($crate::kit::Case {
            name: stringify!($name),
            needs: &[$(&evcat::broker::abilities::$ability),*],
            run: |rig| Box::pin($name(rig)),
        }),*]
    };
}

pub(crate) use cases;

/// A broker of one case's own.
pub struct Rig {
    /// What is tried.
    pub broker: Arc<dyn Broker>,
    /// The row it was made from.
    pub fixture: &'static Fixture,
    world: Box<dyn World>,
}

impl Rig {
    pub fn new(fixture: &'static Fixture) -> Rig {
        let world = (fixture.world)();
        Rig { broker: world.connect(), fixture, world }
    }

    /// Another client of the same broker, as another process would be.
    pub fn another(&self) -> Arc<dyn Broker> {
        self.world.connect()
    }

    /// A client whose broker is not there, so that only what needs no I/O can answer.
    pub fn nowhere(&self) -> Arc<dyn Broker> {
        self.world.nowhere()
    }

    /// Cuts the connections of all members.
    pub fn cut(&self) {
        self.world.cut();
    }

    /// Whether nothing has been made where nobody is.
    pub fn nowhere_is_untouched(&self) -> bool {
        self.world.nowhere_is_untouched()
    }

    pub fn can(&self, ability: &Ability) -> bool {
        (ability.has)(&self.broker.capabilities("t"))
    }

    /// A topic that is there and empty.
    pub async fn topic(&self, name: &str) -> Name {
        if self.can(&abilities::CREATE_TOPICS) {
            self.broker.create_topic(name, &[]).await.unwrap();
        }
        name.into()
    }

    /// The same in one partition, so that all of it has one order.
    pub async fn topic_in_order(&self, name: &str) -> Name {
        if self.can(&abilities::PARTITIONS) {
            self.broker.create_topic(name, &[("partitions".into(), "1".into())]).await.unwrap();
            return name.into();
        }
        self.topic(name).await
    }

    /// A topic with one group, and enough partitions, where there are any, that each of a few members has some.
    pub async fn topic_for_many(&self, name: &str, group: &str) -> Name {
        if !self.can(&abilities::PARTITIONS) {
            return self.topic_with_group(name, group).await;
        }
        self.broker.create_topic(name, &[("partitions".into(), "6".into())]).await.unwrap();
        let topic: Name = name.into();
        self.group(&topic, group, self.whole_history()).await;
        topic
    }

    /// A topic with one group that gets all of it.
    pub async fn topic_with_group(&self, name: &str, group: &str) -> Name {
        let topic = self.topic(name).await;
        self.group(&topic, group, self.whole_history()).await;
        topic
    }

    /// Where a new group of an empty topic begins: a broker without history knows no beginning.
    pub fn whole_history(&self) -> Start {
        if self.can(&abilities::HISTORY) { Start::Earliest } else { Start::Latest }
    }

    /// Publishes before anybody is there to get it, which a broker may refuse as going nowhere.
    pub async fn publish_to_nobody(&self, events: Vec<Event>) {
        for receipt in self.publisher().await.send(events.into()).await {
            let nowhere = receipt.as_ref().is_err_and(|error| error.kind() == Kind::Unroutable);
            assert!(receipt.is_ok() || (nowhere && !self.can(&abilities::HISTORY)), "{receipt:?}");
        }
    }

    /// Whether a receipt says where an event was found, as it does wherever places are told.
    pub fn same_place(&self, receipt: &Receipt, event: &Event) -> bool {
        &receipt.position == event.position() || !self.can(&abilities::BY_POSITION)
    }

    /// Whether this is the lag; an estimate tells no more than whether there is any.
    pub async fn lag_is(&self, topic: &Name, group: &str, want: u64) -> bool {
        match self.facts(topic, group).await.lag {
            Some(count) if count.exact => count.events == want,
            Some(count) => (count.events == 0) == (want == 0),
            None => false,
        }
    }

    pub async fn group(&self, topic: &Name, group: &str, from: Start) -> Vec<String> {
        self.broker.create_group(&group_of(&[topic.clone()], group), &from, None).await.unwrap()
    }

    pub async fn publisher(&self) -> Box<dyn Publisher> {
        self.broker.publisher(PublishOptions::default()).await.unwrap()
    }

    /// Publishes, and fails unless every event was acknowledged.
    pub async fn publish(&self, events: Vec<Event>) -> Vec<Receipt> {
        let topics: Vec<Name> = events.iter().map(|event| event.topic().clone()).collect();
        let before = self.lags(&topics).await;
        let receipts = self.publisher().await.send(events.into()).await;
        self.arrived(&topics, before).await;
        receipts.into_iter().map(Result::unwrap).collect()
    }

    /// What waits in the groups of these topics, where a broker hands events on to them after it has acknowledged them.
    async fn lags(&self, topics: &[Name]) -> Vec<(Name, String, u64)> {
        let mut lags = Vec::new();
        if self.fixture.habits.hands_on_later {
            for topic in topics.iter().collect::<std::collections::BTreeSet<_>>() {
                let groups = self.broker.groups(topic).await.unwrap();
                let lag = |info: GroupInfo| (topic.clone(), info.group, info.lag.unwrap().events);
                lags.extend(groups.into_iter().map(lag));
            }
        }
        lags
    }

    /// Waits until the groups have what was published to these topics, or members have taken it meanwhile: then nothing
    /// changes any more.
    async fn arrived(&self, topics: &[Name], before: Vec<(Name, String, u64)>) {
        let published = |topic: &Name| topics.iter().filter(|other| *other == topic).count() as u64;
        let (mut last, mut since) = (before.clone(), Instant::now());
        loop {
            let now = self.lags(topics).await;
            let has_all =
                |(was, is): (&(Name, String, u64), &(Name, String, u64))| is.2 >= was.2 + published(&was.0);
            if before.iter().zip(&now).all(has_all) || since.elapsed() > Duration::from_secs(1) {
                return;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    /// `n` events with payloads `from..from + n`, over so many keys (0: no key; fewer where a broker has none).
    pub fn numbered(&self, topic: &Name, from: usize, n: usize, keys: usize) -> Vec<Event> {
        let keyed = keys > 0 && self.can(&abilities::KEY);
        let key = |i: usize| keyed.then(|| format!("k{}", i % keys).into_bytes());
        batch(topic, (from..from + n).map(|i| (key(i), Some(i.to_string().into_bytes()))))
    }

    pub async fn reader(&self, topics: &[Name], start: Start, stop: Stop) -> Box<dyn Reader> {
        self.broker.reader(looking(topics, start, stop)).await.unwrap()
    }

    /// Everything from `start` to the end as it is now.
    pub async fn read(&self, topics: &[Name], start: Start) -> Vec<Event> {
        to_end(self.reader(topics, start, Stop::Now).await).await
    }

    /// Begins to look, so that what is published from now on is seen, by whatever way this broker has.
    pub async fn watch(&self, topic: &Name) -> Watch {
        if self.broker.capabilities(topic).peek {
            return Watch::Look(self.reader(std::slice::from_ref(topic), Start::Latest, Stop::Never).await);
        }
        if self.can(&abilities::PEEK) {
            // It is a queue by itself: what lies there is seen by taking it.
            let source = Source::DeadLetters { dlq: topic.clone(), chosen: None };
            return Watch::Work(Member::of(&self.broker, source, working(1000)).await);
        }
        self.group(topic, "watch", Start::Latest).await;
        Watch::Work(self.member(topic, "watch", working(1000)).await)
    }

    pub async fn member(&self, topic: &Name, group: &str, options: SubscribeOptions) -> Member {
        Member::of(&self.broker, group_of(&[topic.clone()], group), options).await
    }

    /// What the broker says of one group.
    pub async fn facts(&self, topic: &Name, group: &str) -> GroupInfo {
        let all = self.broker.groups(topic).await.unwrap();
        all.into_iter().find(|info| info.group == group).expect("the group is listed")
    }

    /// The lag of a group, where it is known.
    pub async fn lag(&self, topic: &Name, group: &str) -> Option<u64> {
        self.facts(topic, group).await.lag.map(|count| count.events)
    }
}

pub fn group_of(topics: &[Name], group: &str) -> Source {
    Source::Group { topics: topics.to_vec(), group: group.into() }
}

pub fn looking(topics: &[Name], start: Start, stop: Stop) -> ReadOptions {
    ReadOptions { topics: topics.to_vec(), partition: None, start, stop, unsettled: false }
}

/// A member with so many in flight and a lease that outlasts every case.
pub fn working(in_flight: usize) -> SubscribeOptions {
    SubscribeOptions {
        stop: Stop::Never,
        in_flight,
        lease: Duration::from_secs(120),
        grace: Duration::from_secs(5),
        ordered: true,
    }
}

/// Key and payload.
pub type KeyAndPayload = (Option<Vec<u8>>, Option<Vec<u8>>);

pub fn batch(topic: &Name, parts: impl IntoIterator<Item = KeyAndPayload>) -> Vec<Event> {
    let mut batch = Batch::default();
    for (key, payload) in parts {
        let headers = HeadersBuf::default();
        batch.push(topic, key.as_deref(), headers.as_headers(), payload.as_deref(), None, Position::Unknown);
    }
    batch.finish().to_vec()
}

/// One event with all of its parts.
pub fn event(
    topic: &Name,
    key: Option<&[u8]>,
    headers: &HeadersBuf,
    payload: Option<&[u8]>,
    timestamp: Option<i64>,
) -> Event {
    let mut batch = Batch::default();
    batch.push(topic, key, headers.as_headers(), payload, timestamp, Position::Unknown);
    batch.finish()[0].clone()
}

/// One event without key or headers.
pub fn said(topic: &Name, payload: &str) -> Event {
    event(topic, None, &HeadersBuf::default(), Some(payload.as_bytes()), None)
}

/// The payload as text.
pub fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.payload().unwrap_or(b"(tombstone)")).into_owned()
}

pub fn texts<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    events.into_iter().map(text).collect()
}

pub fn of(deliveries: &[Delivery]) -> Vec<String> {
    texts(deliveries.iter().map(|delivery| &delivery.event))
}

/// `from..to` as the payloads of `numbered` are.
pub fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|i| i.to_string()).collect()
}

pub fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_by_key(|text| (text.len(), text.clone()));
    texts
}

/// Reads until the reader says that the stop is reached.
pub async fn to_end(mut reader: Box<dyn Reader>) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        match timeout(PATIENCE, reader.next()).await.expect("the reader reaches its stop").unwrap() {
            Read::Events(events) => {
                assert!(!events.is_empty(), "a batch is never empty");
                all.extend_from_slice(&events);
            }
            Read::CaughtUp => {}
            Read::End => break,
        }
    }
    reader.close().await.unwrap();
    all
}

/// Reads exactly `n` events.
pub async fn next_n(reader: &mut Box<dyn Reader>, n: usize) -> Vec<Event> {
    let mut all = Vec::new();
    let until = Instant::now() + PATIENCE;
    while all.len() < n {
        match timeout_at(until, reader.next()).await {
            Err(_) => panic!("{} of {n} events came: {:?}", all.len(), texts(&all)),
            Ok(Ok(Read::Events(events))) => all.extend_from_slice(&events),
            Ok(Ok(Read::CaughtUp)) => {}
            Ok(Ok(Read::End)) => panic!("the end after {} of {n} events", all.len()),
            Ok(Err(error)) => panic!("{error}"),
        }
    }
    assert_eq!(all.len(), n, "more than were published: {:?}", texts(&all));
    all
}
