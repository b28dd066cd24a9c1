//! Connections that are cut, a server that hangs, goes and comes back, and members that are killed at random while events
//! are published and handled; then what the server holds and the handlers' own logs are compared.
//!
//! The server is ours, with what it was told in memory: restarted, it has all that it had, as the service would; paused, it
//! takes requests and answers nothing. Used by the test with small numbers and by the bench with large ones.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proxy::Proxy;
use crate::pubsub_fake::Fake;

/// How many of what.
pub struct Chaos {
    pub events: usize,
    pub keys: usize,
    /// Published a second.
    pub rate: usize,
    pub members: usize,
    /// Cuts, pauses and restarts, by turns.
    pub faults: usize,
    /// The server also hangs for longer than any lease.
    pub long_pause: bool,
    pub seed: u64,
    /// All of it takes no longer.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "printed whole")]
pub struct Report {
    pub events: usize,
    pub faults: usize,
    pub members_killed: usize,
    pub members_told_to_stop: usize,
    /// Events that the topic has twice, because an answer was lost on its way.
    pub stored_twice: usize,
    pub deliveries: usize,
    /// Deliveries of a message after its first.
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
        let subscribe = ["subscribe", "orders", "-g", "g", "--worker", "--concurrency", "4"];
        let mut command = self.evcat(&subscribe);
        command.args(["--max-attempts", "90", "--", "python3"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/worker.py")).arg(self.dir.join("logs"));
        Running(command.spawn().unwrap())
    }

    fn publisher(&self, chaos: &Chaos) -> Running {
        let path = self.dir.join("input");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        (0..chaos.events).for_each(|n| writeln!(file, "k{}:{n}", n % chaos.keys).unwrap());
        file.flush().unwrap();
        let rate = format!("{}/s", chaos.rate);
        let mut command = self.evcat(&["publish", "orders", "-K", ":", "--rate", &rate]);
        Running(command.stdin(File::open(path).unwrap()).spawn().unwrap())
    }

    /// The last of what was said on stderr.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.dir.join("errors")).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Publishes and handles through all that goes wrong, lets the rest be handled, and checks everything.
pub fn run(dir: &Path, chaos: &Chaos) -> Report {
    let mut fake = Fake::start();
    let proxy = Proxy::to(&format!("pubsub://{}", fake.address), Duration::ZERO);
    let place = Place { url: format!("pubsub://evcat?emulator={}", proxy.address()), dir };
    std::fs::create_dir(dir.join("logs")).unwrap();
    place.does(&["topics", "create", "orders", "--retention", "1d"]);
    place.does(&["groups", "create", "g", "orders"]);
    let (begin, mut random) = (Instant::now(), fastrand::Rng::with_seed(chaos.seed));
    let mut publisher = place.publisher(chaos);
    let mut members: Vec<_> = (0..chaos.members).map(|_| place.member()).collect();
    let (mut killed, mut told) = (0, 0);
    let faults_done = AtomicBool::new(false);
    let seed = random.u64(..);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            disturb(&mut fake, &proxy, chaos, seed);
            faults_done.store(true, Relaxed);
        });
        while !faults_done.load(Relaxed) || publisher.runs() {
            assert!(begin.elapsed() < chaos.limit, "all is published: {}", place.said());
            std::thread::sleep(Duration::from_millis(random.u64(1000..3000)));
            let i = random.usize(..members.len());
            assert!(members[i].runs(), "a member ended by itself: {}", place.said());
            if random.bool() {
                members[i].end(Signal::SIGKILL);
                killed += 1;
            } else {
                members[i].end(Signal::SIGTERM);
                told += 1;
            }
            members[i] = place.member();
        }
    });
    assert!(publisher.0.wait().unwrap().success(), "every event was acknowledged: {}", place.said());
    let stored = stored(&fake, chaos.events);
    while fake.state().not_acked("orders.g") > 0 {
        assert!(begin.elapsed() < chaos.limit, "all is settled: {}", place.said());
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begin.elapsed();
    for member in &mut members {
        assert!(member.runs(), "a member ended by itself: {}", place.said());
        member.end(Signal::SIGTERM);
    }
    let dead = fake.state().published("orders.g.dlq");
    assert_eq!(dead, 0, "nothing died: {}", place.said());
    let (deliveries, duplicates) = handled(&place, &stored);
    Report {
        events: chaos.events,
        faults: chaos.faults + usize::from(chaos.long_pause),
        members_killed: killed,
        members_told_to_stop: told,
        stored_twice: stored.len() - chaos.events,
        deliveries,
        duplicates,
        took,
    }
}

fn disturb(fake: &mut Fake, proxy: &Proxy, chaos: &Chaos, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pause = |least, most| std::thread::sleep(Duration::from_millis(random.u64(least..most)));
    for round in 0..chaos.faults {
        pause(500, 2000);
        match round % 3 {
            0 => proxy.hang_up(),
            1 => {
                fake.pause(true);
                pause(500, 3000);
                fake.pause(false);
            }
            _ => fake.restart(Duration::from_millis(700)),
        }
    }
    if chaos.long_pause {
        fake.pause(true);
        std::thread::sleep(Duration::from_secs(12));
        fake.pause(false);
    }
}

/// By its id: its key and its number.
type Stored = HashMap<u64, (String, usize)>;

/// What the topic holds: all that was acknowledged, and each key's in the order it was published.
fn stored(fake: &Fake, events: usize) -> Stored {
    let (mut all, mut last) = (Stored::new(), HashMap::new());
    let mut seen = vec![false; events];
    for (id, key, payload) in fake.state().kept("orders") {
        let number: usize = String::from_utf8(payload).unwrap().parse().unwrap();
        all.insert(id.parse().unwrap(), (key.clone(), number));
        if !std::mem::replace(&mut seen[number], true) {
            let before = last.insert(key.clone(), number);
            assert!(before < Some(number), "{key}: {number} is stored after {before:?}");
        }
    }
    let lost: Vec<_> = (0..events).filter(|number| !seen[*number]).take(20).collect();
    assert!(lost.is_empty(), "acknowledged, and not stored: {lost:?} ...");
    all
}

/// Each was handled, and for the first time in the order of its key; so many deliveries, so many again.
fn handled(place: &Place<'_>, stored: &Stored) -> (usize, usize) {
    let mut entries: Vec<(u128, u64)> = Vec::new();
    for file in std::fs::read_dir(place.dir.join("logs")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let parts: Vec<_> = line.split(' ').collect();
            let id = parts[2].parse().unwrap();
            let (key, number) = &stored[&id];
            assert_eq!((parts[3], parts[4]), (key.as_str(), number.to_string().as_str()), "{id}");
            entries.push((parts[0].parse().unwrap(), id));
        }
    }
    entries.sort_unstable();
    let (mut last, mut first) = (HashMap::new(), HashSet::new());
    for (_, id) in &entries {
        if first.insert(*id) {
            let key = stored[id].0.as_str();
            let before = last.insert(key, *id);
            assert!(before < Some(*id), "{key}: {id} came for the first time after {before:?}");
        }
    }
    let lost: Vec<_> = stored.keys().filter(|id| !first.contains(id)).take(20).collect();
    assert!(lost.is_empty(), "settled, and not handled: {lost:?} ...");
    (entries.len(), entries.len() - first.len())
}

#[test]
fn nothing_is_lost_while_connections_members_and_the_server_go_and_come() {
    let dir = tempfile::tempdir().unwrap();
    let chaos = Chaos {
        events: 5000,
        keys: 100,
        rate: 400,
        members: 3,
        faults: 6,
        long_pause: false,
        seed: fastrand::u64(..),
        limit: Duration::from_secs(150),
    };
    println!("seed {}", chaos.seed);
    println!("{:?}", run(dir.path(), &chaos));
}
