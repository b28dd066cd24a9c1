//! Who moves the log into the file, and when.
//!
//! SQLite's own checkpoints run inside the lock and are off. Whoever writes for long keeps the log short and says so; a
//! one-shot does it only where nobody else does, because it would pay for what a bulk publisher wrote.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::file::{Place, Store};

/// Whoever opens the file first reads the log, 9 us a page, and to move and cut it costs 0.6 ms: in the mean over many
/// one-shots a log of twelve pages is the cheapest.
pub const ONE_SHOT: u64 = 192 << 10;

/// A mover is asked to begin each time the log grew by so much.
const STRIDE: u64 = 8 << 20;

/// Keeps the log of one store short.
pub struct Keeper {
    limit: u64,
    keeps: bool,
    mover: Option<Mover>,
    /// Bytes in the log when the mover was last asked.
    asked: u64,
}

/// Moves the log into the file on a thread and a connection of its own, while the writer goes on: half of what a bulk
/// publisher writes it would otherwise write after the rest.
struct Mover {
    ask: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Mover {
    fn start(place: &Arc<Place>) -> Option<Mover> {
        let place = place.clone();
        let (ask, asked) = sync_channel(0);
        let body = move || {
            let Ok(store) = Store::open(&place, "checkpoint") else { return };
            for () in asked {
                // What is not moved now is moved by the keeper itself, which tells.
                let _ = store.move_log();
            }
        };
        let thread = std::thread::Builder::new().name("evcat-mover".into()).spawn(body).ok()?;
        Some(Mover { ask, thread })
    }
}

impl Keeper {
    /// A writer that moves the log once it has `limit` bytes, if it turns out to live long.
    pub fn new(limit: u64) -> Keeper {
        Keeper { limit, keeps: false, mover: None, asked: 0 }
    }

    /// The same with a thread that does the long half meanwhile, once it is known that this writer lives long.
    pub fn keep_beside(&mut self, store: &Store) {
        self.keep(store);
        self.mover = Mover::start(store.place());
    }

    /// Says that this writer lives long.
    pub fn keep(&mut self, store: &Store) {
        if !self.keeps {
            // Without the lock others keep the log short as well: slower, not wrong.
            self.keeps = store.side().keep().is_ok();
        }
    }

    /// After a commit. A checkpoint that fails (a reader is at it, the disk is full) is tried again after the next.
    pub fn committed(&mut self, store: &Store) {
        let log = store.log_bytes();
        if self.keeps && log > self.limit {
            let _ = store.checkpoint(false);
            self.asked = 0;
        } else if let Some(mover) = &self.mover
            && log.saturating_sub(self.asked) > STRIDE
            // Not while it is still at it: what came since is for the next time.
            && mover.ask.try_send(()).is_ok()
        {
            self.asked = log;
        }
    }

    /// Whether [`end`](Keeper::end) would find nothing to do now.
    pub fn is_content(&self, store: &Store) -> bool {
        !self.keeps && store.log_bytes() <= ONE_SHOT
    }

    /// Before the store is closed.
    pub fn end(&mut self, store: &Store) {
        if let Some(Mover { ask, thread }) = self.mover.take() {
            drop(ask);
            // Two cannot move the log at once: ours would find it busy and leave it long.
            let _ = thread.join();
        }
        let much = if self.keeps { 0 } else { ONE_SHOT };
        if store.log_bytes() > much && !store.side().is_kept() {
            let _ = store.checkpoint(true);
        }
    }
}
