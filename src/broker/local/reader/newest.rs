//! The newest N over several topics, merged by time.

use rusqlite::Connection;

use super::super::block::Entries;
use super::super::fault::Result;
use super::super::log::{self, Topic};
use super::super::settled;
use crate::event::Millis;

/// A topic walked from its end to its beginning, block by block.
struct Tail<'a> {
    topic: &'a Topic,
    /// All below has not been looked at.
    below: i64,
    /// What has been looked at and not taken.
    waiting: Vec<(i64, Millis)>,
    /// The first that was taken.
    start: i64,
}

/// Where to start in each topic, so that the newest `n` of all are read: `ends` are the offsets after the last ones.
pub fn newest(sql: &Connection, topics: &[(&Topic, i64)], n: u64, unsettled: bool) -> Result<Vec<i64>> {
    if let [(topic, end)] = topics
        && !unsettled
    {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        return Ok(vec![end.saturating_sub(n).max(topic.first)]);
    }
    let mut tails: Vec<Tail> =
        topics.iter().map(|(topic, end)| Tail { topic, below: *end, waiting: vec![], start: *end }).collect();
    for _ in 0..n {
        let mut best: Option<(Millis, &mut Tail)> = None;
        for tail in &mut tails {
            tail.look(sql, unsettled)?;
            if let Some((_, at)) = tail.waiting.last()
                && best.as_ref().is_none_or(|(most, _)| at > most)
            {
                best = Some((*at, tail));
            }
        }
        let Some((_, tail)) = best else { break };
        if let Some((offset, _)) = tail.waiting.pop() {
            tail.start = offset;
        }
    }
    Ok(tails.iter().map(|tail| tail.start).collect())
}

impl Tail<'_> {
    /// Makes sure that something waits, if there is anything left.
    fn look(&mut self, sql: &Connection, unsettled: bool) -> Result<()> {
        while self.waiting.is_empty() && self.below > self.topic.first {
            let Some(row) = log::block_of(sql, self.topic.id, self.below - 1)? else { break };
            let from = log::offset_of(row).max(self.topic.first);
            let settled = match unsettled {
                true => settled::ranges(sql, self.topic.id, from..self.below)?,
                false => vec![],
            };
            log::scan(sql, self.topic.id, from, |row| {
                let entries = Entries::open(row.data).map_err(|e| log::damaged(self.topic, &row, e))?;
                for (offset, entry) in (row.first..self.below).zip(entries) {
                    let entry = entry.map_err(|e| log::damaged(self.topic, &row, e))?;
                    if offset >= from && !settled.iter().any(|range| range.contains(&offset)) {
                        self.waiting.push((offset, entry.timestamp));
                    }
                }
                Ok(std::ops::ControlFlow::Break(()))
            })?;
            self.below = from;
        }
        Ok(())
    }
}
