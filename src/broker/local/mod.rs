//! The embedded broker: one SQLite file, no server.
//!
//! `file` opens the file and changes it in transactions; `log` and `block` are what a topic is made of. Publisher,
//! reader and subscription have a thread and a connection each (`worker`), everything else shares one.

mod block;
mod checkpoint;
mod claim;
mod dedup;
mod desk;
mod fault;
mod file;
mod frontier;
mod group;
mod head;
mod letters_work;
mod log;
mod loot;
mod member;
mod name;
mod one_shot;
mod patience;
mod publish_work;
mod publisher;
mod reader;
mod retention;
mod room;
mod schema;
mod seek;
mod settle;
mod settled;
mod shared_work;
mod side;
mod subscription;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_file;
#[cfg(test)]
mod tests_of_reader;
mod topics;
mod watch;
mod work;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Broker, Capabilities, GroupInfo, Location, Order, PublishOptions, Publisher, ReadOptions, Reader, Result,
    Source, Start, SubscribeOptions, Subscription, Surroundings, TopicInfo,
};
use file::Place;
use patience::Patience;
use worker::Worker;

/// The keys of `-X`.
pub const OPTIONS: &[(&str, &str)] = &[];

/// SQLite takes rows of a billion bytes; this leaves room for the rest of the block.
const MAX_EVENT: usize = 512 << 20;

/// What it can do, the same for every topic.
pub fn capabilities(_topic: &str) -> Capabilities {
    let for_ever = Some(Duration::from_secs(3650 * 24 * 3600));
    Capabilities {
        read_history: true,
        read_by_time: true,
        read_by_position: true,
        read_last: true,
        peek: true,
        order: Order::AnyMembers,
        counts_attempts: true,
        atomic_move: true,
        atomic_replay: true,
        publish_delay: None,
        retry_delay: for_ever,
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: true,
        set_timestamp: true,
        partitions: false,
        create_topics: true,
        dedup: true,
        seek_group: true,
        address_group: true,
        native_replay: false,
        lag: true,
        read_creates: false,
        max_event: Some(MAX_EVENT as u64),
        max_headers: None,
    }
}

/// Made from its URL. Behaviour: no I/O.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let place = Arc::new(place(location, &surroundings));
    Ok(Arc::new(Local { worker: Worker::new(place.clone()), place }))
}

/// `local:` is the file in the data directory, `local:PATH` any other; `local://PATH` is taken for the same.
fn place(location: &Location, surroundings: &Surroundings) -> Place {
    let typed = location.rest.strip_prefix("//").unwrap_or(&location.rest);
    let path = if typed.is_empty() { surroundings.data_dir.join("local.db") } else { typed.into() };
    let patience = Arc::new(Patience::new(&path, surroundings.timeout));
    Place { path, make_parents: typed.is_empty(), clock: surroundings.clock.clone(), patience }
}

struct Local {
    place: Arc<Place>,
    worker: Worker,
}

#[async_trait]
impl Broker for Local {
    fn capabilities(&self, topic: &str) -> Capabilities {
        capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        name::for_new("create_topic", "topic", topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        topics::check(&self.worker).await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        topics::topics(&self.worker, glob).await
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        topics::create(&self.worker, topic, options).await
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        topics::delete(&self.worker, topic).await
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        group::groups(&self.worker, topics).await
    }

    async fn seek_group(&self, topic: &str, group: &str, to: &Start) -> Result<()> {
        group::seek(&self.worker, topic, group, to).await
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        group::delete(&self.worker, topic, group).await
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        group::create(&self.worker, source, from, dead_letters).await
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        publisher::open(&self.place, options).await
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        reader::open(&self.place, self.worker.give_store().await?, options).await
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        subscription::open(&self.place, source, options).await
    }
}

/// SQLite and its version.
pub fn client() -> String {
    format!("SQLite {}", rusqlite::version())
}
