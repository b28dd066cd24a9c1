//! The driver against brokers that misbehave: nothing is lost, keys stay in order, every event is settled.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
#[path = "../support/simulated/mod.rs"]
mod simulated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evcat::broker::{Delivery, Order, PublishOptions, Source, Start, Stop, SubscribeOptions};
use evcat::event::{Batch, Event, Headers, Name, Position};
use evcat::flow::driver::{self, Ended, Everything, Handler, Hands, Judge, Report, Tell, Told, Work};
use evcat::flow::lanes::{Backoff, Failure, Ordering, Rules, Task, Verdict};
use evcat::shutdown;
use simulated::{Shape, World};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const EVENTS: i64 = 300;
const KEYS: i64 = 7;
const TOPIC: &str = "orders";
const GROUP: &str = "g";
const LETTERS: &str = "orders.g.dlq";

/// The number that an event carries.
pub fn number(event: &Event) -> i64 {
    std::str::from_utf8(event.payload().unwrap()).unwrap().parse().unwrap()
}

fn event(topic: &str, key: Option<&[u8]>, payload: &[u8]) -> Event {
    let mut batch = Batch::default();
    batch.push(&topic.into(), key, Headers::default(), Some(payload), None, Position::Unknown);
    batch.finish()[0].clone()
}

/// A broker with a topic, a group, its dead letters, and events in it.
async fn world(shape: Shape) -> World {
    let world = World::new(shape);
    world.store().settle_takes = Duration::from_millis(3);
    let broker = world.connect();
    broker.create_topic(TOPIC, &[]).await.unwrap();
    broker.create_group(&source(), &Start::Latest, Some(LETTERS)).await.unwrap();
    let keyed = broker.capabilities(TOPIC).key;
    let one = |i: i64| {
        let key = format!("k{}", i % KEYS);
        event(TOPIC, keyed.then_some(key.as_bytes()), i.to_string().as_bytes())
    };
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    for receipt in publisher.send((0..EVENTS).map(one).collect()).await {
        receipt.unwrap();
    }
    world
}

fn source() -> Source {
    Source::Group { topics: vec![Name::from(TOPIC)], group: GROUP.into() }
}

/// What was handled, in the order it ended well.
type Seen = Arc<Mutex<Vec<i64>>>;

/// Takes a while for each event; some fail, some are dead at once.
struct Simulated {
    tell: Tell,
    seen: Seen,
    rng: fastrand::Rng,
    kills: HashMap<usize, oneshot::Sender<()>>,
}

impl Handler for Simulated {
    fn start(&mut self, lane: usize, event: Event, _attempt: u32) {
        let (kill, killed) = oneshot::channel();
        self.kills.insert(lane, kill);
        let (tell, seen) = (self.tell.clone(), self.seen.clone());
        let (takes, fate) = (self.rng.u64(1..40), self.rng.u32(0..100));
        tokio::spawn(async move {
            let verdict = tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(takes)) => match fate {
                    0..10 => Verdict::Retry(Failure::new("exit", "exit 1")),
                    10 => Verdict::Dead(Failure::new("exit", "exit 65")),
                    _ => {
                        seen.lock().unwrap().push(number(&event));
                        Verdict::Ack
                    }
                },
                _ = killed => Verdict::Killed,
            };
            let _ = tell.send(Told::Finished(lane, verdict));
        });
    }

    fn kill(&mut self, lane: usize) {
        if let Some(kill) = self.kills.remove(&lane) {
            let _ = kill.send(());
        }
    }
}

async fn work(world: &World, seen: &Seen, seed: u64) -> Result<Report, evcat::broker::Error> {
    judged(world, seen, seed, Box::new(Everything), shutdown::Stop::manual()).await
}

/// One run as `subscribe` makes it, to the end as it is now.
async fn judged(
    world: &World,
    seen: &Seen,
    seed: u64,
    judge: Box<dyn Judge>,
    stop: shutdown::Stop,
) -> Result<Report, evcat::broker::Error> {
    let (tell, told) = mpsc::unbounded_channel();
    let rng = fastrand::Rng::with_seed(seed);
    let hands = Hands::Lanes(Box::new(Simulated { tell, seen: seen.clone(), rng, kills: HashMap::new() }));
    handled(world, hands, told, judge, stop).await
}

async fn handled(
    world: &World,
    hands: Hands,
    told: mpsc::UnboundedReceiver<Told>,
    judge: Box<dyn Judge>,
    stop: shutdown::Stop,
) -> Result<Report, evcat::broker::Error> {
    let have = world.connect().capabilities(TOPIC);
    let is_ordered = have.order > Order::None;
    let lease = Duration::from_secs(1);
    let grace = Duration::from_secs(2);
    let options = SubscribeOptions { stop: Stop::Now, in_flight: 40, lease, grace, ordered: is_ordered };
    let subscription = world.connect().subscription(source(), options).await?;
    let rules = Rules {
        concurrency: 4,
        // So few that nothing more is wanted now and then.
        bytes: 500,
        max_attempts: 6,
        backoff: Backoff { min: Duration::from_millis(5), max: Duration::from_millis(100) },
        ordering: if is_ordered { Ordering::Key } else { Ordering::None },
        retry_delay: have.retry_delay,
        ..Rules::default()
    };
    let bury = |death: &evcat::flow::lanes::Death| {
        event(LETTERS, death.event.key(), death.event.payload().unwrap_or_default())
    };
    let work = Work {
        rules,
        hands,
        told,
        judge,
        bury: Box::new(bury),
        lease,
        grace,
        drain: Duration::from_secs(60),
        killed_within: Duration::from_secs(1),
        counts_tries: have.counts_attempts && have.retry_delay.is_some(),
        idle_exit: None,
        lasts: None,
        stop,
    };
    Ok(driver::run(subscription, work, &mut |_| ()).await)
}

/// Filters that take three leases for what was received together.
struct Slow;

#[async_trait::async_trait]
impl Judge for Slow {
    async fn judge(&mut self, deliveries: &[Delivery]) -> anyhow::Result<Vec<Task>> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(vec![Task::Handle; deliveries.len()])
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_filter_looks_at_stays_ours() {
    for shape in [Shape::Log, Shape::Lease, Shape::Fifo] {
        let (world, seen) = (world(shape).await, Seen::default());
        let report = judged(&world, &seen, 1, Box::new(Slow), shutdown::Stop::manual()).await.unwrap();
        assert!(matches!(report.ended, Ended::Complete), "{shape:?}: {:?}", report.ended);
        assert_eq!((report.lost, report.acked + report.dead), (0, EVENTS as u64), "{shape:?}");
        assert_eq!(seen.lock().unwrap().len() as u64, report.acked, "none is handled twice");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_filter_looks_at_when_we_stop_was_never_tried() {
    let (world, seen, stop) = (world(Shape::Push).await, Seen::default(), shutdown::Stop::manual());
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asked.request(0);
    });
    let report = judged(&world, &seen, 1, Box::new(Slow), stop).await.unwrap();
    assert!(matches!(report.ended, Ended::Asked), "{:?}", report.ended);
    assert_eq!(report.given_back, 40, "all that was received");
    assert_eq!(world.tried(TOPIC, GROUP), 0, "no try is counted, or restarts alone would make dead letters");
}

/// Ends nothing until it is killed; when that was first.
struct Stuck(Tell, Arc<Mutex<Option<Instant>>>);

impl Handler for Stuck {
    fn start(&mut self, _lane: usize, _event: Event, _attempt: u32) {}

    fn kill(&mut self, lane: usize) {
        self.1.lock().unwrap().get_or_insert_with(Instant::now);
        let _ = self.0.send(Told::Finished(lane, Verdict::Killed));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_broken_off_though_nothing_more_is_wanted_or_we_are_leaving() {
    for leaving in [false, true] {
        let (world, killed, stop) = (world(Shape::Log).await, Arc::default(), shutdown::Stop::manual());
        let (tell, told) = mpsc::unbounded_channel();
        let hands = Hands::Lanes(Box::new(Stuck(tell, Arc::clone(&killed))));
        let run = handled(&world, hands, told, Box::new(Everything), stop.clone());
        let scene = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if leaving {
                stop.request(0);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let revoked = Instant::now();
            world.disturb(0);
            tokio::time::sleep(Duration::from_secs(2)).await;
            let after = killed.lock().unwrap().map(|killed| killed.duration_since(revoked));
            assert!(
                after.is_some_and(|after| after <= Duration::from_secs(2)),
                "leaving {leaving}: {after:?}"
            );
        };
        tokio::select! {
            report = run => panic!("it works on: {:?}", report.map(|report| report.ended)),
            () = scene => {}
        }
    }
}

/// What happens besides what the shape does anyway.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// Nothing.
    None,
    /// Some events come again though they were settled.
    Duplicates,
    /// It goes away for a while, and some answers are lost.
    Away,
    /// Some settlements fail.
    Refusals,
}

/// Disturbs the world at random until everything is settled, restarting the work whenever it gave up.
async fn through(shape: Shape, seed: u64, trouble: Trouble) {
    let world = world(shape).await;
    let seen = Seen::default();
    let disturber = tokio::spawn(disturb(world.clone(), fastrand::Rng::with_seed(seed), trouble));
    let fails = matches!(trouble, Trouble::Away | Trouble::Refusals);
    for restart in 0..500 {
        match work(&world, &seen, seed + restart).await.map(|report| report.ended) {
            Ok(Ended::Complete) => break,
            Err(_) | Ok(Ended::Failed(_)) if fails => tokio::time::sleep(Duration::from_millis(50)).await,
            ended => panic!("{shape:?} {seed}: {ended:?}"),
        }
    }
    disturber.abort();
    world.calm();
    // What came again at the very end, or was left by a run that failed.
    let last = work(&world, &seen, seed).await.unwrap();
    assert!(matches!(last.ended, Ended::Complete), "{shape:?} {seed}: {:?}", last.ended);
    assert!(world.is_settled(TOPIC, GROUP), "{shape:?} {seed}");
    assert!(world.store().settled_twice.is_empty());
    let (seen, dead) = (seen.lock().unwrap(), world.stored(LETTERS));
    let mut done = vec![false; EVENTS as usize];
    for number in seen.iter() {
        let earlier = (number % KEYS..*number).step_by(KEYS as usize);
        let skipped: Vec<_> = earlier.filter(|at| !done[*at as usize] && !dead.contains(at)).collect();
        let is_ordered = world.connect().capabilities(TOPIC).order > Order::None;
        assert!(skipped.is_empty() || !is_ordered, "{shape:?} {seed}: {number} overtook {skipped:?}");
        done[*number as usize] = true;
    }
    let lost: Vec<_> = (0..EVENTS).filter(|at| !done[*at as usize] && !dead.contains(at)).collect();
    assert!(lost.is_empty(), "{shape:?} {seed}: settled and never handled: {lost:?}");
    if trouble == Trouble::Duplicates {
        assert!(seen.len() + dead.len() > EVENTS as usize, "some came twice");
    }
}

async fn disturb(world: World, mut rng: fastrand::Rng, trouble: Trouble) {
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(rng.u64(5..60))).await;
        match (trouble, rng.u32(0..20)) {
            (Trouble::Away, 0) => world.go_away(Duration::from_millis(rng.u64(10..3_000))),
            (Trouble::Away, 1) => world.lose_an_answer(),
            (Trouble::Refusals, 0) => world.refuse_to_settle(rng.u32(1..4)),
            (Trouble::Duplicates, 0..10) => world.duplicate(),
            _ => world.disturb(rng.usize(..)),
        }
    }
}

macro_rules! worlds {
    ($($name:ident: $shape:ident, $trouble:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            for seed in 0..20 {
                through(Shape::$shape, seed, Trouble::$trouble).await;
            }
        }
    )*};
}

worlds! {
    a_log_that_revokes: Log, None;
    a_queue_whose_leases_end: Lease, None;
    a_queue_with_keys_whose_leases_end: Fifo, None;
    a_push_whose_channel_closes: Push, None;
    a_log_that_delivers_again: Log, Duplicates;
    a_queue_that_delivers_again: Lease, Duplicates;
    a_queue_with_keys_that_delivers_again: Fifo, Duplicates;
    a_push_that_delivers_again: Push, Duplicates;
    a_log_that_goes_away: Log, Away;
    a_queue_that_goes_away: Lease, Away;
    a_queue_with_keys_that_goes_away: Fifo, Away;
    a_push_that_goes_away: Push, Away;
    a_log_that_cannot_settle: Log, Refusals;
    a_queue_that_cannot_settle: Lease, Refusals;
    a_queue_with_keys_that_cannot_settle: Fifo, Refusals;
    a_push_that_cannot_settle: Push, Refusals;
}
