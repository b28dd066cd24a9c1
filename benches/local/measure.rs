//! Running programs and timing them.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::table::{Row, Unit};

/// How often each row is measured; the median counts.
pub const ROUNDS: usize = 3;
const LINE: usize = 100;

/// Where the measuring is done.
pub struct Bench {
    /// 10 million events, too.
    pub full: bool,
    dir: tempfile::TempDir,
}

impl Bench {
    /// In the target directory: the temporary one may be in memory, where a sync costs nothing.
    pub fn new(full: bool) -> Bench {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Bench { full, dir: tempfile::tempdir_in(place).unwrap() }
    }

    /// What the numbers depend on.
    pub fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let said = |program: &str| first_line(Command::new(program).arg("--version"));
        format!(
            "{cores} cores; sqlite3 {}; {}",
            said("sqlite3").unwrap_or("missing".into()),
            self.dir.path().display()
        )
    }

    /// A directory of one measurement's own.
    pub fn room(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.dir.path()).unwrap()
    }

    /// So many lines of 100 bytes, made once.
    pub fn lines(&self, n: usize) -> PathBuf {
        let path = self.dir.path().join(format!("lines-{n}"));
        if !path.exists() {
            let mut file = BufWriter::new(File::create(&path).unwrap());
            for i in 0..n {
                let start = format!("{{\"order\":\"A-{i}\",\"note\":\"");
                writeln!(file, "{start}{}\"}}", "x".repeat(LINE - 3 - start.len())).unwrap();
            }
            file.flush().unwrap();
        }
        path
    }

    /// A database with so many events in topic `t`, made once.
    pub fn database(&self, n: usize) -> PathBuf {
        let path = self.dir.path().join(format!("{n}.db"));
        if !path.exists() {
            let input = File::open(self.lines(n)).unwrap();
            run(evcat(&path).args(["publish", "t"]).stdin(input));
        }
        path
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some(text.lines().next()?.chars().take(30).collect())
}

/// The program as its user has it: copied, by `cargo install` or a package. The linker writes its file here and there, so
/// that it lies in the kernel's cache in single pages, and a start, which maps them, takes a tenth longer.
pub fn installed() -> &'static Path {
    static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        std::fs::create_dir_all(&installed).unwrap();
        let installed = installed.join("evcat");
        let _ = std::fs::remove_file(&installed);
        std::fs::write(&installed, std::fs::read(env!("CARGO_BIN_EXE_evcat")).unwrap()).unwrap();
        std::fs::set_permissions(&installed, Permissions::from_mode(0o755)).unwrap();
        installed
    });
    &INSTALLED
}

/// evcat on this file, with nobody to talk to.
pub fn evcat(database: &Path) -> Command {
    let mut command = Command::new(installed());
    command.arg("-b").arg(format!("local:{}", database.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The sqlite3 shell on this file, which is in log mode from the start.
pub fn sqlite3(database: &Path, statements: &[&str]) -> Command {
    let mut command = Command::new("sqlite3");
    command.arg("-batch").arg(database).args(statements);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether the peer is here.
pub fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status()
        .is_ok()
}

/// How long it took; it must succeed.
pub fn run(command: &mut Command) -> Duration {
    // By cargo, for the library that we link to: a peer would find it there in place of its own.
    command.env_remove("LD_LIBRARY_PATH");
    let begin = Instant::now();
    let status = command.status().unwrap();
    let took = begin.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

/// The median.
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// The one below which `percent` of them lie.
pub fn percentile(all: &mut [Duration], percent: usize) -> Duration {
    all.sort();
    all[(all.len() - 1) * percent / 100]
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Runs ours and the peer by turns, `times` in each round, and compares the medians of the rounds.
pub fn against(
    work: &str,
    (must, aim): (f64, f64),
    times: usize,
    mut ours: impl FnMut() -> Duration,
    mut peer: impl FnMut() -> Duration,
) -> Row {
    let mut rounds: Vec<(f64, Duration, Duration)> = (0..ROUNDS)
        .map(|_| {
            let (a, b): (Vec<_>, Vec<_>) = (0..times).map(|_| (ours(), peer())).unzip();
            let (a, b) = (median(a), median(b));
            (a.as_secs_f64() / b.as_secs_f64(), a, b)
        })
        .collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, ours, peer) = rounds[ROUNDS / 2];
    let measured = format!("{:.2} ms, peer {:.2} ms", millis(ours), millis(peer));
    Row { work: work.into(), measured, value: Some(ratio), unit: Unit::Times, must, aim }
}

/// The highest resident set in KiB, as the kernel counts it, looked at until the process ends.
pub fn peak(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = most.max(line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}: {status}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
