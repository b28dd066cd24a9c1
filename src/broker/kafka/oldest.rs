//! When the first event that a group has not settled was stored.
//!
//! The broker tells offsets, not their times, so the event itself is read: one of each partition that lags.

use std::collections::{HashMap, HashSet};

use super::{Kafka, reader};
use crate::broker::{GroupInfo, Kind, Read, ReadOptions, Result, Start, Stop};
use crate::event::{Millis, Name, Position};

/// With more partitions than these behind it is not looked for: it would take as long as reading them.
const MOST: usize = 100;

/// `None` where nothing is open, too many partitions are behind, one lies behind what is kept, or we may not read them.
pub async fn of(kafka: &Kafka, group: &GroupInfo) -> Result<Option<Millis>> {
    let settled: HashMap<i32, i64> = group.settled.iter().filter_map(place).collect();
    let behind = |at: &&(Name, Position)| {
        place(at).is_some_and(|(partition, end)| settled.get(&partition).is_some_and(|next| *next < end))
    };
    let ends: Vec<_> = group.end.iter().filter(behind).cloned().collect();
    if ends.is_empty() || ends.len() > MOST {
        return Ok(None);
    }
    let mut waited: HashSet<i32> = ends.iter().filter_map(place).map(|(partition, _)| partition).collect();
    let is_waited =
        |at: &&(Name, Position)| place(at).is_some_and(|(partition, _)| waited.contains(&partition));
    let options = ReadOptions {
        topics: vec![group.topic.as_str().into()],
        partition: None,
        start: Start::At(group.settled.iter().filter(is_waited).cloned().collect()),
        stop: Stop::At(ends),
        unsettled: false,
    };
    let mut reader = match reader::begin(kafka, options, HashMap::new()).await {
        Ok(reader) => reader,
        // Whoever may see a group need not be allowed to read its topic, and what is gone has no time. A leader that is
        // new may not know yet how far the topic goes.
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Gone | Kind::Invalid) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut oldest: Option<Millis> = None;
    while !waited.is_empty() {
        match reader.next().await {
            Ok(Read::Events(events)) => {
                for event in &events {
                    let is_first = event.position().partition().is_some_and(|of| waited.remove(&of));
                    if let Some(at) = event.timestamp().filter(|_| is_first) {
                        oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
                    }
                }
            }
            Ok(Read::CaughtUp | Read::End) => break,
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Gone) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    reader.close().await?;
    Ok(oldest)
}

fn place((_, position): &(Name, Position)) -> Option<(i32, i64)> {
    Some((position.partition()?, position.offset()?))
}
