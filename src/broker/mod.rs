//! The line between evcat and a broker: four traits, typed errors, and plain facts about what a broker can do.
//!
//! A backend knows this room and `event`, and nothing else: no printing, no flags, no retry policy. Five rules hold for
//! every method, so they are written once:
//!
//! * **Nothing blocks.** Every future runs on one `current_thread` runtime. A client that blocks does so on a thread of
//!   its own, behind a bounded channel of batches.
//! * **Dropping a future loses nothing.** `next` and `receive` are awaited in `select!` beside signals and timers, so
//!   they are dropped all the time. What the broker handed over stays in `self` for the next call.
//! * **Errors are final.** The client has already retried what it can, for at most the configured timeout.
//! * **Opening does no I/O.** A [`Broker`] is made from a parsed URL; the first call that needs the server connects.
//! * **No clock, randomness or environment of its own.** They are handed over in [`Surroundings`].

mod capability;
mod error;
mod facts;
mod native;
mod publisher;
mod reader;
mod registry;
mod subscription;
mod token;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "pubsub")]
pub mod pubsub;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;

pub use capability::{Ability, Capabilities, Order, abilities, missing};
pub use error::{Detail, Error, Kind, Result};
pub use facts::{Count, GroupInfo, TopicInfo};
pub use native::{NativePlan, NativeProgress, NativeReplay, NativeState, NativeWish};
pub use publisher::{PublishOptions, Publisher, Receipt, Receipts};
pub use reader::{Read, ReadOptions, Reader, Start, Stop};
pub use registry::{BACKENDS, Backend, Location, backend_of, nearest, open, percent_decoded};
pub use subscription::{
    Delivery, Received, STORED, Settlement, Source, SubscribeOptions, Subscription, TAKEN_OVER, Taken,
};
pub use token::{ByToken, Mixed, Token};

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Millis;

/// What a backend may not take from the machine by itself, handed over when it is made; tests fix it.
#[derive(Clone)]
pub struct Surroundings {
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// The longest time without the broker, at the start or midway; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// `-X KEY=VALUE` and the profile's options, in order. An unknown key is refused by [`open`].
    pub options: Vec<(String, String)>,
    /// Where `local:` without a path lives.
    pub data_dir: std::path::PathBuf,
}

/// A broker that was named, and perhaps not yet reached.
#[async_trait]
pub trait Broker: Send + Sync {
    /// What can be asked of this topic.
    ///
    /// Behaviour: pure, a function of the shape of the name, because `queue:x`, `stream:x` and `x.fifo` differ. What
    /// hangs on the server's version the call itself refuses with [`Kind::Unsupported`].
    fn capabilities(&self, topic: &str) -> Capabilities;

    /// Refuses a name that no new topic can have: [`Kind::Invalid`]. No I/O.
    fn legal(&self, topic: &str) -> Result<()>;

    /// Reaches the broker, logs in, and says what it found: server, version, rights.
    async fn check(&self) -> Result<Vec<(String, String)>>;

    /// The topics a glob matches, by name, with what is known without reading them.
    ///
    /// Behaviour: no match is an empty list, not an error.
    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>>;

    /// Makes a topic. Behaviour: one that exists already is [`Kind::Rejected`]; an unknown option key too.
    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()>;

    /// Deletes a topic, its events and its groups. Behaviour: [`Kind::NotFound`] where there is none.
    async fn delete_topic(&self, topic: &str) -> Result<()>;

    /// The groups of the topics a glob matches. Behaviour: [`Kind::Unsupported`] where this broker cannot list them.
    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>>;

    /// This group on this topic, if it is there; since when its oldest event waits may be left out. Behaviour: answers also
    /// where groups cannot be listed (RabbitMQ by AMQP alone: a queue is found by its name). A broker where others cost a
    /// look, or may not be looked at, has a way of its own.
    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        let all = self.groups(&globset::escape(topic)).await?;
        Ok(all.into_iter().find(|known| known.group == group && known.topic == topic))
    }

    /// Moves a group to another place. Requires `seek_group`. Behaviour: [`Kind::Rejected`] while members are at work.
    async fn seek_group(&self, topic: &str, group: &str, to: &Start) -> Result<()>;

    /// Deletes a group. Behaviour: [`Kind::NotFound`] where there is none; [`Kind::Rejected`] while members are at work,
    /// where the broker knows its members ([`GroupInfo::members`]), else their next `receive` is [`Kind::NotFound`].
    async fn delete_group(&self, topic: &str, group: &str) -> Result<()>;

    /// Makes what is missing of the group and its dead-letter topic, and answers what it made, for the caller to print.
    ///
    /// Behaviour: a group that exists stays where it is, whatever `from` says. A `from` that this broker cannot begin at
    /// is [`Kind::Unsupported`]: without `read_history` a group begins at [`Start::Latest`] alone, because what was
    /// published before it went nowhere. A `queue:x` has no groups. The dead-letter topic of queues is a queue.
    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>>;

    /// One publisher serves every topic: the topic travels with the event.
    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>>;

    /// Looks at history. Behaviour: the stop is turned into fixed positions before this returns.
    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>>;

    /// Works. Requires: the group exists. Dead letters are worked on through this too: on SQS, RabbitMQ and Pub/Sub a
    /// lease is the only way to see a message at all, so a reader cannot feed `dlq replay`.
    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>>;

    /// The broker's own way to put back all of a queue of dead letters. Requires `native_replay`. Behaviour: looks and changes
    /// nothing yet; [`Kind::Unsupported`] where the broker would not do it for this queue.
    async fn native_replay(&self, dlq: &str, _wish: NativeWish) -> Result<Box<dyn NativeReplay>> {
        let message = "this broker has no way of its own to put dead letters back";
        Err(Error::new(Kind::Unsupported, "native_replay", format!("topic {dlq}"), message))
    }
}
