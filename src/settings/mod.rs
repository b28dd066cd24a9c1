//! What a person may type or set, parsed: durations, points, brokers, profiles, secrets, the environment.
//!
//! Reject, never fall back: every parser says what it would have taken.

pub mod duration;
pub mod endpoint;
mod environment;
pub mod point;
pub mod profiles;
mod secret;

pub use environment::{Environment, environment};
pub use secret::Secret;
