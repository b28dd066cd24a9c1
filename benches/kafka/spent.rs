//! Programs on a broker, and what they spend of the wall's time and of the processor's.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{ROUNDS, installed, median, millis};
use crate::table::{Row, Unit};

/// evcat on this broker, with nobody to talk to.
pub fn evcat(url: &str) -> Command {
    let mut command = Command::new(installed());
    command.args(["-b", url]);
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
