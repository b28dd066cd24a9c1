//! Where to begin and where to end, as offsets of every partition.

use evcat::broker::{Error, Kind, Result, Start};
use evcat::event::{Millis, Name, Position};

use super::store::Store;

/// A partition of a topic.
pub type Place = (Name, usize);

impl Store {
    /// The partitions of these topics, or the one that was asked for.
    pub fn places(&self, topics: &[Name], only: Option<i32>) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for name in topics {
            let not_found =
                |what: String| Error::new(Kind::NotFound, "reader", format!("topic {name}"), what);
            let topic = self.topics.get(name).ok_or_else(|| not_found("there is no such topic".into()))?;
            let before = places.len();
            let wanted = |p: &usize| only.is_none_or(|only| only as usize == *p);
            places.extend((0..topic.partitions.len()).filter(wanted).map(|p| (name.clone(), p)));
            if let (true, Some(only)) = (before == places.len(), only) {
                return Err(not_found(format!("there is no partition {only}")));
            }
        }
        Ok(places)
    }

    /// The first offset of each, or `None` where it is not named. Errors: it was there once.
    pub fn starts(&self, places: &[Place], start: &Start) -> Result<Vec<Option<i64>>> {
        if let Start::Last(n) = start {
            return Ok(self.newest(places, *n).into_iter().map(Some).collect());
        }
        places.iter().map(|place| self.start(place, start)).collect()
    }

    fn start(&self, place: &Place, start: &Start) -> Result<Option<i64>> {
        let partition = &self.topics[&place.0].partitions[place.1];
        let offset = match start {
            Start::Earliest => partition.first,
            Start::Latest | Start::Last(_) => partition.end(),
            Start::Time(from) => {
                let before = |(_, event): &&(u64, _)| is_before(event, *from);
                partition.first + partition.rows.iter().take_while(before).count() as i64
            }
            Start::At(places) => match named(places, place) {
                Some(offset) => offset,
                None => return Ok(None),
            },
            Start::After(places) => match named(places, place) {
                Some(offset) => offset + 1,
                None => return Ok(None),
            },
        };
        match offset < partition.first {
            false => Ok(Some(offset)),
            true => Err(is_gone(&place.0, offset)),
        }
    }

    /// Where the newest `n` of all begin: one by one the latest of all the ends.
    fn newest(&self, places: &[Place], n: u64) -> Vec<i64> {
        let partitions: Vec<_> = places.iter().map(|(topic, p)| &self.topics[topic].partitions[*p]).collect();
        let mut starts: Vec<_> = partitions.iter().map(|partition| partition.end()).collect();
        for _ in 0..n {
            let latest = (0..places.len()).filter(|i| starts[*i] > partitions[*i].first).max_by_key(|i| {
                partitions[*i].from(starts[*i] - 1).next().map(|(_, event)| event.timestamp())
            });
            let Some(latest) = latest else { break };
            starts[latest] -= 1;
        }
        starts
    }
}

fn is_before(event: &evcat::event::Event, from: Millis) -> bool {
    event.timestamp().is_some_and(|at| at < from)
}

/// The offset that is named for a place.
pub fn named(places: &[(Name, Position)], (topic, partition): &Place) -> Option<i64> {
    let same = |(name, at): &&(Name, Position)| name == topic && at.partition() == Some(*partition as i32);
    places.iter().find(same).and_then(|(_, at)| at.offset())
}

pub fn is_gone(topic: &Name, offset: i64) -> Error {
    let message = format!("{offset} was there once and is kept no longer");
    Error::new(Kind::Gone, "reader", format!("topic {topic}"), message)
        .with_hint("begin at the oldest that is kept: --from earliest")
}
