//! The tasks of a member: one per subscription that pulls, one that keeps ours what nobody has in hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::ReceivedMessage;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::desk::{Ack, Arrived, Desk};
use super::error::About;
use super::link::Link;
use super::pull::{Outcome, Pull, Wish, modify};
use super::subscriptions::{self, short};
use crate::broker::{Error, Result};

/// What Pub/Sub itself says of a dead letter: the subscription that gave it up, and its project.
const SOURCE: [&str; 2] =
    ["CloudPubSubDeadLetterSourceSubscription", "CloudPubSubDeadLetterSourceSubscriptionProject"];
/// Bytes that the service sends ahead.
const BYTES: i64 = 64 << 20;
/// The shortest time between two extensions.
const LEAST: Duration = Duration::from_millis(100);
/// Ack ids of one request.
const MANY: usize = 1000;

/// What the tasks and the member both see.
pub struct Shared {
    desk: Mutex<Desk>,
    /// Rung when there is something to say.
    pub bell: Notify,
    /// Rung when there may be room for more.
    pub room: Notify,
    /// Rung when something was handed out, so that another lease may be the first to end.
    pub changed: Notify,
}

impl Shared {
    /// With nothing done yet.
    pub fn new(desk: Desk) -> Shared {
        Shared { desk: Mutex::new(desk), bell: Notify::new(), room: Notify::new(), changed: Notify::new() }
    }

    /// What is in hand. Never held over an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the member wants of a task.
pub enum Order {
    /// Another stream: the window of the one there is is full of what was released.
    Widen,
    /// Leave, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// The way to a task. Dropped, the task ends.
pub type Orders = mpsc::UnboundedSender<Order>;

/// How to work.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The lease, as the service is told.
    pub seconds: i32,
    /// The same as it is counted here.
    pub lease: Duration,
    /// The most messages unsettled, of each subscription; 0: no limit.
    pub window: usize,
    /// Whether they are dead letters, which say where they died.
    pub letters: bool,
}

/// Begins to pull from all sources.
pub fn begin(link: &Arc<Link>, shared: &Arc<Shared>, abouts: &[About], plan: Plan) -> Vec<Orders> {
    let subscriptions: Vec<String> =
        shared.desk().sources.iter().map(|source| source.subscription.clone()).collect();
    let mut all = Vec::new();
    for (at, (subscription, about)) in subscriptions.iter().zip(abouts).enumerate() {
        let wish = Wish {
            subscription: subscription.clone(),
            lease: plan.seconds,
            messages: i64::try_from(plan.window).unwrap_or(i64::MAX),
            bytes: if plan.window == 0 { 0 } else { BYTES },
        };
        let (orders, received) = mpsc::unbounded_channel();
        let work = Work {
            pull: Pull::new(link.clone(), about.clone(), wish),
            link: link.clone(),
            shared: shared.clone(),
            about: about.clone(),
            at,
            plan,
            topics: HashMap::new(),
        };
        tokio::spawn(work.run(received));
        all.push(orders);
    }
    all
}

struct Work {
    pull: Pull,
    link: Arc<Link>,
    shared: Arc<Shared>,
    about: About,
    /// Which source.
    at: usize,
    plan: Plan,
    /// Topics of subscriptions that dead letters name; `None`: they have none that could be published to.
    topics: HashMap<String, Option<String>>,
}

impl Work {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let third = (self.plan.lease / 3).max(LEAST);
        let mut keeping = tokio::time::interval_at(Instant::now() + third, third);
        keeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            let shared = self.shared.clone();
            let (room, changed) = (shared.room.notified(), shared.changed.notified());
            let (full, deaf, over) = {
                let desk = self.shared.desk();
                (desk.is_full(), desk.has_lost(), desk.next_end())
            };
            if deaf && !self.pull.is_ended() {
                self.stop_taking().await;
                continue;
            }
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Close(done)) => {
                        return self.leave(done).await;
                    }
                    Some(Order::Widen) if self.plan.window == 0 => {}
                    Some(Order::Widen) => {
                        self.pull.widen();
                        self.shared.desk().stir(Instant::now());
                    }
                },
                _ = keeping.tick() => self.keep().await,
                () = tokio::time::sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => {
                    let given_up = self.shared.desk().expire(Instant::now());
                    self.shared.bell.notify_one();
                    self.give_back(given_up).await;
                }
                () = room, if full || deaf => {}
                // Whatever changes what is waited for here rings.
                () = changed => {}
                came = self.pull.next(), if !full && !deaf && !failed => match came {
                    Ok(messages) if messages.is_empty() => {
                        let lease = Duration::from_secs(u64::try_from(self.plan.seconds).unwrap_or(0));
                        self.shared.desk().broke(lease, Instant::now());
                    }
                    Ok(messages) => {
                        let now = Instant::now();
                        let (arrived, error) = self.arrived(messages).await;
                        let mut desk = self.shared.desk();
                        desk.arrived(self.at, arrived, now);
                        if let Some(error) = error {
                            failed = true;
                            desk.fail(error);
                        }
                        self.shared.bell.notify_one();
                    }
                    Err(error) => {
                        failed = true;
                        self.shared.desk().fail(error);
                        self.shared.bell.notify_one();
                    }
                },
            }
        }
    }

    /// What was under way goes back with the rest.
    async fn leave(mut self, done: oneshot::Sender<()>) {
        self.end().await;
        let _ = done.send(());
    }

    async fn end(&mut self) {
        let rest = self.pull.end().await;
        let rest = rest.into_iter().map(|received| Arrived { received, source_topic: None }).collect();
        self.shared.desk().arrived(self.at, rest, Instant::now());
    }

    /// Something was lost and nobody has heard of it: until then others shall have what comes.
    async fn stop_taking(&mut self) {
        self.end().await;
        let waiting = self.shared.desk().give_back_waiting(self.at);
        self.give_back(waiting).await;
    }

    async fn give_back(&mut self, acks: Vec<Ack>) {
        let mut by_source: HashMap<usize, Vec<String>> = HashMap::new();
        acks.into_iter().for_each(|(source, id)| by_source.entry(source).or_default().push(id));
        for (source, ids) in by_source {
            let subscription = self.shared.desk().sources[source].subscription.clone();
            for some in ids.chunks(MANY) {
                if let Outcome::Failed(error) = modify(&self.link, &self.about, &subscription, some, 0).await
                {
                    tracing::debug!("{error}");
                }
            }
        }
    }

    /// Keeps ours what waits here.
    async fn keep(&mut self) {
        let kept = self.shared.desk().kept();
        let ids: Vec<String> = kept.into_iter().filter(|(at, _)| *at == self.at).map(|(_, id)| id).collect();
        let subscription = self.shared.desk().sources[self.at].subscription.clone();
        for some in ids.chunks(MANY) {
            let asked = Instant::now();
            let told = modify(&self.link, &self.about, &subscription, some, self.plan.seconds).await;
            match told {
                Outcome::Failed(error) => return tracing::debug!("{error}"),
                Outcome::Done | Outcome::Refused(_) => self.shared.desk().kept_on(asked),
            }
        }
    }

    /// Dead letters say the subscription that gave them up, and not its topic, which it is asked for. With the error of the
    /// first that could not be asked: what has arrived is given back with the rest.
    async fn arrived(&mut self, messages: Vec<ReceivedMessage>) -> (Vec<Arrived>, Option<Error>) {
        let (mut all, mut failed) = (Vec::with_capacity(messages.len()), None);
        for received in messages {
            let asks = self.plan.letters && failed.is_none();
            let source_topic = match asks {
                true => self.source_topic(&received).await.unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                }),
                false => None,
            };
            all.push(Arrived { received, source_topic });
        }
        (all, failed)
    }

    /// `Ok(None)`: it names no subscription, or one that is gone, has lost its topic, or is another project's, whose topic
    /// cannot be published to by its name alone.
    async fn source_topic(&mut self, received: &ReceivedMessage) -> Result<Option<String>> {
        let attributes = received.message.as_ref().map(|message| &message.attributes);
        let Some(subscription) = attributes.and_then(|attributes| attributes.get(SOURCE[0])) else {
            return Ok(None);
        };
        let ours = &self.link.settings.project;
        if attributes.and_then(|attributes| attributes.get(SOURCE[1])).is_some_and(|project| project != ours)
        {
            return Ok(None);
        }
        if let Some(known) = self.topics.get(subscription) {
            return Ok(known.clone());
        }
        let about = About::new("subscription", format!("{subscription}, where a dead letter was given up"));
        let found =
            subscriptions::get(&self.link, &about, &self.link.settings.subscription(subscription)).await?;
        let topic =
            found.map(|found| short(&found.topic).to_owned()).filter(|topic| topic != "_deleted-topic_");
        self.topics.insert(subscription.clone(), topic.clone());
        Ok(topic)
    }
}
