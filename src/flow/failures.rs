//! What was not delivered: counted, the first ones told at the end, all of them kept in `--failed-to FILE`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::broker::{self, Kind};
use crate::event::{Event, line};
use crate::outcome::{Exit, Failure, exit_of_kind};
use crate::output::{Ui, sanitize, words};

/// So many are told with their reasons; the others are counted.
const TOLD: usize = 10;
/// Kept lines are written in pieces of this size, and whenever [`Failures::flush`] is called.
const PIECE: usize = 64 << 10;
/// A reason is cut after so many characters: it may quote a payload.
const LONGEST: usize = 400;

/// How the canonical line of something that could not even be read as an event ends. It is no event yet, so
/// `publish --input events` must not take it for one.
const UNREADABLE: &str = ",\"unreadable\":true}";

/// Whether this kept line holds input that was never an event: its payload is what stood there.
pub fn is_unreadable(line: &[u8]) -> bool {
    let end = [UNREADABLE.as_bytes(), b"}"].concat();
    line.ends_with(&end)
}

/// Collects what was not delivered.
pub struct Failures {
    count: u64,
    told: Vec<(String, String)>,
    /// What to do about the first.
    hint: Option<String>,
    exit: Option<Exit>,
    kept: Option<Kept>,
    /// Not all of them could be kept.
    lost: bool,
}

struct Kept {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Nothing stood in it before.
    new: bool,
}

impl Failures {
    /// Opens `--failed-to` at once, so that a file that cannot be written stops the command before anything is sent.
    /// Lines are added to what it holds.
    ///
    /// Errors: one of the `inputs` is the same file, which would then never end.
    pub fn open(path: Option<&Path>, inputs: &[&File]) -> anyhow::Result<Failures> {
        let kept = path.map(|path| Kept::open(path, inputs)).transpose()?;
        Ok(Failures { count: 0, told: Vec::new(), hint: None, exit: None, kept, lost: false })
    }

    /// None kept, only counted and told.
    pub fn counted() -> Failures {
        Failures { count: 0, told: Vec::new(), hint: None, exit: None, kept: None, lost: false }
    }

    /// An event that the broker did not take. `place` is where it came from: `line 17`, `orders 3:881`; empty for the
    /// only one.
    pub fn undelivered(
        &mut self,
        place: impl Into<String>,
        error: &broker::Error,
        event: &Event,
    ) -> anyhow::Result<()> {
        let broker::Detail { kind, message, hint, .. } = error.detail();
        if self.count == 0 {
            self.hint = hint.clone();
        }
        // A broker that went away is said once, not once per event that was on its way.
        let event_alone = matches!(kind, Kind::Rejected | Kind::Invalid | Kind::Unroutable);
        let is_told = !event_alone && self.told.last().is_some_and(|(_, why)| why == message);
        self.add(place.into(), message.clone(), exit_of_kind(*kind), event, "}", is_told)
    }

    /// An event that was not sent, because it was refused here: by a schema, a filter, an expression.
    pub fn refused(
        &mut self,
        place: impl Into<String>,
        why: impl Into<String>,
        event: &Event,
    ) -> anyhow::Result<()> {
        self.add(place.into(), why.into(), Exit::Failed, event, "}", false)
    }

    /// Input that is no event; `raw` has what stood there as its payload.
    pub fn unreadable(
        &mut self,
        place: impl Into<String>,
        why: impl Into<String>,
        raw: &Event,
    ) -> anyhow::Result<()> {
        self.add(place.into(), why.into(), Exit::Failed, raw, UNREADABLE, false)
    }

    fn add(
        &mut self,
        place: String,
        why: String,
        exit: Exit,
        event: &Event,
        end: &str,
        is_told: bool,
    ) -> anyhow::Result<()> {
        self.count += 1;
        self.exit.get_or_insert(exit);
        if let Some(kept) = &mut self.kept {
            // Cannot fail: both are strings.
            let [place, why] = [&place, &why].map(|text| serde_json::to_string(text).unwrap_or_default());
            let failure = format!("{{\"error\":{why},\"at\":{place}{end}");
            line::write_with(&mut kept.buffer, event, &[("failure", &failure)]);
            kept.buffer.push(b'\n');
            if kept.buffer.len() >= PIECE {
                kept.flush()?;
            }
        }
        if self.told.len() < TOLD && !is_told {
            self.told.push((place, why));
        }
        Ok(())
    }

    /// How many were not delivered.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Hands what is kept to the system: after each batch, so that a kill loses little.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.kept.as_mut().map_or(Ok(()), Kept::flush)
    }

    /// Writes what is left and waits until it is on disk. A file that was made for nothing is removed again.
    ///
    /// A file that cannot be written is warned of and does not hide what it should have kept, see [`report`](Self::report).
    pub fn close(&mut self, ui: &Ui) {
        if let Err(error) = self.try_close() {
            self.lost = true;
            ui.warn(format_args!("{error}; not all that failed is kept"));
        }
    }

    fn try_close(&mut self) -> anyhow::Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.flush()?;
        if self.count == 0 && kept.new {
            // It may have been somebody's for a moment, or be gone: nothing depends on it.
            let _ = std::fs::remove_file(&kept.path);
            return Ok(());
        }
        match kept.file.sync_data() {
            // A pipe or a terminal cannot be synced, and need not be.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            result => result.map_err(|error| kept.told(error)),
        }
    }

    /// The error that tells them, where there are any: of so many events in all, which should have been `done`
    /// (`delivered to orders on prod`, `handled by ./ship.sh`). `again` is the command that publishes them where they
    /// were meant to go (`evcat publish -b prod`); `None` where they were not meant to be published.
    pub fn report(&self, total: u64, done: &str, again: Option<&str>) -> Option<Failure> {
        let first = self.exit?;
        let total = total.max(self.count);
        let mut message = match (self.count, total) {
            (1, 1) => format!("not {done}"),
            (1, _) => format!("1 of {} events was not {done}", words::count(total)),
            (count, _) => {
                format!("{} of {} events were not {done}", words::count(count), words::count(total))
            }
        };
        if let ((1, 1), [(place, why)]) = ((self.count, total), &self.told[..]) {
            // A single event has no place that would help to find it.
            let place = if place.is_empty() { String::new() } else { format!("{}: ", shown(place)) };
            message += &format!(": {place}{}", shown(why));
        } else {
            let width = self.told.iter().map(|(place, _)| place.chars().count()).max().unwrap_or(0);
            for (place, why) in &self.told {
                message += &format!("\n  {:width$}  {}", shown(place), shown(why));
            }
            let more = self.count - self.told.len() as u64;
            if more > 0 {
                message += &format!("\n  and {} more", words::count(more));
            }
        }
        // Partly done is its own exit code; where nothing was done, the first reason decides.
        let failure = Failure::failed(message).exit(if self.count < total { Exit::Partial } else { first });
        let kept = self.kept.as_ref().filter(|_| !self.lost).map(|kept| {
            let (path, them) =
                (kept.path.display().to_string(), if self.count == 1 { "it is" } else { "they are" });
            match again {
                Some(again) => {
                    let file = words::shell_quoted(&path);
                    format!("{them} in {path}; after a repair: {again} --input events < {file}")
                }
                None => format!("{them} in {path}, as canonical lines"),
            }
        });
        let hints: Vec<String> = self.hint.clone().into_iter().chain(kept).collect();
        Some(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) })
    }
}

impl Kept {
    fn open(path: &Path, inputs: &[&File]) -> anyhow::Result<Kept> {
        let describe = || format!("--failed-to {}", path.display());
        let told = |error: std::io::Error| {
            let message = format!("{}: {error}", describe());
            anyhow::Error::from(error).context(message)
        };
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(told)?;
        let this = file.metadata().map_err(told)?;
        let same = |input: &&&File| {
            input.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (this.dev(), this.ino()))
        };
        if this.is_file() && inputs.iter().find(same).is_some() {
            return Err(Failure::usage(format!("{}: that is the file being read", describe()))
                .hint("keep them in another file, such as still-failed.jsonl")
                .into());
        }
        Ok(Kept { path: path.into(), file, buffer: Vec::new(), new: this.is_file() && this.len() == 0 })
    }

    fn told(&self, error: std::io::Error) -> anyhow::Error {
        let message = format!("--failed-to {}: {error}", self.path.display());
        anyhow::Error::from(error).context(message)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| self.told(error))
    }
}

/// One line of bounded length, with nothing in it that a terminal would obey.
fn shown(text: &str) -> String {
    let text = sanitize::text(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers, Position};

    fn event(payload: &[u8]) -> Event {
        let mut batch = Batch::default();
        let topic = "orders".into();
        batch.push(&topic, Some(b"k"), Headers::default(), Some(payload), None, Position::Unknown);
        batch.finish()[0].clone()
    }

    #[test]
    fn the_screen_of_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed.jsonl");
        let mut failures = Failures::open(Some(&path), &[]).unwrap();
        let large = broker::Error::new(Kind::Rejected, "send", "topic orders", "too large: 1,204,331 B");
        failures.undelivered("line 17", &large, &event(b"{\"a\":1}")).unwrap();
        failures.refused("line 210", "not valid\u{1b}", &event(b"\xff")).unwrap();
        let failure =
            failures.report(1000, "delivered to orders on prod", Some("evcat publish -b prod")).unwrap();
        assert_eq!(
            failure.message,
            "2 of 1,000 events were not delivered to orders on prod\n  line 17   too large: 1,204,331 B\n  \
             line 210  not valid\\x1b"
        );
        assert_eq!(failure.exit, Exit::Partial);
        let hint = failure.hint.unwrap();
        assert!(hint.contains("evcat publish -b prod --input events < "), "{hint}");

        failures.try_close().unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = kept.lines().collect();
        assert_eq!(line::parse(lines[0].as_bytes()).unwrap().payload.as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(line::parse(lines[1].as_bytes()).unwrap().payload.as_deref(), Some(&b"\xff"[..]));
        assert!(lines[0].contains("\"failure\":{\"error\":\"too large: 1,204,331 B\",\"at\":\"line 17\"}"));
    }

    #[test]
    fn one_alone_is_told_in_one_line_and_keeps_its_exit_code() {
        let mut failures = Failures::counted();
        assert!(failures.report(5, "delivered to orders on prod", None).is_none());
        let gone =
            broker::Error::new(Kind::Unreachable, "send", "", "no answer in 30s").with_hint("try later");
        failures.undelivered("", &gone, &event(b"")).unwrap();
        let failure = failures.report(1, "delivered to orders on prod", None).unwrap();
        assert_eq!(failure.message, "not delivered to orders on prod: no answer in 30s");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(failure.hint.as_deref(), Some("try later"), "what the broker's client advises");
    }

    #[test]
    fn what_is_wrong_with_the_broker_is_said_once_and_with_what_to_do() {
        let error =
            |kind, words: &str| broker::Error::new(kind, "send", "topic orders", words).with_hint("do this");
        let mut failures = Failures::counted();
        for n in 0..3 {
            failures
                .undelivered(format!("line {n}"), &error(Kind::Unreachable, "gone"), &event(b""))
                .unwrap();
        }
        let failure = failures.report(3, "delivered", None).unwrap();
        assert_eq!(failure.message, "3 of 3 events were not delivered\n  line 0  gone\n  and 2 more");
        assert_eq!(failure.hint.as_deref(), Some("do this"));
        let mut failures = Failures::counted();
        for n in 0..2 {
            failures.undelivered(format!("line {n}"), &error(Kind::Rejected, "large"), &event(b"")).unwrap();
        }
        let failure = failures.report(2, "delivered", None).unwrap();
        assert!(failure.message.ends_with("line 0  large\n  line 1  large"), "{}", failure.message);
    }

    #[test]
    fn many_are_counted_and_what_is_unreadable_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed.jsonl");
        let mut failures = Failures::open(Some(&path), &[]).unwrap();
        for n in 0..25 {
            failures.unreadable(format!("line {n}"), "no ':'", &event(b"raw")).unwrap();
        }
        let failure = failures.report(25, "delivered to orders on local", None).unwrap();
        assert_eq!(failure.message.lines().count(), 1 + TOLD + 1);
        assert!(failure.message.ends_with("and 15 more"));
        assert_eq!(failure.exit, Exit::Failed, "nothing was delivered");
        failures.try_close().unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.lines().all(|line| is_unreadable(line.as_bytes())));
    }

    #[test]
    fn the_file_being_read_is_refused_and_an_empty_one_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed.jsonl");
        Failures::open(Some(&path), &[]).unwrap().try_close().unwrap();
        assert!(!path.exists(), "nothing failed, nothing is left behind");

        std::fs::write(&path, "old\n").unwrap();
        let input = File::open(&path).unwrap();
        assert!(Failures::open(Some(&path), &[&input]).is_err());
        let mut failures = Failures::open(Some(&path), &[]).unwrap();
        failures.refused("line 1", "why", &event(b"new")).unwrap();
        failures.try_close().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("old\n{"), "what it held stays");
        assert!(Failures::open(Some(&dir.path().join("no/such")), &[]).is_err());
    }
}
