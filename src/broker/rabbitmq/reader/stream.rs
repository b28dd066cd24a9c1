//! Streams, each in its order, one after another as they have something.

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::select_all;

use super::lane::Lane;
use crate::broker::rabbitmq::error::About;
use crate::broker::rabbitmq::link::{Link, Patience};
use crate::broker::rabbitmq::name::Place;
use crate::broker::rabbitmq::settings::Settings;
use crate::broker::{Kind, Read, Reader, Result, Start, Stop};
use crate::event::{Event, Events, Name, Position};

/// Events that are handed over at a time.
const MOST: usize = 1000;

/// Finds starts and ends, and begins to read.
pub async fn open(settings: &Settings, topics: &[Name], start: &Start, stop: Stop) -> Result<Streams> {
    let about = About::topic("reader", topics.first().map_or("", |topic| topic));
    if matches!(start, Start::Last(_)) && topics.len() > 1 {
        let message = "the last events of several streams cannot be told without reading all of them";
        return Err(about.error(Kind::Unsupported, message).with_hint("--from 10m; or one stream at a time"));
    }
    let link = Link::open(settings, &about, Patience::now(settings)).await?;
    let mut lanes = Vec::new();
    for topic in topics {
        lanes.push(Lane::open(&link, topic, Place::of(topic).queue(), start, &stop).await?);
    }
    let places = |of: fn(&Lane) -> i64| -> Vec<_> {
        lanes.iter().map(|lane| (lane.topic.clone(), Position::Offset(of(lane)))).collect()
    };
    let (start, end) = (places(|lane| lane.start), places(|lane| lane.stop.unwrap_or(lane.end)));
    Ok(Streams { link, lanes, start, end, caught_up: false })
}

/// See [`open`].
pub struct Streams {
    link: Link,
    lanes: Vec<Lane>,
    start: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
    caught_up: bool,
}

impl Streams {
    /// An event of any lane that may be read.
    async fn one(&mut self) -> Result<Event> {
        let open = self.lanes.iter_mut().filter(|lane| !lane.is_over() && !lane.held);
        let next: Vec<_> = open.map(|lane| Box::pin(lane.event())).collect();
        match next.is_empty() {
            true => std::future::pending().await,
            false => select_all(next).await.0,
        }
    }
}

#[async_trait]
impl Reader for Streams {
    async fn next(&mut self) -> Result<Read> {
        if self.lanes.iter().all(Lane::is_over) {
            return Ok(Read::End);
        }
        if !self.caught_up && self.lanes.iter().all(Lane::is_caught_up) {
            self.caught_up = true;
            return Ok(Read::CaughtUp);
        }
        let mut events = vec![self.one().await?];
        while events.len() < MOST
            && let Some(more) = self.one().now_or_never()
        {
            // A connection that is lost says so again.
            let Ok(event) = more else { break };
            events.push(event);
        }
        Ok(Read::Events(Events::from(events)))
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.start
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        Some(self.lanes.iter().map(Lane::left).sum())
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        for lane in &mut self.lanes {
            lane.held = partitions.iter().any(|(name, _)| *name == lane.topic);
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.link.close().await;
        Ok(())
    }
}
