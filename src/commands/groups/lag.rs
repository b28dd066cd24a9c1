//! `evcat groups lag`: looked at once, watched, or waited for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::broker::{Count, GroupInfo, abilities};
use crate::commands::names::usual_dlq;
use crate::commands::topics::{TableFormat, count, literal};
use crate::outcome::{Failure, Outcome};
use crate::output::table::{Column, Table};
use crate::output::{Stdout, words};
use crate::session::Session;
use crate::settings::duration;

pub const EXAMPLES: &str = "\
Examples:
  evcat groups lag                                every group, once
  evcat groups lag shipping --watch               with rates, redrawn every two seconds
  evcat groups lag shipping --max 0 --for 5m      a deploy gate: 0 once it has caught up, else 3";

#[derive(Debug, Args)]
pub struct LagArgs {
    /// Only this group
    group: Option<String>,
    /// Redraw every two seconds, with rates
    #[arg(long)]
    watch: bool,
    /// Exit 3 if any lag is above N
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// With --max, wait so long for it; with --watch, end after it
    #[arg(long = "for", value_name = "DUR", value_parser = duration::parse)]
    r#for: Option<Duration>,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

/// What was seen of one group at one moment.
struct Sample {
    at: Instant,
    /// Per group and topic: published so far, settled so far.
    counts: HashMap<(String, String), (i64, i64)>,
}

/// Events per second since the last look.
struct Rates {
    into: f64,
    out: f64,
}

pub(super) async fn run(session: &Session, args: LagArgs) -> anyhow::Result<Outcome> {
    let LagArgs { group, watch, max, r#for, output } = args;
    if r#for.is_some() && max.is_none() && !watch {
        return Err(Failure::usage("--for needs --max or --watch: without them lag is looked at once")
            .hint("to wait until a group has caught up: evcat groups lag shipping --max 0 --for 5m")
            .into());
    }
    let (needs, backend) = (max.map(|_| "--max").or(watch.then_some("--watch")), session.endpoint.backend);
    if let Some(flag) = needs {
        session.guard(&[(flag, &abilities::LAG)], "")?;
    }
    if !session.broker.capabilities("").lag {
        // What else is known of a group is shown all the same.
        session.ui.status(format_args!("{backend} does not tell how many events wait for a group"));
    }
    let until = r#for.map(|wait| Instant::now() + wait);
    let pause = if watch { Duration::from_secs(2) } else { Duration::from_millis(250) };
    let mut out = Stdout::open()?;
    let mut last: Option<Sample> = None;
    loop {
        let groups = look(session, group.as_deref()).await?;
        let now = sample(&groups);
        let within =
            max.is_none_or(|max| groups.iter().all(|g| g.lag.is_none_or(|count| count.events <= max)));
        let over = until.is_none_or(|until| Instant::now() >= until);
        let waiting = max.is_some() && !within && !over;
        if watch || !waiting {
            let rates = |g: &GroupInfo| last.as_ref().and_then(|last| rates(last, &now, g));
            let dead = dead(session, &groups).await?;
            let mut bytes = out.buffer();
            match output {
                TableFormat::Json => lines(&mut bytes, session, &groups, &dead, rates),
                TableFormat::Human => screen(&mut bytes, session, &groups, &dead, watch, rates),
            }
            out.write(bytes).await?;
            out.flush().await?;
        }
        let gate_open = max.is_some() && within;
        let ended = if watch { gate_open || (until.is_some() && over) } else { !waiting };
        if ended {
            return Ok(if within { Outcome::Done } else { Outcome::Short });
        }
        last = Some(now);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = session.stop.requested() => {
                return Ok(Outcome::Interrupted(session.stop.signal().unwrap_or_default()));
            }
            closed = out.closed() => return if closed.reader_left() { Ok(Outcome::Done) } else { Err(closed.into()) },
        }
    }
}

async fn look(session: &Session, group: Option<&str>) -> anyhow::Result<Vec<GroupInfo>> {
    let mut groups = session.broker.groups("*").await?;
    if let Some(group) = group {
        groups.retain(|g| g.group == group);
        if groups.is_empty() {
            return Err(super::unknown_group(session, group, None).await.into());
        }
    }
    Ok(groups)
}

/// How many wait in the dead-letter topic of each: the one that the broker remembers, or the usual one if it is there.
async fn dead(session: &Session, groups: &[GroupInfo]) -> anyhow::Result<Vec<Option<Count>>> {
    let mut dead = Vec::new();
    for group in groups {
        let name = group.dead_letters.clone().unwrap_or_else(|| usual_dlq(&group.topic, &group.group));
        dead.push(session.broker.topics(&literal(&name)).await?.first().and_then(|topic| topic.waiting));
    }
    Ok(dead)
}

fn sample(groups: &[GroupInfo]) -> Sample {
    let counts = groups.iter().filter_map(|g| {
        let published: i64 = g.end.iter().filter_map(|(_, position)| position.offset()).sum();
        let lag = g.lag?.events as i64;
        Some(((g.group.clone(), g.topic.clone()), (published, published - lag)))
    });
    Sample { at: Instant::now(), counts: counts.collect() }
}

fn rates(last: &Sample, now: &Sample, group: &GroupInfo) -> Option<Rates> {
    let key = (group.group.clone(), group.topic.clone());
    let ((published, settled), (before_published, before_settled)) =
        (now.counts.get(&key)?, last.counts.get(&key)?);
    let seconds = (now.at - last.at).as_secs_f64();
    let per_second = |now: &i64, before: &i64| (now - before).max(0) as f64 / seconds;
    Some(Rates { into: per_second(published, before_published), out: per_second(settled, before_settled) })
}

fn lines(
    bytes: &mut Vec<u8>,
    session: &Session,
    groups: &[GroupInfo],
    dead: &[Option<Count>],
    rates: impl Fn(&GroupInfo) -> Option<Rates>,
) {
    let now = session.now();
    for (group, dead) in groups.iter().zip(dead) {
        let rates = rates(group);
        let object = json!({
            "group": group.group,
            "topic": group.topic,
            "members": group.members,
            "lag": group.lag.map(|count| count.events),
            "exact": group.lag.is_some_and(|count| count.exact),
            "oldest_ms": group.oldest.map(|at| (now - at).max(0)),
            "in_per_second": rates.as_ref().map(|r| r.into),
            "out_per_second": rates.as_ref().map(|r| r.out),
            "dead": dead.map(|count| count.events),
            "dead_letters": group.dead_letters,
        });
        bytes.extend_from_slice(format!("{object}\n").as_bytes());
    }
}

fn screen(
    bytes: &mut Vec<u8>,
    session: &Session,
    groups: &[GroupInfo],
    dead: &[Option<Count>],
    watch: bool,
    rates: impl Fn(&GroupInfo) -> Option<Rates>,
) {
    use Column::{Left, Right};
    let now = session.now();
    let mut columns =
        vec![("GROUP", Left), ("TOPIC", Left), ("MEMBERS", Right), ("LAG", Right), ("OLDEST", Right)];
    if watch {
        columns.extend([("IN/s", Right), ("OUT/s", Right), ("DONE IN", Left)]);
    }
    columns.push(("DEAD", Right));
    let mut table = Table::new(&columns);
    for (group, dead) in groups.iter().zip(dead) {
        let mut row = vec![
            group.group.clone(),
            group.topic.clone(),
            group.members.map_or("-".into(), |n| n.to_string()),
            count(group.lag),
            group.oldest.map_or("-".into(), |at| words::ago(at, now)),
        ];
        if watch {
            let rates = rates(group);
            row.extend([
                rates.as_ref().map_or("-".into(), |r| words::count(r.into.round() as u64)),
                rates.as_ref().map_or("-".into(), |r| words::count(r.out.round() as u64)),
                done_in(group, rates.as_ref()),
            ]);
        }
        row.push(count(*dead));
        table.row(row);
    }
    if watch && session.ui.out.terminal {
        bytes.extend_from_slice(b"\x1b[H\x1b[2J");
    }
    table.print(bytes, session.ui.out);
}

/// When a group will have caught up at the present rates.
fn done_in(group: &GroupInfo, rates: Option<&Rates>) -> String {
    let lag = group.lag.map_or(0, |count| count.events);
    match (lag, group.members, rates) {
        (0, _, _) => "-".into(),
        (_, Some(0), _) => "never: no members".into(),
        (_, _, None) => "-".into(),
        (lag, _, Some(Rates { into, out })) if out > into => {
            let seconds = lag as f64 / (out - into);
            if seconds < 1.0 { "now".into() } else { duration::short(Duration::from_secs_f64(seconds)) }
        }
        _ => "never: falling behind".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Count;

    fn group(lag: u64, members: u32) -> GroupInfo {
        GroupInfo {
            lag: Some(Count { events: lag, exact: true }),
            members: Some(members),
            ..Default::default()
        }
    }

    #[test]
    fn says_when_a_group_will_have_caught_up() {
        let rates = |into, out| Some(Rates { into, out });
        assert_eq!(done_in(&group(0, 1), rates(1.0, 1.0).as_ref()), "-");
        assert_eq!(done_in(&group(9, 0), rates(1.0, 5.0).as_ref()), "never: no members");
        assert_eq!(done_in(&group(9, 1), rates(5.0, 1.0).as_ref()), "never: falling behind");
        assert_eq!(done_in(&group(12, 1), rates(41.0, 61.0).as_ref()), "now");
        assert_eq!(done_in(&group(1200, 1), rates(0.0, 10.0).as_ref()), "2m");
    }
}
