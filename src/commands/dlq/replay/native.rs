//! `dlq replay --native`: the broker itself puts back all of a queue, and we look on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::ReplayArgs;
use crate::broker::{NativePlan, NativeProgress, NativeState, NativeWish, abilities};
use crate::commands::dlq::choosing;
use crate::commands::dlq::heap::Dlq;
use crate::commands::dlq::words::{dead_letters, many};
use crate::commands::topics::{TableFormat, print};
use crate::deadletter::plan::MAX_REPLAYS;
use crate::event::Name;
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::{Style, confirm, words};
use crate::session::Session;
use crate::settings::duration;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Runs it.
pub async fn run(args: ReplayArgs, session: &Session) -> anyhow::Result<Outcome> {
    let (dlq, wish, rate) = resolve(&args, session)?;
    let (yes, json) = (args.yes, args.output == TableFormat::Json);
    let interrupted = || Ok(Outcome::Interrupted(session.stop.signal().unwrap_or_default()));
    let to_origins = wish.into.is_none();
    let mut replay = session.broker.native_replay(&dlq, wish).await?;
    let plan = replay.plan().clone();
    let title = format!("{dlq} on {}", session.endpoint.name);
    let view = View { title: &title, plan: &plan, to_origins, rate: rate.as_deref() };
    if args.dry_run {
        let text = if json { view.json(&dlq) } else { view.text(true, session.ui.out) };
        print(text.into_bytes()).await?;
        return Ok(Outcome::Done);
    }
    session.ui.status(view.text(false, session.ui.err).trim_end());
    if plan.waiting == 0 && plan.under_way.is_none() {
        session.ui.status("nothing to do");
        return Ok(Outcome::Done);
    }
    let about = dead_letters(plan.waiting);
    let question = format!("Have {} put back all of {title}, about {about}?", session.endpoint.backend);
    let answer = tokio::select! {
        biased;
        answer = confirm(&session.ui, yes, &question) => answer?,
        () = session.stop.requested() => return interrupted(),
    };
    if !answer {
        session.ui.status("nothing was changed");
        return Err(Failure::failed("not confirmed").into());
    }
    let begun = Instant::now();
    session.stop.begin();
    replay.start().await?;
    let bar = session.ui.bar(Some(plan.waiting));
    let (mut stopping, mut wait) = (false, Duration::ZERO);
    let end = loop {
        tokio::select! {
            biased;
            () = session.stop.requested(), if !stopping => {
                stopping = true;
                replay.cancel().await?;
            }
            progress = async { tokio::time::sleep(wait).await; replay.progress().await } => {
                let progress = progress?;
                bar.set_length(progress.total.unwrap_or(plan.waiting).max(progress.moved));
                bar.set_position(progress.moved);
                if progress.state != NativeState::Running {
                    break progress;
                }
                wait = LOOK;
            }
        }
    };
    bar.finish_and_clear();
    if json {
        print(told(&dlq, &end).into_bytes()).await?;
    }
    let (moved, took) = (words::count(end.moved), duration::short(begun.elapsed()));
    match end.state {
        NativeState::Completed | NativeState::Running => {
            session.ui.status(format!("{moved} put back by {} in {took}: {title}", session.endpoint.backend));
            Ok(Outcome::Done)
        }
        NativeState::Cancelled if stopping => {
            let rest = "what was put back stays there; the same command puts back the rest";
            session.ui.line(format!("stopped: {moved} put back by {}; {rest}", session.endpoint.backend));
            interrupted()
        }
        NativeState::Cancelled => {
            let message = format!("somebody else ended it when {moved} were put back: {title}");
            Err(Failure::failed(message)
                .hint("the same command puts back the rest")
                .exit(partly(end.moved))
                .into())
        }
        NativeState::Failed(why, hint) => {
            let message = format!("it ended by itself when {moved} were put back: {why}");
            let failure = Failure::failed(message).exit(partly(end.moved));
            Err(match hint {
                Some(hint) => failure.hint(hint).into(),
                None => failure.into(),
            })
        }
    }
}

fn partly(moved: u64) -> Exit {
    if moved > 0 { Exit::Partial } else { Exit::Failed }
}

/// What can be asked for, or why not; the queue, the wish, and the rate as it was typed.
fn resolve(args: &ReplayArgs, session: &Session) -> Result<(Name, NativeWish, Option<String>), Failure> {
    let ReplayArgs { dlq, id, choose, expect, into, all_groups, rate, max_replays, transform, edit, .. } =
        args;
    let ReplayArgs { schema, keep, ordered_by_key, report, command, .. } = args;
    let Dlq::Topic(dlq) = dlq else {
        return Err(Failure::usage(
            "--native: a file that was kept has nothing that a broker could put back",
        ));
    };
    session.guard(&[("--native", &abilities::NATIVE)], dlq)?;
    let without = |what: &str| {
        Failure::usage(format!("--native: the broker takes the whole queue as it is, so not with {what}"))
            .hint("without --native evcat puts them back itself, and can")
    };
    if let Some(chosen) = choosing::words(choose, id).first() {
        return Err(without(&format!("a choice ({chosen})")));
    }
    let others = [
        (expect.is_some(), "--expect: its counts are estimates"),
        (*all_groups, "--all-groups"),
        (*max_replays != MAX_REPLAYS, "--max-replays: nothing is counted"),
        (transform.is_some(), "--transform"),
        (*edit, "--edit"),
        (schema.is_some(), "--schema"),
        (*keep, "--keep"),
        (*ordered_by_key, "--ordered-by-key"),
        (report.is_some(), "--report: it does not tell of single letters"),
        (!command.is_empty(), "a command"),
    ];
    if let Some((_, what)) = others.into_iter().find(|(given, _)| *given) {
        return Err(without(what));
    }
    let per_second = match rate {
        None => None,
        Some(rate) => Some(rate.per_second().ok_or_else(|| {
            Failure::usage(format!("--rate {rate}: --native takes a whole number in a second"))
                .hint("--rate 1/s")
        })?),
    };
    let wish = NativeWish { into: into.as_deref().map(Name::from), per_second };
    Ok((dlq.clone(), wish, rate.map(|rate| rate.to_string())))
}

/// What the plan is told with.
struct View<'a> {
    title: &'a str,
    plan: &'a NativePlan,
    to_origins: bool,
    rate: Option<&'a str>,
}

impl View<'_> {
    fn text(&self, dry: bool, style: Style) -> String {
        let View { title, plan, to_origins, rate } = self;
        let into: Vec<&str> = plan.into.iter().map(|name| &**name).collect();
        let note = if *to_origins { "each into the queue that it died in" } else { "all of them" };
        let mut rows = vec![
            ("from", (*title).to_owned()),
            ("chosen", format!("about {}   all of them, as they are", words::count(plan.waiting))),
            ("into", format!("{}   {note}", into.join(", "))),
        ];
        if let Some(rate) = rate {
            rows.push(("how", (*rate).to_owned()));
        }
        rows.push(("note", "the broker does it; replays are not counted, and no run is kept".to_owned()));
        if *to_origins {
            let only =
                "it ends at the first that the broker did not move there itself: --into queue:NAME takes all";
            rows.push(("", only.to_owned()));
        }
        if let Some(NativeProgress { moved, .. }) = &plan.under_way {
            let so_far = many(*moved, "letter");
            rows.push(("begun", format!("it is under way already: {so_far} so far; this joins it")));
        }
        let mut out = match dry {
            true => format!("{}, nothing was changed\n", style.heading("PLAN")),
            false => format!("{}\n", style.heading("PLAN")),
        };
        for (label, value) in rows {
            out += &format!("  {} {value}\n", style.faint(&format!("{label:8}")));
        }
        if dry && plan.waiting > 0 {
            out += &format!("\n{} the same with --yes for --dry-run\n", style.hint("do it:"));
        }
        out
    }

    fn json(&self, dlq: &str) -> String {
        let View { plan, rate, .. } = self;
        let into: Vec<&str> = plan.into.iter().map(|name| &**name).collect();
        let under_way = plan.under_way.as_ref().map(|progress| progress.moved);
        let object = json!({
            "dlq": dlq, "native": true, "waiting": plan.waiting, "into": into, "rate": rate, "moved_so_far": under_way,
        });
        format!("{object}\n")
    }
}

/// The end for programs, in one line.
fn told(dlq: &str, end: &NativeProgress) -> String {
    let (state, why) = match &end.state {
        NativeState::Running => ("running", None),
        NativeState::Completed => ("completed", None),
        NativeState::Cancelled => ("cancelled", None),
        NativeState::Failed(why, _) => ("failed", Some(why)),
    };
    format!(
        "{}\n",
        json!({"dlq": dlq, "native": true, "state": state, "moved": end.moved, "total": end.total, "why": why})
    )
}
