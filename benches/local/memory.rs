//! The most memory that is held while events stream through.

use std::fs::File;
use std::process::Command;

use crate::measure::*;
use crate::table::{Row, Unit};

pub fn rows(bench: &Bench) -> Vec<Row> {
    let sizes: &[usize] = if bench.full { &[1_000_000, 10_000_000] } else { &[1_000_000] };
    let mut rows = Vec::new();
    for n in sizes {
        let room = bench.room();
        let fresh = room.path().join("ours.db");
        let mut publish = evcat(&fresh);
        publish.args(["publish", "t"]).stdin(File::open(bench.lines(*n)).unwrap());
        rows.push(row(&format!("memory: publish of {n}"), &mut publish));
        let database = bench.database(*n);
        for format in ["raw", "json"] {
            let mut tail = evcat(&database);
            tail.args(["tail", "t", "--from", "beginning", "--no-follow", "-o", format]);
            rows.push(row(&format!("memory: tail -o {format} of {n}"), &mut tail));
        }
        let mut replay = evcat(&database);
        replay.args(["replay", "t", "--into", "copy"]);
        rows.push(row(&format!("memory: replay --into of {n}"), &mut replay));
    }
    if !bench.full {
        rows.push(Row::not_measured("memory: the same of 10,000,000", "only with --full"));
    }
    rows
}

fn row(work: &str, command: &mut Command) -> Row {
    let most = peak(command);
    let (value, measured) = (most as f64 / 1024.0, "highest resident set".into());
    Row { work: work.into(), measured, value: Some(value), unit: Unit::Mebibytes, must: 64.0, aim: 32.0 }
}
