//! A stand-in for AWS that is paused, connections to it that are cut, and members of a group that are killed, while events go
//! through a topic and its queue; then what was published and the handlers' own logs are compared.
//!
//! Used by the test with small numbers and by the bench with large ones.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::brokers::{Private, python};
use crate::proxy::Proxy;

/// How many of what.
pub struct Chaos {
    pub events: usize,
    pub keys: usize,
    /// Published a second.
    pub rate: usize,
    pub members: usize,
    /// Members that are killed. What one of them had in hand comes again when its lease ends.
    pub kills: usize,
    /// So often all is stopped for two seconds.
    pub pauses: usize,
    pub seed: u64,
    /// All of it takes no longer.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "printed whole")]
pub struct Report {
    pub events: usize,
    pub cuts: usize,
    pub deliveries: usize,
    /// Deliveries of an event after its first.
    pub duplicates: usize,
    pub took: Duration,
}

/// It ends with the test, also with one that failed.
struct Running(Child);

impl Running {
    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Place<'a> {
    url: String,
    dir: &'a Path,
}

impl Place<'_> {
    fn evcat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
        let errors = File::options().create(true).append(true).open(self.dir.join("errors")).unwrap();
        command.args(["-b", &self.url, "--timeout", "1m"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command
    }

    fn does(&self, arguments: &[&str]) {
        assert!(self.evcat(arguments).status().unwrap().success(), "{arguments:?}: {}", self.said());
    }

    fn member(&self) -> Running {
        let mut command = self.evcat(&["subscribe", "o.fifo", "-g", "g", "--worker", "--concurrency", "4"]);
        command.args(["--max-attempts", "900", "--"]).arg(python().unwrap());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/worker.py")).arg(self.dir.join("logs"));
        Running(command.spawn().unwrap())
    }

    fn publisher(&self, chaos: &Chaos) -> Running {
        let path = self.dir.join("input");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        (0..chaos.events).for_each(|n| writeln!(file, "k{}:{n}", n % chaos.keys).unwrap());
        file.flush().unwrap();
        let mut command =
            self.evcat(&["publish", "o.fifo", "-K", ":", "--rate", &format!("{}/s", chaos.rate)]);
        Running(command.stdin(File::open(path).unwrap()).spawn().unwrap())
    }

    /// The last of what was said on stderr.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.dir.join("errors")).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Publishes and handles, cuts, pauses and kills meanwhile, lets the rest be handled, and checks everything.
pub fn run(broker: &Private, dir: &Path, chaos: &Chaos) -> Report {
    let (account, endpoint) = broker.url().split_once("?endpoint=").unwrap();
    let proxy = Proxy::to(endpoint, Duration::ZERO);
    let place = Place { url: format!("{account}?endpoint=http://{}", proxy.address()), dir };
    std::fs::create_dir(dir.join("logs")).unwrap();
    place.does(&["topics", "create", "o.fifo"]);
    place.does(&["groups", "create", "g", "o.fifo"]);
    let (begin, mut random) = (Instant::now(), fastrand::Rng::with_seed(chaos.seed));
    let mut publisher = place.publisher(chaos);
    let mut members: Vec<_> = (0..chaos.members).map(|_| place.member()).collect();
    let is_over = AtomicBool::new(false);
    let (mut cuts, mut kills, mut pauses) = (0, chaos.kills, chaos.pauses);
    let seed = random.u64(..);
    std::thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut cuts = 0;
            while !is_over.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(random.u64(100..800)));
                proxy.hang_up();
                cuts += 1;
            }
            cuts
        });
        while publisher.runs() || kills > 0 || pauses > 0 {
            if begin.elapsed() > chaos.limit {
                is_over.store(true, Relaxed);
                panic!("all is to be published and done: {}", place.said());
            }
            std::thread::sleep(Duration::from_millis(random.u64(500..1500)));
            if pauses > 0 {
                pauses -= 1;
                broker.pause(1);
                std::thread::sleep(Duration::from_secs(2));
                broker.resume(1);
            }
            if kills > 0 {
                kills -= 1;
                let i = random.usize(..members.len());
                members[i].end(if random.bool() { Signal::SIGKILL } else { Signal::SIGTERM });
                members[i] = place.member();
            }
        }
        is_over.store(true, Relaxed);
        cuts = cutting.join().unwrap();
    });
    assert!(publisher.0.wait().unwrap().success(), "every event was acknowledged: {}", place.said());
    let left = format!("{}s", chaos.limit.saturating_sub(begin.elapsed()).as_secs());
    place.does(&["groups", "lag", "g", "--max", "0", "--for", &left]);
    let took = begin.elapsed();
    for member in &mut members {
        assert!(member.runs(), "a member ended by itself: {}", place.said());
        member.end(Signal::SIGTERM);
    }
    let (deliveries, duplicates) = handled(dir, chaos);
    Report { events: chaos.events, cuts, deliveries, duplicates, took }
}

/// Each event was handled, and for the first time in the order of its key; so many deliveries, so many again.
fn handled(dir: &Path, chaos: &Chaos) -> (usize, usize) {
    let mut entries: Vec<(u128, String, usize)> = Vec::new();
    for file in std::fs::read_dir(dir.join("logs")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let parts: Vec<_> = line.split(' ').collect();
            entries.push((parts[0].parse().unwrap(), parts[3].to_owned(), parts[4].parse().unwrap()));
        }
    }
    entries.sort_unstable();
    let (mut last, mut first) = (HashMap::new(), HashSet::new());
    for (_, key, number) in &entries {
        assert_eq!(*key, format!("k{}", number % chaos.keys));
        if first.insert(*number) {
            let before = last.insert(key, *number);
            assert!(before < Some(*number), "{key}: {number} came for the first time after {before:?}");
        }
    }
    let lost: Vec<_> = (0..chaos.events).filter(|number| !first.contains(number)).take(20).collect();
    assert!(lost.is_empty(), "acknowledged, and not handled: {lost:?} ...");
    (entries.len(), entries.len() - first.len())
}
