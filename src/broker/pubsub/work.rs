//! The tasks of a member: one per subscription that pulls, one that keeps ours what nobody has in hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::ReceivedMessage;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::desk::{Arrived, Desk};
use super::error::About;
use super::link::Link;
use super::pull::{Outcome, Pull, Wish, modify};
use super::subscriptions::{self, short};

/// What Pub/Sub itself says of a dead letter: the subscription that gave it up, and its project.
const SOURCE: [&str; 2] =
    ["CloudPubSubDeadLetterSourceSubscription", "CloudPubSubDeadLetterSourceSubscriptionProject"];
/// Bytes that the service sends ahead.
const BYTES: i64 = 64 << 20;
/// Ack ids of one request.
const MANY: usize = 1000;

/// What the tasks and the member both see.
pub struct Shared {
    desk: Mutex<Desk>,
    /// Rung when there is something to say.
    pub bell: Notify,
    /// Rung when there may be room for more.
    pub room: Notify,
}

impl Shared {
    /// With nothing done yet.
    pub fn new(desk: Desk) -> Shared {
        Shared { desk: Mutex::new(desk), bell: Notify::new(), room: Notify::new() }
    }

    /// What is in hand. Never held over an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the member wants of a task.
pub enum Order {
    /// Another stream: the window of the one there is is full of what was released.
    Renew,
    /// Leave, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// The way to a task. Dropped, the task ends.
pub type Orders = mpsc::UnboundedSender<Order>;

/// How to work.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The lease.
    pub seconds: i32,
    /// The most messages unsettled, of each subscription; 0: no limit.
    pub window: usize,
    /// Whether they are dead letters, which say where they died.
    pub letters: bool,
}

/// Begins to pull from all sources.
pub fn begin(link: &Arc<Link>, shared: &Arc<Shared>, abouts: &[About], plan: Plan) -> Vec<Orders> {
    let client = format!("{:032x}", fastrand::u128(..));
    let subscriptions: Vec<String> =
        shared.desk().sources.iter().map(|source| source.subscription.clone()).collect();
    let mut all = Vec::new();
    for (at, (subscription, about)) in subscriptions.iter().zip(abouts).enumerate() {
        let wish = Wish {
            subscription: subscription.clone(),
            lease: plan.seconds,
            messages: i64::try_from(plan.window).unwrap_or(i64::MAX),
            bytes: if plan.window == 0 { 0 } else { BYTES },
            client: client.clone(),
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
    /// Topics of subscriptions that dead letters name; `None`: nobody could tell.
    topics: HashMap<String, Option<String>>,
}

impl Work {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let third = std::time::Duration::from_secs(u64::try_from(self.plan.seconds).unwrap_or(10)) / 3;
        let mut keeping = tokio::time::interval(third);
        keeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            let shared = self.shared.clone();
            let room = shared.room.notified();
            let full = self.shared.desk().is_full();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Close(done)) => {
                        drop(self.pull);
                        let _ = done.send(());
                        return;
                    }
                    Some(Order::Renew) => {
                        self.pull.renew();
                        self.shared.desk().stir(Instant::now());
                    }
                },
                _ = keeping.tick() => self.keep().await,
                () = room, if full => {}
                came = self.pull.next(), if !full && !failed => match came {
                    Ok(messages) => {
                        let now = Instant::now();
                        let arrived = self.arrived(messages).await;
                        self.shared.desk().arrived(self.at, arrived, now);
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

    /// Dead letters say the subscription that gave them up, and not its topic, which it is asked for.
    async fn arrived(&mut self, messages: Vec<ReceivedMessage>) -> Vec<Arrived> {
        let mut all = Vec::with_capacity(messages.len());
        for received in messages {
            let source_topic = match self.plan.letters {
                true => self.source_topic(&received).await,
                false => None,
            };
            all.push(Arrived { received, source_topic });
        }
        all
    }

    async fn source_topic(&mut self, received: &ReceivedMessage) -> Option<String> {
        let attributes = &received.message.as_ref()?.attributes;
        let subscription = attributes.get(SOURCE[0])?;
        let project = attributes.get(SOURCE[1]).unwrap_or(&self.link.settings.project);
        let full = format!("projects/{project}/subscriptions/{subscription}");
        if let Some(known) = self.topics.get(&full) {
            return known.clone();
        }
        // One of another project has a topic that cannot be published to by its name alone.
        let ours = *project == self.link.settings.project;
        let found = match ours {
            true => subscriptions::get(&self.link, &self.about, &full).await.ok().flatten(),
            false => None,
        };
        let topic = found.map(|found| short(&found.topic).to_owned()).filter(|topic| topic != "_deleted-topic_");
        self.topics.insert(full, topic.clone());
        topic
    }
}
