//! `evcat help`: the first screen, a tour, and the pages that no single command owns.

mod matrix;

use std::path::Path;

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::outcome::{Failure, Outcome};
use crate::output::{Stdout, Style};

pub use matrix::matrix;

const PAGES: &[(&str, &str)] = &[
    ("story", include_str!("story.txt")),
    ("exit-codes", include_str!("exit-codes.txt")),
    ("filters", include_str!("filters.txt")),
    ("formats", include_str!("formats.txt")),
];

/// Show the first screen, a command's help, or a page: story, exit-codes, filters, formats, brokers
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command (`publish`, `dlq replay`) or a page: story, exit-codes, filters, formats, brokers
    #[arg(value_name = "COMMAND|PAGE")]
    topic: Vec<String>,
}

/// What `evcat` alone shows: what it is for, and four lines to type.
pub fn first_screen(style: Style, data_dir: &Path, home: Option<&Path>) -> String {
    let file = data_dir.join("local.db");
    let file = match home.and_then(|home| file.strip_prefix(home).ok()) {
        Some(below) => format!("~/{}", below.display()),
        None => file.display().to_string(),
    };
    let text = include_str!("first.txt").replace("{file}", &file);
    match text.split_once(':') {
        Some((name, rest)) => format!("{}:{rest}", style.heading(name)),
        None => text,
    }
}

/// Prints a page to stdout.
pub async fn run(args: HelpArgs, first_screen: String) -> anyhow::Result<Outcome> {
    let HelpArgs { topic } = args;
    let words: Vec<&str> = topic.iter().map(String::as_str).collect();
    let text = match words[..] {
        [] => first_screen,
        ["brokers"] => format!("WHAT EACH BROKER CAN DO\n\n{}", matrix()),
        [page] if let Some((_, text)) = PAGES.iter().find(|(name, _)| *name == page) => (*text).to_owned(),
        _ => command_help(&words)?,
    };
    let mut out = Stdout::open()?;
    out.write(text.into_bytes()).await?;
    out.flush().await?;
    Ok(Outcome::Done)
}

fn command_help(words: &[&str]) -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut found = &command;
    for word in words {
        found = found.find_subcommand(word).ok_or_else(|| {
            let mut known: Vec<&str> = found.get_subcommands().map(|c| c.get_name()).collect();
            known.extend(PAGES.iter().map(|(name, _)| *name).chain(["brokers"]));
            let hint = match crate::broker::nearest(word, &known) {
                Some(near) => format!("did you mean 'evcat help {near}'?"),
                None => format!("one of: {}", known.join(", ")),
            };
            Failure::usage(format!("there is no command or page '{word}'")).hint(hint)
        })?;
    }
    Ok(found.clone().render_long_help().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_fits_a_terminal() {
        for (name, text) in PAGES.iter().chain([&("first", include_str!("first.txt"))]) {
            for line in text.lines() {
                assert!(line.len() <= 110, "{name}: {line}");
            }
        }
    }

    #[test]
    fn the_home_directory_is_short() {
        let screen = first_screen(
            Style::default(),
            Path::new("/home/a/.local/share/evcat"),
            Some(Path::new("/home/a")),
        );
        assert!(screen.contains("~/.local/share/evcat/local.db"), "{screen}");
    }
}
