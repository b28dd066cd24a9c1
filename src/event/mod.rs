//! What an event is: a key, ordered headers, payload bytes or a tombstone, a timestamp, and where it lies.
//!
//! This room owns the value that every other room passes on, and both directions of its written forms: the canonical
//! JSON line (`line`) and length-prefixed frames (`frames`).

mod arena;
pub mod cloudevents;
pub mod frames;
mod headers;
mod identity;
pub(crate) mod json;
pub mod line;
pub mod own;
mod position;
pub mod time;
pub mod trace;

pub use arena::{Batch, Event, Events, Extra, Placed, Slice};
pub use headers::{HeaderValue, Headers, HeadersBuf};
pub use identity::identity;
pub use position::Position;

use std::sync::Arc;

/// The name of a topic, group or key space: cloned for every event, so it is one refcount.
pub type Name = Arc<str>;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;
