//! What a subscription works on, seen from its thread: a group over topics, or dead letters.

use rusqlite::Connection;

use super::fault::Result;
use super::file::Store;
use super::loot::{Loot, Slot};
use crate::event::Millis;

/// Everything runs inside a transaction of the caller, on the store that `sql` belongs to.
pub trait Work: Send {
    /// Whether a [`claim`](Work::claim) would find something, or something else to say. Changes nothing and takes no lock:
    /// most rings of the bell are about other topics.
    fn is_due(&mut self, store: &Store, sql: &Connection) -> Result<bool>;

    /// Renews the lease, where `must` is not set only if a good part of it is over. Answers the topics for which it had
    /// run out: what was handed out of them is not ours any more, and we have joined again as a new member.
    fn keep(&mut self, store: &Store, sql: &Connection, must: bool) -> Result<Vec<usize>>;

    /// Takes up to `want` events (1 or more).
    fn claim(&mut self, store: &Store, sql: &Connection, want: usize, loot: &mut Loot) -> Result<Claimed>;

    /// Acks. False: somebody else has it by now.
    fn finish(&mut self, sql: &Connection, slot: Slot) -> Result<bool>;

    /// Gives back, not to be handed out before `due`. False: somebody else has it by now.
    fn retry(&mut self, sql: &Connection, slot: Slot, due: Millis) -> Result<bool>;

    /// Gives back as if never handed out, and not to us again. False: somebody else has it by now.
    fn release(&mut self, sql: &Connection, slot: Slot) -> Result<bool>;

    /// Gives everything back and leaves. `untried`: handed out and never looked at.
    fn leave(&mut self, store: &Store, sql: &Connection, untried: &[Slot]) -> Result<()>;
}

/// What a claim found besides events.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The earliest time at which there may be more.
    pub due: Option<Millis>,
    /// Nothing before the stop will come any more, apart from what is handed out.
    pub exhausted: bool,
}
