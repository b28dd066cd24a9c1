//! Looking: at an exchange from now on (`tail`), at a stream from anywhere (`stream`), at a queue not at all.

mod lane;
mod stream;
mod tail;

use super::error::About;
use super::name::{self, Place};
use super::settings::Settings;
use crate::broker::{Error, Kind, ReadOptions, Reader, Result, Start, Stop};

/// Unacknowledged messages of a reader: how much the server sends ahead.
const WINDOW: u16 = 1000;

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(settings: &Settings, options: ReadOptions) -> Result<Box<dyn Reader>> {
    let ReadOptions { topics, partition, start, stop, unsettled: _ } = options;
    let first = topics.first().cloned().unwrap_or_default();
    let about = About::topic("reader", &first);
    if partition.is_some() {
        return Err(about.error(Kind::Unsupported, "there are no partitions here"));
    }
    for topic in &topics {
        name::topic("reader", topic)?;
        if let Place::Queue(queue) = Place::of(topic) {
            return Err(queues_are_not_looked_at(&About::topic("reader", topic), queue));
        }
    }
    let streams = topics.iter().filter(|topic| matches!(Place::of(topic), Place::Stream(_))).count();
    if streams == topics.len() {
        return Ok(Box::new(stream::open(settings, &topics, &start, stop).await?));
    }
    if streams > 0 {
        return Err(about.error(Kind::Unsupported, "exchanges and streams are read one kind at a time"));
    }
    if start != Start::Latest || matches!(stop, Stop::At(_)) {
        let message = "an exchange keeps nothing: it is seen from now on";
        return Err(about
            .error(Kind::Unsupported, message)
            .with_hint("a stream keeps its history: stream:NAME"));
    }
    Ok(Box::new(tail::open(settings, topics, stop == Stop::Now).await?))
}

fn queues_are_not_looked_at(about: &About, queue: &str) -> Error {
    about
        .error(Kind::Unsupported, "looking at a queue takes its messages away from its members for a while")
        .with_hint(format!("tail the exchange that it is bound to; its dead letters: evcat dlq peek {queue}"))
}
