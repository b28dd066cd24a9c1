//! Working: a task has the connection and its consumers, the desk is between it and the caller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, SelectAll};
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use tokio::sync::{Notify, mpsc, oneshot};

use super::desk::{self, Desk};
use super::error::About;
use super::link::{Link, Patience, short};
use super::name::{self, Place, queue_of};
use super::publisher::Post;
use super::settings::Settings;
use crate::broker::{
    Error, Kind, Receipt, Received, Result, Settlement, Source, Stop, SubscribeOptions, Subscription, Token,
};
use crate::event::{Event, Name};

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

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    settings: &Settings,
    source: Source,
    options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    let SubscribeOptions { stop, in_flight, lease: _, grace: _, ordered: _ } = options;
    let (sources, abouts) = sources(source)?;
    let unsupported = |what: &str| Err(abouts[0].error(Kind::Unsupported, what));
    let bounded = match stop {
        Stop::Never => false,
        Stop::Now => true,
        Stop::At(_) => return unsupported("a queue has no positions to stop at"),
    };
    let shared = Arc::new(Shared {
        desk: Mutex::new(Desk::new(sources, in_flight)),
        bell: Notify::new(),
        heard: Notify::new(),
        channel: Mutex::new(None),
    });
    let mut work = Work {
        settings: settings.clone(),
        shared: shared.clone(),
        abouts,
        window: u16::try_from(in_flight.max(1)).unwrap_or(u16::MAX),
        bounded,
        rounds: 0,
        quiet: 0,
    };
    let link = Link::open(settings, &work.abouts[0], Patience::now(settings)).await?;
    let at_work = work.begin(link, true).await?;
    let (orders, received) = mpsc::unbounded_channel();
    tokio::spawn(work.run(at_work, received));
    Ok(Box::new(Member { shared, orders, post: Post::new(settings) }))
}

/// The queues that are meant, and how errors call each.
fn sources(source: Source) -> Result<(Vec<desk::Source>, Vec<About>)> {
    const OPERATION: &str = "subscription";
    let one = |topic: Name, queue: String, letters| desk::Source { topic, queue, letters, left: None };
    match source {
        Source::Group { topics, group } => {
            let (mut sources, mut abouts) = (Vec::new(), Vec::new());
            for topic in topics {
                let about = About::group(OPERATION, &topic, &group);
                if Place::of(&topic) != Place::Exchange(&topic) {
                    let message = "only an exchange has groups; a queue is worked on as it is";
                    return Err(about.error(Kind::Unsupported, message));
                }
                name::group(OPERATION, &topic, &group)?;
                let queue = queue_of(&topic, &group);
                sources.push(one(topic, queue, false));
                abouts.push(about);
            }
            Ok((sources, abouts))
        }
        Source::Queue(topic) => {
            name::topic(OPERATION, &topic)?;
            let about = About::topic(OPERATION, &topic);
            let Place::Queue(queue) = Place::of(&topic) else {
                let message =
                    "is no queue: a queue is named queue:NAME, and a stream is read, not worked off";
                return Err(about.error(Kind::Unsupported, message));
            };
            let queue = queue.to_owned();
            Ok((vec![one(topic, queue, false)], vec![about]))
        }
        Source::DeadLetters { dlq, chosen } => {
            name::topic(OPERATION, &dlq)?;
            let about = About::topic(OPERATION, &dlq);
            if chosen.is_some() {
                let message = "nothing can be chosen from a queue; take all, and release the rest";
                return Err(about.error(Kind::Unsupported, message));
            }
            let queue = Place::of(&dlq).queue().to_owned();
            Ok((vec![one(dlq, queue, true)], vec![about]))
        }
    }
}

struct Shared {
    desk: Mutex<Desk>,
    bell: Notify,
    /// Rung when somebody has heard what was lost.
    heard: Notify,
    /// That which tags are of now.
    channel: Mutex<Option<Channel>>,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_channel(&self, channel: Option<Channel>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    fn channel(&self) -> Option<Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

enum Order {
    /// More consumers: the windows of those there are full of what was released.
    Consumers,
    /// Leave, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// What a consumer says: a delivery, its error, or `None` at its end.
type Said = (u64, usize, Option<lapin::Result<lapin::message::Delivery>>);

/// A connection at work.
struct AtWork {
    link: Link,
    channel: Channel,
    consumers: SelectAll<BoxStream<'static, Said>>,
    tags: Vec<lapin::types::ShortString>,
}

struct Work {
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

    async fn run(mut self, mut at_work: AtWork, mut orders: mpsc::UnboundedReceiver<Order>) {
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
            match self.begin(link, false).await {
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

struct Member {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    post: Post,
}

fn lost() -> Error {
    About::new("settle", "")
        .error(Kind::Lost, "the connection was lost, and the server hands the event out again")
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let rung = self.shared.bell.notified();
            if let Some(said) = self.shared.desk().say() {
                self.shared.heard.notify_one();
                return said;
            }
            rung.await;
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let mut answers: Vec<Result<Option<Receipt>>> = Vec::with_capacity(items.len());
        let (mut acks, mut moves, mut moved) = (Vec::new(), Vec::<(Event, Option<Name>)>::new(), Vec::new());
        for (at, (token, how)) in items.into_iter().enumerate() {
            if !self.shared.desk().holds(token) {
                answers.push(Err(lost()));
                continue;
            }
            answers.push(Ok(None));
            match how {
                Settlement::Ack => acks.push((at, token)),
                Settlement::Release => self.shared.desk().release(token),
                Settlement::Move { event, only } => {
                    let queue = only.map(|group| queue_of(event.topic(), &group).into());
                    moves.push((*event, queue));
                    moved.push((at, token));
                }
                Settlement::Retry(_) => {
                    let message = "a queue has no delay: the event is held here until it is tried again";
                    answers[at] = Err(About::new("settle", "").error(Kind::Unsupported, message));
                }
            }
        }
        if !moves.is_empty() {
            for ((at, token), receipt) in moved.into_iter().zip(self.post.move_all(moves).await) {
                match receipt {
                    Ok(receipt) => {
                        answers[at] = Ok(Some(receipt));
                        acks.push((at, token));
                    }
                    Err(error) => answers[at] = Err(error),
                }
            }
        }
        self.ack(acks, &mut answers).await;
        if self.shared.desk().needs_consumers() {
            let _ = self.orders.send(Order::Consumers);
        }
        self.shared.bell.notify_one();
        Ok(answers)
    }

    async fn extend(&self, _tokens: &[Token]) -> Result<()> {
        // Ours as long as the channel is open.
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::Close(done)).is_ok() {
            let _ = tokio::time::timeout(LEAVING * 2, is_done).await;
        }
        Ok(())
    }
}

impl Member {
    async fn ack(&self, acks: Vec<(usize, Token)>, answers: &mut [Result<Option<Receipt>>]) {
        let (together, each, mine) = {
            let mut desk = self.shared.desk();
            let (mine, gone): (Vec<_>, Vec<_>) = acks.into_iter().partition(|(_, token)| desk.holds(*token));
            // Stored by a move and lost since: it comes again, and is twice there.
            gone.iter().for_each(|(at, _)| answers[*at] = Err(lost()));
            let tokens: Vec<Token> = mine.iter().map(|(_, token)| *token).collect();
            let (together, each) = desk.settle(&tokens);
            (together, each, mine)
        };
        if mine.is_empty() {
            return;
        }
        let Some(channel) = self.shared.channel() else {
            return mine.iter().for_each(|(at, _)| answers[*at] = Err(lost()));
        };
        let all = together.map(|tag| (tag, true)).into_iter().chain(each.into_iter().map(|tag| (tag, false)));
        let said = all.map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple }));
        if join_all(said).await.iter().any(lapin::Result::is_err) {
            mine.iter().for_each(|(at, _)| answers[*at] = Err(lost()));
        }
    }
}
