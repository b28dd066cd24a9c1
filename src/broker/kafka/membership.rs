//! Joining a group and leaving it, and how the others of it are doing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;

use super::Kafka;
use super::client::{Client, Role};
use super::desk::Asked;
use super::error::{About, Trouble};
use super::partitions::Partitions;
use super::queue::Queue;
use super::rebalance::{Change, taken};
use super::settings::Settings;
use super::sys::{self, Code};
use crate::broker::{Error, Kind, Result, Stop, SubscribeOptions};
use crate::event::Name;

/// How long the broker is waited for when we leave; it notices by itself what it did not hear.
const LEAVE: Duration = Duration::from_secs(4);
/// How often the broker is told that we live, and tells us of a rebalance.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Within what a broker takes the time after which who is silent is dead (`group.min.session.timeout.ms`, and `max`).
const SESSION: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(1800)];
/// What nobody may set, because the work rests on it.
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
];

/// Errors: the group is not there on one of these topics.
pub async fn known(admin: &Client, operation: &'static str, topics: &[Name], group: &str) -> Result<()> {
    let committed = admin.committed(&About::group(operation, group), group, false).await?;
    match topics.iter().find(|topic| !committed.iter().any(|at| at.topic == **topic)) {
        None => Ok(()),
        Some(topic) => {
            let subject = format!("group {group} on {topic}");
            let hint = format!("evcat groups list; to make it: evcat groups create {group} {topic}");
            Err(Error::new(Kind::NotFound, operation, subject, "does not exist").with_hint(hint))
        }
    }
}

/// A client that is becoming a member, and its queue.
pub fn begin(
    kafka: &Kafka,
    topics: &[Name],
    group: &Name,
    options: &SubscribeOptions,
) -> Result<(Client, Queue)> {
    let defaults = defaults(&kafka.settings, options);
    let defaults: Vec<_> = defaults.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let fixed: Vec<_> = FIXED.iter().copied().chain([("group.id", &**group)]).collect();
    let client = Client::new(Role::Consumer, &kafka.settings, &defaults, &fixed, |conf| {
        // SAFETY: the configuration is live.
        unsafe {
            sys::rd_kafka_conf_set_events(
                conf.raw(),
                sys::RD_KAFKA_EVENT_REBALANCE | sys::RD_KAFKA_EVENT_OFFSET_COMMIT | sys::RD_KAFKA_EVENT_ERROR,
            );
        }
    })?;
    let broken = || Error::new(Kind::Broken, "subscription", "", "a consumer has no queue");
    let queue = client.consume().ok_or_else(broken)?;
    let mut list = Partitions::new(topics.len());
    topics.iter().for_each(|topic| list.add(topic, -1, 0, b""));
    // SAFETY: all live.
    match unsafe { sys::subscribe(client.raw(), list.raw()) } {
        Code::OK => Ok((client, queue)),
        code => Err(Trouble::of(code).error(&About::group("subscription", group), &client)),
    }
}

/// What a member is made with where the user says nothing.
fn defaults(settings: &Settings, options: &SubscribeOptions) -> Vec<(&'static str, String)> {
    let ms = |time: Duration| time.as_millis().to_string();
    let session = options.lease.clamp(SESSION[0], SESSION[1]);
    let wait = match options.stop {
        // The end of a partition is told when the broker has waited so long for more.
        Stop::Now => Duration::from_millis(10),
        _ => Duration::from_millis(100),
    };
    let mut defaults = vec![
        ("isolation.level", "read_committed".into()),
        ("check.crcs", "true".into()),
        // What is fetched ahead is memory; the library would take 64 MiB.
        ("queued.max.messages.kbytes", "16384".into()),
        ("fetch.wait.max.ms", ms(wait)),
        ("max.poll.interval.ms", ms(session.max(Duration::from_secs(300)))),
    ];
    // With the protocol of KIP-848 the broker decides these.
    if settings.given("group.protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("classic")) {
        defaults.extend([
            ("partition.assignment.strategy", "cooperative-sticky".into()),
            ("session.timeout.ms", ms(session)),
            ("heartbeat.interval.ms", ms(HEARTBEAT)),
        ]);
    }
    defaults
}

/// Whether the group has settled all of these up to their ends.
pub fn have_ended(client: &Client, group: &Name, ends: HashMap<(Name, i32), i64>) -> Asked<bool> {
    let (client, group) = (client.clone(), group.clone());
    Box::pin(async move {
        let committed = client.committed(&About::group("receive", &group), &group, false).await?;
        let committed: HashMap<_, _> =
            committed.into_iter().map(|at| ((at.topic, at.partition), at.offset)).collect();
        Ok(ends.iter().all(|(place, end)| committed.get(place).copied().unwrap_or(0) >= *end))
    })
}

/// Leaves the group. `change` is a rebalance that the library waits with.
pub async fn end(client: &Client, queue: &Queue, change: Option<Change>) {
    // SAFETY: client, queue and lists are live in each of these calls.
    let let_go = || unsafe {
        if sys::text(sys::rd_kafka_rebalance_protocol(client.raw())) != "COOPERATIVE" {
            sys::assign(client.raw(), std::ptr::null());
            return;
        }
        let mut all = std::ptr::null_mut();
        if Code::of(sys::rd_kafka_assignment(client.raw(), &mut all)) == Code::OK
            && let Some(all) = std::ptr::NonNull::new(all)
        {
            let all = Partitions::own(all);
            taken(sys::rd_kafka_incremental_unassign(client.raw(), all.raw()));
        }
    };
    if let Some(change) = change {
        let mut list = Partitions::new(change.list().len());
        change.list().iter().for_each(|(topic, number)| list.add(topic, *number, 0, b""));
        match &change {
            // Nothing is read any more, so that it does not matter where it begins.
            Change::Coming { .. } => {
                // SAFETY: as above.
                unsafe { taken(sys::rd_kafka_incremental_assign(client.raw(), list.raw())) };
            }
            Change::Going { .. } => let_go(),
        }
    }
    // SAFETY: as above.
    if unsafe { taken(sys::rd_kafka_consumer_close_queue(client.raw(), queue.raw())) } != Code::OK {
        // Closed already, or fenced.
        return;
    }
    let closed = async {
        loop {
            while let Some(event) = queue.poll() {
                if event.kind() == sys::RD_KAFKA_EVENT_REBALANCE {
                    let_go();
                }
            }
            // SAFETY: as above.
            if unsafe { sys::rd_kafka_consumer_closed(client.raw()) } != 0 {
                return;
            }
            queue.filled().await;
        }
    };
    if timeout(LEAVE, closed).await.is_err() {
        tracing::debug!("the group was not left; it notices by itself");
    }
}
