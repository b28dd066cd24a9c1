//! The committed completion scripts and man pages are what the definitions of the arguments say, byte for byte.
//!
//! `EVCAT_BLESS=1 cargo test --test generated` writes them anew.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::aot;
use evcat::cli::Cli;

fn scripts() -> BTreeMap<PathBuf, Vec<u8>> {
    let script = |file: &str, shell: aot::Shell| {
        let mut out = Vec::new();
        aot::generate(shell, &mut Cli::command(), "evcat", &mut out);
        (PathBuf::from(file), out)
    };
    [
        script("completions/evcat.elv", aot::Shell::Elvish),
        script("completions/_evcat.ps1", aot::Shell::PowerShell),
    ]
    .into()
}

fn pages() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = BTreeMap::new();
    add_page(&root, &mut pages);
    pages
}

fn add_page(command: &Command, pages: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut out = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut out).expect("renders into memory");
    pages.insert(format!("man/{name}.1").into(), out);
    for below in command.get_subcommands() {
        add_page(below, pages);
    }
}

fn compare(directory: &str, wanted: BTreeMap<PathBuf, Vec<u8>>, ours: impl Fn(&str) -> bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("EVCAT_BLESS").is_some();
    let mut wrong = Vec::new();
    std::fs::create_dir_all(root.join(directory)).expect("a directory");
    for entry in std::fs::read_dir(root.join(directory)).expect("a directory") {
        let path = Path::new(directory).join(entry.expect("an entry").file_name());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if ours(&name) && !wanted.contains_key(&path) {
            if bless {
                std::fs::remove_file(root.join(&path)).expect("removed");
            }
            wrong.push(format!("{} belongs to no command", path.display()));
        }
    }
    for (path, text) in wanted {
        if std::fs::read(root.join(&path)).ok().as_ref() != Some(&text) {
            if bless {
                std::fs::write(root.join(&path), text).expect("written");
            }
            wrong.push(format!("{} is out of date", path.display()));
        }
    }
    assert!(
        bless || wrong.is_empty(),
        "EVCAT_BLESS=1 cargo test --test generated mends:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn man_pages_say_what_the_commands_do() {
    compare("man", pages(), |_| true);
}

#[test]
fn scripts_without_live_names_know_every_option() {
    compare("completions", scripts(), |name| name.ends_with(".elv") || name.ends_with(".ps1"));
}
