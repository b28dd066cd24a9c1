//! evcat publishes, subscribes, tails, replays and repairs dead letters on any message broker.
//!
//! The rooms, and the one direction in which they depend on each other:
//! `commands` -> {`input`, `flow`, `output`, `deadletter`, `query`} -> `event`; `flow` -> `deadletter` (it builds the
//! record) and the traits of `broker`; a backend knows `event` and the traits only.

pub mod broker;
pub mod cli;
pub mod commands;
pub mod deadletter;
pub mod event;
pub mod flow;
pub mod input;
#[cfg(all(feature = "kafka", target_os = "linux", target_env = "gnu"))]
mod memory;
pub mod outcome;
pub mod output;
pub mod query;
pub mod run;
pub mod session;
pub mod settings;
pub mod shutdown;
pub mod usage;
