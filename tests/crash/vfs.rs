//! Records what SQLite writes, cuts and syncs, so that a power cut can be tried at every write.
//!
//! The system's own file layer stays underneath; three of its methods are replaced by ones that also write down what
//! was asked of them. It becomes the default of this process, so that the local broker is recorded as it is.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::ffi;

use crate::store::UNRECORDED;

/// What happened to a file, or what the program was told. Names are those within the recorded directory.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        len: usize,
    },
    Sync {
        file: String,
    },
    Remove {
        file: String,
    },
    /// The program was told something: the number is the caller's.
    Mark(usize),
}

/// The recording of one directory.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Op>>>);

impl Tape {
    /// Writes down that something was promised by now.
    pub fn mark(&self, what: usize) {
        self.0.lock().unwrap().push(Op::Mark(what));
    }

    /// What has been recorded.
    pub fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().clone()
    }

    /// Calls the real layer and writes down what it did, in one step, so that the order is the true one.
    fn record(&self, call: impl FnOnce() -> c_int, op: impl FnOnce() -> Op) -> c_int {
        let mut ops = self.0.lock().unwrap();
        let code = call();
        if code == ffi::SQLITE_OK {
            ops.push(op());
        }
        code
    }
}

/// A set of methods that SQLite has for files, and ours in its place. Journals and databases have different ones.
#[derive(Clone, Copy)]
struct Methods {
    its_own: &'static ffi::sqlite3_io_methods,
    recording: &'static ffi::sqlite3_io_methods,
}

/// A file that is open and recorded.
#[derive(Clone)]
struct Recorded {
    tape: Tape,
    name: String,
    methods: Methods,
}

#[derive(Default)]
struct Recorder {
    tapes: Mutex<Vec<(PathBuf, Tape)>>,
    /// By the address of SQLite's handle.
    files: Mutex<HashMap<usize, Recorded>>,
    /// By the address of SQLite's own set.
    methods: Mutex<HashMap<usize, Methods>>,
}

// SAFETY: methods are tables of functions that are never changed after they were filled.
unsafe impl Send for Methods {}
unsafe impl Sync for Methods {}

impl Recorder {
    fn tape_of(&self, path: &Path) -> Option<(Tape, String)> {
        let tapes = self.tapes.lock().unwrap();
        let (_, tape) = tapes.iter().find(|(dir, _)| path.parent() == Some(dir))?;
        Some((tape.clone(), path.file_name()?.to_str()?.to_owned()))
    }

    fn of(&self, file: *mut ffi::sqlite3_file) -> Recorded {
        self.files.lock().unwrap().get(&(file as usize)).expect("a recorded file is known").clone()
    }

    /// The recording set for a set of SQLite's.
    fn methods_for(&self, its_own: &'static ffi::sqlite3_io_methods) -> Methods {
        let mut known = self.methods.lock().unwrap();
        *known.entry(its_own as *const _ as usize).or_insert_with(|| {
            let recording = ffi::sqlite3_io_methods {
                xWrite: Some(write),
                xTruncate: Some(truncate),
                xSync: Some(sync),
                xClose: Some(close),
                ..*its_own
            };
            Methods { its_own, recording: Box::leak(Box::new(recording)) }
        })
    }
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// The layer underneath.
struct Real(ffi::sqlite3_vfs);

// SAFETY: as above.
unsafe impl Send for Real {}
unsafe impl Sync for Real {}

static REAL: OnceLock<Real> = OnceLock::new();

/// Records everything below `dir` from now on.
pub fn record(dir: &Path) -> Tape {
    let recorder = RECORDER.get_or_init(|| {
        install();
        Recorder::default()
    });
    let tape = Tape::default();
    recorder.tapes.lock().unwrap().push((dir.to_owned(), tape.clone()));
    tape
}

fn install() {
    // SAFETY: the layer is found by name and copied; the copy lives for ever and differs in name and two functions.
    unsafe {
        ffi::sqlite3_initialize();
        let found = ffi::sqlite3_vfs_find(UNRECORDED.as_ptr());
        assert!(!found.is_null(), "SQLite has its unix layer");
        let real = REAL.get_or_init(|| Real(*found));
        let mut ours = real.0;
        ours.zName = c"evcat-recording".as_ptr();
        ours.pNext = std::ptr::null_mut();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        let code = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
        assert_eq!(code, ffi::SQLITE_OK);
    }
}

fn real() -> &'static ffi::sqlite3_vfs {
    &REAL.get().expect("installed before it is called").0
}

fn recorder() -> &'static Recorder {
    RECORDER.get().expect("made before anything is recorded")
}

/// # Safety
/// Called by SQLite, with what its documentation promises.
unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the arguments go to the function they are meant for; `file` is open and ours when it says so.
    unsafe {
        let code = real().xOpen.expect("a layer opens files")(vfs, name, file, flags, out);
        if code != ffi::SQLITE_OK || name.is_null() {
            return code;
        }
        let path = PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned());
        let Some(recorder) = RECORDER.get() else { return code };
        if let Some((tape, name)) = recorder.tape_of(&path) {
            let methods = recorder.methods_for(&*(*file).pMethods);
            recorder.files.lock().unwrap().insert(file as usize, Recorded { tape, name, methods });
            (*file).pMethods = methods.recording;
        }
        code
    }
}

/// # Safety
/// As above.
unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: the arguments go to the function they are meant for.
    let (path, call) = unsafe {
        let path = PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned());
        (path, || real().xDelete.expect("a layer deletes files")(vfs, name, sync_dir))
    };
    match RECORDER.get().and_then(|recorder| recorder.tape_of(&path)) {
        Some((tape, file)) => tape.record(call, || Op::Remove { file }),
        None => call(),
    }
}

/// # Safety
/// As above.
unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, n: c_int, at: i64) -> c_int {
    let Recorded { tape, name, methods } = recorder().of(file);
    // SAFETY: SQLite hands over `n` bytes; the real method gets what it is meant for.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), n as usize) };
    let call = || unsafe { methods.its_own.xWrite.expect("files are written")(file, from, n, at) };
    tape.record(call, || Op::Write { file: name, at: at as usize, bytes: bytes.to_vec() })
}

/// # Safety
/// As above.
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    let Recorded { tape, name, methods } = recorder().of(file);
    // SAFETY: the real method gets what it is meant for.
    let call = || unsafe { methods.its_own.xTruncate.expect("files are cut")(file, len) };
    tape.record(call, || Op::Truncate { file: name, len: len as usize })
}

/// # Safety
/// As above.
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let Recorded { tape, name, methods } = recorder().of(file);
    // SAFETY: the real method gets what it is meant for.
    let call = || unsafe { methods.its_own.xSync.expect("files are synced")(file, flags) };
    tape.record(call, || Op::Sync { file: name })
}

/// # Safety
/// As above.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let recorded = recorder().files.lock().unwrap().remove(&(file as usize));
    let methods = recorded.expect("a recorded file is known").methods;
    // SAFETY: the real method gets what it is meant for.
    unsafe { methods.its_own.xClose.expect("files are closed")(file) }
}
