//! Looking at topics from now on, each by a queue of our own that is subscribed to it for as long as this takes.
//!
//! A queue in the raw form does not say which topic a message is from, so there is one for each. Its name begins with
//! `evcat-tail-` and says when it was made; whoever looks touches it every few minutes, so that `topics gc` can tell one
//! that was left behind by a kill.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::Client;
use super::desk::{Source, Ticket};
use super::error::{About, Fault};
use super::name::{self, FIFO, Place, TEMPORARY};
use super::queues::{self, TOPIC_TAG};
use super::receive::receive;
use super::settle::{What, tell};
use crate::broker::{Error, Kind, Read, ReadOptions, Reader, Result, Start, Stop};
use crate::event::{Event, Events, Name, Position};

/// What a tail's queue keeps for a reader that stands still.
const KEPT: &str = "86400";
/// How often it is touched.
const TOUCH: Duration = Duration::from_secs(300);
/// For how long a message is ours until it is deleted, which is at once.
const LEASE: i32 = 60;
/// Batches that wait for a reader that is slow.
const AHEAD: usize = 16;
/// Requests at a time on a queue where a lot comes.
const RECEIVERS: usize = 4;
/// The longest that leaving takes.
const LEAVING: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a request is left open after so many that brought nothing.
const WAITS: [i32; 6] = [1, 1, 2, 5, 10, 20];

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(client: &Arc<Client>, options: ReadOptions) -> Result<Box<dyn Reader>> {
    let ReadOptions { topics, partition, start, stop, unsettled: _ } = options;
    let about = About::topic("reader", topics.first().map_or("", |topic| topic));
    if partition.is_some() {
        return Err(about.error(Kind::Unsupported, "there are no partitions here"));
    }
    for topic in &topics {
        name::topic("reader", topic)?;
        if !matches!(Place::of(topic), Place::Topic(_)) {
            return Err(queues_are_not_looked_at(topic));
        }
    }
    if start != Start::Latest || matches!(stop, Stop::At(_)) {
        let message = "a topic of SNS keeps nothing: it is seen from now on";
        return Err(about.error(Kind::Unsupported, message).with_hint(
            "what is to be read again must be kept by a group of its own from the beginning: evcat groups create",
        ));
    }
    let over = stop == Stop::Now;
    let mut arns = Vec::new();
    for topic in &topics {
        let about = About::topic("reader", topic);
        arns.push(client.topic(&about, topic).await?.ok_or_else(|| about.missing())?);
    }
    let (sender, came) = mpsc::channel(AHEAD);
    let mut tail = Tail {
        client: client.clone(),
        taps: Vec::new(),
        came,
        places: topics.iter().map(|topic| (topic.clone(), Position::Unknown)).collect(),
        held: Vec::new(),
        waiting: VecDeque::new(),
        over,
        told: false,
        failed: None,
    };
    if over {
        return Ok(Box::new(tail));
    }
    for (topic, arn) in topics.iter().zip(arns) {
        match Tap::open(client, topic, &arn, sender.clone()).await {
            Ok(tap) => tail.taps.push(tap),
            Err(error) => {
                // What was made for the others is not left behind.
                let _ = tail.remove().await;
                return Err(error);
            }
        }
    }
    Ok(Box::new(tail))
}

fn queues_are_not_looked_at(queue: &str) -> Error {
    About::topic("reader", queue)
        .error(Kind::Unsupported, "looking at a queue hides its messages from its readers for a while")
        .with_hint(format!("tail the topic that it is subscribed to; dead letters: evcat dlq peek {queue}"))
}

/// A queue of ours, and the task that empties it.
struct Tap {
    about: About,
    url: Arc<str>,
    subscription: String,
    task: JoinHandle<()>,
}

impl Tap {
    async fn open(
        client: &Arc<Client>,
        topic: &Name,
        arn: &str,
        sender: mpsc::Sender<Result<Vec<Event>>>,
    ) -> Result<Tap> {
        let about = About::topic("reader", topic);
        let fifo = if arn.ends_with(FIFO) { FIFO } else { "" };
        let made_at = (client.settings.clock)() / 1000;
        let queue = format!("{TEMPORARY}{made_at}-{:016x}{fifo}", fastrand::u64(..));
        let attributes = [
            (Attribute::MessageRetentionPeriod, KEPT.to_owned()),
            (Attribute::Policy, queues::policy(&queue, arn)),
        ];
        let (url, queue_arn) = queues::make(client, &about, &queue, &attributes, &[(TOPIC_TAG, arn)]).await?;
        let subscription = match queues::subscribe(client, &about, arn, &queue_arn).await {
            Ok(subscription) => subscription,
            Err(error) => {
                // It is what failed that is told; `topics gc` finds the queue if this fails too.
                let _ = queues::delete(client, &about, &url).await;
                return Err(error);
            }
        };
        let source = Source { topic: topic.clone(), url: url.clone(), left: None };
        let task = tokio::spawn(empty(client.clone(), source, about.clone(), sender));
        Ok(Tap { about, url, subscription, task })
    }

    async fn remove(&self, client: &Client) -> Result<()> {
        self.task.abort();
        let ended = queues::unsubscribe(client, &self.about, &self.subscription).await;
        queues::delete(client, &self.about, &self.url).await?;
        ended
    }
}

/// Hands over what comes, until nobody wants it.
async fn empty(client: Arc<Client>, source: Source, about: About, sender: mpsc::Sender<Result<Vec<Event>>>) {
    let work = async {
        let mut lanes: Vec<_> = Vec::new();
        // One that is FIFO is read by one alone, so that the order stays.
        let receivers = if source.url.ends_with(FIFO) { 1 } else { RECEIVERS };
        for number in 0..receivers {
            lanes.push(read(&client, &source, &about, &sender, number));
        }
        futures_util::future::join_all(lanes).await;
    };
    tokio::select! {
        () = work => {}
        () = touch(&client, &source, &about) => {}
        () = sender.closed() => {}
    }
}

/// Receives, hands over and deletes. All but the first are at work only while a lot comes.
async fn read(
    client: &Client,
    source: &Source,
    about: &About,
    sender: &mpsc::Sender<Result<Vec<Event>>>,
    number: usize,
) {
    let (mut quiet, mut silent): (usize, Option<Instant>) = (0, None);
    loop {
        let wait = match number {
            0 => WAITS[quiet.min(WAITS.len() - 1)].min(client.settings.wait),
            _ => 0,
        };
        let services = match client.services(about).await {
            Ok(services) => services,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        let taken = match receive(services, &source.url, &source.topic, 10, LEASE, wait).await {
            Ok(taken) => taken,
            Err(fault) => {
                let now = Instant::now();
                let since = *silent.get_or_insert(now);
                let patient = client.settings.timeout.is_none_or(|most| now - since < most);
                client.heed(&fault);
                if fault.again && patient {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                return drop(sender.send(Err(lost(about, &fault))).await);
            }
        };
        silent = None;
        if taken.is_empty() {
            quiet += 1;
            if number > 0 {
                tokio::time::sleep(PAUSE * 2).await;
            }
            continue;
        }
        quiet = 0;
        let tickets: Vec<Ticket> =
            taken.iter().map(|one| Ticket { source: 0, handle: one.handle.clone(), token: None }).collect();
        let events = taken.into_iter().map(|one| one.event).collect();
        if sender.send(Ok(events)).await.is_err() {
            return;
        }
        tell(client, services, std::slice::from_ref(source), &tickets, What::Delete).await;
    }
}

fn lost(about: &About, fault: &Fault) -> Error {
    let message = match fault.kind {
        Kind::NotFound => "our queue was deleted; what is published from now on was not seen".to_owned(),
        _ => format!("{}; what is published from now on was not seen", fault.message),
    };
    about.error(if fault.kind == Kind::NotFound { Kind::Unreachable } else { fault.kind }, message)
}

/// Shows from time to time that somebody looks.
async fn touch(client: &Client, source: &Source, about: &About) {
    loop {
        tokio::time::sleep(TOUCH).await;
        if let Ok(services) = client.services(about).await {
            let request = services.sqs.set_queue_attributes().queue_url(&*source.url);
            let touched = request.attributes(Attribute::MessageRetentionPeriod, KEPT).send().await;
            if let Err(error) = touched {
                tracing::debug!("{}", about.map(&error));
            }
        }
    }
}

/// See [`open`].
struct Tail {
    client: Arc<Client>,
    taps: Vec<Tap>,
    came: mpsc::Receiver<Result<Vec<Event>>>,
    places: Vec<(Name, Position)>,
    held: Vec<Name>,
    /// Of topics that are held.
    waiting: VecDeque<Event>,
    /// The end was there before anything came.
    over: bool,
    told: bool,
    /// Said once what came before it was.
    failed: Option<Error>,
}

impl Tail {
    /// What may be returned now of what came or waited.
    fn sort(&mut self, came: Vec<Event>) -> Vec<Event> {
        let all: Vec<Event> = self.waiting.drain(..).chain(came).collect();
        let (held, free) = all.into_iter().partition(|event| self.held.contains(event.topic()));
        self.waiting = Vec::into(held);
        free
    }

    async fn remove(&mut self) -> Result<()> {
        let mut result = Ok(());
        for tap in self.taps.drain(..) {
            let removed = tokio::time::timeout(LEAVING, tap.remove(&self.client)).await;
            let removed = removed.unwrap_or_else(|_| {
                let message = "its temporary queue could not be removed in time";
                Err(tap.about.error(Kind::Unreachable, message).with_hint("later: evcat topics gc"))
            });
            result = result.and(removed);
        }
        result
    }
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Read> {
        if self.over {
            return Ok(Read::End);
        }
        if !std::mem::replace(&mut self.told, true) {
            return Ok(Read::CaughtUp);
        }
        loop {
            let free = self.sort(Vec::new());
            if !free.is_empty() {
                return Ok(Read::Events(Events::from(free)));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            // Cancel safe: what is received is put in order without waiting for anything else.
            let Some(came) = self.came.recv().await else { return std::future::pending().await };
            let mut all = came?;
            while let Ok(more) = self.came.try_recv() {
                match more {
                    Ok(more) => all.extend(more),
                    Err(error) => self.failed = Some(error),
                }
            }
            let free = self.sort(all);
            if !free.is_empty() {
                return Ok(Read::Events(Events::from(free)));
            }
        }
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.places
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.places
    }

    fn left(&self) -> Option<u64> {
        self.over.then_some(0)
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        self.held = partitions.iter().map(|(name, _)| name.clone()).collect();
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.remove().await
    }
}

/// Whoever did not close it: the tasks end with the channel, and the queues are removed if there is still time.
impl Drop for Tail {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.taps.is_empty(), tokio::runtime::Handle::try_current()) {
            let (client, taps) = (self.client.clone(), std::mem::take(&mut self.taps));
            runtime.spawn(async move {
                for tap in taps {
                    let _ = tap.remove(&client).await;
                }
            });
        }
    }
}
