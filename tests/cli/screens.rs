//! What people see, held against text that is committed.
//!
//! A file of `screens/` is a session in a home of its own and a terminal of 80 columns: `$ ` begins a command, the rest
//! is what is seen. `EVCAT_BLESS=1 cargo test --test cli screens` writes what is seen now: read the difference.

use std::path::Path;

use regex::Regex;

use crate::rig::Home;

/// What differs from run to run, and the widths that follow from it, are levelled.
fn level(text: &str) -> String {
    let rules = [
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "DATE"),
        (r"\d\d:\d\d:\d\d\.\d+", "TIME.MS"),
        (r"\d\d:\d\d:\d\d", "TIME"),
        (r"\d\d:\d\d", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"\brun [a-z0-9]{4}\b", "run RUN"),
        (r"\b\d+(\.\d+)?(ms|s|m)\b", "DUR"),
        (r" {3,}", "  "),
    ];
    let mut text = text.to_owned();
    for (from, to) in rules {
        text = Regex::new(from).unwrap().replace_all(&text, to).into_owned();
    }
    // What a handler says passes through, and meets what evcat says in no fixed order.
    let lines = text.lines().map(str::trim_end).filter(|line| *line != "total is not a number");
    lines.map(|line| format!("{}\n", line.rsplit('\r').next().unwrap_or_default())).collect()
}

#[track_caller]
fn screen(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/screens").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap();
    let commands: Vec<_> = expected.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let script = commands.iter().map(|command| format!("echo; echo '@@@'; {command}\n")).collect::<String>();
    let home = Home::new();
    home.write("session", script);
    let seen = home.terminal("NO_COLOR=1 bash session");
    let printed = seen.split("@@@\n").skip(1);
    let shown = commands
        .iter()
        .zip(printed)
        .map(|(command, seen)| format!("$ {command}\n{}\n", level(seen).trim_end()));
    let shown = shown.collect::<String>().replace("\n\n$ ", "\n$ ");
    if std::env::var_os("EVCAT_BLESS").is_some() {
        std::fs::write(path, shown).unwrap();
    } else {
        assert!(shown == expected, "--- {} says\n{expected}\n--- it shows\n{shown}", path.display());
    }
}

#[test]
fn the_first_screen_and_those_of_an_empty_home() {
    screen("first");
}

#[test]
fn tail() {
    screen("tail");
}

#[test]
fn dead_letters_groups_and_topics() {
    screen("letters");
}

#[test]
fn errors() {
    screen("errors");
}
