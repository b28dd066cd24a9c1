//! Topics, and subscriptions that are named as such.

use std::time::Duration;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tonic::Code;

use super::error::About;
use super::link::Link;
use super::name::{self, Place, group_of, is_for_letters, typed};
use super::settings::retention;
use super::subscriptions::{self, duration, look_alive, look_made, short};
use crate::broker::{Kind, Result, TopicInfo};

/// Entries of a list that are asked for at a time.
const PAGE: i32 = 1000;

/// What the service knows of a topic; `None` where there is none.
pub async fn get(link: &Link, about: &About, topic: &str) -> Result<Option<api::Topic>> {
    let name = link.settings.topic(topic);
    let request = api::GetTopicRequest { topic: name.clone() };
    let found = link
        .ask(about, &format!("topic={name}"), request, |mut clients, request| {
            Box::pin(async move { clients.publisher.get_topic(request).await })
        })
        .await;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(refusal) if refusal.error.kind() == Kind::NotFound && refusal.error.detail().hint.is_none() => {
            Ok(None)
        }
        Err(refusal) => Err(refusal.error),
    }
}

async fn list(link: &Link, about: &About) -> Result<Vec<api::Topic>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    let project = link.settings.project();
    loop {
        let request = api::ListTopicsRequest { project: project.clone(), page_size: PAGE, page_token };
        let page = link
            .call(about, &format!("project={project}"), request, |mut clients, request| {
                Box::pin(async move { clients.publisher.list_topics(request).await })
            })
            .await?;
        all.extend(page.topics);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// How long a topic keeps its events for a replay.
pub fn kept_for(topic: &api::Topic) -> Option<Duration> {
    let kept = topic.message_retention_duration.as_ref()?;
    u64::try_from(kept.seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// See [`Broker::topics`](crate::broker::Broker::topics).
pub async fn topics(link: &Link, glob: &str) -> Result<Vec<TopicInfo>> {
    if let Some(name) = literal(glob) {
        let about = About::topic("topics", &name);
        if name::topic("topics", &name).is_err() {
            return Ok(Vec::new());
        }
        return Ok(one(link, &about, &name).await?.into_iter().collect());
    }
    let about = About::new("topics", "");
    let matcher = globset::Glob::new(glob)
        .map_err(|error| about.error(Kind::Invalid, format!("'{glob}': {}", error.kind())))?
        .compile_matcher();
    let (topics, subscriptions) = (list(link, &about).await?, subscriptions::list(link, &about).await?);
    let mut all: Vec<TopicInfo> = topics.iter().map(|topic| of_topic(topic, &subscriptions)).collect();
    let now = (link.settings.clock)();
    // One that is alive says so three times within it.
    let left_behind = |subscription: &&api::Subscription| {
        let silent = look_alive(subscription).map(|alive| now.saturating_sub(alive));
        silent.and_then(|silent| u128::try_from(silent).ok()) > Some(link.settings.stale.as_millis())
    };
    all.extend(subscriptions.iter().filter(left_behind).map(of_subscription));
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

async fn one(link: &Link, about: &About, name: &str) -> Result<Option<TopicInfo>> {
    match Place::of(name) {
        Place::Topic(topic) => {
            let Some(found) = get(link, about, topic).await? else { return Ok(None) };
            let subscriptions = match is_for_letters(topic) {
                true => subscriptions::list(link, about).await?,
                false => Vec::new(),
            };
            Ok(Some(of_topic(&found, &subscriptions)))
        }
        Place::Subscription(subscription) => {
            let found = subscriptions::get(link, about, &link.settings.subscription(subscription)).await?;
            Ok(found.as_ref().map(of_subscription))
        }
    }
}

fn of_topic(topic: &api::Topic, subscriptions: &[api::Subscription]) -> TopicInfo {
    let dies_here = |subscription: &&api::Subscription| {
        subscription.dead_letter_policy.as_ref().is_some_and(|policy| policy.dead_letter_topic == topic.name)
    };
    let owner = subscriptions.iter().find(dies_here).and_then(|subscription| {
        let of = short(&subscription.topic);
        Some(format!("{of}/{}", group_of(of, short(&subscription.name))?))
    });
    TopicInfo {
        name: short(&topic.name).to_owned(),
        dead_letters_of: owner,
        // What was told to keep nothing goes to its subscriptions, and is gone; dead letters are kept by theirs.
        kept_for: kept_for(topic).or((!is_for_letters(short(&topic.name))).then_some(Duration::ZERO)),
        ..TopicInfo::default()
    }
}

fn of_subscription(subscription: &api::Subscription) -> TopicInfo {
    let name = short(&subscription.name);
    TopicInfo {
        name: typed(name),
        temporary: look_made(name).is_some(),
        details: vec![("topic".into(), short(&subscription.topic).to_owned())],
        ..TopicInfo::default()
    }
}

/// See [`Broker::create_topic`](crate::broker::Broker::create_topic). A place of dead letters gets the subscription that
/// keeps them.
pub async fn create(link: &Link, topic: &str, options: &[(String, String)]) -> Result<()> {
    let about = About::topic("create_topic", topic);
    name::topic("create_topic", topic)?;
    let kept = keep(&about, link.settings.retention, options)?;
    if let Place::Subscription(_) = Place::of(topic) {
        let message = "a subscription is made as a group of a topic";
        return Err(about.error(Kind::Unsupported, message).with_hint("evcat groups create GROUP TOPIC"));
    }
    let made = match is_for_letters(topic) {
        true => make_letters(link, &about, topic, kept).await?,
        false => make(link, &about, topic, kept).await?,
    };
    match made {
        true => Ok(()),
        false => Err(about.error(Kind::Rejected, "it is there already")),
    }
}

/// What the options of a topic ask for.
fn keep(about: &About, usual: Option<Duration>, options: &[(String, String)]) -> Result<Option<Duration>> {
    let mut kept = usual;
    for (key, value) in options {
        let refuse = |kind, words: String| -> Result<_> { Err(about.error(kind, words)) };
        match key.as_str() {
            "dedup" => return refuse(Kind::Unsupported, "ids that were seen are not recognised here".into()),
            "partitions" => return refuse(Kind::Unsupported, "a topic has no partitions here".into()),
            "retention" => match retention(value) {
                Some(age) => kept = Some(age),
                None => {
                    let message = format!("Pub/Sub keeps events for 10 minutes to 31 days, not '{value}'");
                    return Err(about.error(Kind::Unsupported, message).with_hint("--retention 7d"));
                }
            },
            _ => return refuse(Kind::Invalid, format!("{key}={value} is no option of a topic here")),
        }
    }
    Ok(kept)
}

/// Makes a topic. `Ok(false)`: it was there.
async fn make(link: &Link, about: &About, topic: &str, kept: Option<Duration>) -> Result<bool> {
    let name = link.settings.topic(topic);
    let request = api::Topic {
        name: name.clone(),
        message_retention_duration: kept.map(duration),
        ..api::Topic::default()
    };
    let made = link
        .ask(about, &format!("name={name}"), request, |mut clients, request| {
            Box::pin(async move { clients.publisher.create_topic(request).await })
        })
        .await;
    match made {
        Ok(_) => Ok(true),
        Err(refusal)
            if refusal.status.as_ref().is_some_and(|status| status.code() == Code::AlreadyExists) =>
        {
            Ok(false)
        }
        Err(refusal) => Err(refusal.error),
    }
}

/// A place for dead letters: a topic, and a subscription of its name, without which they would be lost. Answers whether
/// something had to be made.
pub async fn make_letters(link: &Link, about: &About, topic: &str, kept: Option<Duration>) -> Result<bool> {
    if let Place::Subscription(_) = Place::of(topic) {
        let message =
            format!("{topic}: dead letters are published, and a subscription cannot be published to");
        return Err(about.error(Kind::Unsupported, message).with_hint("name its topic"));
    }
    let about = About::topic(about.operation, topic);
    let made_topic = make(link, &about, topic, kept).await?;
    let subscription = subscriptions::of_letters(link, topic);
    let made_subscription = subscriptions::make(link, &about, subscription).await?;
    Ok(made_topic || made_subscription)
}

/// The subscriptions of a topic, by their whole names.
pub async fn subscriptions_of(link: &Link, about: &About, topic: &str) -> Result<Vec<String>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    let name = link.settings.topic(topic);
    loop {
        let request = api::ListTopicSubscriptionsRequest { topic: name.clone(), page_size: PAGE, page_token };
        let page = link
            .call(about, &format!("topic={name}"), request, |mut clients, request| {
                Box::pin(async move { clients.publisher.list_topic_subscriptions(request).await })
            })
            .await?;
        all.extend(page.subscriptions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// See [`Broker::delete_topic`](crate::broker::Broker::delete_topic). Subscriptions that are not evcat's stay: theirs is
/// what was not settled.
pub async fn delete(link: &Link, topic: &str) -> Result<()> {
    let about = About::topic("delete_topic", topic);
    name::topic("delete_topic", topic).map_err(|_| about.missing())?;
    if let Place::Subscription(subscription) = Place::of(topic) {
        return subscriptions::delete(link, &about, &link.settings.subscription(subscription)).await;
    }
    for subscription in subscriptions_of(link, &about, topic).await? {
        let of = short(&subscription);
        let ours = of == topic || of.strip_prefix(topic).is_some_and(|rest| rest.starts_with('.'));
        if ours {
            ignore_missing(subscriptions::delete(link, &about, &subscription).await)?;
        }
    }
    let name = link.settings.topic(topic);
    let request = api::DeleteTopicRequest { topic: name.clone() };
    link.call(&about, &format!("topic={name}"), request, |mut clients, request| {
        Box::pin(async move { clients.publisher.delete_topic(request).await })
    })
    .await
}

/// Somebody else was faster.
fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_of_one_name_is_that_name() {
        assert_eq!(literal("orders.eu").as_deref(), Some("orders.eu"));
        assert_eq!(literal("a[*]b[[]c").as_deref(), Some("a*b[c"));
        assert_eq!(literal("orders.*"), None);
    }

    #[test]
    fn what_a_topic_cannot_be_is_refused_in_words() {
        let about = About::topic("create_topic", "orders");
        let asked = |key: &str, value: &str| keep(&about, None, &[(key.into(), value.into())]);
        assert_eq!(asked("retention", "7d").expect("it can"), Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(asked("retention", "1000").unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(asked("retention", "1s").unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(asked("dedup", "1h").unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(asked("nothing", "1").unwrap_err().kind(), Kind::Invalid);
    }
}
