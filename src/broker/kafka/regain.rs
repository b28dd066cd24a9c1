//! A partition whose next event is said not to be there.
//!
//! Retention may have taken it. But it seems so too while a broker that was away comes back: one that is behind answers,
//! or librdkafka 2.12 holds the place against an epoch that is not its own ("log truncation detected", and nothing was
//! truncated). The library stops reading then. So the leader is asked, and if it has the place, reading goes on there.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admin::{EARLIEST, LATEST};
use super::client::Client;
use super::desk::{Asked, Desk};
use super::part::{BEGINNING, Part};
use super::partitions::Partitions;
use super::places;
use super::rebalance::taken;
use super::sys::{self, Code};
use super::topics;
use crate::broker::{Error, Kind, Result};
use crate::event::Name;

/// What is said of a partition that may be there all the same. Also that there is no such topic: a broker that has just come
/// up may not know it yet.
pub const MAY_BE_THERE: &[Code] = &[
    Code::LOCAL_AUTO_OFFSET_RESET,
    Code::OFFSET_OUT_OF_RANGE,
    Code::UNKNOWN_TOPIC_OR_PART,
    Code::LOCAL_UNKNOWN_TOPIC,
    Code::LOCAL_UNKNOWN_PARTITION,
];

/// How long until the leader is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// The name of a partition, and whether reading can go on.
pub type Doubted = Pin<Box<dyn Future<Output = (u64, Result<()>)> + Send>>;

/// Asks the leader for as long as we have patience.
pub fn ask(client: &Client, group: &Name, name: u64, part: &Part) -> Doubted {
    let (client, group) = (client.clone(), group.clone());
    let (place, next) = ([(part.topic.clone(), part.number)], part.place());
    Box::pin(async move {
        let is_there = if next == BEGINNING { Ok(()) } else { is_there(&client, &group, &place, next).await };
        (name, is_there)
    })
}

async fn is_there(client: &Client, group: &Name, place: &[(Name, i32)], next: i64) -> Result<()> {
    const OPERATION: &str = "receive";
    let end = client.timeout().map(|timeout| Instant::now() + timeout);
    loop {
        let (first, last) = tokio::join!(
            places::ask(client, OPERATION, place, EARLIEST),
            places::ask(client, OPERATION, place, LATEST),
        );
        let is_early = end.is_none_or(|end| Instant::now() < end);
        let (first, last) = match (first, last) {
            (Ok(first), Ok(last)) => (first[0].offset, last[0].offset),
            (Err(error), _) | (_, Err(error)) if error.kind() == Kind::NotFound && is_early => {
                sleep(AGAIN).await;
                continue;
            }
            (first, last) => (first?[0].offset, last?[0].offset),
        };
        let message = match (next < first, next <= last) {
            (true, _) => "events were dropped by retention before the group had settled them".to_owned(),
            (_, true) => return Ok(()),
            _ if is_early => {
                // One that has just become the leader does not know at once how far the others are.
                sleep(AGAIN).await;
                continue;
            }
            _ => format!("was cut off at {last}, and the group was at {next}"),
        };
        let subject = format!("topic {} partition {}", place[0].0, place[0].1);
        let hint =
            format!("to go on with what is left: evcat groups seek {group} {} --from beginning", place[0].0);
        return Err(Error::new(Kind::Gone, OPERATION, subject, message).with_hint(hint));
    }
}

/// Asks for topics of which one is said not to be there for as long as we have patience: a broker that has just come up may
/// not know it yet.
pub fn topics(client: &Client, names: &[Name]) -> Asked<()> {
    let (client, names) = (client.clone(), names.to_vec());
    Box::pin(async move {
        let end = client.timeout().map(|timeout| Instant::now() + timeout);
        loop {
            match topics::existing(&client, "receive", &names).await {
                Err(error)
                    if error.kind() == Kind::NotFound && end.is_none_or(|end| Instant::now() < end) =>
                {
                    sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
                // The library learns it by an answer about the brokers, of which it asks for one in minutes only.
                Ok(_) => {
                    client.who_answers().await;
                    return Ok(());
                }
            }
        }
    })
}

impl Desk {
    /// Goes on with a partition, or says why not.
    pub fn regain(&mut self, name: u64, is_there: Result<()>) {
        let Some(part) = self.parts.get_mut(&name) else { return };
        if let Err(error) = is_there {
            return self.fail(error);
        }
        if self.change.is_some() {
            // The library waits for an answer about all of them.
            self.doubted.push(Box::pin(async move {
                sleep(AGAIN).await;
                (name, Ok(()))
            }));
            return;
        }
        part.doubted = false;
        let only = self.is_incremental().then_some(name);
        let mut places = Partitions::new(self.parts.len());
        // The queues of the partitions stay as they are.
        for (_, part) in self.parts.iter().filter(|(name, _)| only.is_none_or(|only| only == **name)) {
            places.add(&part.topic, part.number, part.place(), b"");
        }
        if only.is_some() {
            // SAFETY: client and list are live.
            let code = unsafe { taken(sys::rd_kafka_incremental_unassign(self.client.raw(), places.raw())) };
            self.check(code);
        }
        self.take_over(&places);
        // A rebalance that began meanwhile took that for our answer, and what was to go may be somebody else's already.
        self.hasty = true;
        self.serve();
        self.hasty = false;
    }
}
