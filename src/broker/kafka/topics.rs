//! Topics: told of, made and deleted.

use std::collections::HashMap;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use tokio::time::{Instant, sleep};

use super::Kafka;
use super::admin::{Config, Described, EARLIEST, LATEST, NEWEST, NewTopic, Offset};
use super::client::Client;
use super::error::{About, Trouble, unknown_topic};
use super::options::TOPIC_PREFIX;
use super::settled::{self, Settled};
use super::sys::Code;
use super::{name, options};
use crate::broker::{Count, Error, Kind, Result, TopicInfo};
use crate::event::{Millis, Name};

/// How long a new topic is waited for until all brokers know it, and an old one until none does.
const SETTLES: Duration = Duration::from_secs(10);
/// How often that is asked.
const ASKED_EACH: Duration = Duration::from_millis(5);

/// See [`Broker::topics`](crate::broker::Broker::topics). The broker's own topics, which begin with `__`, are matched only
/// by a glob that begins so too.
pub async fn topics(kafka: &Kafka, glob: &str) -> Result<Vec<TopicInfo>> {
    let client = kafka.admin()?;
    let about = About::new("topics", "");
    let mut found = described(client, &about, glob).await?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = found.iter().map(|topic| topic.name.as_str()).collect();
    // One that nobody serves would hold up the answer about all the others.
    let all: Vec<(Name, i32)> = found.iter().flat_map(served).collect();
    let ask = |what: i64| {
        let asked: Vec<_> = all.iter().map(|(topic, partition)| (topic.clone(), *partition, what)).collect();
        let about = &about;
        async move { client.offsets(about, &asked, false).await }
    };
    // From the time 0 on: the first event kept, with its timestamp, which a question for the earliest does not answer.
    let (first, last, oldest, newest, configs) =
        tokio::join!(ask(EARLIEST), ask(LATEST), ask(0), ask(NEWEST), client.topic_configs(&about, &names));
    let (first, last, oldest, configs) = (first?, last?, oldest?, configs?);
    let settled = settled_of(kafka, &about, &found).await?;
    // Brokers before 3.0 do not know the question.
    let newest = newest.unwrap_or_default();
    let mut at = 0;
    let mut infos = Vec::new();
    for (topic, configs) in found.iter().zip(configs) {
        let mine = at..at + served(topic).len();
        at = mine.end;
        let kept = first[mine.clone()].iter().zip(&last[mine.clone()]);
        let times = |answers: &[Answer]| -> Vec<Millis> {
            let mine = answers.get(mine.clone()).unwrap_or_default();
            mine.iter().flatten().map(|at| at.timestamp).filter(|at| *at >= 0).collect()
        };
        let (oldest, newest) = (times(&oldest), times(&newest));
        // Who may see a topic may not always see its settings.
        let configs = configs.unwrap_or_default();
        infos.push(TopicInfo {
            name: topic.name.clone(),
            partitions: Some(topic.partitions.len() as u32),
            waiting: kept_count(kept).map(|kept| match settled.get(topic.name.as_str()) {
                None => kept,
                Some(settled) => {
                    let events =
                        kept.events.saturating_sub(settled_count(topic, settled, &first[mine.clone()]));
                    Count { events, exact: events == 0 }
                }
            }),
            oldest: oldest.into_iter().min(),
            newest: newest.into_iter().max(),
            kept_for: kept_for(&configs),
            details: details(topic, &configs),
            ..TopicInfo::default()
        });
    }
    Ok(infos)
}

type Answer = std::result::Result<Offset, Trouble>;

/// Of those of them that are dead letters, what of it is settled.
async fn settled_of(kafka: &Kafka, about: &About, found: &[Described]) -> Result<HashMap<Name, Settled>> {
    let beside: Vec<String> = found.iter().map(|topic| settled::topic_of(&topic.name)).collect();
    let beside = kafka.admin()?.describe_topics(about, &beside).await?;
    let letters = found.iter().zip(beside).filter(|(_, beside)| beside.trouble.is_none());
    let mut all = HashMap::new();
    for (topic, _) in letters {
        match settled::of_all(kafka, &[topic.name.as_str().into()]).await {
            Ok(settled) => all.extend(settled),
            // Anybody may call a topic so. Who works on letters is told of it; a list has the others to tell of.
            Err(error) if error.kind() == Kind::Broken => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// How many that are kept are settled.
fn settled_count(topic: &Described, settled: &Settled, first: &[Answer]) -> u64 {
    let first = served(topic).into_iter().zip(first);
    let of = |((_, partition), first): ((Name, i32), &Answer)| {
        first.as_ref().map_or(0, |first| settled.count(partition, first.offset, i64::MAX))
    };
    first.map(of).sum()
}

/// Offsets, not events: compaction and the ends of transactions leave gaps, and nobody counts them.
fn kept_count<'a>(kept: impl Iterator<Item = (&'a Answer, &'a Answer)>) -> Option<Count> {
    let mut events = 0;
    for (first, last) in kept {
        let (Ok(first), Ok(last)) = (first, last) else { return None };
        events += (last.offset - first.offset).max(0) as u64;
    }
    Some(Count { events, exact: events == 0 })
}

fn kept_for(configs: &[Config]) -> Option<Duration> {
    let deletes = value(configs, "cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let ms = value(configs, "retention.ms")?.parse::<i64>().ok()?;
    (deletes && ms >= 0).then(|| Duration::from_millis(ms as u64))
}

fn value<'a>(configs: &'a [Config], name: &str) -> Option<&'a str> {
    configs.iter().find(|config| config.name == name)?.value.as_deref()
}

/// What is worth to be told of a topic: its copies, what is wrong with them, and what somebody has set.
fn details(topic: &Described, configs: &[Config]) -> Vec<(String, String)> {
    let mut details = Vec::new();
    let mut tell = |name: &str, value: String| details.push((name.to_owned(), value));
    if let Some(copies) = topic.partitions.iter().map(|part| part.replicas.len()).max() {
        tell("copies", copies.to_string());
    }
    let numbers = |bad: fn(&super::admin::Part) -> bool| {
        let bad = topic.partitions.iter().filter(|part| bad(part));
        bad.map(|part| part.number.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (leaderless, behind) =
        (numbers(|part| part.leader.is_none()), numbers(|part| part.in_sync.len() < part.replicas.len()));
    if !leaderless.is_empty() {
        tell("partitions without a leader", leaderless);
    }
    if !behind.is_empty() {
        tell("partitions with copies that are behind", behind);
    }
    for config in configs.iter().filter(|config| !config.default) {
        tell(&config.name, config.value.clone().unwrap_or_else(|| "(not told)".into()));
    }
    details
}

/// The partitions of a topic that somebody serves.
fn served(topic: &Described) -> Vec<(Name, i32)> {
    let name: Name = topic.name.as_str().into();
    let served = topic.partitions.iter().filter(|part| part.leader.is_some());
    served.map(|part| (name.clone(), part.number)).collect()
}

/// The topics that a glob matches and that are there. One that is named is asked for alone, without all the others.
pub async fn described(client: &Client, about: &About, glob: &str) -> Result<Vec<Described>> {
    let matches = matcher(about.operation, glob)?;
    let names = match literal(glob) {
        // What cannot be a topic is none.
        Some(name) if name::topic(about.operation, &name).is_err() => Vec::new(),
        Some(name) => vec![name],
        None => {
            let own = glob.starts_with("__");
            let all = client.topic_names(about).await?;
            all.into_iter()
                .filter(|name| matches.is_match(name) && (own || !name.starts_with("__")))
                .collect()
        }
    };
    let mut found = Vec::new();
    for topic in client.describe_topics(about, &names).await? {
        match &topic.trouble {
            None => found.push(topic),
            // Deleted meanwhile.
            Some(Trouble { code: Code::UNKNOWN_TOPIC_OR_PART, .. }) => {}
            Some(trouble) => return Err(trouble.error(&About::topic(about.operation, &topic.name), client)),
        }
    }
    Ok(found)
}

/// These topics, each of which is there. Errors: [`Kind::NotFound`] with the nearest name.
pub async fn existing(client: &Client, operation: &'static str, topics: &[Name]) -> Result<Vec<Described>> {
    for topic in topics {
        name::topic(operation, topic)?;
    }
    let end = Instant::now() + SETTLES;
    loop {
        let found = client.describe_topics(&About::new(operation, ""), topics).await?;
        let Some((topic, trouble)) = found.iter().find_map(|topic| Some((topic, topic.trouble.as_ref()?)))
        else {
            return Ok(found);
        };
        let about = About::topic(operation, &topic.name);
        if trouble.code != Code::UNKNOWN_TOPIC_OR_PART {
            return Err(trouble.error(&about, client));
        }
        // One that is new one broker may know, and another may not yet.
        let is_new = client.topic_names(&about).await.is_ok_and(|names| names.contains(&topic.name));
        if !is_new || Instant::now() >= end {
            return Err(unknown_topic(client, operation, &topic.name).await);
        }
        sleep(ASKED_EACH).await;
    }
}

/// The name that a glob without wildcards is; a backslash takes away the meaning of what follows.
fn literal(glob: &str) -> Option<String> {
    let mut name = String::new();
    let mut characters = glob.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => name.push(characters.next()?),
            '*' | '?' | '[' | '{' => return None,
            c => name.push(c),
        }
    }
    Some(name)
}

fn matcher(operation: &'static str, glob: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(glob).literal_separator(false).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| Error::new(Kind::Invalid, operation, "", format!("not a pattern: {error}")))
}

/// See [`Broker::create_topic`](crate::broker::Broker::create_topic). Behaviour: every broker that is up knows the topic
/// when this returns, or has had long enough to hear of it.
pub async fn create(kafka: &Kafka, topic: &str, given: &[(String, String)]) -> Result<()> {
    name::topic("create_topic", topic)?;
    let client = kafka.admin()?;
    let about = About::topic("create_topic", topic);
    let wish = wish(&about, topic, given, &kafka.settings)?;
    let new = NewTopic {
        name: topic,
        partitions: wish.partitions,
        replication: wish.replication,
        configs: &wish.configs.into_iter().collect::<Vec<_>>(),
    };
    make(client, &about, &new).await
}

/// Makes a topic. Behaviour: as [`create`].
pub async fn make(client: &Client, about: &About, new: &NewTopic<'_>) -> Result<()> {
    // Somebody answers: what follows is not asked twice.
    client.cluster(about).await?;
    client.create_topic(about, new).await?;
    until(client, about, new.name, |found| {
        found.trouble.is_none() && found.partitions.iter().all(|part| part.leader.is_some())
    })
    .await
}

/// What is asked of a new topic.
struct Wish {
    partitions: Option<i32>,
    replication: Option<i32>,
    configs: HashMap<String, String>,
}

/// What was given to the command goes before what was given with `-X`.
fn wish(about: &About, topic: &str, given: &[(String, String)], settings: &super::Settings) -> Result<Wish> {
    let refuse = |kind, message: String, hint: &str| {
        Error::new(kind, about.operation, format!("topic {topic}"), message).with_hint(hint)
    };
    let number = |key: &str, value: &str, most: i32| match value.parse::<i32>() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            Err(refuse(Kind::Invalid, format!("{key}: '{value}' is no number from 1 to {most}"), "such as 3"))
        }
    };
    let mut wish = Wish { partitions: None, replication: None, configs: HashMap::new() };
    for (key, value) in settings.all_given() {
        // `topic.metadata.` is the library's own.
        if let Some(config) = key.strip_prefix(TOPIC_PREFIX).filter(|_| options::is_own(key)) {
            wish.configs.insert(config.to_owned(), value.to_owned());
        }
    }
    if let Some(value) = settings.given(options::REPLICATION.0) {
        wish.replication = Some(number(options::REPLICATION.0, value, i32::from(i16::MAX))?);
    }
    for (key, value) in given {
        match key.as_str() {
            "partitions" => wish.partitions = Some(number("--partitions", value, 1_000_000)?),
            "retention" => {
                if value.parse::<u64>().is_ok() {
                    let message = "Kafka keeps events by time or by bytes, not by their number".to_owned();
                    let hint = "--retention 7d, or -X topic.retention.bytes=N for each partition";
                    return Err(refuse(Kind::Unsupported, message, hint));
                }
                let kept =
                    humantime::parse_duration(value).ok().and_then(|d| i64::try_from(d.as_millis()).ok());
                let Some(ms) = kept.filter(|ms| *ms > 0) else {
                    return Err(refuse(
                        Kind::Invalid,
                        format!("'{value}' is no retention"),
                        "a time, such as 7d",
                    ));
                };
                wish.configs.insert("retention.ms".to_owned(), ms.to_string());
            }
            "dedup" => {
                let message = "Kafka does not recognise an event by its id".to_owned();
                return Err(refuse(Kind::Unsupported, message, "leave --dedup out"));
            }
            _ => {
                let hint = "there are: partitions, retention, and with -X replication.factor and topic.NAME";
                return Err(refuse(Kind::Invalid, format!("no option '{key}'"), hint));
            }
        }
    }
    Ok(wish)
}

/// See [`Broker::delete_topic`](crate::broker::Broker::delete_topic). What groups committed of it the broker forgets;
/// what says which of it is settled goes with it.
pub async fn delete(kafka: &Kafka, topic: &str) -> Result<()> {
    let client = kafka.admin()?;
    let about = About::topic("delete_topic", topic);
    if name::topic(about.operation, topic).is_err() {
        return Err(unknown_topic(client, about.operation, topic).await);
    }
    client.cluster(&about).await?;
    // Anybody may call a topic so: it is ours if it can be read as ours.
    let beside =
        settled::of_all(kafka, &[topic.into()]).await.is_ok_and(|all| all.values().any(Settled::is_any));
    match client.delete_topic(&about, topic).await {
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(unknown_topic(client, about.operation, topic).await);
        }
        done => done?,
    }
    let gone = |found: &Described| matches!(&found.trouble, Some(trouble) if trouble.code == Code::UNKNOWN_TOPIC_OR_PART);
    until(client, &about, topic, gone).await?;
    if beside {
        let beside = settled::topic_of(topic);
        client.delete_topic(&About::topic(about.operation, &beside), &beside).await?;
    }
    Ok(())
}

/// Waits until every broker that is up tells of a topic so. Where it takes long that is not this command's failure: what
/// it asked for is done.
async fn until(client: &Client, about: &About, topic: &str, is: impl Fn(&Described) -> bool) -> Result<()> {
    let end = Instant::now() + SETTLES;
    let mut nodes: Vec<_> = client.nodes().await.into_iter().map(Some).collect();
    if nodes.is_empty() {
        nodes.push(None);
    }
    for node in nodes {
        while !client.describe_topics_by(node, about, &[topic]).await?.iter().all(&is) && Instant::now() < end
        {
            sleep(ASKED_EACH).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_without_wildcards_is_a_name() {
        assert_eq!(literal("orders.eu").as_deref(), Some("orders.eu"));
        assert_eq!(literal(r"a\*b").as_deref(), Some("a*b"));
        assert_eq!(
            (literal("orders.*"), literal("a?"), literal("[ab]"), literal("{a,b}")),
            (None, None, None, None)
        );
    }

    #[test]
    fn offsets_are_an_estimate_unless_there_are_none() {
        let at = |offset| Ok(Offset { offset, timestamp: -1 });
        let count = |pairs: &[(Answer, Answer)]| kept_count(pairs.iter().map(|(a, b)| (a, b)));
        assert_eq!(count(&[(at(3), at(3)), (at(0), at(0))]), Some(Count { events: 0, exact: true }));
        assert_eq!(count(&[(at(3), at(10)), (at(0), at(1))]), Some(Count { events: 8, exact: false }));
        assert_eq!(count(&[(Err(Trouble::of(Code::LEADER_NOT_AVAILABLE)), at(1))]), None);
    }
}
