//! Who moves the log into the file, and when.
//!
//! SQLite's own checkpoints run inside the lock and are off. Whoever writes for long keeps the log short and says so; a
//! one-shot does it only where nobody else does, because it would pay for what a bulk publisher wrote.

use super::file::Store;

/// A log of this size is what the next process that opens the file reads in half a millisecond.
const ONE_SHOT: u64 = 512 << 10;

/// Keeps the log of one store short.
pub struct Keeper {
    limit: u64,
    keeps: bool,
}

impl Keeper {
    /// A writer that moves the log once it has `limit` bytes, if it turns out to live long.
    pub fn new(limit: u64) -> Keeper {
        Keeper { limit, keeps: false }
    }

    /// Says that this writer lives long.
    pub fn keep(&mut self, store: &Store) {
        if !self.keeps {
            // Without the lock others keep the log short as well: slower, not wrong.
            self.keeps = store.side().keep().is_ok();
        }
    }

    /// After a commit. A checkpoint that fails (a reader is at it, the disk is full) is tried again after the next.
    pub fn committed(&self, store: &Store) {
        if self.keeps && store.log_bytes() > self.limit {
            let _ = store.checkpoint(false);
        }
    }

    /// Before the store is closed.
    pub fn end(&self, store: &Store) {
        let much = if self.keeps { 0 } else { ONE_SHOT };
        if store.log_bytes() > much && !store.side().is_kept() {
            let _ = store.checkpoint(true);
        }
    }
}
