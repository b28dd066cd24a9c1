//! What became of each letter: counted, and written to `--report` and to stdout with `-o json`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::commands::dlq::heap::Dead;
use crate::commands::dlq::words::many;
use crate::deadletter::plan::Way;
use crate::event::Position;
use crate::outcome::{Exit, Failure};
use crate::output::{Stdout, words};

/// What became of a letter.
pub enum Done<'a> {
    /// It went there, and lies at this position where it has one.
    Went(&'a Way, Position),
    /// The command handled it.
    Handled,
    /// It stays: something came between the plan and its turn.
    Stays(String),
    /// It was to go and did not.
    Failed(String),
    /// Somebody else settled it since the plan.
    Elsewhere,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Put back.
    pub back: u64,
    /// Parked.
    pub parked: u64,
    /// Handled here.
    pub handled: u64,
    /// Not done, and it was said why.
    pub failed: u64,
    /// Settled by somebody else.
    pub elsewhere: u64,
    /// In somebody else's hands, as far as anybody can tell: they are there, and could not be had.
    pub held: u64,
}

impl Counts {
    /// Letters that were settled or copied by us.
    pub fn done(self) -> u64 {
        self.back + self.parked + self.handled
    }

    /// Letters whose turn has come, or never will.
    pub fn seen(self) -> u64 {
        self.done() + self.failed + self.elsewhere + self.held
    }
}

/// The account of a run.
pub struct Receipts {
    run: String,
    stdout: Option<Stdout>,
    report: Option<(String, File)>,
    lines: Vec<u8>,
    failures: Vec<String>,
    /// The bar on stderr.
    pub bar: indicatif::ProgressBar,
    /// So far.
    pub counts: Counts,
}

/// Failures that are told one by one.
const TOLD: usize = 10;

impl Receipts {
    /// `json`: receipts go to stdout. The report is opened before anything is changed, and added to: an interrupted run
    /// goes on in the same file.
    pub fn open(
        run: &str,
        json: bool,
        report: Option<&Path>,
        bar: indicatif::ProgressBar,
    ) -> anyhow::Result<Receipts> {
        let report = match report {
            None => None,
            Some(path) => {
                let name = format!("--report {}", path.display());
                let file = File::options().append(true).create(true).open(path);
                Some((name.clone(), file.context(name)?))
            }
        };
        let stdout = json.then(Stdout::open).transpose()?;
        let (lines, failures, counts) = (Vec::new(), Vec::new(), Counts::default());
        Ok(Receipts { run: run.into(), stdout, report, lines, failures, bar, counts })
    }

    /// Takes what became of a letter.
    pub fn note(&mut self, dead: &Dead, done: &Done<'_>) {
        let id = dead.event.position().to_string();
        let (what, way, position, error) = match done {
            Done::Went(way @ Way::Parked { .. }, position) => ("parked", Some(*way), Some(position), None),
            Done::Went(way, position) => ("put back", Some(*way), Some(position), None),
            Done::Handled => ("handled", None, None, None),
            Done::Stays(why) => ("stays", None, None, Some(why)),
            Done::Failed(why) => ("failed", None, None, Some(why)),
            Done::Elsewhere => ("settled by somebody else", None, None, None),
        };
        let counter = match done {
            Done::Went(Way::Parked { .. }, _) => &mut self.counts.parked,
            Done::Went(..) => &mut self.counts.back,
            Done::Handled => &mut self.counts.handled,
            Done::Stays(_) | Done::Failed(_) => &mut self.counts.failed,
            Done::Elsewhere => &mut self.counts.elsewhere,
        };
        *counter += 1;
        if let Some(why) = error
            && self.failures.len() < TOLD
        {
            self.failures.push(format!("  {id}  {}", crate::deadletter::fingerprint::headline(why)));
        }
        self.bar.inc(1);
        if self.counts.failed > 0 {
            self.bar.set_message(format!("{} failed", words::count(self.counts.failed)));
        }
        if self.stdout.is_none() && self.report.is_none() {
            return;
        }
        let (topic, group) = match way {
            Some(Way::Group { topic, group }) => (Some(topic), Some(group)),
            Some(Way::Topic { topic, marked }) => (Some(topic), marked.as_ref()),
            Some(Way::Parked { topic }) => (Some(topic), None),
            _ => (None, None),
        };
        let position = position.filter(|position| **position != Position::Unknown).map(Position::to_string);
        let line = json!({
            "id": id,
            "done": what,
            "run": self.run,
            "topic": topic.map(|name| &**name),
            "group": group.map(|name| &**name),
            "position": position,
            "replays": dead.letter.replays,
            "error": error,
        });
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }

    /// Writes what was noted. A reader of our stdout who left does not stop a run that moves things.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        if let Some((name, file)) = &mut self.report {
            file.write_all(&self.lines).with_context(|| name.clone())?;
        }
        let lines = std::mem::take(&mut self.lines);
        if let Some(stdout) = &mut self.stdout {
            let mut written = stdout.write(lines).await;
            if written.is_ok() {
                written = stdout.flush().await;
            }
            match written {
                Err(closed) if closed.reader_left() => self.stdout = None,
                written => written?,
            }
        }
        Ok(())
    }

    /// The failures, told; exit 6 where others went, else 1.
    pub fn failure(&self, verb: &str) -> Option<Failure> {
        let Counts { failed, .. } = self.counts;
        if failed == 0 {
            return None;
        }
        let total = self.counts.seen();
        let mut message = format!("{} of {} not {verb}", words::count(failed), many(total, "dead letter"));
        for failure in &self.failures {
            message += "\n";
            message += failure;
        }
        if failed > self.failures.len() as u64 {
            message += &format!("\n  … and {} more", words::count(failed - self.failures.len() as u64));
        }
        let exit = if self.counts.done() > 0 { Exit::Partial } else { Exit::Failed };
        Some(
            Failure::failed(message)
                .exit(exit)
                .hint("they wait where they were; the same command tries them again"),
        )
    }
}
