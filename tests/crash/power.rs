//! A power cut at every write: what was promised by then is there, and nothing is half there.

use std::collections::HashSet;
use std::path::Path;

use evcat::broker::{Broker, PublishOptions, Settlement};
use libtest_mimic::Trial;

use crate::disk::{Disk, lay_out};
use crate::rig::*;
use crate::store::{self, Store};
use crate::vfs::{Op, Tape};
use crate::{trial, vfs::record};

const DB: &str = "p.db";
const LOG: &str = "p.db-wal";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("power cut: at every write of making the file and publishing", || holds(&publishing(), 4)),
        trial("power cut: at every write of claims, settles and moves", || holds(&settling(), 2)),
        trial("power cut: at every write of a bulk and its checkpoint", || holds(&checkpointing(), 2)),
        trial("power cut: at every write of putting dead letters back to their group", || {
            holds(&putting_back(), 4)
        }),
        trial("power cut: a log that is not synced is found out, publishing", || {
            is_found_out(&publishing(), LOG)
        }),
        trial("power cut: a log that is not synced is found out, moving", || is_found_out(&settling(), LOG)),
        trial("power cut: a file that is not synced is found out, checkpoint", || {
            is_found_out(&checkpointing(), DB)
        }),
    ]
}

/// What the program was told, in the order of the marks on the tape.
#[derive(Clone, Debug)]
enum Promise {
    /// So many events of the topic are stored: `0..n` in order.
    Stored(usize),
    /// These are settled; a power cut may take it back until the log is next synced.
    Settled(Vec<i64>),
    /// These are settled, and a copy of each is in `letters`.
    Moved(Vec<i64>),
    /// So many dead letters are settled, and lie before their group.
    PutBack(usize),
}

/// Operations, and what was promised at each mark.
struct Recording {
    ops: Vec<Op>,
    promises: Vec<Promise>,
    /// Offsets that were to be moved, whether or not anybody was told so.
    to_move: HashSet<i64>,
}

struct Recorder {
    dir: tempfile::TempDir,
    tape: Tape,
    promises: Vec<Promise>,
    to_move: HashSet<i64>,
}

impl Recorder {
    fn new() -> Recorder {
        let dir = scratch();
        let tape = record(dir.path());
        Recorder { dir, tape, promises: Vec::new(), to_move: HashSet::new() }
    }

    fn broker(&self) -> std::sync::Arc<dyn Broker> {
        open(&self.dir.path().join(DB))
    }

    fn promise(&mut self, promise: Promise) {
        self.tape.mark(self.promises.len());
        self.promises.push(promise);
    }

    fn stop(self) -> Recording {
        Recording { ops: self.tape.ops(), promises: self.promises, to_move: self.to_move }
    }
}

/// In memory where there is such a place: thousands of files are laid out.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The payload of the event at `i`: short ones, and some that need pages of their own.
fn payload(i: usize) -> String {
    format!("event-{i:05}-{}", "x".repeat([10, 100, 3000, 40_000][if i % 7 == 3 { 3 } else { i % 3 }]))
}

fn numbered(topic: &str, from: usize, n: usize) -> Vec<evcat::event::Event> {
    events(topic, (from..from + n).map(|i| (format!("k{}", i % 3), payload(i))))
}

async fn store(recorder: &mut Recorder, broker: &dyn Broker, from: usize, n: usize) {
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    publish(&*publisher, numbered("o", from, n)).await;
    recorder.promise(Promise::Stored(from + n));
}

/// The file is made; several publishers store one event, or a few.
fn publishing() -> Recording {
    let mut recorder = Recorder::new();
    block_on(async {
        let broker = recorder.broker();
        let mut from = 0;
        for n in [1, 1, 3, 1, 12, 1, 1] {
            store(&mut recorder, &*broker, from, n).await;
            from += n;
        }
    });
    recorder.stop()
}

/// A group at work between publishes: acks, retries, releases, dead letters.
fn settling() -> Recording {
    let mut recorder = Recorder::new();
    block_on(async {
        let broker = recorder.broker();
        store(&mut recorder, &*broker, 0, 12).await;
        let first = member(&broker, "o", 4).await;
        for round in 0..3 {
            let mut some = Vec::new();
            while some.len() < 4 {
                some.extend(deliveries(&*first).await);
            }
            let (mut items, mut acked, mut moved) = (Vec::new(), Vec::new(), Vec::new());
            for (i, delivery) in some.iter().enumerate() {
                let offset = delivery.event.position().offset().unwrap();
                let how = match (round + i) % 4 {
                    0 => {
                        recorder.to_move.insert(offset);
                        moved.push(offset);
                        let copy = events("letters", [("k".into(), text(&delivery.event))]).remove(0);
                        Settlement::Move { event: Box::new(copy), only: None }
                    }
                    // Of what is retried, all of its key that was handed out later is given back with it.
                    1 if round == 2 => Settlement::Release,
                    _ => {
                        acked.push(offset);
                        Settlement::Ack
                    }
                };
                items.push((delivery.token, how));
            }
            for answer in first.settle(items).await.unwrap() {
                answer.unwrap();
            }
            recorder.promise(Promise::Settled(acked));
            recorder.promise(Promise::Moved(moved));
            let from = 12 + round * 2;
            store(&mut recorder, &*broker, from, 2).await;
        }
        // Acks alone: the newest may be taken back by a power cut, until the next publish.
        let some = deliveries(&*first).await;
        let offsets: Vec<_> = some.iter().map(|d| d.event.position().offset().unwrap()).collect();
        for delivery in some {
            first.settle(vec![(delivery.token, Settlement::Ack)]).await.unwrap().remove(0).unwrap();
        }
        recorder.promise(Promise::Settled(offsets));
        store(&mut recorder, &*broker, 18, 1).await;
        first.close().await.unwrap();
    });
    recorder.stop()
}

/// Dead letters go back to the group that failed, some alone and some together.
fn putting_back() -> Recording {
    let mut recorder = Recorder::new();
    block_on(async {
        let broker = recorder.broker();
        member(&broker, "o", 1).await.close().await.unwrap();
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let receipts = publish(&*publisher, numbered("letters", 0, 7)).await;
        let chosen = receipts.into_iter().map(|receipt| receipt.position).collect();
        let run = a_run(&broker, "letters", chosen).await;
        let mut letters = Vec::new();
        while letters.len() < 7 {
            letters.extend(deliveries(&*run).await);
        }
        for (some, so_far) in [(0..1, 1), (1..4, 4), (4..6, 6)] {
            let items = letters[some].iter().map(|letter| {
                let copy = events("o", [("k".into(), text(&letter.event))]).remove(0);
                (letter.token, Settlement::Move { event: Box::new(copy), only: Some("g".into()) })
            });
            for answer in run.settle(items.collect()).await.unwrap() {
                answer.unwrap();
            }
            recorder.promise(Promise::PutBack(so_far));
        }
        run.close().await.unwrap();
    });
    recorder.stop()
}

/// More than the log may hold, so that it is moved into the file and cut.
fn checkpointing() -> Recording {
    let mut recorder = Recorder::new();
    let path = recorder.dir.path().join(DB);
    block_on(async {
        let broker = recorder.broker();
        for i in 0..3 {
            store(&mut recorder, &*broker, i * 60, 60).await;
        }
        // A publisher empties a long log when it ends, on its own thread.
        let (db, until) = (DB.to_owned(), std::time::Instant::now() + std::time::Duration::from_secs(10));
        while !recorder.tape.ops().iter().skip(100).any(|op| matches!(op, Op::Sync { file } if *file == db)) {
            assert!(std::time::Instant::now() < until, "no checkpoint of {} came", path.display());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        store(&mut recorder, &*broker, 180, 2).await;
    });
    recorder.stop()
}

/// Tries a power cut at every write; the first thing that is wrong, or how many were tried.
fn try_all(recording: &Recording, tries: usize, ignored: Option<&str>) -> Result<usize, String> {
    let mut random = fastrand::Rng::with_seed(41);
    let (mut disk, mut held, mut cuts) = (Disk::default(), Held::default(), 0);
    let dir = scratch();
    for (i, op) in recording.ops.iter().enumerate() {
        // The file is made as it should be; it is promises that an ignored sync breaks.
        disk.take(op, ignored.filter(|_| held.anything));
        match op {
            Op::Mark(promise) => held.add(&recording.promises[*promise]),
            Op::Sync { file } if file == LOG => held.log_was_synced(),
            _ => {}
        }
        if !matches!(op, Op::Write { .. } | Op::Truncate { .. } | Op::Remove { .. }) {
            continue;
        }
        for (j, files) in disk.after_a_cut(&mut random, tries).iter().enumerate() {
            cuts += 1;
            lay_out(files, dir.path());
            let path = dir.path().join(DB);
            let wrong = |what: String| format!("cut {i} of {}, variant {j}: {what}", recording.ops.len());
            let store = match path.exists() {
                true => store::read(&path).map_err(wrong)?,
                false => Store::default(),
            };
            held.check(&store, recording).map_err(wrong)?;
            if (i + j) % 5 == 0 {
                block_on(goes_on(&path, &store)).map_err(wrong)?;
            }
        }
    }
    Ok(cuts)
}

fn holds(recording: &Recording, tries: usize) {
    match try_all(recording, tries, None) {
        Ok(cuts) => println!("{cuts} power cuts over {} operations", recording.ops.len()),
        Err(wrong) => panic!("{wrong}"),
    }
}

/// The checker can fail: with this file's syncs ignored it must.
fn is_found_out(recording: &Recording, file: &str) {
    match try_all(recording, 2, Some(file)) {
        Ok(cuts) => panic!("{cuts} power cuts, and nobody missed the syncs of {file}"),
        Err(wrong) => println!("found out: {wrong}"),
    }
}

/// What has been promised so far.
#[derive(Default)]
struct Held {
    anything: bool,
    stored: usize,
    settled: HashSet<i64>,
    until_synced: HashSet<i64>,
    put_back: usize,
}

impl Held {
    fn add(&mut self, promise: &Promise) {
        self.anything = true;
        match promise {
            Promise::Stored(n) => self.stored = *n,
            Promise::Settled(offsets) => self.until_synced.extend(offsets),
            Promise::Moved(offsets) => self.settled.extend(offsets),
            Promise::PutBack(n) => self.put_back = *n,
        }
    }

    fn log_was_synced(&mut self) {
        self.settled.extend(self.until_synced.drain());
    }

    fn check(&self, store: &Store, recording: &Recording) -> Result<(), String> {
        let stored = store.events("o");
        if stored.len() < self.stored {
            return Err(format!("{} of {} acknowledged events are there", stored.len(), self.stored));
        }
        if let Some(i) = (0..stored.len()).find(|i| stored[*i].text() != payload(*i)) {
            return Err(format!("another event lies at {i}"));
        }
        let group = store.group("o", "g");
        for offset in &self.settled {
            if !group.has_settled(*offset) {
                return Err(format!("{offset} was settled for good and is open again"));
            }
        }
        // A move is whole or did not happen, told or not.
        let letters: Vec<_> = store.events("letters").iter().map(store::Stored::text).collect();
        for offset in &recording.to_move {
            let copies = letters.iter().filter(|letter| **letter == payload(*offset as usize)).count();
            let acked = group.has_settled(*offset);
            if copies != usize::from(acked) {
                return Err(format!("{offset}: {copies} copies, acked: {acked}"));
            }
        }
        let (settled, back) = (store.settled.get("letters").map_or(0, HashSet::len), group.back);
        if settled != back || back < self.put_back {
            return Err(format!(
                "{back} are put back and {settled} letters settled, of {} told",
                self.put_back
            ));
        }
        Ok(())
    }
}

/// The program itself opens what is left, reads the same, and goes on at the next offset.
async fn goes_on(path: &Path, store: &Store) -> Result<(), String> {
    let broker = open(path);
    let publisher = broker.publisher(PublishOptions::default()).await.map_err(|error| error.to_string())?;
    let receipt = publisher.send(events("o", [("k".into(), "after".into())]).into()).await.remove(0);
    let receipt = receipt.map_err(|error| error.to_string())?;
    let (want, got) = (store.events("o").len(), receipt.position.offset());
    if got != Some(want as i64) {
        return Err(format!("{want} events are there, and the next one lies at {got:?}"));
    }
    let read = read(&broker, "o").await.map_err(|error| error.to_string())?;
    if read.len() != want + 1 || read.iter().zip(store.events("o")).any(|(a, b)| *a != b.text()) {
        return Err(format!("{want} events are there, and {} are read", read.len()));
    }
    Ok(())
}
