//! The program from outside, by command.
#![allow(clippy::unwrap_used)]

mod dlq;
mod publish;
mod publish_wrong;
mod rig;
