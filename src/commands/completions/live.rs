//! Completion while somebody types: the shell's script calls evcat back with `EVCAT_COMPLETE=SHELL` and the words so far.
//!
//! Nothing is said on failure and nothing is waited for: a prompt must stay usable while the broker is away.

use std::ffi::{OsStr, OsString};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::{Arg, Command, CommandFactory};
use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::Shells;

use crate::broker::{BACKENDS, Broker, Surroundings};
use crate::cli::Cli;
use crate::outcome::Failure;
use crate::output::stdout::print;
use crate::session::{Choice, wall_clock};
use crate::settings::Environment;
use crate::settings::profiles::{PasswordFrom, Profiles};

/// Of the 300 ms that a person does not notice, what is left after the start of a process.
const PATIENCE: Duration = Duration::from_millis(240);

/// Answers the script of that shell; the words of its command line follow `--` in `arguments`.
pub fn answer(shell: &str, arguments: &[OsString], environment: &'static Environment) {
    let Some(escape) = arguments.iter().position(|argument| argument == "--") else { return };
    let words = arguments[escape + 1..].to_vec();
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else { return };
    let asker = Arc::new(Asker { broker: broker_of(&words), environment });
    let mut command = with_names(Cli::command(), &asker);
    let directory = std::env::current_dir().ok();
    let mut out = Vec::new();
    if completer.write_complete(&mut command, words, directory.as_deref(), &mut out).is_ok() {
        // Nobody is left to tell of a failure.
        let _ = print(&String::from_utf8_lossy(&out));
    }
}

/// The value of `-b` among the words.
fn broker_of(words: &[OsString]) -> Option<String> {
    let mut found = None;
    let mut words = words.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        match word {
            "-b" | "--broker" => found = words.next(),
            _ => found = word.strip_prefix("--broker=").or_else(|| word.strip_prefix("-b")).or(found),
        }
    }
    found.map(str::to_owned)
}

/// Completers by the name that an argument's value has in the help. Done here and not at the arguments, so that a
/// command that is run pays nothing for it.
fn with_names(command: Command, asker: &Arc<Asker>) -> Command {
    let asker = asker.clone();
    command
        .mut_args(|argument| argument_with_names(argument, &asker))
        .mut_subcommands(|command| with_names(command, &asker))
}

fn argument_with_names(argument: Arg, asker: &Arc<Asker>) -> Arg {
    let wanted = match argument.get_value_names().and_then(|names| names.first()).map(|name| name.as_str()) {
        Some("TOPIC") => Wanted::Topics,
        Some("DLQ") => Wanted::DeadLetters,
        Some("GROUP") => Wanted::Groups,
        Some("PROFILE" | "URL|PROFILE") => Wanted::Profiles,
        _ => return argument,
    };
    let asker = asker.clone();
    argument.add(ArgValueCompleter::new(move |current: &OsStr| asker.candidates(wanted, current)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Topics,
    DeadLetters,
    Groups,
    Profiles,
}

struct Asker {
    broker: Option<String>,
    environment: &'static Environment,
}

impl Asker {
    fn candidates(&self, wanted: Wanted, current: &OsStr) -> Vec<CompletionCandidate> {
        let names = match wanted {
            Wanted::Profiles => self.profiles(),
            _ => self.names_of_broker(wanted),
        };
        let mut names = names.unwrap_or_default();
        let current = current.to_string_lossy();
        names.retain(|name| name.starts_with(&*current));
        names.into_iter().map(CompletionCandidate::new).collect()
    }

    fn profiles(&self) -> anyhow::Result<Vec<String>> {
        let profiles = Profiles::load(self.environment.config_dir.as_deref())?;
        let brokers = BACKENDS.iter().filter(|backend| backend.open.is_some());
        let brokers = brokers.map(|backend| format!("{}:", backend.schemes[0]));
        Ok(profiles.names().into_iter().map(str::to_owned).chain(brokers).collect())
    }

    fn names_of_broker(&self, wanted: Wanted) -> anyhow::Result<Vec<String>> {
        let choice = Choice::make(self.broker.as_deref(), self.environment)?;
        if matches!(choice.password, Some(PasswordFrom::Command(_))) {
            return Err(Failure::failed("a password command may ask, and nobody pressed return").into());
        }
        let surroundings = Surroundings {
            clock: Arc::new(wall_clock),
            timeout: Some(PATIENCE),
            options: choice.options.clone(),
            data_dir: self.environment.data_dir.clone().unwrap_or_default(),
        };
        let broker = choice.open(surroundings, self.environment)?;
        // On a thread, because a client that hangs must not keep the prompt; the process ends without it.
        let (answer, answered) = mpsc::channel();
        std::thread::spawn(move || answer.send(ask(&*broker, wanted)));
        answered.recv_timeout(PATIENCE)?
    }
}

fn ask(broker: &dyn Broker, wanted: Wanted) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut names: Vec<String> = runtime.block_on(async {
        anyhow::Ok(match wanted {
            Wanted::Groups => broker.groups("*").await?.into_iter().map(|group| group.group).collect(),
            _ => broker
                .topics("*")
                .await?
                .into_iter()
                .filter(|t| !t.temporary)
                .map(|topic| topic.name)
                .collect(),
        })
    })?;
    let dead = |name: &str| [".dlq", ".parked", "-dlq", "-parked"].iter().any(|end| name.ends_with(end));
    if wanted == Wanted::DeadLetters {
        names.retain(|name| dead(name));
    }
    names.sort_unstable_by(|a, b| dead(a).cmp(&dead(b)).then_with(|| a.cmp(b)));
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_found_among_the_words() {
        let broker = |words: &[&str]| broker_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(broker(&["evcat", "tail", "-b", "prod", "or"]).as_deref(), Some("prod"));
        assert_eq!(broker(&["evcat", "--broker=local:/x", "tail"]).as_deref(), Some("local:/x"));
        assert_eq!(broker(&["evcat", "-bprod", "tail"]).as_deref(), Some("prod"));
        assert_eq!(broker(&["evcat", "subscribe", "--", "x", "-b", "y"]), None);
    }
}
