//! `evcat dlq peek`.

use std::path::PathBuf;

use clap::Args;

use super::choosing::{ChooseArgs, Chooser};
use super::heap::{Dead, Dlq, Heap};
use super::words::{error, key, or_dash, origin};
use crate::cli::{OutputArgs, OutputFormat};
use crate::outcome::Outcome;
use crate::output::table::{Column, Table};
use crate::output::{Printer, Stdout, stdout, words};
use crate::session::Session;

/// One line for each dead letter
#[derive(Debug, Args)]
#[command(mut_arg("output", |output| output.help(
    "How to print [default: human, a table of the first 20 (--limit N)]; all others print every whole event"
)))]
pub struct PeekArgs {
    /// The topic of dead letters, or @FILE that was kept
    #[arg(value_name = "DLQ", value_parser = Dlq::parse)]
    dlq: Dlq,
    #[command(flatten)]
    choose: ChooseArgs,
    /// Keep all that was read in this file; later looks can read it as @FILE
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    snapshot: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Rows of a table when nobody says how many.
const ROWS: usize = 20;

/// Runs it.
pub async fn run(args: PeekArgs, session: &Session) -> anyhow::Result<Outcome> {
    let PeekArgs { dlq, choose, snapshot, output } = args;
    let interrupted = || Outcome::Interrupted(session.stop.signal().unwrap_or_default());
    let limited = choose.limit.is_some();
    let Some(mut chooser) = Chooser::resolve(choose, Vec::new(), session).await? else {
        return Ok(interrupted());
    };
    let mut heap = Heap::open(session, &dlq, snapshot.as_deref()).await?;
    let mut out = Stdout::open()?;
    let OutputArgs { output: format, format: template, pretty } = &output;
    let is_table = matches!(format, None | Some(OutputFormat::Human)) && template.is_none() && !pretty;
    let streams = !is_table || chooser.has_selection();
    let mut printer = Printer::resolve(&output, &session.ui, OutputFormat::Human)?;
    let (mut rows, mut all, mut matching) = (Vec::new(), 0u64, 0u64);
    while let Some(dead) = heap.next().await? {
        let chosen = chooser.choose(&dead).await?;
        all += dead.len() as u64;
        let dead: Vec<Dead> =
            dead.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(d, _)| d).collect();
        matching += dead.len() as u64;
        if !streams {
            let room = if limited { usize::MAX } else { ROWS - rows.len() };
            rows.extend(dead.into_iter().take(room));
            continue;
        }
        let mut bytes = out.buffer();
        if chooser.has_selection() {
            for result in chooser.select(&dead).await?.into_iter().flatten() {
                printer.value(&mut bytes, &result);
            }
        } else {
            for Dead { event, failure, .. } in &dead {
                printer.event_with(&mut bytes, event, &[("failure", failure)]);
            }
        }
        tokio::select! {
            biased;
            () = session.stop.requested() => return Ok(interrupted()),
            written = out.write(bytes) => written?,
        }
    }
    let stopped = heap.stopped();
    heap.close().await?;
    if stopped {
        return Ok(interrupted());
    }
    let missing = chooser.finish(&dlq, session)?;
    if !streams {
        print_table(&mut out, &rows, session).await?;
        let shown = words::count(rows.len() as u64);
        let of = match chooser.is_everything() {
            true => words::count(all),
            false if limited => format!("{} waiting", words::count(all)),
            false => format!("{} that match, {} waiting", words::count(matching), words::count(all)),
        };
        let rest = if rows.len() as u64 == all {
            "-o json has everything"
        } else {
            "--limit N; -o json has everything"
        };
        // Below the table, also where both streams are one terminal.
        out.flush().await?;
        session.ui.status(format_args!("{shown} of {of} ({rest})"));
    }
    out.flush().await?;
    for id in &missing {
        session.ui.warn(format_args!("{id} does not wait in {}", dlq.title(session)));
    }
    Ok(if missing.is_empty() { Outcome::Done } else { Outcome::Short })
}

async fn print_table(out: &mut Stdout, rows: &[Dead], session: &Session) -> Result<(), stdout::Closed> {
    use Column::{Left, Right};
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("ID", Left),
        ("DIED", Left),
        ("FROM", Left),
        ("GROUP", Left),
        ("TRIES", Right),
        ("BACK", Right),
        ("KEY", Left),
        ("ERROR", Left),
    ]);
    let (now, zone) = (session.now(), session.zone());
    for Dead { event, letter, .. } in rows {
        table.row([
            event.position().to_string(),
            or_dash(letter.failed_at.map(|at| words::clock_seconds(at, now, &zone))),
            origin(&letter.origin),
            or_dash(letter.group.clone()),
            or_dash(letter.attempts.map(|n| n.to_string())),
            letter.replays.to_string(),
            key(event.key()),
            error(letter),
        ]);
    }
    let mut bytes = Vec::new();
    table.print(&mut bytes, session.ui.out);
    out.write(bytes).await
}
