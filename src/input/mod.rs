//! Bytes in, events to publish out.

pub mod schema;
