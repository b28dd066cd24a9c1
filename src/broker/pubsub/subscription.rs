//! Working: a task per subscription pulls (`work`), the desk is between them and the caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::{Ack, Desk, Source as Place};
use super::error::About;
use super::link::Link;
use super::name::{self, Place as Named, subscription_of};
use super::publisher::Post;
use super::pull::{Outcome, acknowledge, is_transient, modify};
use super::subscriptions::{self, short};
use super::work::{self, Order, Shared};
use crate::broker::{
    Error, Kind, Receipt, Received, Result, STORED, Settlement, Source, Stop, SubscribeOptions, Subscription,
    Token,
};

/// The leases that the service knows.
const LEASES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(600)];
/// Ack ids of one request, which has 512 KiB at most.
const MANY: usize = 1000;
/// How often an ack is said again that the service could not take for the moment.
const AGAIN: u32 = 5;
/// The longest that leaving takes: what is not given back then comes again when its lease is over.
const LEAVING: Duration = Duration::from_secs(10);

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    link: Arc<Link>,
    source: Source,
    options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    let SubscribeOptions { stop, in_flight, lease, grace: _, ordered } = options;
    let letters = matches!(source, Source::DeadLetters { .. });
    let (places, abouts) = places(&link, source)?;
    let clock = link.settings.clock.clone();
    let stop = match stop {
        Stop::Never => None,
        Stop::Now => Some(clock()),
        Stop::At(_) => {
            return Err(abouts[0].error(Kind::Unsupported, "a subscription has no positions to stop at"));
        }
    };
    let mut quiet = link.settings.quiet;
    for (place, about) in places.iter().zip(&abouts) {
        let found = exists(&link, place, about, !letters).await?;
        quiet = quiet.max(link.settings.quiet + subscriptions::least_pause(&found));
    }
    // What is published from here on lies behind the end.
    while stop.is_some_and(|stop| clock() <= stop) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Counted here the lease may be shorter than any that the service knows; it is never longer.
    let seconds = lease.clamp(LEASES[0], LEASES[1]).as_secs_f64().ceil() as i32;
    let desk = Desk::new(places, in_flight, lease.min(LEASES[1]), stop, quiet, ordered);
    let shared = Arc::new(Shared::new(desk));
    let lease = lease.min(LEASES[1]);
    let plan = work::Plan { seconds, lease, window: if letters { 0 } else { in_flight.max(1) }, letters };
    let orders = work::begin(&link, &shared, &abouts, plan);
    let post = Post::new(link.clone());
    Ok(Box::new(Member { link, shared, orders, post, abouts, seconds }))
}

/// The subscriptions that are meant, and how errors call each.
fn places(link: &Link, source: Source) -> Result<(Vec<Place>, Vec<About>)> {
    const OPERATION: &str = "subscription";
    let full = |name: &str| link.settings.subscription(name);
    match source {
        Source::Group { topics, group } => {
            let (mut places, mut abouts) = (Vec::new(), Vec::new());
            for topic in topics {
                let about = About::group(OPERATION, &topic, &group);
                if let Named::Subscription(_) = Named::of(&topic) {
                    let message = "only a topic has groups; a subscription is worked on as it is";
                    return Err(about.error(Kind::Unsupported, message));
                }
                let subscription = subscription_of(&topic, &group);
                name::topic(OPERATION, &topic)?;
                if let Named::Topic(group) = Named::of(&group) {
                    name::group(OPERATION, &topic, group)?;
                }
                places.push(Place { subscription: full(&subscription), topic });
                abouts.push(about);
            }
            Ok((places, abouts))
        }
        Source::Queue(topic) => {
            let about = About::topic(OPERATION, &topic);
            let Named::Subscription(subscription) = Named::of(&topic) else {
                let message =
                    "is no subscription, which is named subscription:NAME; a topic is worked on by a group";
                return Err(about.error(Kind::Unsupported, message));
            };
            name::topic(OPERATION, &topic)?;
            Ok((vec![Place { subscription: full(subscription), topic: topic.clone() }], vec![about]))
        }
        Source::DeadLetters { dlq, chosen } => {
            name::topic(OPERATION, &dlq)?;
            let about = About::topic(OPERATION, &dlq);
            if chosen.is_some() {
                let message = "nothing can be chosen from a subscription; take all, and release the rest";
                return Err(about.error(Kind::Unsupported, message));
            }
            let subscription = full(Named::of(&dlq).subscription());
            Ok((vec![Place { subscription, topic: dlq }], vec![about]))
        }
    }
}

/// The subscription. Refuses one that is not there, or that nobody can pull.
async fn exists(link: &Link, place: &Place, about: &About, group: bool) -> Result<api::Subscription> {
    let Some(found) = subscriptions::get(link, about, &place.subscription).await? else {
        return Err(match group {
            true => about.missing(),
            false => about
                .error(Kind::NotFound, "there is no subscription that keeps its dead letters")
                .with_hint(format!(
                    "one of the name of its topic, '{}', or name another: subscription:NAME",
                    short(&place.subscription)
                )),
        });
    };
    if group
        && let Named::Topic(topic) = Named::of(&place.topic)
        && short(&found.topic) != topic
    {
        let message =
            format!("its subscription gets another topic's events, those of {}", short(&found.topic));
        return Err(about.error(Kind::Rejected, message));
    }
    if found.detached {
        return Err(about.error(Kind::Rejected, "was detached from its topic, and gets nothing any more"));
    }
    let pushed = found.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty());
    if pushed || found.bigquery_config.is_some() || found.cloud_storage_config.is_some() {
        return Err(about
            .error(Kind::Unsupported, "Pub/Sub itself delivers its events elsewhere: it cannot be pulled"));
    }
    Ok(found)
}

struct Member {
    link: Arc<Link>,
    shared: Arc<Shared>,
    orders: Vec<work::Orders>,
    post: Post,
    abouts: Vec<About>,
    seconds: i32,
}

fn lost() -> Error {
    About::new("settle", "").error(Kind::Lost, "its lease ended, and the service hands the event out again")
}

/// It could not be acked. `before`: what is known of it; a receipt, if its copy is stored.
fn not_acked(before: &Result<Option<Receipt>>, error: Error) -> Error {
    match before {
        Ok(Some(_)) => {
            let words =
                format!("it was stored, and comes again because it is not acked: {}", error.detail().message);
            About::new(STORED, error.detail().subject.clone()).error(error.kind(), words)
        }
        _ => error,
    }
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let rung = self.shared.bell.notified();
            let (said, end, ask) = {
                let (mut desk, now) = (self.shared.desk(), Instant::now());
                (desk.say(now), desk.end(), desk.is_to_ask(now))
            };
            self.shared.room.notify_waiters();
            if let Some(said) = said {
                self.shared.changed.notify_waiters();
                return said;
            }
            if ask {
                self.ask().await?;
                continue;
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {}
            }
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let mut answers: Vec<Result<Option<Receipt>>> = Vec::with_capacity(items.len());
        let (mut acks, mut moves, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        let refuse = |message: &str| Err(About::new("settle", "").error(Kind::Unsupported, message));
        for (at, (token, how)) in items.into_iter().enumerate() {
            if !self.shared.desk().holds(token, Instant::now()) {
                answers.push(Err(lost()));
                continue;
            }
            answers.push(Ok(None));
            match how {
                Settlement::Ack => acks.push((at, token)),
                Settlement::Release => self.shared.desk().release(token, Instant::now()),
                Settlement::Move { only: Some(_), .. } => {
                    answers[at] = refuse(
                        "one subscription alone cannot be addressed: what is published goes to all of its topic",
                    );
                }
                Settlement::Move { event, only: None } => {
                    moves.push(*event);
                    moved.push((at, token));
                }
                Settlement::Retry(_) => {
                    answers[at] = refuse(
                        "the event is held here until it is tried again: a way back counts as a failure",
                    );
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
        if self.shared.desk().needs_streams() {
            self.orders.iter().for_each(|orders| drop(orders.send(Order::Widen)));
        }
        self.shared.bell.notify_one();
        Ok(answers)
    }

    async fn extend(&self, tokens: &[Token]) -> Result<()> {
        let now = Instant::now();
        let mut mine: HashMap<usize, Vec<(Token, String)>> = HashMap::new();
        {
            let mut desk = self.shared.desk();
            for token in tokens {
                if desk.holds(*token, now)
                    && let Some((source, id)) = desk.ack_of(*token)
                {
                    mine.entry(source).or_default().push((*token, id));
                }
            }
        }
        for (source, held) in mine {
            for some in held.chunks(MANY) {
                let ids: Vec<String> = some.iter().map(|(_, id)| id.clone()).collect();
                let subscription = self.subscription(source);
                // Counted from before it was asked.
                let asked = Instant::now();
                let outcome =
                    modify(&self.link, &self.abouts[source], &subscription, &ids, self.seconds).await;
                let mut desk = self.shared.desk();
                for (token, id) in some {
                    match &outcome {
                        Outcome::Done => desk.extended(&[*token], asked),
                        Outcome::Refused(refused) => match refused.get(id) {
                            None => desk.extended(&[*token], asked),
                            Some(reason) if is_transient(reason) => {}
                            // By the name it has now, if it came again meanwhile, it is extended the next time.
                            Some(_) if desk.ack_of(*token).is_some_and(|(_, newer)| newer != *id) => {}
                            Some(_) => drop(desk.lose(*token, Instant::now())),
                        },
                        // Ours until the time that is known; then it is lost.
                        Outcome::Failed(error) => tracing::debug!("{error}"),
                    }
                }
            }
        }
        self.shared.bell.notify_one();
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let leaving = async {
            for orders in &self.orders {
                let (done, is_done) = oneshot::channel();
                if orders.send(Order::Close(done)).is_ok() {
                    let _ = is_done.await;
                }
            }
            let back = self.shared.desk().give_back();
            self.give_back(back).await;
        };
        let _ = tokio::time::timeout(LEAVING, leaving).await;
        Ok(())
    }
}

impl Member {
    /// Asks the server whether it is there.
    async fn ask(&self) -> Result<()> {
        let asked = Instant::now();
        for (source, about) in self.abouts.iter().enumerate() {
            subscriptions::is_there(&self.link, about, &self.subscription(source)).await?;
        }
        self.shared.desk().answered(asked, Instant::now());
        Ok(())
    }

    fn subscription(&self, source: usize) -> String {
        self.shared.desk().sources[source].subscription.clone()
    }

    /// Acks what is still ours, and says of each what became of it.
    async fn ack(&self, acks: Vec<(usize, Token)>, answers: &mut [Result<Option<Receipt>>]) {
        let mut by_source: HashMap<usize, Vec<(usize, Token, String)>> = HashMap::new();
        for (at, token) in acks {
            let mut desk = self.shared.desk();
            match desk.holds(token, Instant::now()).then(|| desk.ack_of(token)).flatten() {
                Some((source, id)) => by_source.entry(source).or_default().push((at, token, id)),
                None => answers[at] = Err(not_acked(&answers[at], lost())),
            }
        }
        for (source, mut items) in by_source {
            while !items.is_empty() {
                let some: Vec<_> = items.drain(..items.len().min(MANY)).collect();
                self.ack_some(source, some, answers).await;
            }
        }
    }

    async fn ack_some(
        &self,
        source: usize,
        mut items: Vec<(usize, Token, String)>,
        answers: &mut [Result<Option<Receipt>>],
    ) {
        let subscription = self.subscription(source);
        let about = About::new("settle", self.abouts[source].subject.clone());
        for round in 0..=AGAIN {
            let ids: Vec<String> = items.iter().map(|(.., id)| id.clone()).collect();
            let outcome = acknowledge(&self.link, &about, &subscription, &ids).await;
            let mut again = Vec::new();
            {
                let mut desk = self.shared.desk();
                for (at, token, id) in items {
                    match &outcome {
                        Outcome::Done => desk.settled(token, Instant::now()),
                        Outcome::Refused(refused) => match refused.get(&id) {
                            None => desk.settled(token, Instant::now()),
                            Some(reason) if is_transient(reason) && round < AGAIN => {
                                again.push((at, token, id))
                            }
                            Some(_) => match desk.ack_of(token) {
                                // It came again meanwhile, to us, and is ours by another name.
                                Some((_, newer)) if newer != id && round < AGAIN => {
                                    again.push((at, token, newer))
                                }
                                _ => {
                                    desk.lose(token, Instant::now());
                                    answers[at] = Err(not_acked(&answers[at], lost()));
                                }
                            },
                        },
                        Outcome::Failed(error) => answers[at] = Err(not_acked(&answers[at], error.clone())),
                    }
                }
            }
            if again.is_empty() {
                return;
            }
            items = again;
            tokio::time::sleep(Duration::from_millis(100) * (1 << round)).await;
        }
    }

    /// In the order in which they came, so that a key begins with its first.
    async fn give_back(&self, acks: Vec<Ack>) {
        let mut by_source: HashMap<usize, Vec<String>> = HashMap::new();
        for (source, id) in acks {
            by_source.entry(source).or_default().push(id);
        }
        for (source, ids) in by_source {
            let subscription = self.subscription(source);
            for some in ids.chunks(MANY) {
                if let Outcome::Failed(error) =
                    modify(&self.link, &self.abouts[source], &subscription, some, 0).await
                {
                    tracing::debug!("{error}");
                }
            }
        }
    }
}
