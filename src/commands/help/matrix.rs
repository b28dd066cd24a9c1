//! What each broker can do, generated from the capabilities that the guard refuses by: the README's matrix and
//! `evcat help brokers` cannot say anything else than the program does.

use crate::broker::{BACKENDS, Backend, abilities};

/// One row per ability, one column per broker that is compiled in, as a Markdown table that reads well as plain text.
pub fn matrix() -> String {
    let first = abilities::ALL.iter().map(|a| a.name.len()).max().unwrap_or(0);
    let backends: Vec<&Backend> = BACKENDS.iter().filter(|backend| backend.open.is_some()).collect();
    let widths: Vec<usize> = backends.iter().map(|b| b.name.len().max(3)).collect();
    let line = |head: &str, cells: &[&str]| {
        let cells: Vec<_> =
            cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |")).collect();
        format!("| {head:first$} |{}\n", cells.concat())
    };
    let mut out = line("", &backends.iter().map(|b| b.name).collect::<Vec<_>>());
    let rules: Vec<_> = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    out += &format!("|{}|{}\n", "-".repeat(first + 2), rules.concat());
    let have: Vec<_> = backends.iter().map(|b| (b.capabilities)("")).collect();
    for ability in abilities::ALL {
        let cells: Vec<_> = have.iter().map(|c| if (ability.has)(c) { "yes" } else { "-" }).collect();
        out += &line(ability.name, &cells);
    }
    out
}
