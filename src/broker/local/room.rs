//! The log's place in its directory, and room at its end, both made before they are needed.
//!
//! A publish of one event waits for one sync, so what that sync has to do is its time. A write that makes a file longer
//! costs more of it: 386 us against 174 us for a page (ext4, the median of 100). So the log of a file that is written by
//! one-shots is kept a little longer than what they write. And whoever opens the log syncs its directory at his first
//! commit, another 60 us, although it was made long ago: here that is done once, by the first who writes.

use std::ffi::{CStr, c_char, c_int};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::ffi;

use super::checkpoint::ONE_SHOT;
use super::schema::PAGE;

/// What one-shots let the log grow to, and one more transaction.
const ROOM: u64 = ONE_SHOT + 4 * PAGE;

/// Fills the log up with zeros, which no frame begins with: whoever reads it takes them for its end. Before its first
/// byte its name is made to last, so that a log with anything in it has one.
///
/// Requires the right to write in SQLite itself, so that nobody else makes the log longer meanwhile. Room that cannot be
/// had (the disk is full) is not needed: the log then grows as it is written.
pub fn make(log: &Path) -> std::io::Result<()> {
    let file = match File::options().write(true).open(log) {
        // Not one that lies beside the file: a test's.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let len = file.metadata()?.len();
    if len == 0 {
        let parent = log.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    if len < ROOM {
        let _ = file.write_all_at(&vec![0; (ROOM - len) as usize], len);
    }
    Ok(())
}

type OpenDirectory = unsafe extern "C" fn(*const c_char, *mut c_int) -> c_int;

/// SQLite's own.
static OPEN_DIRECTORY: OnceLock<OpenDirectory> = OnceLock::new();

/// Has SQLite leave the directory of a log to [`make`], in this process. Its [own way] to replace a system call.
///
/// [own way]: https://www.sqlite.org/c3ref/vfs.html
pub fn leave_the_directory_to_us() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        const CALL: &CStr = c"openDirectory";
        // SAFETY: the pointers come from SQLite and live as long as the process. What is called `openDirectory` has this
        // type (`aSyscall` of os_unix.c), and ours answers like it. No connection of ours is open yet.
        unsafe {
            let Some(vfs) = ffi::sqlite3_vfs_find(c"unix".as_ptr()).as_mut() else { return };
            let (Some(get), Some(set)) = (vfs.xGetSystemCall, vfs.xSetSystemCall) else { return };
            let Some(own) = get(vfs, CALL.as_ptr()) else { return };
            let own = std::mem::transmute::<unsafe extern "C" fn(), OpenDirectory>(own);
            let _ = OPEN_DIRECTORY.set(own);
            let ours = std::mem::transmute::<OpenDirectory, unsafe extern "C" fn()>(open_directory);
            let _ = set(vfs, CALL.as_ptr(), Some(ours));
        }
    });
}

/// The directory that a file lies in, to be synced; of a log: none, which SQLite takes for one that cannot be synced.
unsafe extern "C" fn open_directory(file: *const c_char, directory: *mut c_int) -> c_int {
    // SAFETY: SQLite hands over its name of the file.
    let is_log = unsafe { CStr::from_ptr(file) }.to_bytes().ends_with(b"-wal");
    match OPEN_DIRECTORY.get() {
        // SAFETY: as it would be called without us.
        Some(own) if !is_log => unsafe { own(file, directory) },
        _ => ffi::SQLITE_CANTOPEN,
    }
}
