//! Google Pub/Sub, by gRPC.
//!
//! A topic is a topic, a group of it the subscription `TOPIC.GROUP`; a place for dead letters is both, a topic and a
//! subscription of its name. `link` is the way to the service, `message` both directions of an event, `error` what goes
//! wrong, in words. On these stand the publisher (`flights`), the reader, the subscription (`desk`), topics and groups.
//!
//! It has been tried against stand-ins only: a test server of this project, and `pstest` of Google's Go client.
//!
//! Credentials are found by `google-cloud-auth`, which reads the environment for them; `PUBSUB_EMULATOR_HOST` is read in
//! `settings`. Both are what every client of Pub/Sub does.

mod check;
mod desk;
mod error;
mod flights;
mod groups;
mod headers;
mod link;
mod message;
mod name;
mod options;
mod publisher;
mod pull;
mod reader;
mod settings;
mod subscription;
mod subscriptions;
mod topics;
mod work;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::{
    Broker, Capabilities, GroupInfo, Location, Order, PublishOptions, Publisher, ReadOptions, Reader, Result,
    Source, Start, SubscribeOptions, Subscription, Surroundings, TopicInfo,
};
use link::Link;
use name::{Place, is_for_letters};
use settings::Settings;

pub use options::OPTIONS;

/// What it can do: a topic keeps its events where it was told to, a subscription cannot be looked at.
pub fn capabilities(topic: &str) -> Capabilities {
    let place = Place::of(topic);
    let is_topic = matches!(place, Place::Topic(_));
    let keeps = is_topic && !is_for_letters(topic);
    Capabilities {
        read_history: keeps,
        read_by_time: keeps,
        read_by_position: false,
        read_last: false,
        peek: is_topic,
        order: Order::AnyMembers,
        // Only a subscription with a dead-letter policy counts, and about; what it says is passed on.
        counts_attempts: false,
        // Confirmed, then acked.
        atomic_move: false,
        atomic_replay: false,
        publish_delay: None,
        // The flow waits, with the delivery in its hands: each way back counts as a failed delivery there, and the limit
        // of the dead-letter policy would take away what is still being tried.
        retry_delay: None,
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: false,
        set_timestamp: false,
        partitions: false,
        create_topics: true,
        dedup: false,
        seek_group: false,
        address_group: false,
        native_replay: false,
        lag: false,
        read_creates: is_topic,
        max_event: Some(message::MAX_REQUEST as u64),
        max_headers: None,
    }
}

/// Made from its URL. Behaviour: no I/O.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let settings = Settings::of(location, &surroundings)?;
    Ok(Arc::new(PubSub { settings, link: OnceLock::new() }))
}

/// A project that was named.
struct PubSub {
    settings: Settings,
    /// Made by the first who needs it.
    link: OnceLock<Arc<Link>>,
}

impl PubSub {
    fn link(&self) -> Result<Arc<Link>> {
        if let Some(link) = self.link.get() {
            return Ok(link.clone());
        }
        let link = Arc::new(Link::open(&self.settings)?);
        Ok(self.link.get_or_init(|| link).clone())
    }
}

#[async_trait]
impl Broker for PubSub {
    fn capabilities(&self, topic: &str) -> Capabilities {
        capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        name::topic("create_topic", topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        check::check(&*self.link()?).await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        topics::topics(&*self.link()?, glob).await
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        topics::create(&*self.link()?, topic, options).await
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        topics::delete(&*self.link()?, topic).await
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        groups::groups(&*self.link()?, topics).await
    }

    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        groups::group(&*self.link()?, topic, group).await
    }

    async fn seek_group(&self, topic: &str, group: &str, _to: &Start) -> Result<()> {
        Err(groups::cannot_seek(topic, group))
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        groups::delete(&*self.link()?, topic, group).await
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        groups::create(&*self.link()?, source, from, dead_letters).await
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        publisher::open(self.link()?, options)
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        reader::open(self.link()?, options).await
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        subscription::open(self.link()?, source, options).await
    }
}

/// The client and its version, which it does not tell itself.
pub fn client() -> String {
    "tonic 0.14, google-cloud-auth 1, rustls on ring".into()
}
