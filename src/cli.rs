//! The root command, the global options, and the groups of arguments that several commands share.
//!
//! The doc comments are the help text; what they do not say is said nowhere else.
#![allow(missing_docs)]

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::settings::duration;

/// Publish, subscribe, tail, replay and repair events on any broker
#[derive(Debug, Parser)]
#[command(
    name = "evcat",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    after_help = "\
A tour in twelve commands: evcat help story
More to read:              evcat help exit-codes | filters | formats | brokers
One command:               evcat help tail, or evcat tail --help"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    Publish(commands::publish::PublishArgs),
    Subscribe(commands::subscribe::SubscribeArgs),
    Tail(commands::tail::TailArgs),
    Replay(commands::replay::ReplayArgs),
    Dlq(commands::dlq::DlqArgs),
    Topics(commands::topics::TopicsArgs),
    Groups(commands::groups::GroupsArgs),
    Profiles(commands::profiles::ProfilesArgs),
    Completions(commands::completions::CompletionsArgs),
    Help(commands::help::HelpArgs),
}

type Augment = fn(clap::Command) -> clap::Command;

/// The verbs again, each to be defined by itself.
const COMMANDS: &[(&str, Augment)] = &[
    ("publish", commands::publish::PublishArgs::augment_args),
    ("subscribe", commands::subscribe::SubscribeArgs::augment_args),
    ("tail", commands::tail::TailArgs::augment_args),
    ("replay", commands::replay::ReplayArgs::augment_args),
    ("dlq", commands::dlq::DlqArgs::augment_args),
    ("topics", commands::topics::TopicsArgs::augment_args),
    ("groups", commands::groups::GroupsArgs::augment_args),
    ("profiles", commands::profiles::ProfilesArgs::augment_args),
    ("completions", commands::completions::CompletionsArgs::augment_args),
    ("help", commands::help::HelpArgs::augment_args),
];

/// Parses the arguments. Defining every argument of every command takes a quarter of the time of a short command, so
/// only that of the verb among the arguments is defined first; whatever this refuses (help too) goes to all of them.
pub fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let verb = |argument: &OsString| COMMANDS.iter().find(|(name, _)| argument == name);
    let verb = arguments.iter().skip(1).find_map(verb);
    if verb.is_some() || arguments.get(1..).is_some_and(|rest| rest == ["-V"]) {
        let root = clap::Command::new("evcat").disable_help_flag(true).disable_help_subcommand(true);
        let root = GlobalArgs::augment_args(root);
        let root = root.subcommands(verb.map(|(name, augment)| augment(clap::Command::new(*name))));
        let parsed = root.try_get_matches_from(arguments);
        if let Ok(cli) = parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
            return Ok(cli);
        }
    }
    Cli::try_parse_from(arguments)
}

/// When to use colour or progress: `auto` is on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The broker: a URL, or the name of a profile [default: EVCAT_BROKER, else the profile in use, else local:]
    #[arg(short, long, global = true, value_name = "URL|PROFILE")]
    pub broker: Option<String>,
    /// Hand an option to the client of the broker; '-X help' lists them
    #[arg(short = 'X', long = "option", global = true, value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// The longest time without the broker, at the start or midway; 0 waits for ever
    #[arg(long, global = true, value_name = "DUR", default_value = "30s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Say nothing but warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more: the causes of an error, raw headers
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Colour on stdout and stderr, each decided by itself; NO_COLOR is heeded
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_enum)]
    pub color: When,
    /// Progress bars on stderr
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_enum)]
    pub progress: When,
    /// Print help; -h is the short one
    #[arg(short, long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print the version in one line
    #[arg(short = 'V')]
    pub version: bool,
    /// Print the version, the brokers compiled in and their client libraries
    #[arg(long = "version")]
    pub versions: bool,
}

/// Which events: `tail`, `subscribe`, `replay`, `dlq`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only events for which this jq expression is true: '.payload.total > 100'; every one given must hold
    #[arg(long = "where", value_name = "JQ")]
    pub r#where: Vec<String>,
    /// Only events whose payload matches; given twice, either is enough, as for --key and --type
    #[arg(long, value_name = "REGEX")]
    pub grep: Vec<String>,
    /// Only events with such a key
    #[arg(long, value_name = "GLOB")]
    pub key: Vec<String>,
    /// Only events with this header, or with such a value in it; every one given must hold
    #[arg(long, value_name = "NAME[=GLOB]")]
    pub header: Vec<String>,
    /// Only events of such a CloudEvents type
    #[arg(long = "type", value_name = "GLOB")]
    pub r#type: Vec<String>,
    /// Print the results of this jq expression instead of the event
    #[arg(long, value_name = "JQ")]
    pub select: Option<String>,
}

/// How events are printed: `tail`, `subscribe`, `replay`, `dlq`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How to print [default: human on a terminal, raw on a pipe]
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub output: Option<OutputFormat>,
    /// Print by a template: '%t %p:%o %k %s\n'; all its letters: evcat help formats
    #[arg(short = 'F', long, value_name = "TEMPLATE", conflicts_with = "output")]
    pub format: Option<String>,
    /// Indent JSON and show headers
    #[arg(long)]
    pub pretty: bool,
}

/// The formats of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Human,
    /// One canonical JSON object per line
    Json,
    /// The payload and a newline
    Raw,
    /// A big-endian 32-bit length and the payload, -1 for a tombstone
    Frames,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_verb_can_be_defined_by_itself() {
        let all = Cli::command();
        let names: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, COMMANDS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn one_verb_is_parsed_as_all_of_them_are() {
        for line in [
            "evcat -b tail topics list -o json",
            "evcat topics list -b help -q --timeout 5s",
            "evcat profiles use tail -v",
            "evcat help dlq",
            "evcat -V",
            "evcat",
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let all =
                Cli::try_parse_from(&arguments).map(|cli| format!("{cli:?}")).map_err(|e| e.to_string());
            assert_eq!(parse(&arguments).map(|cli| format!("{cli:?}")).map_err(|e| e.to_string()), all);
        }
    }
}
