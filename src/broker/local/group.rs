//! Groups: made, told of, moved and deleted.

use rusqlite::{Connection, OptionalExtension, params};

use super::block::Entries;
use super::fault::Result as Done;
use super::file::{Bell, Durability, Store};
use super::frontier::{self, Group, Slots};
use super::log::{self, Topic, offset_of};
use super::reader::newest;
use super::worker::Worker;
use super::{member, name, seek, topics};
use crate::broker::{Count, Error, GroupInfo, Kind, Result, Source, Start};
use crate::event::{Millis, Name, Position};

/// See [`Broker::groups`](crate::broker::Broker::groups).
pub async fn groups(worker: &Worker, glob: &str) -> Result<Vec<GroupInfo>> {
    let matches = topics::matcher("groups", glob)?;
    let found = worker
        .call_existing("groups", move |store| {
            store.read(|sql| {
                let mut all = vec![];
                for topic in topics::matching(sql, &matches)? {
                    for group in frontier::of_topic(sql, topic.id)? {
                        all.push(facts(store, sql, &topic, &group)?);
                    }
                }
                Ok(all)
            })
        })
        .await?;
    Ok(found.unwrap_or_default())
}

/// See [`Broker::create_group`](crate::broker::Broker::create_group). A topic that does not exist is made too.
pub async fn create(
    worker: &Worker,
    source: &Source,
    from: &Start,
    dead_letters: Option<&str>,
) -> Result<Vec<String>> {
    let Source::Group { topics, group } = source else {
        let message = "only a group over topics can be made here";
        return Err(Error::new(Kind::Unsupported, "create_group", "", message));
    };
    name::for_new("create_group", "group", group)?;
    for topic in topics.iter().map(|topic| &**topic).chain(dead_letters) {
        name::for_new("create_group", "topic", topic)?;
    }
    let (topics, group, from) = (topics.clone(), group.clone(), from.clone());
    let dead = dead_letters.map(str::to_string);
    worker
        .call("create_group", move |store| {
            store.write(Durability::Power, Bell::Ring, |sql| {
                let mut made = vec![];
                let mut make_topic = |name: &str| -> Done<Topic> {
                    if log::topic(sql, name)?.is_none() {
                        made.push(format!("topic {name}"));
                    }
                    log::make_topic(sql, name)
                };
                let topics = topics.iter().map(|name| make_topic(name)).collect::<Done<Vec<_>>>()?;
                if let Some(dead) = &dead {
                    make_topic(dead)?;
                }
                let mut new = vec![];
                for topic in topics {
                    match frontier::find(sql, topic.id, &group)? {
                        Some(known) if dead.is_some() && known.dead != dead => {
                            sql.prepare_cached("UPDATE grp SET dead=?2 WHERE id=?1")?
                                .execute(params![known.id, dead])?;
                        }
                        Some(_) => {}
                        None => new.push(topic),
                    }
                }
                // Only for those that begin now: what was kept when the others did may be gone.
                let starts = starts(sql, "create_group", &new, &from)?;
                for (topic, start) in new.iter().zip(starts) {
                    frontier::insert(sql, topic.id, &group, start, dead.as_deref())?;
                    made.push(format!("group {group} on {}", topic.name));
                }
                Ok(made)
            })
        })
        .await
}

/// See [`Broker::seek_group`](crate::broker::Broker::seek_group). What was put back to the group alone stays: it is no
/// part of the log, and nowhere else.
pub async fn seek(worker: &Worker, topic: &str, group: &str, to: &Start) -> Result<()> {
    let to = to.clone();
    change(worker, "seek_group", topic, group, move |sql, topic, group| {
        let next = starts(sql, "seek_group", std::slice::from_ref(topic), &to)?.pop().unwrap_or(topic.first);
        let log = Slots::of(group.id).log();
        sql.prepare_cached("DELETE FROM open WHERE id >= ?1 AND id < ?2")?.execute([log.start, log.end])?;
        sql.prepare_cached("UPDATE grp SET next=?2 WHERE id=?1")?.execute([group.id, next])?;
        Ok(())
    })
    .await
}

/// See [`Broker::delete_group`](crate::broker::Broker::delete_group). Its dead letters stay.
pub async fn delete(worker: &Worker, topic: &str, group: &str) -> Result<()> {
    change(worker, "delete_group", topic, group, |sql, _, group| frontier::remove(sql, group.id)).await
}

/// Changes a group that nobody is at work on.
async fn change(
    worker: &Worker,
    operation: &'static str,
    topic: &str,
    group: &str,
    change: impl FnOnce(&Connection, &Topic, &Group) -> Done<()> + Send + 'static,
) -> Result<()> {
    name::check(operation, "group", group)?;
    let (topic, group) = (topic.to_string(), group.to_string());
    let missing = topics::not_found(operation, &topic, &[]);
    let done = worker
        .call_existing(operation, move |store| {
            store.write(Durability::Power, Bell::Ring, |sql| {
                let (topic, group) = frontier::need(sql, &topic, &group, operation)?;
                let alive = member::bury(store, sql, group.id, store.now())?.len();
                if alive > 0 {
                    let members =
                        if alive == 1 { "1 member is".into() } else { format!("{alive} members are") };
                    let subject = format!("group {} on {}", group.name, topic.name);
                    return Err(Error::new(
                        Kind::Rejected,
                        operation,
                        subject,
                        format!("{members} at work on it"),
                    )
                    .with_hint("stop them first; a killed one is noticed at once")
                    .into());
                }
                change(sql, &topic, &group)
            })
        })
        .await?;
    done.ok_or(missing)
}

/// What can be told of a group without reading its events.
fn facts(store: &Store, sql: &Connection, topic: &Topic, group: &Group) -> Done<GroupInfo> {
    let end = log::end(sql, topic)?.next;
    let slots = Slots::of(group.id);
    let next = group.next.max(topic.first);
    // Open rows below the first kept event cannot be delivered any more: they are not lag, the next receive says `Gone`.
    let (open, oldest): (i64, Option<i64>) = sql
        .prepare_cached("SELECT count(*), min(id) FROM open WHERE id >= ?1 AND id < ?2")?
        .query_row([slots.at(topic.first), slots.all().end], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let put_backs: i64 = sql
        .prepare_cached("SELECT count(*) FROM open WHERE id >= ?1 AND id < ?2")?
        .query_row([slots.put_backs().start, slots.put_backs().end], |row| row.get(0))?;
    let settled = oldest.map_or(next, |row| offset_of(row).min(next));
    let waits = (settled < end).then_some(settled);
    let stored = match waits {
        Some(offset) => stored_at(sql, topic, offset)?,
        None => None,
    };
    let oldest = [stored, oldest_put_back(sql, slots)?].into_iter().flatten().min();
    Ok(GroupInfo {
        topic: topic.name.to_string(),
        group: group.name.clone(),
        oldest,
        dead_letters: group.dead.clone(),
        members: Some(member::alive(store, sql, group.id, store.now())?.len() as u32),
        lag: Some(Count { events: (end - next + open + put_backs) as u64, exact: true }),
        settled: vec![(topic.name.clone(), Position::Offset(settled))],
        end: vec![(topic.name.clone(), Position::Offset(end))],
        max_deliveries: None,
    })
}

fn stored_at(sql: &Connection, topic: &Topic, offset: i64) -> Done<Option<Millis>> {
    let Some(block) = log::block_of(sql, topic.id, offset)? else { return Ok(None) };
    let mut find = sql.prepare_cached("SELECT stored FROM block WHERE id=?1")?;
    Ok(find.query_row([block], |row| row.get(0)).optional()?)
}

/// When it happened: nobody wrote down when it was put back.
fn oldest_put_back(sql: &Connection, slots: Slots) -> Done<Option<Millis>> {
    let mut find =
        sql.prepare_cached("SELECT data FROM open WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1")?;
    let lane = slots.put_backs();
    let data: Option<Vec<u8>> = find.query_row([lane.start, lane.end], |row| row.get(0)).optional()?;
    let first = data.and_then(|data| Entries::open(&data).ok()?.next()?.ok());
    Ok(first.map(|entry| entry.timestamp))
}

/// The offset in each of these topics at which a group begins.
fn starts(sql: &Connection, operation: &'static str, topics: &[Topic], from: &Start) -> Done<Vec<i64>> {
    if let Start::Last(n) = from {
        let ends = topics.iter().map(|topic| Ok(log::end(sql, topic)?.next)).collect::<Done<Vec<_>>>()?;
        let topics: Vec<_> = topics.iter().zip(ends).collect();
        return newest(sql, &topics, *n, false);
    }
    topics.iter().map(|topic| start(sql, operation, topic, from)).collect()
}

fn start(sql: &Connection, operation: &'static str, topic: &Topic, from: &Start) -> Done<i64> {
    let end = log::end(sql, topic)?.next;
    let refuse =
        |kind, message: String| Error::new(kind, operation, format!("topic {}", topic.name), message);
    let named = |places: &[(Name, Position)]| {
        let Some((_, position)) = places.iter().find(|(name, _)| *name == topic.name) else {
            return Err(refuse(Kind::Invalid, "no position is given for it".into()));
        };
        position.offset().ok_or_else(|| {
            let message = format!("'{position}' is no position here: they are numbers, such as 123");
            refuse(Kind::Invalid, message)
        })
    };
    let offset = match from {
        Start::Earliest | Start::Last(_) => topic.first,
        Start::Latest => end,
        Start::Time(at) => seek::time(sql, topic, *at)?,
        Start::At(places) => named(places)?,
        Start::After(places) => named(places)? + 1,
    };
    // Neither is rounded to what is there: that would skip or repeat without a word.
    if offset < topic.first {
        let message = format!("{offset} is no longer kept, what is begins at {}", topic.first);
        return Err(refuse(Kind::Gone, message).with_hint("--from beginning").into());
    }
    if offset > end {
        let message = format!("{offset} is beyond its end, which is {end}");
        return Err(refuse(Kind::Invalid, message).with_hint("--from now").into());
    }
    Ok(offset)
}
