//! Files of every kind that may lie where ours should: each is refused with words and left as it was, or read as far as it
//! can be.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::file::{Bell, Durability, Store};
use super::testing::{Bench, event};
use super::{log, schema};
use crate::broker::{Broker, Error, Kind, PublishOptions, Read, ReadOptions, Start, Stop};

fn refused(bench: &Bench) -> Error {
    let before = std::fs::read(&bench.place.path).unwrap();
    let error = Store::open(&bench.place, "open").err().expect("it is refused");
    assert_eq!(std::fs::read(&bench.place.path).unwrap(), before, "and left as it was");
    assert!(error.detail().hint.is_some(), "{error} says what to do");
    error
}

fn other(bench: &Bench, statements: &str) {
    Connection::open(&bench.place.path).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn many_may_make_the_file_at_once() {
    for _ in 0..10 {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let store = bench.store();
                    let one =
                        |sql: &Connection| Ok(sql.execute("INSERT INTO topic(name) VALUES (random())", [])?);
                    store.write(Durability::Process, Bell::Silent, one).unwrap();
                });
            }
        });
        let n = bench.store().sql().query_row("SELECT count(*) FROM topic", [], |row| row.get::<_, i64>(0));
        assert_eq!(n.unwrap(), 8);
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let bench = Bench::new();
    std::fs::write(&bench.place.path, "order,total\nA-17,42.5\n".repeat(100)).unwrap();
    let error = refused(&bench);
    assert_eq!(error.kind(), Kind::Broken);
    assert!(error.to_string().contains("not an evcat database"), "{error}");
    for mode in ["DELETE", "WAL"] {
        let bench = Bench::new();
        other(&bench, &format!("PRAGMA journal_mode={mode}; CREATE TABLE mail(x); PRAGMA wal_checkpoint"));
        assert!(refused(&bench).to_string().contains("not an evcat database"), "{mode}");
        let bench = Bench::new();
        other(&bench, &format!("PRAGMA application_id=77; PRAGMA journal_mode={mode}; CREATE TABLE mail(x)"));
        assert!(refused(&bench).to_string().contains("not an evcat database"), "{mode}");
    }
    let bench = Bench::new();
    std::fs::create_dir(&bench.place.path).unwrap();
    let error = Store::open(&bench.place, "open").err().unwrap();
    assert!(error.to_string().contains("is a directory"), "{error}");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn what_is_no_file_at_all_is_told_at_once() {
    let bench = Bench::new();
    let told = || Store::open_existing(&bench.place, "open").err().expect("it is refused");
    // To open it would wait for somebody who writes.
    nix::unistd::mkfifo(&bench.place.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(told().to_string().contains("is a pipe"), "{}", told());
    std::fs::remove_file(&bench.place.path).unwrap();
    std::os::unix::fs::symlink("gone/t.db", &bench.place.path).unwrap();
    assert_eq!(told().kind(), Kind::NotFound);
    let gone = bench.dir.path().join("gone");
    assert_eq!(told().detail().hint, Some(format!("mkdir -p '{}'", gone.display())));
    std::fs::create_dir(gone).unwrap();
    assert!(Store::open_existing(&bench.place, "open").unwrap().is_none(), "it can be made now");
}

#[test]
fn a_file_beside_it_that_cannot_be_is_named() {
    for name in ["t.db-gate", "t.db-bell"] {
        let bench = Bench::new();
        let beside = bench.dir.path().join(name);
        std::fs::create_dir(&beside).unwrap();
        let error = Store::open(&bench.place, "open").err().unwrap();
        assert!(error.detail().message.ends_with(&format!("{name}: is a directory")), "{error}");
        assert_eq!(
            error.detail().hint,
            Some(format!("evcat keeps a file there; take it away: rmdir '{}'", beside.display()))
        );
    }
}

#[test]
fn a_newer_file_is_left_alone_also_when_only_its_log_says_so() {
    let bench = Bench::new();
    drop(bench.store());
    let newer = schema::STEPS.len() + 1;
    let sql = Connection::open(&bench.place.path).unwrap();
    sql.execute_batch(&format!("PRAGMA user_version={newer}")).unwrap();
    let error = refused(&bench);
    assert_eq!(error.kind(), Kind::Broken);
    assert!(error.to_string().contains("newer evcat"), "{error}");
}

#[test]
fn an_empty_file_is_a_new_one_and_a_copy_is_ours() {
    let bench = Bench::new();
    std::fs::write(&bench.place.path, "").unwrap();
    let store = bench.store();
    store.write(Durability::Power, Bell::Ring, |sql| log::make_topic(sql, "t")).unwrap();
    let copy = Bench::new();
    store.sql().execute("VACUUM INTO ?1", [copy.place.path.to_str().unwrap()]).unwrap();
    let copied = copy.store();
    assert!(log::topic(copied.sql(), "t").unwrap().is_some());
    let mode: String = copied.sql().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_missing_directory_is_made_for_the_default_place_only() {
    let bench = Bench::new();
    let path = bench.dir.path().join("a/b/local.db");
    let typed = super::file::Place { path: path.clone(), ..(*bench.place).clone() };
    for opened in [
        Store::open(&typed.clone().into(), "open").map(Some),
        Store::open_existing(&typed.clone().into(), "open"),
    ] {
        let error = opened.err().unwrap();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
    let default = super::file::Place { make_parents: true, ..typed };
    assert!(Store::open(&default.into(), "open").is_ok());
    assert!(path.exists());
}

#[test]
fn a_directory_that_may_not_be_written_to_is_denied() {
    let bench = Bench::new();
    drop(bench.store());
    let mode = |mode| std::fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(mode)).unwrap();
    for name in ["t.db-wal", "t.db-shm", "t.db-bell", "t.db-gate"] {
        let _ = std::fs::remove_file(bench.dir.path().join(name));
    }
    mode(0o555);
    let root = std::fs::write(bench.dir.path().join("probe"), "").is_ok();
    let opened = Store::open(&bench.place, "open").map(drop);
    mode(0o755);
    // Nothing is denied to root.
    if !root {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.detail().message.contains("may not make files in"), "{error}");
    }
}

#[tokio::test]
async fn a_file_cut_short_is_said_to_be_damaged() {
    let bench = Bench::new();
    bench.offsets((0..2000).map(|i| event("t", &format!("{i:0100}"), None)).collect()).await;
    bench.store().checkpoint(true).unwrap();
    let length = std::fs::metadata(&bench.place.path).unwrap().len();
    std::fs::File::options().write(true).open(&bench.place.path).unwrap().set_len(length / 2).unwrap();
    let error = refused(&bench);
    assert_eq!(error.kind(), Kind::Broken);
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let bench = Bench::new();
    let (store, other) = (bench.store(), bench.store());
    let failed = store.write(Durability::Power, Bell::Ring, |sql| {
        log::make_topic(sql, "t")?;
        Err::<(), _>(Error::new(Kind::Rejected, "test", "", "no").into())
    });
    assert!(failed.is_err());
    assert!(log::topic(store.sql(), "t").unwrap().is_none());
    other.write(Durability::Power, Bell::Ring, |sql| log::make_topic(sql, "t")).unwrap();
}

#[tokio::test]
async fn the_log_is_cut_under_steady_writers() {
    let bench = Bench::new();
    let log = super::side::beside(&bench.place.path, "-wal");
    let (a, b) = (bench.store(), bench.store());
    let mut keeper = super::checkpoint::Keeper::new(1 << 20);
    keeper.keep(&a);
    let mut most = 0;
    for i in 0..400 {
        for store in [&a, &b] {
            let name = format!("{i:0200}{store:p}");
            store.write(Durability::Process, Bell::Silent, |sql| log::make_topic(sql, &name)).unwrap();
        }
        keeper.committed(&a);
        most = most.max(std::fs::metadata(&log).unwrap().len());
    }
    assert!(most < 3 << 20, "{most} bytes");
    keeper.end(&a);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
}

#[tokio::test]
async fn a_file_that_was_deleted_while_in_use_takes_nothing_more() {
    for all in [true, false] {
        let bench = Bench::new();
        let publisher = bench.broker.publisher(PublishOptions::default()).await.unwrap();
        assert!(publisher.send(vec![event("t", "1", None)].into()).await[0].is_ok());
        let options = ReadOptions {
            topics: vec!["t".into()],
            partition: None,
            start: Start::Latest,
            stop: Stop::Never,
            unsettled: false,
        };
        let mut reader = bench.broker.reader(options).await.unwrap();
        assert!(matches!(reader.next().await, Ok(Read::CaughtUp)));
        for name in
            ["t.db", "t.db-wal", "t.db-shm", "t.db-bell", "t.db-gate"].iter().take(if all { 5 } else { 1 })
        {
            std::fs::remove_file(bench.dir.path().join(name)).unwrap();
        }
        let refused = publisher.send(vec![event("t", "2", None)].into()).await.remove(0).unwrap_err();
        assert_eq!(refused.kind(), Kind::Broken, "nobody would find it again");
        assert!(refused.to_string().contains("deleted"), "{refused}");
        // A reader is woken by that, or by what is written to the new file.
        if !all {
            bench.store().side().ring();
        }
        let told = reader.next().await.unwrap_err();
        assert!(told.to_string().contains("deleted"), "{told}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn to_open_it_again_gives_up_no_lock_of_those_who_have_it_open() {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    let bench = Bench::new();
    let (first, _second) = (bench.store(), bench.store());
    assert!(log::topic(first.sql(), "t").unwrap().is_none());
    // What SQLite holds as long as it has the file open: https://www.sqlite.org/fileformat2.html#the_lock_byte_page
    let (l_type, l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    let mut asked = libc::flock { l_type, l_whence, l_start: 0x4000_0002, l_len: 510, l_pid: 0 };
    let file = std::fs::File::options().read(true).write(true).open(&bench.place.path).unwrap();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).unwrap();
    assert_eq!(asked.l_type, libc::F_RDLCK as i16);
}
