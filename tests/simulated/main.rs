//! The driver against brokers that misbehave: nothing is lost, keys stay in order, every event is settled.

#[path = "../support/simulated/mod.rs"]
mod simulated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evcat::broker::{Stop, SubscribeOptions};
use evcat::event::{Batch, Event, Headers, Name, Position};
use evcat::flow::driver::{self, Ended, Everything, Handler, Judge, Report, Tell, Told, Work};
use evcat::flow::lanes::{Backoff, Failure, Rules, Task, Verdict};
use evcat::shutdown;
use simulated::{Style, World};
use tokio::sync::{mpsc, oneshot};

const EVENTS: i64 = 300;
const KEYS: i64 = 7;

fn events() -> Vec<Event> {
    let topic: Name = "orders".into();
    let mut batch = Batch::default();
    for offset in 0..EVENTS {
        let key = format!("k{}", offset % KEYS);
        let payload = offset.to_string();
        let position = Position::Offset(offset);
        batch.push(
            &topic,
            Some(key.as_bytes()),
            Headers::default(),
            Some(payload.as_bytes()),
            None,
            position,
        );
    }
    batch.finish()
}

/// What was handled, in the order it ended well.
type Seen = Arc<Mutex<Vec<(i64, i64)>>>;

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
            let offset = event.position().offset().unwrap();
            let verdict = tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(takes)) => match fate {
                    0..10 => Verdict::Retry(Failure::new("exit", "exit 1")),
                    10 => Verdict::Dead(Failure::new("exit", "exit 65")),
                    _ => {
                        seen.lock().unwrap().push((offset % KEYS, offset));
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

async fn work(world: &World, seen: &Seen, seed: u64) -> Report {
    judged(world, seen, seed, Box::new(Everything), shutdown::Stop::manual()).await
}

async fn judged(
    world: &World,
    seen: &Seen,
    seed: u64,
    judge: Box<dyn Judge>,
    stop: shutdown::Stop,
) -> Report {
    let (tell, told) = mpsc::unbounded_channel();
    let rng = fastrand::Rng::with_seed(seed);
    let handler = Box::new(Simulated { tell, seen: seen.clone(), rng, kills: HashMap::new() });
    let lease = Duration::from_secs(1);
    let options = SubscribeOptions {
        stop: Stop::Now,
        in_flight: 40,
        lease,
        grace: Duration::from_secs(2),
        ordered: true,
    };
    let backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(100) };
    let rules = Rules { concurrency: 4, max_attempts: 6, backoff, ..Rules::default() };
    let work = Work {
        rules,
        handler,
        told,
        judge,
        bury: Box::new(|death| death.event.clone()),
        lease,
        grace: Duration::from_secs(2),
        drain: Duration::from_secs(1),
        killed_within: Duration::from_secs(1),
        counts_tries: false,
        idle_exit: None,
        lasts: None,
        stop,
    };
    driver::run(world.join(options), work, &mut |_| ()).await
}

/// Filters that take three leases for what was received together.
struct Slow;

#[async_trait::async_trait]
impl Judge for Slow {
    async fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Task>> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(vec![Task::Handle; events.len()])
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_filter_looks_at_stays_ours() {
    let (world, seen) = (World::new(Style::Lease, events()), Seen::default());
    let report = judged(&world, &seen, 1, Box::new(Slow), shutdown::Stop::manual()).await;
    assert!(matches!(report.ended, Ended::Complete), "{:?}", report.ended);
    assert_eq!((report.lost, report.acked + report.dead), (0, EVENTS as u64));
    assert_eq!(seen.lock().unwrap().len() as u64, report.acked, "none is handled twice");
}

#[tokio::test(start_paused = true)]
async fn what_a_filter_looks_at_when_we_stop_was_never_tried() {
    let (world, seen, stop) = (World::new(Style::Lease, events()), Seen::default(), shutdown::Stop::manual());
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asked.request(0);
    });
    let report = judged(&world, &seen, 1, Box::new(Slow), stop).await;
    assert!(matches!(report.ended, Ended::Asked), "{:?}", report.ended);
    assert_eq!(report.given_back, 40, "all that was received");
    assert_eq!(world.tried(), 0, "no try is counted, or restarts alone would make dead letters");
}

/// Disturbs the world at random until everything is settled, restarting the work whenever it gave up.
async fn through(style: Style, seed: u64, away: bool) {
    let world = World::new(style, events());
    let seen = Seen::default();
    let disturber = {
        let world = world.clone();
        let mut rng = fastrand::Rng::with_seed(seed);
        tokio::spawn(async move {
            for _ in 0..60 {
                tokio::time::sleep(Duration::from_millis(rng.u64(5..60))).await;
                match rng.u32(0..20) {
                    0 if away => world.go_away(Duration::from_millis(rng.u64(10..3_000))),
                    1 if away => world.lose_an_answer(),
                    _ => world.disturb(rng.usize(..)),
                }
            }
        })
    };
    for restart in 0..500 {
        let report = work(&world, &seen, seed + restart).await;
        match report.ended {
            Ended::Complete => break,
            Ended::Failed(_) if away => tokio::time::sleep(Duration::from_millis(50)).await,
            ended => panic!("{style:?} {seed}: {ended:?}"),
        }
    }
    disturber.abort();
    assert!(world.is_settled(), "{style:?} {seed}");
    assert!(world.settled_twice().is_empty());
    let seen = seen.lock().unwrap();
    let dead: Vec<i64> = world.dead().iter().map(|event| event.position().offset().unwrap()).collect();
    let mut done = vec![false; EVENTS as usize];
    for (_, offset) in seen.iter() {
        let earlier = (offset % KEYS..*offset).step_by(KEYS as usize);
        let skipped: Vec<_> = earlier.filter(|at| !done[*at as usize] && !dead.contains(at)).collect();
        assert!(skipped.is_empty(), "{style:?} {seed}: {offset} overtook {skipped:?}");
        done[*offset as usize] = true;
    }
    let lost: Vec<_> = (0..EVENTS).filter(|at| !done[*at as usize] && !dead.contains(at)).collect();
    assert!(lost.is_empty(), "{style:?} {seed}: settled and never handled: {lost:?}");
}

macro_rules! worlds {
    ($($name:ident: $style:expr, $away:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            for seed in 0..20 {
                through($style, seed, $away).await;
            }
        }
    )*};
}

worlds! {
    a_log_that_revokes: Style::Log, false;
    a_queue_whose_leases_end: Style::Lease, false;
    a_push_whose_channel_closes: Style::Push, false;
    a_log_that_goes_away: Style::Log, true;
    a_queue_that_goes_away: Style::Lease, true;
    a_push_that_goes_away: Style::Push, true;
}
