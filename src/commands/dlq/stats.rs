//! `evcat dlq stats`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::choosing::{ChooseArgs, Chooser};
use super::heap::{Dlq, Heap};
use super::words::{expires, or_dash, short};
use crate::commands::topics::{TableFormat, print};
use crate::deadletter::plan::Tally;
use crate::deadletter::stats::Stats;
use crate::event::{Millis, time};
use crate::outcome::{Failure, Outcome};
use crate::output::{Style, bars, sanitize, words};
use crate::session::Session;

/// What they died of, when, and where they came from
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The topic of dead letters, or @FILE that was kept
    #[arg(value_name = "DLQ", value_parser = Dlq::parse)]
    dlq: Dlq,
    #[command(flatten)]
    choose: ChooseArgs,
    /// Keep all that was read in this file; later looks can read it as @FILE
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    snapshot: Option<PathBuf>,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human", help_heading = "Output")]
    output: TableFormat,
}

/// Columns of the largest bar.
const BAR: usize = 19;
/// Columns of the row of heights.
const SPARK: usize = 24;
/// Characters of a reason.
const WORDS: usize = 60;
/// Reasons that are shown.
const ROWS: usize = 20;

/// Runs it.
pub async fn run(args: StatsArgs, session: &Session) -> anyhow::Result<Outcome> {
    let StatsArgs { dlq, choose, snapshot, output } = args;
    if choose.filters.select.is_some() {
        return Err(Failure::usage("--select: stats prints counts and no events")
            .hint(format!("evcat dlq peek {}{} --select JQ", dlq.typed(), session.endpoint.flag))
            .into());
    }
    let interrupted = || Outcome::Interrupted(session.stop.signal().unwrap_or_default());
    let Some(mut chooser) = Chooser::resolve(choose, Vec::new(), session).await? else {
        return Ok(interrupted());
    };
    let mut heap = Heap::open(session, &dlq, snapshot.as_deref()).await?;
    let (mut stats, mut oldest, mut all) = (Stats::default(), None::<Millis>, 0);
    while let Some(dead) = heap.next().await? {
        let chosen = chooser.choose(&dead).await?;
        all += dead.len() as u64;
        for (dead, _) in dead.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            stats.add(&dead.letter);
            oldest = [oldest, dead.event.timestamp()].into_iter().flatten().min();
        }
    }
    let (stopped, info) = (heap.stopped(), heap.info.clone());
    heap.close().await?;
    if stopped {
        return Ok(interrupted());
    }
    let missing = chooser.finish(&dlq, session)?;
    let view =
        View { stats: &stats, all, chosen: chooser.words(), session, dlq: &dlq, style: session.ui.out };
    let expires = expires(&info, oldest, session.now());
    let text = match output {
        TableFormat::Json => view.json(),
        TableFormat::Human => view.text(&expires),
    };
    print(text.into_bytes()).await?;
    for id in &missing {
        session.ui.warn(format_args!("{id} does not wait in {}", dlq.title(session)));
    }
    Ok(if missing.is_empty() { Outcome::Done } else { Outcome::Short })
}

struct View<'a> {
    stats: &'a Stats,
    all: u64,
    chosen: String,
    session: &'a Session,
    dlq: &'a Dlq,
    style: Style,
}

impl View<'_> {
    fn text(&self, expires: &str) -> String {
        let View { stats, all, chosen, session, dlq, style } = self;
        let total = words::count(stats.total);
        let mut out = match chosen.is_empty() {
            true => format!("{}: {total} waiting\n", dlq.title(session)),
            false => format!("{}: {total} of {} waiting, {chosen}\n", dlq.title(session), words::count(*all)),
        };
        if stats.total == 0 {
            return out;
        }
        out += "\n";
        out += &self.reasons();
        if let Some((first, last)) = stats.died.ends() {
            let (now, zone) = (session.now(), session.zone());
            let clock = |at| words::clock_seconds(at, now, &zone);
            let minute =
                |at| clock(at).rsplit_once(':').map(|(minute, _)| minute.to_owned()).unwrap_or_default();
            let line = bars::sparkline(&stats.died.columns(SPARK));
            out += &self.row(
                "DIED",
                &match first == last {
                    true => clock(first),
                    false => format!(
                        "{} {line} {}   first {}, last {}",
                        minute(first),
                        minute(last),
                        clock(first),
                        clock(last)
                    ),
                },
            );
        }
        let group = tally(&stats.groups, |group| or_dash(group.clone()), " ");
        let origin = tally(&stats.origins, |topic| or_dash(topic.clone()), " ");
        out += &self.row("ORIGIN", &format!("{origin}        {}  {group}", style.heading("GROUP")));
        let tries = tally(&stats.tries, |tries| or_dash(tries.map(|n| n.to_string())), ": ");
        let back = tally(&stats.replays, |n| back(*n), ": ");
        out += &self.row("TRIES", &format!("{tries}    {}  {back}", style.heading("PUT BACK BEFORE")));
        if expires != "-" {
            out += &self.row("EXPIRES", &format!("the first in {expires}"));
        }
        let (typed, flag) = (dlq.typed(), &session.endpoint.flag);
        let top = stats.reasons()[0].fingerprint.clone();
        let next = style.hint("next:");
        out += &format!("\n{next} evcat dlq peek {typed}{flag} --fingerprint {top}\n");
        if let Dlq::Topic(_) = dlq {
            out += &format!("      evcat dlq replay {typed}{flag} --fingerprint {top} --dry-run\n");
        }
        out
    }

    fn row(&self, name: &str, text: &str) -> String {
        format!("{}{text}\n", self.style.heading(&format!("{name:11}")))
    }

    fn reasons(&self) -> String {
        let View { stats, style, .. } = self;
        let all = stats.reasons();
        let rows: Vec<_> = all
            .iter()
            .take(ROWS)
            .map(|reason| {
                let words = if reason.words.is_empty() { "(no reason known)" } else { &reason.words };
                let words = if style.terminal { sanitize::text(words) } else { words.into() };
                (bars::bar(reason.count, stats.total, BAR), short(&words, WORDS), reason)
            })
            .collect();
        let bar = rows.iter().map(|(bar, ..)| bar.chars().count()).max().unwrap_or(0);
        let width = |text: &str| unicode_width::UnicodeWidthStr::width(text);
        let longest = rows.iter().map(|(_, words, _)| width(words)).max().unwrap_or(0);
        let text = (bar + 2 + longest).max(20);
        let head = format!("{:text$}  {:>8}  FINGERPRINT", "ERROR", "COUNT");
        let mut out = format!("{}\n", style.heading(&head));
        for (picture, words, reason) in &rows {
            let room = " ".repeat(text - bar - 2 - width(words));
            let picture = style.error(&format!("{picture:bar$}"));
            let count = words::count(reason.count);
            out += &format!("{picture}  {words}{room}  {count:>8}  {}\n", reason.fingerprint);
        }
        if all.len() > rows.len() {
            let rest: u64 = all[rows.len()..].iter().map(|reason| reason.count).sum();
            let other = format!("{} other reasons", words::count((all.len() - rows.len()) as u64));
            out += &format!(
                "{:bar$}  {other:w$}  {:>8}  (-o json has all)\n",
                "",
                words::count(rest),
                w = text - bar - 2
            );
        }
        out
    }

    fn json(&self) -> String {
        let View { stats, all, dlq, .. } = self;
        let reasons = stats.reasons().into_iter().map(|reason| {
            json!({"fingerprint": reason.fingerprint, "reason": reason.words, "count": reason.count})
        });
        let ends = stats.died.ends();
        let place = match dlq {
            Dlq::Topic(name) => name.to_string(),
            Dlq::File(path) => format!("@{}", path.display()),
        };
        let object = json!({
            "dlq": place,
            "waiting": all,
            "chosen": stats.total,
            "errors": reasons.collect::<Vec<_>>(),
            "first_died": ends.map(|(first, _)| time::text(first)),
            "last_died": ends.map(|(_, last)| time::text(last)),
            "origins": counts(&stats.origins, "topic"),
            "groups": counts(&stats.groups, "group"),
            "tries": counts(&stats.tries, "tries"),
            "put_back_before": counts(&stats.replays, "times"),
            "read_as": counts(&stats.read_as, "read_as"),
        });
        format!("{object}\n")
    }
}

fn back(times: u32) -> String {
    match times {
        0 => "never".into(),
        1 => "once".into(),
        n => format!("{n} times"),
    }
}

/// `5: 39,958   1: 42`, the most frequent first, at most four.
fn tally<T: Clone + Eq + std::hash::Hash>(
    tally: &Tally<T>,
    name: impl Fn(&T) -> String,
    between: &str,
) -> String {
    let all = tally.sorted(&name);
    let mut shown: Vec<_> = all
        .iter()
        .take(4)
        .map(|(thing, count)| format!("{}{between}{}", name(thing), words::count(*count)))
        .collect();
    if all.len() > shown.len() {
        shown.push(format!("and {} more", words::count((all.len() - shown.len()) as u64)));
    }
    shown.join("   ")
}

fn counts<T: Clone + Eq + std::hash::Hash + serde::Serialize>(tally: &Tally<T>, name: &str) -> Vec<Value> {
    let key = |thing: &T| serde_json::to_string(thing).unwrap_or_default();
    tally.sorted(key).into_iter().map(|(thing, count)| json!({name: thing, "count": count})).collect()
}
