//! Publishing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::Result;
use crate::event::{Events, Position};

/// One answer per event, in the order given.
pub type Receipts = Pin<Box<dyn Future<Output = Vec<Result<Receipt>>> + Send>>;

/// The broker has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Where it was stored; of a duplicate, where the first one lies.
    pub position: Position,
    /// Known already by its id, not stored again.
    pub duplicate: bool,
}

/// Sends events to any topic of its broker.
pub trait Publisher: Send + Sync {
    /// Takes the batch **in the call**, so that call order is send order; the future is ready when the broker has
    /// acknowledged or finally refused every event. Any number may be outstanding.
    ///
    /// Requires: not empty; at most `in_flight` events unconfirmed over all calls (the caller counts, so a backend
    /// needs no back pressure of its own).
    ///
    /// Behaviour: leaves at once, no linger: a batch is what the input had ready. Events of one key keep their order,
    /// over retries too. Dropping the future does not unsend. An event without a timestamp gets the broker's clock.
    fn send(&self, events: Events) -> Receipts;

    /// So many unconfirmed events keep it busy: more only take memory, and what lies in it out of the processor's reach.
    fn enough(&self) -> usize {
        usize::MAX
    }
}

/// How to publish.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The most events unconfirmed at a time; with 1 `send` may do its work in the call, if that is short.
    pub in_flight: usize,
    /// The broker's name of a compression.
    pub compression: Option<String>,
    /// Hold each event back so long. Requires `publish_delay` as long.
    pub delay: Option<Duration>,
}

impl Default for PublishOptions {
    fn default() -> PublishOptions {
        PublishOptions { in_flight: 50_000, compression: None, delay: None }
    }
}
