//! Topics: exchanges, and the queues and streams that are named as such.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;

use super::error::{About, is_precondition};
use super::link::{Link, short};
use super::management::{self, ListedQueue};
use super::name::{self, Place, is_for_letters};
use super::queues::{make_exchange, make_letters, make_queue};
use super::{RabbitMq, groups};
use crate::broker::{Count, Error, Kind, Result, TopicInfo};

/// What the queue of a tail is called, and what is behind it.
pub const TEMPORARY: &str = "evcat-tail-";

/// See [`Broker::topics`](crate::broker::Broker::topics). One that is named is asked for by AMQP, a glob needs the
/// management API.
pub async fn topics(rabbit: &RabbitMq, glob: &str) -> Result<Vec<TopicInfo>> {
    if let Some(name) = literal(glob) {
        let about = About::topic("topics", &name);
        if name::topic("topics", &name).is_err() {
            return Ok(Vec::new());
        }
        let found = one(&*rabbit.admin(&about).await?, &about, &name).await?;
        return Ok(found.into_iter().collect());
    }
    let about = About::new("topics", "");
    let matcher = globset::Glob::new(glob)
        .map_err(|error| about.error(Kind::Invalid, format!("'{glob}': {}", error.kind())))?
        .compile_matcher();
    let queues = management::queues(&rabbit.settings, &about).await?;
    let exchanges = management::exchanges(&rabbit.settings, &about).await?;
    let mut all: Vec<TopicInfo> =
        exchanges.iter().map(|(name, kind)| of_exchange(name, kind, &queues)).collect();
    let own = |queue: &ListedQueue| {
        let of_exchange = exchanges.iter().any(|(exchange, _)| {
            queue.name == *exchange
                || queue.name.strip_prefix(&**exchange).is_some_and(|rest| rest.starts_with('.'))
        });
        !of_exchange
    };
    all.extend(queues.iter().filter(|queue| own(queue)).map(of_queue));
    all.retain(|info| matcher.is_match(&info.name));
    let link = rabbit.admin(&about).await?;
    for info in all.iter_mut().filter(|info| info.waiting.is_some() && is_for_letters(&info.name)) {
        // The list is some seconds old: a letter that has just died would not be there.
        if let Some(now) = link.queue(&about, Place::of(&info.name).queue()).await? {
            info.waiting = Some(counted(&now));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The name that a glob means, if it means one alone: `a[*]b` is `a*b`.
fn literal(glob: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '[' => {
                name.push(rest.next()?);
                if rest.next()? != ']' {
                    return None;
                }
            }
            '*' | '?' | '{' | '}' => return None,
            '\\' => name.push(rest.next()?),
            c => name.push(c),
        }
    }
    Some(name)
}

/// What AMQP tells of one.
async fn one(link: &Link, about: &About, name: &str) -> Result<Option<TopicInfo>> {
    let place = Place::of(name);
    let exchange = match place {
        Place::Exchange(exchange) => link.exchange(about, exchange).await?,
        _ => false,
    };
    // What somebody else's set-up calls a place of dead letters is a queue by its bare name.
    let queue = match place {
        Place::Exchange(queue) if exchange && !is_for_letters(queue) => None,
        place => link.queue(about, place.queue()).await?,
    };
    if !exchange && queue.is_none() {
        return Ok(None);
    }
    // Of a stream the server says none.
    let queue = queue.filter(|_| !matches!(place, Place::Stream(_)));
    let (waiting, takers) = (queue.as_ref().map(counted), queue.as_ref().map(lapin::Queue::consumer_count));
    Ok(Some(TopicInfo { name: name.into(), waiting, takers, ..TopicInfo::default() }))
}

/// What members hold is not among them.
fn counted(queue: &lapin::Queue) -> Count {
    Count { events: u64::from(queue.message_count()), exact: queue.consumer_count() == 0 }
}

fn of_exchange(name: &str, kind: &str, queues: &[ListedQueue]) -> TopicInfo {
    let letters = queues.iter().find(|queue| queue.name == name).filter(|_| is_for_letters(name));
    let of = queues.iter().find(|queue| queue.argument("x-dead-letter-exchange") == Some(name));
    TopicInfo {
        name: name.into(),
        waiting: letters.map(waiting),
        dead_letters_of: of.and_then(|queue| owner(&queue.name, name)),
        details: vec![("exchange".into(), kind.into())],
        ..TopicInfo::default()
    }
}

/// `TOPIC/GROUP` of the queue whose letters lie there: by our own names it is in the name of the place.
fn owner(queue: &str, letters: &str) -> Option<String> {
    let bare = letters.strip_suffix(".dlq").filter(|bare| *bare == queue)?;
    let (topic, group) = bare.rsplit_once('.')?;
    Some(format!("{topic}/{group}"))
}

fn of_queue(queue: &ListedQueue) -> TopicInfo {
    let prefix = if queue.kind == "stream" { "stream" } else { "queue" };
    TopicInfo {
        name: format!("{prefix}:{}", queue.name),
        waiting: Some(waiting(queue)),
        temporary: queue.name.starts_with(TEMPORARY) || queue.exclusive,
        details: vec![("queue".into(), queue.kind.clone())],
        ..TopicInfo::default()
    }
}

fn waiting(queue: &ListedQueue) -> Count {
    Count { events: queue.messages.unwrap_or(0), exact: false }
}

/// See [`Broker::create_topic`](crate::broker::Broker::create_topic).
pub async fn create(rabbit: &RabbitMq, topic: &str, options: &[(String, String)]) -> Result<()> {
    let about = About::topic("create_topic", topic);
    name::topic("create_topic", topic)?;
    name::reserved("create_topic", topic)?;
    let place = Place::of(topic);
    let arguments = arguments(&about, place, options)?;
    let link = rabbit.admin(&about).await?;
    let made = match place {
        Place::Queue(queue) => make_queue(&link, &about, queue, "quorum", &arguments).await?,
        Place::Stream(stream) => make_queue(&link, &about, stream, "stream", &arguments).await?,
        Place::Exchange(name) if is_for_letters(name) => make_letters(&link, &about, name).await?,
        Place::Exchange(name) => make_exchange(&link, &about, name, &rabbit.settings.exchange_type).await?,
    };
    match made {
        true => Ok(()),
        false => Err(about.error(Kind::Rejected, "it is there already")),
    }
}

/// What the options of a topic are in the words of the server.
fn arguments(
    about: &About,
    place: Place<'_>,
    options: &[(String, String)],
) -> Result<Vec<(&'static str, AMQPValue)>> {
    let refuse = |kind, words: &str| -> Result<Vec<_>> { Err(about.error(kind, words.to_owned())) };
    let mut arguments = Vec::new();
    for (key, value) in options {
        match (key.as_str(), place) {
            ("dedup", _) => return refuse(Kind::Unsupported, "ids that were seen are not recognised here"),
            ("partitions", _) => {
                return refuse(Kind::Unsupported, "an exchange, queue or stream has no partitions");
            }
            ("retention", Place::Stream(_)) => {
                let Ok(age) = humantime::parse_duration(value) else {
                    return refuse(Kind::Unsupported, "a stream keeps by age, not by count: --retention 7d");
                };
                arguments
                    .push(("x-max-age", AMQPValue::LongString(format!("{}s", age.as_secs().max(1)).into())));
            }
            ("retention", _) => {
                let message = "an exchange keeps nothing, and a queue what is not settled";
                return Err(about.error(Kind::Unsupported, message).with_hint("a stream keeps: stream:NAME"));
            }
            _ => return refuse(Kind::Invalid, &format!("{key}={value} is no option of a topic here")),
        }
    }
    Ok(arguments)
}

/// See [`Broker::delete_topic`](crate::broker::Broker::delete_topic).
pub async fn delete(rabbit: &RabbitMq, topic: &str) -> Result<()> {
    let about = About::topic("delete_topic", topic);
    let link = rabbit.admin(&about).await?;
    if one(&link, &about, topic).await?.is_none() {
        return Err(about.missing());
    }
    let exchange = match Place::of(topic) {
        Place::Exchange(exchange) if link.exchange(&about, exchange).await? => exchange,
        place => return delete_queue(&link, &about, place.queue()).await,
    };
    let listed = rabbit.settings.management.is_some();
    if listed {
        for queue in groups::queues_of(rabbit, &about, exchange).await? {
            delete_queue(&link, &about, &queue).await?;
        }
    }
    if is_for_letters(exchange) {
        delete_queue(&link, &about, exchange).await?;
    }
    let channel = link.channel(&about).await?;
    let options = ExchangeDeleteOptions { if_unused: !listed, nowait: false };
    match channel.exchange_delete(short(exchange), options).await {
        Ok(()) => Ok(()),
        Err(error) if is_precondition(&error) => Err(bound(&about)),
        Err(error) => Err(about.map(&error)),
    }
}

fn bound(about: &About) -> Error {
    about.error(Kind::Rejected, "queues are bound to it, and AMQP has no way to list them").with_hint(
        "-X management=http://host:15672 deletes its groups too; or one by one: evcat groups delete",
    )
}

/// Whatever is in it goes with it.
pub async fn delete_queue(link: &Link, about: &About, queue: &str) -> Result<()> {
    let channel = link.channel(about).await?;
    let deleted = channel.queue_delete(short(queue), QueueDeleteOptions::default()).await;
    deleted.map_err(|error| about.map(&error))?;
    let _ = tokio::time::timeout(Duration::from_secs(5), channel.close(200, short("done"))).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_of_one_name_is_that_name() {
        assert_eq!(literal("orders.eu").as_deref(), Some("orders.eu"));
        assert_eq!(literal("a[*]b[[]c").as_deref(), Some("a*b[c"));
        assert_eq!(literal("orders.*"), None);
        assert_eq!(literal("[ab]"), None);
        assert_eq!(literal("{a,b}"), None);
    }
}
