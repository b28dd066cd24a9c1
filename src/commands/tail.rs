//! `evcat tail`: looks, and changes nothing.

mod watch;

use std::time::Duration;

use clap::Args;

use super::look;
use super::names::{self, Topics};
use crate::broker::{ReadOptions, Start, Stop, abilities};
use crate::cli::{FilterArgs, OutputArgs, OutputFormat};
use crate::event::Name;
use crate::flow::filter::Filter;
use crate::flow::merge::Merge;
use crate::flow::sieve::Sieve;
use crate::outcome::{Failure, Outcome};
use crate::output::screen::Screen;
use crate::output::{Printer, words};
use crate::session::Session;
use crate::settings::duration;
use crate::settings::point::{self, Point, Range};

/// Look at events: the last ones, then new ones as they arrive; changes nothing
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TailArgs {
    /// Topics; globs such as 'orders.*' leave out dead-letter, .parked, .settled and temporary topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Begin with the last N events over all the topics, counted before filters [default: 10]
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["from", "to"])]
    last: Option<u64>,
    /// Begin there: beginning, now, 10m (ago), 14:05, a date, RFC 3339, @unix, or a position; one per partition
    #[arg(long, visible_alias = "since", value_name = "POINT", value_parser = point::parse)]
    from: Vec<Point>,
    /// End before that
    #[arg(long, visible_alias = "until", value_name = "POINT", value_parser = point::parse)]
    to: Vec<Point>,
    /// A pattern of the keys to see of a RabbitMQ exchange
    #[arg(long, value_name = "PATTERN")]
    binding: Vec<String>,
    /// End at the end as it is now, instead of waiting for new events
    #[arg(long)]
    no_follow: bool,
    /// End after N events were printed; fewer is exit 3
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End when nothing has arrived for so long
    #[arg(long, value_name = "DUR", value_parser = duration::some)]
    idle_exit: Option<Duration>,
    /// End after so long
    #[arg(long = "for", value_name = "DUR", value_parser = duration::some)]
    lasts: Option<Duration>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Look into a queue all the same, where a look takes: all that waits there, given back at the end; says first
    /// what it touches
    #[arg(long, conflicts_with_all = ["last", "from", "to"])]
    browse: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  evcat tail orders                                 the last 10, then new ones
  evcat tail orders --since 10m --grep A-17         those on A-17, ten minutes back and on
  evcat tail 'orders.*' -n 0 -o json | jq .         new ones only, for a program
  evcat tail orders --from beginning --no-follow    all there is";

/// How many events are shown where nothing is said.
const LAST: u64 = 10;

/// What was asked for, checked.
struct Plan {
    last: Option<u64>,
    from: Vec<Point>,
    to: Vec<Point>,
    follow: bool,
    until: watch::Until,
}

impl TailArgs {
    /// `--binding`: what the broker has to know when it is opened.
    pub fn binding(&self) -> &[String] {
        &self.binding
    }
}

/// Runs it.
pub async fn run(args: TailArgs, session: &Session) -> anyhow::Result<Outcome> {
    let TailArgs {
        topics,
        last,
        from,
        to,
        binding,
        no_follow,
        count,
        idle_exit,
        lasts,
        partition,
        browse,
        filter,
        output,
    } = args;
    session.binds(&binding)?;
    check(session, &topics, partition, browse)?;
    let filter = Filter::resolve(&filter)?;
    if filter.has_selection() && output.format.is_some() {
        return Err(Failure::usage("-F cannot print what --select makes")
            .hint("leave one of them out")
            .into());
    }
    let mut printer = Printer::resolve(&output, &session.ui, OutputFormat::Raw)?;
    // What is taken for a look is given back, so that the look has an end.
    let follow = !no_follow && to.is_empty() && !browse;
    let until = watch::Until { count, idle: idle_exit, lasts, follow };
    let plan = Plan { last, from, to, follow, until };

    let topics = names::resolve(session, &topics).await?;
    let names = topics.names();
    let (start, range) = match browse {
        true => (Start::Earliest, Range::default()),
        false => plan.start(session, &names)?,
    };
    announce_missing(session, &topics, plan.follow).await?;
    let stop = match (&range.stop, plan.follow) {
        (Some(stop), _) => stop.clone(),
        (None, true) => Stop::Never,
        (None, false) => Stop::Now,
    };
    printer.show_topics(topics.0.len() > 1);
    let screen = Screen::open(printer)?;
    let reader = match (browse, &names[..]) {
        (true, [name]) => look::open(session, name).await?,
        (true, _) => {
            return Err(Failure::usage("--browse looks into one queue at a time").hint("name one").into());
        }
        (false, _) => {
            let options =
                ReadOptions { topics: names, partition, start: start.clone(), stop, unsettled: false };
            session.broker.reader(options).await?
        }
    };
    if session.ui.err.terminal || plan.follow {
        session.ui.status(plan.head(session, &topics, &start));
    }
    let last = if let Start::Last(n) = start { Some(n) } else { None };
    let watch = watch::Watch {
        session,
        merge: Merge::new(reader),
        sieve: Sieve::new(filter, range),
        screen,
        until: plan.until,
        last,
    };
    watch.run().await
}

/// Refuses, before any I/O, what this broker cannot do with such topics.
fn check(session: &Session, topics: &[String], partition: Option<i32>, browse: bool) -> Result<(), Failure> {
    for topic in topics {
        if topic.is_empty() {
            return Err(Failure::usage("the name of a topic is empty")
                .hint("evcat topics list shows which there are"));
        }
        if partition.is_some() {
            session.guard(&[("--partition", &abilities::PARTITIONS)], topic)?;
        }
        let peek = session.broker.capabilities(topic).peek;
        let (backend, flag) = (session.endpoint.backend, &session.endpoint.flag);
        match (peek, browse) {
            (true, true) => {
                let refusal =
                    format!("--browse: looking at '{topic}' takes nothing from anybody on {backend}");
                return Err(Failure::usage(refusal).hint("leave --browse out"));
            }
            (false, false) => {
                let refusal =
                    format!("'{topic}' is a queue: looking at it takes events from those who work on it");
                let hint = format!(
                    "tail its exchange or topic, or: evcat dlq peek {topic}{flag}; --browse looks all the same"
                );
                return Err(Failure::usage(refusal).hint(hint));
            }
            (true, false) => {}
            (false, true) if backend == "rabbitmq" => {}
            // Elsewhere nobody watches how near to the limit of a redrive policy a look brings an event.
            (false, true) => {
                let refusal = format!(
                    "--browse: {backend} counts each look at '{topic}', and its own limit may then take the event away"
                );
                let hint = format!("dead letters: evcat dlq peek {topic}{flag}; these brokers can: rabbitmq");
                return Err(Failure::usage(refusal).hint(hint));
            }
        }
    }
    Ok(())
}

/// Local makes topics by itself, so it is waited for them; what does not exist elsewhere is a mistake.
async fn announce_missing(session: &Session, topics: &Topics, follow: bool) -> anyhow::Result<()> {
    let missing = topics.missing();
    if missing.is_empty() {
        return Ok(());
    }
    if session.endpoint.backend != "local" || !follow {
        return topics.must_exist(session).await;
    }
    for topic in missing {
        session
            .ui
            .status(format_args!("{topic} does not exist on {} yet; waiting for it", session.endpoint.name));
    }
    Ok(())
}

impl Plan {
    /// Where to begin, and the range of times that is meant.
    fn start(&self, session: &Session, topics: &[Name]) -> Result<(Start, Range), Failure> {
        if !self.from.is_empty() || !self.to.is_empty() {
            let mut range = session.range(&self.from, &self.to, topics)?;
            let start = range.start.take().unwrap_or(Start::Earliest);
            return Ok((start, range));
        }
        let can = topics.iter().all(|topic| session.broker.capabilities(topic).read_last);
        match self.last {
            Some(0) => Ok((Start::Latest, Range::default())),
            None if !can => {
                let backend = session.endpoint.backend;
                session
                    .ui
                    .status(format_args!("{backend} keeps no history here: starting with what arrives now"));
                Ok((Start::Latest, Range::default()))
            }
            n => {
                for topic in topics {
                    session.guard(&[("-n", &abilities::LAST)], topic)?;
                }
                Ok((Start::Last(n.unwrap_or(LAST)), Range::default()))
            }
        }
    }

    /// The line above the events.
    fn head(&self, session: &Session, topics: &Topics, start: &Start) -> String {
        let all = topics.events();
        let what = match (start, all) {
            (Start::Latest, _) => String::new(),
            (_, Some(0)) => "no events yet".into(),
            (Start::Last(n), Some(all)) => {
                format!("the last {} of {} events", words::count((*n).min(all)), words::count(all))
            }
            (Start::Last(n), None) => format!("the last {} events", words::count(*n)),
            (Start::Earliest, Some(all)) if self.to.is_empty() => format!("all {} events", words::count(all)),
            _ => "the events asked for".into(),
        };
        let rest = match (self.follow, what.is_empty()) {
            (true, false) => ", then new ones; Ctrl-C ends",
            (true, true) => "new events; Ctrl-C ends",
            (false, false) => "",
            (false, true) => "what is new",
        };
        format!("{} on {}: {what}{rest}", topics.words(), session.endpoint.name)
    }
}
