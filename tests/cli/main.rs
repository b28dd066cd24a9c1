//! The program from outside, by command.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bad_input;
mod dlq;
mod letters_wrong;
mod lock;
mod order;
mod publish;
mod publish_wrong;
mod replay;
mod rig;
mod screens;
mod stranger;
mod subscribe;
mod subscribe_handler;
mod subscribe_wrong;
mod tail;
