//! The file as memory, for who reads much of it: a copy less, and a system call less per page, make reading it all a tenth
//! faster. Who follows a topic never comes to it.
//!
//! SQLite maps the file, and what was read counts as this process's memory until it is unmapped, so that is done every few
//! MiB. The price of a mapping is that a disk which fails, and a file that somebody cuts off in the middle of a transaction
//! (SQLite looks at its size when one begins), are not an error of a call but a SIGBUS; then the process says so and ends,
//! as after any error of a read. Checkpoints of other processes do not cut off
//! what a reader may still read: they wait for it (<https://www.sqlite.org/wal.html#checkpointing>).

use std::ffi::c_int;
use std::path::Path;
use std::sync::OnceLock;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rusqlite::Connection;

use super::super::fault::Result;
use super::super::file::Store;

/// Bytes of events after which the file is mapped, and mapped anew.
const WINDOW: usize = 4 << 20;

/// SQLite's own limit; what lies behind it is read as ever.
const ALL: i64 = 0x7fff_0000;

/// What a SIGBUS says, made before there can be one.
static WORDS: OnceLock<String> = OnceLock::new();

/// How far a mapping has been used.
#[derive(Default)]
pub struct Map {
    read: usize,
    mapped: bool,
}

impl Map {
    /// So much more has been read. Requires: no transaction.
    pub fn has_read(&mut self, store: &Store, bytes: usize) -> Result<()> {
        self.read += bytes;
        if self.read < WINDOW {
            return Ok(());
        }
        self.read = 0;
        match std::mem::replace(&mut self.mapped, true) {
            true => limit(store.sql(), 0)?,
            false => speak(&store.place().path)?,
        }
        limit(store.sql(), ALL)
    }
}

fn limit(sql: &Connection, bytes: i64) -> Result<()> {
    Ok(sql.pragma_update_and_check(None, "mmap_size", bytes, |_| Ok(()))?)
}

/// From now on a SIGBUS is put into words.
fn speak(path: &Path) -> Result<()> {
    WORDS.get_or_init(|| {
        format!(
            "evcat: error: {} could not be read on: it was cut off while it was read, or its disk failed\n",
            path.display()
        )
    });
    let action = SigAction::new(SigHandler::Handler(say), SaFlags::empty(), SigSet::empty());
    // SAFETY: `say` does what a signal handler may: it reads a text that is there, writes it, and ends the process.
    unsafe { sigaction(Signal::SIGBUS, &action) }?;
    Ok(())
}

extern "C" fn say(_: c_int) {
    if let Some(words) = WORDS.get() {
        // SAFETY: the text lives as long as the process; write(2) and _exit(2) may be called in a handler.
        unsafe {
            libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len());
        }
    }
    // SAFETY: as above. 1 is "failed", as after any other error of a read.
    unsafe { libc::_exit(1) }
}
