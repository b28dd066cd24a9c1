//! Topics of SNS, and the queues that are named as such.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use futures_util::{StreamExt, TryStreamExt};

use super::client::{AT_A_TIME, Client};
use super::error::About;
use super::groups::{self, Attributes, total};
use super::name::{self, FIFO, Place, TEMPORARY, group_of, last_part, letters_name};
use super::queues::{self, TOPIC_TAG};
use super::work::count;
use crate::broker::{Count, Error, Kind, Result, TopicInfo};

/// How long a queue keeps a message, at least and at most.
const KEPT: std::ops::RangeInclusive<u64> = 60..=1_209_600;

/// See [`Broker::topics`](crate::broker::Broker::topics).
pub async fn topics(client: &Client, glob: &str) -> Result<Vec<TopicInfo>> {
    if let Some(name) = literal(glob) {
        if name::topic("topics", &name).is_err() {
            return Ok(Vec::new());
        }
        return Ok(one(client, &name).await?.into_iter().collect());
    }
    let about = About::new("topics", "");
    let matcher = globset::Glob::new(glob)
        .map_err(|error| about.error(Kind::Invalid, format!("'{glob}': {}", error.kind())))?
        .compile_matcher();
    let arns = client.topics(&about).await?;
    let mut all: Vec<TopicInfo> = arns.iter().map(|arn| of_topic(last_part(arn), arn)).collect();
    all.extend(queues(client, &about).await?);
    all.retain(|info| matcher.is_match(&info.name));
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

/// What is known of one, by the name that it was asked for by.
async fn one(client: &Client, name: &str) -> Result<Option<TopicInfo>> {
    let about = About::topic("topics", name);
    match Place::of(name) {
        Place::Topic(topic) => Ok(client.topic(&about, &topic).await?.map(|arn| of_topic(name, &arn))),
        Place::Queue(queue) | Place::Letters(queue) => {
            let Some(url) = client.queue(&about, &queue).await? else { return Ok(None) };
            let found = groups::waiting(client, &about, &url).await?;
            Ok(found.map(|attributes| of_queue(name.to_owned(), &attributes)))
        }
    }
}

fn of_topic(name: &str, arn: &str) -> TopicInfo {
    let kind = if name.ends_with(FIFO) { "SNS, FIFO" } else { "SNS" };
    let details = vec![("topic".into(), kind.into()), ("arn".into(), arn.into())];
    TopicInfo { name: name.into(), details, ..TopicInfo::default() }
}

fn of_queue(name: String, attributes: &Attributes) -> TopicInfo {
    let kept = count(attributes, &Attribute::MessageRetentionPeriod);
    let mut details = vec![("queue".into(), "SQS".into())];
    let mut detail = |name: &str, attribute: Attribute| {
        if let Some(value) = attributes.get(&attribute) {
            details.push((name.to_owned(), value.clone()));
        }
    };
    detail("arn", Attribute::QueueArn);
    detail("hidden while somebody works on them", Attribute::ApproximateNumberOfMessagesNotVisible);
    detail("redrive policy", Attribute::RedrivePolicy);
    TopicInfo {
        name,
        waiting: Some(Count { events: total(attributes), exact: false }),
        kept_for: (kept > 0).then(|| Duration::from_secs(kept)),
        details,
        ..TopicInfo::default()
    }
}

/// All queues but those of groups, which are listed as such, and those of tails that live.
async fn queues(client: &Client, about: &About) -> Result<Vec<TopicInfo>> {
    let all = attributes_of_all(client, about).await?;
    let of_groups = of_groups(client, about).await?;
    // By the ARN of a place of dead letters, what it is called and whose it is.
    let mut letters: HashMap<String, (String, String)> = HashMap::new();
    for (queue, attributes) in &all {
        if let Some((target, _)) = queues::redrive(attributes) {
            let told = match of_groups.get(queue) {
                Some((topic, group)) => {
                    (letters_name(topic, group, last_part(&target)), format!("{topic}/{group}"))
                }
                None => (format!("queue:{}", last_part(&target)), format!("queue:{}", last_part(queue))),
            };
            letters.insert(target, told);
        }
    }
    let now = (client.settings.clock)();
    let mut infos = Vec::new();
    for (queue, attributes) in &all {
        let bare = last_part(queue);
        let (name, of) = match letters.get(queue) {
            Some((name, of)) => (name.clone(), Some(of.clone())),
            None if of_groups.contains_key(queue) => continue,
            None => (parked(bare, &letters).unwrap_or_else(|| format!("queue:{bare}")), None),
        };
        let mut info = TopicInfo { dead_letters_of: of, ..of_queue(name, attributes) };
        if bare.starts_with(TEMPORARY) {
            // Its tail touches it from time to time for as long as it lives.
            let touched = i64::try_from(count(attributes, &Attribute::LastModifiedTimestamp)).unwrap_or(0);
            let age = u64::try_from(now - touched * 1000).unwrap_or(0);
            if Duration::from_millis(age) < client.settings.stale {
                continue;
            }
            info.temporary = true;
        }
        infos.push(info);
    }
    Ok(infos)
}

/// What the queue is called that parked letters lie in.
fn parked(queue: &str, letters: &HashMap<String, (String, String)>) -> Option<String> {
    let place = |name: &str| Place::of(&format!("{name}.parked"));
    let of = letters.values().find(|(name, _)| place(name).bare() == queue)?;
    Some(format!("{}.parked", of.0))
}

/// By its ARN, what each queue says.
async fn attributes_of_all(client: &Client, about: &About) -> Result<Vec<(String, Attributes)>> {
    let sqs = &client.services(about).await?.sqs;
    let mut pages = sqs.list_queues().max_results(1000).into_paginator().items().send();
    let mut urls = Vec::new();
    while let Some(url) = pages.next().await {
        urls.push(url.map_err(|error| about.map(&error))?);
    }
    let all: Vec<Option<Attributes>> = futures_util::stream::iter(urls)
        .map(|url| async move { client.attributes(about, &url).await })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let by_arn = |attributes: Attributes| Some((attributes.get(&Attribute::QueueArn)?.clone(), attributes));
    Ok(all.into_iter().flatten().filter_map(by_arn).collect())
}

/// By its ARN, topic and group of each queue that is a group's.
async fn of_groups(client: &Client, about: &About) -> Result<HashMap<String, (String, String)>> {
    let sns = &client.services(about).await?.sns;
    let mut pages = sns.list_subscriptions().into_paginator().items().send();
    let mut groups = HashMap::new();
    while let Some(one) = pages.next().await {
        let one = one.map_err(|error| about.map(&error))?;
        let (Some(topic), Some(queue)) = (one.topic_arn(), one.endpoint()) else { continue };
        if let Some(group) = group_of(last_part(topic), last_part(queue)) {
            groups.insert(queue.to_owned(), (last_part(topic).to_owned(), group.to_owned()));
        }
    }
    Ok(groups)
}

/// See [`Broker::create_topic`](crate::broker::Broker::create_topic).
pub async fn create(client: &Client, topic: &str, options: &[(String, String)]) -> Result<()> {
    let about = About::topic("create_topic", topic);
    name::topic("create_topic", topic)?;
    let place = Place::of(topic);
    let attributes = attributes(&about, &place, options)?;
    if let Place::Topic(name) | Place::Queue(name) | Place::Letters(name) = &place
        && (name.starts_with("arn:") || name.contains("://"))
    {
        return Err(about.error(Kind::Invalid, "what is made is named by its name, not by an ARN or URL"));
    }
    if one(client, topic).await?.is_some() {
        return Err(about.error(Kind::Rejected, "it is there already"));
    }
    match place {
        Place::Queue(queue) => {
            client.forget(&format!("queue:{queue}"));
            queues::make(client, &about, &queue, &attributes, &[]).await.map(drop)
        }
        Place::Letters(queue) if attributes.is_empty() => {
            queues::make_letters(client, &about, &queue).await.map(drop)
        }
        Place::Letters(queue) => queues::make(client, &about, &queue, &attributes, &[]).await.map(drop),
        Place::Topic(name) => {
            let mut request = client.services(&about).await?.sns.create_topic().name(&name);
            if name.ends_with(FIFO) {
                request = request.attributes("FifoTopic", "true");
            }
            request.send().await.map(drop).map_err(|error| about.map(&error))
        }
    }
}

/// What the options of a topic are in the words of the service.
fn attributes(
    about: &About,
    place: &Place,
    options: &[(String, String)],
) -> Result<Vec<(Attribute, String)>> {
    let refuse = |kind, words: String| -> Error { about.error(kind, words) };
    let mut attributes = Vec::new();
    for (key, value) in options {
        match (key.as_str(), place) {
            ("dedup", _) => {
                let message =
                    "a FIFO topic or queue knows an id again for five minutes, and nothing else does";
                return Err(
                    refuse(Kind::Unsupported, message.into()).with_hint("a name that ends with .fifo")
                );
            }
            ("partitions", _) => {
                let message = "topics and queues have no partitions at AWS";
                return Err(refuse(Kind::Unsupported, message.into()));
            }
            ("retention", Place::Topic(_)) => {
                let message = "a topic of SNS keeps nothing";
                return Err(refuse(Kind::Unsupported, message.into()).with_hint("a queue does: queue:NAME"));
            }
            ("retention", _) => {
                let seconds = humantime::parse_duration(value).ok().map(|age| age.as_secs());
                let Some(seconds) = seconds.filter(|seconds| KEPT.contains(seconds)) else {
                    let message = "a queue keeps by age, from a minute to 14 days: --retention 7d";
                    return Err(refuse(Kind::Unsupported, message.into()));
                };
                attributes.push((Attribute::MessageRetentionPeriod, seconds.to_string()));
            }
            _ => return Err(refuse(Kind::Invalid, format!("{key}={value} is no option of a topic here"))),
        }
    }
    Ok(attributes)
}

/// See [`Broker::delete_topic`](crate::broker::Broker::delete_topic).
pub async fn delete(client: &Client, topic: &str) -> Result<()> {
    let about = About::topic("delete_topic", topic);
    name::topic("delete_topic", topic)?;
    match Place::of(topic) {
        Place::Topic(name) => {
            // Not what was known of it: it may have been deleted by somebody else.
            client.forget(&name);
            let arn = client.topic(&about, &name).await?.ok_or_else(|| about.missing())?;
            for (subscription, queue) in queues::subscribers(client, &about, &arn).await? {
                queues::unsubscribe(client, &about, &subscription).await?;
                if group_of(last_part(&arn), last_part(&queue)).is_some()
                    && let Some(url) = client.queue(&about, &queue).await?
                {
                    queues::delete(client, &about, &url).await?;
                    client.forget(&format!("queue:{queue}"));
                    client.forget(&format!("queue:{}", last_part(&queue)));
                }
            }
            client.forget(&name);
            let sns = &client.services(&about).await?.sns;
            let deleted = sns.delete_topic().topic_arn(&*arn).send().await;
            deleted.map(drop).map_err(|error| about.map(&error))
        }
        Place::Queue(queue) | Place::Letters(queue) => {
            client.forget(&format!("queue:{queue}"));
            let url = client.queue(&about, &queue).await?.ok_or_else(|| about.missing())?;
            if last_part(&queue).starts_with(TEMPORARY) {
                forget_tail(client, &about, &url).await?;
            }
            client.forget(&format!("queue:{queue}"));
            queues::delete(client, &about, &url).await
        }
    }
}

/// Ends the subscription of a tail's queue.
async fn forget_tail(client: &Client, about: &About, url: &str) -> Result<()> {
    let tags = queues::tags(client, about, url).await?;
    let Some(topic) = tags.get(TOPIC_TAG) else { return Ok(()) };
    let arn = queues::arn(client, about, url).await?;
    let all = queues::subscribers(client, about, topic).await?;
    for (subscription, _) in all.into_iter().filter(|(_, queue)| *queue == arn) {
        queues::unsubscribe(client, about, &subscription).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_of_one_name_is_that_name() {
        assert_eq!(literal("orders.fifo").as_deref(), Some("orders.fifo"));
        assert_eq!(literal("queue:a[*]b").as_deref(), Some("queue:a*b"));
        assert_eq!(literal("orders-*"), None);
    }

    #[test]
    fn what_is_parked_is_called_after_its_letters() {
        let told = ("orders.mail.dlq".to_owned(), "orders/mail".to_owned());
        let letters = HashMap::from([("arn:aws:sqs:r:1:orders-mail-dlq".to_owned(), told)]);
        assert_eq!(parked("orders-mail-dlq-parked", &letters).as_deref(), Some("orders.mail.dlq.parked"));
        assert_eq!(parked("other", &letters), None);
    }
}
