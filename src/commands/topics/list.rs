//! `evcat topics list` and `describe`.

use serde_json::{Map, Value, json};

use super::TableFormat;
use crate::broker::{Count, GroupInfo, TopicInfo, nearest};
use crate::event::time;
use crate::outcome::{Failure, Outcome};
use crate::output::table::{Column, Table};
use crate::output::{Stdout, sanitize, words};
use crate::session::Session;

/// A glob that matches this name only.
pub(in crate::commands) fn literal(name: &str) -> String {
    globset::escape(name)
}

/// That topic is not there; with the nearest that is.
pub(in crate::commands) async fn unknown(session: &Session, topic: &str) -> Failure {
    let flag = &session.endpoint.flag;
    let shown = words::name(topic);
    let failure = Failure::usage(format!("topic '{shown}' does not exist on {}", session.endpoint.name));
    let known = session.broker.topics("*").await.unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|t| t.name.as_str()).collect();
    let make = format!("to make it: evcat topics create {shown}{flag}");
    failure.hint(match nearest(topic, &names) {
        Some(near) => format!("did you mean '{near}'? {make}"),
        None => make,
    })
}

/// A group made its topic with it: where there is one of nearly that name, it was perhaps the one that was meant.
pub(in crate::commands) async fn perhaps_meant(
    session: &Session,
    topic: &str,
    made: &[String],
) -> anyhow::Result<()> {
    if !made.iter().any(|what| *what == format!("topic {topic}")) {
        return Ok(());
    }
    let known = session.broker.topics("*").await?;
    let others = known.iter().filter(|t| t.name != topic && !t.temporary && !holds_dead_letters(t));
    let names: Vec<&str> = others.map(|t| t.name.as_str()).collect();
    if let Some(near) = nearest(topic, &names) {
        let (shown, flag) = (words::name(topic), &session.endpoint.flag);
        session.ui.warn(format_args!(
            "topic '{shown}' was not there and is new; if '{near}' was meant: evcat topics delete {}{flag}",
            words::shell_quoted(topic)
        ));
    }
    Ok(())
}

/// The place of dead letters, by what the broker knows or by its name.
pub(in crate::commands) fn holds_dead_letters(topic: &TopicInfo) -> bool {
    topic.dead_letters_of.is_some()
        || [".dlq", ".parked", ".settled"].iter().any(|end| topic.name.ends_with(end))
}

pub(super) async fn list(
    session: &Session,
    pattern: Option<String>,
    output: TableFormat,
) -> anyhow::Result<Outcome> {
    let glob = pattern.as_deref().unwrap_or("*");
    let all = session.broker.topics("*").await?;
    let groups = session.broker.groups(glob).await?;
    let matching = globset::Glob::new(glob)
        .map_err(|e| Failure::usage(format!("'{glob}' is not a glob: {e}")))?
        .compile_matcher();
    let (dead, live): (Vec<_>, Vec<_>) =
        all.iter().filter(|t| !t.temporary).partition(|t| holds_dead_letters(t));
    let shown: Vec<&TopicInfo> = match &pattern {
        Some(_) => all.iter().filter(|t| matching.is_match(&t.name)).collect(),
        None => live,
    };
    let of_topic = |topic: &TopicInfo| groups.iter().filter(|g| g.topic == topic.name).collect::<Vec<_>>();
    // `None`: the broker does not tell how many wait.
    let dead_of = |groups: &[&GroupInfo]| -> Option<u64> {
        let place = |name: &String| dead.iter().find(|t| t.name == *name);
        let places = groups.iter().filter_map(|g| g.dead_letters.as_ref()).filter_map(place);
        places.map(|place| place.waiting.map(|count| count.events)).sum()
    };
    let now = session.now();
    let mut bytes = Vec::new();
    if output == TableFormat::Json {
        for topic in shown {
            let groups = of_topic(topic);
            let mut object = facts(topic);
            object.insert("groups".into(), groups.iter().map(|g| Value::from(g.group.as_str())).collect());
            object.insert("dead".into(), dead_of(&groups).into());
            bytes.extend_from_slice(Value::Object(object).to_string().as_bytes());
            bytes.push(b'\n');
        }
    } else {
        use Column::{Left, Right};
        let mut table = Table::new(&[
            ("TOPIC", Left),
            ("EVENTS", Right),
            ("PARTITIONS", Right),
            ("LAST EVENT", Left),
            ("KEPT FOR", Left),
            ("GROUPS", Right),
            ("DEAD", Right),
        ]);
        for topic in &shown {
            let groups = of_topic(topic);
            table.row([
                topic.name.clone(),
                count(topic.waiting),
                topic.partitions.map_or("-".into(), |n| n.to_string()),
                topic.newest.map_or("-".into(), |at| format!("{} ago", words::ago(at, now))),
                topic.kept_for.map_or("forever".into(), crate::settings::duration::short),
                groups.len().to_string(),
                dead_of(&groups).map_or("-".into(), words::count),
            ]);
        }
        // A heading over nothing says nothing.
        if !shown.is_empty() {
            table.print(&mut bytes, session.ui.out);
        }
        let outcome = print(bytes).await?;
        let broker = &session.endpoint.name;
        let flag = &session.endpoint.flag;
        if shown.is_empty() && (pattern.is_some() || dead.is_empty()) {
            session.ui.status(match &pattern {
                Some(glob) => format!("no topic on {broker} matches '{}'", sanitize::text(glob)),
                None => format!("no topics on {broker} yet; to make one: evcat topics create orders{flag}"),
            });
            return Ok(outcome);
        }
        let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let topics = format!("{} on {broker}", many(shown.len(), "topic"));
        match dead.len() {
            0 => session.ui.status(topics),
            n => {
                session.ui.status(format!("{topics}; {}: evcat dlq list{flag}", many(n, "dead-letter topic")))
            }
        }
        return Ok(outcome);
    }
    print(bytes).await
}

pub(super) async fn describe(session: &Session, name: &str, output: TableFormat) -> anyhow::Result<Outcome> {
    let found = session.broker.topics(&literal(name)).await?;
    let Some(topic) = found.first() else { return Err(unknown(session, name).await.into()) };
    let groups = session.broker.groups(&literal(name)).await?;
    let mut bytes = Vec::new();
    if output == TableFormat::Json {
        let mut object = facts(topic);
        let details = topic.details.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        object.insert("details".into(), Value::Object(details.collect()));
        object.insert("groups".into(), groups.iter().map(|g| Value::from(g.group.as_str())).collect());
        bytes.extend_from_slice(Value::Object(object).to_string().as_bytes());
        bytes.push(b'\n');
        return print(bytes).await;
    }
    let now = session.now();
    let when = |at: Option<i64>| {
        at.map_or("-".into(), |at| {
            format!("{} ({} ago)", words::clock(at, now, &session.zone()), words::ago(at, now))
        })
    };
    let names: Vec<_> = groups.iter().map(|g| g.group.as_str()).collect();
    let mut lines = vec![
        ("topic", format!("{} on {}", topic.name, session.endpoint.name)),
        ("events", count(topic.waiting)),
        ("oldest", when(topic.oldest)),
        ("newest", when(topic.newest)),
        ("kept for", topic.kept_for.map_or("forever".into(), crate::settings::duration::short)),
        ("groups", if names.is_empty() { "-".into() } else { names.join(" ") }),
    ];
    if let Some(partitions) = topic.partitions {
        lines.push(("partitions", partitions.to_string()));
    }
    if let Some(of) = &topic.dead_letters_of {
        lines.push(("dead letters of", of.clone()));
    }
    lines.extend(topic.details.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in lines {
        bytes.extend_from_slice(
            format!("{}  {value}\n", session.ui.out.faint(&format!("{name:width$}"))).as_bytes(),
        );
    }
    print(bytes).await
}

fn facts(topic: &TopicInfo) -> Map<String, Value> {
    let time = |at: Option<i64>| at.map(time::text);
    let Value::Object(object) = json!({
        "topic": topic.name,
        "events": topic.waiting.map(|count| count.events),
        "exact": topic.waiting.is_some_and(|count| count.exact),
        "partitions": topic.partitions,
        "oldest": time(topic.oldest),
        "newest": time(topic.newest),
        "kept_for_ms": topic.kept_for.map(|kept| kept.as_millis() as u64),
        "dead_letters_of": topic.dead_letters_of,
        "temporary": topic.temporary,
    }) else {
        return Map::new();
    };
    object
}

/// A number of events; `~` where it is an estimate, `-` where nobody knows.
pub(in crate::commands) fn count(count: Option<Count>) -> String {
    match count {
        None => "-".into(),
        Some(Count { events, exact: true }) => words::count(events),
        Some(Count { events, exact: false }) => format!("~{}", words::count(events)),
    }
}

/// Writes to stdout and waits until it is there.
pub(in crate::commands) async fn print(bytes: Vec<u8>) -> anyhow::Result<Outcome> {
    let mut out = Stdout::open()?;
    out.write(bytes).await?;
    out.flush().await?;
    Ok(Outcome::Done)
}
