//! `evcat completions`: the scripts that shells load, and the answers they ask for.

pub mod live;

use clap::{Args, ValueEnum};

use crate::outcome::Outcome;
use crate::output::stdout::print;

/// Print the script that completes commands, options and live names of topics, groups and profiles
///
/// bash, zsh and fish ask the broker for names, for a quarter of a second at most, and never run a password command;
/// elvish and powershell complete commands and options.
#[derive(Debug, Args)]
#[command(after_help = "\
Try it in this shell:
  source <(evcat completions bash)
  source <(evcat completions zsh)
  evcat completions fish | source
For good:
  evcat completions bash > ~/.local/share/bash-completion/completions/evcat
  evcat completions zsh > \"${fpath[1]}/_evcat\"
  evcat completions fish > ~/.config/fish/completions/evcat.fish
  evcat completions elvish > ~/.config/elvish/lib/evcat.elv    (and: use evcat)
  evcat completions powershell >> $PROFILE")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells there are scripts for.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl Shell {
    /// The script, as committed.
    pub fn script(self) -> &'static str {
        match self {
            Shell::Bash => include_str!("../../../completions/evcat.bash"),
            Shell::Zsh => include_str!("../../../completions/_evcat"),
            Shell::Fish => include_str!("../../../completions/evcat.fish"),
            Shell::Elvish => include_str!("../../../completions/evcat.elv"),
            Shell::Powershell => include_str!("../../../completions/_evcat.ps1"),
        }
    }
}

/// Prints a script.
pub fn run(args: CompletionsArgs) -> anyhow::Result<Outcome> {
    let CompletionsArgs { shell } = args;
    print(shell.script())?;
    Ok(Outcome::Done)
}
