//! One topic of a look: a task pulls its subscription, acks what it has handed on, keeps what waits, asks in a silence
//! whether there is more, and says now and then that it is alive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::ReceivedMessage;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::broker::pubsub::error::About;
use crate::broker::pubsub::link::Link;
use crate::broker::pubsub::pull::{AT_ONCE, Outcome, Pull, Wish, acknowledge, at_once, modify};
use crate::broker::pubsub::{message, subscriptions};
use crate::broker::{Error, Kind, Result};
use crate::event::{Batch, Event, HeadersBuf, Millis, Name};

/// Messages, and bytes, that the service sends ahead of the acks.
const AHEAD: (i64, i64) = (4000, 16 << 20);
/// Batches that wait to be taken.
const WAITING: usize = 4;
/// The shortest there is, in seconds: what was under way when a stream broke comes again after it.
const LEASE: i32 = 10;
/// The same, and the pause behind it.
const COMES_AGAIN: Duration = Duration::from_secs(LEASE as u64 + 1);
/// How often what waits is kept for another lease.
const KEEP: Duration = Duration::from_secs(3);
/// So long after a server said that there is nothing, what it had sent before has come.
const ANSWERED: Duration = Duration::from_millis(100);
/// The longest that removing takes: what is not removed then is deleted by the service a day later.
const LEAVING: Duration = Duration::from_secs(10);

/// What a lane says.
pub enum Came {
    /// At least one.
    Events(Vec<Event>),
    /// Nothing came for as long as [`Settings::quiet`](crate::broker::pubsub::settings::Settings::quiet), and the server,
    /// asked in this silence, had nothing; nothing but what lies behind the end, where there is one.
    Quiet,
}

/// See the module.
pub struct Lane {
    /// Its topic.
    pub topic: Name,
    /// Nothing is taken now.
    pub held: bool,
    /// It said so last.
    pub quiet: bool,
    link: Arc<Link>,
    about: About,
    subscription: String,
    came: mpsc::Receiver<Result<Came>>,
    /// What came while it was held.
    kept: Option<Result<Came>>,
    task: JoinHandle<()>,
    removed: bool,
}

impl Lane {
    /// Begins to pull. What was published after `end` is passed over.
    pub fn begin(
        link: Arc<Link>,
        about: About,
        topic: Name,
        subscription: String,
        end: Option<Millis>,
    ) -> Lane {
        let (sender, came) = mpsc::channel(WAITING);
        let wish =
            Wish { subscription: subscription.clone(), lease: LEASE, messages: AHEAD.0, bytes: AHEAD.1 };
        let pull = Pull::new(link.clone(), about.clone(), wish);
        let work = Work {
            ask_at: Some(Instant::now() + link.settings.quiet),
            link: link.clone(),
            about: about.clone(),
            topic: topic.clone(),
            subscription: subscription.clone(),
            end,
            waiting: VecDeque::new(),
            messages: 0,
            acks: JoinSet::new(),
            beyond: JoinSet::new(),
            answered: false,
        };
        let task = tokio::spawn(work.run(pull, sender));
        Lane {
            topic,
            held: false,
            quiet: false,
            link,
            about,
            subscription,
            came,
            kept: None,
            task,
            removed: false,
        }
    }

    /// What has come; no events while it is held.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Came>> {
        let came = match self.kept.take() {
            Some(came) => came,
            None => std::task::ready!(self.came.poll_recv(context))
                .unwrap_or_else(|| Err(self.about.error(Kind::Broken, "the task that reads has ended"))),
        };
        if self.held && matches!(came, Ok(Came::Events(_))) {
            self.kept = Some(came);
            return Poll::Pending;
        }
        self.quiet = matches!(came, Ok(Came::Quiet));
        Poll::Ready(came)
    }

    /// Removes the subscription.
    pub async fn end(mut self) -> Result<()> {
        self.task.abort();
        self.removed = true;
        let removing = subscriptions::delete(&self.link, &self.about, &self.subscription);
        match timeout(LEAVING, removing).await {
            // Somebody else was faster.
            Ok(Err(error)) if error.kind() == Kind::NotFound => Ok(()),
            Ok(result) => result,
            Err(_) => {
                let message = "its temporary subscription could not be removed; Pub/Sub does it in a day";
                Err(self.about.error(Kind::Unreachable, message))
            }
        }
    }
}

/// Whoever did not end it is on the way out by an error: it is tried all the same.
impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
        if !self.removed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (link, about, subscription) =
                (self.link.clone(), self.about.clone(), self.subscription.clone());
            runtime.spawn(async move { subscriptions::delete(&link, &about, &subscription).await });
        }
    }
}

struct Work {
    link: Arc<Link>,
    about: About,
    topic: Name,
    subscription: String,
    end: Option<Millis>,
    /// What came and was not handed on, with its ack ids.
    waiting: VecDeque<(Vec<Event>, Vec<String>)>,
    /// How many these are.
    messages: usize,
    acks: JoinSet<()>,
    /// Acks of what lies behind the end. On a topic that is never quiet there is always one.
    beyond: JoinSet<()>,
    /// When the server is asked whether there is more, if nothing happens; `None`: that it is quiet was said.
    ask_at: Option<Instant>,
    /// It had nothing.
    answered: bool,
}

impl Work {
    async fn run(mut self, mut pull: Pull, sender: mpsc::Sender<Result<Came>>) {
        let every = |pause: Duration| {
            let mut ticks = interval_at(Instant::now() + pause, pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut keep, mut alive) = (every(KEEP), every(self.link.settings.stale / 3));
        loop {
            let ask = self.ask_at.filter(|_| self.waiting.is_empty() && self.acks.is_empty());
            let done = tokio::select! {
                biased;
                permit = sender.reserve(), if !self.waiting.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(events) = self.hand_on() {
                            permit.send(Ok(Came::Events(events)));
                        }
                        Ok(())
                    }
                    Err(_) => return,
                },
                _ = keep.tick() => {
                    self.keep().await;
                    Ok(())
                }
                _ = alive.tick() => self.say_alive().await,
                Some(_) = self.acks.join_next(), if !self.acks.is_empty() => Ok(()),
                Some(_) = self.beyond.join_next(), if !self.beyond.is_empty() => Ok(()),
                () = sleep_until(ask.unwrap_or_else(Instant::now)), if ask.is_some() => match self.answered {
                    // What had come before the answer, while something else was done.
                    true if let Some(came) = pull.next().now_or_never() => came.map(|messages| self.take(messages)),
                    true => {
                        self.ask_at = None;
                        if sender.send(Ok(Came::Quiet)).await.is_err() {
                            return;
                        }
                        Ok(())
                    }
                    false => self.ask().await,
                },
                came = pull.next(), if self.messages < AHEAD.0 as usize => came.map(|messages| self.take(messages)),
            };
            if let Err(error) = done {
                return self.fail(error, sender).await;
            }
        }
    }

    /// After what came before it.
    async fn fail(mut self, error: Error, sender: mpsc::Sender<Result<Came>>) {
        while let Some(events) = self.hand_on() {
            if sender.send(Ok(Came::Events(events))).await.is_err() {
                return;
            }
        }
        let _ = sender.send(Err(error)).await;
    }

    /// What came; nothing: a stream broke.
    fn take(&mut self, messages: Vec<ReceivedMessage>) {
        let broke = messages.is_empty();
        let (messages, beyond): (Vec<_>, Vec<_>) = messages.into_iter().partition(|it| self.is_wanted(it));
        if !beyond.is_empty() {
            let ack = self.ack(beyond.into_iter().map(|received| received.ack_id).collect());
            self.beyond.spawn(ack);
        }
        if messages.is_empty() && !broke {
            return;
        }
        let pause = if broke { COMES_AGAIN } else { Duration::ZERO };
        let ask_at = Instant::now() + pause + self.link.settings.quiet;
        self.ask_at = Some(self.ask_at.map_or(ask_at, |at| at.max(ask_at)));
        self.answered = false;
        if broke {
            return;
        }
        let (mut batch, mut scratch, mut ids) = (Batch::default(), HeadersBuf::default(), Vec::new());
        for received in messages {
            if let Some(message) = &received.message {
                message::push(&mut batch, &self.topic, message, &mut scratch);
            }
            ids.push(received.ack_id);
        }
        self.messages += ids.len();
        self.waiting.push_back((batch.finish().to_vec(), ids));
    }

    fn is_wanted(&self, received: &ReceivedMessage) -> bool {
        let published = received.message.as_ref().and_then(message::published);
        published.zip(self.end).is_none_or(|(at, end)| at <= end)
    }

    /// What comes twice because this failed comes twice to us alone.
    fn ack(&self, ids: Vec<String>) -> impl Future<Output = ()> + use<> {
        let (link, about, subscription) = (self.link.clone(), self.about.clone(), self.subscription.clone());
        async move {
            if let Outcome::Failed(error) = acknowledge(&link, &about, &subscription, &ids).await {
                tracing::debug!("{error}");
            }
        }
    }

    /// The oldest batch, which is acked.
    fn hand_on(&mut self) -> Option<Vec<Event>> {
        let (events, ids) = self.waiting.pop_front()?;
        self.messages -= ids.len();
        let ack = self.ack(ids);
        self.acks.spawn(ack);
        Some(events)
    }

    /// What waits for a reader that is slow stays ours.
    async fn keep(&self) {
        for (_, ids) in &self.waiting {
            if let Outcome::Failed(error) =
                modify(&self.link, &self.about, &self.subscription, ids, LEASE).await
            {
                tracing::debug!("{error}");
            }
        }
    }

    /// Without it `topics gc` of somebody else takes the subscription away, which is an error of the next pull; so one that
    /// is not allowed to say it may still look.
    async fn say_alive(&self) -> Result<()> {
        match subscriptions::refresh(&self.link, &self.about, &self.subscription).await {
            Err(error) if error.kind() == Kind::NotFound => Err(error),
            Err(error) => {
                tracing::warn!("the temporary subscription cannot say that it is in use: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn ask(&mut self) -> Result<()> {
        let messages = at_once(&self.link, &self.about, &self.subscription).await?;
        // As many as are told at a time, all behind the end: they hide what else there is.
        self.answered = messages.len() < AT_ONCE as usize;
        self.ask_at = Some(Instant::now() + ANSWERED);
        if !messages.is_empty() {
            self.take(messages);
        }
        Ok(())
    }
}
