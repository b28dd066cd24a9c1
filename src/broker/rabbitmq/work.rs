//! The task of a member: it has the connection and its consumers, and puts what they deliver on the desk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::{Notify, mpsc, oneshot};

use super::desk::Desk;
use super::error::About;
use super::link::{Link, Patience, short};
use super::settings::Settings;
use super::{groups, message};
use crate::broker::{Error, Kind, Result};

/// How often it is looked whether somebody else had the rest.
const LOOK: Duration = Duration::from_millis(250);
/// So many looks in a row must find nothing.
const LOOKS: u32 = 3;
/// How often, and how long after one another, it is looked whether what was given back is there: other members may have
/// it by then.
const LOOKS_BACK: u32 = 20;
const PAUSE_BACK: Duration = Duration::from_millis(25);
/// The longest that leaving takes: the server gives back what we held all the same when we are gone.
const LEAVING: Duration = Duration::from_secs(5);
/// For how long a queue may be missing after the server was away: its members find each other again.
const RETURN: Duration = Duration::from_secs(10);

/// Letters that came back so often are looked at for the limit of their queue: being refused is a way back too, so that
/// some are left for whoever tries again. Without the management API any limit but RabbitMQ's own is unknown anyway.
const WORTH_ASKING: [u32; 2] = [15, 1];

/// What the task and the member both see.
pub struct Shared {
    desk: Mutex<Desk>,
    /// Rung when there is something to say.
    pub bell: Notify,
    /// Rung when somebody has heard what was lost.
    pub heard: Notify,
    /// That which tags are of now.
    channel: Mutex<Option<Channel>>,
}

impl Shared {
    /// With nothing done yet.
    pub fn new(desk: Desk) -> Shared {
        Shared {
            desk: Mutex::new(desk),
            bell: Notify::new(),
            heard: Notify::new(),
            channel: Mutex::new(None),
        }
    }

    /// What is in hand. Never held over an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_channel(&self, channel: Option<Channel>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    /// The channel that tags are of now.
    pub fn channel(&self) -> Option<Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the member wants of the task.
pub enum Order {
    /// More consumers: the windows of those there are full of what was released.
    Consumers,
    /// Leave, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// What a consumer says: a delivery, its error, or `None` at its end.
type Said = (u64, usize, Option<lapin::Result<lapin::message::Delivery>>);

/// A connection at work.
pub struct AtWork {
    link: Link,
    channel: Channel,
    consumers: SelectAll<BoxStream<'static, Said>>,
    tags: Vec<lapin::types::ShortString>,
}

/// The task.
pub struct Work {
    settings: Settings,
    shared: Arc<Shared>,
    abouts: Vec<About>,
    window: u16,
    bounded: bool,
    /// Of consumers: those of earlier rounds were cancelled.
    rounds: u64,
    /// Looks in a row that found nothing before the stop, of each queue.
    quiet: Vec<u32>,
    /// How often letters may have come back, at most; not asked before it matters.
    looks: Option<Option<u32>>,
}

impl Work {
    /// A task for these sources. `window`: so much the server sends ahead, of each queue.
    pub fn new(
        settings: &Settings,
        shared: Arc<Shared>,
        abouts: Vec<About>,
        window: usize,
        bounded: bool,
    ) -> Work {
        let window = u16::try_from(window.max(1)).unwrap_or(u16::MAX);
        let quiet = vec![0; abouts.len()];
        Work { settings: settings.clone(), shared, abouts, window, bounded, rounds: 0, quiet, looks: None }
    }

    /// Connects for the first time, and begins to consume; where it ends is fixed here.
    pub async fn connect(&mut self) -> Result<AtWork> {
        let link = Link::open(&self.settings, &self.abouts[0], Patience::now(&self.settings)).await?;
        self.begin(link, true).await
    }

    /// Begins to consume. `first`: where it ends is fixed here.
    async fn begin(&mut self, link: Link, first: bool) -> Result<AtWork> {
        let queues: Vec<String> =
            self.shared.desk().sources.iter().map(|source| source.queue.clone()).collect();
        for (at, queue) in queues.iter().enumerate() {
            let about = &self.abouts[at];
            let found = Link::soon(about, link.queue(about, queue)).await?.ok_or_else(|| about.missing())?;
            if first && self.bounded {
                self.shared.desk().sources[at].left = Some(u64::from(found.message_count()));
            }
        }
        let channel = Link::soon(&self.abouts[0], link.channel(&self.abouts[0])).await?;
        let mut at_work = AtWork { link, channel, consumers: SelectAll::new(), tags: Vec::new() };
        self.consume(&mut at_work).await?;
        self.shared.set_channel(Some(at_work.channel.clone()));
        Ok(at_work)
    }

    /// New consumers, with new windows, in the place of those there were; what these were given stays ours.
    async fn consume(&mut self, at_work: &mut AtWork) -> Result<()> {
        let map = |error: lapin::Error| self.abouts[0].map(&error);
        for tag in at_work.tags.drain(..) {
            at_work.channel.basic_cancel(tag, BasicCancelOptions::default()).await.map_err(map)?;
        }
        self.rounds += 1;
        let round = self.rounds;
        at_work.channel.basic_qos(self.window, BasicQosOptions::default()).await.map_err(map)?;
        let queues: Vec<String> =
            self.shared.desk().sources.iter().map(|source| source.queue.clone()).collect();
        for (at, queue) in queues.iter().enumerate() {
            self.warn_of_limit(&at_work.link, at).await?;
            let tag = short(&format!("evcat-{round}-{at}"));
            let options = BasicConsumeOptions::default();
            let consuming =
                at_work.channel.basic_consume(short(queue), tag.clone(), options, FieldTable::default());
            let about = &self.abouts[at];
            let consuming = async { consuming.await.map_err(|error| about.map(&error)) };
            let consumer = Link::soon(about, consuming).await?;
            at_work.tags.push(tag);
            let said = consumer.map(Some).chain(futures_util::stream::once(async { None }));
            at_work.consumers.push(said.map(move |said| (round, at, said)).boxed());
        }
        Ok(())
    }

    /// Says once what a look may cost in a queue with a delivery limit. Errors: it would cost all.
    async fn warn_of_limit(&mut self, link: &Link, at: usize) -> Result<()> {
        let (queue, letters) = {
            let source = &self.shared.desk().sources[at];
            (source.queue.clone(), source.letters)
        };
        if !letters || self.looks.is_some() {
            return Ok(());
        }
        match self.looks(link, at).await {
            None => {}
            Some(0) => return Err(self.near(at, 0)),
            Some(_) if self.settings.management.is_none() => tracing::warn!(
                "queue '{queue}' may have a delivery limit, which -X management=http://HOST:15672 would tell: an event that \
                 was given back so often already is lost by a look"
            ),
            Some(_) => tracing::warn!(
                "queue '{queue}' has a delivery limit: an event that was given back so often already is lost by a look"
            ),
        }
        Ok(())
    }

    /// Works until it is told to leave, or cannot go on.
    pub async fn run(mut self, mut at_work: AtWork, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let trouble = match self.work(&mut at_work, &mut orders).await {
                Ok(done) => {
                    self.shared.set_channel(None);
                    let closing = self.leave(&mut at_work);
                    let _ = tokio::time::timeout(LEAVING, closing).await;
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                    return;
                }
                Err(trouble) => trouble,
            };
            match trouble.kind() {
                Kind::Unreachable => tracing::debug!("{trouble}"),
                // The server has closed the channel and says why: a handler that took longer than its consumer_timeout
                // allows (half an hour), for one.
                _ => match &trouble.detail().hint {
                    Some(hint) => tracing::warn!("{trouble}; what was in hand is handed out again; {hint}"),
                    None => tracing::warn!("{trouble}; what was in hand is handed out again"),
                },
            }
            self.shared.set_channel(None);
            self.shared.desk().cut();
            self.shared.bell.notify_one();
            drop(at_work);
            tokio::select! {
                again = self.again_when_heard() => match again {
                    Ok(again) => at_work = again,
                    Err(error) => {
                        self.shared.desk().fail(error);
                        self.shared.bell.notify_one();
                        if let Some(Order::Close(done)) = leaving(&mut orders).await {
                            let _ = done.send(());
                        }
                        return;
                    }
                },
                order = leaving(&mut orders) => {
                    if let Some(Order::Close(done)) = order {
                        let _ = done.send(());
                    }
                    return;
                }
            }
        }
    }

    /// Works until somebody says to leave, or the connection is lost.
    async fn work(
        &mut self,
        at_work: &mut AtWork,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<Option<oneshot::Sender<()>>> {
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
        // A look may take longer than the pause between two: the next is later then, not at once.
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What the client has of the queue is taken before it is looked whether there is more.
                biased;
                order = orders.recv() => match order {
                    None => return Ok(None),
                    Some(Order::Close(done)) => return Ok(Some(done)),
                    Some(Order::Consumers) => self.consume(at_work).await?,
                },
                Some(said) = at_work.consumers.next() => self.hear(said, &at_work.link).await?,
                _ = looks.tick(), if self.bounded => self.look(at_work).await?,
            }
        }
    }

    /// Puts a delivery on the desk.
    async fn hear(&mut self, (round, at, said): Said, link: &Link) -> Result<()> {
        match said {
            Some(Ok(delivery)) => {
                self.quiet[at] = 0;
                let letters = self.shared.desk().sources[at].letters;
                let back = message::failures(&delivery).filter(|_| letters).unwrap_or(0);
                self.shared.desk().delivered(at, delivery);
                if back >= WORTH_ASKING[usize::from(self.settings.management.is_some())]
                    && let Some(most) = self.looks(link, at).await
                    && back >= most
                {
                    let error = self.near(at, back);
                    self.shared.desk().fail(error);
                }
                self.shared.bell.notify_one();
                Ok(())
            }
            Some(Err(error)) => Err(self.abouts[at].map(&error)),
            None if round < self.rounds => Ok(()),
            None => Err(self.abouts[at].error(Kind::Unreachable, "the server cancelled the consumer")),
        }
    }

    /// See [`groups::looks`].
    async fn looks(&mut self, link: &Link, at: usize) -> Option<u32> {
        if let Some(known) = self.looks {
            return known;
        }
        let queue = self.shared.desk().sources[at].queue.clone();
        let known = groups::looks(&self.settings, link, &self.abouts[at], &queue).await;
        self.looks = Some(known);
        known
    }

    fn near(&self, at: usize, back: u32) -> Error {
        let queue = self.shared.desk().sources[at].queue.clone();
        let message = match back {
            0 => format!(
                "queue '{queue}' has so low a delivery limit that RabbitMQ takes events away that are looked at"
            ),
            _ => format!(
                "queue '{queue}': an event was given back {back} times, and RabbitMQ takes it away when the queue's limit \
                 is reached (20, unless it has its own): to look once more, and once more, would lose it"
            ),
        };
        let limit = r#"{"delivery-limit": 1000000000}"#;
        self.abouts[at].error(Kind::Rejected, message).with_hint(format!(
            "a higher limit: rabbitmqctl set_policy evcat '^{queue}$' '{limit}' --apply-to queues\n\
             -X management=http://host:15672 lets evcat see it, as a user with the tag policymaker"
        ))
    }

    /// Gives back all that is open, and is no member any more.
    async fn leave(&self, at_work: &mut AtWork) {
        let AtWork { link, channel, tags, .. } = at_work;
        for tag in tags.drain(..) {
            let _ = channel.basic_cancel(tag, BasicCancelOptions::default()).await;
        }
        let given_back = self.shared.desk().open();
        let _ = channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await;
        // It is there again a moment later, and who looks next shall not find the queue empty.
        let queues: Vec<String> =
            self.shared.desk().sources.iter().map(|source| source.queue.clone()).collect();
        for _ in 0..if given_back > 0 { LOOKS_BACK } else { 0 } {
            let mut there = 0;
            for (about, queue) in self.abouts.iter().zip(&queues) {
                let found = link.queue(about, queue).await.ok().flatten();
                there += found.map_or(0, |found| found.message_count() as usize);
            }
            if there >= given_back {
                break;
            }
            tokio::time::sleep(PAUSE_BACK).await;
        }
        let _ = channel.close(200, short("done")).await;
        link.close().await;
    }

    /// Ends the wait for what somebody else settled. What was sent to us is no longer counted before it is here, so one
    /// look is not enough.
    async fn look(&mut self, at_work: &mut AtWork) -> Result<()> {
        let waiting = self.shared.desk().waiting_for();
        for at in waiting {
            let queue = self.shared.desk().sources[at].queue.clone();
            let found = at_work.link.queue(&self.abouts[at], &queue).await?;
            // What came while it was asked.
            while let Some(Some(said)) = at_work.consumers.next().now_or_never() {
                self.hear(said, &at_work.link).await?;
            }
            if found.is_some_and(|found| found.message_count() > 0)
                || !self.shared.desk().waiting_for().contains(&at)
            {
                self.quiet[at] = 0;
                continue;
            }
            self.quiet[at] += 1;
            if self.quiet[at] >= LOOKS {
                self.shared.desk().is_empty(at);
                self.shared.bell.notify_one();
            }
        }
        Ok(())
    }

    /// Who does not listen takes nothing: what was lost is for other members until we heard of it.
    async fn again_when_heard(&mut self) -> Result<AtWork> {
        while self.shared.desk().has_lost() {
            self.shared.heard.notified().await;
        }
        self.again().await
    }

    /// Connects and consumes again, while patience lasts.
    async fn again(&mut self) -> Result<AtWork> {
        let patience = Patience::now(&self.settings);
        let begun = tokio::time::Instant::now();
        let bounded = std::mem::take(&mut self.bounded);
        let result = loop {
            let link = match Link::open(&self.settings, &self.abouts[0], patience).await {
                Ok(link) => link,
                Err(error) => break Err(error),
            };
            let about = self.abouts[0].clone();
            match Link::soon(&about, self.begin(link, false)).await {
                Ok(at_work) => break Ok(at_work),
                // Right after a start its queues are not all there yet.
                Err(error) if begun.elapsed() > RETURN && error.kind() != Kind::Unreachable => {
                    break Err(error);
                }
                // It lets us in and then says nothing, each time.
                Err(error) if patience.is_over() => break Err(error),
                Err(error) => tracing::debug!("{error}"),
            }
            tokio::time::sleep(LOOK).await;
        };
        self.bounded = bounded;
        result
    }
}

/// Waits for the word to leave; without it, for the member to be dropped.
async fn leaving(orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Order> {
    loop {
        match orders.recv().await {
            Some(Order::Consumers) => {}
            other => return other,
        }
    }
}
