//! The group and its dead-letter topic before the first receive: made, or found, and said.

use super::args::Plan;
use crate::broker::{Count, GroupInfo, Order, Source, Start};
use crate::commands::names::usual_dlq;
use crate::commands::topics::{literal, perhaps_meant, unknown_topic};
use crate::event::Name;
use crate::flow::lanes::Ordering;
use crate::outcome::Failure;
use crate::output::words;
use crate::session::Session;

/// Per topic, where its dead letters go.
pub type DeadLetters = Vec<(Name, Name)>;

/// Makes what is missing, or refuses; says what is new.
pub async fn prepare(
    session: &Session,
    plan: &Plan,
    topics: &[Name],
    group: &Name,
) -> anyhow::Result<DeadLetters> {
    let start = session.start("--from", &plan.from, topics)?;
    let mut dead_letters = Vec::new();
    for topic in topics {
        if session.endpoint.backend != "local" && session.broker.topics(&literal(topic)).await?.is_empty() {
            return Err(unknown_topic(session, topic).await.into());
        }
        let known = find(session, topic, group).await?;
        if let Some(known) = &known {
            members(session, plan, known)?;
        }
        let dlq = match (&plan.dlq, known.as_ref().and_then(|known| known.dead_letters.clone())) {
            (Some(dlq), _) => dlq.clone(),
            (None, Some(dlq)) => dlq.into(),
            (None, None) => usual_dlq(topic, group).into(),
        };
        if plan.no_create {
            exists(session, topic, group, known.is_some(), (!plan.no_dlq).then_some(&*dlq)).await?;
        } else {
            let source = Source::Group { topics: vec![topic.clone()], group: group.clone() };
            let place = (!plan.no_dlq).then_some(&*dlq);
            let made = session.broker.create_group(&source, &start, place).await?;
            // One that was not seen may be there all the same, while a broker fails: then nothing had to be made.
            let new = known.is_none() && !made.is_empty();
            // A new group and where its dead letters go have a line of their own.
            let told = |what: &str| new && what != format!("topic {topic}");
            for what in made.iter().filter(|what| !told(what)) {
                session.ui.status(format_args!("made {what}"));
            }
            perhaps_meant(session, topic, &made).await?;
            if new {
                announce(session, plan, topic, group, place, &start).await?;
            }
        }
        if let (Some(_), false) = (&known, plan.from.is_empty()) {
            session.ui.warn(format_args!(
                "{group} on {topic} is there already and goes on where it was; --from is for a new group \
                 (to move this one: evcat groups seek {group} {topic} --from POINT{})",
                session.endpoint.flag
            ));
        }
        if known.is_some() && plan.binds {
            session.ui.warn(format_args!(
                "{group} on {topic} is there already and keeps the bindings it has; --binding is for a new group"
            ));
        }
        dead_letters.push((topic.clone(), dlq));
    }
    Ok(dead_letters)
}

/// The same for a queue, which is there or is not. `may_fail`: whether anything of it could become a dead letter. Where
/// those go must be said: a queue has no group to name a place after.
pub async fn of_queue(
    session: &Session,
    plan: &Plan,
    queue: &Name,
    may_fail: bool,
) -> anyhow::Result<DeadLetters> {
    let Some(dlq) = &plan.dlq else {
        if may_fail && !plan.no_dlq {
            return Err(Failure::usage(format!("{queue}: what fails needs a place of its own"))
                .hint("--dlq TOPIC takes what fails; --no-dlq stops at the first event that does")
                .into());
        }
        return Ok(Vec::new());
    };
    if plan.no_create {
        exists(session, queue, "", true, Some(dlq)).await?;
    } else {
        let source = Source::Queue(queue.clone());
        for what in session.broker.create_group(&source, &Start::Latest, Some(dlq)).await? {
            session.ui.status(format_args!("made {what}"));
        }
    }
    Ok(vec![(queue.clone(), dlq.clone())])
}

async fn find(session: &Session, topic: &str, group: &str) -> anyhow::Result<Option<GroupInfo>> {
    Ok(session.broker.group(topic, group).await?)
}

/// What the other members and the broker's own limit allow.
fn members(session: &Session, plan: &Plan, known: &GroupInfo) -> Result<(), Failure> {
    let GroupInfo { topic, group, members, max_deliveries, .. } = known;
    if plan.ordering == Ordering::Key
        && session.broker.capabilities(topic).order == Order::OneMember
        && members.is_some_and(|members| members > 0)
    {
        return Err(Failure::usage(format!(
            "{group} has a member at work already, and {} keeps the order of a key for one member only",
            session.endpoint.name
        ))
        .hint("--ordering none gives the order up; --concurrency N makes the one member faster"));
    }
    match max_deliveries {
        Some(limit) if plan.max_attempts >= *limit && !plan.no_dlq => Err(Failure::usage(format!(
            "--max-attempts {}: the broker itself takes an event of {topic} away after {limit} deliveries",
            plan.max_attempts
        ))
        .hint(format!("stay below it: --max-attempts {}", limit.saturating_sub(1).max(1)))),
        _ => Ok(()),
    }
}

async fn exists(
    session: &Session,
    topic: &str,
    group: &str,
    group_is_there: bool,
    dlq: Option<&str>,
) -> anyhow::Result<()> {
    let name = &session.endpoint.name;
    if !group_is_there {
        let make = format!("to make it: evcat groups create {group} {topic}{}", session.endpoint.flag);
        let refusal = format!("--no-create: group '{group}' does not exist on {topic} ({name})");
        return Err(Failure::usage(refusal).hint(make).into());
    }
    if let Some(dlq) = dlq
        && session.broker.topics(&literal(dlq)).await?.is_empty()
    {
        let make = format!("to make it: evcat topics create {dlq}{}", session.endpoint.flag);
        let refusal = format!("--no-create: the dead-letter topic '{dlq}' does not exist on {name}");
        return Err(Failure::usage(refusal).hint(make).into());
    }
    Ok(())
}

/// `shipping is new on orders (local): starts at 41, dead letters go to orders.shipping.dlq`
async fn announce(
    session: &Session,
    plan: &Plan,
    topic: &Name,
    group: &str,
    dlq: Option<&str>,
    start: &Start,
) -> anyhow::Result<()> {
    let now = find(session, topic, group).await?;
    let settled = now.as_ref().map(|now| &now.settled[..]).unwrap_or_default();
    let at: Vec<_> = settled.iter().map(|(_, position)| position.to_string()).collect();
    let starts = match (start, &at[..]) {
        (_, [_, ..]) => format!("starts at {}", at.join(" ")),
        (Start::Earliest, []) => "starts at the beginning".into(),
        (_, []) => "starts now".into(),
    };
    let dead = match dlq {
        Some(dlq) => format!("dead letters go to {dlq}"),
        None => "stops at the first event that fails".into(),
    };
    session
        .ui
        .status(format_args!("{group} is new on {topic} ({}): {starts}, {dead}", session.endpoint.name));
    if plan.from.is_empty() {
        let kept = session.broker.topics(&literal(topic)).await?;
        let earlier = kept.iter().find(|info| info.name == **topic).and_then(|info| info.waiting);
        // Between the two looks more may have been published: those are not earlier ones.
        let coming = now.and_then(|now| now.lag).map_or(0, |lag| lag.events);
        if let Some(Count { events, exact }) = earlier
            && events > coming
        {
            let events = events - coming;
            let (about, noun) = (if exact { "" } else { "~" }, if events == 1 { "event" } else { "events" });
            let count = words::count(events);
            session.ui.status(format_args!(
                "{about}{count} earlier {noun} will not be delivered; --from beginning takes them"
            ));
        }
    }
    Ok(())
}
