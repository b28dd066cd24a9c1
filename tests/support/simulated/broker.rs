//! Topics and groups, and the way to the other three traits.

use std::time::Duration;

use async_trait::async_trait;
use evcat::broker::*;
use evcat::event::{Millis, Name, Position};
use tokio::time::Instant;

use super::queue::{Item, OWN, Queue, is_group};
use super::store::{Store, Topic};
use super::{Shape, World};

#[async_trait]
impl Broker for World {
    fn capabilities(&self, topic: &str) -> Capabilities {
        self.shape.capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        self.shape.check_name("create_topic", "topic", topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        let topics = self.reach("check")?.topics.len();
        Ok(vec![
            ("server".into(), format!("simulated {:?}", self.shape)),
            ("topics".into(), topics.to_string()),
        ])
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        let store = self.reach("topics")?;
        let matches = matcher(glob);
        let found = store.topics.iter().filter(|(name, _)| matches(name));
        Ok(found.map(|(name, topic)| topic_info(self.shape, name, topic)).collect())
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        let refuse =
            |kind, what: String| Err(Error::new(kind, "create_topic", format!("topic {topic}"), what));
        self.shape.check_name("create_topic", "topic", topic)?;
        let (mut partitions, mut keep, mut keep_for) = (None, None, None);
        for (key, value) in options {
            match (key.as_str(), self.shape) {
                ("dedup", _) => return refuse(Kind::Unsupported, "ids are not recognised here".into()),
                ("partitions", Shape::Log) if value.parse::<usize>().is_ok_and(|n| n > 0) => {
                    partitions = value.parse().ok();
                }
                ("retention", Shape::Log) => match (value.parse(), humantime::parse_duration(value)) {
                    (Ok(count), _) => keep = Some(count),
                    (_, Ok(time)) => keep_for = Some(time),
                    _ => return refuse(Kind::Invalid, format!("retention={value} is no count and no time")),
                },
                _ => return refuse(Kind::Invalid, format!("{key}={value} is no option of a topic here")),
            }
        }
        let mut store = self.reach("create_topic")?;
        if !store.make_topic(topic, partitions, self.shape.is_queue(topic)) {
            return refuse(Kind::Rejected, "it is there already".into());
        }
        let made = store.topic("create_topic", topic)?;
        (made.keep, made.keep_for) = (keep, keep_for);
        Ok(())
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        let mut store = self.reach("delete_topic")?;
        store.topic("delete_topic", topic)?;
        store.topics.remove(topic);
        Ok(())
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        let store = self.reach("groups")?;
        let matches = matcher(topics);
        let mut all = Vec::new();
        for (name, topic) in store.topics.iter().filter(|(name, _)| matches(name)) {
            let groups = topic.groups.iter().filter(|(group, _)| is_group(group));
            all.extend(groups.map(|(group, queue)| group_info(&store, name, topic, group, queue)));
        }
        Ok(all)
    }

    async fn seek_group(&self, topic: &str, group: &str, to: &Start) -> Result<()> {
        if !self.shape.capabilities(topic).seek_group {
            let message = "a group cannot be moved here: what is settled is gone";
            return Err(Error::new(Kind::Unsupported, "seek_group", format!("topic {topic}"), message));
        }
        let mut store = self.reach("seek_group")?;
        at_rest(&mut store, "seek_group", topic, group)?;
        let items = items_from(&store, topic, to)?;
        let queue = store.queue("seek_group", topic, group)?;
        (queue.items, queue.fell_behind) = (items, false);
        Ok(())
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        let mut store = self.reach("delete_group")?;
        at_rest(&mut store, "delete_group", topic, group)?;
        store.topic("delete_group", topic)?.groups.remove(group);
        Ok(())
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        let Source::Group { topics, group } = source else { return Ok(Vec::new()) };
        self.shape.check_name("create_group", "group", group)?;
        for topic in topics {
            self.shape.check_start("create_group", topic, from)?;
            if self.shape.is_queue(topic) {
                let message = "a queue is worked on as it is, without a group";
                return Err(Error::new(Kind::Unsupported, "create_group", topic.to_string(), message));
            }
        }
        let mut store = self.reach("create_group")?;
        let mut made = Vec::new();
        for topic in topics {
            if store.topic("create_group", topic)?.groups.contains_key(group) {
                continue;
            }
            let items = items_from(&store, topic, from)?;
            let queue = Queue { items, dead_letters: dead_letters.map(str::to_owned), ..Queue::default() };
            store.topic("create_group", topic)?.groups.insert(group.clone(), queue);
            made.push(format!("group {group} of topic {topic}"));
        }
        if let Some(letters) = dead_letters
            && store.make_topic(letters, None, true)
        {
            store.topic("create_group", letters)?.dead_letters_of = Some(format!("{}/{group}", topics[0]));
            made.push(format!("dead-letter topic {letters}"));
        }
        Ok(made)
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        super::publisher::open(self, options)
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        super::reader::open(self, options)
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        super::subscription::open(self, source, options)
    }
}

/// Whether a name is meant by a glob.
fn matcher(glob: &str) -> impl Fn(&str) -> bool {
    let matcher = globset::Glob::new(glob).map(|glob| glob.compile_matcher()).ok();
    let exact = glob.to_owned();
    move |name| name == exact || matcher.as_ref().is_some_and(|matcher| matcher.is_match(name))
}

/// Refuses what may not happen to a group while its members work, where the shape knows its members.
fn at_rest(store: &mut Store, operation: &'static str, topic: &str, group: &str) -> Result<()> {
    store.queue(operation, topic, group)?;
    match members(store, topic, group) {
        None | Some(0) => Ok(()),
        Some(n) => {
            let subject = format!("group {group} of topic {topic}");
            Err(Error::new(Kind::Rejected, operation, subject, format!("{n} of its members are at work")))
        }
    }
}

/// Queues with leases know no members.
fn members(store: &Store, topic: &str, group: &str) -> Option<u32> {
    let works = store.members.values().filter(|m| m.joined && m.works_on(&topic.into(), &group.into()));
    (!store.shape.leases()).then(|| works.count() as u32)
}

/// What a group that begins there has not settled.
fn items_from(store: &Store, topic: &str, from: &Start) -> Result<std::collections::BTreeMap<u64, Item>> {
    let places = store.places(&[topic.into()], None)?;
    let starts = store.starts(&places, from)?;
    let mut items = std::collections::BTreeMap::new();
    for ((name, at), start) in places.into_iter().zip(starts) {
        let partition = &store.topics[&name].partitions[at];
        // A partition that is not named begins at its end.
        let rows = partition.from(start.unwrap_or(partition.end()));
        items.extend(rows.map(|(serial, event)| (*serial, Item::new(event.clone(), at, Instant::now()))));
    }
    Ok(items)
}

fn topic_info(shape: Shape, name: &str, topic: &Topic) -> TopicInfo {
    let log = shape == Shape::Log;
    let rows = || topic.partitions.iter().flat_map(|partition| &partition.rows).map(|(_, event)| event);
    let kept = match topic.groups.get(OWN) {
        Some(queue) => Some(queue.items.len()),
        None => log.then(|| rows().count() - topic.settled.len()),
    };
    let times = || rows().filter(|_| log).filter_map(|event| event.timestamp());
    TopicInfo {
        name: name.into(),
        partitions: log.then_some(topic.partitions.len() as u32),
        waiting: kept.map(|kept| Count { events: kept as u64, exact: !shape.leases() }),
        dead_letters_of: topic.dead_letters_of.clone(),
        oldest: times().min(),
        newest: times().max(),
        kept_for: topic.keep_for.map(|time| Duration::from_millis(time.as_millis() as u64)),
        ..TopicInfo::default()
    }
}

fn group_info(store: &Store, name: &Name, topic: &Topic, group: &Name, queue: &Queue) -> GroupInfo {
    let shape = store.shape;
    let open = queue.items.len() as u64;
    let mut info = GroupInfo {
        topic: name.to_string(),
        group: group.to_string(),
        dead_letters: queue.dead_letters.clone(),
        members: members(store, name, group),
        lag: Some(Count { events: open, exact: !shape.leases() }),
        ..GroupInfo::default()
    };
    let oldest = queue.items.values().filter_map(|item| item.event.timestamp()).min();
    info.oldest = oldest.filter(|_: &Millis| shape != Shape::Push);
    if shape == Shape::Log {
        // What is told is what was committed: the settled prefix. What was settled beyond it is counted as open.
        let mut behind = 0;
        for (at, partition) in topic.partitions.iter().enumerate() {
            let committed = queue.first_open(at).unwrap_or(partition.end());
            behind += (partition.end() - committed) as u64;
            let place = |offset| -> (Name, Position) { (name.clone(), shape.position(at, offset, 0, "")) };
            info.settled.push(place(committed));
            info.end.push(place(partition.end()));
        }
        info.lag = Some(Count { events: behind, exact: behind == open });
    }
    info
}
