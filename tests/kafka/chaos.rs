//! Three brokers and a group, killed at random while events are published and handled; then the topic and the handlers'
//! own logs are compared.
//!
//! Used by the test with small numbers and by the bench with large ones.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::brokers::{Private, python};

/// How many of what.
pub struct Chaos {
    pub events: usize,
    pub keys: usize,
    /// Published a second.
    pub rate: usize,
    pub members: usize,
    pub broker_kills: usize,
    /// One of the brokers is also stopped for so long that the others go on without it, and wakes as one that was.
    pub pause: bool,
    pub seed: u64,
    /// All of it takes no longer.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "printed whole")]
pub struct Report {
    pub events: usize,
    pub broker_kills: usize,
    pub members_killed: usize,
    pub members_told_to_stop: usize,
    /// Records that the topic has twice, because an acknowledgement was lost on its way.
    pub stored_twice: usize,
    pub deliveries: usize,
    /// Deliveries of a record after its first.
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
    url: &'a str,
    dir: &'a Path,
}

impl Place<'_> {
    fn evcat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
        let errors = File::options().create(true).append(true).open(self.dir.join("errors")).unwrap();
        command.args(["-b", self.url, "--timeout", "1m"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command
    }

    fn does(&self, arguments: &[&str]) {
        assert!(self.evcat(arguments).status().unwrap().success(), "{arguments:?}: {}", self.said());
    }

    fn member(&self) -> Running {
        let subscribe = ["subscribe", "o", "-g", "g", "--worker", "--concurrency", "4"];
        let mut command = self.evcat(&subscribe);
        command.args(["--max-attempts", "1000", "--"]).arg(python().unwrap());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/worker.py")).arg(self.dir.join("logs"));
        Running(command.spawn().unwrap())
    }

    fn publisher(&self, chaos: &Chaos) -> Running {
        let path = self.dir.join("input");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        (0..chaos.events).for_each(|n| writeln!(file, "k{}:{n}", n % chaos.keys).unwrap());
        file.flush().unwrap();
        let mut command = self.evcat(&["publish", "o", "-K", ":", "--rate", &format!("{}/s", chaos.rate)]);
        Running(command.stdin(File::open(path).unwrap()).spawn().unwrap())
    }

    /// The last of what was said on stderr.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.dir.join("errors")).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Publishes and handles, kills brokers and members meanwhile, lets the rest be handled, and checks everything.
pub fn run(cluster: &Private, dir: &Path, chaos: &Chaos) -> Report {
    let place = Place { url: cluster.url(), dir };
    std::fs::create_dir(dir.join("logs")).unwrap();
    place.does(&["topics", "create", "o", "--partitions", "12"]);
    place.does(&["groups", "create", "g", "o", "--from", "beginning"]);
    let (begin, mut random) = (Instant::now(), fastrand::Rng::with_seed(chaos.seed));
    let mut publisher = place.publisher(chaos);
    let mut members: Vec<_> = (0..chaos.members).map(|_| place.member()).collect();
    let (mut killed, mut told) = (0, 0);
    let brokers_done = AtomicBool::new(false);
    let seed = random.u64(..);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kill_brokers(cluster, chaos, seed);
            brokers_done.store(true, Relaxed);
        });
        while !brokers_done.load(Relaxed) || publisher.runs() {
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
    let stored = stored(&place, chaos.events);
    // Who waits for a group in this way is told no sooner than it is true: that is looked at in `handled`.
    let left = format!("{}s", chaos.limit.saturating_sub(begin.elapsed()).as_secs());
    place.does(&["groups", "lag", "g", "--max", "0", "--for", &left]);
    let took = begin.elapsed();
    for member in &mut members {
        assert!(member.runs(), "a member ended by itself: {}", place.said());
        member.end(Signal::SIGTERM);
    }
    let (deliveries, duplicates) = handled(&place, &stored);
    Report {
        events: chaos.events,
        broker_kills: chaos.broker_kills,
        members_killed: killed,
        members_told_to_stop: told,
        stored_twice: stored.len() - chaos.events,
        deliveries,
        duplicates,
        took,
    }
}

/// One after the other, each back before the next goes: two that are gone stop everything.
fn kill_brokers(cluster: &Private, chaos: &Chaos, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..chaos.broker_kills {
        let node = round % 3 + 1;
        std::thread::sleep(Duration::from_millis(random.u64(500..2000)));
        cluster.kill(node);
        std::thread::sleep(Duration::from_millis(random.u64(0..2000)));
        cluster.restart(node);
    }
    if chaos.pause {
        // It counts as gone after two seconds.
        let node = random.usize(1..=3);
        cluster.pause(node);
        std::thread::sleep(Duration::from_secs(4));
        cluster.resume(node);
    }
}

/// A record, by partition and offset: its key and its number.
type Stored = HashMap<(i32, i64), (String, usize)>;

/// What another client finds in the topic: all that was acknowledged, and each key's in the order it was published.
fn stored(place: &Place<'_>, events: usize) -> Stored {
    let servers = place.url.split_once("://").unwrap().1;
    let kcat = ["-C", "-e", "-q", "-b", servers, "-t", "o", "-o", "beginning", "-f", "%p %o %k %s\n"];
    let output = Command::new("kcat").args(kcat).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut all, mut last) = (Stored::new(), HashMap::new());
    let mut seen = vec![false; events];
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let [partition, offset, key, number] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let number: usize = number.parse().unwrap();
        all.insert((partition.parse().unwrap(), offset.parse().unwrap()), (key.to_owned(), number));
        if !std::mem::replace(&mut seen[number], true) {
            let before = last.insert(key.to_owned(), number);
            assert!(before < Some(number), "{key}: {number} is stored after {before:?}");
        }
    }
    let lost: Vec<_> = (0..events).filter(|number| !seen[*number]).take(20).collect();
    assert!(lost.is_empty(), "acknowledged, and not stored: {lost:?} ...");
    all
}

/// Each record was handled, and for the first time in the order of its key; so many deliveries, so many again.
fn handled(place: &Place<'_>, stored: &Stored) -> (usize, usize) {
    let mut entries: Vec<(u128, i32, i64)> = Vec::new();
    for file in std::fs::read_dir(place.dir.join("logs")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let parts: Vec<_> = line.split(' ').collect();
            let at = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
            let (key, number) = &stored[&at];
            assert_eq!((parts[3], parts[4]), (key.as_str(), number.to_string().as_str()), "{at:?}");
            entries.push((parts[0].parse().unwrap(), at.0, at.1));
        }
    }
    entries.sort_unstable();
    let (mut last, mut first) = (HashMap::new(), std::collections::HashSet::new());
    for (_, partition, offset) in &entries {
        if first.insert((*partition, *offset)) {
            let key = stored[&(*partition, *offset)].0.as_str();
            let before = last.insert(key, *offset);
            assert!(before < Some(*offset), "{key}: {offset} came for the first time after {before:?}");
        }
    }
    let lost: Vec<_> = stored.keys().filter(|at| !first.contains(at)).take(20).collect();
    assert!(lost.is_empty(), "settled, and not handled: {lost:?} ...");
    (entries.len(), entries.len() - first.len())
}
