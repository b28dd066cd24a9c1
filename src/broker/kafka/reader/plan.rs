//! Start and stop turned into offsets, once, when a reader opens.

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::places::{self, Span};
use super::super::sys::Code;
use super::super::topics::existing;
use super::lane::Lane;
use super::newest;
use crate::broker::{Error, Kind, ReadOptions, Result, Start, Stop};
use crate::event::{Name, Position};

/// What a reader is going to do.
pub struct Plan {
    /// What is read, at its start.
    pub lanes: Vec<Lane>,
    /// All partitions that there are, also those that are not read.
    pub partitions: Vec<(Name, i32)>,
}

/// Resolves everything.
pub async fn plan(client: &Client, options: &ReadOptions) -> Result<Plan> {
    let ReadOptions { topics, partition, start, stop, unsettled: _ } = options;
    // What is not named is not read, so it need not exist either.
    let topics: Vec<Name> = match start {
        Start::At(places) | Start::After(places) => {
            topics.iter().filter(|topic| places.iter().any(|(name, _)| name == *topic)).cloned().collect()
        }
        _ => topics.clone(),
    };
    let mut found = existing(client, "reader", &topics).await?;
    if let Some(number) = partition {
        for topic in &mut found {
            topic.partitions.retain(|part| part.number == *number);
            if topic.partitions.is_empty() {
                let about = About::new("reader", format!("topic {} partition {number}", topic.name));
                return Err(Trouble::of(Code::LOCAL_UNKNOWN_PARTITION).error(&about, client));
            }
        }
    }
    let partitions = found.iter().flat_map(places::partitions).collect();
    let spans = places::spans(client, "reader", &found).await?;
    let starts = match start {
        Start::Last(n) => newest::newest(client, &spans, *n).await?,
        start => places::resolve(client, "reader", &spans, start).await?,
    };
    let lane = |(topic, partition, next)| lane(&spans, stop, topic, partition, next);
    Ok(Plan { lanes: starts.into_iter().map(lane).collect::<Result<_>>()?, partitions })
}

fn lane(spans: &[Span], stop: &Stop, topic: Name, partition: i32, next: i64) -> Result<Lane> {
    let span = spans.iter().find(|span| span.topic == topic && span.partition == partition);
    let end = span.map_or(next, |span| span.end);
    let stop = match stop {
        Stop::Never => None,
        Stop::Now => Some(end),
        Stop::At(places) => {
            let alone = spans.iter().filter(|span| span.topic == topic).count() == 1;
            Some(stop_of(places, &topic, partition, alone)?.map_or(end, |stop| stop.min(end)))
        }
    };
    Ok(Lane::new(topic, partition, next, stop, end))
}

/// Where a partition is to stop; one that is not named stops at its end. A bare number needs a topic of one partition.
fn stop_of(places: &[(Name, Position)], topic: &Name, partition: i32, alone: bool) -> Result<Option<i64>> {
    for (_, position) in places.iter().filter(|(name, _)| name == topic) {
        match position {
            Position::At { partition: of, offset } if *of == partition => return Ok(Some(*offset)),
            Position::At { .. } => {}
            Position::Offset(offset) if alone => return Ok(Some(*offset)),
            other => {
                let message = format!("'{other}' is no position here");
                return Err(Error::new(Kind::Invalid, "reader", format!("topic {topic}"), message)
                    .with_hint("PARTITION:OFFSET, such as 3:123"));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stops_where_it_is_told_to_or_at_its_end() {
        let topic: Name = "t".into();
        let spans: Vec<_> =
            (0..2).map(|partition| Span { topic: topic.clone(), partition, first: 10, end: 20 }).collect();
        let stop = |spans: &[Span], stop, partition| {
            lane(spans, &stop, topic.clone(), partition, 10).map(|lane| lane.stop).map_err(|e| e.kind())
        };
        let at = |partition, offset| Stop::At(vec![(topic.clone(), Position::At { partition, offset })]);
        assert_eq!(stop(&spans, Stop::Never, 0), Ok(None));
        assert_eq!(stop(&spans, Stop::Now, 0), Ok(Some(20)));
        assert_eq!(stop(&spans, at(1, 15), 1), Ok(Some(15)));
        assert_eq!(stop(&spans, at(1, 15), 0), Ok(Some(20)), "not named");
        assert_eq!(stop(&spans, at(1, 99), 1), Ok(Some(20)), "what is to come is not waited for");
        let bare = Stop::At(vec![(topic.clone(), Position::Offset(12))]);
        assert_eq!(stop(&spans[..1], bare.clone(), 0), Ok(Some(12)));
        assert_eq!(stop(&spans, bare, 0), Err(Kind::Invalid), "of which partition?");
    }
}
