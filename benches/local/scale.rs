//! What must not get slower when the topic gets longer.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::measure::*;
use crate::table::Row;

const SMALL: usize = 10_000;

pub fn rows(bench: &Bench) -> Vec<Row> {
    let large = if bench.full { 10_000_000 } else { 1_000_000 };
    let (small, big) = (bench.database(SMALL), bench.database(large));
    let since = [&small, &big].map(|database| mark(database));
    let compare = |work: &str, arguments: [Vec<&str>; 2]| {
        let [of_small, of_big] = arguments;
        let work = format!("{work}, on {large} against on {SMALL}");
        let time = |database: &Path, arguments: &[&str]| {
            let mut command: Command = evcat(database);
            run(command.args(arguments))
        };
        against(&work, (2.0, 1.2), 40, || time(&big, &of_big), || time(&small, &of_small))
    };
    let both = |arguments: &[&'static str]| [arguments.to_vec(), arguments.to_vec()];
    let replays = [0, 1].map(|i| vec!["replay", "t", "--from", since[i].as_str()]);
    let mut rows = vec![
        compare("tail -n 10", both(&["tail", "t", "-n", "10", "--no-follow"])),
        compare("replay --since the last ten", replays),
        compare("groups lag", both(&["groups", "lag"])),
        compare("opening: one publish", both(&["publish", "other", "x"])),
    ];
    if !bench.full {
        rows.push(Row::not_measured("the same on 10,000,000 events", "only with --full"));
    }
    rows
}

/// Adds a group and, a moment later, ten events; answers the time between.
fn mark(database: &Path) -> String {
    run(evcat(database).args(["groups", "create", "g", "t", "--from", "beginning"]));
    std::thread::sleep(std::time::Duration::from_millis(20));
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    std::thread::sleep(std::time::Duration::from_millis(20));
    for i in 0..10 {
        run(evcat(database).args(["publish", "t", &i.to_string()]));
    }
    format!("@{at}")
}
