//! Groups: the queues `TOPIC-GROUP`, subscribed to the topic in the raw form.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use futures_util::{StreamExt, TryStreamExt};

use super::client::{AT_A_TIME, Client};
use super::error::About;
use super::name::{self, Place, group_of, last_part, letters_name, queue_of};
use super::queues::{self, TOPIC_TAG};
use super::work::count;
use crate::broker::{Count, Error, GroupInfo, Kind, Result, Source, Start};
use crate::event::Name;

/// How often, and how long after one another, a queue must say that nothing is in it until that is told: its counts are
/// those of one of many servers.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(150);

/// What a queue says.
pub type Attributes = HashMap<Attribute, String>;

/// See [`Broker::create_group`](crate::broker::Broker::create_group).
pub async fn create(
    client: &Arc<Client>,
    source: &Source,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    const OPERATION: &str = "create_group";
    let (topics, group): (&[Name], &str) = match source {
        Source::Group { topics, group } => (topics, group),
        Source::Queue(_) | Source::DeadLetters { .. } => (&[], ""),
    };
    for topic in topics {
        has_groups(OPERATION, topic, group)?;
        name::topic(OPERATION, topic)?;
        name::group(OPERATION, topic, group)?;
        can_begin(topic, group, from)?;
    }
    let letters = dead_letters.map(letters_queue).transpose()?;
    let mut made = Vec::new();
    let mut arns = Vec::new();
    for topic in topics {
        let about = About::topic(OPERATION, topic);
        arns.push(client.topic(&about, topic).await?.ok_or_else(|| about.missing())?);
    }
    // First, so that there is no moment in which an event that dies has nowhere to go.
    let letters = match letters {
        Some((typed, queue)) => {
            let about = About::topic(OPERATION, typed);
            let (arn, is_new) = queues::make_letters(client, &about, &queue).await?;
            made.extend(is_new.then(|| format!("topic {typed}")));
            Some(arn)
        }
        None => None,
    };
    for (topic, arn) in topics.iter().zip(arns) {
        if make(client, topic, &arn, group, letters.as_deref()).await? {
            made.push(format!("group {group} on {topic}"));
        }
    }
    Ok(made)
}

/// The queue that is meant by a place for dead letters.
fn letters_queue(typed: &str) -> Result<(&str, String)> {
    name::topic("create_group", typed)?;
    match Place::of(typed) {
        Place::Queue(queue) | Place::Letters(queue) => Ok((typed, queue)),
        Place::Topic(_) => {
            let message = "dead letters lie in a queue here, where each can be settled by itself";
            Err(About::topic("create_group", typed)
                .error(Kind::Unsupported, message)
                .with_hint("TOPIC.GROUP.dlq, which is the default, or queue:NAME"))
        }
    }
}

/// Makes queue and subscription of a group. `Ok(false)`: both were there.
async fn make(
    client: &Arc<Client>,
    topic: &str,
    arn: &str,
    group: &str,
    letters: Option<&str>,
) -> Result<bool> {
    let about = About::group("create_group", topic, group);
    let queue = queue_of(topic, group);
    let found = match client.queue(&about, &queue).await? {
        Some(url) => client.attributes(&about, &url).await?.map(|attributes| (url, attributes)),
        None => None,
    };
    let (queue_arn, is_new) = match found {
        Some((url, attributes)) => {
            let queue_arn = queues::arn_of(&about, &attributes)?;
            let all = queues::subscribers(client, &about, arn).await?;
            if all.iter().any(|(_, subscriber)| *subscriber == queue_arn) {
                return Ok(false);
            }
            // One that was made for this and not subscribed because we were killed between the two is ours.
            let tags = queues::tags(client, &about, &url).await?;
            if tags.get(TOPIC_TAG).is_none_or(|made_for| made_for != arn) {
                let message = format!("a queue '{queue}' is there and is not subscribed to the topic");
                return Err(about.error(Kind::Rejected, message).with_hint(format!(
                    "another group name; or: aws sns subscribe --topic-arn {arn} --protocol sqs \
                     --notification-endpoint {queue_arn} --attributes RawMessageDelivery=true"
                )));
            }
            (queue_arn, false)
        }
        None => {
            client.forget(&format!("queue:{queue}"));
            let attributes = queues::attributes_of_group(client, &queue, arn, letters);
            let made = queues::make(client, &about, &queue, &attributes, &[(TOPIC_TAG, arn)]).await?;
            (made.1, true)
        }
    };
    let subscribed = queues::subscribe(client, &about, arn, &queue_arn).await;
    if subscribed.is_err() && is_new {
        // A queue that nothing comes to would be taken for a group that works.
        if let Some(url) = client.queue(&about, &queue).await? {
            queues::delete(client, &about, &url).await?;
            client.forget(&format!("queue:{queue}"));
        }
    }
    subscribed.map(|_| true)
}

/// Refuses a group of what is a queue.
pub fn has_groups(operation: &'static str, topic: &str, group: &str) -> Result<()> {
    match Place::of(topic) {
        Place::Topic(_) => Ok(()),
        Place::Queue(_) | Place::Letters(_) => {
            let message = "a queue is worked on as it is, without a group";
            let error = About::group(operation, topic, group).error(Kind::Unsupported, message);
            Err(error.with_hint(format!("leave -g out: evcat subscribe {topic}")))
        }
    }
}

/// Refuses a beginning that is past.
fn can_begin(topic: &str, group: &str, from: &Start) -> Result<()> {
    if *from == Start::Latest {
        return Ok(());
    }
    let message =
        "a topic of SNS keeps nothing: what was published before its queue is subscribed went to others";
    let error = About::group("create_group", topic, group).error(Kind::Unsupported, message);
    Err(error.with_hint("leave --from out: a group begins now"))
}

/// What a queue says; asked again where it says that nothing is in it. `None`: it is gone.
pub async fn waiting(client: &Client, about: &About, url: &str) -> Result<Option<Attributes>> {
    for look in 1..LOOKS {
        match client.attributes(about, url).await? {
            Some(attributes) if total(&attributes) == 0 => tokio::time::sleep(PAUSE * look).await,
            other => return Ok(other),
        }
    }
    client.attributes(about, url).await
}

/// All that is not settled: what can be received, what is out, and what waits for its time.
pub fn total(attributes: &Attributes) -> u64 {
    let all = [
        Attribute::ApproximateNumberOfMessages,
        Attribute::ApproximateNumberOfMessagesNotVisible,
        Attribute::ApproximateNumberOfMessagesDelayed,
    ];
    all.iter().map(|name| count(attributes, name)).sum()
}

fn info(topic: &str, group: &str, attributes: &Attributes) -> GroupInfo {
    let redrive = queues::redrive(attributes);
    GroupInfo {
        topic: topic.into(),
        group: group.into(),
        dead_letters: redrive.as_ref().map(|(arn, _)| letters_name(topic, group, last_part(arn))),
        max_deliveries: redrive.map(|(_, most)| most),
        lag: Some(Count { events: total(attributes), exact: false }),
        ..GroupInfo::default()
    }
}

/// See [`Broker::group`](crate::broker::Broker::group).
pub async fn group(client: &Client, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
    let about = About::group("group", topic, group);
    if name::topic("group", topic).is_err()
        || name::group("group", topic, group).is_err()
        || !matches!(Place::of(topic), Place::Topic(_))
    {
        return Ok(None);
    }
    let Some(url) = client.queue(&about, &queue_of(topic, group)).await? else { return Ok(None) };
    let Some(attributes) = waiting(client, &about, &url).await? else { return Ok(None) };
    // `a-b` of `orders` and `b` of `orders-a` have one name for their queue.
    let Some(arn) = client.topic(&about, topic).await? else { return Ok(None) };
    let queue = queues::arn_of(&about, &attributes)?;
    let all = queues::subscribers(client, &about, &arn).await?;
    let is_subscribed = all.iter().any(|(_, subscriber)| *subscriber == queue);
    Ok(is_subscribed.then(|| info(topic, group, &attributes)))
}

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(client: &Client, glob: &str) -> Result<Vec<GroupInfo>> {
    let about = About::new("groups", "");
    // A queue has none, and a place that is a queue alone need not know of topics.
    if !matches!(Place::of(glob), Place::Topic(_)) {
        return Ok(Vec::new());
    }
    let matcher = globset::Glob::new(glob)
        .map_err(|error| about.error(Kind::Invalid, format!("'{glob}': {}", error.kind())))?
        .compile_matcher();
    let arns = client.topics(&about).await?;
    let about = &about;
    let of_topics: Vec<String> =
        arns.into_iter().filter(|arn| matcher.is_match(last_part(arn)) || matcher.is_match(arn)).collect();
    let found: Vec<Vec<(String, String, String)>> = futures_util::stream::iter(of_topics)
        .map(|arn| async move {
            let topic = if matcher_is_arn(glob) { arn.clone() } else { last_part(&arn).to_owned() };
            let all = queues::subscribers(client, about, &arn).await?;
            let of_ours = all.into_iter().filter_map(|(_, queue)| {
                let group = group_of(last_part(&arn), last_part(&queue))?.to_owned();
                Some((topic.clone(), group, queue))
            });
            Ok::<_, Error>(of_ours.collect())
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let groups: Vec<Option<GroupInfo>> = futures_util::stream::iter(found.into_iter().flatten())
        .map(|(topic, group, queue)| async move {
            let Some(url) = client.queue(about, &queue).await? else { return Ok(None) };
            let found = waiting(client, about, &url).await?;
            Ok::<_, Error>(found.map(|attributes| info(&topic, &group, &attributes)))
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let mut groups: Vec<GroupInfo> = groups.into_iter().flatten().collect();
    groups.sort_by(|a, b| (&a.topic, &a.group).cmp(&(&b.topic, &b.group)));
    Ok(groups)
}

fn matcher_is_arn(glob: &str) -> bool {
    glob.starts_with("arn:")
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group).
pub async fn delete(client: &Client, topic: &str, group: &str) -> Result<()> {
    let about = About::group("delete_group", topic, group);
    has_groups("delete_group", topic, group)?;
    name::topic("delete_group", topic)?;
    let topic_about = About::topic("delete_group", topic);
    let arn = client.topic(&topic_about, topic).await?.ok_or_else(|| topic_about.missing())?;
    let queue = queue_of(topic, group);
    let all = queues::subscribers(client, &about, &arn).await?;
    let ours = all.iter().find(|(_, subscriber)| last_part(subscriber) == queue);
    let (subscription, queue_arn) = ours.ok_or_else(|| about.missing())?;
    queues::unsubscribe(client, &about, subscription).await?;
    if let Some(url) = client.queue(&about, queue_arn).await? {
        queues::delete(client, &about, &url).await?;
    }
    client.forget(&format!("queue:{queue}"));
    client.forget(&format!("queue:{queue_arn}"));
    Ok(())
}

/// Why a group is not moved.
pub fn cannot_seek(topic: &str, group: &str) -> Error {
    let message = "a queue has no other place to go on from: what was settled is deleted";
    About::group("seek_group", topic, group).error(Kind::Unsupported, message)
}
