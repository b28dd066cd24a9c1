//! A point in topics turned into an offset of each partition.

use super::admin::{Described, EARLIEST, LATEST, NEWEST, Offset};
use super::client::Client;
use super::error::{About, Trouble};
use crate::broker::{Error, Kind, Result, Start};
use crate::event::{Millis, Name, Position};

/// A partition with its first offset and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The topic.
    pub topic: Name,
    /// The partition.
    pub partition: i32,
    /// The first offset kept.
    pub first: i64,
    /// The last stable offset, behind which lie events of transactions that are open; the very end where those are read.
    pub end: i64,
}

/// What each partition of these topics keeps, by topic and number.
pub async fn spans(client: &Client, operation: &'static str, topics: &[Described]) -> Result<Vec<Span>> {
    let all: Vec<(Name, i32)> = topics.iter().flat_map(partitions).collect();
    let (first, end) =
        tokio::join!(ask(client, operation, &all, EARLIEST), ask(client, operation, &all, LATEST));
    let spans = all.into_iter().zip(first?).zip(end?);
    let span = |(((topic, partition), first), end): (((Name, i32), Offset), Offset)| Span {
        topic,
        partition,
        first: first.offset,
        // Seen after the first offset was: with all of it gone meanwhile it is not before it.
        end: end.offset.max(first.offset),
    };
    Ok(spans.map(span).collect())
}

/// All partitions of a topic, by number.
pub fn partitions(topic: &Described) -> Vec<(Name, i32)> {
    let name: Name = topic.name.as_str().into();
    topic.partitions.iter().map(|part| (name.clone(), part.number)).collect()
}

/// The same question about all of these; an error of one is the error.
pub async fn ask(
    client: &Client,
    operation: &'static str,
    all: &[(Name, i32)],
    what: i64,
) -> Result<Vec<Offset>> {
    let asked: Vec<_> = all.iter().map(|(topic, partition)| (topic.clone(), *partition, what)).collect();
    let answers = client.offsets(&About::new(operation, ""), &asked, client.reads_committed()).await?;
    let named = |((topic, partition), answer): (&(Name, i32), std::result::Result<Offset, Trouble>)| {
        answer.map_err(|trouble| {
            let subject = format!("topic {topic} partition {partition}");
            trouble.error(&About::new(operation, subject), client)
        })
    };
    all.iter().zip(answers).map(named).collect()
}

/// The offset of each partition at which `start` begins. Partitions that it does not name are left out.
///
/// Errors: [`Kind::Gone`] for a position before the first kept, [`Kind::Invalid`] for one beyond the end or of no
/// partition here: neither is rounded to what is there, which would skip or repeat without a word.
pub async fn resolve(
    client: &Client,
    operation: &'static str,
    spans: &[Span],
    start: &Start,
) -> Result<Vec<(Name, i32, i64)>> {
    let each = |of: fn(&Span) -> i64| spans.iter().map(|s| (s.topic.clone(), s.partition, of(s))).collect();
    match start {
        Start::Earliest => Ok(each(|span| span.first)),
        Start::Latest => Ok(each(|span| span.end)),
        Start::Time(at) => from_time(client, operation, spans, *at).await,
        Start::Last(n) => newest(client, operation, spans, *n).await,
        Start::At(places) => named(operation, spans, places, 0),
        Start::After(places) => named(operation, spans, places, 1),
    }
}

async fn from_time(
    client: &Client,
    operation: &'static str,
    spans: &[Span],
    at: Millis,
) -> Result<Vec<(Name, i32, i64)>> {
    let all: Vec<_> = spans.iter().map(|span| (span.topic.clone(), span.partition)).collect();
    // Below 0 the library has words of its own for places.
    let found = ask(client, operation, &all, at.max(0)).await?;
    let place = |(span, found): (&Span, Offset)| {
        // Nothing at or after the time, or nothing that is stable yet.
        let offset = if found.offset < 0 { span.end } else { found.offset.min(span.end) };
        (span.topic.clone(), span.partition, offset)
    };
    Ok(spans.iter().zip(found).map(place).collect())
}

/// The newest `n` over all partitions, by their timestamps. Nothing is read for it: how many lie at or after a time is
/// known from offsets, so the time is found by halving.
pub async fn newest(
    client: &Client,
    operation: &'static str,
    spans: &[Span],
    n: u64,
) -> Result<Vec<(Name, i32, i64)>> {
    let count = |places: &[(Name, i32, i64)]| -> u64 {
        spans.iter().zip(places).map(|(span, place)| span.end.saturating_sub(place.2).max(0) as u64).sum()
    };
    let end: Vec<_> = spans.iter().map(|span| (span.topic.clone(), span.partition, span.end)).collect();
    let all: Vec<_> = spans.iter().map(|span| (span.topic.clone(), span.partition, span.first)).collect();
    if n == 0 {
        return Ok(end);
    }
    if count(&all) <= n {
        return Ok(all);
    }
    if let [span] = spans {
        return Ok(vec![(span.topic.clone(), span.partition, span.end - n.min(i64::MAX as u64) as i64)]);
    }
    let partitions: Vec<_> = spans.iter().map(|span| (span.topic.clone(), span.partition)).collect();
    let newest = ask(client, operation, &partitions, NEWEST).await?;
    // At `low` there are enough, at `high` too few.
    let (mut low, mut high) = (0, newest.iter().map(|at| at.timestamp).max().unwrap_or(0).saturating_add(1));
    let (mut enough, mut few) = (all, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let places = from_time(client, operation, spans, middle).await?;
        match count(&places) >= n {
            true => (low, enough) = (middle, places),
            false => (high, few) = (middle, places),
        }
    }
    // Those of one and the same millisecond: as many as are wanted still.
    let mut wanted = n - count(&few);
    for (few, enough) in few.iter_mut().zip(&enough) {
        let more = few.2.saturating_sub(enough.2).clamp(0, wanted.min(i64::MAX as u64) as i64);
        few.2 -= more;
        wanted -= more as u64;
    }
    Ok(few)
}

fn named(
    operation: &'static str,
    spans: &[Span],
    places: &[(Name, Position)],
    behind: i64,
) -> Result<Vec<(Name, i32, i64)>> {
    let mut found = Vec::new();
    for (topic, position) in places {
        let subject = format!("topic {topic}");
        let refuse = |kind, message: String| Error::new(kind, operation, subject.clone(), message);
        let of_topic = || spans.iter().filter(|span| span.topic == *topic);
        if of_topic().next().is_none() {
            continue;
        }
        let span = match position {
            Position::At { partition, .. } => of_topic().find(|span| span.partition == *partition),
            // A bare number needs a topic of one partition.
            Position::Offset(_) => of_topic().next().filter(|_| of_topic().count() == 1),
            _ => None,
        };
        let (Some(span), Some(offset)) = (span, position.offset()) else {
            let message = format!("'{position}' is no position here");
            return Err(refuse(Kind::Invalid, message).with_hint("PARTITION:OFFSET, such as 3:123"));
        };
        let offset = offset + behind;
        if offset < span.first {
            return Err(gone(operation, topic, span.partition, offset, span.first));
        }
        if offset > span.end {
            let message =
                format!("{offset} is beyond the end of partition {}, which is {}", span.partition, span.end);
            return Err(refuse(Kind::Invalid, message).with_hint("--from now"));
        }
        found.push((topic.clone(), span.partition, offset));
    }
    Ok(found)
}

/// Retention was faster, or somebody deleted records.
pub fn gone(operation: &'static str, topic: &Name, partition: i32, offset: i64, first: i64) -> Error {
    let message =
        format!("{offset} of partition {partition} is no longer kept; the first that is kept is {first}");
    Error::new(Kind::Gone, operation, format!("topic {topic}"), message)
        .with_hint(format!("--from {partition}:{first}, or --from beginning, reads what is kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Vec<Span> {
        let span = |topic: &str, partition| Span { topic: topic.into(), partition, first: 10, end: 20 };
        vec![span("one", 0), span("two", 0), span("two", 1)]
    }

    fn at(topic: &str, position: Position, behind: i64) -> std::result::Result<Vec<(i32, i64)>, Kind> {
        let found = named("reader", &spans(), &[(topic.into(), position)], behind);
        found.map(|all| all.into_iter().map(|place| (place.1, place.2)).collect()).map_err(|e| e.kind())
    }

    #[test]
    fn a_position_is_taken_as_it_is_or_refused() {
        assert_eq!(at("one", Position::Offset(15), 0), Ok(vec![(0, 15)]));
        assert_eq!(at("one", Position::Offset(15), 1), Ok(vec![(0, 16)]));
        assert_eq!(at("two", Position::At { partition: 1, offset: 10 }, 0), Ok(vec![(1, 10)]));
        assert_eq!(at("one", Position::Offset(20), 0), Ok(vec![(0, 20)]), "the end is a place");
        assert_eq!(at("one", Position::Offset(9), 0), Err(Kind::Gone));
        assert_eq!(at("one", Position::Offset(20), 1), Err(Kind::Invalid));
        assert_eq!(at("two", Position::Offset(15), 0), Err(Kind::Invalid), "of which partition?");
        assert_eq!(at("two", Position::At { partition: 2, offset: 15 }, 0), Err(Kind::Invalid));
        assert_eq!(at("one", Position::Id("x".into()), 0), Err(Kind::Invalid));
    }
}
