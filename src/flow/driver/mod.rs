//! Working on a subscription: what arrives goes through the [lanes](super::lanes) to a handler, what the handler says
//! is settled, until somebody or something ends it.
//!
//! One task, one `select!`. Everything that must not be dropped half way (a receive with its filters, a settle) is kept
//! over the turns of the loop.

mod receiving;
mod report;
mod settling;

pub use report::{Ended, Progress, Report};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::lanes::{Action, Death, Lanes, Reason, Rules, Settled, Task, Verdict};
use crate::broker::{Delivery, Result, Subscription, Token};
use crate::event::Event;
use crate::shutdown::Stop;
use receiving::{Arrived, Receiving};
use settling::Settling;

/// What handles, and how it wants the events.
pub enum Hands {
    /// One at a time in each lane.
    Lanes(Box<dyn Handler>),
    /// As they come; it answers in that order.
    Stream(Pass),
}

impl Hands {
    fn act(&mut self, action: Action) {
        match (self, action) {
            (Hands::Lanes(handler), Action::Start { lane, event, attempt }) => {
                handler.start(lane, event, attempt)
            }
            (Hands::Lanes(handler), Action::Kill(lane)) => handler.kill(lane),
            (Hands::Stream(pass), Action::Pass(events)) => pass(events),
            // The rules say which of them it is.
            _ => {}
        }
    }
}

/// Takes events to be handled in this order, after those of the call before; returns at once. What becomes of them is said
/// through the channel that was made with it. What has been taken cannot be called back.
pub type Pass = Box<dyn FnMut(Arc<[Event]>) + Send>;

/// Handles events, one at a time in each lane. What becomes of them is said through the channel that was made with it.
pub trait Handler: Send {
    /// Begins; returns at once. Requires: the lane is idle.
    fn start(&mut self, lane: usize, event: Event, attempt: u32);

    /// Breaks off what the lane does, which is then told as [`Verdict::Killed`], soon.
    fn kill(&mut self, lane: usize);
}

/// What a handler says.
#[derive(Debug)]
pub enum Told {
    /// This lane has ended and is idle again.
    Finished(usize, Verdict),
    /// So many more of what passed have ended.
    Passed(usize, Verdict),
    /// Nobody reads our output any more: stop, settle, be content.
    ReaderLeft,
    /// Nothing can be handled any more.
    Broken(anyhow::Error),
}

/// How the driver is told; unbounded, because each event is answered once.
pub type Tell = mpsc::UnboundedSender<Told>;

/// Says which deliveries are to be handled. Called with what was received together; may take its time.
#[async_trait::async_trait]
pub trait Judge: Send {
    /// One answer per delivery, in order.
    async fn judge(&mut self, deliveries: &[Delivery]) -> anyhow::Result<Vec<Task>>;
}

/// Handles everything.
pub struct Everything;

#[async_trait::async_trait]
impl Judge for Everything {
    async fn judge(&mut self, deliveries: &[Delivery]) -> anyhow::Result<Vec<Task>> {
        Ok(vec![Task::Handle; deliveries.len()])
    }
}

/// What to do, and for how long.
pub struct Work<'a> {
    /// How.
    pub rules: Rules,
    /// What handles.
    pub hands: Hands,
    /// What it says.
    pub told: mpsc::UnboundedReceiver<Told>,
    /// What is to be handled.
    pub judge: Box<dyn Judge>,
    /// Makes the dead letter.
    pub bury: Box<dyn Fn(&Death) -> Event + Send + 'a>,
    /// For how long a delivery is ours; it is extended each third of it.
    pub lease: Duration,
    /// For how long a revoked delivery is still ours.
    pub grace: Duration,
    /// For how long what runs may go on after the end was asked for.
    pub drain: Duration,
    /// How soon what is killed then has ended; what has not is left.
    pub killed_within: Duration,
    /// Give an event back with its try counted, where the broker counts.
    pub counts_tries: bool,
    /// End when nothing was in hand for so long.
    pub idle_exit: Option<Duration>,
    /// End after so long.
    pub lasts: Option<Duration>,
    /// Where to end early.
    pub stop: Stop,
}

/// The longest a broker that may be away is waited for at the very end.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Works until it ends, gives back what is left and leaves the group. What happens on the way is told to `progress`.
///
/// Every delivery is settled at most once; what is not settled when this returns was given back, or belongs to somebody
/// else by now.
pub async fn run(
    subscription: Box<dyn Subscription>,
    work: Work<'_>,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Report {
    let mut report = Driver::new(&*subscription, work, progress).run().await;
    match tokio::time::timeout(LAST_WAIT, subscription.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if !matches!(report.ended, Ended::Failed(_)) => {
            report.ended = Ended::Failed(anyhow::Error::new(error).context("the group could not be left"));
        }
        Ok(Err(_)) | Err(_) => tracing::debug!("the group was not left; it notices by itself"),
    }
    report
}

type Extending<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

struct Driver<'a> {
    subscription: &'a dyn Subscription,
    lanes: Lanes,
    hands: Hands,
    told: mpsc::UnboundedReceiver<Told>,
    settling: Settling<'a>,
    receiving: Receiving<'a>,
    /// Received and never judged, because the end came first: goes back when the lanes are done.
    unjudged: Vec<Token>,
    extending: Option<Extending<'a>>,
    progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    report: Report,
    stop: Stop,
    lease: Duration,
    grace: Duration,
    drain: Duration,
    killed_within: Duration,
    idle_exit: Option<Duration>,
    lasts_until: Option<Instant>,
    extend_at: Instant,
    detach_at: Instant,
    /// When something was last in hand.
    busy_at: Instant,
    /// Set when the end was asked for: what still runs then is killed.
    drain_until: Option<Instant>,
    /// Set when it was killed: what is not over then is left.
    leave_at: Option<Instant>,
    /// Everything that will be delivered has been.
    all_here: bool,
    done: bool,
}

impl<'a> Driver<'a> {
    fn new(
        subscription: &'a dyn Subscription,
        work: Work<'a>,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Driver<'a> {
        let Work {
            rules,
            hands,
            told,
            judge,
            bury,
            lease,
            grace,
            drain,
            killed_within,
            counts_tries,
            idle_exit,
            lasts,
            stop,
        } = work;
        let now = Instant::now();
        Driver {
            subscription,
            lanes: Lanes::new(Rules { passes: matches!(hands, Hands::Stream(_)), ..rules }, fastrand::f64),
            hands,
            told,
            settling: Settling::new(subscription, bury, counts_tries),
            receiving: Receiving::new(subscription, judge),
            unjudged: Vec::new(),
            extending: None,
            progress,
            report: Report::default(),
            stop,
            lease,
            grace,
            drain,
            killed_within,
            idle_exit,
            lasts_until: lasts.map(|lasts| now + lasts),
            extend_at: now + lease / 3,
            detach_at: now + DETACH,
            busy_at: now,
            drain_until: None,
            leave_at: None,
            all_here: false,
            done: false,
        }
    }

    async fn run(mut self) -> Report {
        let stop = self.stop.clone();
        let mut asked = Box::pin(stop.requested());
        let mut sleep = Box::pin(tokio::time::sleep_until(self.wake()));
        let mut said = Vec::new();
        loop {
            self.act();
            if self.done && self.settling.is_empty() || self.leave_at.is_some_and(|at| at <= Instant::now()) {
                break;
            }
            self.refill();
            reset(&mut sleep, self.wake());
            tokio::select! {
                biased;
                () = &mut asked, if self.drain_until.is_none() => self.end(Ended::Asked),
                answered = self.settling.next(), if !self.settling.is_empty() => {
                    let buried = answered.buried();
                    if let Err(error) = settling::account(answered, &mut self.report, self.progress) {
                        self.end(Ended::Failed(error));
                    }
                    buried.into_iter().for_each(|(token, is_over)| self.lanes.settled(token, is_over));
                }
                count = self.told.recv_many(&mut said, 1024) => {
                    if count == 0 {
                        self.end(Ended::Failed(anyhow::anyhow!("the handler went away")));
                        self.leave_at = Some(Instant::now());
                    }
                    said.drain(..).for_each(|told| self.hear(told));
                }
                arrived = self.receiving.next() => self.arrive(arrived),
                extended = pending(&mut self.extending) => {
                    // What was lost is said by `receive` and `settle`; a broker that is away, too.
                    if let Err(error) = extended {
                        tracing::debug!(%error, "not extended");
                    }
                }
                () = &mut sleep => self.tick(),
            }
        }
        let left = self.lanes.tokens().len() + self.settling.unsettled() + self.unjudged.len();
        self.report.given_back += left as u64;
        self.report
    }

    /// Carries out what the lanes decided.
    fn act(&mut self) {
        while let Some(action) = self.lanes.next_action() {
            match action {
                Action::Start { .. } | Action::Kill(_) | Action::Pass(_) => self.hands.act(action),
                Action::Settle(token, settled) => self.settling.push(token, settled),
                Action::Waiting { event, next, wait, failure } => {
                    self.report.retried += 1;
                    (self.progress)(Progress::Waiting { event: &event, next, wait, failure: &failure });
                }
                Action::Stopping(reason) => {
                    let ended = match reason {
                        Reason::Asked => continue,
                        Reason::Limit => Ended::Limit,
                        Reason::MaxDead(count) => Ended::MaxDead(count),
                        Reason::Died(death) => Ended::Died(death),
                        Reason::Halted(failure) => Ended::Halted(failure),
                    };
                    self.end(ended);
                }
                Action::Done => {
                    self.done = true;
                    let unjudged = std::mem::take(&mut self.unjudged);
                    unjudged.into_iter().for_each(|token| self.settling.push(token, Settled::Release));
                }
            }
        }
    }

    /// Asks for more, if more is wanted.
    fn refill(&mut self) {
        match self.drain_until.is_none() && !self.all_here && self.lanes.wants_more() {
            true => self.receiving.begin(),
            false => self.receiving.listen(),
        }
    }

    fn arrive(&mut self, arrived: anyhow::Result<Arrived>) {
        let now = Instant::now();
        match arrived {
            Ok(Arrived::Deliveries(deliveries, tasks)) => {
                self.busy_at = now;
                self.lanes.delivered(deliveries.into_iter().zip(tasks));
            }
            Ok(Arrived::Revoking(tokens)) => {
                // The last tenth is for the settles.
                self.lanes.revoking((now + self.grace.mul_f32(0.9)).into_std(), &tokens);
            }
            Ok(Arrived::Lost(tokens)) => {
                self.report.lost += tokens.len() as u64;
                self.lanes.lost(&tokens);
            }
            Ok(Arrived::End) => {
                self.all_here = true;
                self.lanes.end();
            }
            Err(error) => self.end(Ended::Failed(error)),
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Finished(lane, verdict) => {
                self.busy_at = Instant::now();
                self.lanes.finished(self.busy_at.into_std(), lane, verdict);
            }
            Told::Passed(count, verdict) => {
                self.busy_at = Instant::now();
                self.lanes.passed(count, &verdict);
            }
            Told::ReaderLeft => self.end(Ended::ReaderLeft),
            Told::Broken(error) => self.end(Ended::Failed(error)),
        }
    }

    /// The first reason is the one that counts.
    fn end(&mut self, ended: Ended) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(Instant::now() + self.drain);
        self.report.ended = ended;
        self.unjudged = self.receiving.stop();
        self.lanes.stop();
        self.settling.hurry();
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.lanes.tick(now.into_std());
        if self.detach_at <= now {
            self.detach_at = now + DETACH;
            self.lanes.detach_old();
        }
        if self.extend_at <= now {
            self.extend_at = now + self.lease / 3;
            let mut tokens = self.lanes.tokens();
            tokens.extend(self.settling.tokens());
            tokens.extend(self.receiving.tokens());
            tokens.extend(&self.unjudged);
            if self.extending.is_none() && !tokens.is_empty() {
                let subscription = self.subscription;
                self.extending = Some(Box::pin(async move { subscription.extend(&tokens).await }));
            }
        }
        if self.lasts_until.is_some_and(|at| at <= now) {
            self.end(Ended::TimeOver);
        }
        if !self.lanes.is_idle() {
            self.busy_at = now;
        }
        if self.idle_exit.is_some_and(|idle| self.busy_at + idle <= now) {
            self.end(Ended::Idle);
        }
        if self.leave_at.is_none() && self.drain_until.is_some_and(|at| at <= now) {
            self.lanes.kill_all();
            self.leave_at = Some(now + self.killed_within);
        }
    }

    /// When something is to be done though nothing happens.
    fn wake(&self) -> Instant {
        let ending = self.drain_until.is_some();
        let times = [
            Some(self.extend_at.min(self.detach_at)),
            self.lanes.wake().map(Instant::from_std),
            self.lasts_until.filter(|_| !ending),
            self.idle_exit.filter(|_| !ending && self.lanes.is_idle()).map(|idle| self.busy_at + idle),
            self.leave_at.or(self.drain_until),
        ];
        times.into_iter().flatten().min().unwrap_or(self.extend_at)
    }
}

const DETACH: Duration = Duration::from_secs(1);

/// Waits for what is under way and takes it away; for ever if nothing is.
async fn pending<T>(under_way: &mut Option<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> T {
    std::future::poll_fn(|context: &mut Context<'_>| {
        let Some(future) = under_way else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(context));
        *under_way = None;
        Poll::Ready(output)
    })
    .await
}

/// Sets the timer only when it must ring earlier or has rung: resetting it at every turn costs more than a turn.
fn reset(sleep: &mut Pin<Box<Sleep>>, at: Instant) {
    if at < sleep.deadline() || sleep.is_elapsed() {
        sleep.as_mut().reset(at);
    }
}
