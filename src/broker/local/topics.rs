//! Topics: told of, made and deleted; and what `check` finds.

use std::ops::ControlFlow;
use std::time::Duration;

use globset::GlobBuilder;
use rusqlite::{Connection, params};

use super::fault::Result as Done;
use super::file::{Bell, Durability};
use super::log::{self, Topic, row_id};
use super::worker::Worker;
use super::{dedup, frontier, name, schema, settled};
use crate::broker::{Count, Error, Kind, Result, TopicInfo, nearest};

/// See [`Broker::check`](crate::broker::Broker::check).
pub async fn check(worker: &Worker) -> Result<Vec<(String, String)>> {
    worker
        .call("check", |store| {
            let sql = store.sql();
            let count = |what: &str| sql.query_row(what, [], |row| row.get::<_, i64>(0));
            let topics = count("SELECT count(*) FROM topic")?;
            let groups = count("SELECT count(*) FROM grp WHERE name != ''")?;
            // Proves the right to write, which opening does not.
            let write = |_: &Connection| Ok(());
            store.write(Durability::Process, Bell::Silent, write)?;
            let bytes = std::fs::metadata(&store.place().path)?.len();
            let fact = |name: &str, value: String| (name.to_string(), value);
            Ok(vec![
                fact("file", store.place().path.display().to_string()),
                fact("size", format!("{bytes} bytes")),
                fact("schema", schema::version(sql)?.to_string()),
                fact("engine", super::client()),
                fact("topics", topics.to_string()),
                fact("groups", groups.to_string()),
                fact("rights", "read and write".to_string()),
            ])
        })
        .await
}

/// See [`Broker::topics`](crate::broker::Broker::topics).
pub async fn topics(worker: &Worker, glob: &str) -> Result<Vec<TopicInfo>> {
    let matches = matcher("topics", glob)?;
    let found = worker
        .call_existing("topics", move |store| {
            store.read(|sql| {
                let mut all = vec![];
                for topic in matching(sql, &matches)? {
                    all.push(describe(sql, &topic)?);
                }
                Ok(all)
            })
        })
        .await?;
    Ok(found.unwrap_or_default())
}

/// Turns a glob into what decides; slashes are nothing special in a topic's name.
pub fn matcher(operation: &'static str, glob: &str) -> Result<globset::GlobMatcher> {
    let glob = GlobBuilder::new(glob).literal_separator(false).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| Error::new(Kind::Invalid, operation, "", format!("not a pattern: {error}")))
}

/// The topics whose names match, by name.
pub fn matching(sql: &Connection, glob: &globset::GlobMatcher) -> Done<Vec<Topic>> {
    let mut select = sql.prepare_cached(&format!("SELECT {} FROM topic ORDER BY name", log::TOPIC))?;
    let all = select.query_map([], log::topic_of)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|topic| glob.is_match(&*topic.name)).collect())
}

fn describe(sql: &Connection, topic: &Topic) -> Done<TopicInfo> {
    let end = log::end(sql, topic)?;
    let mut details = vec![];
    if let Some(ms) = topic.dedup_ms {
        details.push(("dedup".to_string(), humantime::format_duration(millis(ms)).to_string()));
    }
    if let Some(n) = topic.keep_n {
        details.push(("keeps at most".to_string(), format!("{n} events")));
    }
    let dead_letters_of = dead_letters_of(sql, &topic.name)?;
    let kept = end.next - topic.first;
    let ranges = settled::ranges(sql, topic.id, topic.first..end.next)?;
    let settled: i64 = ranges.iter().map(|range| range.end - range.start).sum();
    Ok(TopicInfo {
        name: topic.name.to_string(),
        waiting: Some(Count { events: (kept - settled).max(0) as u64, exact: true }),
        dead_letters_of,
        oldest: oldest(sql, topic)?,
        newest: (end.next > topic.first).then_some(end.stored),
        kept_for: topic.keep_ms.map(millis),
        details,
        ..TopicInfo::default()
    })
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

/// `TOPIC/GROUP` whose dead letters go there; the first by name where several share it.
fn dead_letters_of(sql: &Connection, name: &str) -> Done<Option<String>> {
    let mut select = sql.prepare_cached(
        "SELECT topic.name || '/' || grp.name FROM grp JOIN topic ON topic.id = grp.topic
         WHERE grp.dead = ?1 ORDER BY 1 LIMIT 1",
    )?;
    Ok(rusqlite::OptionalExtension::optional(select.query_row([name], |row| row.get(0)))?)
}

/// When the oldest event was stored that is kept and not settled.
fn oldest(sql: &Connection, topic: &Topic) -> Done<Option<i64>> {
    let next = settled::covering(sql, topic.id, topic.first)?.map_or(topic.first, |range| range.end);
    let Some(id) = log::block_of(sql, topic.id, next)? else { return Ok(None) };
    let mut select = sql.prepare_cached("SELECT stored FROM block WHERE id=?1 AND id + n > ?2")?;
    let stored = select.query_row([id, row_id(topic.id, next)], |row| row.get(0));
    Ok(rusqlite::OptionalExtension::optional(stored)?)
}

/// See [`Broker::create_topic`](crate::broker::Broker::create_topic).
pub async fn create(worker: &Worker, topic: &str, options: &[(String, String)]) -> Result<()> {
    name::for_new("create_topic", "topic", topic)?;
    let subject = format!("topic {topic}");
    let (mut keep_ms, mut keep_n, mut dedup_ms) = (None, None, None);
    for (key, value) in options {
        let refuse = |message: String, hint: &str| {
            Error::new(Kind::Invalid, "create_topic", subject.clone(), message).with_hint(hint.to_string())
        };
        let duration = || {
            humantime::parse_duration(value)
                .ok()
                .and_then(|d| i64::try_from(d.as_millis()).ok())
                .filter(|ms| *ms > 0)
        };
        match key.as_str() {
            "retention" => match value.parse::<i64>() {
                Ok(n) if n > 0 => keep_n = Some(n),
                _ => {
                    let bad = || {
                        refuse(
                            format!("'{value}' is no retention"),
                            "a time (7d) or a number of events (10000)",
                        )
                    };
                    keep_ms = Some(duration().ok_or_else(bad)?);
                }
            },
            "dedup" => {
                dedup_ms =
                    Some(duration().ok_or_else(|| refuse(format!("'{value}' is no time"), "such as 24h"))?);
            }
            "partitions" => {
                let message =
                    "a local topic has no partitions; events of one key keep their order without them";
                return Err(Error::new(Kind::Unsupported, "create_topic", subject, message)
                    .with_hint("leave --partitions out"));
            }
            _ => return Err(refuse(format!("no option '{key}'"), "there are: retention, dedup")),
        }
    }
    let topic = topic.to_string();
    worker
        .call("create_topic", move |store| {
            store.write(Durability::Power, Bell::Ring, |sql| {
                if log::topic(sql, &topic)?.is_some() {
                    return Err(Error::new(Kind::Rejected, "create_topic", subject, "exists already").into());
                }
                let made = log::make_topic(sql, &topic)?;
                sql.execute(
                    "UPDATE topic SET keep_ms=?2, keep_n=?3, dedup_ms=?4 WHERE id=?1",
                    params![made.id, keep_ms, keep_n, dedup_ms],
                )?;
                Ok(())
            })
        })
        .await
}

/// See [`Broker::delete_topic`](crate::broker::Broker::delete_topic).
pub async fn delete(worker: &Worker, topic: &str) -> Result<()> {
    let name = topic.to_string();
    let done = worker
        .call_existing("delete_topic", move |store| {
            store.write(Durability::Power, Bell::Ring, |sql| match log::topic(sql, &name)? {
                Some(topic) => remove(sql, &topic),
                None => Err(not_found("delete_topic", &name, &names(sql)?).into()),
            })
        })
        .await?;
    done.ok_or_else(|| not_found("delete_topic", topic, &[]))
}

fn remove(sql: &Connection, topic: &Topic) -> Done<()> {
    if topic.dedup_ms.is_some() {
        log::scan(sql, topic.id, 0, |block| {
            dedup::forget(sql, topic, &block)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let range = [row_id(topic.id, 0), row_id(topic.id, log::MAX_OFFSET)];
    sql.execute("DELETE FROM block WHERE id >= ?1 AND id <= ?2", range)?;
    sql.execute("DELETE FROM settled WHERE id >= ?1 AND id <= ?2", range)?;
    for group in frontier::all_of_topic(sql, topic.id)? {
        frontier::remove(sql, group)?;
    }
    sql.execute("DELETE FROM topic WHERE id=?1", [topic.id])?;
    Ok(())
}

/// The names of all topics.
pub fn names(sql: &Connection) -> Done<Vec<String>> {
    let mut select = sql.prepare_cached("SELECT name FROM topic ORDER BY name")?;
    let names = select.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// There is no such topic; `names` are those there are.
pub fn not_found(operation: &'static str, topic: &str, names: &[String]) -> Error {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let error = Error::new(Kind::NotFound, operation, format!("topic '{topic}'"), "does not exist");
    match nearest(topic, &names) {
        Some(near) => error.with_hint(format!("did you mean '{near}'? all of them: evcat topics list")),
        None => error.with_hint("which there are: evcat topics list"),
    }
}
