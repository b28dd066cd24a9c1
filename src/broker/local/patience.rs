//! How long the lock of the file is waited for.
//!
//! A process that was stopped (Ctrl-Z) in the middle of a write holds it until it goes on. The thread that waits cannot
//! be called back; whoever waits for the thread is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::worker::stopped;
use crate::broker::{Error, Kind, Result};

/// The patience of one broker with those who hold the lock.
#[derive(Debug)]
pub struct Patience {
    path: PathBuf,
    /// `None`: for ever.
    limit: Option<Duration>,
    began: Instant,
    /// Threads of ours that wait. They do so in turn: while nobody lets go, all do.
    waiting: AtomicUsize,
    /// When one of them began with no other before it, or got the lock; milliseconds after `began`.
    since: AtomicU64,
}

impl Patience {
    /// With those who hold the lock of the file at `path`.
    pub fn new(path: &Path, limit: Option<Duration>) -> Patience {
        let (path, began) = (path.to_owned(), Instant::now());
        Patience { path, limit, began, waiting: AtomicUsize::new(0), since: AtomicU64::new(0) }
    }

    /// Notes that this thread waits while `wait` runs.
    pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
        // First when, then that: whoever looks in between must not see an old time.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.since.store(self.now(), Ordering::Relaxed);
        }
        self.waiting.fetch_add(1, Ordering::Release);
        let done = wait();
        self.since.store(self.now(), Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Release);
        done
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// For how long a thread of ours has waited.
    fn waited(&self) -> Duration {
        match self.waiting.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(self.now().saturating_sub(self.since.load(Ordering::Relaxed))),
        }
    }

    /// Whether a thread of ours has waited for too long.
    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.waited() >= limit)
    }

    /// Waits for the answer of a thread of ours, unless it waits for too long itself.
    pub async fn answer<T>(&self, operation: &'static str, mut answered: oneshot::Receiver<T>) -> Result<T> {
        let stopped = |_| stopped(operation);
        let Some(limit) = self.limit else { return answered.await.map_err(stopped) };
        loop {
            let rest = limit.saturating_sub(self.waited()).max(Duration::from_millis(1));
            match tokio::time::timeout(rest, &mut answered).await {
                Ok(answer) => return answer.map_err(stopped),
                Err(_) if self.is_over() => return Err(self.over(operation, limit)),
                // It works, or has not waited for so long yet.
                Err(_) => {}
            }
        }
    }

    fn over(&self, operation: &'static str, limit: Duration) -> Error {
        // What was asked for is still asked for, until the process ends.
        let kind = if matches!(operation, "send" | "settle") { Kind::InDoubt } else { Kind::Unreachable };
        let held = humantime::format_duration(limit);
        let message = format!(
            "another process has held the lock for {held}; it may have been stopped in the middle of a write"
        );
        Error::new(kind, operation, self.path.display().to_string(), message).with_hint(
            "a stopped one has a T in: ps -o pid,stat,args -C evcat; kill -CONT PID lets it go on\n\
             --timeout 0 waits for ever",
        )
    }
}
