//! Partitions that are added to a topic while it is followed.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::super::admin::EARLIEST;
use super::super::client::Client;
use super::super::places;
use super::super::settings::Settings;
use super::super::topics::existing;
use super::lane::Lane;
use super::lifeline::deleted;
use crate::broker::Result;
use crate::event::Name;

/// How often it is asked, unless the user says so by this property, which says it to the library too.
const EACH: Duration = Duration::from_secs(10);
const PROPERTY: &str = "topic.metadata.refresh.interval.ms";

/// What is asked from time to time.
pub struct Growth {
    client: Client,
    each: Duration,
    topics: Vec<Name>,
    known: HashSet<(Name, i32)>,
    asking: Option<BoxFuture<'static, Result<Vec<Lane>>>>,
}

impl Growth {
    /// Of the topics of these partitions, which are all there are; `None` where the user does not want it.
    pub fn new(client: &Client, settings: &Settings, known: Vec<(Name, i32)>) -> Option<Growth> {
        let each = match settings.given(PROPERTY).and_then(|ms| ms.parse::<i64>().ok()) {
            None => EACH,
            Some(ms @ 1..) => Duration::from_millis(ms as u64),
            Some(_) => return None,
        };
        let mut topics: Vec<Name> = known.iter().map(|(topic, _)| topic.clone()).collect();
        topics.dedup();
        Some(Growth {
            client: client.clone(),
            each,
            topics,
            known: known.into_iter().collect(),
            asking: None,
        })
    }

    fn ask(&self) -> BoxFuture<'static, Result<Vec<Lane>>> {
        let (client, each) = (self.client.clone(), self.each);
        let (topics, known) = (self.topics.clone(), self.known.clone());
        async move {
            sleep(each).await;
            let found = existing(&client, "read", &topics).await.map_err(deleted)?;
            let mut new: Vec<_> = found.iter().flat_map(places::partitions).collect();
            new.retain(|place| !known.contains(place));
            let first = places::ask(&client, "read", &new, EARLIEST).await?;
            // All of it is new.
            let lane = |((topic, partition), first): ((Name, i32), super::super::admin::Offset)| {
                Lane::new(topic, partition, first.offset, None, first.offset)
            };
            Ok(new.into_iter().zip(first).map(lane).collect())
        }
        .boxed()
    }
}

/// Waits until there are new lanes, and answers them at their beginning. Behaviour: cancel safe.
pub async fn grown(growth: &mut Option<Growth>) -> Result<Vec<Lane>> {
    let Some(growth) = growth else { return std::future::pending().await };
    loop {
        if growth.asking.is_none() {
            growth.asking = Some(growth.ask());
        }
        let Some(asking) = &mut growth.asking else { continue };
        let new = asking.await;
        growth.asking = None;
        let new = new?;
        if !new.is_empty() {
            growth.known.extend(new.iter().map(|lane| (lane.topic.clone(), lane.partition)));
            return Ok(new);
        }
    }
}
