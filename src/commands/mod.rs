//! One file per command: its arguments, its help, and what it does.
//!
//! Parsing touches nothing; resolving validates everything; running trusts its input.

pub mod completions;
pub mod dlq;
pub mod groups;
pub mod help;
mod look;
pub mod names;
pub mod profiles;
pub mod publish;
pub mod replay;
pub mod subscribe;
pub mod tail;
pub mod topics;
