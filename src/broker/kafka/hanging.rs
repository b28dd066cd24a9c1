//! A transaction that the broker has forgotten to end.
//!
//! Kafka ends a transaction with a marker in each of its partitions. A partition without a leader at that moment is taken
//! for deleted: its marker is left out, and the transaction noted as ended all the same (Kafka 4.3.1, whose
//! `TransactionMarkerChannelManager` says "Couldn't find leader endpoint for partitions"; seen three times in some sixty
//! restarts of a lone broker that was killed). What hangs there ends with the next transaction of the same id, in each
//! partition that this one touches, as this one ends: copies come to be there while what says so was given up.
//!
//! So who takes the work over looks first whether anything hangs in the topic of what is settled, where nobody else
//! writes. It is given up in all its partitions; copies that were committed in some of them before are noted anew. What
//! was stored without a note, by a run that was killed between the two, is not found so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Kafka;
use super::admin::{EARLIEST, LATEST};
use super::error::About;
use super::reader;
use super::settled::{self, Entry};
use super::sys::Code;
use super::transaction::{Ended, Operator};
use crate::broker::{Error, Kind, Read, ReadOptions, Result, Start, Stop};
use crate::event::{Event, Name, Position};

const OPERATION: &str = "settle";
/// What is settled is written to one partition, the only one of a topic that evcat made.
const ONLY: i32 = 0;

/// Ends what hangs of earlier runs over these dead letters. Errors: it hangs on, or is not ours.
///
/// Behaviour: the copies come first, so that who is killed here is followed by somebody who finds the notes as they were.
pub async fn end(kafka: &Kafka, letters: &Name, operator: &mut Operator) -> Result<()> {
    let topic: Name = settled::topic_of(letters).into();
    let Some((first, end)) = unstable(kafka, &topic).await? else { return Ok(()) };
    let notes = read(&kafka.uncommitted(), &topic, ONLY, first, end).await?;
    let mut entries = notes.iter().map(Entry::of).collect::<Result<Vec<_>>>()?;
    let runs: HashSet<String> = entries.iter().filter_map(|entry| entry.run.clone()).collect();
    let copies = copies(&entries);
    // Something that was sent there already is sent once more, so that who reads what is not committed sees nothing new.
    let mut again = Vec::new();
    for ((topic, partition), (first, last)) in &copies {
        let stable = offset(kafka, topic, *partition, LATEST, true).await?;
        let end = offset(kafka, topic, *partition, LATEST, false).await?;
        if stable.is_some_and(|stable| stable <= *last) && end.is_some_and(|end| end > *first) {
            let copies = read(&kafka.uncommitted(), topic, *partition, *first, first + 1).await?;
            again.extend(copies.iter().map(|copy| to_partition(copy, *partition)));
        }
    }
    if !again.is_empty() {
        operator.abandon(again).await?;
    }
    let mut there: HashSet<(Name, String)> = HashSet::new();
    for ((topic, partition), (first, last)) in &copies {
        let Some(end) = offset(kafka, topic, *partition, LATEST, false).await? else { continue };
        let kept = offset(kafka, topic, *partition, EARLIEST, false).await?.unwrap_or(end).max(*first);
        if kept > *last || end <= *last {
            continue;
        }
        until_stable(kafka, topic, *partition, last + 1, operator.patience()).await?;
        let copies = read(&kafka.committed(), topic, *partition, kept, last + 1).await?;
        let ours = copies.iter().filter(|copy| settled::run_of(copy).is_some_and(|run| runs.contains(&run)));
        there.extend(ours.map(|copy| (topic.clone(), copy.position().to_string())));
    }
    operator.abandon(notes.iter().map(|note| to_partition(note, ONLY)).collect()).await?;
    until_stable(kafka, &topic, ONLY, end, operator.patience()).await?;
    let count = |entries: &[Entry]| -> usize {
        entries.iter().flat_map(|entry| &entry.done).map(|deed| deed.offsets.len()).sum()
    };
    let all = count(&entries);
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
    let stand = count(&entries);
    tracing::warn!(
        "the broker never ended a transaction of an earlier run over {letters}: it has been given up; {stand} of its copies \
         stand, and {} dead letters of it wait still",
        all - stand
    );
    if entries.is_empty() {
        return Ok(());
    }
    let anew: Vec<Event> = entries.iter().map(|entry| entry.note(&topic)).collect();
    match operator.transact(Vec::new(), |_| anew).await? {
        Ended::Committed(_) => operator.until_visible().await,
        Ended::Refused(_) => Err(hangs(&topic)),
    }
}

/// Where the copies lie that these speak of: the first offset and the last of each partition.
fn copies(entries: &[Entry]) -> BTreeMap<(Name, i32), (i64, i64)> {
    let mut copies: BTreeMap<(Name, i32), (i64, i64)> = BTreeMap::new();
    for deed in entries.iter().flat_map(|entry| &entry.done) {
        let Some(to) = &deed.to else { continue };
        for at in deed.at.iter().map(|at| Position::parse(at)) {
            if let Some((partition, offset)) = at.partition().zip(at.offset()) {
                let span = copies.entry((to.as_str().into(), partition)).or_insert((offset, offset));
                *span = (span.0.min(offset), span.1.max(offset));
            }
        }
    }
    copies
}

/// From where on what was written is neither committed nor given up, and the end.
async fn unstable(kafka: &Kafka, topic: &Name) -> Result<Option<(i64, i64)>> {
    let stable = offset(kafka, topic, ONLY, LATEST, true).await?;
    let end = offset(kafka, topic, ONLY, LATEST, false).await?;
    Ok(stable.zip(end).filter(|(stable, end)| stable < end))
}

/// An offset of a partition; of what is committed or given up, or of all. None: there is no such partition.
async fn offset(
    kafka: &Kafka,
    topic: &Name,
    partition: i32,
    which: i64,
    committed: bool,
) -> Result<Option<i64>> {
    let about = About::topic(OPERATION, topic);
    let client = kafka.admin()?;
    match client.offsets(&about, &[(topic.clone(), partition, which)], committed).await?.pop() {
        Some(Ok(found)) => Ok(Some(found.offset)),
        Some(Err(trouble)) if trouble.code != Code::UNKNOWN_TOPIC_OR_PART => {
            Err(trouble.error(&about, client))
        }
        _ => Ok(None),
    }
}

/// Waits until all before this is committed or given up. The markers are written a little after the answer.
async fn until_stable(
    kafka: &Kafka,
    topic: &Name,
    partition: i32,
    end: i64,
    patience: Duration,
) -> Result<()> {
    let until = Instant::now() + patience;
    while offset(kafka, topic, partition, LATEST, true).await?.is_some_and(|stable| stable < end) {
        if Instant::now() >= until {
            return Err(hangs(topic));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// What nobody can tell while a transaction is open there.
pub fn hangs(topic: &Name) -> Error {
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
