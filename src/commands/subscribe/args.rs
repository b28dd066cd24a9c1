//! What `evcat subscribe` is told.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::handling::Judging;
use crate::cli::{FilterArgs, OutputArgs, OutputFormat};
use crate::event::Name;
use crate::flow::filter::Filter;
use crate::flow::handler::{Program, look_up};
use crate::flow::lanes::{Backoff, Ordering};
use crate::outcome::Failure;
use crate::output::{Printer, words};
use crate::session::Session;
use crate::settings::duration;
use crate::settings::point::{self, Point};

const EXAMPLES: &str = "\
Examples:
  evcat subscribe orders -g shipping -- ./ship.sh        run it once per event, payload on stdin
  evcat subscribe orders -g audit >> audit.log           print each event, then ack it
  evcat subscribe orders -g bill -- sh -c 'curl -fsS --data-binary @- https://bill.example/orders'
  evcat subscribe orders -g ml --worker --concurrency 4 -- ./score.py
  evcat subscribe orders -g bridge --into orders --to-broker prod
  evcat subscribe orders -g nightly --no-follow -- ./import.sh    work off what is there, then end

What the handler's exit code means:
  0          handled: ack
  65         dead letter at once
  126, 127   the command cannot be run: the event is given back, evcat stops (exit 1)
  any other, a signal, --handler-timeout
             try again after --backoff; dead letter after --max-attempts
The last 4 KiB of its stderr become the failure's text. A dead letter names the program and keeps none of its arguments.

Its environment:
  EVCAT_TOPIC EVCAT_POSITION EVCAT_KEY EVCAT_TYPE EVCAT_TIMESTAMP EVCAT_GROUP EVCAT_BROKER
  EVCAT_ID        always set, the same on every try: what to deduplicate by
  EVCAT_ATTEMPT   1 for the first try
  EVCAT_HEADERS   JSON, a list of [name, value]
  EVCAT_OMITTED   names of facts that cannot be variables (a NUL in them, or over 64 KiB)
  TRACEPARENT, TRACESTATE: of the event, so that an evcat publish inside continues its trace

A worker (--worker) is started once per lane, reads one JSON line per event and answers each with one line:
  ok | retry [REASON] | dead [REASON]

Every event is handled at least once: after a crash or a lost connection some are handled again.";

/// Work on events as a member of a group: print each one, or run a command for it
///
/// A group gets every event of its topics at least once; its members share the work. An event is acked only after it
/// was handled, or after its copy in the dead-letter topic was acknowledged.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SubscribeArgs {
    /// Topics, or globs over those that exist now; or one queue:NAME or subscription:NAME, which is a group by itself
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// The group; it is made if it does not exist
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// The command to run for each event; without one, events are printed
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Where a new group starts: beginning, now, 10m (ago), a time, a date, a position
    #[arg(long, alias = "since", value_name = "POINT", value_parser = point::parse, help_heading = "Start and end")]
    from: Vec<Point>,
    /// Make nothing: the group and its dead-letter topic must exist
    #[arg(long, help_heading = "Start and end")]
    no_create: bool,
    /// End after N events were handled or died; fewer is exit 3
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Start and end")]
    count: Option<u64>,
    /// End when all events were handled that were there at the start
    #[arg(long, help_heading = "Start and end")]
    no_follow: bool,
    /// End when nothing came for so long
    #[arg(long, value_name = "DUR", value_parser = duration::some, help_heading = "Start and end")]
    idle_exit: Option<Duration>,
    /// End after so long
    #[arg(long = "for", value_name = "DUR", value_parser = duration::some, help_heading = "Start and end")]
    lasts: Option<Duration>,
    /// At the end, wait so long for running handlers before they are killed and their events given back
    #[arg(long, value_name = "DUR", value_parser = duration::parse, default_value = "30s", help_heading = "Start and end")]
    drain: Duration,
    /// A pattern of the keys that a new group of a RabbitMQ exchange gets
    #[arg(long, value_name = "PATTERN", help_heading = "Start and end")]
    binding: Vec<String>,

    /// Handle so many events at a time [default: 1]
    #[arg(long, value_name = "N", help_heading = "Handling")]
    concurrency: Option<usize>,
    /// Which events wait for each other; others overtake them freely [default: key]
    #[arg(long, value_name = "WHICH", value_enum, help_heading = "Handling")]
    ordering: Option<Ordering>,
    /// What the command reads on stdin [default: payload]
    #[arg(long, value_name = "WHAT", value_enum, help_heading = "Handling")]
    stdin: Option<Stdin>,
    /// Start the command once per lane: a JSON line in, an answer line out
    #[arg(long, conflicts_with = "stdin", help_heading = "Handling")]
    worker: bool,
    /// Kill a handler after so long; its event is tried again
    #[arg(long, value_name = "DUR", value_parser = duration::parse, help_heading = "Handling")]
    handler_timeout: Option<Duration>,
    /// Copy each event into this topic instead; acked after the copy was
    #[arg(long, value_name = "TOPIC", conflicts_with = "command", help_heading = "Handling")]
    into: Option<String>,
    /// Copy to another broker; without --into, to topics of the same names
    #[arg(long, value_name = "URL|PROFILE", conflicts_with = "command", help_heading = "Handling")]
    to_broker: Option<String>,

    /// Tries before an event becomes a dead letter [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Failures")]
    max_attempts: Option<u32>,
    /// The wait before another try: it doubles from A up to B, at random below that [default: 1s..1m]
    #[arg(long, value_name = "A..B", value_parser = backoff, help_heading = "Failures")]
    backoff: Option<Backoff>,
    /// Stop when so many events in a row died (exit 6): the fault is not in them; 0 never stops
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Failures")]
    max_dead: u32,
    /// Where dead letters go [default: TOPIC.GROUP.dlq]
    #[arg(long, value_name = "TOPIC", help_heading = "Failures")]
    dlq: Option<String>,
    /// Make no dead letters: stop at the failing event (exit 1)
    #[arg(long, conflicts_with = "dlq", help_heading = "Failures")]
    no_dlq: bool,

    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stdin {
    /// The payload, as it is; nothing of a tombstone
    Payload,
    /// The whole event as one JSON line
    Event,
}

/// `1s..1m`, or `5s` for always the same.
fn backoff(text: &str) -> Result<Backoff, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (duration::parse(min)?, duration::parse(max)?);
    if max < min {
        return Err("the longest wait is shorter than the shortest; write 1s..1m".into());
    }
    Ok(Backoff { min, max })
}

/// What is to be done with events.
pub enum Handling {
    /// Print them.
    Print {
        /// How.
        printer: Box<Printer>,
        /// `--select`.
        select: Option<Box<Filter>>,
    },
    /// Run a command.
    Run {
        /// Found already.
        program: Program,
        /// What follows it.
        args: Vec<OsString>,
        /// `--worker`.
        worker: bool,
        /// `--stdin event`.
        whole_event: bool,
        /// `--handler-timeout`.
        timeout: Option<Duration>,
    },
    /// Copy them.
    Copy {
        /// `--into`.
        into: Option<Name>,
        /// `--to-broker`.
        to_broker: Option<String>,
    },
}

impl Handling {
    /// The program, for the failure record: `./ship.sh`, `curl …`, `--worker ./score.py`. Its arguments may hold secrets,
    /// and dead letters are read by many.
    pub fn name(&self) -> Option<String> {
        let Handling::Run { program, args, worker, .. } = self else { return None };
        let name = words::shell_quoted(&program.name.to_string_lossy());
        let worker = if *worker { "--worker " } else { "" };
        let arguments = if args.is_empty() { "" } else { " …" };
        Some(format!("{worker}{name}{arguments}"))
    }
}

/// Everything else.
pub struct Plan {
    pub topics: Vec<String>,
    pub group: Option<Name>,
    pub from: Vec<Point>,
    /// `--binding` was given.
    pub binds: bool,
    pub no_create: bool,
    pub count: Option<u64>,
    pub no_follow: bool,
    pub idle_exit: Option<Duration>,
    pub lasts: Option<Duration>,
    pub drain: Duration,
    pub concurrency: usize,
    pub ordering: Ordering,
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub max_dead: Option<u32>,
    pub dlq: Option<Name>,
    pub no_dlq: bool,
}

impl Plan {
    /// Whether it ends by itself.
    pub fn bounded(&self) -> bool {
        self.count.is_some() || self.no_follow || self.idle_exit.is_some() || self.lasts.is_some()
    }

    /// How many events are in hand at a time: enough that lanes never wait for the broker, few enough that other
    /// members get their share; and none that are surely not wanted. Every key that has an event in hand is closed to
    /// other members, so a slow handler must claim few; those that wait for another try count too, so that one lane
    /// has more than its four. Where members share by partitions what one has in hand takes nothing from another, and
    /// what prints or copies waits for nothing but the broker: so many that the next are there while the broker commits.
    pub fn in_flight(&self, handling: &Handling, unfiltered: bool, partitions: bool) -> usize {
        let enough = match handling {
            Handling::Print { .. } | Handling::Copy { .. } if partitions => 10_000,
            Handling::Print { .. } | Handling::Copy { .. } => 1000,
            Handling::Run { worker: true, .. } => (self.concurrency * 25).clamp(100, 2000),
            Handling::Run { .. } => (self.concurrency * 4).clamp(16, 1000),
        };
        match self.count.filter(|_| unfiltered) {
            Some(count) => enough.min(usize::try_from(count).unwrap_or(enough)),
            None => enough,
        }
    }
}

/// All that is valid.
pub struct Resolved {
    pub plan: Plan,
    pub handling: Handling,
    pub judge: Judging,
}

impl SubscribeArgs {
    /// `--binding`: what the broker has to know when it is opened.
    pub fn binding(&self) -> &[String] {
        &self.binding
    }

    /// Checks everything that can be checked without the broker.
    pub fn resolve(self, session: &Session) -> Result<Resolved, Failure> {
        let SubscribeArgs {
            topics,
            group,
            command,
            from,
            no_create,
            count,
            no_follow,
            idle_exit,
            lasts,
            drain,
            binding,
            concurrency,
            ordering,
            stdin,
            worker,
            handler_timeout,
            into,
            to_broker,
            max_attempts,
            backoff,
            max_dead,
            dlq,
            no_dlq,
            filters,
            output,
        } = self;
        session.writable("subscribe")?;
        let group = group_of(&topics, group)?;
        session.binds(&binding)?;
        if command.is_empty() {
            let lanes = [
                ("--concurrency", concurrency.is_some()),
                ("--ordering", ordering.is_some()),
                ("--stdin", stdin.is_some()),
                ("--worker", worker),
                ("--handler-timeout", handler_timeout.is_some()),
                ("--max-attempts", max_attempts.is_some()),
                ("--backoff", backoff.is_some()),
            ];
            refuse_given(&lanes, "is about a command, and none was given", "it stands last: -- ./handle.sh")?;
        }
        let copies = into.is_some() || to_broker.is_some();
        if !command.is_empty() || copies {
            let prints = [
                ("--output", output.output.is_some()),
                ("--format", output.format.is_some()),
                ("--pretty", output.pretty),
                ("--select", filters.select.is_some()),
            ];
            let hint = match copies {
                true => "to print, leave --into and --to-broker out",
                false => "the command's own output is passed through; for the whole event: --stdin event",
            };
            refuse_given(&prints, "is about printing, and events are not printed here", hint)?;
        }
        if concurrency == Some(0) {
            return Err(Failure::usage("--concurrency 0: at least one event is handled at a time"));
        }
        let handling = if let Some((name, args)) = command.split_first() {
            Handling::Run {
                program: look_up(name, session.environment().path.as_deref())?,
                args: args.to_vec(),
                worker,
                whole_event: stdin == Some(Stdin::Event),
                timeout: handler_timeout.filter(|timeout| !timeout.is_zero()),
            }
        } else if copies {
            if to_broker.is_some() && into.is_none() && group.is_none() {
                return Err(Failure::usage(
                    "--to-broker: a queue has no topic whose name the copy could take",
                )
                .hint("name it: --into TOPIC"));
            }
            Handling::Copy { into: into.map(Name::from), to_broker }
        } else {
            let select = match &filters.select {
                Some(select) => {
                    let alone = FilterArgs { select: Some(select.clone()), ..FilterArgs::default() };
                    Some(Box::new(Filter::resolve(&alone)?))
                }
                None => None,
            };
            let printer = Printer::resolve(&output, &session.ui, OutputFormat::Raw)?;
            Handling::Print { printer: Box::new(printer), select }
        };
        let filter = Filter::resolve(&FilterArgs { select: None, ..filters })?;
        let plan = Plan {
            topics,
            group,
            from,
            binds: !binding.is_empty(),
            no_create,
            count,
            no_follow,
            idle_exit,
            lasts,
            drain,
            concurrency: concurrency.unwrap_or(1),
            ordering: ordering.unwrap_or_default(),
            max_attempts: max_attempts.unwrap_or(5),
            backoff: backoff.unwrap_or_default(),
            max_dead: Some(max_dead).filter(|max| *max > 0),
            dlq: dlq.map(Name::from),
            no_dlq,
        };
        super::guard(session, &plan, matches!(handling, Handling::Run { .. }))?;
        let judge = Judging { filter, group: plan.group.clone() };
        Ok(Resolved { plan, handling, judge })
    }
}

/// A queue is a group by itself, topics need one.
fn group_of(topics: &[String], group: Option<String>) -> Result<Option<Name>, Failure> {
    let queue = |topic: &String| topic.starts_with("queue:") || topic.starts_with("subscription:");
    match (topics.iter().find(|topic| queue(topic)), group) {
        (Some(queue), Some(_)) => {
            Err(Failure::usage(format!("-g: {queue} is a group by itself")).hint("leave -g out"))
        }
        (Some(queue), None) if topics.len() > 1 => {
            Err(Failure::usage(format!("{queue} stands alone: a queue cannot be read together with others")))
        }
        (Some(_), None) => Ok(None),
        (None, Some(group)) if group.is_empty() => {
            Err(Failure::usage("-g: a group has a name").hint("for example: -g shipping"))
        }
        (None, Some(group)) => Ok(Some(group.into())),
        (None, None) => {
            let first = &topics[0];
            Err(Failure::usage("-g GROUP is missing: it says who has seen which event").hint(format!(
                "evcat subscribe {first} -g GROUP; to look without a group: evcat tail {first}"
            )))
        }
    }
}

fn refuse_given(flags: &[(&str, bool)], why: &str, hint: &str) -> Result<(), Failure> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!("{flag} {why}")).hint(hint)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_is_a_range_or_one_wait() {
        let of = |min, max| Backoff { min: Duration::from_millis(min), max: Duration::from_millis(max) };
        assert_eq!(backoff("1s..1m"), Ok(of(1000, 60_000)));
        assert_eq!(backoff("50ms"), Ok(of(50, 50)));
        assert_eq!(backoff("0..0"), Ok(of(0, 0)));
        for wrong in ["", "..", "1s..", "1m..1s", "1s...1m", "fast"] {
            assert!(backoff(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topics_need_a_group_and_a_queue_is_one() {
        let of = |topics: &[&str], group: Option<&str>| {
            let topics: Vec<_> = topics.iter().map(|topic| topic.to_string()).collect();
            group_of(&topics, group.map(str::to_owned)).map_err(|failure| failure.message)
        };
        assert_eq!(of(&["orders"], Some("g")), Ok(Some("g".into())));
        assert_eq!(of(&["queue:mail"], None), Ok(None));
        for (topics, group) in [
            (&["orders"][..], None),
            (&["orders"], Some("")),
            (&["queue:mail"], Some("g")),
            (&["queue:mail", "orders"], None),
        ] {
            assert!(of(topics, group).is_err(), "{topics:?} {group:?}");
        }
    }
}
