//! Working: deliveries to a member of a group, and how each is settled.

use async_trait::async_trait;
use std::time::Duration;

use super::{Receipt, Result, Stop, Token};
use crate::event::{Event, Name, Position};

/// A member at work. `&self` throughout: one `receive` waits while others settle and extend.
#[async_trait]
pub trait Subscription: Send + Sync {
    /// Behaviour: cancel safe; waits until there is something to say. Unsettled deliveries never exceed `in_flight`; at
    /// the bound it still waits, because a revocation is said here. Requires: one caller.
    async fn receive(&self) -> Result<Received>;

    /// What is revoked or lost, while nothing more is wanted: asked for instead of `receive`, by the same caller.
    /// Behaviour: cancel safe; what `receive` will say is kept for it. For ever where nothing is ever revoked, and
    /// when there is an error, which `receive` says.
    async fn taken(&self) -> Taken {
        std::future::pending().await
    }

    /// One answer per item, in order; a receipt for a [`Settlement::Move`]. Requires: each token once.
    ///
    /// Behaviour: `Ok` survives the death of this process. An item that somebody else has by now is [`Kind::Lost`](super::Kind::Lost)
    /// and changes nothing (a [`Settlement::Move`] that is not atomic may have stored its event).
    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>>;

    /// Still at it: called with every unsettled token each third of `lease`, whether or not `receive` is awaited. What
    /// turns out to be lost is said by `receive` and `settle`, nowhere else.
    async fn extend(&self, tokens: &[Token]) -> Result<()>;

    /// Gives back at once what is unsettled or released, and leaves the group.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// An event handed to a member.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event, at its original position.
    pub event: Event,
    /// What it is settled by.
    pub token: Token,
    /// 1 for the first. `None`: the broker does not count (Kafka, classic queues); the flow does, in memory.
    pub attempt: Option<u32>,
}

/// What [`Subscription::receive`] says.
#[derive(Debug)]
pub enum Received {
    /// At least one, in order per key.
    Deliveries(Vec<Delivery>),
    /// Still ours, for `grace`: drop what has not started, finish or kill the rest, settle every one. The backend lets
    /// go when all are settled, so that the next owner of a key does not begin while we are at it. Some may have been
    /// settled before this was read. Kafka rebalance.
    Revoking(Vec<Token>),
    /// No longer ours: kill the work, settle nothing. Lease over; AMQP channel closed (every tag of it is void). Where a
    /// key has an order, the later deliveries of the key that we hold are named too, and given up by the backend: they
    /// must not overtake the one that comes again.
    Lost(Vec<Token>),
    /// The last word: everything before the stop has been delivered, what was handed out is settled, and what was to be
    /// retried has come again. On queues that is as many events as were there at the beginning.
    End,
}

/// What [`Subscription::taken`] says.
#[derive(Debug)]
pub enum Taken {
    /// As [`Received::Revoking`].
    Revoking(Vec<Token>),
    /// As [`Received::Lost`].
    Lost(Vec<Token>),
}

/// The operation of a [`Kind::Lost`](super::Kind::Lost) that is no accident of one delivery: somebody else took over all
/// of it, nothing is delivered any more, and the error says who.
pub const TAKEN_OVER: &str = "take over";

/// The operation of a [`Kind::Lost`](super::Kind::Lost) of a [`Settlement::Move`] that is not atomic and has stored its
/// event: only its ack is missing, and the delivery comes again.
pub const STORED: &str = "ack";

/// How a delivery ends.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Done.
    Ack,
    /// Not before this. Requires `retry_delay` at least as long, even for no delay at all, and with it every later delivery of its key that was
    /// handed out (else two members hold the key). Where order counts, or the broker has no delay, the flow waits
    /// instead: it must hold back the key's later events anyway.
    Retry(Duration),
    /// As if never delivered, and not delivered to this subscription again, unless its partition was revoked and came
    /// back. Others may have it at once, or only after [`Subscription::close`] (Kafka, SQS, RabbitMQ); where the broker
    /// counts by itself (SQS) it counts as an attempt all the same. Requires the same of its key as `Retry`.
    Release,
    /// Store this event on the same broker and ack, as one step: dead-lettering, putting back, parking. Atomic where
    /// `atomic_move` says so, else confirm, then ack: a crash between them makes a duplicate, never a loss. The error's
    /// `operation` says which half failed: only `send` may be tried again.
    Move {
        /// The event as it is to be stored; its topic says where.
        event: Box<Event>,
        /// For that group of the topic alone. Requires `address_group`.
        only: Option<Name>,
    },
}

/// What to work on.
#[derive(Clone, Debug)]
pub enum Source {
    /// A group over topics.
    Group {
        /// Exact names.
        topics: Vec<Name>,
        /// The group.
        group: Name,
    },
    /// An existing queue or subscription as it is: `queue:x`, `subscription:x`.
    Queue(Name),
    /// Dead letters less those that are settled already. On queues the same as `Queue`.
    DeadLetters {
        /// The dead-letter topic.
        dlq: Name,
        /// The plan's positions on local and Kafka, `None` on queues.
        chosen: Option<Vec<Position>>,
    },
}

/// How to work.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// Where to end.
    pub stop: Stop,
    /// Prefetch: the most deliveries unsettled at a time.
    pub in_flight: usize,
    /// For how long a delivery is ours without [`Subscription::extend`]. RabbitMQ: ours as long as the channel is open.
    pub lease: Duration,
    /// For how long it stays ours after [`Received::Revoking`].
    pub grace: Duration,
    /// Whether events of one key go to one member at a time (`--ordering none` gives that up). Where the broker keeps
    /// them in order anyway (partitions, FIFO queues) this changes nothing.
    pub ordered: bool,
}
