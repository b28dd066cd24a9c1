//! How the binary is linked, and which options librdkafka has.

#[path = "src/broker/kafka/reserved.rs"]
mod reserved;

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/broker/kafka/reserved.rs");
    #[allow(clippy::disallowed_methods)] // of cargo, about what is built
    let variable = |name: &str| std::env::var(name).ok();
    let is = |name: &str, value: &str| variable(name).is_some_and(|found| found == value);
    // 25,000 addresses would be relocated at every start, and 250 pages copied for it: a fifth of `evcat -V`, and of a
    // publish of one event. The price: the image itself lies at a fixed place; heap, stack and libraries do not.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
    // Set by the build of rdkafka-sys, where it is asked for: the sources of the very library that is linked.
    if let (Some(library), Some(out)) = (variable("DEP_RDKAFKA_ROOT"), variable("OUT_DIR")) {
        let file = Path::new(&library).join("CONFIGURATION.md");
        println!("cargo:rerun-if-changed={}", file.display());
        let text = std::fs::read_to_string(&file).expect("librdkafka's CONFIGURATION.md is with its sources");
        let properties = properties(&text);
        std::fs::write(Path::new(&out).join("kafka_properties.rs"), properties)
            .expect("OUT_DIR can be written");
    }
}

/// librdkafka's tables of properties, as tables of Rust: name and help of each, and which are of one role only.
fn properties(markdown: &str) -> String {
    let mut rows: Vec<(String, &str, String)> = Vec::new();
    for line in markdown.lines() {
        let cells: Vec<&str> = line.splitn(6, " | ").map(str::trim).collect();
        let &[name, role @ ("*" | "C" | "P"), range, default, _importance, words] = &cells[..] else {
            continue;
        };
        // Functions of a program, legacy of a consumer that evcat is not, or there already for all topics.
        let foreign = words.contains("see dedicated API") || words.contains("LEGACY PROPERTY");
        if foreign || rows.iter().any(|(known, ..)| known == name) {
            continue;
        }
        let decided = reserved::RESERVED.iter().find(|(known, _)| *known == name);
        let help =
            decided.map_or_else(|| help(words, range, default), |(_, why)| format!("not to be set: {why}"));
        rows.push((name.to_owned(), role, help));
    }
    assert!(rows.len() > 150, "CONFIGURATION.md is not what it was: {} properties", rows.len());
    rows.sort();
    let of = |role: &str| rows.iter().filter(|row| row.1 == role).map(|row| &row.0).collect::<Vec<_>>();
    let all: Vec<_> = rows.iter().map(|(name, _, help)| (name, help)).collect();
    format!(
        "const PROPERTIES: &[(&str, &str)] = &{all:?};\nconst CONSUMER_ONLY: &[&str] = &{:?};\n\
         const PRODUCER_ONLY: &[&str] = &{:?};\n",
        of("C"),
        of("P")
    )
}

/// The first sentence, what may be given and what is when nothing is.
fn help(words: &str, range: &str, default: &str) -> String {
    let words = words.split(" <br>").next().unwrap_or(words).replace("**", "");
    let end = words.find(". ").map_or(words.len(), |at| at + 1);
    let mut help = words[..end].trim_end_matches('.').to_owned();
    if !range.is_empty() {
        write!(help, " ({range})").expect("written to memory");
    }
    if !default.is_empty() {
        write!(help, " [{default}]").expect("written to memory");
    }
    help
}
