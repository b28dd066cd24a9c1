//! Looking.

use async_trait::async_trait;
use evcat::broker::{Error, Kind, Read, ReadOptions, Reader, Result, Start, Stop};
use evcat::event::{Event, Name, Position};

use super::starts::{is_gone, named};
use super::store::Store;
use super::{Shape, World};

/// The most events of one answer.
const BATCH: usize = 1000;

/// See [`evcat::broker::Broker::reader`].
pub fn open(world: &World, options: ReadOptions) -> Result<Box<dyn Reader>> {
    let ReadOptions { topics, partition, start, stop, unsettled } = options;
    for topic in &topics {
        let have = world.shape.capabilities(topic);
        let refuse = |what| Err(Error::new(Kind::Unsupported, "reader", format!("topic {topic}"), what));
        if !have.peek {
            return refuse("looking would take events from those who work here");
        }
        if partition.is_some() && !have.partitions {
            return refuse("there are no partitions here");
        }
        if matches!(stop, Stop::At(_)) && !have.read_by_position {
            return refuse("there are no positions to stop at");
        }
        world.shape.check_start("reader", topic, &start)?;
    }
    let mut store = world.reach("reader")?;
    let places = match &start {
        Start::At(named) | Start::After(named) => {
            let is_named = |topic: &&Name| named.iter().any(|(name, _)| name == *topic);
            store.places(&topics.iter().filter(is_named).cloned().collect::<Vec<_>>(), partition)?
        }
        _ => store.places(&topics, partition)?,
    };
    let starts = store.starts(&places, &start)?;
    let mut lanes = Vec::new();
    for (place, next) in places.into_iter().zip(starts) {
        let Some(next) = next else { continue };
        let end = store.topics[&place.0].partitions[place.1].end();
        let stop = match &stop {
            Stop::Never => None,
            Stop::Now => Some(end),
            Stop::At(places) => Some(named(places, &place).map_or(end, |stop| stop.min(end))),
        };
        lanes.push(Lane { topic: place.0, partition: place.1, next, stop, is_held: false });
    }
    let at = |offset: i64, lane: &Lane| (lane.topic.clone(), world.shape.place(lane.partition, offset));
    let ends = |lane: &Lane| lane.stop.unwrap_or(store.topics[&lane.topic].partitions[lane.partition].end());
    let begin = lanes.iter().map(|lane| at(lane.next, lane)).collect();
    let end = lanes.iter().map(|lane| at(ends(lane), lane)).collect();
    topics.iter().for_each(|topic| store.topics.get_mut(topic).unwrap().readers += 1);
    drop(store);
    Ok(Box::new(Looker { world: world.clone(), topics, lanes, begin, end, unsettled, caught_up: false }))
}

impl Shape {
    /// Where a reader stands; only a log can say.
    fn place(self, partition: usize, offset: i64) -> Position {
        match self {
            Shape::Log => self.position(partition, offset, 0, ""),
            _ => Position::Unknown,
        }
    }
}

struct Looker {
    world: World,
    topics: Vec<Name>,
    lanes: Vec<Lane>,
    begin: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
    unsettled: bool,
    caught_up: bool,
}

/// How far one partition has been read.
struct Lane {
    topic: Name,
    partition: usize,
    next: i64,
    stop: Option<i64>,
    is_held: bool,
}

impl Lane {
    fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// What comes next, or nothing. Errors: it is kept no longer.
    fn take(&mut self, store: &Store, unsettled: bool) -> Result<Vec<Event>> {
        let missing =
            || Error::new(Kind::NotFound, "next", format!("topic {}", self.topic), "it was deleted");
        let topic = store.topics.get(&self.topic).ok_or_else(missing)?;
        let partition = &topic.partitions[self.partition];
        if self.next < partition.first {
            return Err(is_gone(&self.topic, self.next));
        }
        let until = self.stop.unwrap_or(i64::MAX).min(self.next + BATCH as i64).min(partition.end());
        let some = partition.from(self.next).take((until - self.next).max(0) as usize);
        self.next = self.next.max(until);
        let wanted = some.filter(|(_, event)| !unsettled || !topic.settled.contains(event.position()));
        Ok(wanted.map(|(_, event)| event.clone()).collect())
    }

    fn is_at_the_end(&self, store: &Store) -> bool {
        let end = store.topics.get(&self.topic).map_or(0, |topic| topic.partitions[self.partition].end());
        self.is_done() || self.next >= end
    }
}

impl Looker {
    fn look(&mut self) -> Result<Option<Read>> {
        let store = self.world.reach("next")?;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_held && !lane.is_done()) {
            let events = lane.take(&store, self.unsettled)?;
            if !events.is_empty() {
                self.caught_up = false;
                return Ok(Some(Read::Events(events.into())));
            }
        }
        if self.lanes.iter().all(Lane::is_done) {
            return Ok(Some(Read::End));
        }
        let caught_up = self.lanes.iter().all(|lane| lane.is_at_the_end(&store));
        Ok((caught_up && !std::mem::replace(&mut self.caught_up, true)).then_some(Read::CaughtUp))
    }
}

#[async_trait]
impl Reader for Looker {
    async fn next(&mut self) -> Result<Read> {
        let world = self.world.clone();
        loop {
            let bell = world.bell.notified();
            if let Some(read) = self.look()? {
                return Ok(read);
            }
            world.rung(bell).await;
        }
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.begin
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        let left = |lane: &Lane| lane.stop.map(|stop| (stop - lane.next).max(0) as u64);
        self.lanes.iter().map(left).sum()
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        for lane in &mut self.lanes {
            let same = |p: Option<i32>| p.is_none_or(|p| p as usize == lane.partition);
            lane.is_held =
                partitions.iter().any(|(topic, partition)| *topic == lane.topic && same(*partition));
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        if let Ok(mut store) = self.world.store.lock() {
            for name in &self.topics {
                if let Some(topic) = store.topics.get_mut(name) {
                    topic.readers = topic.readers.saturating_sub(1);
                }
            }
        }
    }
}
