//! `evcat replay`: history again, to stdout, into a topic, or through a command.

mod copy;
mod run;
mod sink;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::names;
use crate::broker::{ReadOptions, Start, Stop, abilities};
use crate::cli::{FilterArgs, OutputArgs, OutputFormat};
use crate::event::Name;
use crate::flow::checkpoint::{Checkpoint, Resumed};
use crate::flow::failures::Failures;
use crate::flow::filter::Filter;
use crate::flow::handler::look_up;
use crate::flow::merge::Merge;
use crate::flow::pacer::{self, Pacer, Rate, Speed};
use crate::flow::schema::Schema;
use crate::flow::sieve::Sieve;
use crate::outcome::{Failure, Outcome};
use crate::output::{Printer, words};
use crate::query::Transform;
use crate::session::Session;
use crate::settings::duration;
use crate::settings::point::{self, Point, Range};

/// Read history again: print it, copy it into a topic or another broker, or run a command for each event
///
/// The end is fixed when it starts. Several topics are merged by time. Nothing is acked, moved or deleted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Topics; globs such as 'orders.*' leave out dead-letter, .parked, .settled and temporary topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// The command to run for each event, as with evcat subscribe; nothing is settled
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["into", "to_broker"])]
    command: Vec<OsString>,
    /// Begin there [default: beginning]: 10m (ago), 14:05, a date, RFC 3339, @unix, or a position; one per partition
    #[arg(long, visible_alias = "since", value_name = "POINT", value_parser = point::parse)]
    from: Vec<Point>,
    /// End before that [default: now]
    #[arg(long, visible_alias = "until", value_name = "POINT", value_parser = point::parse)]
    to: Vec<Point>,
    /// Only the last N events over all the topics, counted before filters
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["from", "to"])]
    last: Option<u64>,
    /// Copy into this topic
    #[arg(long, value_name = "TOPIC")]
    into: Option<String>,
    /// Copy to another broker; without --into, to topics of the same names
    #[arg(long, value_name = "URL|PROFILE")]
    to_broker: Option<String>,
    /// Copy headers, timestamp and partition as they were; else copies get new times and evcat-replay-* headers
    #[arg(long)]
    verbatim: bool,
    /// At most so many in a time: 200/s, 30/m
    #[arg(long, value_name = "N/s", value_parser = pacer::rate)]
    rate: Option<Rate>,
    /// As fast as they once came: 1x, 10x, max
    #[arg(long, value_name = "SPEED", value_parser = pacer::speed)]
    speed: Option<Speed>,
    /// Change each event by this jq expression; no result leaves it out
    #[arg(long, value_name = "JQ")]
    transform: Option<String>,
    /// Only events whose payload breaks this JSON Schema; exit 6 if there are any
    #[arg(long, value_name = "FILE")]
    invalid_for: Option<PathBuf>,
    /// Say how many events, from where to where and into what, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep in this file how far it has come; the same command then goes on from there
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// What an event that could not be copied or handled does
    #[arg(long, value_name = "WHAT", value_enum, default_value = "stop")]
    on_error: OnError,
    /// Keep events that could not be copied or handled in this file, as canonical lines
    #[arg(long, value_name = "FILE")]
    failed_to: Option<PathBuf>,
    /// Handle so many events at a time, those of one key one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Kill a handler after so long; its event has then failed
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    handler_timeout: Option<Duration>,
    /// Start the command once per lane: a JSON line in, an answer line out
    #[arg(long)]
    worker: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What an event that failed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// The replay ends there
    Stop,
    /// It is counted, and kept in --failed-to
    Continue,
}

const EXAMPLES: &str = "\
Examples:
  evcat replay '*' --since 1h --grep A-17                  one order's story, over all topics
  evcat replay orders --since 10m --into orders --rate 50/s  those ten minutes again
  evcat replay orders --to-broker prod --verbatim --resume move.json   carry a topic to another broker
  evcat replay orders --from 120 --to 130 -- ./ship.sh     run the handler for ten events
  evcat replay orders --invalid-for order.json             which ones break the schema";

/// Runs it.
pub async fn run(args: ReplayArgs, session: &Session) -> anyhow::Result<Outcome> {
    let ReplayArgs {
        topics,
        command,
        from,
        to,
        last,
        into,
        to_broker,
        verbatim,
        rate,
        speed,
        transform,
        invalid_for,
        dry_run,
        resume,
        on_error,
        failed_to,
        concurrency,
        handler_timeout,
        worker,
        filter,
        output,
    } = args;
    let copies = into.is_some() || to_broker.is_some();
    let handles = !command.is_empty();
    refuse(&[
        ("--verbatim is about copies", verbatim && !copies),
        ("--worker is about a command", worker && !handles),
        ("--concurrency is about a command", concurrency > 1 && !handles),
        ("--handler-timeout is about a command", handler_timeout.is_some() && !handles),
        ("--failed-to is about copies and commands", failed_to.is_some() && !copies && !handles),
        ("--select is about printing", filter.select.is_some() && (copies || handles)),
        ("-o is about printing", output.output.is_some() && (copies || handles)),
        ("--pretty is about printing", output.pretty && (copies || handles)),
        ("-F is about printing", output.format.is_some() && (copies || handles)),
        ("-F cannot print what --select makes", output.format.is_some() && filter.select.is_some()),
    ])?;
    for topic in &topics {
        session.guard(&[("replay", &abilities::HISTORY)], topic)?;
    }
    let choice = choice(&from, &to, last, verbatim, &transform, &invalid_for, &filter);
    let filter = Filter::resolve(&filter)?;
    let transform = transform.map(|text| Transform::compile("--transform", &text)).transpose()?;
    let schema = invalid_for.map(|path| Schema::open("--invalid-for", &path)).transpose()?;
    let target = if copies {
        let copying = copy::Copying::resolve(session, into.as_deref(), to_broker.as_deref(), verbatim)?;
        sink::Target::Copy(copying)
    } else if let Some((name, args)) = command.split_first() {
        let program = look_up(name, session.environment().path.as_deref())?;
        let timeout = handler_timeout.filter(|timeout| !timeout.is_zero());
        let (args, lanes) = (args.to_vec(), usize::from(concurrency));
        sink::Target::Command(work::Handling { program, args, timeout, worker, lanes })
    } else {
        sink::Target::Stdout(Printer::resolve(&output, &session.ui, OutputFormat::Raw)?)
    };

    let (mut checkpoint, resumed) = match &resume {
        Some(path) => {
            let into = match &target {
                sink::Target::Copy(copying) => copying.whole_words(),
                other => other.words(),
            };
            let command = format!("{} on {} {into}{choice}", topics.join(" "), session.endpoint.name);
            let (checkpoint, resumed) = Checkpoint::open(path, &command)?;
            (Some(checkpoint), resumed)
        }
        None => (None, None),
    };
    let failures = Failures::open(failed_to.as_deref(), &[])?;
    let found = names::resolve(session, &topics).await?;
    found.must_exist(session).await?;
    let (options, range) = options(session, &found.names(), &from, &to, last, &resumed)?;
    if let Some(checkpoint) = &mut checkpoint {
        checkpoint.set_times(&range);
    }
    if let Some(Resumed { replayed, .. }) = &resumed {
        let count = words::count(*replayed);
        session.ui.status(format_args!("going on after the {count} events that were replayed before"));
    }
    let merge = Merge::new(session.broker.reader(options).await?);
    let replay = run::Replay {
        session,
        topics: found.words(),
        several: found.0.len() > 1,
        merge,
        sieve: Sieve::new(filter, range),
        schema: schema.map(|schema| run::Invalid { schema, found: 0, first: None }),
        transform,
        pacer: Pacer::new(rate, speed),
        account: sink::Account::new(checkpoint, failures, on_error),
        read: 0,
        chosen: 0,
    };
    if dry_run { replay.plan(&target).await } else { replay.run(target, &found.names()).await }
}

fn refuse(wrong: &[(&str, bool)]) -> Result<(), Failure> {
    match wrong.iter().find(|(_, wrong)| *wrong) {
        Some((why, _)) => Err(Failure::usage(*why).hint("evcat replay --help says what goes with what")),
        None => Ok(()),
    }
}

/// What decides which events go and what they become, as it was typed: a checkpoint is of that and of nothing else.
fn choice(
    from: &[Point],
    to: &[Point],
    last: Option<u64>,
    verbatim: bool,
    transform: &Option<String>,
    invalid_for: &Option<PathBuf>,
    filter: &FilterArgs,
) -> String {
    let FilterArgs { r#where, grep, key, header, r#type, select } = filter;
    fn shown<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
        values.into_iter().map(|value| value.to_string()).collect()
    }
    let flags = [
        ("--from", shown(from)),
        ("--to", shown(to)),
        ("--last", shown(last)),
        ("--transform", shown(transform)),
        ("--invalid-for", shown(invalid_for.iter().map(|path| path.display()))),
        ("--where", shown(r#where)),
        ("--grep", shown(grep)),
        ("--key", shown(key)),
        ("--header", shown(header)),
        ("--type", shown(r#type)),
        ("--select", shown(select)),
    ];
    let mut choice = String::from(if verbatim { " --verbatim" } else { "" });
    for (flag, values) in flags {
        for value in values {
            choice.push_str(&format!(" {flag} {}", words::shell_quoted(&value)));
        }
    }
    choice
}

/// From where to where; a checkpoint knows better than the command line.
fn options(
    session: &Session,
    topics: &[Name],
    from: &[Point],
    to: &[Point],
    last: Option<u64>,
    resumed: &Option<Resumed>,
) -> Result<(ReadOptions, Range), Failure> {
    let mut range = match resumed {
        Some(resumed) => resumed.range.clone(),
        None => session.range(from, to, topics)?,
    };
    if let (None, Some(n)) = (resumed, last) {
        for topic in topics {
            session.guard(&[("--last", &abilities::LAST)], topic)?;
        }
        range.start = Some(Start::Last(n));
    }
    let start = range.start.take().unwrap_or(Start::Earliest);
    let stop = range.stop.take().unwrap_or(Stop::Now);
    let options = ReadOptions { topics: topics.to_vec(), partition: None, start, stop, unsettled: false };
    Ok((options, range))
}
