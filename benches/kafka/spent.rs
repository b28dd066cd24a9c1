//! The broker, the programs on it, and what they spend of the wall's time and of the processor's.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::brokers::{self, Private};
use crate::measure::{ROUNDS, installed, median, millis};
use crate::table::{Row, Unit};

/// A broker.
pub struct Kafka {
    url: String,
    /// It ends with the bench.
    _private: Option<Private>,
}

impl Kafka {
    /// The shared one, else one of its own; an error says why there is none.
    pub fn find() -> Result<Kafka, String> {
        if let Ok(url) = brokers::shared_kafka() {
            return Ok(Kafka { url, _private: None });
        }
        let private = Private::up("kafka:perf")?;
        Ok(Kafka { url: private.url().to_owned(), _private: Some(private) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A topic that nobody else has.
    pub fn topic(&self, partitions: usize) -> String {
        let name = format!("bench-{:016x}", fastrand::u64(..));
        spend(evcat(&self.url).args(["topics", "create", &name, "--partitions", &partitions.to_string()]));
        name
    }

    pub fn delete(&self, topic: &str) {
        spend(evcat(&self.url).args(["topics", "delete", topic, "--yes"]));
    }
}

/// evcat on this broker, with nobody to talk to.
pub fn evcat(url: &str) -> Command {
    let mut command = Command::new(installed());
    command.args(["-b", url]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// kcat on this broker.
pub fn kcat(url: &str) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", url.split_once("://").unwrap().1]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What a program took.
#[derive(Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    /// User and system.
    pub cpu: Duration,
}

/// Runs it to its end; it must succeed.
pub fn spend(command: &mut Command) -> Spent {
    // By cargo, for the library that we link to: kcat would find that one in place of its own.
    command.env_remove("LD_LIBRARY_PATH");
    let (begin, before) = (Instant::now(), of_children());
    let status = command.status().unwrap();
    let (wall, cpu) = (begin.elapsed(), of_children() - before);
    assert!(status.success(), "{command:?}: {status}");
    Spent { wall, cpu }
}

/// What all programs that have ended took of the processor.
fn of_children() -> Duration {
    // SAFETY: plain numbers, which the call fills.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        nix::libc::getrusage(nix::libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let time = |at: nix::libc::timeval| Duration::new(at.tv_sec as u64, at.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Runs ours and the peer by turns, `times` in each round: a row of the wall's time, and one of the processor's.
pub fn against(
    work: &str,
    bounds: [(f64, f64); 2],
    times: usize,
    mut ours: impl FnMut() -> Spent,
    mut peer: impl FnMut() -> Spent,
) -> Vec<Row> {
    let rounds: Vec<(Vec<Spent>, Vec<Spent>)> =
        (0..ROUNDS).map(|_| (0..times).map(|_| (ours(), peer())).unzip()).collect();
    let row = |kind: &str, (must, aim): (f64, f64), of: fn(&Spent) -> Duration| {
        let mut ratios: Vec<_> = rounds
            .iter()
            .map(|(ours, peer)| {
                let [a, b] = [ours, peer].map(|all| median(all.iter().map(of).collect()));
                (a.as_secs_f64() / b.as_secs_f64(), a, b)
            })
            .collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, a, b) = ratios[ROUNDS / 2];
        let measured = format!("{:.2} ms, peer {:.2} ms", millis(a), millis(b));
        Row { work: format!("{work}, {kind}"), measured, value: Some(ratio), unit: Unit::Times, must, aim }
    };
    vec![row("wall", bounds[0], |spent| spent.wall), row("cpu", bounds[1], |spent| spent.cpu)]
}
