//! Where dead letters are read from: a topic of the broker, or a file that was kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::broker::{
    Delivery, ReadOptions, Reader, Settlement, Source as LetterSource, Start, Stop, Token, TopicInfo, nearest,
};
use crate::commands::look;
use crate::commands::topics::literal;
use crate::deadletter::{self, Letter};
use crate::event::{Batch, Event, Events, Name, Position, cloudevents, line};
use crate::outcome::Failure;
use crate::session::Session;

/// DLQ as people type it.
#[derive(Clone, Debug)]
pub enum Dlq {
    /// A topic.
    Topic(Name),
    /// `@FILE`: canonical lines kept by `--snapshot FILE` or `-o json`.
    File(PathBuf),
}

impl Dlq {
    /// For clap's `value_parser`.
    pub fn parse(text: &str) -> Result<Dlq, String> {
        match text.strip_prefix('@') {
            Some("") => Err("after the @ comes the name of a file".into()),
            Some(path) => Ok(Dlq::File(path.into())),
            None if text.is_empty() => Err("the name of a topic, or @FILE".into()),
            None => Ok(Dlq::Topic(text.into())),
        }
    }

    /// As it is typed back.
    pub fn typed(&self) -> String {
        match self {
            Dlq::Topic(name) => crate::output::words::shell_quoted(name),
            Dlq::File(path) => crate::output::words::shell_quoted(&format!("@{}", path.display())),
        }
    }

    /// `orders.shipping.dlq on local`, `@kept.jsonl`.
    pub fn title(&self, session: &Session) -> String {
        match self {
            Dlq::Topic(name) => format!("{name} on {}", session.endpoint.name),
            Dlq::File(path) => format!("@{}", path.display()),
        }
    }
}

/// A dead letter and what it says.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The event as it lies there.
    pub event: Event,
    /// What its record says.
    pub letter: Letter,
    /// The same as `.failure`.
    pub failure: String,
}

impl Dead {
    /// Reads its record.
    pub fn of(event: Event) -> Dead {
        let letter = deadletter::decode(&event);
        let failure = deadletter::failure_json(&letter);
        Dead { event, letter, failure }
    }

    /// The event's own id.
    pub fn id(&self) -> Option<&str> {
        cloudevents::id(self.event.headers())
    }

    /// The canonical line with `.failure`, newline included.
    pub fn line(&self, out: &mut Vec<u8>) {
        line::write_with(out, &self.event, &[("failure", &self.failure)]);
        out.push(b'\n');
    }
}

/// Dead letters that wait, read from first to last; the end is fixed when it is opened.
pub struct Heap<'a> {
    session: &'a Session,
    /// What the broker says of the topic.
    pub info: TopicInfo,
    source: Source,
    snapshot: Option<Snapshot>,
    stopped: bool,
}

enum Source {
    Broker(Box<dyn Reader>),
    File { path: PathBuf, lines: BufReader<File>, number: u64 },
}

/// Events of a file that are handed over at a time.
const CHUNK: usize = 1000;

impl<'a> Heap<'a> {
    /// Opens it. `snapshot`: keep all that is read in this file.
    pub async fn open(session: &'a Session, dlq: &Dlq, snapshot: Option<&Path>) -> anyhow::Result<Heap<'a>> {
        let (info, source) = match dlq {
            Dlq::Topic(name) => {
                let info = describe(session, name).await?;
                let reader = match is_taken(session, name) {
                    true => look::open(session, &info.name.as_str().into()).await?,
                    false => reader(session, name, Start::Earliest, Stop::Now, true).await?,
                };
                (info, Source::Broker(reader))
            }
            Dlq::File(path) => {
                let file = File::open(path).with_context(|| format!("@{}", path.display()))?;
                let source = Source::File { path: path.clone(), lines: BufReader::new(file), number: 0 };
                (TopicInfo::default(), source)
            }
        };
        let snapshot = snapshot.map(Snapshot::create).transpose()?;
        Ok(Heap { session, info, source, snapshot, stopped: false })
    }

    /// The next letters; `None` at the end, and when somebody asked us to stop.
    pub async fn next(&mut self) -> anyhow::Result<Option<Vec<Dead>>> {
        let events = match &mut self.source {
            Source::Broker(reader) => loop {
                let read = tokio::select! {
                    biased;
                    () = self.session.stop.requested() => {
                        self.stopped = true;
                        return Ok(None);
                    }
                    read = reader.next() => read?,
                };
                match read {
                    crate::broker::Read::Events(events) => break events,
                    crate::broker::Read::CaughtUp => (),
                    crate::broker::Read::End => return Ok(None),
                }
            },
            Source::File { path, lines, number } => {
                if self.session.stop.is_requested() {
                    self.stopped = true;
                    return Ok(None);
                }
                tokio::task::yield_now().await; // or a long file would keep the signal waiting
                let events = read_lines(path, lines, number)?;
                if events.is_empty() {
                    return Ok(None);
                }
                events
            }
        };
        let dead: Vec<Dead> = events.iter().cloned().map(Dead::of).collect();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.add(&dead)?;
        }
        Ok(Some(dead))
    }

    /// Whether it ended because somebody asked us to stop; by this signal.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Where it ends, as positions: `0:14002 1:13020`.
    pub fn end(&self) -> Option<String> {
        match &self.source {
            Source::Broker(reader) => {
                let ends = reader.end().iter().map(|(_, position)| position.to_string());
                Some(ends.collect::<Vec<_>>().join(" ")).filter(|ends| !ends.is_empty())
            }
            Source::File { .. } => None,
        }
    }

    /// Gives back what looking needed; the snapshot is whole now, or not there if we were stopped.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.source {
            Source::Broker(reader) => reader.close().await?,
            Source::File { .. } => (),
        }
        match self.snapshot {
            Some(snapshot) if !self.stopped => snapshot.finish(self.session),
            _ => Ok(()),
        }
    }
}

/// Whether dead letters can only be seen by taking them: there is no history that a reader could read.
pub fn is_taken(session: &Session, dlq: &str) -> bool {
    let have = session.broker.capabilities(dlq);
    !(have.peek && have.read_history)
}

/// How dead letters are taken: `chosen` where they can be looked at, else all, and what is not wanted is released.
pub fn source_of(session: &Session, dlq: &Name, chosen: Vec<Position>) -> (LetterSource, Wanted) {
    let taken = is_taken(session, dlq);
    let wanted = taken.then(|| {
        let mut wanted = HashMap::new();
        chosen.iter().for_each(|position| *wanted.entry(position.clone()).or_default() += 1);
        wanted
    });
    let wanted = Wanted { wanted, done: HashMap::new() };
    (LetterSource::DeadLetters { dlq: dlq.clone(), chosen: (!taken).then_some(chosen) }, wanted)
}

/// Which of the letters that come are meant: all that were chosen, or so many of each name.
pub struct Wanted {
    /// `None`: all that come.
    wanted: Option<HashMap<Position, usize>>,
    /// Those that are done and were lost before that could be said: they come again, to be acked and nothing else.
    done: HashMap<Position, usize>,
}

/// Letters that came.
#[derive(Default)]
pub struct Parted {
    /// To be worked on.
    pub meant: Vec<Delivery>,
    /// What is to be settled for the others: an ack for what is done, a release for what was not chosen.
    pub rest: Vec<(Token, Settlement)>,
    /// The names of those that are done.
    pub done: Vec<Position>,
}

impl Wanted {
    /// Parts those that are meant from the others.
    pub fn part(&mut self, deliveries: Vec<Delivery>) -> Parted {
        let mut parted = Parted::default();
        let Some(wanted) = &mut self.wanted else { return Parted { meant: deliveries, ..parted } };
        for delivery in deliveries {
            let name = delivery.event.position();
            if take_one(&mut self.done, name) {
                parted.rest.push((delivery.token, Settlement::Ack));
                parted.done.push(name.clone());
            } else if take_one(wanted, name) {
                parted.meant.push(delivery);
            } else {
                parted.rest.push((delivery.token, Settlement::Release));
            }
        }
        parted
    }

    /// A letter was lost before anything was done with it. `false`: somebody else has it; else it comes again, and is
    /// meant as before.
    pub fn comes_again(&mut self, name: &Position) -> bool {
        let Some(wanted) = &mut self.wanted else { return false };
        *wanted.entry(name.clone()).or_default() += 1;
        true
    }

    /// The same of one with which all was done but the ack.
    pub fn comes_again_done(&mut self, name: &Position) -> bool {
        if self.wanted.is_some() {
            *self.done.entry(name.clone()).or_default() += 1;
        }
        self.wanted.is_some()
    }

    /// How many of those that are waited for have not come.
    pub fn left(&self) -> usize {
        self.wanted.iter().flat_map(HashMap::values).sum()
    }

    /// How many are done and lie there still.
    pub fn done_and_there(&self) -> usize {
        self.done.values().sum()
    }
}

fn take_one(counts: &mut HashMap<Position, usize>, name: &Position) -> bool {
    match counts.get_mut(name) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

/// What the broker says of this topic; a refusal with the nearest name where it is not there.
pub async fn describe(session: &Session, name: &str) -> anyhow::Result<TopicInfo> {
    let broker = &session.broker;
    if let Some(info) = broker.topics(&literal(name)).await?.into_iter().next() {
        return Ok(info);
    }
    let all = broker.topics("*").await.unwrap_or_default();
    let near: Vec<&str> = all.iter().filter(|t| super::list::holds_letters(t)).map(|t| &*t.name).collect();
    let flag = &session.endpoint.flag;
    let list = format!("which there are: evcat dlq list --all{flag}");
    let failure = Failure::usage(format!("topic '{name}' does not exist on {}", session.endpoint.name));
    Err(failure
        .hint(match nearest(name, &near) {
            Some(near) => format!("did you mean '{near}'? {list}"),
            None => list,
        })
        .into())
}

/// Refuses to take anything out of a topic that groups work on: what is gone from there is lost to them.
///
/// Errors: it is none of dead letters, by its name and by what the broker knows, and a group reads it (exit 2).
pub async fn must_hold_letters(session: &Session, info: &TopicInfo) -> anyhow::Result<()> {
    let name = &info.name;
    if super::list::holds_letters(info) {
        return Ok(());
    }
    let groups = session.broker.groups(&literal(name)).await?;
    let readers: Vec<&str> =
        groups.iter().filter(|group| group.topic == *name).map(|group| &*group.group).collect();
    if readers.is_empty() {
        return Ok(());
    }
    let (broker, flag) = (&session.endpoint.name, &session.endpoint.flag);
    let refusal = format!(
        "{name} on {broker} is no topic of dead letters: {} would miss the events",
        readers.join(", ")
    );
    let hint = format!(
        "which are: evcat dlq list --all{flag}\nto copy events: evcat replay {} --into TOPIC{flag}",
        crate::output::words::shell_quoted(name)
    );
    Err(Failure::usage(refusal).hint(hint).into())
}

/// Opens a reader on one topic.
pub async fn reader(
    session: &Session,
    name: &Name,
    start: Start,
    stop: Stop,
    unsettled: bool,
) -> anyhow::Result<Box<dyn Reader>> {
    let options = ReadOptions { topics: vec![name.clone()], partition: None, start, stop, unsettled };
    Ok(session.broker.reader(options).await?)
}

fn read_lines(path: &Path, lines: &mut BufReader<File>, number: &mut u64) -> anyhow::Result<Events> {
    let name = || format!("@{}", path.display());
    let (mut batch, mut text, mut extras) = (Batch::default(), Vec::new(), Vec::new());
    while batch.len() < CHUNK {
        text.clear();
        if lines.read_until(b'\n', &mut text).with_context(name)? == 0 {
            break;
        }
        *number += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let parsed = line::parse(&text)
            .map_err(|error| Failure::usage(format!("{} line {number}: {error}", name())))?;
        let line::Parsed { topic, position, timestamp, key, headers, payload, extra, .. } = parsed;
        let topic: Name = topic.unwrap_or_default().into();
        // An id to ask for it by.
        let position =
            if position == Position::Unknown { Position::Offset(*number as i64) } else { position };
        batch.push(&topic, key.as_deref(), headers.as_headers(), payload.as_deref(), timestamp, position);
        extras.push(extra);
    }
    let events = batch.finish();
    if extras.iter().all(Option::is_none) {
        return Ok(events);
    }
    let with = |(event, extra): (&Event, Option<_>)| match extra {
        Some(extra) => event.clone().with_extra(extra),
        None => event.clone(),
    };
    Ok(events.iter().zip(extras).map(with).collect())
}

/// A file of canonical lines that is there whole or not at all.
pub struct Snapshot {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    line: Vec<u8>,
    letters: u64,
    whole: bool,
}

/// What is not finished is not kept.
impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.whole {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

impl Snapshot {
    /// Begins it beside its place. Errors: something lies there, which may be the only copy of what was dropped.
    pub fn create(path: &Path) -> anyhow::Result<Snapshot> {
        if path.symlink_metadata().is_ok() {
            return Err(is_there(path).into());
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).with_context(|| part.display().to_string())?;
        Ok(Snapshot {
            path: path.into(),
            part,
            out: BufWriter::new(file),
            line: Vec::new(),
            letters: 0,
            whole: false,
        })
    }

    /// Adds letters.
    pub fn add<'d>(&mut self, dead: impl IntoIterator<Item = &'d Dead>) -> anyhow::Result<()> {
        for dead in dead {
            self.line.clear();
            dead.line(&mut self.line);
            self.out.write_all(&self.line).with_context(|| self.part.display().to_string())?;
            self.letters += 1;
        }
        Ok(())
    }

    /// Puts it in its place, safe on the disk.
    pub fn finish(mut self, session: &Session) -> anyhow::Result<()> {
        let done = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        // Not a rename, which would replace what somebody has put there meanwhile.
        match done.and_then(|()| std::fs::hard_link(&self.part, &self.path)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(is_there(&self.path).into());
            }
            done => done.with_context(|| self.path.display().to_string())?,
        }
        self.whole = true;
        let _ = std::fs::remove_file(&self.part);
        let letters = super::words::dead_letters(self.letters);
        session.ui.status(format_args!("{letters} kept in {}", self.path.display()));
        Ok(())
    }
}

fn is_there(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already, and is not replaced", path.display()))
        .hint("name a file that is not there; of dropped letters it may be the only copy")
}
