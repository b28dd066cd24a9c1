//! Whose dead letters can be read: one file per ecosystem, tried in this order.
//!
//! A new one is a file beside `own` with its `DECODER`, and a row in [`DECODERS`].

mod own;
mod pubsub;
mod rabbitmq;
mod sqs;

use super::Origin;
use crate::event::{Event, Millis};

/// One ecosystem's way of saying why an event died.
#[derive(Debug)]
pub struct Decoder {
    /// As the column READ AS names it.
    pub name: &'static str,
    /// What this dead letter says, or `None` where it bears no mark of this ecosystem. Pure.
    pub decode: fn(&Event) -> Option<Facts>,
    /// Whether a header of this name belongs to the record and not to the event: such are taken off a copy that goes
    /// back.
    pub owns: fn(&[u8]) -> bool,
}

/// What a decoder found; whatever is not said is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `exit`, `signal`, `timeout`, `dead`, `filter`, ...: a word, in the ecosystem's own terms.
    pub kind: Option<String>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// Where it was published before.
    pub origin: Origin,
    /// The group that gave it up.
    pub group: Option<String>,
    /// Tries made, the first included.
    pub attempts: Option<u32>,
    /// What failed on it.
    pub handler: Option<String>,
    /// When it was given up.
    pub failed_at: Option<Millis>,
}

/// Every ecosystem that can be read. The first that answers wins.
pub const DECODERS: &[Decoder] = &[own::DECODER, rabbitmq::DECODER, sqs::DECODER, pubsub::DECODER];

/// Whether a header of this name belongs to some ecosystem's failure record.
pub fn is_record_header(name: &[u8]) -> bool {
    DECODERS.iter().any(|decoder| (decoder.owns)(name))
}

/// Whether a header of this name is part of the record that evcat itself writes.
pub fn is_own(name: &[u8]) -> bool {
    (own::DECODER.owns)(name)
}
