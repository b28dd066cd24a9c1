//! AWS: topics of SNS, queues of SQS, through the official SDK.
//!
//! A topic is an SNS topic, a group of it the queue `TOPIC-GROUP` that is subscribed to it in the raw form, and the dead
//! letters of a group, `TOPIC.GROUP.dlq`, are the queue `TOPIC-GROUP-dlq` (`name` has the rule). `client` is the two
//! services, `message` and `attributes` are both directions of an event, `error` is what goes wrong, in words. On these
//! stand the publisher (`flights`, `send`), the reader of a tail, the subscription (`desk`, `work`, `settle`), topics,
//! groups, and `redrive`: dead letters that SQS itself puts back.
//!
//! The environment is asked in one place, which is the SDK: who we are at AWS is found by its credential chain, and that
//! reads variables, files and the metadata of the machine. Nothing of it happens before the first request.

mod attributes;
mod check;
mod client;
mod desk;
mod error;
mod flights;
mod groups;
mod message;
mod name;
mod options;
mod publisher;
mod queues;
mod reader;
mod receive;
mod redrive;
mod send;
mod settings;
mod settle;
mod subscription;
mod topics;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Broker, Capabilities, GroupInfo, Location, NativeReplay, NativeWish, Order, PublishOptions, Publisher,
    ReadOptions, Reader, Result, Source, Start, SubscribeOptions, Subscription, Surroundings, TopicInfo,
};
use client::Client;
use name::Place;
use settings::Settings;

pub use options::OPTIONS;

/// What SNS and SQS take of one message, its attributes included.
const TOPIC_LIMIT: usize = 256 << 10;
const QUEUE_LIMIT: usize = 1 << 20;
/// Room for what may have to be said of any payload.
const BESIDE: usize = 144;
/// The longest that a queue holds an event back when it is published, and when it is given back.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
const MAX_RETRY: Duration = Duration::from_secs(12 * 60 * 60);

/// What a message of this place may weigh.
fn limit(place: &Place) -> usize {
    if matches!(place, Place::Topic(_)) { TOPIC_LIMIT } else { QUEUE_LIMIT }
}

/// The largest payload, whatever its bytes.
fn max_event(place: &Place) -> usize {
    limit(place) - BESIDE
}

/// What it can do: a topic keeps nothing, a queue cannot be looked at, and a FIFO name keeps the order of a key.
pub fn capabilities(topic: &str) -> Capabilities {
    let place = Place::of(topic);
    let is_topic = matches!(place, Place::Topic(_));
    let fifo = place.is_fifo();
    Capabilities {
        read_history: false,
        read_by_time: false,
        read_by_position: false,
        read_last: false,
        peek: is_topic,
        order: if fifo { Order::AnyMembers } else { Order::None },
        counts_attempts: true,
        // Confirmed, then deleted: nothing covers two queues.
        atomic_move: false,
        atomic_replay: false,
        publish_delay: (!is_topic && !fifo).then_some(MAX_DELAY),
        retry_delay: Some(MAX_RETRY),
        key: true,
        headers: true,
        duplicate_headers: true,
        null_headers: true,
        tombstone: true,
        set_timestamp: true,
        partitions: false,
        create_topics: true,
        // A FIFO place knows an id again for five minutes, always, and cannot be told otherwise.
        dedup: false,
        seek_group: false,
        address_group: is_topic,
        native_replay: true,
        lag: is_topic,
        read_creates: is_topic,
        max_event: Some(max_event(&place) as u64),
        max_headers: None,
    }
}

/// Made from its URL. Behaviour: no I/O.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let settings = Settings::of(location, &surroundings)?;
    Ok(Arc::new(Aws { client: Arc::new(Client::new(settings)) }))
}

/// A region of an account.
struct Aws {
    client: Arc<Client>,
}

#[async_trait]
impl Broker for Aws {
    fn capabilities(&self, topic: &str) -> Capabilities {
        capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        name::topic("create_topic", topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        check::check(&self.client).await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        topics::topics(&self.client, glob).await
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        topics::create(&self.client, topic, options).await
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        topics::delete(&self.client, topic).await
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        groups::groups(&self.client, topics).await
    }

    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        groups::group(&self.client, topic, group).await
    }

    async fn seek_group(&self, topic: &str, group: &str, _to: &Start) -> Result<()> {
        Err(groups::cannot_seek(topic, group))
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        groups::delete(&self.client, topic, group).await
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        groups::create(&self.client, source, from, dead_letters).await
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        publisher::open(&self.client, options)
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        reader::open(&self.client, options).await
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        subscription::open(&self.client, source, options).await
    }

    async fn native_replay(&self, dlq: &str, wish: NativeWish) -> Result<Box<dyn NativeReplay>> {
        redrive::open(&self.client, dlq, wish).await
    }
}

/// The client and its version, which it does not tell itself.
pub fn client() -> String {
    "aws-sdk-sns 1, aws-sdk-sqs 1, rustls on ring".into()
}
