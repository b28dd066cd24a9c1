//! Waiting for the doorbell, or for somebody of this process to knock.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often a thread looks where the system cannot tell it of the bell.
const BLIND: Duration = Duration::from_millis(10);

/// Wakes one [`Watch`] of this process.
#[derive(Clone)]
pub struct Knocker {
    pipe: Arc<PipeWriter>,
    knocked: Arc<AtomicBool>,
}

impl Knocker {
    /// Ends the wait that is going on, or the next one. Never blocks.
    pub fn knock(&self) {
        // One byte at most lies in the pipe, so it cannot fill up.
        if !self.knocked.swap(true, Ordering::AcqRel) {
            let _ = (&*self.pipe).write(&[1]);
        }
    }
}

/// Watches the bell for one thread. What rang since it was made, or since the last wait, ends the next wait at once: look
/// first, then wait, and nothing is missed.
pub struct Watch {
    /// `None`: a knock alone ends a wait.
    bell: Option<bell::Bell>,
    pipe: PipeReader,
    knocked: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch this bell.
    pub fn new(bell: &Path) -> std::io::Result<(Watch, Knocker)> {
        Watch::over(Some(bell::Bell::new(bell)))
    }

    /// Watches no bell, for who has nothing to learn from it. An inotify instance costs 10 ms when the process ends: the
    /// kernel waits until nobody can be looking at its marks.
    pub fn knocks() -> std::io::Result<(Watch, Knocker)> {
        Watch::over(None)
    }

    fn over(bell: Option<bell::Bell>) -> std::io::Result<(Watch, Knocker)> {
        let (reader, writer) = std::io::pipe()?;
        let knocked = Arc::new(AtomicBool::new(false));
        let knocker = Knocker { pipe: Arc::new(writer), knocked: knocked.clone() };
        Ok((Watch { bell, pipe: reader, knocked }, knocker))
    }

    /// Waits for the bell, a knock, or until `timeout` is over (`None`: however long it takes). It may end early.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = match &self.bell {
            Some(bell) if bell.as_fd().is_none() => Some(timeout.unwrap_or(BLIND).min(BLIND)),
            _ => timeout,
        };
        // Rounded up: a wait that ends just before a point in time would spin until it.
        let timeout = timeout.map_or(PollTimeout::NONE, |t| {
            PollTimeout::try_from(t + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            self.bell.as_ref().and_then(bell::Bell::as_fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        // Interrupted by a signal is as good as woken.
        let woken = poll(&mut fds, timeout).unwrap_or(0) > 0;
        let knocked = fds[0].any() == Some(true);
        if woken && let Some(bell) = &mut self.bell {
            bell.clear();
        }
        if knocked {
            let _ = self.pipe.read(&mut [0; 1]);
            self.knocked.store(false, Ordering::Release);
        }
    }
}

#[cfg(target_os = "linux")]
mod bell {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::path::Path;

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    /// `None` where the user's inotify instances are used up.
    pub struct Bell(Option<Inotify>);

    impl Bell {
        pub fn new(path: &Path) -> Bell {
            let watch = || {
                // The second is rung by deleting it.
                let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
                inotify.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB)?;
                nix::Result::Ok(inotify)
            };
            Bell(watch().ok())
        }

        pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            self.0.as_ref().map(|inotify| inotify.as_fd())
        }

        /// Takes what has rung.
        pub fn clear(&mut self) {
            while self.0.as_ref().is_some_and(|inotify| inotify.read_events().is_ok()) {}
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod bell {
    use std::os::fd::BorrowedFd;
    use std::path::Path;

    pub struct Bell;

    impl Bell {
        pub fn new(_: &Path) -> Bell {
            Bell
        }

        pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        pub fn clear(&mut self) {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::broker::local::side::Side;

    #[test]
    fn bell_and_knock_end_a_wait_and_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let side = Side::open(&dir.path().join("f")).unwrap();
        let (mut watch, knocker) = Watch::new(side.bell_path()).unwrap();
        let minute = Some(Duration::from_secs(60));
        let start = Instant::now();
        side.ring();
        watch.wait(minute);
        knocker.knock();
        knocker.knock();
        watch.wait(minute);
        std::thread::scope(|scope| {
            scope.spawn(|| side.ring());
            watch.wait(minute);
        });
        assert!(start.elapsed() < Duration::from_secs(50));
        watch.wait(Some(Duration::from_millis(1)));
    }
}
