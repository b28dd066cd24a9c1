//! Topics, and what is published to them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evcat::broker::{Error, Kind, Receipt, Result, Token};
use evcat::event::{Batch, Event, Millis, Name, Position};
use tokio::time::Instant;

use super::Shape;
use super::members::MemberState;
use super::queue::{Item, OWN, Queue, RUN};
use super::shape::PARTITIONS;

/// All that a broker knows.
pub struct Store {
    pub shape: Shape,
    pub topics: BTreeMap<Name, Topic>,
    pub members: HashMap<u64, MemberState>,
    /// Calls that reached for it.
    pub asked: u64,
    /// Fault: nobody answers until then.
    pub away_until: Option<Instant>,
    /// Fault: the next settle happens, and its answer is lost.
    pub lose_an_answer: bool,
    /// Fault: so many settlements are answered with an error, and nothing of them happens.
    pub refuse: u32,
    /// How long a settle takes.
    pub settle_takes: Duration,
    /// What was settled last, and where it lay: a fault may deliver it again.
    pub last_settled: Option<(Name, Name, u64, Item)>,
    pub settled: HashSet<Token>,
    /// Tokens that were settled a second time: a mistake of whoever uses it.
    pub settled_twice: Vec<Token>,
    pub minted: u64,
}

/// One topic. All shapes keep what was published, but only a log lets it be read.
#[derive(Default)]
pub struct Topic {
    pub partitions: Vec<Partition>,
    pub groups: BTreeMap<Name, Queue>,
    /// Keep at least so many.
    pub keep: Option<u64>,
    /// Keep for so long.
    pub keep_for: Option<Duration>,
    /// Readers at work; a push has a queue for each.
    pub readers: usize,
    /// `TOPIC/GROUP` whose dead letters these are.
    pub dead_letters_of: Option<String>,
    /// Dead letters that a run settled.
    pub settled: HashSet<Position>,
    /// The run that may settle: another one's first settle fences it.
    pub fence: u64,
}

/// A run of offsets.
#[derive(Default)]
pub struct Partition {
    /// The offset of the oldest kept.
    pub first: i64,
    /// With their serial numbers.
    pub rows: VecDeque<(u64, Event)>,
}

impl Partition {
    /// The next offset.
    pub fn end(&self) -> i64 {
        self.first + self.rows.len() as i64
    }

    /// What is kept from an offset on.
    pub fn from(&self, offset: i64) -> impl Iterator<Item = &(u64, Event)> {
        self.rows.range((offset - self.first).clamp(0, self.rows.len() as i64) as usize..)
    }
}

impl Topic {
    pub fn new(partitions: usize) -> Topic {
        Topic { partitions: (0..partitions).map(|_| Partition::default()).collect(), ..Topic::default() }
    }
}

impl Store {
    pub fn new(shape: Shape) -> Store {
        Store {
            shape,
            topics: BTreeMap::new(),
            members: HashMap::new(),
            asked: 0,
            away_until: None,
            lose_an_answer: false,
            refuse: 0,
            settle_takes: Duration::ZERO,
            last_settled: None,
            settled: HashSet::new(),
            settled_twice: Vec::new(),
            minted: 0,
        }
    }

    /// A number that is never used again: of tokens, members and events.
    pub fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    /// The serial number that the next event will exceed.
    pub fn now(&self) -> u64 {
        self.minted
    }

    pub fn topic(&mut self, operation: &'static str, topic: &str) -> Result<&mut Topic> {
        let missing =
            || Error::new(Kind::NotFound, operation, format!("topic {topic}"), "there is no such topic");
        self.topics.get_mut(topic).ok_or_else(missing)
    }

    pub fn queue(&mut self, operation: &'static str, topic: &str, group: &str) -> Result<&mut Queue> {
        let subject = match group {
            OWN => topic.to_owned(),
            _ => format!("group {group} of topic {topic}"),
        };
        let missing = || Error::new(Kind::NotFound, operation, subject, "there is no such queue or group");
        self.topic(operation, topic)?.groups.get_mut(group).ok_or_else(missing)
    }

    /// A topic, unless it is there, with a queue of its own where it is one.
    pub fn make_topic(&mut self, topic: &str, partitions: Option<usize>, queue: bool) -> bool {
        if self.topics.contains_key(topic) {
            return false;
        }
        let log = self.shape == Shape::Log;
        let mut made = Topic::new(partitions.unwrap_or(if log { PARTITIONS } else { 1 }));
        if queue && !log {
            made.groups.insert(OWN.into(), Queue::default());
        }
        self.topics.insert(topic.into(), made);
        true
    }

    /// Stores an event and hands it to every queue of its topic.
    pub fn publish(&mut self, event: &Event, delay: Duration) -> Result<Receipt> {
        let (shape, name, serial) = (self.shape, event.topic().clone(), self.mint());
        shape.check_event(event)?;
        if shape == Shape::Log {
            self.make_topic(&name, None, false);
        }
        let topic = self.topic("send", &name)?;
        if shape == Shape::Push && topic.groups.is_empty() && topic.readers == 0 {
            let message = "it was accepted and went to no queue";
            return Err(Error::new(Kind::Unroutable, "send", format!("topic {name}"), message));
        }
        let at = partition_of(event, serial, topic.partitions.len())?;
        let partition = &mut topic.partitions[at];
        let timestamp = match shape {
            Shape::Push => None,
            _ => event.timestamp().or_else(|| Some(wall_clock())),
        };
        let stored = |copy: &str, offset| {
            let mut batch = Batch::default();
            let position = shape.position(at, offset, serial, copy);
            batch.push(&name, event.key(), event.headers(), event.payload(), timestamp, position);
            batch.finish()[0].clone()
        };
        let row = stored(OWN, partition.end());
        let position = row.position().clone();
        partition.rows.push_back((serial, row));
        let from = Instant::now() + delay;
        let offset = partition.end() - 1;
        for (group, queue) in &mut topic.groups {
            if !group.starts_with(RUN) {
                queue.items.insert(serial, Item::new(stored(group, offset), at, from));
            }
        }
        topic.retain();
        Ok(Receipt { position, duplicate: false })
    }
}

/// The partition that was asked for, that of the key, or any.
fn partition_of(event: &Event, serial: u64, partitions: usize) -> Result<usize> {
    let at = match (event.position(), event.key()) {
        (Position::Partition(asked), _) => *asked as usize,
        (_, Some(key)) => crc32c::crc32c(key) as usize % partitions,
        (_, None) => serial as usize % partitions,
    };
    match at < partitions {
        true => Ok(at),
        false => {
            let subject = format!("topic {}", event.topic());
            Err(Error::new(Kind::NotFound, "send", subject, format!("there is no partition {at}")))
        }
    }
}

pub fn wall_clock() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as Millis
}

impl Topic {
    /// Drops what is kept no longer, oldest first.
    fn retain(&mut self) {
        let kept: u64 = self.partitions.iter().map(|partition| partition.rows.len() as u64).sum();
        let mut too_many = self.keep.map_or(0, |keep| kept.saturating_sub(keep));
        let oldest = self.keep_for.map(|time| wall_clock() - time.as_millis() as Millis);
        loop {
            let heads = self.partitions.iter_mut().filter(|partition| !partition.rows.is_empty());
            let Some(partition) = heads.min_by_key(|partition| partition.rows[0].0) else { return };
            let (serial, head) = &partition.rows[0];
            if too_many == 0 && oldest.is_none_or(|oldest| head.timestamp().is_none_or(|at| at >= oldest)) {
                return;
            }
            too_many = too_many.saturating_sub(1);
            for queue in self.groups.values_mut() {
                queue.fell_behind |= queue.items.remove(serial).is_some();
            }
            partition.rows.pop_front();
            partition.first += 1;
        }
    }
}
