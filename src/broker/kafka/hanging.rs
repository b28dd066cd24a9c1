//! A transaction that the broker has forgotten to end.
//!
//! Kafka ends a transaction with a marker in each of its partitions. A partition without a leader at that moment is taken
//! for deleted: its marker is left out, and the transaction noted as ended all the same (Kafka 4.3.1, whose
//! `TransactionMarkerChannelManager` says "Couldn't find leader endpoint for partitions"; seen three times in some sixty
//! restarts of a lone broker that was killed). What hangs there ends with the next transaction of the same id, in each
//! partition that this one touches, as this one ends: copies come to be there while what says so was given up.
//!
//! So who takes the work over looks first whether anything hangs in the topic of what is settled, where nobody else
//! writes. It is given up in all its partitions at once; copies that were committed elsewhere before are noted anew.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Kafka;
use super::admin::LATEST;
use super::error::About;
use super::reader;
use super::settled::{self, Entry};
use super::sys::Code;
use super::transaction::{Ended, Operator};
use crate::broker::{Error, Kind, Read, ReadOptions, Result, Start, Stop};
use crate::event::{Event, Name, Position};

const OPERATION: &str = "settle";
/// What is settled is written to one partition.
const ONLY: i32 = 0;

/// Ends what hangs of earlier runs over these dead letters. Errors: it hangs on, or is not ours.
pub async fn end(kafka: &Kafka, letters: &Name, operator: &mut Operator) -> Result<()> {
    let topic: Name = settled::topic_of(letters).into();
    let Some((first, end)) = unstable(kafka, &topic).await? else { return Ok(()) };
    tracing::warn!(
        "the broker never ended a transaction of an earlier run over {letters}: it is given up now, and its dead letters \
         wait still"
    );
    let notes = read(&kafka.uncommitted(), &topic, ONLY, first, end).await?;
    let mut entries = notes.iter().map(Entry::of).collect::<Result<Vec<_>>>()?;
    let mut copies: BTreeMap<(Name, i32), Vec<i64>> = BTreeMap::new();
    for deed in entries.iter().flat_map(|entry| &entry.done) {
        let Some(to) = &deed.to else { continue };
        for at in deed.at.iter().map(|at| Position::parse(at)) {
            if let Some((partition, offset)) = at.partition().zip(at.offset()) {
                copies.entry((to.as_str().into(), partition)).or_default().push(offset);
            }
        }
    }
    // Something that was sent there already is sent once more, so that who reads what is not committed sees nothing new.
    let mut touch: Vec<Event> = notes.iter().map(|note| to_partition(note, ONLY)).collect();
    let mut there: HashSet<(Name, String)> = HashSet::new();
    for ((topic, partition), offsets) in &copies {
        let (Some(first), Some(last)) = (offsets.iter().min(), offsets.iter().max()) else { continue };
        let Some(stable) = latest(kafka, topic, *partition, true).await? else { continue };
        if stable > *last {
            let copies = read(&kafka.committed(), topic, *partition, *first, last + 1).await?;
            there.extend(copies.iter().map(|copy| (topic.clone(), copy.position().to_string())));
        } else if latest(kafka, topic, *partition, false).await?.is_some_and(|end| end > *first) {
            let copies = read(&kafka.uncommitted(), topic, *partition, *first, first + 1).await?;
            touch.extend(copies.iter().map(|copy| to_partition(copy, *partition)));
        }
    }
    operator.abandon(touch).await?;
    until_stable(kafka, &topic, operator.patience()).await?;
    for entry in &mut entries {
        entry.done.retain_mut(|deed| {
            let Some(to) = deed.to.as_deref().map(Name::from) else { return false };
            let moved = deed.at.drain(..).zip(deed.offsets.drain(..));
            let moved = moved.filter(|(at, _)| there.contains(&(to.clone(), at.clone())));
            (deed.at, deed.offsets) = moved.collect();
            !deed.offsets.is_empty()
        });
    }
    entries.retain(|entry| !entry.done.is_empty());
    let anew: Vec<Event> = entries.iter().map(|entry| entry.note(&topic)).collect();
    if anew.is_empty() {
        return Ok(());
    }
    match operator.transact(Vec::new(), |_| anew).await? {
        Ended::Committed(_) => operator.until_visible().await,
        Ended::Refused(_) => Err(hangs(&topic)),
    }
}

/// From where on what was written is neither committed nor given up, and the end.
async fn unstable(kafka: &Kafka, topic: &Name) -> Result<Option<(i64, i64)>> {
    let stable = latest(kafka, topic, ONLY, true).await?;
    let end = latest(kafka, topic, ONLY, false).await?;
    Ok(stable.zip(end).filter(|(stable, end)| stable < end))
}

/// The end of a partition; of what is committed or given up, or of all. None: there is no such partition.
async fn latest(kafka: &Kafka, topic: &Name, partition: i32, committed: bool) -> Result<Option<i64>> {
    let about = About::topic(OPERATION, topic);
    let client = kafka.admin()?;
    match client.offsets(&about, &[(topic.clone(), partition, LATEST)], committed).await?.pop() {
        Some(Ok(end)) => Ok(Some(end.offset)),
        Some(Err(trouble)) if trouble.code != Code::UNKNOWN_TOPIC_OR_PART => {
            Err(trouble.error(&about, client))
        }
        _ => Ok(None),
    }
}

/// The markers of what was given up are written a little later.
async fn until_stable(kafka: &Kafka, topic: &Name, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    while unstable(kafka, topic).await?.is_some() {
        if Instant::now() >= until {
            return Err(hangs(topic));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn hangs(topic: &Name) -> Error {
    let message = "a transaction hangs in it, so that nobody can tell which dead letters are settled";
    Error::new(Kind::Broken, OPERATION, format!("topic {topic}"), message)
        .with_hint(format!("kafka-transactions.sh find-hanging --topic {topic} names it, and abort ends it"))
}

fn to_partition(event: &Event, partition: i32) -> Event {
    let (key, payload) = (event.key(), event.payload());
    let position = Position::Partition(partition);
    Event::new(event.topic(), key, event.headers(), payload, event.timestamp(), position)
}

async fn read(kafka: &Kafka, topic: &Name, partition: i32, from: i64, to: i64) -> Result<Vec<Event>> {
    let at = |offset| vec![(topic.clone(), Position::At { partition, offset })];
    let options = ReadOptions {
        topics: vec![topic.clone()],
        partition: None,
        start: Start::At(at(from)),
        stop: Stop::At(at(to)),
        unsettled: false,
    };
    let mut reader = reader::begin(kafka, options, HashMap::new()).await?;
    let mut all = Vec::new();
    loop {
        match reader.next().await? {
            Read::Events(events) => all.extend(events.iter().cloned()),
            Read::CaughtUp => {}
            Read::End => break,
        }
    }
    reader.close().await?;
    Ok(all)
}
