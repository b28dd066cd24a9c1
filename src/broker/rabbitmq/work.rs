//! The task of a member: it has the connection and its consumers, and puts what they deliver on the desk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::{Notify, mpsc, oneshot};

use super::desk::Desk;
use super::error::About;
use super::link::{Link, Patience, short};
use super::settings::Settings;
use crate::broker::{Kind, Result};

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
    /// Looks in a row that found nothing before the stop.
    quiet: u32,
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
        Work { settings: settings.clone(), shared, abouts, window, bounded, rounds: 0, quiet: 0 }
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
            let found =
                link.queue(&self.abouts[at], queue).await?.ok_or_else(|| self.abouts[at].missing())?;
            if first && self.bounded {
                self.shared.desk().sources[at].left = Some(u64::from(found.message_count()));
            }
        }
        let channel = link.channel(&self.abouts[0]).await?;
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
            let tag = short(&format!("evcat-{round}-{at}"));
            let options = BasicConsumeOptions::default();
            let consuming =
                at_work.channel.basic_consume(short(queue), tag.clone(), options, FieldTable::default());
            let consumer = consuming.await.map_err(|error| self.abouts[at].map(&error))?;
            at_work.tags.push(tag);
            let said = consumer.map(Some).chain(futures_util::stream::once(async { None }));
            at_work.consumers.push(said.map(move |said| (round, at, said)).boxed());
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
            tracing::debug!("{trouble}");
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
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                Some((round, at, said)) = at_work.consumers.next() => match said {
                    Some(Ok(delivery)) => {
                        self.quiet = 0;
                        self.shared.desk().delivered(at, delivery);
                        self.shared.bell.notify_one();
                    }
                    Some(Err(error)) => return Err(self.abouts[at].map(&error)),
                    None if round < self.rounds => {}
                    None => return Err(self.abouts[at].error(Kind::Unreachable, "the server cancelled the consumer")),
                },
                order = orders.recv() => match order {
                    None => return Ok(None),
                    Some(Order::Close(done)) => return Ok(Some(done)),
                    Some(Order::Consumers) => self.consume(at_work).await?,
                },
                _ = looks.tick(), if self.bounded => self.look(&at_work.link).await?,
            }
        }
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
    async fn look(&mut self, link: &Link) -> Result<()> {
        let waiting = self.shared.desk().waiting_for();
        for at in waiting {
            let queue = self.shared.desk().sources[at].queue.clone();
            let found = link.queue(&self.abouts[at], &queue).await?;
            if found.is_some_and(|found| found.message_count() > 0)
                || !self.shared.desk().waiting_for().contains(&at)
            {
                self.quiet = 0;
                continue;
            }
            self.quiet += 1;
            if self.quiet >= LOOKS {
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
