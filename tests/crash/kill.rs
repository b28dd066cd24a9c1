//! kill -9, at the program as it is installed.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::crowd::{self, Crowd};
use crate::{store, trial};

const EVCAT: &str = env!("CARGO_BIN_EXE_evcat");

pub fn trials() -> Vec<Trial> {
    vec![
        trial("kill -9: members at work, four publishers: every event is handled, in order per key", members),
        trial("kill -9: publishers: what had a receipt is stored, once", publishers),
    ]
}

fn members() {
    let dir = tempfile::tempdir().unwrap();
    let crowd = Crowd { publishers: 4, events_each: 5_000, members: 4, concurrency: 4, keys: 97, seed: 23 };
    let report = crowd::run(Path::new(EVCAT), dir.path(), &crowd);
    println!(
        "{} events, {} members killed: {} deliveries, {} of them duplicates, nothing lost, in {:.1?}",
        report.events, report.kills, report.deliveries, report.duplicates, report.took
    );
}

/// Publishers print a receipt for each event and are killed in the middle; the next one goes on with new events.
fn publishers() {
    let dir = tempfile::tempdir().unwrap();
    let (database, mut random) = (dir.path().join("it.db"), fastrand::Rng::with_seed(29));
    let broker = format!("local:{}", database.display());
    let mut receipts = Vec::new();
    for round in 0..30 {
        let input = dir.path().join("input");
        let lines: String = (0..20_000).map(|n| format!("r{round}.{n}\n")).collect();
        std::fs::write(&input, lines).unwrap();
        let output = dir.path().join(format!("receipts-{round}"));
        let mut command = Command::new(EVCAT);
        command.args(["-b", &broker, "publish", "o", "-o", "json"]).stdin(File::open(&input).unwrap());
        let mut child = command.stdout(File::create(&output).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(1..150)));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may have been cut.
        let text = std::fs::read_to_string(&output).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (n, line) in whole.lines().enumerate() {
            let receipt: serde_json::Value = serde_json::from_str(line).unwrap();
            let offset = receipt["offset"].as_u64().unwrap_or_else(|| panic!("a receipt says where: {line}"));
            receipts.push((offset as usize, format!("r{round}.{n}")));
        }
    }
    assert!(receipts.len() > 1000, "some had receipts before they were killed: {}", receipts.len());
    let store = store::read(&database).unwrap();
    let events = store.events("o");
    for (offset, text) in &receipts {
        assert_eq!(
            events.get(*offset).map(store::Stored::text).as_ref(),
            Some(text),
            "{offset} had a receipt"
        );
    }
    let mut all: Vec<_> = events.iter().map(store::Stored::text).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), events.len(), "nothing is stored twice");
    println!("{} receipts, {} events stored, 30 publishers killed", receipts.len(), events.len());
}
