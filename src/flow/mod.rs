//! What happens between a broker and a person: filters, pace, lanes, handlers, checkpoints.

pub mod outbox;
pub mod pacer;
