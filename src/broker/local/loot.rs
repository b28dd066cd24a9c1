//! What one receive takes: events in one buffer, each with the row that it is settled by.

use std::ops::ControlFlow;

use rusqlite::Connection;

use super::block::{Entries, Entry};
use super::fault::Result;
use super::log::{self, Topic};
use crate::broker::{Error, Kind};
use crate::event::{Batch, Event, Headers, Position, own};

/// Bytes in hand from which no more are taken: what is asked for is a number of events, and they may be large.
pub const BYTES: usize = 16 << 20;

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Which of the subscription's topics.
    pub part: usize,
    /// Its row in `open`.
    pub row: i64,
    /// What its event takes in memory.
    pub bytes: usize,
}

/// Events taken and not yet handed over.
#[derive(Default)]
pub struct Loot {
    batch: Batch,
    slots: Vec<(Slot, u32)>,
    part: usize,
}

impl Loot {
    /// What comes next is of this topic of the subscription.
    pub fn of_part(&mut self, part: usize) {
        self.part = part;
    }

    /// How many so far.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether that is enough, however many were asked for.
    pub fn is_full(&self) -> bool {
        self.batch.bytes() >= BYTES
    }

    /// Adds the event at this offset. False: there is none (any more).
    pub fn add_logged(
        &mut self,
        sql: &Connection,
        topic: &Topic,
        offset: i64,
        row: i64,
        attempt: i64,
    ) -> Result<bool> {
        let mut found = false;
        log::scan(sql, topic.id, offset, |stored| {
            if stored.first <= offset {
                log::take(&mut self.batch, topic, &stored, offset..offset + 1)?;
                found = true;
            }
            Ok(ControlFlow::Break(()))
        })?;
        if found {
            self.note(row, attempt);
        }
        Ok(found)
    }

    /// Adds an event of a block that is being read.
    pub fn entry(&mut self, topic: &Topic, data: &[u8], entry: Entry, offset: i64, row: i64, attempt: i64) {
        log::push(&mut self.batch, topic, data, None, entry, offset);
        self.note(row, attempt);
    }

    /// Adds an event that was put back to the group alone.
    pub fn put_back(
        &mut self,
        topic: &Topic,
        data: &[u8],
        number: i64,
        row: i64,
        attempt: i64,
    ) -> Result<()> {
        let broken = |what: String| {
            Error::new(
                Kind::Broken,
                "receive",
                format!("topic {}", topic.name),
                format!("put-back {number}: {what}"),
            )
        };
        let mut entries = Entries::open(data).map_err(|damage| broken(damage.to_string()))?;
        let entry = entries.next().ok_or_else(|| broken("is empty".into()))?;
        let entry = entry.map_err(|damage| broken(damage.to_string()))?;
        let headers = Headers::packed(entry.headers.of(data).unwrap_or_default());
        let position = position_of_put_back(&topic.name, headers, number);
        let (key, payload) = (entry.key.of(data), entry.payload.of(data));
        self.batch.push(&topic.name, key, headers, payload, Some(entry.timestamp), position);
        self.note(row, attempt);
        Ok(())
    }

    /// Each event with its row and attempt.
    pub fn finish(self) -> impl Iterator<Item = (Event, Slot, u32)> {
        let events = self.batch.finish();
        self.slots.into_iter().enumerate().map(move |(at, (slot, attempt))| {
            let event = events[at].clone();
            let bytes = event.size();
            (event, Slot { bytes, ..slot }, attempt)
        })
    }

    fn note(&mut self, row: i64, attempt: i64) {
        self.slots.push((Slot { part: self.part, row, bytes: 0 }, attempt as u32));
    }
}

/// Where an event that was put back shows itself: at the offset it first had, so that its identity stays what it was.
///
/// Its own headers say so: those of the copy, else those of the dead letter it was. They count only where they name
/// this topic; an offset of another one would be the identity of a stranger. Without them it has a name and no place.
pub fn position_of_put_back(topic: &str, headers: Headers, number: i64) -> Position {
    original(topic, headers)
        .map_or_else(|| Position::Id(format!("put-back-{number}").into()), Position::Offset)
}

fn original(topic: &str, headers: Headers) -> Option<i64> {
    let pairs = [(own::REPLAY_TOPIC, own::REPLAY_POSITION), (own::DLQ_TOPIC, own::DLQ_POSITION)];
    pairs.into_iter().find_map(|(name, position)| {
        (headers.text(name)? == topic).then(|| headers.text(position)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::HeadersBuf;

    #[test]
    fn a_put_back_event_keeps_its_offset_if_it_is_of_this_topic() {
        let headers = |pairs: &[(&str, &str)]| {
            let mut headers = HeadersBuf::default();
            pairs.iter().for_each(|(name, value)| headers.push_str(name, value));
            headers
        };
        let copy = headers(&[("evcat-replay-topic", "orders"), ("evcat-replay-position", "17")]);
        assert_eq!(original("orders", copy.as_headers()), Some(17));
        assert_eq!(original("other", copy.as_headers()), None, "another topic's offset is another event");
        let letter = headers(&[
            ("evcat-replay-topic", "orders.mail.dlq"),
            ("evcat-replay-position", "3"),
            ("evcat-dlq-topic", "orders"),
            ("evcat-dlq-position", "17"),
        ]);
        assert_eq!(original("orders", letter.as_headers()), Some(17));
        assert_eq!(original("orders", headers(&[]).as_headers()), None);
        let foreign = headers(&[("evcat-replay-topic", "orders"), ("evcat-replay-position", "3:17")]);
        assert_eq!(original("orders", foreign.as_headers()), None);
    }
}
