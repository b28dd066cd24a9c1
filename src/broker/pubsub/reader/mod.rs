//! Looking: by a subscription of our own per topic, which gets what is published from now on, or is moved to a time.
//!
//! Pub/Sub tells neither how much there is nor where it ends. So an end is a time, fixed when the look begins, and it is
//! reached when what was published until then has come. That is so for certain where the server is one process, an
//! emulator: the subscription is ours alone, nothing of it is under way, its acks were answered, and it is asked and has
//! nothing. Google's service may have something all the same, so that there the silence before it is long (`quiet`, whose
//! default says what it rests on).

mod lane;

use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;

use super::error::About;
use super::groups::{begin, places};
use super::link::Link;
use super::name::{self, Place};
use super::{subscriptions, topics};
use crate::broker::{Error, Kind, Read, ReadOptions, Reader, Result, Start, Stop};
use crate::event::{Event, Events, Millis, Name, Position};
use lane::{Came, Lane};

/// Events that are handed over at a time.
const MOST: usize = 4000;

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(link: Arc<Link>, options: ReadOptions) -> Result<Box<dyn Reader>> {
    let ReadOptions { topics, partition, start, stop, unsettled } = options;
    let about = About::topic("reader", topics.first().map_or("", |topic| topic));
    if partition.is_some() {
        return Err(about.error(Kind::Unsupported, "there are no partitions here"));
    }
    if matches!(start, Start::Last(_) | Start::At(_) | Start::After(_)) || matches!(stop, Stop::At(_)) {
        return Err(places(&about));
    }
    for topic in &topics {
        let about = About::topic("reader", topic);
        if unsettled {
            return Err(about
                .error(Kind::Unsupported, "what is settled is known by a subscription alone")
                .with_hint("name the subscription that keeps its dead letters: subscription:NAME"));
        }
        if let Place::Subscription(subscription) = Place::of(topic) {
            return Err(not_looked_at(&about, subscription));
        }
        name::topic("reader", topic)?;
    }
    let clock = link.settings.clock.clone();
    let now = clock();
    let end = (stop == Stop::Now).then_some(now);
    let mut lanes = Vec::new();
    for topic in &topics {
        match enter(&link, topic, &start, now, end).await {
            Ok(lane) => lanes.push(lane),
            Err(error) => {
                leave(lanes).await?;
                return Err(error);
            }
        }
    }
    // What is published from here on lies behind the end.
    while end.is_some_and(|end| clock() <= end) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let places = topics.iter().map(|topic| (topic.clone(), Position::Unknown)).collect();
    let fresh = start == Start::Latest;
    let over = fresh && end.is_some();
    Ok(Box::new(Look {
        lanes,
        bounded: end.is_some(),
        places,
        fresh,
        told: false,
        over,
        turn: 0,
        failed: None,
    }))
}

fn not_looked_at(about: &About, subscription: &str) -> Error {
    about
        .error(
            Kind::Unsupported,
            "looking at a subscription takes its messages away from its members for a while",
        )
        .with_hint(format!("tail its topic; its dead letters: evcat dlq peek subscription:{subscription}"))
}

/// Makes the subscription, moves it, and begins to read.
async fn enter(
    link: &Arc<Link>,
    topic: &Name,
    start: &Start,
    now: Millis,
    end: Option<Millis>,
) -> Result<Lane> {
    let about = About::topic("reader", topic);
    let Some(found) = topics::get(link, &about, topic).await? else { return Err(about.missing()) };
    let seek = begin(&about, &found, start, now)?;
    let subscription = subscriptions::of_look(link, topic);
    let full = subscription.name.clone();
    subscriptions::make(link, &about, subscription).await?;
    if let Some(to) = seek
        && let Err(error) = subscriptions::seek(link, &about, &full, to).await
    {
        subscriptions::delete(link, &about, &full).await?;
        return Err(error);
    }
    Ok(Lane::begin(link.clone(), about, topic.clone(), full, end))
}

/// Removes the subscriptions; the first error, after all were tried.
async fn leave(lanes: Vec<Lane>) -> Result<()> {
    let mut result = Ok(());
    for lane in lanes {
        result = result.and(lane.end().await);
    }
    result
}

struct Look {
    lanes: Vec<Lane>,
    bounded: bool,
    places: Vec<(Name, Position)>,
    /// It begins now: there is nothing to catch up with.
    fresh: bool,
    /// That it has caught up was said, and nothing came since.
    told: bool,
    over: bool,
    /// The lane that is asked first.
    turn: usize,
    failed: Option<Error>,
}

impl Look {
    /// What has come; nothing: a lane is quiet.
    async fn came(&mut self) -> Result<Vec<Event>> {
        std::future::poll_fn(|context| {
            let (mut events, mut quiet, many) = (Vec::new(), false, self.lanes.len());
            for step in 0..many {
                let lane = &mut self.lanes[(self.turn + step) % many];
                while events.len() < MOST
                    && let Poll::Ready(came) = lane.poll(context)
                {
                    match came {
                        Ok(Came::Events(more)) => events.extend(more),
                        Ok(Came::Quiet) => quiet = true,
                        Err(error) if events.is_empty() => return Poll::Ready(Err(error)),
                        // After what came before it.
                        Err(error) => {
                            self.failed = Some(error);
                            break;
                        }
                    }
                }
            }
            self.turn = self.turn.wrapping_add(1) % many.max(1);
            if events.is_empty() && !quiet { Poll::Pending } else { Poll::Ready(Ok(events)) }
        })
        .await
    }
}

#[async_trait]
impl Reader for Look {
    async fn next(&mut self) -> Result<Read> {
        if self.over {
            return Ok(Read::End);
        }
        if self.fresh && !self.told {
            self.told = true;
            return Ok(Read::CaughtUp);
        }
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            // Nothing is kept over this await: what came is still in its lane.
            let came = self.came().await?;
            if came.is_empty() {
                if !self.lanes.iter().all(|lane| lane.quiet) {
                    continue;
                }
                if self.bounded {
                    self.over = true;
                    return Ok(Read::End);
                }
                if !self.told {
                    self.told = true;
                    return Ok(Read::CaughtUp);
                }
                continue;
            }
            self.told = self.fresh;
            return Ok(Read::Events(Events::from(came)));
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
        for lane in &mut self.lanes {
            lane.held = partitions.iter().any(|(name, _)| *name == lane.topic);
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        leave(self.lanes).await
    }
}
