//! `evcat subscribe`: working on events as a member of a group.

mod args;
mod group;
mod handling;
mod talk;

pub use args::SubscribeArgs;

use std::time::Duration;

use crate::broker::{Source, Stop, SubscribeOptions, abilities};
use crate::commands::names;
use crate::deadletter::record::{self, Record};
use crate::event::{Event, Name};
use crate::flow::driver::{self, Ended, Report, Work};
use crate::flow::handler;
use crate::flow::lanes::{Death, Ordering, Rules};
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::words;
use crate::session::Session;
use args::{Handling, Plan, Resolved};

/// For how long an event is ours without a word from us. A member that was killed is noticed within this on every
/// broker that has leases.
const LEASE: Duration = Duration::from_secs(9);

/// Runs it.
pub async fn run(args: SubscribeArgs, session: &Session) -> anyhow::Result<Outcome> {
    let Resolved { plan, handling, judge } = args.resolve(session)?;
    let target = handling.target(session)?;
    let (source, dead_letters) = match &plan.group {
        Some(group) => {
            let topics = names::resolve(session, &plan.topics).await?.names();
            refuse_loops(session, &plan, &handling, &topics)?;
            let dead_letters = group::prepare(session, &plan, &topics, group).await?;
            (Source::Group { topics, group: group.clone() }, dead_letters)
        }
        None => {
            let queue: Name = plan.topics[0].as_str().into();
            refuse_loops(session, &plan, &handling, std::slice::from_ref(&queue))?;
            let may_fail = !judge.is_plain() || !matches!(handling, Handling::Print { select: None, .. });
            let dead_letters = group::of_queue(session, &plan, &queue, may_fail).await?;
            (Source::Queue(queue), dead_letters)
        }
    };
    let several = matches!(&source, Source::Group { topics, .. } if topics.len() > 1);
    let capabilities = session.broker.capabilities(&plan.topics[0]);
    let bounded = plan.bounded();
    let prints = matches!(handling, Handling::Print { .. });
    let tries = matches!(handling, Handling::Run { .. });
    let handler_name = handling.name();
    let in_flight = plan.in_flight(&handling, judge.is_plain(), capabilities.partitions);
    let rules = Rules {
        // What prints and what copies keeps the order received by itself, and has no lanes.
        concurrency: if tries { plan.concurrency } else { 1 },
        ordering: if tries { plan.ordering } else { Ordering::None },
        max_attempts: if tries { plan.max_attempts } else { u32::MAX },
        backoff: plan.backoff,
        max_dead: plan.max_dead,
        dead_letters: !plan.no_dlq,
        limit: plan.count,
        // A bounded run would end before the broker hands the event out again.
        retry_delay: capabilities.retry_delay.filter(|_| !bounded),
        ..Rules::default()
    };
    let crew = handling.begin(target, session, &plan, in_flight, several).await?;
    let handler::Crew { handler: hands, told, tasks } = crew;
    let options = SubscribeOptions {
        stop: if plan.no_follow { Stop::Now } else { Stop::Never },
        in_flight,
        lease: LEASE,
        grace: plan.drain.max(Duration::from_secs(1)),
        ordered: plan.ordering != Ordering::None,
    };
    let subscription = session.broker.subscription(source, options).await?;
    let bury = |death: &Death| -> Event {
        let topic = death.event.topic();
        let dlq = dead_letters.iter().find(|(of, _)| of == topic).map(|(_, dlq)| dlq.clone());
        let record = Record {
            topic: topic.clone(),
            position: death.event.position().clone(),
            timestamp: death.event.timestamp(),
            group: plan.group.clone(),
            attempts: death.attempts,
            kind: death.failure.kind.into(),
            error: death.failure.to_string(),
            handler: handler_name.clone(),
            failed_at: session.now(),
        };
        record::stamp(&death.event, &record, &dlq.unwrap_or_else(|| topic.clone()))
    };
    let work = Work {
        rules,
        hands,
        told,
        judge: Box::new(judge),
        bury: Box::new(bury),
        lease: LEASE,
        grace: plan.drain.max(Duration::from_secs(1)),
        // A reader who stopped reading is not waited for as long as a handler that works.
        drain: if prints { plan.drain.min(Duration::from_millis(500)) } else { plan.drain },
        killed_within: if prints { Duration::ZERO } else { Duration::from_secs(5) },
        counts_tries: capabilities.counts_attempts && capabilities.retry_delay.is_some(),
        idle_exit: plan.idle_exit,
        lasts: plan.lasts,
        stop: session.stop.clone(),
    };
    session.stop.begin();
    let mut talk =
        talk::Talk { session, several, max_attempts: plan.max_attempts, dead_letters: &dead_letters };
    let report = driver::run(subscription, work, &mut |progress| talk.progress(progress)).await;
    handler::ended(tasks).await;
    talk::summary(session, &report);
    outcome(session, &plan, report, &dead_letters)
}

/// What the exit code says.
fn outcome(
    session: &Session,
    plan: &Plan,
    report: Report,
    dead_letters: &[(Name, Name)],
) -> anyhow::Result<Outcome> {
    let look = || {
        let dlq = dead_letters.first().map_or("DLQ", |(_, dlq)| dlq);
        format!("what they died of: evcat dlq peek {dlq}{}", session.endpoint.flag)
    };
    match report.ended {
        Ended::Asked => match session.stop.signal() {
            Some(signal) => Ok(Outcome::Interrupted(signal)),
            None => Ok(Outcome::Done),
        },
        Ended::ReaderLeft => Ok(Outcome::Done),
        Ended::Complete | Ended::Limit | Ended::Idle | Ended::TimeOver => {
            let came = report.acked + report.dead;
            let short = plan.count.filter(|count| came < *count);
            if let Some(count) = short {
                session.ui.warn(words::short(came, count));
            }
            Ok(match (report.dead, short.is_some()) {
                (1.., _) => Outcome::Partial,
                (0, true) => Outcome::Short,
                (0, false) => Outcome::Done,
            })
        }
        Ended::MaxDead(count) => Err(Failure::failed(format!(
            "{count} events in a row died, so the fault is hardly in the events; nothing more was taken"
        ))
        .exit(Exit::Partial)
        .hint(format!("{}\n--max-dead N stops later", look()))
        .into()),
        Ended::Died(death) => {
            let Death { event, attempts, failure } = *death;
            let tries = talk::tries(attempts);
            let place = format!("{} {}", event.topic(), event.position());
            Err(Failure::failed(format!("{place} failed, {tries}: {}", talk::one_line(&failure)))
                .hint(
                    "it was given back and comes first next time; without --no-dlq it would be a dead letter",
                )
                .into())
        }
        Ended::Halted(failure) => Err(Failure::failed(format!(
            "the handler cannot work: {}; its event was given back",
            talk::one_line(&failure)
        ))
        .hint("126 and 127 mean that a command could not be run; any other code is about the event")
        .into()),
        Ended::Failed(error) => Err(error),
    }
}

/// Refuses to write into what is read: a copy or a dead letter would be delivered, and copied or buried again, without end.
fn refuse_loops(session: &Session, plan: &Plan, handling: &Handling, topics: &[Name]) -> anyhow::Result<()> {
    // Dead letters of `queue:x` in the topic `x` lie in the queue of that name: the same one.
    let is_read = |place: &str| {
        topics.iter().any(|topic| **topic == *place || topic.strip_prefix("queue:") == Some(place))
    };
    if let Some(dlq) = plan.dlq.as_ref().filter(|dlq| is_read(dlq)) {
        return Err(Failure::usage(format!(
            "--dlq {dlq}: a dead letter in a topic that is read would never end"
        ))
        .hint("name another topic, or leave --dlq out: TOPIC.GROUP.dlq")
        .into());
    }
    let Handling::Copy { into, to_broker } = handling else { return Ok(()) };
    let same = match to_broker {
        Some(given) => session.second(given)?.0.is_same(&session.endpoint),
        None => true,
    };
    let into = match into {
        Some(into) => topics.contains(into).then_some(into),
        None => topics.first(),
    };
    match into.filter(|_| same) {
        None => Ok(()),
        Some(into) => Err(Failure::usage(format!(
            "--into {into} on {}: a copy into a topic that is read would never end",
            session.endpoint.name
        ))
        .hint("name another topic, or another broker with --to-broker")
        .into()),
    }
}

/// Refuses, before any I/O, what the broker of these topics cannot do.
fn guard(session: &Session, plan: &Plan, has_command: bool) -> Result<(), Failure> {
    // Who has no command is not asked for an order, and cannot give it up.
    let known = if has_command { "; --ordering none says that this is known" } else { "" };
    for topic in &plan.topics {
        let capabilities = session.broker.capabilities(topic);
        if plan.ordering == Ordering::Key && capabilities.key && !(abilities::ORDER.has)(&capabilities) {
            session.ui.warn(format_args!(
                "{} keeps no order of '{topic}', not even of one key{known}",
                session.endpoint.name
            ));
        }
    }
    Ok(())
}
