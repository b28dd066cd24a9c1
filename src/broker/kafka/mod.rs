//! Kafka, by librdkafka, which is built into evcat.
//!
//! `sys` is the raw library; `conf`, `client`, `queue`, `partitions` and `news` are what is unsafe about it, wrapped;
//! `admin` asks what an administrator asks; `error` puts the library's codes into words. A URL and options become
//! `settings`. On these stand the publisher, the reader, the subscription, topics and groups.
//!
//! Nothing here blocks: the library works on threads of its own, and its queues wake the runtime (`queue`).

mod admin;
mod answers;
mod check;
mod client;
mod commits;
mod conf;
mod connection;
mod desk;
mod epoch;
mod error;
mod flights;
mod groups;
mod hanging;
mod holes;
mod letters;
mod membership;
mod message;
mod metadata;
mod moves;
mod name;
mod news;
mod oldest;
mod options;
mod part;
mod partitions;
mod places;
mod produce;
mod properties;
mod publisher;
mod queue;
mod reader;
mod rebalance;
mod regain;
mod reserved;
mod settings;
mod settled;
mod subscription;
mod sys;
mod topics;
mod transaction;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::{
    Broker, Capabilities, GroupInfo, Location, Order, PublishOptions, Publisher, ReadOptions, Reader, Result,
    Source, Start, SubscribeOptions, Subscription, Surroundings, TopicInfo,
};
use client::{Client, Role};
use settings::Settings;

pub use options::OPTIONS;

/// What it can do, the same for every topic.
pub fn capabilities(_topic: &str) -> Capabilities {
    Capabilities {
        read_history: true,
        read_by_time: true,
        read_by_position: true,
        read_last: true,
        peek: true,
        order: Order::AnyMembers,
        counts_attempts: false,
        // Members of a group would fence each other: confirmed, then committed. What is put back is worked on by one.
        atomic_move: false,
        atomic_replay: true,
        publish_delay: None,
        retry_delay: None,
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: true,
        set_timestamp: true,
        partitions: true,
        create_topics: true,
        dedup: false,
        seek_group: true,
        address_group: false,
        native_replay: false,
        lag: true,
        read_creates: false,
        // The topic's or the broker's own limit is lower as a rule, and only they know it.
        max_event: Some(1_000_000_000),
        max_headers: None,
    }
}

/// Made from its URL. Behaviour: no I/O.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let settings = Settings::of(location, &surroundings)?;
    Ok(Arc::new(Kafka { settings, admin: OnceLock::new(), lent: Arc::default(), groups: OnceLock::new() }))
}

/// A cluster that was named.
#[derive(Clone)]
struct Kafka {
    settings: Settings,
    /// Made by the first question that needs one.
    admin: OnceLock<Client>,
    /// A reader has it.
    lent: Arc<AtomicBool>,
    /// The same, of questions about groups.
    groups: OnceLock<Client>,
}

impl Kafka {
    /// The client that asks what is no one else's to ask. It is as a reader needs it.
    fn admin(&self) -> Result<&Client> {
        once(&self.admin, || reader::client(self, false))
    }

    /// The client that has asked, for one reader to the end: to connect once more takes as long as to read ten events.
    fn lend(&self) -> Option<Client> {
        let client = self.admin.get()?;
        let fits = client.reads_committed() == self.settings.reads_committed();
        (fits && !self.lent.swap(true, Ordering::Relaxed)).then(|| client.clone())
    }

    /// The same to one who sees only what transactions have committed.
    fn committed(&self) -> Kafka {
        Kafka { settings: self.settings.committed(), ..self.clone() }
    }

    /// The same to one who sees also what transactions have not committed.
    fn uncommitted(&self) -> Kafka {
        Kafka { settings: self.settings.uncommitted(), ..self.clone() }
    }

    /// The client that asks about groups: one that could be a member, see [`Client::committed`], and never is.
    fn groups_admin(&self) -> Result<&Client> {
        let fixed = [("group.id", "evcat"), ("enable.auto.commit", "false")];
        once(&self.groups, || Client::new(Role::Consumer, &self.settings, &[], &fixed, |_| ()))
    }
}

fn once(cell: &OnceLock<Client>, make: impl FnOnce() -> Result<Client>) -> Result<&Client> {
    match cell.get() {
        Some(client) => Ok(client),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}

#[async_trait]
impl Broker for Kafka {
    fn capabilities(&self, topic: &str) -> Capabilities {
        capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        name::topic("create_topic", topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        check::check(self).await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        topics::topics(self, glob).await
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        topics::create(self, topic, options).await
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        topics::delete(self, topic).await
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        groups::groups(self, topics).await
    }

    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        groups::group(self, topic, group).await
    }

    async fn seek_group(&self, topic: &str, group: &str, to: &Start) -> Result<()> {
        groups::seek(self, topic, group, to).await
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        groups::delete(self, topic, group).await
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        groups::create(self, source, from, dead_letters).await
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        publisher::open(self, options).await
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        reader::open(self, options).await
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        subscription::open(self, source, options).await
    }
}

/// librdkafka and its version.
pub fn client() -> String {
    // SAFETY: a static text.
    format!("librdkafka {}", unsafe { sys::text(sys::rd_kafka_version_str()) })
}
