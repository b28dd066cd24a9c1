//! Publishing: what is queued becomes one transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoint::Keeper;
use super::file::{Place, Store};
use super::one_shot::OneShot;
use super::patience::Patience;
use super::publish_work::{Answer, Call, publish};
use super::worker;
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use crate::event::{Events, Millis};

/// A transaction ends at this many bytes, although more is queued: receipts come in time, and the lock is let go.
const TRANSACTION: usize = 3 << 20;
/// The log of a bulk publisher.
const LOG: u64 = 64 << 20;
/// Who publishes so many transactions is no one-shot.
const LONG: u64 = 3;
/// How long dropping a publisher waits for its last checkpoint.
const LEAVE: Duration = Duration::from_secs(5);

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub async fn open(place: &Arc<Place>, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight, compression, delay } = options;
    let unsupported = |message| Err(Error::new(Kind::Unsupported, "publisher", "local", message));
    if compression.is_some() {
        return unsupported("events are stored as they are; there is no compression to choose");
    }
    if delay.is_some() {
        return unsupported("cannot hold an event back");
    }
    if in_flight == 1
        && let Some(store) = Store::open_at_once(place)
    {
        return Ok(Box::new(OneShot::new(store)));
    }
    let (opened, is_open) = oneshot::channel();
    let for_thread = place.clone();
    let publisher = LocalPublisher::start(place, move || {
        // A file that is there is opened while the input is still being read. One that is not is made for the first
        // event that is not refused.
        match Store::open_existing(&for_thread, "publisher") {
            Ok(store) => {
                let _ = opened.send(Ok(()));
                store
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                None
            }
        }
    })?;
    place.patience.answer("publisher", is_open).await??;
    Ok(Box::new(publisher))
}

/// A publisher with a thread of its own.
pub struct LocalPublisher {
    jobs: Option<Sender<Job>>,
    /// Calls of `send`.
    sent: AtomicU64,
    /// After so many of them the thread had nothing left to do.
    content: Arc<AtomicU64>,
    end: Mutex<Receiver<()>>,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    patience: Arc<Patience>,
}

impl LocalPublisher {
    /// Starts the thread, which begins by opening the store.
    pub fn start(
        place: &Arc<Place>,
        open: impl FnOnce() -> Option<Store> + Send + 'static,
    ) -> Result<LocalPublisher> {
        let (jobs, queue) = channel();
        let (ended, end) = channel();
        let content = Arc::new(AtomicU64::new(0));
        let done = content.clone();
        let (clock, patience, place) = (place.clock.clone(), place.patience.clone(), place.clone());
        worker::spawn("publisher", move || {
            let store = run(&place, open(), queue, &done);
            // Nobody may wait any more, and not for the closing either: it changes nothing that lasts.
            let _ = ended.send(());
            drop(store);
        })?;
        let (jobs, end) = (Some(jobs), Mutex::new(end));
        Ok(LocalPublisher { jobs, sent: AtomicU64::new(0), content, end, clock, patience })
    }
}

/// One call of `send`, and where its answer goes.
type Job = (Call, oneshot::Sender<Answer>);

impl Publisher for LocalPublisher {
    fn send(&self, events: Events) -> Receipts {
        let (answer, answered) = oneshot::channel();
        let n = events.len();
        if let Some(jobs) = &self.jobs {
            self.sent.fetch_add(1, Ordering::Relaxed);
            // Where the thread is gone the answer is dropped with the job, and that is what is told below.
            let _ = jobs.send((Call::new(events, (self.clock)()), answer));
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

/// Until nobody can send any more; gives the store back, its log short. After how many calls nothing was left to do is
/// told in `content`.
fn run(
    place: &Arc<Place>,
    mut store: Option<Store>,
    queue: Receiver<Job>,
    content: &AtomicU64,
) -> Option<Store> {
    let mut keeper = Keeper::new(LOG);
    let (mut transactions, mut done) = (0, 0);
    while let Ok((call, answer)) = queue.recv() {
        let mut size = call.events.size();
        let (mut calls, mut answers) = (vec![call], vec![answer]);
        while size < TRANSACTION
            && let Ok((call, answer)) = queue.try_recv()
        {
            size += call.events.size();
            calls.push(call);
            answers.push(answer);
        }
        // Nobody is in the way of a store that waits.
        let Ok(receipts) = publish(place, &mut store, &mut calls) else { break };
        transactions += 1;
        done += calls.len() as u64;
        if store.as_ref().is_none_or(|store| keeper.is_content(store)) {
            content.store(done, Ordering::Release);
        }
        for (answer, receipts) in answers.into_iter().zip(receipts) {
            // Whoever dropped the future does not want to know.
            let _ = answer.send(receipts);
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

#[cfg(test)]
mod tests {
    use super::super::log;
    use super::super::testing::{Bench, event, full, text, with_id};
    use super::*;
    use crate::broker::{Broker, Receipt};
    use crate::event::{Position, own};

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
