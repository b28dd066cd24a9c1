//! An exchange from now on, by a queue of our own that goes with the connection.

use std::collections::VecDeque;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use super::WINDOW;
use crate::broker::rabbitmq::error::About;
use crate::broker::rabbitmq::link::{Link, Patience, short};
use crate::broker::rabbitmq::settings::Settings;
use crate::broker::rabbitmq::{message, queues, topics::TEMPORARY};
use crate::broker::{Error, Kind, Read, Reader, Result};
use crate::event::{Event, Events, Name, Position};

/// Events that are handed over at a time.
const MOST: usize = 1000;

/// Binds a queue of ours to these exchanges.
pub async fn open(settings: &Settings, topics: Vec<Name>, over: bool) -> Result<Tail> {
    let about = About::topic("reader", topics.first().map_or("", |topic| topic));
    let link = Link::open(settings, &about, Patience::now(settings)).await?;
    for topic in &topics {
        let about = About::topic("reader", topic);
        if !link.exchange(&about, topic).await? {
            return Err(about.missing());
        }
    }
    let map = |error: lapin::Error| about.map(&error);
    let channel = link.channel(&about).await?;
    let name = format!("{TEMPORARY}{:016x}", fastrand::u64(..));
    let options = QueueDeclareOptions::exclusive().auto_delete();
    channel.queue_declare(short(&name), options, FieldTable::default()).await.map_err(map)?;
    for topic in &topics {
        queues::bind(&link, &about, &name, topic, &settings.bindings).await?;
    }
    channel.basic_qos(WINDOW, BasicQosOptions::default()).await.map_err(map)?;
    let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let consumer =
        channel.basic_consume(short(&name), short(""), options, FieldTable::default()).await.map_err(map)?;
    let places = topics.iter().map(|topic| (topic.clone(), Position::Unknown)).collect();
    Ok(Tail {
        link,
        channel,
        consumer,
        topics,
        places,
        held: Vec::new(),
        waiting: VecDeque::new(),
        over,
        told: false,
        about,
    })
}

/// See [`open`].
pub struct Tail {
    link: Link,
    channel: Channel,
    consumer: Consumer,
    topics: Vec<Name>,
    places: Vec<(Name, Position)>,
    held: Vec<Name>,
    /// Of topics that are held.
    waiting: VecDeque<Event>,
    /// The end was there before anything came.
    over: bool,
    told: bool,
    about: About,
}

impl Tail {
    fn event(&self, delivery: &lapin::message::Delivery) -> Event {
        let from = delivery.exchange.as_str();
        let topic = self.topics.iter().find(|topic| ***topic == *from).unwrap_or(&self.topics[0]);
        message::to_event(topic, delivery, Position::Unknown).0
    }

    /// What may be returned now of what came or waited.
    fn sort(&mut self, came: Vec<Event>) -> Vec<Event> {
        let all: Vec<Event> = self.waiting.drain(..).chain(came).collect();
        let (held, free) = all.into_iter().partition(|event| self.held.contains(event.topic()));
        self.waiting = Vec::into(held);
        free
    }

    fn lost(&self, why: Option<lapin::Error>) -> Error {
        let why = why.map_or_else(
            || "our queue was deleted".to_owned(),
            |error| self.about.map(&error).detail().message.clone(),
        );
        self.about.error(Kind::Unreachable, format!("{why}; what is published from now on was not seen"))
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
            let first = match self.consumer.next().await {
                Some(Ok(first)) => first,
                Some(Err(error)) => return Err(self.lost(Some(error))),
                None => return Err(self.lost(None)),
            };
            // Nothing is awaited from here on, so that nothing is lost with this future.
            let (mut came, mut last) = (vec![self.event(&first)], first.delivery_tag);
            while came.len() < MOST
                && let Some(Some(Ok(more))) = self.consumer.next().now_or_never()
            {
                came.push(self.event(&more));
                last = more.delivery_tag;
            }
            let _ = Box::pin(self.channel.basic_ack(last, BasicAckOptions { multiple: true })).now_or_never();
            let free = self.sort(came);
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

    async fn close(self: Box<Self>) -> Result<()> {
        self.link.close().await;
        Ok(())
    }
}
