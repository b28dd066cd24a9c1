//! Groups: told of, made, moved and deleted.
//!
//! A group is there on a topic where it has committed a place, or has a member at work. evcat commits a place for every
//! partition when it makes a group, so that where it begins never depends on who comes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Kafka;
use super::admin::{Committed, Described, Description};
use super::client::Client;
use super::error::About;
use super::places::{self, Span};
use super::{name, oldest, topics};
use crate::broker::{Count, Error, GroupInfo, Kind, Result, Source, Start};
use crate::event::{Name, Position};

/// So many groups are asked for their places at a time.
const AT_ONCE: usize = 16;

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(kafka: &Kafka, glob: &str) -> Result<Vec<GroupInfo>> {
    let client = kafka.groups_admin()?;
    let about = About::new("groups", "");
    let (found, all) = tokio::join!(topics::described(client, &about, glob), client.all_groups(&about));
    let names = all?.into_iter().map(|group| group.name).collect();
    // Somebody else's that we may not look at; one that is gone, or of another kind, which commits nothing.
    let infos = told(kafka, found?, names, &[Kind::Denied, Kind::NotFound]).await?;
    let told = stream::iter(infos)
        .map(|info| async move { Ok(GroupInfo { oldest: oldest::of(kafka, &info).await?, ..info }) });
    told.buffered(AT_ONCE).try_collect().await
}

/// See [`Broker::group`](crate::broker::Broker::group).
pub async fn group(kafka: &Kafka, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
    let client = kafka.groups_admin()?;
    name::group("groups", group)?;
    let found = topics::described(client, &About::new("groups", ""), &globset::escape(topic)).await?;
    Ok(told(kafka, found, vec![group.to_owned()], &[Kind::NotFound]).await?.pop())
}

/// What is known of these groups on these topics. Groups of which that cannot be told for such reasons are left out.
async fn told(
    kafka: &Kafka,
    found: Vec<Described>,
    names: Vec<String>,
    left_out: &[Kind],
) -> Result<Vec<GroupInfo>> {
    if found.is_empty() || names.is_empty() {
        return Ok(Vec::new());
    }
    let client = kafka.groups_admin()?;
    let about = About::new("groups", "");
    let names = &names;
    let committed = stream::iter(names.iter().cloned()).map(|group| async move {
        let about = About::group("groups", &group);
        match client.committed(&about, &group, None, false).await {
            Err(error) if left_out.contains(&error.kind()) => Ok((group, Vec::new())),
            committed => Ok((group, committed?)),
        }
    });
    let committed = committed.buffer_unordered(AT_ONCE).try_collect::<HashMap<_, _>>();
    let (spans, described, committed) = tokio::join!(
        places::spans(client, "groups", &found),
        client.describe_groups(&about, names),
        committed
    );
    let (spans, mut committed) = (spans?, committed?);
    let mut infos = Vec::new();
    for group in described? {
        if let Some(trouble) = &group.trouble {
            let error = trouble.error(&About::group("groups", &group.name), client);
            match left_out.contains(&error.kind()) {
                true => continue,
                false => return Err(error),
            }
        }
        let committed = committed.remove(&group.name).unwrap_or_default();
        let at_work = group.members.iter().flat_map(|member| &member.partitions).map(|(topic, _)| topic);
        let topics: BTreeSet<&Name> = committed.iter().map(|at| &at.topic).chain(at_work).collect();
        for topic in topics {
            let spans: Vec<&Span> = spans.iter().filter(|span| span.topic == *topic).collect();
            // A topic that the glob does not match.
            if !spans.is_empty() {
                infos.push(facts(topic, &group, &spans, &committed));
            }
        }
    }
    infos.sort_by(|a, b| (&a.topic, &a.group).cmp(&(&b.topic, &b.group)));
    Ok(infos)
}

fn facts(topic: &Name, group: &Description, spans: &[&Span], committed: &[Committed]) -> GroupInfo {
    let committed: BTreeMap<i32, i64> =
        committed.iter().filter(|at| at.topic == *topic).map(|at| (at.partition, at.offset)).collect();
    let at = |partition, offset| (topic.clone(), Position::At { partition, offset });
    // Of a partition without a place nobody knows where the group would begin.
    let lag = spans.iter().filter_map(|span| {
        let next = committed.get(&span.partition)?;
        Some((span.end - (*next).max(span.first)).max(0) as u64)
    });
    let events = lag.sum();
    GroupInfo {
        topic: topic.to_string(),
        group: group.name.clone(),
        members: Some(group.members.len() as u32),
        // Offsets, not events: compaction and the ends of transactions leave gaps.
        lag: (!committed.is_empty()).then_some(Count { events, exact: events == 0 }),
        settled: committed.iter().map(|(partition, offset)| at(*partition, *offset)).collect(),
        end: spans.iter().map(|span| at(span.partition, span.end)).collect(),
        ..GroupInfo::default()
    }
}

/// See [`Broker::create_group`](crate::broker::Broker::create_group).
pub async fn create(
    kafka: &Kafka,
    source: &Source,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    const OPERATION: &str = "create_group";
    let Source::Group { topics, group } = source else {
        let message = "only a group over topics can be made in Kafka";
        return Err(Error::new(Kind::Unsupported, OPERATION, "", message));
    };
    name::group(OPERATION, group)?;
    dead_letters.map_or(Ok(()), |dlq| name::topic(OPERATION, dlq))?;
    let client = kafka.groups_admin()?;
    let about = About::group(OPERATION, group);
    let found = topics::existing(client, OPERATION, topics).await?;
    let mut made = Vec::new();
    if let Some(dlq) = dead_letters
        && topics::described(client, &About::topic(OPERATION, dlq), dlq).await?.is_empty()
    {
        topics::create(kafka, dlq, &[]).await?;
        made.push(format!("topic {dlq}"));
    }
    let missing = |committed: Vec<Committed>| -> Vec<&Described> {
        found.iter().filter(|topic| !committed.iter().any(|at| *at.topic == *topic.name)).collect()
    };
    let wanted: Vec<_> = found.iter().flat_map(places::partitions).collect();
    let committed = client.committed(&about, group, Some(&wanted), false).await?;
    let untouched = untouched(client, group, &found, &committed).await?;
    let new: Vec<_> = missing(committed).into_iter().cloned().collect();
    if new.is_empty() && untouched.is_empty() {
        return Ok(made);
    }
    if let (Some(span), Start::Latest) = (untouched.first(), from) {
        let numbers: Vec<_> =
            untouched.iter().filter(|s| s.topic == span.topic).map(|s| s.partition.to_string()).collect();
        let message = format!(
            "was made by another program, and has no place in partition {} of {}: where does it begin there?",
            numbers.join(", "),
            span.topic
        );
        return Err(Error::new(Kind::Invalid, OPERATION, about.subject, message).with_hint(format!(
            "--from beginning, or a time; from now on, in all partitions: evcat groups seek {group} {} --from now",
            span.topic
        )));
    }
    let mut spans = places::spans(client, OPERATION, &new).await?;
    let places: Vec<_> = untouched
        .iter()
        .map(|span| format!("a place of group {group} in partition {} of {}", span.partition, span.topic))
        .collect();
    spans.extend(untouched);
    let starts = places::resolve(client, OPERATION, &spans, from).await?;
    if let Some(span) =
        spans.iter().find(|s| !starts.iter().any(|(t, p, _)| *t == s.topic && *p == s.partition))
    {
        let message = format!("no position is given for partition {}", span.partition);
        return Err(Error::new(Kind::Invalid, OPERATION, format!("topic {}", span.topic), message)
            .with_hint("a new group begins in every partition: one --from each"));
    }
    match client.commit_for(&about, group, &places_of(starts)).await {
        Ok(()) => {}
        // Another member of the same new group was faster, and is at work already.
        Err(error) if error.kind() == Kind::Rejected => {
            let committed = client.committed(&about, group, Some(&wanted), false).await?;
            return if missing(committed).is_empty() { Ok(made) } else { Err(error) };
        }
        Err(error) => return Err(error),
    }
    made.extend(new.iter().map(|topic| format!("group {group} on {}", topic.name)));
    made.extend(places);
    Ok(made)
}

/// The partitions with events in which a group at rest that another program made has no place, because it never settled
/// anything there. One made here has a place in each, but in those that the topic got later, with higher numbers: these
/// begin at their beginning.
async fn untouched(
    client: &Client,
    group: &str,
    found: &[Described],
    committed: &[Committed],
) -> Result<Vec<Span>> {
    const OPERATION: &str = "create_group";
    let mut some = Vec::new();
    for topic in found {
        let places: BTreeSet<i32> =
            committed.iter().filter(|at| *at.topic == *topic.name).map(|at| at.partition).collect();
        let missing = |number: i32| !places.contains(&number);
        let is_ours = |last: i32| !topic.partitions.iter().any(|p| p.number < last && missing(p.number));
        if places.last().is_some_and(|last| !is_ours(*last)) {
            let mut topic = topic.clone();
            topic.partitions.retain(|part| missing(part.number));
            some.push(topic);
        }
    }
    if some.is_empty() {
        return Ok(Vec::new());
    }
    let described = client.describe_groups(&About::group(OPERATION, group), &[group]).await?;
    if described.iter().any(|group| !group.members.is_empty()) {
        return Ok(Vec::new());
    }
    let mut spans = places::spans(client, OPERATION, &some).await?;
    spans.retain(|span| span.first < span.end);
    Ok(spans)
}

fn places_of(starts: Vec<(Name, i32, i64)>) -> Vec<Committed> {
    let place = |(topic, partition, offset)| Committed { topic, partition, offset, metadata: Vec::new() };
    starts.into_iter().map(place).collect()
}

/// See [`Broker::seek_group`](crate::broker::Broker::seek_group). Partitions that `to` does not name stay where they are.
pub async fn seek(kafka: &Kafka, topic: &str, group: &str, to: &Start) -> Result<()> {
    const OPERATION: &str = "seek_group";
    name::group(OPERATION, group)?;
    let client = kafka.groups_admin()?;
    let topics = [Name::from(topic)];
    let found = topics::existing(client, OPERATION, &topics).await?;
    resting(client, OPERATION, topic, group).await?;
    let spans = places::spans(client, OPERATION, &found).await?;
    let starts = places::resolve(client, OPERATION, &spans, to).await?;
    let about = About::new(OPERATION, subject(topic, group));
    client.commit_for(&about, group, &places_of(starts)).await
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group). Its dead letters stay, and what it has on other
/// topics.
pub async fn delete(kafka: &Kafka, topic: &str, group: &str) -> Result<()> {
    const OPERATION: &str = "delete_group";
    name::group(OPERATION, group)?;
    let client = kafka.groups_admin()?;
    let committed = resting(client, OPERATION, topic, group).await?;
    let (here, elsewhere): (Vec<_>, Vec<_>) = committed.into_iter().partition(|at| *at.topic == *topic);
    let about = About::new(OPERATION, subject(topic, group));
    match elsewhere.is_empty() {
        true => client.delete_group(&about, group).await,
        false => {
            let here: Vec<_> = here.into_iter().map(|at| (at.topic, at.partition)).collect();
            client.forget_commits(&about, group, &here).await
        }
    }
}

/// What a group committed that is there on this topic and has nobody at work.
async fn resting(
    client: &Client,
    operation: &'static str,
    topic: &str,
    group: &str,
) -> Result<Vec<Committed>> {
    let about = About::group(operation, group);
    let names = [group];
    let (committed, described) =
        tokio::join!(client.committed(&about, group, None, false), client.describe_groups(&about, &names));
    let (committed, described) = (committed?, described?);
    // A group that nobody has heard of has no members, in words or by an error, according to the broker's version.
    let members = described.first().map_or(0, |group| group.members.len());
    if members > 0 {
        let members = if members == 1 { "1 member is".into() } else { format!("{members} members are") };
        let message = format!("{members} at work on it");
        return Err(Error::new(Kind::Rejected, operation, subject(topic, group), message)
            .with_hint("stop them first; a killed one counts until its session is over"));
    }
    if !committed.iter().any(|at| *at.topic == *topic) {
        return Err(Error::new(Kind::NotFound, operation, subject(topic, group), "does not exist")
            .with_hint("which there are: evcat groups list"));
    }
    Ok(committed)
}

fn subject(topic: &str, group: &str) -> String {
    format!("group {group} on {topic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_what_is_kept_and_leaves_out_what_has_no_place() {
        let topic: Name = "t".into();
        let span = |partition, first, end| Span { topic: topic.clone(), partition, first, end };
        let at = |partition, offset| Committed { topic: topic.clone(), partition, offset, metadata: vec![] };
        let group = Description { name: "g".into(), trouble: None, members: vec![] };
        let spans = [span(0, 0, 10), span(1, 50, 60), span(2, 0, 7)];
        let spans: Vec<_> = spans.iter().collect();
        let info = facts(&topic, &group, &spans, &[at(0, 4), at(1, 20)]);
        assert_eq!(info.lag, Some(Count { events: 6 + 10, exact: false }));
        assert_eq!((info.settled.len(), info.end.len(), info.members), (2, 3, Some(0)));
        let info = facts(&topic, &group, &spans, &[at(0, 10)]);
        assert_eq!(info.lag, Some(Count { events: 0, exact: true }));
        assert_eq!(facts(&topic, &group, &spans, &[]).lag, None, "nobody knows");
    }
}
