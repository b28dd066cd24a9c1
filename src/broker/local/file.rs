//! The file: opened or made, checked, and changed in transactions.
//!
//! A [`Store`] is one connection and is used from one thread: every publisher, reader and subscription has its own.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{self, Fault, Result, map_error};
use super::head::{Head, has_directory, look};
use super::patience::Patience;
use super::side::{Life, Locked, Side, beside};
use super::{room, schema};
use crate::broker::Error;
use crate::event::Millis;

/// How long SQLite waits for a program that is not evcat; ours queue at the gate.
const FOREIGN_LOCK: Duration = Duration::from_secs(10);

/// Which file, and the clock: what every handle of one broker shares.
#[derive(Clone)]
pub struct Place {
    /// The database.
    pub path: PathBuf,
    /// Make the directories above it (the default place, not one that was typed).
    pub make_parents: bool,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// With those who hold its lock.
    pub patience: Arc<Patience>,
}

#[cfg(test)]
impl Place {
    /// A file that is waited for as long as it takes.
    pub fn new(path: PathBuf, clock: Arc<dyn Fn() -> Millis + Send + Sync>) -> Place {
        let patience = Arc::new(Patience::new(&path, None));
        Place { path, make_parents: false, clock, patience }
    }
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut, and with it every commit before: publish, move, create, delete, seek, close.
    Power,
    /// The death of the process: claims, leases, retention, most acks. A power cut may take the newest of them back,
    /// never one from the middle.
    Process,
}

/// Whether a commit is something that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    /// Wake them.
    Ring,
    /// Let them sleep.
    Silent,
}

/// One connection to the file, for one thread.
pub struct Store {
    sql: Connection,
    side: Side,
    place: Arc<Place>,
    /// What `PRAGMA synchronous` says now.
    durability: Cell<Durability>,
    /// Pages in the log as of our last commit.
    pages: Arc<AtomicU64>,
    /// Which file lay at the path when it was opened.
    opened: FileId,
    /// The log has not been cut since it was last made long enough.
    has_room: Cell<bool>,
    /// Whether it waits for others.
    waits: Cell<bool>,
}

/// Device and number.
type FileId = (u64, u64);

fn file_id(path: &Path) -> std::io::Result<FileId> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Store {
    /// Opens the file, making it where there is none. Errors are final and told in full.
    pub fn open(place: &Arc<Place>, operation: &'static str) -> std::result::Result<Store, Error> {
        Store::try_open(place, true).map_err(|fault| map_error(fault, operation, &place.path))
    }

    /// Opens the file for a thread that may not be kept waiting: what somebody else is in the way of fails with
    /// [`Fault::Busy`], until [`wait`](Store::wait). `None` where the file cannot be opened like this; who opens it and
    /// waits is told why.
    pub fn open_at_once(place: &Arc<Place>) -> Option<Store> {
        Store::try_open(place, false).ok()
    }

    /// From now on it waits for others.
    pub fn wait(&self) -> Result<()> {
        self.waits.set(true);
        Ok(self.sql.busy_timeout(FOREIGN_LOCK)?)
    }

    /// Opens the file; `None` where there is none, and then none is made.
    pub fn open_existing(
        place: &Arc<Place>,
        operation: &'static str,
    ) -> std::result::Result<Option<Store>, Error> {
        match std::fs::metadata(&place.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                has_directory(place).map_err(|fault| map_error(fault, operation, &place.path))?;
                Ok(None)
            }
            _ => Store::open(place, operation).map(Some),
        }
    }

    fn try_open(place: &Arc<Place>, waits: bool) -> Result<Store> {
        room::leave_the_directory_to_us();
        let head = look(place)?;
        if !waits && !matches!(head, Head::Ours { log_mode: true }) {
            return Err(Fault::Busy);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut sql = Connection::open_with_flags(&place.path, flags)?;
        sql.busy_timeout(if waits { FOREIGN_LOCK } else { Duration::ZERO })?;
        // A checkpoint at every close would be 1.4 ms of every one-shot publish.
        sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let known = schema::STEPS.len() as i64;
        let version = match head {
            Head::Ours { .. } => schema::version(&sql)?,
            // Somebody is making it at this moment, died while doing so, or it belongs to another program.
            Head::Unsigned => {
                // One state for all three, because it may be made between them.
                sql.execute_batch("BEGIN")?;
                let found = (signature(&sql)?, is_bare(&sql)?, schema::version(&sql)?);
                sql.execute_batch("COMMIT")?;
                match found {
                    (schema::APPLICATION, _, version) => version,
                    (0, true, 0) => 0,
                    _ => return Err(fault::foreign("open", &place.path).into()),
                }
            }
            Head::Empty => 0,
        };
        if version > known {
            return Err(fault::newer("open", &place.path, version, known).into());
        }
        let side = Side::open(&place.path)?;
        // A copy made with VACUUM INTO is ours, and not in log mode.
        if version < known || matches!(head, Head::Ours { log_mode: false }) {
            if !waits {
                return Err(Fault::Busy);
            }
            let _one_makes_the_others_wait = place.patience.wait(|| side.lock_gate())?;
            prepare(&sql)?;
        }
        sql.execute_batch("PRAGMA cache_size=-8192")?;
        let pages = Arc::new(AtomicU64::new(0));
        let seen = pages.clone();
        // In place of SQLite's own, which would checkpoint inside the lock. The size of the -wal file would not do: it
        // does not shrink when the log starts again.
        sql.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            seen.store(pages as u64, Ordering::Relaxed);
            Ok(())
        }))?;
        sql.set_prepared_statement_cache_capacity(64);
        let (durability, opened) = (Cell::new(Durability::Power), file_id(&place.path)?);
        let (has_room, waits) = (Cell::new(false), Cell::new(waits));
        Ok(Store { sql, side, place: place.clone(), durability, pages, opened, has_room, waits })
    }

    /// The connection, for reading and, inside [`write`](Store::write), for writing.
    pub fn sql(&self) -> &Connection {
        &self.sql
    }

    /// Which file.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The wall clock.
    pub fn now(&self) -> Millis {
        (self.place.clock)()
    }

    /// A failure in the words of the trait's method it happened in.
    pub fn explain(&self, fault: Fault, operation: &'static str) -> Error {
        map_error(fault, operation, &self.place.path)
    }

    /// One write transaction under the lock. Everything is undone when `work` fails; the bell rings after the commit.
    pub fn write<T>(
        &self,
        durability: Durability,
        bell: Bell,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.synchronise(durability)?;
        let locked = self.lock()?;
        let work = |sql: &Connection| {
            if !self.has_room.get() {
                room::make(&beside(&self.place.path, "-wal"))?;
                self.has_room.set(true);
            }
            work(sql)
        };
        let done = self.is_still_there().and_then(|()| self.transaction("BEGIN IMMEDIATE", work));
        drop(locked);
        match &done {
            Ok(_) if bell == Bell::Ring => self.side.ring(),
            // A full log cannot take even a deletion: emptying it into the file is the only way to get room.
            Err(Fault::Sql(error)) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                let _ = self.checkpoint(true);
            }
            _ => {}
        }
        done
    }

    fn lock(&self) -> Result<Locked<'_>> {
        match self.waits.get() {
            true => self.place.patience.wait(|| self.side.lock()),
            false => self.side.try_lock().ok_or(Fault::Busy),
        }
    }

    /// Whether what we have open is still what others find at its path. A file that was deleted can be written to until it
    /// is closed, and nobody would ever see it.
    pub fn is_still_there(&self) -> Result<()> {
        match file_id(&self.place.path) {
            Ok(found) if found != self.opened => Err(fault::deleted(&self.place.path).into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(fault::deleted(&self.place.path).into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Several reads of one state. Never held while waiting for anything: the log cannot be cut under a reader.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.transaction("BEGIN", work)
    }

    fn transaction<T>(&self, begin: &str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        match self.sql.prepare_cached(begin)?.execute([]) {
            Err(error)
                if !self.waits.get()
                    && error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) =>
            {
                return Err(Fault::Busy);
            }
            begun => begun?,
        };
        let done = work(&self.sql)
            .and_then(|value| Ok(self.sql.prepare_cached("COMMIT")?.execute([]).map(|_| value)?));
        if done.is_err() && !self.sql.is_autocommit() {
            // What failed is what is worth telling.
            let _ = self.sql.execute_batch("ROLLBACK");
        }
        done
    }

    fn synchronise(&self, durability: Durability) -> Result<()> {
        if self.durability.get() != durability {
            self.sql.execute_batch(match durability {
                Durability::Power => "PRAGMA synchronous=FULL",
                Durability::Process => "PRAGMA synchronous=NORMAL",
            })?;
            self.durability.set(durability);
        }
        Ok(())
    }

    /// Bytes in the log as of our last commit.
    pub fn log_bytes(&self) -> u64 {
        self.pages.load(Ordering::Relaxed) * schema::PAGE
    }

    /// Moves the log into the file, and starts it again (`truncate`: at no length) if nobody reads from it.
    ///
    /// The long half runs without the lock, the short one with it: without the second the log would never start again
    /// while others write.
    pub fn checkpoint(&self, truncate: bool) -> Result<()> {
        let run = |how: &str| self.sql.query_row(how, [], |_| Ok(()));
        self.move_log()?;
        let _locked = self.lock()?;
        self.sql.busy_timeout(Duration::ZERO)?;
        let done =
            run(if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(RESTART)" });
        self.sql.busy_timeout(if self.waits.get() { FOREIGN_LOCK } else { Duration::ZERO })?;
        self.pages.store(0, Ordering::Relaxed);
        self.has_room.set(false);
        Ok(done?)
    }

    /// The long half of a checkpoint alone: others write meanwhile.
    pub fn move_log(&self) -> Result<()> {
        Ok(self.sql.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }

    /// The lock, the bell and who is alive.
    pub fn side(&self) -> &Side {
        &self.side
    }

    /// Says that this member lives, until the answer is dropped or the process dies.
    pub fn live(&self, member: i64) -> Result<Life> {
        self.side.live(member)
    }

    /// Whether that member lives, in whatever process.
    pub fn is_alive(&self, member: i64) -> bool {
        self.side.is_alive(member)
    }
}

fn signature(sql: &Connection) -> Result<i64> {
    Ok(sql.query_row("PRAGMA application_id", [], |row| row.get(0))?)
}

fn is_bare(sql: &Connection) -> Result<bool> {
    Ok(sql.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?)
}

/// Makes the tables, or takes an older file through the later versions. Requires the gate, so that one does it and the
/// others find it done.
fn prepare(sql: &Connection) -> Result<()> {
    // Both only mean something in a file that has no page yet. Freed pages can be given back later at no cost now.
    sql.execute_batch(&format!("PRAGMA page_size={}; PRAGMA auto_vacuum=INCREMENTAL", schema::PAGE))?;
    sql.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
    let version = schema::version(sql)?;
    if version == schema::STEPS.len() as i64 {
        return Ok(());
    }
    schema::migrate(sql, schema::STEPS, version)?;
    // So that the first page of the file itself says whose it is.
    Ok(sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
