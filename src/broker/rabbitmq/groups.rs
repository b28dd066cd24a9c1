//! Groups: the queues `TOPIC.GROUP`.

use std::time::Duration;

use super::error::About;
use super::link::Link;
use super::management::{self, ListedQueue};
use super::name::{self, Place, is_for_letters, queue_of};
use super::queues::{arguments_of_group, bind, is_as_made, make_letters, make_queue};
use super::settings::Settings;
use super::{RabbitMq, topics::delete_queue};
use crate::broker::{Count, Error, GroupInfo, Kind, Result, Source, Start};
use crate::event::Name;

/// How often, and how long after one another, it is looked for members before a group is deleted.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// So old is what the management API tells of messages, at most. A lag of none while members may hold something is told
/// only by what it found out since it was asked.
const OLD: Duration = Duration::from_millis(5500);
/// A limit that nobody reaches by looking.
const ENDLESS: u32 = 1_000_000;
/// RabbitMQ's own limit for a quorum queue that says nothing, since 4.0.
const USUAL_LIMIT: u32 = 20;

/// See [`Broker::create_group`](crate::broker::Broker::create_group).
pub async fn create(
    rabbit: &RabbitMq,
    source: &Source,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    let (topics, group): (&[Name], &str) = match source {
        Source::Group { topics, group } => (topics, group),
        Source::Queue(_) | Source::DeadLetters { .. } => (&[], ""),
    };
    for topic in topics {
        name::topic("create_group", topic)?;
        name::group("create_group", topic, group)?;
        can_begin(topic, group, from)?;
    }
    if let Some(letters) = dead_letters {
        name::topic("create_group", letters)?;
    }
    let mut made = Vec::new();
    for topic in topics {
        let about = About::group("create_group", topic, group);
        let link = rabbit.admin(&about).await?;
        if !link.exchange(&about, topic).await? {
            return Err(About::topic("create_group", topic).missing());
        }
        let queue = queue_of(topic, group);
        // First, so that there is no moment in which an event that dies has nowhere to go.
        if let Some(letters) = dead_letters
            && make_letters(&link, &about, letters).await?
        {
            made.push(format!("topic {letters}"));
        }
        if make_queue(&link, &about, &queue, "quorum", &arguments_of_group(dead_letters)).await? {
            if let Err(error) = bind(&link, &about, &queue, topic, &rabbit.settings.bindings).await {
                // Left there it would be taken for the group next time, and wait for ever for nothing.
                let gone = delete_queue(&link, &about, &queue).await;
                return Err(match gone {
                    Ok(()) => error,
                    Err(_) => error
                        .with_hint(format!("queue '{queue}' was made and is bound to nothing: delete it")),
                });
            }
            made.push(format!("group {group} on {topic}"));
        } else if rabbit.settings.management.is_some() {
            warn_unbound(rabbit, &about, topic, &queue).await;
        }
    }
    if let (true, Some(letters)) = (topics.is_empty(), dead_letters) {
        let about = About::topic("create_group", letters);
        if make_letters(&*rabbit.admin(&about).await?, &about, letters).await? {
            made.push(format!("topic {letters}"));
        }
    }
    Ok(made)
}

/// Says of a queue that is there and bound to no exchange that nothing will come: whoever made it was killed before it was
/// bound, or feeds it by its name alone.
async fn warn_unbound(rabbit: &RabbitMq, about: &About, topic: &str, queue: &str) {
    // It is a word of warning: who may not list bindings does without.
    let Ok(bindings) = management::bindings(&rabbit.settings, about).await else { return };
    if !bindings.iter().any(|(exchange, bound)| bound == queue && !exchange.is_empty()) {
        tracing::warn!(
            "queue '{queue}' is there and bound to no exchange, so that nothing of {topic} comes: \
             bind it, or delete it and it is made anew"
        );
    }
}

/// The most ways back of an event after which it may be taken once more only to be looked at: well below the limit of
/// its queue, at which RabbitMQ gives it to the dead letters or drops it. `None`: as often as anybody likes, as in those
/// queues that evcat makes for dead letters. Without the management API the usual limit is what is assumed of all others.
pub async fn looks(settings: &Settings, link: &Link, about: &About, queue: &str) -> Option<u32> {
    let below =
        |limit: u32| Some(limit).filter(|limit| *limit < ENDLESS).map(|limit| limit / 4 * 3 + limit % 4 / 2);
    let usual = below(USUAL_LIMIT);
    if settings.management.is_none() {
        return if is_as_made(link, about, queue).await { None } else { usual };
    }
    let queues = management::queues(settings, about).await.unwrap_or_default();
    let Some(listed) = queues.iter().find(|listed| listed.name == queue) else { return usual };
    let of_queue = limit_or_none(listed)?;
    let of_policy = match listed.policy.as_str() {
        "" => None,
        name => match management::policy(settings, about, name).await {
            Ok(policy) => policy["delivery-limit"].as_i64(),
            Err(_) => return usual,
        },
    };
    // Of two the lower one holds; a negative one is none. The usual one holds where nobody has said anything.
    let said = [of_policy, of_queue]
        .into_iter()
        .flatten()
        .map(|limit| u32::try_from(limit).unwrap_or(ENDLESS))
        .min();
    below(said.unwrap_or(USUAL_LIMIT))
}

/// What a queue says of its limit: `None` where there is none by its kind, `Some(None)` where it says nothing.
fn limit_or_none(queue: &ListedQueue) -> Option<Option<i64>> {
    (queue.kind == "quorum").then(|| queue.arguments["x-delivery-limit"].as_i64())
}

/// Refuses a group where there can be none, and a beginning that is past.
fn can_begin(topic: &str, group: &str, from: &Start) -> Result<()> {
    let about = About::group("create_group", topic, group);
    let (message, hint) = match (Place::of(topic), from) {
        (Place::Exchange(_), Start::Latest) => return Ok(()),
        (Place::Exchange(_), _) => (
            "what was published before its queue is bound went to others: a group begins now",
            "a stream keeps its history: evcat replay stream:NAME".to_owned(),
        ),
        (Place::Queue(_), _) => (
            "a queue is worked on as it is, without a group",
            format!("leave -g out: evcat subscribe {topic}"),
        ),
        (Place::Stream(_), _) => (
            "AMQP 0.9.1 keeps no place of a group in a stream",
            format!("evcat replay {topic} --resume FILE keeps it"),
        ),
    };
    Err(about.error(Kind::Unsupported, message).with_hint(hint))
}

/// See [`Broker::group`](crate::broker::Broker::group).
pub async fn group(rabbit: &RabbitMq, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
    let about = About::group("group", topic, group);
    let queue = queue_of(topic, group);
    if name::group("group", topic, group).is_err() || Place::of(topic) != Place::Exchange(topic) {
        return Ok(None);
    }
    let link = rabbit.admin(&about).await?;
    let Some(found) = link.queue(&about, &queue).await? else { return Ok(None) };
    let mut info = GroupInfo {
        topic: topic.into(),
        group: group.into(),
        members: Some(found.consumer_count()),
        lag: lag(&found),
        ..GroupInfo::default()
    };
    if rabbit.settings.management.is_some() {
        let queues = management::queues(&rabbit.settings, &about).await?;
        if let Some(listed) = queues.iter().find(|listed| listed.name == queue) {
            (info.dead_letters, info.max_deliveries) = (dead_letters(listed), limit(listed));
        }
    }
    Ok(Some(info))
}

/// What AMQP alone can tell: what members hold is not counted, so that none is not known while there are members.
fn lag(queue: &lapin::Queue) -> Option<Count> {
    let (events, members) = (u64::from(queue.message_count()), queue.consumer_count());
    (events > 0 || members == 0).then_some(Count { events, exact: members == 0 })
}

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(rabbit: &RabbitMq, topics: &str) -> Result<Vec<GroupInfo>> {
    let about = About::new("groups", "");
    let settings = &rabbit.settings;
    management::required(settings, &about, "the groups of a topic")?;
    let matcher = globset::Glob::new(topics)
        .map_err(|error| about.error(Kind::Invalid, format!("'{topics}': {}", error.kind())))?
        .compile_matcher();
    let mut queues = management::queues(settings, &about).await?;
    let link = rabbit.admin(&about).await?;
    let mut bindings = management::bindings(settings, &about).await?;
    bindings.retain(|(topic, queue)| matcher.is_match(topic) && group_of(topic, queue).is_some());
    // One binding per pattern.
    bindings.sort();
    bindings.dedup();
    let (mut all, mut fresh) = (Vec::new(), false);
    for (topic, queue) in bindings {
        let Some(group) = group_of(&topic, &queue) else { continue };
        let Some(now) = link.queue(&about, &queue).await? else { continue };
        let (ready, members) = (u64::from(now.message_count()), now.consumer_count());
        if members > 0 && ready == 0 && !std::mem::replace(&mut fresh, true) {
            tokio::time::sleep(OLD).await;
            queues = management::queues(settings, &about).await?;
        }
        let Some(listed) = queues.iter().find(|listed| listed.name == queue) else { continue };
        let held = if members == 0 { 0 } else { listed.messages.unwrap_or(0) };
        all.push(GroupInfo {
            topic: topic.clone(),
            group: group.to_owned(),
            dead_letters: dead_letters(listed),
            members: Some(members),
            lag: Some(Count { events: ready.max(held), exact: members == 0 }),
            max_deliveries: limit(listed),
            ..GroupInfo::default()
        });
    }
    Ok(all)
}

/// The group whose queue this is, by its name.
fn group_of<'a>(topic: &str, queue: &'a str) -> Option<&'a str> {
    let group = queue.strip_prefix(topic)?.strip_prefix('.')?;
    (!group.is_empty() && !is_for_letters(queue)).then_some(group)
}

/// The queues of a topic's groups. Requires: the management API.
pub async fn queues_of(rabbit: &RabbitMq, about: &About, topic: &str) -> Result<Vec<String>> {
    let all = management::bindings(&rabbit.settings, about).await?;
    let mut queues: Vec<String> = all
        .into_iter()
        .filter(|(from, to)| from == topic && group_of(topic, to).is_some())
        .map(|(_, to)| to)
        .collect();
    queues.sort();
    queues.dedup();
    Ok(queues)
}

fn dead_letters(queue: &ListedQueue) -> Option<String> {
    match (queue.argument("x-dead-letter-exchange")?, queue.argument("x-dead-letter-routing-key")) {
        ("", Some(name)) => Some(format!("queue:{name}")),
        (exchange, _) => Some(exchange.to_owned()),
    }
}

/// After how many deliveries the queue gives an event away by itself.
fn limit(queue: &ListedQueue) -> Option<u32> {
    match limit_or_none(queue)? {
        Some(limit) => u32::try_from(limit).ok(),
        None => Some(USUAL_LIMIT),
    }
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group).
pub async fn delete(rabbit: &RabbitMq, topic: &str, group: &str) -> Result<()> {
    let about = About::group("delete_group", topic, group);
    let link = rabbit.admin(&about).await?;
    let queue = queue_of(topic, group);
    let mut looks = 0;
    loop {
        let Some(found) = link.queue(&about, &queue).await? else { return Err(about.missing()) };
        match found.consumer_count() {
            0 => break,
            // A quorum queue counts a member that has left for a moment more.
            _ if looks < LOOKS => looks += 1,
            members => {
                let message = format!("{members} of its members are at work");
                return Err(about.error(Kind::Rejected, message).with_hint("stop them first"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    // Quorum queues do not know the condition "if unused", so that a member may have come in between: it is told.
    delete_queue(&link, &about, &queue).await
}

/// What is settled is gone from a queue.
pub fn cannot_seek(topic: &str, group: &str) -> Error {
    About::group("seek_group", topic, group)
        .error(Kind::Unsupported, "a queue keeps nothing that is settled, so a group cannot be moved")
        .with_hint("what failed is among the dead letters: evcat dlq replay")
}
