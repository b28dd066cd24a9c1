//! Joining a group and leaving it, and how the others of it are doing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Kafka;
use super::admin::Described;
use super::client::{Client, Role};
use super::desk::Asked;
use super::error::{About, Trouble};
use super::partitions::Partitions;
use super::places;
use super::queue::Queue;
use super::rebalance::{Change, taken};
use super::settings::Settings;
use super::sys::{self, Code};
use crate::broker::{Error, Kind, Result, Stop, SubscribeOptions};
use crate::event::Name;

/// How long the broker is waited for at least when we leave; it notices by itself what it did not hear.
const LEAVE: Duration = Duration::from_millis(500);
/// How often the broker is told that we live, and tells us of a rebalance.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Within what a broker takes the time after which who is silent is dead (`group.min.session.timeout.ms`, and `max`).
const SESSION: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(1800)];
/// So many bytes are fetched ahead, of all partitions together.
const AHEAD: usize = 16 << 20;
/// What is left of the time in which partitions must go, when the grace is over.
const GRACE: Duration = Duration::from_secs(10);
/// What nobody may set, because the work rests on it.
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
];

/// Errors: the group is not there on one of these topics.
pub async fn known(admin: &Client, operation: &'static str, topics: &[Described], group: &str) -> Result<()> {
    let places: Vec<_> = topics.iter().flat_map(places::partitions).collect();
    let committed = admin.committed(&About::group(operation, group), group, Some(&places), false).await?;
    match topics.iter().find(|topic| !committed.iter().any(|at| *at.topic == *topic.name)) {
        None => Ok(()),
        Some(Described { name: topic, .. }) => {
            let subject = format!("group {group} on {topic}");
            let hint = format!("evcat groups list; to make it: evcat groups create {group} {topic}");
            Err(Error::new(Kind::NotFound, operation, subject, "does not exist").with_hint(hint))
        }
    }
}

/// A client that is becoming a member, and its queue. `partitions`: as many have the topics, all of which may be ours.
pub fn begin(
    kafka: &Kafka,
    topics: &[Name],
    group: &Name,
    options: &SubscribeOptions,
    partitions: usize,
) -> Result<(Client, Queue)> {
    let defaults = defaults(&kafka.settings, options, partitions);
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
fn defaults(
    settings: &Settings,
    options: &SubscribeOptions,
    partitions: usize,
) -> Vec<(&'static str, String)> {
    let ms = |time: Duration| time.as_millis().to_string();
    let share = |all: usize, least: usize| (all / partitions.max(1)).max(least);
    let session = options.lease.clamp(SESSION[0], SESSION[1]);
    let poll = session.max(Duration::from_secs(300)).max(options.grace.saturating_add(GRACE));
    let wait = match options.stop {
        // The end of a partition is told when the broker has waited so long for more.
        Stop::Now => Duration::from_millis(10),
        _ => Duration::from_millis(100),
    };
    let mut defaults = vec![
        ("isolation.level", "read_committed".into()),
        ("check.crcs", "true".into()),
        // What is fetched ahead is memory, of each partition; the library would take 64 MiB, and fetch a MiB more.
        ("queued.max.messages.kbytes", share(AHEAD >> 10, 64).to_string()),
        ("fetch.message.max.bytes", share(AHEAD / 4, 64 << 10).min(1 << 20).to_string()),
        // Each takes some hundred bytes beside its own.
        ("queued.min.messages", share(20_000, 256).to_string()),
        // A queue that was full is filled again a second later, else.
        ("fetch.queue.backoff.ms", "10".into()),
        ("fetch.wait.max.ms", ms(wait)),
        // The others wait so long for us to give up what goes to them.
        ("max.poll.interval.ms", ms(poll.min(Duration::from_secs(86_400)))),
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
pub fn have_ended(admin: &Client, group: &Name, ends: HashMap<(Name, i32), i64>) -> Asked<bool> {
    let (admin, group) = (admin.clone(), group.clone());
    Box::pin(async move {
        let places: Vec<_> = ends.keys().cloned().collect();
        let about = About::group("receive", &group);
        let committed = admin.committed(&about, &group, Some(&places), false).await?;
        let committed: HashMap<_, _> =
            committed.into_iter().map(|at| ((at.topic, at.partition), at.offset)).collect();
        Ok(ends.iter().all(|(place, end)| committed.get(place).copied().unwrap_or(0) >= *end))
    })
}

/// Leaves the group, for which there is time until then. `change` is a rebalance that the library waits with.
pub async fn end(client: &Client, queue: &Queue, change: Option<Change>, until: Instant) {
    // SAFETY: client, queue and lists are live in each of these calls.
    let is_incremental =
        || unsafe { sys::text(sys::rd_kafka_rebalance_protocol(client.raw())) == "COOPERATIVE" };
    // SAFETY: as above.
    let let_go = || unsafe {
        if !is_incremental() {
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
                unsafe {
                    match is_incremental() {
                        true => taken(sys::rd_kafka_incremental_assign(client.raw(), list.raw())),
                        false => sys::assign(client.raw(), list.raw()),
                    }
                };
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
    if timeout_at(until.max(Instant::now() + LEAVE), closed).await.is_err() {
        tracing::debug!("the group was not left; it notices by itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Location, Surroundings};

    #[test]
    fn what_a_member_fetches_ahead_is_bounded_over_all_its_partitions_and_a_long_grace_is_kept() {
        let location = Location { scheme: "kafka".into(), rest: "//h".into() };
        let surroundings = Surroundings {
            clock: std::sync::Arc::new(|| 0),
            timeout: None,
            options: Vec::new(),
            data_dir: std::path::PathBuf::new(),
        };
        let settings = Settings::of(&location, &surroundings).unwrap();
        for (partitions, grace) in [(1, 1), (64, 30), (200, 3600)] {
            let grace = Duration::from_secs(grace);
            let lease = Duration::from_secs(9);
            let options = SubscribeOptions { stop: Stop::Never, in_flight: 16, lease, grace, ordered: true };
            let defaults = defaults(&settings, &options, partitions);
            let number = |name: &str| -> usize {
                defaults.iter().find(|(key, _)| *key == name).unwrap().1.parse().unwrap()
            };
            assert!(number("queued.max.messages.kbytes") * partitions <= 16 << 10, "{partitions}");
            assert!(number("fetch.message.max.bytes") * partitions <= 16 << 20, "{partitions}");
            assert!(number("max.poll.interval.ms") as u128 > grace.as_millis());
        }
    }
}
