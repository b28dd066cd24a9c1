//! RabbitMQ, by AMQP 0.9.1.
//!
//! A topic is an exchange, a group of it the queue `TOPIC.GROUP` bound to it; a place for dead letters is both, an
//! exchange and a queue of its name. `link` is a connection, `message` both directions of an event, `error` what goes
//! wrong, in words. On these stand the publisher (`flights`), the reader, the subscription (`desk`), topics and groups;
//! what AMQP cannot list, `management` asks of RabbitMQ's own API.
//!
//! The client works on a thread of its own per connection; nothing here blocks.

mod check;
mod desk;
mod error;
mod flights;
mod groups;
mod headers;
mod link;
mod management;
mod message;
mod name;
mod options;
mod publisher;
mod queues;
mod reader;
mod settings;
mod subscription;
mod table;
mod topics;
mod work;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Broker, Capabilities, GroupInfo, Location, Order, PublishOptions, Publisher, ReadOptions, Reader, Result,
    Source, Start, SubscribeOptions, Subscription, Surroundings, TopicInfo,
};
use error::About;
use link::{Link, Patience};
use name::Place;
use settings::Settings;

pub use options::OPTIONS;

/// The largest message that RabbitMQ 4 takes unless it is told otherwise.
const MAX_EVENT: usize = 16 << 20;

/// What it can do: an exchange keeps nothing, a queue cannot be looked at, a stream can be read.
pub fn capabilities(topic: &str) -> Capabilities {
    let place = Place::of(topic);
    let stream = matches!(place, Place::Stream(_));
    let exchange = matches!(place, Place::Exchange(_));
    Capabilities {
        read_history: stream,
        read_by_time: stream,
        read_by_position: stream,
        read_last: stream,
        peek: stream || exchange,
        order: if stream { Order::None } else { Order::OneMember },
        // A queue counts each way back, also of what only lay in a member's window and was never tried.
        counts_attempts: false,
        // Confirmed, then acked: its transactions cover one queue at most.
        atomic_move: false,
        atomic_replay: false,
        publish_delay: None,
        // The flow waits, with the delivery in its hands: each way back through the queue counts as a failed delivery
        // there, and the queue's limit would take away what is still being tried.
        retry_delay: None,
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: false,
        set_timestamp: true,
        partitions: false,
        create_topics: true,
        dedup: false,
        seek_group: false,
        address_group: exchange,
        native_replay: false,
        lag: exchange,
        read_creates: exchange,
        max_event: Some(MAX_EVENT as u64),
        max_headers: None,
    }
}

/// Made from its URL. Behaviour: no I/O.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let settings = Settings::of(location, &surroundings)?;
    Ok(Arc::new(RabbitMq { settings, admin: tokio::sync::Mutex::new(None) }))
}

/// A server that was named.
struct RabbitMq {
    settings: Settings,
    /// Made by the first question, and again when it was lost.
    admin: tokio::sync::Mutex<Option<Arc<Link>>>,
}

impl RabbitMq {
    /// The connection that asks what is no one else's to ask.
    async fn admin(&self, about: &About) -> Result<Arc<Link>> {
        let mut admin = self.admin.lock().await;
        if let Some(link) = admin.as_ref().filter(|link| link.is_up()) {
            return Ok(link.clone());
        }
        let link = Arc::new(Link::open(&self.settings, about, Patience::now(&self.settings)).await?);
        *admin = Some(link.clone());
        Ok(link)
    }
}

#[async_trait]
impl Broker for RabbitMq {
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

    async fn seek_group(&self, topic: &str, group: &str, _to: &Start) -> Result<()> {
        Err(groups::cannot_seek(topic, group))
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
        publisher::open(&self.settings, options)
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        reader::open(&self.settings, options).await
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        subscription::open(&self.settings, source, options).await
    }
}

/// The client and its version, which it does not tell itself.
pub fn client() -> String {
    "lapin 4, rustls on ring".into()
}
