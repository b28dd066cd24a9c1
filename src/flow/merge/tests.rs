use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::event::{Batch, Headers};

/// Topics in memory, read batch by batch in turn, as the trait promises.
struct Memory {
    start: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
    left: HashMap<Name, VecDeque<Event>>,
    order: Vec<Name>,
    batch: usize,
    held: Vec<Name>,
    caught_up: bool,
    bounded: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    given: usize,
    taken: usize,
    most: usize,
}

impl Memory {
    fn new(topics: &[(&str, &[Millis])], batch: usize, bounded: bool) -> Memory {
        let mut left = HashMap::new();
        let (mut start, mut end, mut order) = (vec![], vec![], vec![]);
        for (topic, times) in topics {
            let name = Name::from(*topic);
            let mut events = Batch::default();
            for (offset, at) in times.iter().enumerate() {
                events.push(
                    &name,
                    None,
                    Headers::default(),
                    None,
                    Some(*at),
                    Position::Offset(offset as i64),
                );
            }
            left.insert(name.clone(), events.finish().iter().cloned().collect());
            start.push((name.clone(), Position::Offset(0)));
            end.push((name.clone(), Position::Offset(times.len() as i64)));
            order.push(name);
        }
        let seen = Arc::default();
        Memory { start, end, left, order, batch, held: vec![], caught_up: false, bounded, seen }
    }
}

#[async_trait::async_trait]
impl Reader for Memory {
    async fn next(&mut self) -> Result<Read> {
        for index in 0..self.order.len() {
            let topic = self.order[index].clone();
            let queue = self.left.get_mut(&topic).unwrap();
            if queue.is_empty() || self.held.contains(&topic) {
                continue;
            }
            let count = queue.len().min(self.batch);
            let events: Vec<_> = queue.drain(..count).collect();
            self.order.rotate_left(index + 1);
            let mut seen = self.seen.lock().unwrap();
            seen.given += events.len();
            seen.most = seen.most.max(seen.given - seen.taken);
            return Ok(Read::Events(events.into()));
        }
        if self.left.values().all(VecDeque::is_empty) && self.bounded {
            return Ok(Read::End);
        }
        if self.caught_up {
            panic!("asked again, with nothing to come");
        }
        self.caught_up = true;
        Ok(Read::CaughtUp)
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.start
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        None
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        self.held = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        self.caught_up = false;
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

async fn merged(memory: Memory) -> (Vec<String>, bool) {
    let seen = memory.seen.clone();
    let mut merge = Merge::new(Box::new(memory));
    let mut story = Vec::new();
    loop {
        match merge.next().await.unwrap() {
            Read::Events(events) => {
                seen.lock().unwrap().taken += events.len();
                assert!(!events.is_empty(), "never an empty batch");
                let place = |e: &Event| format!("{}{}", e.topic(), e.timestamp().unwrap());
                story.extend(events.iter().map(place));
            }
            Read::CaughtUp => return (story, false),
            Read::End => return (story, true),
        }
    }
}

#[tokio::test]
async fn history_comes_in_the_order_of_time() {
    for batch in [1, 2, 100] {
        for bounded in [true, false] {
            let memory =
                Memory::new(&[("a", &[1, 4, 6]), ("b", &[2, 3, 9]), ("c", &[]), ("d", &[5])], batch, bounded);
            let (story, ended) = merged(memory).await;
            assert_eq!(story, ["a1", "b2", "b3", "a4", "d5", "a6", "b9"], "batches of {batch}");
            assert_eq!(ended, bounded);
        }
    }
}

#[tokio::test]
async fn within_a_topic_the_order_stays() {
    let (story, _) = merged(Memory::new(&[("a", &[5, 1]), ("b", &[2])], 10, true)).await;
    assert_eq!(story, ["b2", "a5", "a1"]);
}

#[tokio::test]
async fn a_topic_that_is_far_ahead_is_held() {
    let early: Vec<Millis> = (0..50_000).collect();
    let late: Vec<Millis> = (50_000..100_000).collect();
    let memory = Memory::new(&[("late", &late), ("early", &early)], 1000, true);
    let seen = memory.seen.clone();
    let (story, _) = merged(memory).await;
    assert_eq!((story.len(), &*story[0], &*story[99_999]), (100_000, "early0", "late99999"));
    assert!(seen.lock().unwrap().most <= 2 * EVENTS + 2000, "{}", seen.lock().unwrap().most);
}

#[tokio::test]
async fn a_gap_before_the_end_does_not_wait_for_ever() {
    let many: Vec<Millis> = (10..20_000).collect();
    let mut memory = Memory::new(&[("gap", &[1, 2]), ("many", &many)], 1000, false);
    memory.end[0].1 = Position::Offset(5); // a marker, or what compaction took
    let (story, _) = merged(memory).await;
    assert_eq!((story.len(), &*story[0], &*story[1]), (19_992, "gap1", "gap2"));
}
