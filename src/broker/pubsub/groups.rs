//! Groups: the subscriptions `TOPIC.GROUP`. Those that others made are groups too, called `subscription:NAME`.

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;

use super::error::About;
use super::link::Link;
use super::name::{self, Place, group_of, subscription_of};
use super::subscriptions::{self, short};
use super::topics::{self, kept_for, make_letters};
use crate::broker::{Error, GroupInfo, Kind, Result, Source, Start};
use crate::event::{Millis, Name};

/// What the service takes for no limit said.
const USUAL_LIMIT: u32 = 5;

/// See [`Broker::create_group`](crate::broker::Broker::create_group).
pub async fn create(
    link: &Link,
    source: &Source,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    let (topics, group): (&[Name], &str) = match source {
        Source::Group { topics, group } => (topics, group),
        Source::Queue(_) | Source::DeadLetters { .. } => (&[], ""),
    };
    for topic in topics {
        can_begin(topic, group, from)?;
        name::topic("create_group", topic)?;
        name::group("create_group", topic, group)?;
    }
    if let Some(letters) = dead_letters {
        name::topic("create_group", letters)?;
    }
    let mut made = Vec::new();
    for topic in topics {
        made.extend(create_one(link, topic, group, from, dead_letters).await?);
    }
    if let (true, Some(letters)) = (topics.is_empty(), dead_letters) {
        let about = About::topic("create_group", letters);
        if make_letters(link, &about, letters, None).await? {
            made.push(format!("topic {letters}"));
        }
    }
    Ok(made)
}

async fn create_one(
    link: &Link,
    topic: &str,
    group: &str,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    let mut made = Vec::new();
    let about = About::group("create_group", topic, group);
    let Some(found) = topics::get(link, &about, topic).await? else {
        return Err(About::topic("create_group", topic).missing());
    };
    let subscription = subscription_of(topic, group);
    let full = link.settings.subscription(&subscription);
    let known = subscriptions::get(link, &about, &full).await?;
    let seek = match known {
        None => begin(&about, &found, from, (link.settings.clock)())?,
        Some(_) => None,
    };
    // First, so that there is no moment in which an event that dies has nowhere to go.
    if let Some(letters) = dead_letters
        && make_letters(link, &about, letters, None).await?
    {
        made.push(format!("topic {letters}"));
    }
    if known.is_none() {
        let new = subscriptions::of_group(link, &subscription, topic, dead_letters);
        if subscriptions::make(link, &about, new).await? {
            made.push(format!("group {group} on {topic}"));
            if let Some(to) = seek
                && let Err(error) = subscriptions::seek(link, &about, &full, to).await
            {
                // A group that does not begin where it was told to is none.
                let _ = subscriptions::delete(link, &about, &full).await;
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// Refuses a group where there can be none, and a beginning that Pub/Sub does not know.
fn can_begin(topic: &str, group: &str, from: &Start) -> Result<()> {
    let about = About::group("create_group", topic, group);
    if let Place::Subscription(_) = Place::of(topic) {
        return Err(about
            .error(Kind::Unsupported, "a subscription is worked on as it is, without a group")
            .with_hint(format!("leave -g out: evcat subscribe {topic}")));
    }
    match from {
        Start::Earliest | Start::Latest | Start::Time(_) => Ok(()),
        Start::Last(_) | Start::At(_) | Start::After(_) => Err(places(&about)),
    }
}

/// What asks for a place.
pub fn places(about: &About) -> Error {
    about
        .error(Kind::Unsupported, "Pub/Sub has no positions: history is read from a time")
        .with_hint("--from 10m, or --from beginning")
}

/// Where a new subscription is moved to; `None`: it begins now anyway. Errors: the topic keeps nothing.
pub fn begin(about: &About, topic: &api::Topic, from: &Start, now: Millis) -> Result<Option<Millis>> {
    let at = match from {
        Start::Latest => return Ok(None),
        Start::Time(at) if *at > now => return Ok(None),
        Start::Time(at) => Some(*at),
        Start::Earliest => None,
        Start::Last(_) | Start::At(_) | Start::After(_) => return Err(places(about)),
    };
    let Some(kept) = kept_for(topic) else {
        let name = short(&topic.name);
        let message = "the topic keeps nothing that was published before";
        return Err(about.error(Kind::Unsupported, message).with_hint(format!(
            "from now on it keeps: gcloud pubsub topics update {name} --message-retention-duration=7d"
        )));
    };
    let oldest = now.saturating_sub(Millis::try_from(kept.as_millis()).unwrap_or(Millis::MAX));
    Ok(Some(at.unwrap_or(oldest).max(oldest)))
}

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(link: &Link, topics: &str) -> Result<Vec<GroupInfo>> {
    let about = About::new("groups", "");
    let matcher = globset::Glob::new(topics)
        .map_err(|error| about.error(Kind::Invalid, format!("'{topics}': {}", error.kind())))?
        .compile_matcher();
    let mut all: Vec<GroupInfo> = subscriptions::list(link, &about).await?.iter().filter_map(info).collect();
    all.retain(|info| matcher.is_match(&info.topic));
    all.sort_by(|a, b| (&a.topic, &a.group).cmp(&(&b.topic, &b.group)));
    Ok(all)
}

/// See [`Broker::group`](crate::broker::Broker::group).
pub async fn group(link: &Link, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
    let about = About::group("group", topic, group);
    if name::topic("group", &subscription_of(topic, group)).is_err() {
        return Ok(None);
    }
    let full = link.settings.subscription(&subscription_of(topic, group));
    let found = subscriptions::get(link, &about, &full).await?;
    Ok(found.as_ref().and_then(info).filter(|info| info.topic == topic))
}

/// What is a group among the subscriptions.
fn info(subscription: &api::Subscription) -> Option<GroupInfo> {
    let topic = short(&subscription.topic);
    if topic == "_deleted-topic_" {
        return None;
    }
    let policy =
        subscription.dead_letter_policy.as_ref().filter(|policy| !policy.dead_letter_topic.is_empty());
    let limit = |policy: &api::DeadLetterPolicy| u32::try_from(policy.max_delivery_attempts).unwrap_or(0);
    Some(GroupInfo {
        topic: topic.to_owned(),
        group: group_of(topic, short(&subscription.name))?,
        dead_letters: policy.map(|policy| short(&policy.dead_letter_topic).to_owned()),
        max_deliveries: policy.map(|policy| if limit(policy) == 0 { USUAL_LIMIT } else { limit(policy) }),
        ..GroupInfo::default()
    })
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group).
pub async fn delete(link: &Link, topic: &str, group: &str) -> Result<()> {
    let about = About::group("delete_group", topic, group);
    let subscription = subscription_of(topic, group);
    if self::group(link, topic, group).await?.is_none() {
        return Err(about.missing());
    }
    subscriptions::delete(link, &about, &link.settings.subscription(&subscription)).await
}

/// Nobody could be asked whether members are at work.
pub fn cannot_seek(topic: &str, group: &str) -> Error {
    let subscription = subscription_of(topic, group);
    About::group("seek_group", topic, group)
        .error(Kind::Unsupported, "Pub/Sub does not tell whether members are at work, and a move under them loses events")
        .with_hint(format!(
            "with all of them stopped: gcloud pubsub subscriptions seek {subscription} --time=2026-01-31T12:00:00Z"
        ))
}
