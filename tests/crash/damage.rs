//! Files that are damaged, newer, somebody else's, read-only, or on a full disk: words and an exit code, and no repair.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use evcat::broker::{Broker, Error, Kind, PublishOptions, ReadOptions, Start, Stop};
use evcat::event::Position;
use libtest_mimic::{Completion, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rig::*;
use crate::{store, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("damage: a flipped byte in a payload is named by topic and offset", flipped_byte),
        trial("damage: a page of zeros is named", zeroed_page),
        trial("damage: a file cut short is refused", cut_short),
        trial("damage: a file that is cut short while it is read is told of", cut_short_meanwhile),
        trial("file: a newer schema is refused and left untouched", newer),
        trial("file: what is not an evcat database is refused and left untouched", foreign),
        trial("file: an empty one is made into a database", empty),
        trial("file: a directory, and a path in no directory, are named", no_file),
        on_a_disk("file: a read-only disk is said", "16m", read_only),
        on_a_disk("file: a full disk stops a bulk, keeps what was acknowledged, and is read on", "12m", full),
    ]
}

/// A test that needs a small disk of its own, which only root may mount.
fn on_a_disk(name: &str, size: &'static str, run: fn(&Path)) -> Trial {
    Trial::ignorable_test(name, move || {
        let dir = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "evcat-test"]).arg(dir.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            let required = std::env::var_os("EVCAT_REQUIRE_ALL").is_some();
            return match required {
                true => Err("a small disk cannot be mounted, and EVCAT_REQUIRE_ALL is set".into()),
                false => Ok(Completion::ignored_with("only root can mount a small disk")),
            };
        }
        let mounted = Mounted(dir.path().to_owned());
        run(&mounted.0);
        Ok(Completion::Completed)
    })
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a thread of the broker may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn payload(i: usize) -> String {
    format!("<event {i:05}>{}", "z".repeat(1000))
}

async fn fill(broker: &Arc<dyn Broker>, n: usize) {
    let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
    for from in (0..n).step_by(50) {
        publish(&*publisher, events("o", (from..(from + 50).min(n)).map(|i| ("k".into(), payload(i))))).await;
    }
}

/// A database of 400 events without a log, so that the file is all there is.
fn database(dir: &Path) -> PathBuf {
    let path = dir.join("it.db");
    block_on(async { fill(&open(&path), 400).await });
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    path
}

/// Why a publish is refused, by opening or by sending.
async fn refusal(broker: &Arc<dyn Broker>) -> Error {
    match broker.publisher(PublishOptions::default()).await {
        Err(error) => error,
        Ok(publisher) => {
            let receipt = publisher.send(events("o", [("k".into(), "x".into())]).into()).await.remove(0);
            receipt.expect_err("it cannot be stored")
        }
    }
}

/// What people see: the exit code and stderr of a look at everything.
fn tail(path: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evcat"));
    command.arg("-b").arg(format!("local:{}", path.display()));
    let output = command.args(["tail", "o", "--from", "beginning", "--no-follow"]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn assert_says(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "'{error}' does not say '{word}'");
    }
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it is in the file")
}

fn flipped_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = find(&bytes, "<event 00200>");
    bytes[at + 20] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    block_on(async {
        let broker = open(&path);
        let error = read(&broker, "o").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Broken);
        assert_says(&error, &["o", "checksum"]);
        assert!(
            error.detail().hint.as_deref().is_some_and(|hint| hint.contains("--from")),
            "{:?}",
            error.detail()
        );
        // Behind the damage it reads on: a block is at most 50 events here.
        let behind = ReadOptions {
            topics: vec!["o".into()],
            partition: None,
            start: Start::At(vec![("o".into(), Position::Offset(250))]),
            stop: Stop::Now,
            unsettled: false,
        };
        let mut reader = broker.reader(behind).await.unwrap();
        match reader.next().await.unwrap() {
            evcat::broker::Read::Events(events) => assert_eq!(text(&events[0]), payload(250)),
            other => panic!("{other:?}"),
        }
    });
    let (code, said) = tail(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("checksum") && said.contains("o"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is repaired in silence");
}

fn zeroed_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let page = find(&bytes, "<event 00200>") / 16_384 * 16_384;
    bytes[page..page + 16_384].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let error = block_on(async { read(&open(&path), "o").await.unwrap_err() });
    assert_eq!(error.kind(), Kind::Broken);
    assert_says(&error, &["damaged"]);
    let (code, said) = tail(&path);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is repaired in silence");
}

fn cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    for keep in [bytes.len() / 2, bytes.len() - 16_384, 16_384, 100, 50] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let error = block_on(async { read(&open(&path), "o").await.unwrap_err() });
        assert_eq!(error.kind(), Kind::Broken, "{keep} bytes left: {error}");
        assert!(error.detail().message.split(' ').count() > 2, "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[..keep], "nothing is repaired in silence");
    }
}

/// Who reads much has the file mapped, and what is cut off then, or cannot be read, may be a signal.
fn cut_short_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it.db");
    block_on(async { fill(&open(&path), 20_000).await });
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(sql);
    let signalled = reading(&path, |tail| kill(Pid::from_raw(tail.id() as i32), Signal::SIGBUS).unwrap());
    assert!(signalled.contains("could not be read on"), "{signalled}");
    let cut = reading(&path, |_| {
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap()
    });
    let told = ["could not be read on", "the file is damaged"].iter().any(|words| cut.contains(words));
    assert!(told, "{cut}");
}

/// What a reader of the file says that ends with exit 1, because of what is done while it waits for its pipe.
fn reading(path: &Path, meanwhile: impl FnOnce(&Child)) -> String {
    let mut tail = Command::new(env!("CARGO_BIN_EXE_evcat"));
    tail.args([
        "-b",
        &format!("local:{}", path.display()),
        "tail",
        "o",
        "--from",
        "beginning",
        "--no-follow",
    ]);
    let mut tail = tail.args(["-o", "raw"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // So much that it has the file mapped.
    let mut stdout = tail.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; 11 << 20]).unwrap();
    meanwhile(&tail);
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    let output = tail.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{:?} {stderr}", output.status);
    assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
    stderr
}

fn newer() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(dir.path());
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.execute_batch("PRAGMA user_version=99").unwrap();
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(sql);
    let bytes = std::fs::read(&path).unwrap();
    block_on(async {
        let broker = open(&path);
        let error = read(&broker, "o").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Broken);
        assert_says(&error, &["newer", "99"]);
        let error = refusal(&broker).await;
        assert_says(&error, &["newer"]);
        assert!(broker.topics("*").await.is_err());
    });
    let (code, said) = tail(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("newer"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "untouched");
}

fn foreign() {
    let dir = tempfile::tempdir().unwrap();
    let somebodys = |name: &str, mode: &str| {
        let path = dir.path().join(name);
        let sql = rusqlite::Connection::open(&path).unwrap();
        sql.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
        sql.execute_batch("CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)").unwrap();
        path
    };
    let letter = dir.path().join("letter.txt");
    std::fs::write(&letter, "Dear Sir or Madam,\n".repeat(100)).unwrap();
    for path in [letter, somebodys("rollback.db", "delete"), somebodys("log.db", "wal")] {
        let bytes = std::fs::read(&path).unwrap();
        block_on(async {
            let broker = open(&path);
            for error in [
                read(&broker, "o").await.unwrap_err(),
                refusal(&broker).await,
                broker.topics("*").await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), Kind::Broken, "{error}");
                assert_says(&error, &["not an evcat database"]);
            }
        });
        let (code, said) = tail(&path);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("not an evcat database"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "untouched");
        let beside = PathBuf::from(format!("{}-bell", path.display()));
        assert!(!beside.exists(), "nothing is left beside it");
    }
}

fn empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it.db");
    std::fs::write(&path, "").unwrap();
    block_on(async { fill(&open(&path), 1).await });
    assert_eq!(store::read(&path).unwrap().events("o").len(), 1);
}

fn no_file() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/dir/it.db");
    for (path, word) in [(dir.path().to_owned(), "directory"), (missing, "directory")] {
        let error = block_on(async { refusal(&open(&path)).await });
        assert_says(&error, &[word]);
        assert!(error.detail().hint.is_some(), "{error}: what to do next");
    }
    assert!(!dir.path().join("no").exists(), "no directory is made for a path that was typed");
}

fn read_only(disk: &Path) {
    let path = database(disk);
    let mut remount = Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(disk).status().unwrap().success());
    block_on(async {
        let error = refusal(&open(&path)).await;
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    });
    let (code, said) = tail(&path);
    assert!(code == Some(5) || code == Some(0), "denied with words, or read all the same: {code:?} {said}");
    let mut publish = Command::new(env!("CARGO_BIN_EXE_evcat"));
    publish.arg("-b").arg(format!("local:{}", path.display())).args(["publish", "o", "x"]);
    let output = publish.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        ["read-only", "not allowed", "cannot be opened"].iter().any(|words| said.contains(words)),
        "{said}"
    );
}

fn full(disk: &Path) {
    let path = disk.join("it.db");
    block_on(async {
        let broker = open(&path);
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let (mut acknowledged, mut refused) = (0, None);
        while refused.is_none() && acknowledged < 40_000 {
            let batch = events("o", (acknowledged..acknowledged + 100).map(|i| ("k".into(), payload(i))));
            for receipt in publisher.send(batch.into()).await {
                match receipt {
                    Ok(_) => acknowledged += 1,
                    Err(error) => refused = Some(error),
                }
            }
        }
        let error = refused.expect("12 MB are full at some point");
        assert_eq!(error.kind(), Kind::Full, "{error}");
        assert_says(&error, &["full"]);
        assert!(acknowledged > 1000, "{acknowledged}");
        let read = read(&broker, "o").await.expect("what is stored is read on a full disk");
        assert!(read.len() >= acknowledged, "{} of {acknowledged} acknowledged events", read.len());
        assert!(read.iter().enumerate().all(|(i, text)| *text == payload(i)));
        println!("{acknowledged} events were acknowledged before the disk was full, {} are read", read.len());
    });
    // Emptying the log may have made a little room; a program that goes on finds its end too.
    let refused = (0..100).find_map(|_| {
        let mut one = Command::new(env!("CARGO_BIN_EXE_evcat"));
        one.arg("-b")
            .arg(format!("local:{}", path.display()))
            .args(["publish", "other"])
            .arg("x".repeat(100_000));
        Some(one.output().unwrap()).filter(|output| !output.status.success())
    });
    let output = refused.expect("the disk is full again");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("full"), "{said}");
    // Room again: it goes on as if nothing had been.
    let mut remount = Command::new("mount");
    assert!(remount.args(["-o", "remount,size=64m"]).arg(disk).status().unwrap().success());
    block_on(async {
        let broker = open(&path);
        let before = read(&broker, "o").await.unwrap().len();
        let publisher = broker.publisher(PublishOptions::default()).await.unwrap();
        let receipt = publish(&*publisher, events("o", [("k".into(), "after".into())])).await.remove(0);
        assert_eq!(receipt.position.offset(), Some(before as i64));
    });
    store::read(&path).unwrap();
}
