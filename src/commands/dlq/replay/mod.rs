//! `evcat dlq replay`: dead letters on their way back.

mod by_hand;
mod copies;
mod edits;
mod handle;
mod native;
mod receipts;
mod survey;
mod view;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::choosing::{ChooseArgs, Chooser};
use super::heap::Dlq;
use super::others;
use crate::commands::topics::{TableFormat, print, unknown_topic};
use crate::deadletter::copy;
use crate::deadletter::plan::{MAX_REPLAYS, Rules};
use crate::event::Name;
use crate::event::cloudevents::Binding;
use crate::flow::handler::look_up;
use crate::flow::pacer::{self, Pacer, Rate};
use crate::flow::schema::Schema;
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::{confirm, words};
use crate::query::Transform;
use crate::session::{Session, legal};
use crate::settings::duration;
use edits::Edits;
use receipts::{Counts, Receipts};
pub(super) use survey::place_of;
use survey::{Survey, survey};
use view::View;
use work::{Ended, Work};

/// Put dead letters back, to the group that failed and nobody else where the broker can address one
///
/// A plan comes first. On a terminal a question follows; a script says --yes. Interrupted, the same command goes on
/// from there, and nothing that was confirmed is repeated; --limit counts anew then, and what it stopped at is said
/// where it was not killed.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The topic of dead letters, or @FILE that was kept
    #[arg(value_name = "DLQ", value_parser = Dlq::parse)]
    dlq: Dlq,
    /// Only these: the first column of dlq peek
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: Vec<String>,
    #[command(flatten)]
    choose: ChooseArgs,
    /// Print the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
    /// Do it only if exactly so many match; else exit 3
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Into this topic, wherever they came from
    #[arg(long, value_name = "TOPIC")]
    into: Option<String>,
    /// Into the topic they came from, for every group of it
    #[arg(long, conflicts_with = "into")]
    all_groups: bool,
    /// At most so many in a time: 200/s, 30/m
    #[arg(long, value_name = "N/s", value_parser = pacer::rate)]
    rate: Option<Rate>,
    /// Put back so often already, a letter goes to DLQ.parked instead
    #[arg(long, value_name = "N", default_value_t = MAX_REPLAYS)]
    max_replays: u32,
    /// Change each event; it gets a new id, linked to the old
    #[arg(long, value_name = "JQ")]
    transform: Option<String>,
    /// Change the one event in $EDITOR; it gets a new id, linked to the old
    #[arg(long, conflicts_with = "transform")]
    edit: bool,
    /// Leave those whose payload is not valid for this JSON Schema
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Copy and settle nothing; needs --into, --all-groups or a command
    #[arg(long)]
    keep: bool,
    /// Events of one key in the order in which they were published, one at a time; none behind one that failed
    #[arg(long)]
    ordered_by_key: bool,
    /// Hand the whole queue to the broker, which puts all of it back (SQS); with --rate and --into queue:NAME
    ///
    /// Nothing can be chosen or changed, replays are not counted, and SQS only puts back what SQS itself moved there; with
    /// --into it takes all.
    #[arg(long)]
    native: bool,
    /// Add a line of JSON for each letter to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// json: one receipt per letter on stdout; the plan too with --dry-run
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
    /// Handle each one here and publish nothing; exit 0 settles it
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["into", "all_groups"])]
    command: Vec<OsString>,
}

/// Runs it.
pub async fn run(args: ReplayArgs, session: &Session) -> anyhow::Result<Outcome> {
    let ReplayArgs { dlq, id, choose, dry_run, yes, expect, into, all_groups, rate, max_replays, .. } = &args;
    let ReplayArgs { transform, edit, schema, keep, ordered_by_key, report, output, command, .. } = &args;
    check(&args, session)?;
    if args.native {
        return native::run(args, session).await;
    }
    if let Some(into) = into {
        legal(&*session.broker, "--into", into)?;
    }
    let hands = match command.split_first() {
        None => None,
        Some((name, rest)) => {
            let search = session.environment().path.as_deref();
            Some(handle::Hands::new(
                look_up(name, search)?,
                rest.to_vec(),
                session.endpoint.given.expose().to_owned(),
            ))
        }
    };
    let settles = !keep && matches!(dlq, Dlq::Topic(_));
    let rules = Rules {
        settles,
        here: hands.is_some(),
        into: into.as_deref().map(Name::from),
        all_groups: *all_groups,
        max_replays: *max_replays,
        dlq: match dlq {
            Dlq::Topic(name) => name.clone(),
            Dlq::File(_) => "".into(),
        },
    };
    let mut edits = Edits {
        transform: transform.as_deref().map(|text| Transform::compile("--transform", text)).transpose()?,
        schema: schema.as_deref().map(|path| Schema::open("--schema", path)).transpose()?,
        by_hand: None,
        binding: Binding::of(session.endpoint.backend),
    };
    let interrupted = || Ok(Outcome::Interrupted(session.stop.signal().unwrap_or_default()));
    let run = copy::run_id(&mut fastrand::Rng::new());

    let Some(chooser) = Chooser::resolve(choose.clone(), id.clone(), session).await? else {
        return interrupted();
    };
    let chosen = chooser.words();
    let Some(mut found) = survey(session, dlq, chooser, &rules, &mut edits, *ordered_by_key).await? else {
        return interrupted();
    };
    say_missing(session, dlq, std::mem::take(&mut found.missing)).await?;
    if *edit && let Some(dead) = found.last.take() {
        match by_hand::edit(session, &dead, &run).await? {
            Some(event) => edits.by_hand = Some(event),
            None => {
                return Err(Failure::failed("--edit: nothing was changed, so nothing was put back").into());
            }
        }
        let Some(chooser) = Chooser::resolve(choose.clone(), id.clone(), session).await? else {
            return interrupted();
        };
        match survey(session, dlq, chooser, &rules, &mut edits, *ordered_by_key).await? {
            Some(again) => found = again,
            None => return interrupted(),
        }
    }
    if let Some(into) = into
        && session.endpoint.backend != "local"
        && !found.places.get(into).is_some_and(|place| place.exists)
    {
        return Err(unknown_topic(session, into).await.into());
    }
    let shown = (!command.is_empty()).then(|| words::shell_line(command));
    let view = View {
        session,
        dlq,
        rules: &rules,
        survey: &found,
        chosen,
        edits: edits.name(),
        rate: *rate,
        command: shown,
    };
    let count = found.plan.positions.len() as u64;
    let wrong_count = expect.filter(|expect| *expect != found.plan.chosen);
    if *dry_run {
        let text = if *output == TableFormat::Json { view.json() } else { view.text(true, session.ui.out) };
        print(text.into_bytes()).await?;
    } else {
        let text = view.text(false, session.ui.err);
        session.ui.status(text.trim_end());
    }
    if let Some(expect) = wrong_count {
        let (chosen, expect) = (words::count(found.plan.chosen), words::count(expect));
        let message = format!("--expect {expect}: {chosen} match; nothing was changed");
        return Err(Failure::failed(message).exit(Exit::Short).into());
    }
    if *dry_run {
        return Ok(Outcome::Done);
    }
    let (.., stay) = found.plan.counts();
    if count == 0 && stay > 0 {
        let those = super::words::dead_letters(stay);
        return Err(Failure::failed(format!("nothing was {}: {those} cannot go anywhere", rules.verb()))
            .hint("the plan says why; they wait where they were")
            .into());
    }
    if count == 0 {
        if let Dlq::Topic(name) = dlq
            && found.plan.total == 0
            && others::are_there(session, name).await?
        {
            return Err(others::failure(session, name, 0, 0).into());
        }
        session.ui.status("nothing to do");
        return Ok(Outcome::Done);
    }
    let question = question(&found, &rules, dlq, session);
    let answer = tokio::select! {
        biased;
        answer = confirm(&session.ui, *yes, &question) => answer?,
        () = session.stop.requested() => return interrupted(),
    };
    if !answer {
        session.ui.status("nothing was changed");
        return Err(Failure::failed("not confirmed").into());
    }

    if found.plan.counts().1 > 0 {
        work::make_parked(session, &rules.dlq).await?;
    }
    let total = found.plan.total;
    let passes = found.passes();
    let bar = session.ui.bar(Some(count));
    let mut receipts = Receipts::open(&run, *output == TableFormat::Json, report.as_deref(), bar)?;
    let started = Instant::now();
    let mut work = Work {
        session,
        dlq: rules.dlq.clone(),
        rules: &rules,
        places: &found.places,
        edits,
        run: run.clone(),
        pacer: Pacer::new(*rate, None),
        hands,
        ordered: *ordered_by_key,
    };
    let ended = match settles {
        true => work.run(passes, &mut receipts).await,
        false => work.copy(dlq, passes, &mut receipts).await,
    };
    if let Some(hands) = work.hands.take() {
        hands.finish().await;
    }
    receipts.bar.finish_and_clear();
    let counts = receipts.counts;
    let end =
        End { session, run: &run, counts, count, total, rules: &rules, expect: *expect, limit: choose.limit };
    match ended {
        Ok(Ended::Whole) => {
            session.ui.status(end.whole(started.elapsed()));
            match receipts.failure(rules.verb()) {
                Some(failure) => Err(failure.into()),
                None if counts.held > 0 => {
                    Err(others::failure(session, &rules.dlq, counts.held, counts.done()).into())
                }
                // The plan has told why.
                None if stay > 0 => Ok(Outcome::Partial),
                None => Ok(Outcome::Done),
            }
        }
        Ok(Ended::Stopped) => {
            session.ui.line(end.stopped());
            interrupted()
        }
        Err(error) => {
            session.ui.line(end.stopped());
            Err(error)
        }
    }
}

/// What can be refused before anything is read.
fn check(args: &ReplayArgs, session: &Session) -> anyhow::Result<()> {
    let ReplayArgs { dlq, id, choose, dry_run, into, all_groups, edit, keep, command, max_replays, .. } =
        args;
    if choose.filters.select.is_some() {
        return Err(Failure::usage("--select: a replay prints no events").into());
    }
    let goes_somewhere = into.is_some() || *all_groups || !command.is_empty();
    let nothing_settles = match dlq {
        Dlq::File(_) => Some("a file that was kept has nothing to settle"),
        Dlq::Topic(_) if *keep => Some("--keep settles nothing"),
        Dlq::Topic(_) => None,
    };
    if let Some(why) = nothing_settles.filter(|_| !goes_somewhere) {
        return Err(Failure::usage(format!("{why}: say where the copies go"))
            .hint("--into TOPIC, --all-groups, or a command after --")
            .into());
    }
    if *edit && id.len() != 1 {
        return Err(Failure::usage(format!("--edit takes one ID, here are {}", id.len()))
            .hint(format!("evcat dlq replay {}{} ID --edit", dlq.typed(), session.endpoint.flag))
            .into());
    }
    if let (Dlq::Topic(name), Some(into)) = (dlq, into)
        && **name == **into
    {
        return Err(Failure::usage(format!("--into {into}: they lie there already")).into());
    }
    if *max_replays == 0 {
        return Err(Failure::usage("--max-replays 0 would put nothing back; 1 or more").into());
    }
    let writes = !dry_run && (command.is_empty() || (!keep && matches!(dlq, Dlq::Topic(_))));
    if writes {
        session.writable("dlq replay")?;
    }
    Ok(())
}

/// Ids that do not wait: those that were settled are told, one that never was is refused.
pub(super) async fn say_missing(session: &Session, dlq: &Dlq, missing: Vec<String>) -> anyhow::Result<()> {
    let unknown = match dlq {
        Dlq::File(_) => missing,
        Dlq::Topic(name) => {
            let (settled, unknown) = survey::settled_or_unknown(session, name, missing).await?;
            match settled.as_slice() {
                [] => (),
                [one] => session.ui.line(format_args!("{one} is settled already")),
                many => {
                    let first = many.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
                    let more = if many.len() > 5 { ", …" } else { "" };
                    let count = words::count(many.len() as u64);
                    session.ui.line(format_args!("{count} are settled already: {first}{more}"));
                }
            }
            unknown
        }
    };
    match unknown.first() {
        None => Ok(()),
        Some(id) => Err(super::show::no_such(session, dlq, id).into()),
    }
}

fn question(found: &Survey, rules: &Rules, dlq: &Dlq, session: &Session) -> String {
    let (back, parked, _) = found.plan.counts();
    let verb = if rules.here { "Handle" } else { "Put back" };
    let parked = if parked > 0 { format!(" and park {}", words::count(parked)) } else { String::new() };
    format!("{verb} {}{parked}: {}?", super::words::dead_letters(back), dlq.title(session))
}

impl Rules {
    fn verb(&self) -> &'static str {
        match (self.here, self.settles) {
            (true, _) => "handled",
            (false, true) => "put back",
            (false, false) => "copied",
        }
    }
}

/// The closing lines.
struct End<'a> {
    session: &'a Session,
    run: &'a str,
    counts: Counts,
    /// What was to be done.
    count: u64,
    /// What waited.
    total: u64,
    rules: &'a Rules,
    expect: Option<u64>,
    limit: Option<u64>,
}

impl End<'_> {
    fn done(&self) -> String {
        let Counts { back, parked, handled, .. } = self.counts;
        let n = words::count;
        let mut told = format!("{} {}", n(back + handled), self.rules.verb());
        if parked > 0 {
            told += &format!(", {} parked", n(parked));
        }
        told
    }

    /// `run k7m2 on prod: 39,000 put back, 14 parked, 0 failed in 3m58s; 986 still wait`
    fn whole(&self, took: std::time::Duration) -> String {
        let End { session, run, counts, total, rules, .. } = self;
        let n = words::count;
        let elsewhere = match counts.elsewhere {
            0 => String::new(),
            count => format!(", {} settled by somebody else meanwhile", n(count)),
        };
        let held = match counts.held {
            0 => String::new(),
            count => format!(", {} in somebody else's hands", n(count)),
        };
        let wait = match rules.settles {
            true => format!("{} still wait", n(total - counts.done() - counts.elsewhere)),
            false => "nothing was settled".to_owned(),
        };
        let (done, failed, took) = (self.done(), n(counts.failed), duration::short(took));
        format!(
            "run {run} on {}: {done}, {failed} failed{elsewhere}{held} in {took}; {wait}",
            session.endpoint.name
        )
    }

    /// `stopped: 24,310 put back, 14,690 not touched; the same command goes on from there`
    fn stopped(&self) -> String {
        let left = self.count - self.counts.seen().min(self.count);
        let settled = self.counts.done() + self.counts.elsewhere;
        // Who asked for so many gets so many, and not as many again.
        let rest = [("--limit", self.limit), ("--expect", self.expect)]
            .into_iter()
            .filter_map(|(flag, n)| n.map(|n| format!("{flag} {}", n.saturating_sub(settled))));
        let rest = rest.collect::<Vec<_>>().join(" ");
        let again = match (self.rules.settles, rest.as_str()) {
            (false, _) => "the same command begins anew".to_owned(),
            (true, "") => "the same command goes on from there".to_owned(),
            (true, rest) => format!("the same command with {rest} goes on from there"),
        };
        let failed = match self.counts.failed {
            0 => String::new(),
            count => format!(", {} failed", words::count(count)),
        };
        format!("stopped: {}{failed}, {} not touched; {again}", self.done(), words::count(left))
    }
}
