//! What can go wrong inside this backend, and the one place that turns it into a [`broker::Error`](crate::broker::Error).

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::broker::{Error, Kind};

/// What every function below the threads answers.
pub type Result<T> = std::result::Result<T, Fault>;

/// A failure before anybody knows which of the trait's methods it belongs to.
#[derive(Debug)]
pub enum Fault {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// The system says so, of one of the files beside the database.
    Io(io::Error),
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
    let told = |kind, message: &str| Error::new(kind, operation, subject.clone(), message);
    let beside = "evcat writes to the file and to the directory it lies in (-wal, -shm, -bell, -gate)";
    match fault {
        Fault::Told(error) => error,
        Fault::Busy => told(Kind::Unreachable, "another process is at work on it"),
        Fault::Io(error) => match error.kind() {
            // The directory of a path that was typed; the one of `local:` is made.
            io::ErrorKind::NotFound => told(Kind::NotFound, "its directory does not exist")
                .with_hint(format!("mkdir -p '{}'", path.parent().unwrap_or(path).display())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                told(Kind::Denied, &format!("not allowed: {error}")).with_hint(beside)
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(told),
            io::ErrorKind::IsADirectory => {
                told(Kind::Broken, "is a directory").with_hint(format!("-b 'local:{subject}/local.db'"))
            }
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
                )) => told(Kind::Denied, "not allowed: the file or its directory is read-only")
                    .with_hint(beside),
                Some((ErrorCode::CannotOpen, _)) => {
                    told(Kind::Denied, "cannot be opened, or the files beside it cannot be made")
                        .with_hint(beside)
                }
                // Somebody outside evcat: ours queue at the gate.
                Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => {
                    told(Kind::Unreachable, "another program holds its lock")
                        .with_hint(format!("which one: fuser '{subject}'"))
                }
                Some((ErrorCode::SystemIoFailure, _)) => {
                    told(Kind::Broken, &format!("the disk failed: {error}"))
                }
                _ => told(Kind::Broken, &error.to_string()),
            }
            .with_source(error)
        }
    }
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
