//! Which dead letters are settled: a topic beside theirs that says so.
//!
//! A group's committed offset cannot say it: it is a prefix, with little room behind it, and is forgotten when the group
//! has been empty for a week. So `TOPIC.settled` has one record for each transaction that settled something and each
//! partition in it, written in that transaction: what it says is true exactly when what it moved is there.
//!
//! A record is JSON, such as `{"partition":0,"id":"...","run":"k7m2","done":[{"action":"moved","to":"orders","at":["0:7"],
//! "offsets":[3]}]}`. What was `acked` was dropped, or handled where the run was; `at` has the place of each copy.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::admin::NewTopic;
use super::error::About;
use super::holes::Holes;
use super::options::{REPLICATION, TOPIC_PREFIX};
use super::reader;
use super::sys::Code;
use super::{Kafka, topics};
use crate::broker::{Error, Kind, Read, ReadOptions, Result, Start, Stop};
use crate::event::{Event, Headers, Name, Position, own};

/// What a topic of settled dead letters is called.
pub fn topic_of(letters: &str) -> String {
    format!("{letters}.settled")
}

/// What one transaction settled of one partition.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The partition of the dead letters.
    pub partition: i32,
    /// Which topic of their name they were in, where the broker says: what was made again begins with new letters at the
    /// old offsets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which run did it, where the copies say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What was done.
    pub done: Vec<Deed>,
}

impl Entry {
    /// As it was written.
    pub fn of(note: &Event) -> Result<Entry> {
        serde_json::from_slice(note.payload().unwrap_or_default()).map_err(|error| {
            let subject = format!("topic {} at {}", note.topic(), note.position());
            let message = "this evcat cannot read which dead letters are settled";
            Error::new(Kind::Broken, "reader", subject, message)
                .with_hint("was it written by a newer evcat, or by something else?")
                .with_source(error)
        })
    }

    /// To be written to this topic.
    pub fn note(&self, topic: &Name) -> Event {
        // Plain text and numbers: there is nothing that JSON could not say.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        Event::new(topic, None, Headers::default(), Some(&payload), None, Position::Unknown)
    }
}

/// What was done in one way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Deed {
    /// `moved` or `acked`.
    pub action: String,
    /// Where the copies went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The place of each copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// The dead letters.
    pub offsets: Vec<i64>,
}

/// The run that made a copy.
pub fn run_of(copy: &Event) -> Option<String> {
    copy.headers().text(own::REPLAY_RUN).map(str::to_owned)
}

/// What says that these of the topic with this id are settled, one for each partition: their places, with the copies where they were moved, which
/// lie at `at`.
pub fn notes<'a>(
    letters: &str,
    id: Option<&str>,
    settled: impl Iterator<Item = ((i32, i64), Option<&'a Event>)>,
    at: &[Position],
) -> Vec<Event> {
    let topic: Name = topic_of(letters).into();
    let mut entries: BTreeMap<i32, Entry> = BTreeMap::new();
    let mut places = at.iter();
    for ((partition, offset), copy) in settled {
        let new = || Entry { partition, id: id.map(str::to_owned), run: None, done: Vec::new() };
        let entry = entries.entry(partition).or_insert_with(new);
        entry.run = entry.run.take().or_else(|| run_of(copy?));
        let to = copy.map(|copy| copy.topic().to_string());
        let known = entry.done.iter().position(|deed| deed.to == to);
        let at = known.unwrap_or_else(|| {
            let action = if to.is_some() { "moved" } else { "acked" };
            entry.done.push(Deed { action: action.into(), to, at: Vec::new(), offsets: Vec::new() });
            entry.done.len() - 1
        });
        entry.done[at].offsets.push(offset);
        if copy.is_some() {
            entry.done[at].at.extend(places.next().map(Position::to_string));
        }
    }
    entries.values().map(|entry| entry.note(&topic)).collect()
}

/// What is settled of one topic of dead letters, as far as it was read.
#[derive(Default)]
pub struct Settled {
    partitions: HashMap<i32, Holes>,
    /// Up to where what says so was read.
    read: Vec<(Name, Position)>,
    /// Which topic of its name this is about.
    pub id: Option<String>,
    /// Who settled last.
    pub last_run: Option<String>,
}

impl Settled {
    /// Whether this one is settled.
    pub fn has(&self, partition: i32, offset: i64) -> bool {
        self.partitions.get(&partition).is_some_and(|holes| holes.has(offset))
    }

    /// Whether anything is.
    pub fn is_any(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// How many of these are.
    pub fn count(&self, partition: i32, first: i64, end: i64) -> u64 {
        self.partitions.get(&partition).map_or(0, |holes| holes.count(first, end))
    }

    /// Takes note of these.
    pub fn add(&mut self, partition: i32, offsets: &[i64]) {
        let holes = self.partitions.entry(partition).or_insert_with(|| Holes::read(0, b""));
        offsets.iter().for_each(|offset| holes.settle(*offset, offset + 1));
    }

    /// Reads on to the end as it is now. Whatever was settled before this is called is known when it returns. Without a
    /// topic that says so nothing is settled.
    pub async fn read_on(&mut self, kafka: &Kafka, letters: &str) -> Result<()> {
        let topic: Name = topic_of(letters).into();
        let about = About::topic("reader", &topic);
        let found = kafka.admin()?.describe_topics(&about, &[&*topic, letters]).await?;
        self.id = found.get(1).and_then(|letters| letters.id.clone());
        match found.first().and_then(|topic| topic.trouble.as_ref()) {
            None => {}
            Some(trouble) if trouble.code == Code::UNKNOWN_TOPIC_OR_PART => return Ok(()),
            Some(trouble) => return Err(trouble.error(&about, kafka.admin()?)),
        }
        let start = match self.read.is_empty() {
            true => Start::Earliest,
            false => Start::At(self.read.clone()),
        };
        let options = ReadOptions {
            topics: vec![topic.clone()],
            partition: None,
            start,
            stop: Stop::Now,
            unsettled: false,
        };
        // What an aborted transaction says did not happen, whatever else the user wants to see.
        let mut reader = reader::begin(&kafka.committed(), options, HashMap::new()).await?;
        loop {
            match reader.next().await? {
                Read::Events(events) => {
                    for event in &events {
                        let entry = Entry::of(event)?;
                        if entry.id.is_some() && self.id.is_some() && entry.id != self.id {
                            // Of a topic that was deleted since.
                            continue;
                        }
                        entry.done.iter().for_each(|deed| self.add(entry.partition, &deed.offsets));
                        self.last_run = entry.run;
                    }
                }
                Read::CaughtUp => {}
                Read::End => break,
            }
        }
        self.read = reader.end().to_vec();
        reader.close().await
    }
}

/// What is settled of each of these topics.
pub async fn of_all(kafka: &Kafka, letters: &[Name]) -> Result<HashMap<Name, Settled>> {
    let mut all = HashMap::new();
    for topic in letters {
        let mut settled = Settled::default();
        settled.read_on(kafka, topic).await?;
        all.insert(topic.clone(), settled);
    }
    Ok(all)
}

/// Makes the topic if it is missing. It keeps what it says for longer than the dead letters are kept: a letter may stay
/// until the piece of the log that it is in has been written full, which takes `segment.ms` at most.
///
/// Errors: [`Kind::Denied`] with the command for somebody who may.
pub async fn make(kafka: &Kafka, letters: &Name) -> Result<()> {
    const OPERATION: &str = "subscription";
    let client = kafka.admin()?;
    let topic = topic_of(letters);
    let about = About::topic(OPERATION, &topic);
    let found = client.describe_topics(&about, &[&topic]).await?;
    if found.iter().all(|topic| topic.trouble.is_none()) {
        return Ok(());
    }
    let about_letters = About::topic(OPERATION, letters);
    let configs = client.topic_configs(&about_letters, &[letters]).await?.pop();
    let configs = configs.and_then(std::result::Result::ok).unwrap_or_default();
    let number = |name: &str| {
        let value = configs.iter().find(|config| config.name == name)?.value.as_deref()?;
        value.parse::<i64>().ok().filter(|ms| *ms >= 0)
    };
    let kept = match (number("retention.ms"), number("segment.ms")) {
        (Some(retention), Some(segment)) => retention.saturating_add(segment),
        _ => -1,
    };
    let config = |key: &str, value: String| (key.to_owned(), value);
    let configs = [
        config("cleanup.policy", "delete".into()),
        config("retention.ms", kept.to_string()),
        config("retention.bytes", "-1".into()),
    ];
    let replication = kafka.settings.given(REPLICATION.0).and_then(|number| number.parse().ok());
    let new = NewTopic { name: &topic, partitions: Some(1), replication, configs: &configs };
    match topics::make(client, &about, &new).await {
        Ok(()) => Ok(()),
        // Another run was faster.
        Err(error) if error.kind() == Kind::Rejected && error.detail().message.contains("exists already") => {
            Ok(())
        }
        Err(error) if error.kind() == Kind::Denied => {
            let message = format!(
                "which dead letters are settled is kept in the topic {topic}, which is missing, and we may not make it"
            );
            Err(Error::new(Kind::Denied, OPERATION, format!("topic {letters}"), message).with_hint(format!(
                "whoever may: evcat topics create {topic} --partitions 1 -X {TOPIC_PREFIX}retention.ms={kept}"
            )))
        }
        Err(error) => Err(error),
    }
}
