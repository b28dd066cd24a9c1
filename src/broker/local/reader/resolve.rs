//! Start and stop turned into offsets, once, when a reader opens.

use rusqlite::Connection;

use super::super::fault::Result;
use super::super::log::{self, Topic};
use super::super::{seek, settled, topics};
use super::lane::{self, Lane};
use super::newest::newest;
use crate::broker::{Error, Kind, ReadOptions, Start, Stop};
use crate::event::{Name, Position};

/// What a reader is going to do.
pub struct Plan {
    /// One per topic that is read.
    pub lanes: Vec<Lane>,
    /// Where each starts.
    pub start: Vec<(Name, Position)>,
    /// Where each stops; without a stop, where it ended.
    pub end: Vec<(Name, Position)>,
    /// Events before the stop.
    pub left: Option<u64>,
}

/// A topic and its end; `None` where it does not exist yet.
struct Found {
    name: Name,
    topic: Option<(Topic, i64)>,
}

/// Resolves everything in one state of the file.
pub fn plan(sql: &Connection, options: &ReadOptions) -> Result<Plan> {
    let ReadOptions { topics, partition: _, start, stop, unsettled } = options;
    let mut found = vec![];
    for name in topics {
        // What is not named is not read, so it need not exist either.
        if let Start::At(places) | Start::After(places) = start
            && !places.iter().any(|(topic, _)| topic == name)
        {
            continue;
        }
        let topic = match log::topic(sql, name)? {
            Some(topic) => {
                let end = log::end(sql, &topic)?.next;
                Some((topic, end))
            }
            None if *stop == Stop::Never => None,
            None => return Err(topics::not_found("reader", name, &topics::names(sql)?).into()),
        };
        found.push(Found { name: name.clone(), topic });
    }
    let starts = starts(sql, &found, start, *unsettled)?;
    let mut plan = Plan { lanes: vec![], start: vec![], end: vec![], left: None };
    let mut left = 0;
    for (found, next) in found.into_iter().zip(starts) {
        let end = found.topic.as_ref().map_or(0, |(_, end)| *end);
        let stop = match stop {
            Stop::Never => None,
            Stop::Now => Some(end),
            Stop::At(places) => Some(place_of(places, &found.name)?.map_or(end, |stop| stop.min(end))),
        };
        if let (Some(stop), Some((topic, _))) = (stop, &found.topic)
            && next < stop
        {
            let settled = match unsettled {
                true => settled::ranges(sql, topic.id, next..stop)?.iter().map(|r| r.end - r.start).sum(),
                false => 0,
            };
            left += (stop - next - settled) as u64;
        }
        plan.start.push((found.name.clone(), Position::Offset(next)));
        plan.end.push((found.name.clone(), Position::Offset(stop.unwrap_or(end))));
        let topic = found.topic.map(|(topic, _)| topic.id);
        plan.lanes.push(Lane { name: found.name, topic, next, stop, unsettled: *unsettled });
    }
    plan.left = (*stop != Stop::Never).then_some(left);
    Ok(plan)
}

fn starts(sql: &Connection, found: &[Found], start: &Start, unsettled: bool) -> Result<Vec<i64>> {
    if let Start::Last(n) = start {
        let there: Vec<_> = found.iter().filter_map(|f| f.topic.as_ref().map(|(t, end)| (t, *end))).collect();
        let mut starts = newest(sql, &there, *n, unsettled)?.into_iter();
        // A topic that is to come is read from its beginning.
        return Ok(found.iter().map(|f| f.topic.as_ref().and_then(|_| starts.next()).unwrap_or(0)).collect());
    }
    let mut starts = vec![];
    for Found { name, topic } in found {
        let Some((topic, end)) = topic else {
            starts.push(0);
            continue;
        };
        starts.push(match start {
            Start::Earliest | Start::Last(_) => topic.first,
            Start::Latest => *end,
            Start::Time(at) => seek::time(sql, topic, *at)?,
            Start::At(places) => kept(topic, place_of(places, name)?.unwrap_or(*end), unsettled)?,
            Start::After(places) => {
                kept(topic, place_of(places, name)?.map_or(*end, |at| at + 1), unsettled)?
            }
        });
    }
    Ok(starts)
}

/// The offset, unless it was there once and is no longer.
fn kept(topic: &Topic, offset: i64, unsettled: bool) -> Result<i64> {
    if offset >= topic.first || unsettled {
        return Ok(offset.max(topic.first));
    }
    Err(lane::is_gone(topic, offset, topic.first - offset).into())
}

fn place_of(places: &[(Name, Position)], topic: &Name) -> Result<Option<i64>> {
    let Some((_, position)) = places.iter().find(|(name, _)| name == topic) else { return Ok(None) };
    match position {
        Position::Offset(offset) if (0..=log::MAX_OFFSET).contains(offset) => Ok(Some(*offset)),
        other => {
            let message = format!("'{other}' is not a position here");
            Err(Error::new(Kind::Invalid, "reader", format!("topic {topic}"), message)
                .with_hint("a number from 0 on, as tail -o json shows it: --from 120")
                .into())
        }
    }
}
