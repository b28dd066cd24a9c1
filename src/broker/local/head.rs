//! Whose a file is, before SQLite may touch it.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;

use super::fault::{self, Fault, Result};
use super::file::Place;
use super::schema;

/// What the first bytes of a file say, before SQLite may touch it.
pub enum Head {
    /// There is none, or nothing in it.
    Empty,
    /// A database of evcat.
    Ours {
        /// Whether it is in WAL mode.
        log_mode: bool,
    },
    /// An SQLite file with no application named in its first page; the log may hold a newer first page.
    Unsigned,
}

/// Looks at the first bytes of the file at `place`; makes the directories above it where that is wanted.
pub fn look(place: &Place) -> Result<Head> {
    let mut head = [0; 100];
    let len = match read(&place.path, &mut head) {
        Ok(len) => len,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            has_directory(place)?;
            if place.make_parents {
                std::fs::create_dir_all(fault::directory(&place.path))?;
            }
            return Ok(Head::Empty);
        }
        // It was looked at before it was opened: a pipe would be waited for.
        Err(_) if is_special(&place.path) => return Err(fault::special("open", &place.path).into()),
        Err(error) => return Err(error.into()),
    };
    let head = &head[..len];
    if head.is_empty() {
        return Ok(Head::Empty);
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header
    let ours = (schema::APPLICATION as u32).to_be_bytes();
    match (head.starts_with(b"SQLite format 3\0"), head.get(18), head.get(68..72)) {
        (true, mode, Some(application)) if application == ours => {
            Ok(Head::Ours { log_mode: mode == Some(&2) })
        }
        (true, _, Some([0, 0, 0, 0])) => Ok(Head::Unsigned),
        _ => Err(fault::foreign("open", &place.path).into()),
    }
}

/// Refuses a place whose directory does not exist, unless it will be made: SQLite would only say that it cannot open the
/// file.
pub fn has_directory(place: &Place) -> Result<()> {
    if place.make_parents {
        return Ok(());
    }
    // Where a symbolic link leads, there the file is made.
    let path = std::fs::read_link(&place.path).map(|to| fault::directory(&place.path).join(to));
    let path = path.as_ref().unwrap_or(&place.path);
    match std::fs::metadata(fault::directory(path)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::File(path.clone(), error)),
    }
}

/// Neither a file nor a directory.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The files that were looked at, for as long as the process lives: to close any descriptor of a file gives up all
/// locks that the process has on it, those of SQLite too (<https://www.sqlite.org/howtocorrupt.html>, 2.2). Another
/// program would then take itself for the last one, and delete a log that is in use.
static KEPT: Mutex<Vec<File>> = Mutex::new(vec![]);

/// Reads the beginning of a file; how much of it there is.
fn read(path: &Path, head: &mut [u8]) -> std::io::Result<usize> {
    let mut kept = KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let found = std::fs::metadata(path)?;
    if !found.is_file() && !found.is_dir() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let is_it = |file: &File| file.metadata().is_ok_and(|kept| id(&kept) == id(&found));
    let file = match kept.iter().position(is_it) {
        Some(at) => &kept[at],
        None => {
            kept.push(File::open(path)?);
            &kept[kept.len() - 1]
        }
    };
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

fn id(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
