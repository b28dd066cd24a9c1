//! Which dead letters: the arguments that `peek`, `stats`, `replay` and `drop` share.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use globset::{Glob, GlobMatcher};
use jiff::tz::TimeZone;
use regex::Regex;

use super::heap::{Dead, Dlq};
use crate::broker::{Start, Stop};
use crate::cli::FilterArgs;
use crate::deadletter::choose::{Criteria, Ids};
use crate::flow::filter::{Filter, Verdict};
use crate::outcome::Failure;
use crate::session::Session;
use crate::settings::point::{self, Point, Reference};

/// Which dead letters.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Choosing")]
pub struct ChooseArgs {
    /// Only those whose failure matches
    #[arg(long, value_name = "REGEX")]
    pub error: Vec<Regex>,
    /// Only those that came from such a topic
    #[arg(long, value_name = "TOPIC")]
    pub origin: Vec<String>,
    /// Only those that this group gave up
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only those that failed alike; see dlq stats
    #[arg(long, value_name = "F", value_parser = fingerprint)]
    pub fingerprint: Vec<String>,
    /// Only those that this run put back and that died again
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Only those that died at this time or later: 2h (ago), 14:05, 2026-01-31T14:05:00Z
    #[arg(long, alias = "since", value_name = "POINT", value_parser = point::parse)]
    pub from: Vec<Point>,
    /// Only those that died before this time
    #[arg(long, alias = "until", value_name = "POINT", value_parser = point::parse)]
    pub to: Vec<Point>,
    /// Only those whose ids stand in this file, one in each line; - is stdin
    #[arg(long, value_name = "FILE|-")]
    pub ids: Option<PathBuf>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub filters: FilterArgs,
}

fn fingerprint(text: &str) -> Result<String, String> {
    let hex = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match hex {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("a fingerprint is six hexadecimal digits, such as f3a9c1: see dlq stats".into()),
    }
}

/// Says of each letter whether it is meant.
pub struct Chooser {
    criteria: Criteria,
    by_id: bool,
    ids: Ids,
    filter: Filter,
    limit: Option<u64>,
    taken: u64,
    words: Vec<String>,
}

impl Chooser {
    /// Checks everything; `typed` are the ids of the command line. `None`: somebody asked us to stop while we waited for
    /// stdin.
    pub async fn resolve(
        args: ChooseArgs,
        typed: Vec<String>,
        session: &Session,
    ) -> anyhow::Result<Option<Chooser>> {
        let words = words(&args, &typed);
        let ChooseArgs { error, origin, group, fingerprint, run, from, to, ids: file, limit, filters } = args;
        let (from, to) = time_of_death(&from, &to, session)?;
        let origin = origin.iter().map(|text| glob(text)).collect::<Result<_, _>>()?;
        let filter = Filter::resolve(&filters)?;
        let by_id = !typed.is_empty() || file.is_some();
        let mut ids = typed;
        if let Some(file) = file {
            let text = tokio::select! {
                biased;
                () = session.stop.requested() => return Ok(None),
                text = read(file) => text?,
            };
            // The first word of a line: a row of `dlq peek` will do.
            let words = text.lines().filter_map(|line| line.split_whitespace().next());
            ids.extend(words.filter(|word| *word != "ID").map(String::from));
        }
        let criteria = Criteria { error, origin, group, fingerprint, run, from, to };
        Ok(Some(Chooser { criteria, by_id, ids: Ids::new(ids), filter, limit, taken: 0, words }))
    }

    /// Whether every letter is meant.
    pub fn is_everything(&self) -> bool {
        !self.by_id && self.criteria.is_empty() && self.filter.is_empty()
    }

    /// What was asked for, in words: `fingerprint f3a9c1`; nothing where all are meant.
    pub fn words(&self) -> String {
        self.words.join(", ")
    }

    /// One answer for each letter, in order.
    pub async fn choose(&mut self, dead: &[Dead]) -> anyhow::Result<Vec<bool>> {
        let mut chosen: Vec<bool> = dead
            .iter()
            .map(|one| {
                let asked = !self.by_id || self.ids.take(one.event.position(), one.id());
                asked && self.criteria.matches(&one.letter)
            })
            .collect();
        if !self.filter.is_empty() {
            let open: Vec<usize> = (0..dead.len()).filter(|at| chosen[*at]).collect();
            let events: Vec<_> = open.iter().map(|at| dead[*at].event.clone()).collect();
            let failures: Vec<_> = open.iter().map(|at| dead[*at].failure.clone()).collect();
            let verdicts = self.filter.judge(&events, Some(&failures)).await?;
            for (at, verdict) in open.into_iter().zip(verdicts) {
                chosen[at] = verdict == Verdict::Keep;
            }
        }
        for chosen in &mut chosen {
            *chosen = *chosen && self.limit.is_none_or(|limit| self.taken < limit);
            self.taken += u64::from(*chosen);
        }
        Ok(chosen)
    }

    /// The results of `--select` for each letter.
    pub async fn select(&mut self, dead: &[Dead]) -> anyhow::Result<Vec<Vec<String>>> {
        let events: Vec<_> = dead.iter().map(|one| one.event.clone()).collect();
        let failures: Vec<_> = dead.iter().map(|one| one.failure.clone()).collect();
        self.filter.select(&events, Some(&failures)).await
    }

    /// Whether `--select` was given.
    pub fn has_selection(&self) -> bool {
        self.filter.has_selection()
    }

    /// Says what became of filters and ids when all was read: an id that means two letters is refused; those that no
    /// letter was found for are returned.
    pub fn finish(&self, dlq: &Dlq, session: &Session) -> anyhow::Result<Vec<String>> {
        if let Some(words) = self.filter.tally().words() {
            session.ui.warn(words);
        }
        if let Some((id, count)) = self.ids.ambiguous() {
            let message = format!("{id} is how {count} ids in {} begin", dlq.title(session));
            let flag = &session.endpoint.flag;
            let hint = format!("write it whole; the ids: evcat dlq peek {}{flag}", dlq.typed());
            return Err(Failure::usage(message).hint(hint).into());
        }
        Ok(self.ids.missing().map(String::from).collect())
    }
}

fn words(args: &ChooseArgs, typed: &[String]) -> Vec<String> {
    let ChooseArgs { error, origin, group, fingerprint, run, from, to, ids, limit, filters } = args;
    let FilterArgs { r#where, grep, key, header, r#type, select: _ } = filters;
    let list = |name: &str, values: Vec<String>| {
        (!values.is_empty()).then(|| format!("{name} {}", values.join(" or ")))
    };
    let points =
        |name: &str, points: &[Point]| list(name, points.iter().map(|point| point.to_string()).collect());
    let ids_words = match typed {
        [] => None,
        [one] => Some(format!("id {one}")),
        many => Some(format!("{} ids", many.len())),
    };
    [
        ids_words,
        ids.as_ref().map(|file| format!("ids of {}", file.display())),
        list("error", error.iter().map(Regex::to_string).collect()),
        list("origin", origin.clone()),
        list("group", group.clone()),
        list("fingerprint", fingerprint.clone()),
        list("run", run.clone()),
        points("died from", from),
        points("died before", to),
        list("where", r#where.clone()),
        list("grep", grep.clone()),
        list("key", key.clone()),
        list("header", header.clone()),
        list("type", r#type.clone()),
        limit.map(|limit| format!("at most {limit}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn glob(text: &str) -> Result<GlobMatcher, Failure> {
    let glob = Glob::new(text).map_err(|error| Failure::usage(format!("--origin {text}: {error}")))?;
    Ok(glob.compile_matcher())
}

fn time_of_death(
    from: &[Point],
    to: &[Point],
    session: &Session,
) -> Result<(Option<i64>, Option<i64>), Failure> {
    let reference = Reference { now: session.now(), zone: TimeZone::system, partitions: false };
    let topic = ["".into()];
    let range = point::range(from, to, &topic, &reference)?;
    let wrong = |flag: &str| {
        Failure::usage(format!("{flag}: here it is a time of death and not a position"))
            .hint(format!("{flag} 2h, {flag} 14:05; a letter by its position: its id as an argument"))
    };
    let from = match range.start {
        Some(Start::At(_) | Start::After(_) | Start::Last(_)) => return Err(wrong("--from")),
        Some(Start::Latest) => Some(reference.now),
        Some(Start::Earliest | Start::Time(_)) | None => range.from,
    };
    match range.stop {
        Some(Stop::At(_)) => Err(wrong("--to")),
        Some(Stop::Now) => Ok((from, Some(range.to.unwrap_or(reference.now)))),
        Some(Stop::Never) | None => Ok((from, range.to)),
    }
}

/// Reading blocks, and Ctrl-C must still end us: a thread of its own, left behind then.
async fn read(file: PathBuf) -> anyhow::Result<String> {
    let (send, received) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("ids".into()).spawn(move || {
        let mut text = String::new();
        let done = match file.to_str() {
            Some("-") => std::io::stdin().lock().read_to_string(&mut text).map(|_| text),
            _ => std::fs::read_to_string(&file),
        };
        let _ = send.send(done.with_context(|| format!("--ids {}", file.display())));
    })?;
    received.await.context("--ids")?
}
