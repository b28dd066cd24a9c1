//! The queues and exchanges that evcat makes, and only where there are none: what is there is used as it is.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::error::About;
use super::link::{Link, short};
use super::name::Place;
use crate::broker::{Kind, Result};

/// How often a group's queue hands an event out again after its member went away, before it gives it to the dead
/// letters by itself. RabbitMQ's own 20 would be reached by restarts alone; none at all would let an event that kills
/// its member do so for ever.
pub const DELIVERY_LIMIT: i64 = 1000;
/// None is -1 since 4.0, and 3.10 takes that for a limit that every delivery is beyond: so it is a number that nobody
/// reaches.
const NO_LIMIT: i64 = 1_000_000_000;

/// Makes an exchange. `Ok(false)`: it was there.
pub async fn make_exchange(link: &Link, about: &About, name: &str, kind: &str) -> Result<bool> {
    if link.exchange(about, name).await? {
        return Ok(false);
    }
    let channel = link.channel(about).await?;
    let kind = match kind {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        _ => ExchangeKind::Topic,
    };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let made = channel.exchange_declare(short(name), kind, options, FieldTable::default()).await;
    made.map_err(|error| about.map(&error))?;
    close(&channel).await;
    Ok(true)
}

/// Makes a durable queue of this type. `Ok(false)`: it was there.
pub async fn make_queue(
    link: &Link,
    about: &About,
    name: &str,
    kind: &str,
    arguments: &[(&str, AMQPValue)],
) -> Result<bool> {
    if link.queue(about, name).await?.is_some() {
        return Ok(false);
    }
    declare(link, about, name, kind, arguments).await?;
    Ok(true)
}

async fn declare(
    link: &Link,
    about: &About,
    name: &str,
    kind: &str,
    arguments: &[(&str, AMQPValue)],
) -> Result<()> {
    let mut table = FieldTable::default();
    table.insert(short("x-queue-type"), AMQPValue::LongString(kind.into()));
    for (name, value) in arguments {
        table.insert(short(name), value.clone());
    }
    let channel = link.channel(about).await?;
    let options = QueueDeclareOptions::durable();
    match channel.queue_declare(short(name), options, table).await {
        Ok(_) => close(&channel).await,
        Err(error) => return Err(about.map(&error)),
    }
    Ok(())
}

/// Binds a queue to an exchange by these patterns.
pub async fn bind(
    link: &Link,
    about: &About,
    queue: &str,
    exchange: &str,
    patterns: &[String],
) -> Result<()> {
    let channel = link.channel(about).await?;
    for pattern in patterns {
        let options = QueueBindOptions::default();
        let bound =
            channel.queue_bind(short(queue), short(exchange), short(pattern), options, FieldTable::default());
        bound.await.map_err(|error| about.map(&error))?;
    }
    close(&channel).await;
    Ok(())
}

/// A place for dead letters: an exchange and a queue of one name that gets all of it, or the bare queue that `queue:`
/// names. Answers whether something had to be made.
pub async fn make_letters(link: &Link, about: &About, topic: &str) -> Result<bool> {
    match Place::of(topic) {
        Place::Stream(_) => {
            let message = format!("{topic}: dead letters need a queue, where each can be settled by itself");
            Err(about.error(Kind::Unsupported, message))
        }
        Place::Queue(queue) => make_letters_queue(link, about, queue).await,
        Place::Exchange(name) => {
            let made_exchange = make_exchange(link, about, name, "topic").await?;
            let made_queue = make_letters_queue(link, about, name).await?;
            if made_exchange || made_queue {
                bind(link, about, name, name, &["#".to_owned()]).await?;
            }
            Ok(made_exchange || made_queue)
        }
    }
}

/// A quorum queue counts each look, and RabbitMQ's own limit would drop what was looked at twenty times.
async fn make_letters_queue(link: &Link, about: &About, queue: &str) -> Result<bool> {
    make_queue(link, about, queue, "quorum", &never()).await
}

/// Whether a queue is as evcat makes those of dead letters, as far as AMQP can tell: to declare it once more is refused if
/// it has another limit. Requires: it is there. Without the right to declare it nothing is known.
pub async fn is_as_made(link: &Link, about: &About, queue: &str) -> bool {
    matches!(link.queue(about, queue).await, Ok(Some(_)))
        && declare(link, about, queue, "quorum", &never()).await.is_ok()
}

fn never() -> [(&'static str, AMQPValue); 1] {
    [("x-delivery-limit", AMQPValue::LongLongInt(NO_LIMIT))]
}

/// The queue of a group. Without dead letters there is no limit either: what is beyond it would be dropped.
pub fn arguments_of_group(dead_letters: Option<&str>) -> Vec<(&'static str, AMQPValue)> {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let limit = if dead_letters.is_some() { DELIVERY_LIMIT } else { NO_LIMIT };
    let mut arguments = vec![("x-delivery-limit", AMQPValue::LongLongInt(limit))];
    if let Some(topic) = dead_letters {
        let (exchange, key) = Place::of(topic).address();
        arguments.push(("x-dead-letter-exchange", text(exchange)));
        arguments.extend(key.map(|key| ("x-dead-letter-routing-key", text(key))));
        // Else the server may lose an event on the way to the dead letters.
        arguments.push(("x-dead-letter-strategy", text("at-least-once")));
        arguments.push(("x-overflow", text("reject-publish")));
    }
    arguments
}

async fn close(channel: &Channel) {
    let _ = channel.close(200, short("done")).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_nowhere_to_die_has_no_limit() {
        for (dead_letters, limit) in [(None, NO_LIMIT), (Some("t.g.dlq"), DELIVERY_LIMIT)] {
            let arguments = arguments_of_group(dead_letters);
            assert!(
                arguments.contains(&("x-delivery-limit", AMQPValue::LongLongInt(limit))),
                "{arguments:?}"
            );
            let letters = arguments.iter().any(|(name, _)| *name == "x-dead-letter-exchange");
            assert_eq!(letters, dead_letters.is_some());
        }
    }
}
