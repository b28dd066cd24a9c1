//! `evcat dlq drop`: dead letters that nobody needs.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::choosing::{ChooseArgs, Chooser};
use super::heap::{Dead, Dlq, Heap, Parted, Snapshot, must_hold_letters, source_of};
use super::others;
use super::words::dead_letters;
use crate::broker::{Kind, Received, Settlement, Stop, SubscribeOptions, TAKEN_OVER};
use crate::event::{Name, Position};
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::{confirm, words};
use crate::session::Session;

/// Settle dead letters without putting them back
///
/// Which ones must be said, by filters or ids. They are gone from dlq, and from the broker when it expires them. A
/// rerun after a kill goes on from there, and counts --limit anew.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The topic of dead letters
    #[arg(value_name = "DLQ", value_parser = Dlq::parse)]
    dlq: Dlq,
    /// Only these: the first column of dlq peek
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: Vec<String>,
    #[command(flatten)]
    choose: ChooseArgs,
    /// Keep them in this file first, as canonical lines
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Do it only if exactly so many match; else exit 3
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Say how many match and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

/// Runs it.
pub async fn run(args: DropArgs, session: &Session) -> anyhow::Result<Outcome> {
    let DropArgs { dlq, id, choose, save, expect, dry_run, yes } = args;
    let Dlq::Topic(name) = &dlq else {
        return Err(Failure::usage("dlq drop: a file that was kept has nothing to settle")
            .hint("rm, if you are sure")
            .into());
    };
    if choose.filters.select.is_some() {
        return Err(Failure::usage("--select: dlq drop prints no events").into());
    }
    if !dry_run {
        session.writable("dlq drop")?;
    }
    let interrupted = || Ok(Outcome::Interrupted(session.stop.signal().unwrap_or_default()));
    let limit = choose.limit;
    let Some(mut chooser) = Chooser::resolve(choose, id, session).await? else { return interrupted() };
    if chooser.is_everything() && chooser.words().is_empty() {
        return Err(Failure::usage(
            "dlq drop: which ones? without a filter or an id it would be all of them",
        )
        .hint(format!(
            "evcat dlq drop {dlq}{flag} ID, or --fingerprint F; all: --error ''",
            dlq = dlq.typed(),
            flag = session.endpoint.flag
        ))
        .into());
    }
    let chosen_words = chooser.words();
    let mut heap = Heap::open(session, &dlq, None).await?;
    must_hold_letters(session, &heap.info).await?;
    let mut kept = match &save {
        Some(path) if !dry_run => Some(Snapshot::create(path)?),
        _ => None,
    };
    let (mut positions, mut total) = (Vec::new(), 0);
    while let Some(dead) = heap.next().await? {
        let chosen = chooser.choose(&dead).await?;
        total += dead.len() as u64;
        let those: Vec<&Dead> =
            dead.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(dead, _)| dead).collect();
        if let Some(kept) = &mut kept {
            kept.add(those.iter().copied())?;
        }
        positions.extend(those.iter().map(|dead| dead.event.position().clone()));
    }
    let stopped = heap.stopped();
    heap.close().await?;
    if stopped {
        return interrupted();
    }
    let missing = chooser.finish(&dlq, session)?;
    super::replay::say_missing(session, &dlq, missing).await?;
    let count = positions.len() as u64;
    if let Some(expect) = expect.filter(|expect| *expect != count) {
        let message =
            format!("--expect {}: {} match; nothing was changed", words::count(expect), words::count(count));
        return Err(Failure::failed(message).exit(Exit::Short).into());
    }
    let what = format!(
        "{} of {} in {}: {chosen_words}",
        words::count(count),
        words::count(total),
        dlq.title(session)
    );
    session.ui.status(format_args!("chosen  {what}"));
    if dry_run || count == 0 {
        session.ui.status("nothing was changed");
        return Ok(Outcome::Done);
    }
    let question = format!("Drop {} of {}?", dead_letters(count), dlq.title(session));
    let answer = tokio::select! {
        biased;
        answer = confirm(&session.ui, yes, &question) => answer?,
        () = session.stop.requested() => return interrupted(),
    };
    if !answer {
        return Err(Failure::failed("not confirmed; nothing was changed").into());
    }
    if let Some(kept) = kept {
        kept.finish(session)?;
    }
    let (mut dropped, mut elsewhere) = (0, 0);
    let ended = settle(session, name, positions, &mut dropped, &mut elsewhere).await;
    let n = words::count;
    if !matches!(ended, Ok(true)) {
        // Who asked for so many gets so many, and not as many again.
        let rest = limit.map(|limit| limit.saturating_sub(dropped + elsewhere)).filter(|rest| *rest > 0);
        let rest = rest.map_or_else(String::new, |rest| format!(" with --limit {rest}"));
        session.ui.line(format_args!(
            "stopped: {} dropped, {} not touched; the same command{rest} goes on from there",
            n(dropped),
            n(count - dropped - elsewhere)
        ));
        return ended.and_then(|_| interrupted());
    }
    // What never came was settled between the plan and the first delivery.
    elsewhere = count - dropped;
    let held = match elsewhere > 0 && others::are_there(session, name).await? {
        true => std::mem::take(&mut elsewhere),
        false => 0,
    };
    let others = if elsewhere > 0 {
        format!(", {} settled by somebody else meanwhile", n(elsewhere))
    } else {
        "".into()
    };
    let wait = n(total - dropped - elsewhere);
    session.ui.status(format_args!(
        "dropped {} from {}{others}; {wait} still wait",
        n(dropped),
        dlq.title(session)
    ));
    match held {
        0 => Ok(Outcome::Done),
        held => Err(others::failure(session, name, held, dropped).into()),
    }
}

/// Acks them all, and counts those, and those that somebody else had settled. `false`: we were asked to stop.
async fn settle(
    session: &Session,
    dlq: &Name,
    positions: Vec<Position>,
    dropped: &mut u64,
    elsewhere: &mut u64,
) -> anyhow::Result<bool> {
    let lease = std::time::Duration::from_secs(30);
    let bar = session.ui.bar(Some(positions.len() as u64));
    let (source, mut wanted) = source_of(session, dlq, positions);
    let options =
        SubscribeOptions { stop: Stop::Now, in_flight: 1000, lease, grace: lease / 3, ordered: false };
    let subscription = session.broker.subscription(source, options).await?;
    session.stop.begin();
    let whole = loop {
        let received = tokio::select! {
            biased;
            () = session.stop.requested() => break false,
            received = subscription.receive() => received?,
        };
        match received {
            Received::Deliveries(deliveries) => {
                let Parted { meant, rest, done: _ } = wanted.part(deliveries);
                if !rest.is_empty() {
                    subscription.settle(rest).await?;
                }
                let items = meant.iter().map(|delivery| (delivery.token, Settlement::Ack)).collect();
                for (delivery, answer) in meant.iter().zip(subscription.settle(items).await?) {
                    match answer {
                        Ok(_) => *dropped += 1,
                        Err(error) if error.detail().operation == TAKEN_OVER => return Err(error.into()),
                        // The connection was lost and the queue hands it out again.
                        Err(error)
                            if error.kind() == Kind::Lost
                                && wanted.comes_again(delivery.event.position()) =>
                        {
                            continue;
                        }
                        Err(error) if error.kind() == Kind::Lost => *elsewhere += 1,
                        Err(error) => return Err(error.into()),
                    }
                    bar.inc(1);
                }
            }
            Received::Revoking(_) | Received::Lost(_) => (),
            Received::End => break true,
        }
    };
    subscription.close().await?;
    bar.finish_and_clear();
    Ok(whole)
}
