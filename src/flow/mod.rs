//! What happens between a broker and a person: filters, pace, lanes, handlers, checkpoints.

pub mod checkpoint;
pub mod driver;
pub mod failures;
pub mod filter;
pub mod handler;
pub mod lanes;
pub mod merge;
pub mod outbox;
pub mod pacer;
pub mod schema;
pub mod sieve;
