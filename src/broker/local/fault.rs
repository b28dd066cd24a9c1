//! What can go wrong inside this backend, and the one place that turns it into a [`broker::Error`](crate::broker::Error).

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};
use rusqlite::ErrorCode;

use crate::broker::{Error, Kind};

/// What every function below the threads answers.
pub type Result<T> = std::result::Result<T, Fault>;

/// A failure before anybody knows which of the trait's methods it belongs to.
#[derive(Debug)]
pub enum Fault {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// The system says so, of one of the files.
    Io(io::Error),
    /// The same, and of which.
    File(PathBuf, io::Error),
    /// We know what it means and have said it already.
    Told(Error),
    /// Somebody is in the way of a store that [may not wait](super::file::Store::open_at_once).
    Busy,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sql(error)
    }
}

impl From<rusqlite::types::FromSqlError> for Fault {
    fn from(error: rusqlite::types::FromSqlError) -> Fault {
        Fault::Sql(error.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

impl From<nix::errno::Errno> for Fault {
    fn from(error: nix::errno::Errno) -> Fault {
        Fault::Io(error.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Told(error)
    }
}

/// The words, kind and hint of every failure of the file at `path` during `operation`.
pub fn map_error(fault: Fault, operation: &'static str, path: &Path) -> Error {
    let subject = path.display().to_string();
    let file = match &fault {
        Fault::File(file, _) => file.clone(),
        _ => path.to_owned(),
    };
    let told = |kind, message: &str| {
        let message = match file == *path {
            true => message.to_owned(),
            false => format!("{}: {message}", file.display()),
        };
        Error::new(kind, operation, subject.clone(), message)
    };
    match fault {
        Fault::Told(error) => error,
        Fault::Busy => told(Kind::Unreachable, "another process is at work on it"),
        Fault::Io(error) | Fault::File(_, error) => match error.kind() {
            // The directory of a path that was typed; the one of `local:` is made.
            io::ErrorKind::NotFound => {
                return told(Kind::NotFound, "its directory does not exist")
                    .with_hint(format!("mkdir -p '{}'", directory(&file).display()));
            }
            io::ErrorKind::NotADirectory => {
                return told(Kind::NotFound, "its directory is none: a file lies there")
                    .with_hint("choose another path: -b local:PATH");
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => denied(told, &file, path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(told),
            io::ErrorKind::IsADirectory => {
                return told(Kind::Invalid, "is a directory").with_hint(match file == *path {
                    true => format!("a file in it: -b 'local:{}'", path.join("local.db").display()),
                    false => format!("evcat keeps a file there; take it away: rmdir '{}'", file.display()),
                });
            }
            io::ErrorKind::InvalidFilename => told(Kind::Invalid, "the path is too long"),
            _ => told(Kind::Broken, &error.to_string()),
        }
        .with_source(error),
        Fault::Sql(error) => {
            let code = error.sqlite_error().map(|e| (e.code, e.extended_code));
            match code {
                Some((ErrorCode::DiskFull, _)) => full(told),
                // Making room in the -shm file fails with this when the disk is full.
                Some((_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)) => full(told),
                Some((ErrorCode::NotADatabase, _)) => foreign(operation, path),
                // A short file, or a page that is not what the tree says.
                Some((ErrorCode::DatabaseCorrupt, _)) => {
                    told(Kind::Broken, "the file is damaged: SQLite finds it malformed; nothing was changed")
                        .with_hint(format!("take a copy first; then: sqlite3 '{subject}' '.recover'"))
                }
                Some((
                    ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::AuthorizationForStatementDenied,
                    _,
                )) => denied(told, path, path),
                // SQLite does not say which of its files, nor why.
                Some((ErrorCode::CannotOpen, _)) => denied(told, path, path),
                // Somebody outside evcat: ours queue at the gate.
                Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => {
                    told(Kind::Unreachable, "another program holds its lock")
                        .with_hint(format!("which one: fuser '{subject}'"))
                }
                Some((ErrorCode::SystemIoFailure, _)) => {
                    told(Kind::Broken, &format!("the disk failed: {error}")).with_hint(format!(
                        "what lies there: ls -ld '{subject}'*; what the system saw: dmesg"
                    ))
                }
                _ => told(Kind::Broken, &error.to_string()),
            }
            .with_source(error)
        }
    }
}

/// A file may not be read or written: why not, and what opens it.
fn denied(told: impl Fn(Kind, &str) -> Error, file: &Path, database: &Path) -> Error {
    let place = "or choose another place: -b local:PATH";
    let Some((what, error)) = closed(file) else {
        let message = "cannot be opened or written, or one of the files beside it (-wal, -shm) cannot";
        return told(Kind::Denied, message).with_hint(format!(
            "what lies there: ls -ld '{}'*; how many files may be open: ulimit -n",
            file.display()
        ));
    };
    let shown = what.display();
    if error == Errno::EROFS {
        let database = database.display();
        return told(Kind::Denied, "lies on a file system that is read-only")
            .with_hint(format!("work on a copy: cp '{database}' '{database}-wal' DIR; {place}"));
    }
    let (message, mode) = match what == file {
        true => ("may not be read and written by this user".to_owned(), "u+rw"),
        false => (format!("this user may not make files in {shown}"), "u+rwx"),
    };
    told(Kind::Denied, &message)
        .with_hint(format!("whose it is: ls -ld '{shown}'; its owner can: chmod {mode} '{shown}'; {place}"))
}

/// The file, or else the directory it lies or would lie in, that may not be written to.
fn closed(path: &Path) -> Option<(&Path, Errno)> {
    let above = directory(path).ancestors().find(|directory| directory.exists()).unwrap_or(Path::new("/"));
    let (file, directory) = (AccessFlags::R_OK | AccessFlags::W_OK, AccessFlags::W_OK | AccessFlags::X_OK);
    let both = [(path, file), (above, directory)];
    both.into_iter().find_map(|(path, wanted)| match eaccess(path, wanted) {
        Err(error @ (Errno::EROFS | Errno::EPERM)) => Some((path, error)),
        // The file itself cannot be seen where its directory is closed.
        Err(error @ Errno::EACCES) if path.symlink_metadata().is_ok() => Some((path, error)),
        _ => None,
    })
}

/// Where a file lies.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn full(told: impl Fn(Kind, &str) -> Error) -> Error {
    told(Kind::Full, "the disk is full; what was acknowledged before is stored")
        .with_hint("make room on that disk, then try again; readers go on meanwhile")
}

/// The file is not ours.
pub fn foreign(operation: &'static str, path: &Path) -> Error {
    let subject = path.display().to_string();
    Error::new(Kind::Broken, operation, subject, "is not an evcat database; it was not touched")
        .with_hint("choose another path: -b local:PATH")
}

/// Not even a file: reading from it could wait for ever.
pub fn special(operation: &'static str, path: &Path) -> Error {
    Error::new(
        Kind::Invalid,
        operation,
        path.display().to_string(),
        "is a pipe, a device or a socket and not a file",
    )
    .with_hint("choose another path: -b local:PATH")
}

/// It was ours when we opened it, and no longer lies there.
pub fn deleted(path: &Path) -> Error {
    let message =
        "was deleted, or another file put in its place, while it was in use; nothing more was written";
    Error::new(Kind::Broken, "write", path.display().to_string(), message)
        .with_hint("start again: what lies there now is used, or a new file made")
}

/// Made by a version that we do not know.
pub fn newer(operation: &'static str, path: &Path, found: i64, known: i64) -> Error {
    let message =
        format!("was written by a newer evcat (schema {found}, this one knows {known}); it was not touched");
    Error::new(Kind::Broken, operation, path.display().to_string(), message)
        .with_hint("use that evcat, or another file: -b local:PATH")
}
