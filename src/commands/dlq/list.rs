//! `evcat dlq list`.

use clap::Args;
use serde_json::json;

use super::heap::{Dead, is_taken, reader};
use super::words::{expires, many, or_dash};
use crate::broker::{Read, Start, Stop, TopicInfo};
use crate::commands::topics::{TableFormat, count, print};
use crate::event::{Millis, Name, time};
use crate::outcome::{Failure, Outcome};
use crate::output::table::{Column, Table};
use crate::output::words;
use crate::session::Session;

/// The topics with dead letters, how many wait, since when, and when they expire
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those with such a name
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    /// Those where nothing waits too
    #[arg(long)]
    all: bool,
    /// Exit with 3 if more than so many wait, all together
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

/// Names by which other programs call the place of their dead letters too.
const ENDS: [&str; 8] = [".dlq", "-dlq", "_dlq", ".parked", "-dlt", ".dlt", "-dead-letter", "-dead-letters"];

/// Whether dead letters lie there, by what the broker knows or by its name.
pub fn holds_letters(topic: &TopicInfo) -> bool {
    let name = topic.name.to_ascii_lowercase();
    topic.dead_letters_of.is_some() || ENDS.iter().any(|end| name.ends_with(end)) || name.starts_with("dlq.")
}

/// One row.
struct Row {
    topic: TopicInfo,
    /// What died within the last hour.
    new: u64,
    from: Option<String>,
    read_as: Option<&'static str>,
}

/// Runs it.
pub async fn run(args: ListArgs, session: &Session) -> anyhow::Result<Outcome> {
    let ListArgs { pattern, all, max, output } = args;
    let mut topics = session.broker.topics(pattern.as_deref().unwrap_or("*")).await?;
    // A place that is named is meant, whatever its name.
    topics.retain(|topic| pattern.as_deref() == Some(&topic.name) || holds_letters(topic));
    if let Some(name) = pattern.as_deref().filter(|name| topics.is_empty() && !name.contains(['*', '?', '[']))
    {
        super::heap::describe(session, name).await?;
    }
    let now = session.now();
    let waiting = |topic: &TopicInfo| topic.waiting.map_or(0, |count| count.events);
    // Where the broker does not tell how many wait, nobody knows that it is empty.
    let is_empty = |topic: &TopicInfo| topic.waiting.is_some_and(|count| count.events == 0);
    let empty = topics.iter().filter(|topic| is_empty(topic)).count();
    if max.is_some() && topics.iter().any(|topic| topic.waiting.is_none()) {
        let refusal = format!("--max: {} does not tell how many dead letters wait", session.endpoint.backend);
        return Err(Failure::usage(refusal).hint("evcat dlq stats DLQ looks and counts").into());
    }
    let total: u64 = topics.iter().map(waiting).sum();
    let mut rows = Vec::new();
    for topic in topics.into_iter().filter(|topic| all || !is_empty(topic)) {
        let Some(row) = look(session, topic, now).await? else {
            return Ok(Outcome::Interrupted(session.stop.signal().unwrap_or_default()));
        };
        rows.push(row);
    }
    let mut out = Vec::new();
    match output {
        TableFormat::Json => rows.iter().for_each(|row| out.extend_from_slice(row.json().as_bytes())),
        TableFormat::Human if rows.is_empty() => {
            let name = &session.endpoint.name;
            let hidden = if empty > 0 {
                format!(" ({}: --all)", many(empty as u64, "empty place"))
            } else {
                "".into()
            };
            session.ui.status(format_args!("no dead letters on {name}{hidden}"));
        }
        TableFormat::Human => table(&rows, now).print(&mut out, session.ui.out),
    }
    print(out).await?;
    match max {
        Some(max) if total > max => {
            let waiting = super::words::dead_letters(total);
            session.ui.line(format_args!("{waiting} wait, more than --max {max}"));
            Ok(Outcome::Short)
        }
        _ => Ok(Outcome::Done),
    }
}

fn table(rows: &[Row], now: Millis) -> Table {
    use Column::{Left, Right};
    let mut table = Table::new(&[
        ("DEAD LETTERS", Left),
        ("WAITING", Right),
        ("OLDEST", Right),
        ("NEW/1H", Right),
        ("EXPIRES", Left),
        ("FROM", Left),
        ("READ AS", Left),
    ]);
    for Row { topic, new, from, read_as } in rows {
        let waits = topic.waiting.is_none_or(|count| count.events > 0);
        let oldest = topic.oldest.filter(|_| waits);
        table.row([
            topic.name.clone(),
            count(topic.waiting),
            or_dash(oldest.map(|at| words::ago(at, now))),
            if *new == 0 { "-".into() } else { words::count(*new) },
            expires(topic, oldest, now),
            or_dash(from.clone()),
            or_dash(*read_as),
        ]);
    }
    table
}

/// Reads the oldest letter and those of the last hour. `None`: somebody asked us to stop.
async fn look(session: &Session, topic: TopicInfo, now: Millis) -> anyhow::Result<Option<Row>> {
    let name: Name = topic.name.as_str().into();
    let mut row = Row { from: topic.dead_letters_of.clone(), topic, new: 0, read_as: None };
    if is_taken(session, &name) {
        // A list takes nothing from anybody: what the broker tells is all there is.
        return Ok(Some(row));
    }
    let Some(oldest) = read(session, &name, Start::Earliest, |_| false).await? else { return Ok(None) };
    if let Some(dead) = oldest {
        let Dead { letter, .. } = dead;
        let from = match (&letter.origin.topic, &letter.group) {
            (Some(topic), Some(group)) => Some(format!("{topic}/{group}")),
            (topic, _) => topic.clone(),
        };
        (row.from, row.read_as) = (row.from.or(from), letter.read_as);
    }
    let hour = now - 3_600_000;
    let count = |dead: &Dead| {
        row.new += u64::from(dead.event.timestamp().is_some_and(|at| at >= hour));
        true
    };
    Ok(read(session, &name, Start::Time(hour), count).await?.map(|_| row))
}

/// Reads what waits there from `start` on, until `go_on` says no of a letter, and answers that one.
async fn read(
    session: &Session,
    name: &Name,
    start: Start,
    mut go_on: impl FnMut(&Dead) -> bool,
) -> anyhow::Result<Option<Option<Dead>>> {
    let mut reader = reader(session, name, start, Stop::Now, true).await?;
    let found = 'reading: loop {
        let read = tokio::select! {
            biased;
            () = session.stop.requested() => return Ok(None),
            read = reader.next() => read?,
        };
        match read {
            Read::CaughtUp => (),
            Read::End => break None,
            Read::Events(events) => {
                for dead in events.iter().cloned().map(Dead::of) {
                    if !go_on(&dead) {
                        break 'reading Some(dead);
                    }
                }
            }
        }
    };
    reader.close().await?;
    Ok(Some(found))
}

impl Row {
    fn json(&self) -> String {
        let Row { topic, new, from, read_as } = self;
        let when = |at: Option<Millis>| at.map(time::text);
        let kept = topic.kept_for.map(|kept| kept.as_millis() as Millis);
        let object = json!({
            "dlq": topic.name,
            "waiting": topic.waiting.map(|count| count.events),
            "exact": topic.waiting.is_some_and(|count| count.exact),
            "oldest": when(topic.oldest),
            "new_in_last_hour": new,
            "expires": when(topic.oldest.zip(kept).map(|(oldest, kept)| oldest + kept)),
            "from": from,
            "read_as": read_as,
        });
        format!("{object}\n")
    }
}
