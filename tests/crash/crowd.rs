//! Many processes at once, killed at random; then the file and the handlers' own logs are compared.
//!
//! Used by the test with small numbers and by the bench with large ones.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::store::{self, Stored};

/// The argument that makes a test or bench binary a handler: the directory of the logs follows it.
pub const WORKER: &str = "--as-worker";

/// How many of what.
pub struct Crowd {
    pub publishers: usize,
    pub events_each: usize,
    pub members: usize,
    pub concurrency: usize,
    pub keys: usize,
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    pub events: usize,
    pub kills: usize,
    pub deliveries: usize,
    pub duplicates: usize,
    pub took: Duration,
}

/// Answers one line for each event, after writing down when it came and which it was.
pub fn work(logs: &Path) {
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(logs.join(format!("{}.log", std::process::id())))
        .unwrap();
    let (stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in stdin.lines() {
        let Ok(line) = line else { return };
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        // One write, so that a line is whole or not there.
        let entry = format!(
            "{at} {} {} {}\n",
            event["offset"],
            event["key"].as_str().unwrap(),
            event["payload"].as_str().unwrap()
        );
        log.write_all(entry.as_bytes()).unwrap();
        if stdout.write_all(b"ok\n").and_then(|()| stdout.flush()).is_err() {
            return; // the member was killed
        }
    }
}

struct Place<'a> {
    evcat: &'a Path,
    database: PathBuf,
    logs: PathBuf,
    errors: PathBuf,
    concurrency: usize,
}

impl Place<'_> {
    fn evcat(&self) -> Command {
        let mut command = Command::new(self.evcat);
        command.arg("-b").arg(format!("local:{}", self.database.display()));
        let errors = File::options().create(true).append(true).open(&self.errors).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command
    }

    fn member(&self, more: &[&str]) -> Child {
        let mut command = self.evcat();
        command.args([
            "subscribe",
            "o",
            "-g",
            "g",
            "--from",
            "beginning",
            "--worker",
            "--max-attempts",
            "1000",
        ]);
        command.args(["--concurrency", &self.concurrency.to_string()]).args(more).arg("--");
        command.arg(std::env::current_exe().unwrap()).arg(WORKER).arg(&self.logs);
        command.spawn().unwrap()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.errors)
            .unwrap_or_default()
            .lines()
            .rev()
            .take(20)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Publishes and handles, kills members meanwhile, lets the rest be handled, and checks everything.
pub fn run(evcat: &Path, dir: &Path, crowd: &Crowd) -> Report {
    let place = Place {
        evcat,
        database: dir.join("it.db"),
        logs: dir.join("logs"),
        errors: dir.join("errors"),
        concurrency: crowd.concurrency,
    };
    std::fs::create_dir(&place.logs).unwrap();
    let (begin, mut random) = (Instant::now(), fastrand::Rng::with_seed(crowd.seed));
    let inputs: Vec<_> = (0..crowd.publishers).map(|i| input(dir, i, crowd)).collect();
    let publish = |input: &PathBuf| {
        let mut command = place.evcat();
        command.args(["publish", "o", "-K", ":"]).stdin(File::open(input).unwrap()).spawn().unwrap()
    };
    // The topic and its group are there before the first event, so that no member begins after one.
    let first = place.evcat().args(["groups", "create", "g", "o", "--from", "beginning"]).status().unwrap();
    assert!(first.success(), "the group is made: {}", place.said());
    let mut publishers: Vec<_> = inputs.iter().map(publish).collect();
    let mut members: Vec<_> = (0..crowd.members).map(|_| place.member(&[])).collect();
    let mut kills = 0;
    while publishers.iter_mut().any(|child| child.try_wait().unwrap().is_none()) || kills < crowd.members * 8
    {
        std::thread::sleep(Duration::from_millis(random.u64(20..250)));
        let i = random.usize(..members.len());
        assert!(members[i].try_wait().unwrap().is_none(), "a member ended by itself: {}", place.said());
        members[i].kill().unwrap();
        members[i].wait().unwrap();
        members[i] = place.member(&[]);
        kills += 1;
    }
    for child in &mut publishers {
        assert!(child.wait().unwrap().success(), "every publish was acknowledged: {}", place.said());
    }
    let mut last = place.member(&["--no-follow"]);
    let until = Instant::now() + Duration::from_secs(60) + begin.elapsed() * 3;
    while last.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the rest is handled: {}", place.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(last.wait().unwrap().success(), "{}", place.said());
    // What the others hold they finish; then nothing is open.
    while !is_done(&place.database) {
        assert!(Instant::now() < until, "everything is settled: {}", place.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = begin.elapsed();
    for mut member in members {
        member.kill().unwrap();
        member.wait().unwrap();
    }
    let total = crowd.publishers * crowd.events_each;
    let (deliveries, duplicates) = check(&place, total);
    Report { events: total, kills, deliveries, duplicates, took }
}

fn input(dir: &Path, i: usize, crowd: &Crowd) -> PathBuf {
    let path = dir.join(format!("input-{i}"));
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    for n in 0..crowd.events_each {
        writeln!(file, "k{}:p{i}.{n}", n % crowd.keys).unwrap();
    }
    file.flush().unwrap();
    path
}

/// Whether the group is at the end and holds nothing, by the file itself.
fn is_done(database: &Path) -> bool {
    let sql = rusqlite::Connection::open(database).unwrap();
    sql.busy_timeout(Duration::from_secs(10)).unwrap();
    let query = "SELECT (SELECT count(*) FROM open) = 0 AND grp.next =
         (SELECT id - (topic.id << 40) + n FROM block WHERE id < (topic.id + 1) << 40 ORDER BY id DESC LIMIT 1)
         FROM grp JOIN topic ON topic.id = grp.topic WHERE topic.name = 'o' AND grp.name = 'g'";
    sql.query_row(query, [], |row| row.get(0)).unwrap()
}

/// Nothing lost, nothing twice in the file, every event handled, each key's first deliveries in order.
fn check(place: &Place<'_>, total: usize) -> (usize, usize) {
    let store = store::read(&place.database).unwrap();
    let events = store.events("o");
    assert_eq!(events.len(), total, "every acknowledged event is stored");
    let mut seen = HashMap::new();
    for (offset, event) in events.iter().enumerate() {
        assert_eq!(seen.insert(event.text(), offset), None, "{} is stored twice", event.text());
    }
    let each = |event: &Stored| {
        let text = event.text();
        let (publisher, n) = text[1..].split_once('.').unwrap();
        (publisher.parse::<usize>().unwrap(), n.parse::<usize>().unwrap())
    };
    let mut next = HashMap::new();
    for event in events {
        let (publisher, n) = each(event);
        let due = next.entry(publisher).or_insert(0);
        assert_eq!(n, *due, "publisher {publisher} is stored in the order it published");
        *due += 1;
    }
    let group = store.group("o", "g");
    assert!((0..total).all(|offset| group.has_settled(offset as i64)), "everything is settled");
    assert_eq!(group.back, 0, "nothing was put back");
    assert!(
        store.topics.iter().all(|(topic, (_, events))| topic == "o" || events.is_empty()),
        "nothing died"
    );

    let mut lines = Vec::new();
    for entry in std::fs::read_dir(&place.logs).unwrap() {
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let parts: Vec<_> = line.split(' ').collect();
            let (at, offset): (u128, usize) = (parts[0].parse().unwrap(), parts[1].parse().unwrap());
            let event = &events[offset];
            assert_eq!(parts[2].as_bytes(), event.key.as_deref().unwrap(), "the key of {offset}");
            assert_eq!(parts[3], event.text(), "the payload of {offset}");
            lines.push((at, offset));
        }
    }
    lines.sort();
    let mut first = vec![false; total];
    let mut last_of = HashMap::new();
    let mut duplicates = 0;
    for (_, offset) in &lines {
        if std::mem::replace(&mut first[*offset], true) {
            duplicates += 1;
            continue;
        }
        let key = events[*offset].key.as_deref().unwrap();
        if let Some(before) = last_of.insert(key, *offset) {
            assert!(before < *offset, "{offset} came for the first time after {before} of its key");
        }
    }
    let unseen = first.iter().filter(|seen| !**seen).count();
    assert_eq!(unseen, 0, "every settled event was handled");
    (lines.len(), duplicates)
}
