//! A log that is torn, cut short, damaged or gone, and copies taken in use: an earlier commit, or words.

use std::path::Path;

use evcat::broker::{Error, Kind, PublishOptions};
use libtest_mimic::Trial;

use crate::disk::{Files, lay_out};
use crate::rig::*;
use crate::trial;

const DB: &str = "it.db";
const LOG: &str = "it.db-wal";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("log: cut short anywhere opens at an earlier commit", cut_short),
        trial("log: a flipped byte anywhere opens at an earlier commit", flipped),
        trial("log: gone opens at the last checkpoint", gone),
        trial("copy: taken while in use opens at an earlier commit or says what is wrong", copied_in_use),
    ]
}

fn payload(i: usize) -> String {
    format!("event-{i:05}-{}", "y".repeat(i * 37 % 900))
}

/// The files of a broker that is at work, with all it stored in the log: 40 commits, 200 events.
fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let broker = open(&dir.path().join(DB));
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        for i in 0..40 {
            publish(&*publisher, events("o", (i * 5..i * 5 + 5).map(|i| ("k".into(), payload(i))))).await;
        }
        copy(dir.path())
    })
}

fn copy(dir: &Path) -> Files {
    [DB, LOG]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::fs::read(dir.join(name)).ok()?)))
        .collect()
}

/// Opens these files: the events from the beginning without a gap, or an error with words.
fn opens(files: &Files, dir: &Path) -> Result<usize, Error> {
    lay_out(files, dir);
    let read = block_on(async { read(&open(&dir.join(DB)), "o").await });
    match read {
        Ok(read) => {
            for (i, text) in read.iter().enumerate() {
                assert_eq!(*text, payload(i), "what is there is what was published, densely from the first");
            }
            Ok(read.len())
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(0),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Broken, "{error}");
            assert!(error.detail().message.split(' ').count() > 2, "it says what is wrong: {error}");
            Err(error)
        }
    }
}

/// The same, and one more event finds its place behind them.
fn goes_on(files: &Files, dir: &Path) -> usize {
    let n = opens(files, dir).unwrap();
    let receipt = block_on(async {
        let publisher = open(&dir.join(DB)).publisher(PublishOptions::default()).await.unwrap();
        publish(&*publisher, events("o", [("k".into(), "next".into())])).await.remove(0)
    });
    assert_eq!(receipt.position.offset(), Some(n as i64));
    n
}

fn cut_short() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    let log = &files[LOG];
    let mut random = fastrand::Rng::with_seed(3);
    let mut lengths: Vec<_> = (0..80).map(|_| random.usize(..log.len())).collect();
    lengths.extend([0, 1, 31, 32, 33, log.len() - 1, log.len()]);
    lengths.sort();
    let mut before = 0;
    for length in lengths {
        let mut files = files.clone();
        files.get_mut(LOG).unwrap().truncate(length);
        let n = goes_on(&files, dir.path());
        assert!(
            n >= before && n.is_multiple_of(5),
            "{n} events with {length} bytes of the log: commits, whole"
        );
        before = n;
    }
    assert_eq!(before, 200);
}

fn flipped() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..80 {
        let mut files = files.clone();
        let log = files.get_mut(LOG).unwrap();
        let at = random.usize(..log.len());
        log[at] ^= 1 << random.usize(..8);
        let n = goes_on(&files, dir.path());
        assert_eq!(n % 5, 0, "{n} events: commits, whole");
    }
}

fn gone() {
    let (mut files, dir) = (files(), tempfile::tempdir().unwrap());
    files.remove(LOG);
    assert_eq!(goes_on(&files, dir.path()), 0, "older, and nothing can tell");
}

/// Copies are taken file by file, in both orders, between commits and checkpoints.
fn copied_in_use() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut copies = Vec::new();
    block_on(async {
        let broker = open(&dir.path().join(DB));
        let mut next = 0;
        let mut random = fastrand::Rng::with_seed(6);
        for i in 0..40 {
            // A publisher that ends empties a long log into the file.
            let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
            let order = if i % 2 == 0 { [DB, LOG] } else { [LOG, DB] };
            let mut copy = Files::new();
            for name in order {
                for _ in 0..random.usize(1..4) {
                    let n = random.usize(1..120);
                    publish(&*publisher, events("o", (next..next + n).map(|i| ("k".into(), payload(i)))))
                        .await;
                    next += n;
                }
                if let Ok(bytes) = std::fs::read(dir.path().join(name)) {
                    copy.insert(name.to_owned(), bytes);
                }
            }
            copies.push((copy, next));
        }
    });
    let (mut opened, mut refused) = (0, 0);
    for (copy, most) in &copies {
        match opens(copy, scratch.path()) {
            Ok(n) => {
                assert!(n <= *most);
                opened += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("{opened} copies opened at an earlier commit, {refused} said what is wrong");
}
