//! Whole processes against the sqlite3 shell and kcat.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::measure::*;
use crate::table::Row;

const MILLION: usize = 1_000_000;

/// `evcat -V`.
pub fn start(_: &Bench) -> Vec<Row> {
    let work = "evcat -V, whole process, against kcat -V";
    if !has("kcat") {
        return vec![Row::not_measured(work, "kcat is not installed")];
    }
    let version =
        |program: &OsStr| run(Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()));
    vec![against(work, (1.0, 0.6), 100, || version(installed().as_ref()), || version("kcat".as_ref()))]
}

/// A peer's database in log mode, with a table of events.
fn peers(room: &Path) -> PathBuf {
    let path = room.join("peer.db");
    let table = "CREATE TABLE e(id INTEGER PRIMARY KEY, topic TEXT, key TEXT, at INTEGER, payload TEXT)";
    run(&mut sqlite3(&path, &["PRAGMA journal_mode=WAL", table]));
    path
}

/// One durable event.
pub fn one_shot(bench: &Bench) -> Vec<Row> {
    let work = "one evcat publish, durable, against one insert";
    if !has("sqlite3") {
        return vec![Row::not_measured(work, "the sqlite3 shell is not installed")];
    }
    let room = bench.room();
    let (ours, peer) = (room.path().join("ours.db"), peers(room.path()));
    let payload = format!("{{\"order\":\"{}\"}}", "A".repeat(88));
    let insert = format!("INSERT INTO e(topic, at, payload) VALUES ('t', 1700000000000, '{payload}')");
    let publish = || run(evcat(&ours).args(["publish", "t", &payload]));
    publish();
    vec![against(work, (0.80, 0.60), 100, publish, || {
        run(&mut sqlite3(&peer, &["PRAGMA synchronous=FULL", &insert]))
    })]
}

/// A million lines from stdin, durable at the end.
pub fn bulk(bench: &Bench) -> Vec<Row> {
    let work = "1,000,000 lines of 100 B from stdin, against .import";
    if !has("sqlite3") {
        return vec![Row::not_measured(work, "the sqlite3 shell is not installed")];
    }
    let lines = bench.lines(MILLION);
    let ours = || {
        let room = bench.room();
        run(evcat(&room.path().join("ours.db")).args(["publish", "t"]).stdin(File::open(&lines).unwrap()))
    };
    let peer = || {
        let room = bench.room();
        let database = room.path().join("peer.db");
        run(&mut sqlite3(&database, &["PRAGMA journal_mode=WAL", "CREATE TABLE e(payload TEXT)"]));
        let import = format!(".import {} e", lines.display());
        let took = run(&mut sqlite3(
            &database,
            &["PRAGMA synchronous=FULL", ".mode ascii", ".separator \"\\037\" \"\\n\"", &import],
        ));
        let count = sqlite3(&database, &["SELECT count(*) FROM e"]).stdout(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&count.stdout).trim(), MILLION.to_string());
        took
    };
    vec![against(work, (0.33, 0.20), 1, ours, peer)]
}

/// Reading them back.
pub fn read(bench: &Bench) -> Vec<Row> {
    let (raw, json) = ("reading them, -o raw, against select", "reading them, -o json, against json_object");
    if !has("sqlite3") {
        return [raw, json].map(|work| Row::not_measured(work, "the sqlite3 shell is not installed")).into();
    }
    let (ours, room) = (bench.database(MILLION), bench.room());
    let peer = peers(room.path());
    let fill = format!("CREATE TEMP TABLE l(line TEXT); .import {} l", bench.lines(MILLION).display());
    let (create, import) = fill.split_once("; ").unwrap();
    let insert = "INSERT INTO e(topic, at, payload) SELECT 't', 1700000000000 + rowid, line FROM l";
    run(&mut sqlite3(&peer, &[create, ".mode ascii", ".separator \"\\037\" \"\\n\"", import, insert]));
    run(&mut sqlite3(&peer, &["PRAGMA wal_checkpoint(TRUNCATE)"]));
    let tail = |format: &str| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        run(evcat(&ours).args(["tail", "t", "--from", "beginning", "--no-follow", "-o", format]).stdout(null))
    };
    let object = "SELECT json_object('topic', topic, 'offset', id, 'timestamp',
        strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch'), 'key', key, 'headers', json('[]'),
        'payload', json(payload)) FROM e";
    let select = |what: &str| -> Duration { run(&mut sqlite3(&peer, &[what])) };
    vec![
        against(raw, (0.33, 0.22), 3, || tail("raw"), || select("SELECT payload FROM e")),
        against(json, (0.50, 0.25), 3, || tail("json"), || select(object)),
    ]
}
