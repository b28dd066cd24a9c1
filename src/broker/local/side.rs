//! The two files beside the database: a lock that is fair, a doorbell, and who is alive.
//!
//! `-gate` and `-bell` are both locked to write: the one who waits stands at the gate, so that whoever has just let go
//! must queue behind it. SQLite's own busy handler starves a waiter for a second and more under the same load.
//!
//! Eight bytes written into `-bell` after a commit wake everyone who watches it. (The -wal file would wake them before
//! the commit is visible.) Single bytes of it carry locks that die with their process: one says that somebody keeps the
//! log short, one per member says that it lives.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Result};

/// The byte whose lock says that a long-lived writer keeps the log short.
const KEEPER: i64 = 1 << 19;
/// The byte of member 0; ids count up from here.
const MEMBERS: i64 = 1 << 20;

/// The open files beside the database.
pub struct Side {
    gate: File,
    bell: File,
    bell_path: PathBuf,
}

/// The right to write; given up when dropped.
pub struct Locked<'a>(&'a File);

/// As long as this lives, so does the member, for everyone who asks [`Side::is_alive`].
#[derive(Debug)]
pub struct Life {
    /// The lock ends when this is closed.
    _lock: File,
}

impl Side {
    /// Opens or makes both files.
    pub fn open(database: &Path) -> Result<Side> {
        let bell_path = beside(database, "-bell");
        Ok(Side { gate: create(&beside(database, "-gate"))?, bell: create(&bell_path)?, bell_path })
    }

    /// Waits for the right to write, in turn.
    pub fn lock(&self) -> Result<Locked<'_>> {
        self.gate.lock()?;
        let locked = self.bell.lock();
        self.gate.unlock()?;
        locked?;
        Ok(Locked(&self.bell))
    }

    /// The right to write, if nobody has it or waits for it.
    pub fn try_lock(&self) -> Option<Locked<'_>> {
        self.gate.try_lock().ok()?;
        let locked = self.bell.try_lock();
        let unlocked = self.gate.unlock();
        locked.ok()?;
        let locked = Locked(&self.bell);
        unlocked.ok().map(|()| locked)
    }

    /// Waits for the right to make or migrate the file.
    pub fn lock_gate(&self) -> Result<Locked<'_>> {
        self.gate.lock()?;
        Ok(Locked(&self.gate))
    }

    /// Wakes everyone who watches.
    pub fn ring(&self) {
        // What is written says nothing; that something was written wakes. A full disk cannot stop it: the bytes are there.
        let _ = self.bell.write_all_at(&[1; 8], 0);
    }

    /// What to watch.
    pub fn bell_path(&self) -> &Path {
        &self.bell_path
    }

    /// Says, until this is dropped, that the log is kept short by us.
    pub fn keep(&self) -> Result<()> {
        ofd::share(&self.bell, KEEPER)
    }

    /// Whether somebody else said so.
    pub fn is_kept(&self) -> bool {
        ofd::is_held(&self.bell, KEEPER).unwrap_or(false)
    }

    /// Says that this member lives, until the answer is dropped or the process dies.
    pub fn live(&self, member: i64) -> Result<Life> {
        // A description of its own, so that the lock ends with it and not with the store.
        let file = create(&self.bell_path)?;
        ofd::hold(&file, MEMBERS + member)?;
        Ok(Life { _lock: file })
    }

    /// Whether that member lives. Where the system has no such locks everyone does until the lease ends.
    pub fn is_alive(&self, member: i64) -> bool {
        ofd::is_held(&self.bell, MEMBERS + member).unwrap_or(true)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Cannot fail for a lock that is held; and closing the file ends it too.
        let _ = self.0.unlock();
    }
}

fn create(path: &Path) -> Result<File> {
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(path);
    opened.map_err(|error| Fault::File(path.to_owned(), error))
}

/// The name of a file beside the database.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Locks on one byte that belong to the open file, not to the process: they hold between threads too.
#[cfg(target_os = "linux")]
mod ofd {
    use std::fs::File;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    use super::super::fault::Result;

    fn byte(kind: i32, at: i64) -> libc::flock {
        libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: at, l_len: 1, l_pid: 0 }
    }

    pub fn hold(file: &File, at: i64) -> Result<()> {
        fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_WRLCK, at)))?;
        Ok(())
    }

    pub fn share(file: &File, at: i64) -> Result<()> {
        fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_RDLCK, at)))?;
        Ok(())
    }

    /// `None`: nobody can tell.
    pub fn is_held(file: &File, at: i64) -> Option<bool> {
        let mut asked = byte(libc::F_WRLCK, at);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)).ok()?;
        Some(asked.l_type != libc::F_UNLCK as i16)
    }
}

#[cfg(not(target_os = "linux"))]
mod ofd {
    use std::fs::File;

    use super::super::fault::Result;

    pub fn hold(_: &File, _: i64) -> Result<()> {
        Ok(())
    }

    pub fn share(_: &File, _: i64) -> Result<()> {
        Ok(())
    }

    pub fn is_held(_: &File, _: i64) -> Option<bool> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_lives_as_long_as_its_life() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Side::open(&dir.path().join("f")).unwrap(), Side::open(&dir.path().join("f")).unwrap());
        let life = a.live(7).unwrap();
        assert!(a.is_alive(7) && b.is_alive(7), "for its own store and for others");
        if cfg!(target_os = "linux") {
            assert!(!b.is_alive(8));
            drop(life);
            assert!(!b.is_alive(7));
        }
    }

    #[test]
    fn a_keeper_is_seen_by_others_only() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Side::open(&dir.path().join("f")).unwrap(), Side::open(&dir.path().join("f")).unwrap());
        a.keep().unwrap();
        assert!(!a.is_kept());
        assert_eq!(b.is_kept(), cfg!(target_os = "linux"));
    }
}
