//! Working: a task asks the queues (`work`), the desk is between it and the caller, `settle` says how each ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Client;
use super::desk::{self, Desk, Ticket};
use super::error::{About, Fault};
use super::name::{self, Place, queue_of};
use super::publisher::Post;
use super::settle::{What, tell};
use super::work::{Shared, Work, count};
use super::{MAX_RETRY, groups};
use crate::broker::{
    Error, Kind, Receipt, Received, Result, STORED, Settlement, Source, Stop, SubscribeOptions, Subscription,
    Token,
};
use crate::event::{Event, Name};

/// The longest that leaving takes.
const LEAVING: Duration = Duration::from_secs(10);
/// The longest lease: what a queue allows.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    client: &Arc<Client>,
    source: Source,
    options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    let SubscribeOptions { stop, in_flight, lease, grace: _, ordered: _ } = options;
    let wanted = sources(source)?;
    let bounded = match stop {
        Stop::Never => false,
        Stop::Now => true,
        Stop::At(_) => {
            return Err(wanted[0].2.error(Kind::Unsupported, "a queue has no positions to stop at"));
        }
    };
    let mut sources = Vec::with_capacity(wanted.len());
    for (topic, place, about) in wanted {
        let url = client.queue_of(&about, &place).await?;
        // Asked also where there is no stop: what was known of its name may be of one that was deleted.
        let waiting = groups::waiting(client, &about, &url).await?;
        let Some(waiting) = waiting else {
            client.forget(&format!("queue:{}", place.bare()));
            return Err(about.missing());
        };
        let waiting = match (bounded, waiting) {
            (true, attributes) => Some(count(&attributes, &QueueAttributeName::ApproximateNumberOfMessages)),
            (false, _) => None,
        };
        sources.push((desk::Source { topic, url, left: waiting }, about));
    }
    let lease = i32::try_from(lease.min(LONGEST).as_secs_f64().ceil().max(1.0) as u64).unwrap_or(i32::MAX);
    let taps: Vec<desk::Source> = sources.iter().map(|(source, _)| source.clone()).collect();
    let about = sources[0].1.clone();
    let desk = Desk::new(taps.clone(), in_flight, Duration::from_secs(u64::from(lease.unsigned_abs())));
    let shared = Arc::new(Shared::new(desk));
    let work = Work::new(client, shared.clone(), sources, lease, bounded);
    let (leave, told) = oneshot::channel();
    tokio::spawn(work.run(told));
    let (client, post) = (client.clone(), Post::new(client, None));
    Ok(Box::new(Member { client, shared, sources: taps, about, lease, leave, post }))
}

/// The queues that are meant, and how errors call each.
fn sources(source: Source) -> Result<Vec<(Name, Place, About)>> {
    const OPERATION: &str = "subscription";
    match source {
        Source::Group { topics, group } => {
            let mut sources = Vec::new();
            for topic in topics {
                name::topic(OPERATION, &topic)?;
                groups::has_groups(OPERATION, &topic, &group)?;
                name::group(OPERATION, &topic, &group)?;
                let about = About::group(OPERATION, &topic, &group);
                let queue = Place::Queue(queue_of(&topic, &group));
                sources.push((topic, queue, about));
            }
            Ok(sources)
        }
        Source::Queue(topic) => {
            name::topic(OPERATION, &topic)?;
            let about = About::topic(OPERATION, &topic);
            match Place::of(&topic) {
                Place::Topic(_) => {
                    let message =
                        "is no queue: a queue is named queue:NAME, and a topic is worked on by a group";
                    Err(about.error(Kind::Unsupported, message))
                }
                place => Ok(vec![(topic, place, about)]),
            }
        }
        Source::DeadLetters { dlq, chosen } => {
            name::topic(OPERATION, &dlq)?;
            let about = About::topic(OPERATION, &dlq);
            if chosen.is_some() {
                let message = "nothing can be chosen from a queue; take all, and release the rest";
                return Err(about.error(Kind::Unsupported, message));
            }
            let place = letters_place(&about, &dlq)?;
            Ok(vec![(dlq, place, about)])
        }
    }
}

/// The queue that dead letters lie in.
pub fn letters_place(about: &About, dlq: &str) -> Result<Place> {
    match Place::of(dlq) {
        Place::Topic(_) => {
            let message = "is a topic, and dead letters lie in queues: TOPIC.GROUP.dlq or queue:NAME";
            Err(about.error(Kind::Unsupported, message))
        }
        place => Ok(place),
    }
}

struct Member {
    client: Arc<Client>,
    shared: Arc<Shared>,
    sources: Vec<desk::Source>,
    about: About,
    lease: i32,
    leave: oneshot::Sender<oneshot::Sender<()>>,
    post: Post,
}

fn lost() -> Error {
    About::new("settle", "")
        .error(Kind::Lost, "its lease ended while it was worked on, and the queue hands the event out again")
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let rung = self.shared.bell.notified();
            let (said, lapse) = {
                let mut desk = self.shared.desk();
                (desk.say(Instant::now()), desk.next_lapse())
            };
            if let Some(said) = said {
                self.shared.room.notify_one();
                return said;
            }
            match lapse {
                Some(lapse) => {
                    let _ = tokio::time::timeout_at(lapse, rung).await;
                }
                None => rung.await,
            }
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let mut answers: Vec<Result<Option<Receipt>>> = Vec::with_capacity(items.len());
        let (mut acks, mut retries) = (Vec::new(), Vec::new());
        let (mut moves, mut moved) = (Vec::<(Event, Option<Name>)>::new(), Vec::new());
        let now = Instant::now();
        for (at, (token, how)) in items.into_iter().enumerate() {
            let Some(ticket) = self.shared.desk().ticket(token, now) else {
                answers.push(Err(lost()));
                continue;
            };
            answers.push(Ok(None));
            match how {
                Settlement::Ack => acks.push((at, token)),
                Settlement::Release => self.shared.desk().release(token),
                Settlement::Retry(delay) if delay > MAX_RETRY => {
                    let message = format!("a queue keeps an event back for at most {MAX_RETRY:?}");
                    answers[at] = Err(About::new("settle", "").error(Kind::Unsupported, message));
                }
                Settlement::Retry(delay) => retries.push((at, token, ticket, delay)),
                Settlement::Move { event, only } => {
                    moves.push((*event, only));
                    moved.push((at, token));
                }
            }
        }
        self.retry(retries, &mut answers).await?;
        if !moves.is_empty() {
            for ((at, token), receipt) in moved.into_iter().zip(self.post.go(moves).await) {
                match receipt {
                    Ok(receipt) => {
                        answers[at] = Ok(Some(receipt));
                        acks.push((at, token));
                    }
                    Err(error) => answers[at] = Err(error),
                }
            }
        }
        self.ack(acks, &mut answers).await?;
        self.shared.room.notify_one();
        self.shared.bell.notify_one();
        Ok(answers)
    }

    async fn extend(&self, tokens: &[Token]) -> Result<()> {
        let now = Instant::now();
        let tickets: Vec<Ticket> = {
            let desk = self.shared.desk();
            tokens.iter().filter_map(|token| desk.ticket(*token, now)).collect()
        };
        if !tickets.is_empty() {
            let services = self.client.services(&self.about).await?;
            let told = tell(&self.client, services, &self.sources, &tickets, What::Hide(self.lease)).await;
            let mut desk = self.shared.desk();
            for (ticket, told) in tickets.iter().zip(told) {
                match told {
                    Ok(()) => desk.extended(ticket, now),
                    Err(Fault { kind: Kind::Lost, .. }) => {
                        ticket.token.into_iter().for_each(|token| desk.lose(token, now));
                    }
                    // It lapses by itself, if no later word reaches the queue.
                    Err(fault) => tracing::debug!("a lease was not extended: {}", fault.message),
                }
            }
        }
        self.shared.room.notify_one();
        self.shared.bell.notify_one();
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        if self.leave.send(done).is_ok() {
            let _ = tokio::time::timeout(LEAVING, is_done).await;
        }
        Ok(())
    }
}

impl Member {
    /// What is ours still of these.
    fn tickets(
        &self,
        of: impl Iterator<Item = (usize, Token)>,
        answers: &mut [Result<Option<Receipt>>],
    ) -> (Vec<(usize, Token)>, Vec<Ticket>) {
        let (now, desk) = (Instant::now(), self.shared.desk());
        let (mut mine, mut tickets) = (Vec::new(), Vec::new());
        for (at, token) in of {
            match desk.ticket(token, now) {
                Some(ticket) => {
                    mine.push((at, token));
                    tickets.push(ticket);
                }
                None => answers[at] = Err(unacked(&answers[at], lost())),
            }
        }
        (mine, tickets)
    }

    async fn ack(&self, acks: Vec<(usize, Token)>, answers: &mut [Result<Option<Receipt>>]) -> Result<()> {
        let (mine, tickets) = self.tickets(acks.into_iter(), answers);
        if mine.is_empty() {
            return Ok(());
        }
        let services = self.client.services(&self.about).await?;
        let told = tell(&self.client, services, &self.sources, &tickets, What::Delete).await;
        let mut desk = self.shared.desk();
        for ((at, token), told) in mine.into_iter().zip(told) {
            match told {
                Ok(()) => desk.settled(token),
                Err(fault) => {
                    answers[at] = Err(unacked(&answers[at], not_told(&fault)));
                    desk.lose(token, Instant::now());
                }
            }
        }
        Ok(())
    }

    async fn retry(
        &self,
        retries: Vec<(usize, Token, Ticket, Duration)>,
        answers: &mut [Result<Option<Receipt>>],
    ) -> Result<()> {
        if retries.is_empty() {
            return Ok(());
        }
        let services = self.client.services(&self.about).await?;
        let mut by_delay: std::collections::BTreeMap<i32, Vec<(usize, Token, Ticket)>> = Default::default();
        for (at, token, ticket, delay) in retries {
            let seconds = delay.as_secs_f64().ceil() as i32;
            by_delay.entry(seconds).or_default().push((at, token, ticket));
        }
        for (seconds, group) in by_delay {
            let tickets: Vec<Ticket> = group.iter().map(|(_, _, ticket)| ticket.clone()).collect();
            let told = tell(&self.client, services, &self.sources, &tickets, What::Hide(seconds)).await;
            let at_least = Instant::now() + Duration::from_secs(u64::from(seconds.unsigned_abs()));
            let mut desk = self.shared.desk();
            for ((at, token, _), told) in group.into_iter().zip(told) {
                match told {
                    Ok(()) => desk.retried(token, at_least),
                    Err(fault) => {
                        answers[at] = Err(not_told(&fault));
                        desk.lose(token, Instant::now());
                    }
                }
            }
        }
        Ok(())
    }
}

/// What an ack that failed means: with a receipt a move has stored the event, and it is twice there when it comes again.
fn unacked(answer: &Result<Option<Receipt>>, why: Error) -> Error {
    match answer {
        Ok(Some(_)) => About::new(STORED, "").error(
            Kind::Lost,
            format!(
                "the event was stored, and the original not acked, so that it is handed out again: {why}"
            ),
        ),
        _ => why,
    }
}

/// A settlement of which the queue does not know for certain.
fn not_told(fault: &Fault) -> Error {
    let about = About::new("settle", "");
    match fault.kind {
        Kind::Lost => lost(),
        _ => about.fault(fault),
    }
}
