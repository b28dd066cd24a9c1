//! Publishing: what is queued becomes one transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::block::{Blocks, FULL};
use super::checkpoint::Keeper;
use super::fault;
use super::file::{Bell, Durability, Place, Store};
use super::log::{self, Topic};
use super::patience::Patience;
use super::{MAX_EVENT, dedup, name, retention, worker};
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipt, Receipts, Result};
use crate::event::{Event, Events, Millis, Name, Position};

/// A transaction ends at this many bytes, although more is queued: receipts come in time, and the lock is let go.
const TRANSACTION: usize = 2 << 20;
/// The log of a bulk publisher.
const LOG: u64 = 64 << 20;
/// Who publishes so many transactions is no one-shot.
const LONG: u64 = 3;
/// A call with so many bytes brings them in blocks.
const MANY: usize = 4 * FULL;
/// How long dropping a publisher waits for its last checkpoint.
const LEAVE: Duration = Duration::from_secs(5);

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub async fn open(place: &Arc<Place>, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight: _, compression, delay } = options;
    let unsupported = |message| Err(Error::new(Kind::Unsupported, "publisher", "local", message));
    if compression.is_some() {
        return unsupported("events are stored as they are; there is no compression to choose");
    }
    if delay.is_some() {
        return unsupported("cannot hold an event back");
    }
    let (jobs, queue) = channel();
    let (ended, end) = channel();
    let content = Arc::new(AtomicU64::new(0));
    let done = content.clone();
    let clock = place.clock.clone();
    let (opened, is_open) = oneshot::channel();
    let (place, patience) = (place.clone(), place.patience.clone());
    worker::spawn("publisher", move || {
        // A file that is there is opened while the input is still being read. One that is not is made for the first
        // event that is not refused.
        match Store::open_existing(&place, "publisher") {
            Ok(store) => {
                let _ = opened.send(Ok(()));
                let store = run(&place, store, queue, &done);
                // Nobody may wait any more, and not for the closing either: it changes nothing that lasts.
                let _ = ended.send(());
                drop(store);
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    })?;
    patience.answer("publisher", is_open).await??;
    let end = Mutex::new(end);
    Ok(Box::new(LocalPublisher { jobs: Some(jobs), sent: AtomicU64::new(0), content, end, clock, patience }))
}

struct LocalPublisher {
    jobs: Option<Sender<Job>>,
    /// Calls of `send`.
    sent: AtomicU64,
    /// After so many of them the thread had nothing left to do.
    content: Arc<AtomicU64>,
    end: Mutex<Receiver<()>>,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    patience: Arc<Patience>,
}

/// One call of `send`.
struct Job {
    events: Events,
    /// The events in blocks, where they are many.
    blocks: Option<Blocks>,
    answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

impl Publisher for LocalPublisher {
    fn send(&self, events: Events) -> Receipts {
        let (answer, answered) = oneshot::channel();
        let n = events.len();
        if let Some(jobs) = &self.jobs {
            self.sent.fetch_add(1, Ordering::Relaxed);
            let blocks = in_blocks(&events, (self.clock)());
            // Where the thread is gone the answer is dropped with the job, and that is what is told below.
            let _ = jobs.send(Job { events, blocks, answer });
        }
        let patience = self.patience.clone();
        Box::pin(async move {
            patience.answer("send", answered).await.unwrap_or_else(|error| vec![Err(error); n])
        })
    }
}

impl Drop for LocalPublisher {
    /// Waits until the log is short: a process that ends in the middle of that has done it for nothing.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.content.load(Ordering::Acquire) == self.sent.load(Ordering::Relaxed) {
            return;
        }
        let end = self.end.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !self.patience.is_over() {
            let _ = end.recv_timeout(LEAVE);
        }
    }
}

/// Many events of one topic, put into blocks by who sends them, while the thread stores what came before. Not a few: what
/// several calls sent then shares blocks. Nor what holds an event that is refused.
fn in_blocks(events: &[Event], now: Millis) -> Option<Blocks> {
    let first = events.first()?;
    let fits = |event: &Event| {
        Arc::ptr_eq(event.topic(), first.topic())
            && event.size() <= MAX_EVENT
            && !matches!(event.position(), Position::Partition(_))
    };
    if events.len() < 2 || events.iter().map(Event::size).sum::<usize>() < MANY || !events.iter().all(fits) {
        return None;
    }
    let mut blocks = Blocks::default();
    events.iter().for_each(|event| blocks.push(event, event.timestamp().unwrap_or(now)));
    blocks.seal();
    Some(blocks)
}

/// Until nobody can send any more; gives the store back, its log short. After how many calls nothing was left to do is
/// told in `content`.
fn run(
    place: &Arc<Place>,
    mut store: Option<Store>,
    queue: Receiver<Job>,
    content: &AtomicU64,
) -> Option<Store> {
    let mut keeper = Keeper::new(LOG);
    let (mut transactions, mut calls) = (0, 0);
    while let Ok(job) = queue.recv() {
        let mut size = bytes(&job);
        let mut jobs = vec![job];
        while size < TRANSACTION
            && let Ok(job) = queue.try_recv()
        {
            size += bytes(&job);
            jobs.push(job);
        }
        let receipts = publish(place, &mut store, &mut jobs);
        transactions += 1;
        calls += jobs.len() as u64;
        if store.as_ref().is_none_or(|store| keeper.is_content(store)) {
            content.store(calls, Ordering::Release);
        }
        for (job, receipts) in jobs.into_iter().zip(receipts) {
            // Whoever dropped the future does not want to know.
            let _ = job.answer.send(receipts);
        }
        if let Some(store) = &store {
            if transactions == LONG {
                keeper.keep_beside(store);
            }
            keeper.committed(store);
        }
    }
    if let Some(store) = &store {
        keeper.end(store);
    }
    store
}

fn bytes(job: &Job) -> usize {
    job.events.iter().map(Event::size).sum()
}

/// The events of one topic, in order, put into blocks before the lock is taken.
struct Share<'a> {
    topic: &'a Name,
    /// With the index of its receipt.
    events: Vec<(usize, &'a Event)>,
    blocks: Blocks,
}

/// Stores the events of all jobs in one transaction and answers each.
fn publish(place: &Arc<Place>, store: &mut Option<Store>, jobs: &mut [Job]) -> Vec<Vec<Result<Receipt>>> {
    let now = (place.clock)();
    let made: Vec<_> = jobs.iter_mut().map(|job| job.blocks.take()).collect();
    let mut shares: Vec<Share> = vec![];
    let mut answers = Vec::with_capacity(jobs.iter().map(|job| job.events.len()).sum());
    for (job, made) in jobs.iter().zip(made) {
        let is_made = made.is_some();
        if let (Some(blocks), Some(first)) = (made, job.events.first())
            && let Ok(share) = share_of(&mut shares, first)
        {
            share.blocks.append(blocks);
        }
        for event in &job.events {
            answers.push(Ok(Receipt { position: Position::Unknown, duplicate: false }));
            let last = answers.len() - 1;
            match share_of(&mut shares, event) {
                Ok(share) => {
                    if !is_made {
                        share.blocks.push(event, event.timestamp().unwrap_or(now));
                    }
                    share.events.push((last, event));
                }
                Err(error) => answers[last] = Err(error),
            }
        }
    }
    shares.iter_mut().for_each(|share| share.blocks.seal());
    match store_all(place, store, &shares, now) {
        Ok(stored) => {
            for (share, offsets) in shares.iter().zip(stored) {
                for (k, (index, _)) in share.events.iter().enumerate() {
                    let (offset, duplicate) = offsets.of(k);
                    answers[*index] = Ok(Receipt { position: Position::Offset(offset), duplicate });
                }
            }
        }
        Err(error) => {
            for (index, _) in shares.iter().flat_map(|share| &share.events) {
                answers[*index] = Err(error.clone());
            }
        }
    }
    let mut answers = answers.into_iter();
    jobs.iter().map(|job| answers.by_ref().take(job.events.len()).collect()).collect()
}

fn store_all(
    place: &Arc<Place>,
    slot: &mut Option<Store>,
    shares: &[Share],
    now: Millis,
) -> Result<Vec<Offsets>> {
    if shares.is_empty() {
        return Ok(vec![]);
    }
    let store = match slot {
        Some(store) => store,
        None => slot.insert(Store::open(place, "send")?),
    };
    let stored = store.write(Durability::Power, Bell::Ring, |sql| {
        shares.iter().map(|share| share.store(sql, now)).collect::<fault::Result<Vec<_>>>()
    });
    stored.map_err(|fault| store.explain(fault, "send"))
}

/// The share that this event belongs to, or why it is refused.
fn share_of<'s, 'e>(shares: &'s mut Vec<Share<'e>>, event: &'e Event) -> Result<&'s mut Share<'e>> {
    let topic = event.topic();
    if event.size() > MAX_EVENT {
        let message = format!("the event has {} bytes, at most {MAX_EVENT} fit", event.size());
        return Err(Error::new(Kind::Rejected, "send", format!("topic {topic}"), message)
            .with_hint("store the payload elsewhere, and where it is in the event"));
    }
    if let Position::Partition(partition) = event.position() {
        let message = format!("a local topic has no partitions, so not {partition} either");
        return Err(Error::new(Kind::Unsupported, "send", format!("topic {topic}"), message)
            .with_hint("leave --partition out; events of one key keep their order without it"));
    }
    // From the back: events of one topic come in a row.
    let known = shares.iter().rposition(|share| Arc::ptr_eq(share.topic, topic) || share.topic == topic);
    let at = match known {
        Some(at) => at,
        None => {
            name::check("send", "topic", topic)?;
            shares.push(Share { topic, events: vec![], blocks: Blocks::default() });
            shares.len() - 1
        }
    };
    Ok(&mut shares[at])
}

/// Where the events of a share lie now.
enum Offsets {
    /// One after the other from here.
    From(i64),
    /// Each for itself, and whether it was there before.
    Each(Vec<(i64, bool)>),
}

impl Offsets {
    fn of(&self, k: usize) -> (i64, bool) {
        match self {
            Offsets::From(first) => (first + k as i64, false),
            Offsets::Each(each) => each[k],
        }
    }
}

impl Share<'_> {
    fn store(&self, sql: &Connection, now: Millis) -> fault::Result<Offsets> {
        let topic = log::make_topic(sql, self.topic)?;
        let offsets = if topic.dedup_ms.is_some() {
            Offsets::Each(self.store_unseen(sql, &topic, now)?)
        } else {
            Offsets::From(log::append(sql, &topic, self.blocks.sealed(), now)?)
        };
        retention::step(sql, &topic, now)?;
        Ok(offsets)
    }

    /// Leaves out what is there already, so the blocks that were made do not serve.
    fn store_unseen(&self, sql: &Connection, topic: &Topic, now: Millis) -> fault::Result<Vec<(i64, bool)>> {
        let mut next = log::end(sql, topic)?.next;
        let mut blocks = Blocks::default();
        let mut ours: HashMap<&str, i64> = HashMap::new();
        let mut offsets = Vec::with_capacity(self.events.len());
        for (_, event) in &self.events {
            let id = dedup::id_of(event.headers());
            if let Some(id) = id {
                let first = match ours.get(id) {
                    Some(first) => Some(*first),
                    None => dedup::find(sql, topic, id, now)?,
                };
                if let Some(first) = first {
                    offsets.push((first, true));
                    continue;
                }
                ours.insert(id, next);
                dedup::remember(sql, topic, id, next)?;
            }
            blocks.push(event, event.timestamp().unwrap_or(now));
            offsets.push((next, false));
            next += 1;
        }
        log::append(sql, topic, &blocks.finish(), now)?;
        Ok(offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, event, full, text, with_id};
    use super::*;
    use crate::broker::Broker;
    use crate::event::own;

    #[tokio::test]
    async fn offsets_are_dense_per_topic_whatever_the_batches() {
        let bench = Bench::new();
        let publisher = bench.broker.publisher(PublishOptions::default()).await.unwrap();
        let many = |from: i64, to: i64| {
            (from..to).map(|i| event("a", &"x".repeat(i as usize % 300), None)).collect()
        };
        let waiting: Vec<Receipts> = [many(0, 1), many(1, 500), many(500, 501), many(501, 1500)]
            .into_iter()
            .map(|batch| publisher.send(batch))
            .collect();
        let mut offsets = vec![];
        for receipts in waiting {
            offsets.extend(receipts.await.into_iter().map(|r| r.unwrap().position.offset().unwrap()));
        }
        assert_eq!(offsets, (0..1500).collect::<Vec<_>>());
        let mixed = vec![event("b", "0", None), event("a", "1500", None), event("b", "1", None)];
        assert_eq!(bench.offsets(mixed).await, [0, 1500, 1]);

        let store = bench.store();
        let topic = log::topic(store.sql(), "a").unwrap().unwrap();
        for offset in [0, 499, 500, 1499] {
            let event = log::event_at(store.sql(), &topic, offset).unwrap().unwrap();
            assert_eq!(event.payload().unwrap().len() as i64, offset % 300);
            assert_eq!((event.position(), event.timestamp()), (&Position::Offset(offset), Some(1_000_000)));
        }
        assert!(log::event_at(store.sql(), &topic, 1501).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_refused_does_not_hold_up_the_rest() {
        let bench = Bench::new();
        let long = "x".repeat(1000);
        let receipts = bench
            .publish(vec![
                event("a", "0", None),
                event("", "?", None),
                event(&long, "?", None),
                event("a", "1", None),
            ])
            .await;
        let kinds: Vec<_> =
            receipts.iter().map(|r| r.as_ref().map(|r| r.position.clone()).map_err(Error::kind)).collect();
        let invalid = || Err(Kind::Invalid);
        assert_eq!(kinds, [Ok(Position::Offset(0)), invalid(), invalid(), Ok(Position::Offset(1))]);
    }

    #[tokio::test]
    async fn an_id_is_known_for_as_long_as_the_topic_says() {
        let bench = Bench::new();
        bench.broker.create_topic("d", &[("dedup".into(), "10s".into())]).await.unwrap();
        let receipts = bench
            .publish(vec![
                with_id("d", "a", "1"),
                with_id("d", "b", "2"),
                with_id("d", "again", "1"),
                event("d", "c", None),
            ])
            .await;
        let told = |receipts: Vec<Result<Receipt>>| -> Vec<(i64, bool)> {
            receipts
                .into_iter()
                .map(|r| r.map(|r| (r.position.offset().unwrap(), r.duplicate)).unwrap())
                .collect()
        };
        assert_eq!(told(receipts), [(0, false), (1, false), (0, true), (2, false)]);
        assert_eq!(
            told(bench.publish(vec![with_id("d", "again", "2"), event("d", "c", None)]).await),
            [(1, true), (3, false)]
        );
        let copy = full("d", "back", None, &[("ce_id", "1"), (own::REPLAY_RUN, "r1")]);
        assert_eq!(
            told(bench.publish(vec![copy]).await),
            [(4, false)],
            "a replay is meant to be there twice"
        );
        bench.set_clock(1_000_000 + 10_001);
        assert_eq!(told(bench.publish(vec![with_id("d", "late", "2")]).await), [(5, false)]);
        assert_eq!(told(bench.publish(vec![with_id("d", "late", "2")]).await), [(5, true)]);
        assert_eq!(
            told(bench.publish(vec![with_id("other", "x", "2")]).await),
            [(0, false)],
            "ids belong to a topic"
        );
    }

    #[tokio::test]
    async fn retention_by_count_is_exact_and_by_age_whole_blocks() {
        let bench = Bench::new();
        bench.broker.create_topic("n", &[("retention".into(), "100".into())]).await.unwrap();
        bench.broker.create_topic("t", &[("retention".into(), "10s".into())]).await.unwrap();
        for i in 0..5 {
            let payload = i.to_string().repeat(100);
            bench.offsets((0..300).map(|_| event("n", &payload, None)).collect()).await;
            bench.offsets(vec![event("t", &payload, Some(5))]).await;
            bench.set_clock(1_000_000 + (i + 1) * 4_000);
        }
        let store = bench.store();
        let of = |name: &str| {
            let topic = log::topic(store.sql(), name).unwrap().unwrap();
            let end = log::end(store.sql(), &topic).unwrap().next;
            (topic.first, end, log::event_at(store.sql(), &topic, topic.first).unwrap().map(|e| text(&e)))
        };
        assert_eq!(of("n"), (1400, 1500, Some("4".repeat(100))));
        let (first, end, _) = of("t");
        assert_eq!((first, end), (2, 5), "stored at 0, 4, 8, 12, 16 s; the last publish was at 16 s");
        let rows: i64 = store.sql().query_row("SELECT count(*) FROM block", [], |r| r.get(0)).unwrap();
        assert!(rows < 10, "{rows} blocks are left");
    }

    #[tokio::test]
    async fn two_publishers_at_once_lose_nothing() {
        let bench = Bench::new();
        let send = || async {
            let publisher = bench.broker.publisher(PublishOptions::default()).await.unwrap();
            let mut offsets = vec![];
            for i in 0..100 {
                let receipts = publisher.send(vec![event("a", &i.to_string(), None)].into()).await;
                offsets.push(receipts[0].as_ref().unwrap().position.offset().unwrap());
            }
            offsets
        };
        let (a, b) = futures_util::join!(send(), send());
        assert!(a.is_sorted() && b.is_sorted());
        let mut all = [a, b].concat();
        all.sort();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
    }
}
