//! Where partitions end now: that a tail has caught up is only known from the broker, who may have more than was fetched.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::super::admin::LATEST;
use super::super::client::Client;
use super::super::places;
use super::lane::Lane;
use super::lifeline::deleted;
use crate::broker::Result;

/// The next question waits this many times as long as the last one took: a topic to which events trickle is not asked
/// after each of them.
const REST: u32 = 20;

/// A question whose answer is an end for each of some lanes.
type Asking = BoxFuture<'static, Result<Vec<(usize, i64)>>>;

/// The ends of lanes, asked for when they are needed.
pub struct Ends {
    client: Client,
    asking: Option<Asking>,
    asked: Instant,
    /// Not before.
    next: Instant,
    known: bool,
}

impl Ends {
    /// Not asked for yet.
    pub fn new(client: &Client) -> Ends {
        let now = Instant::now();
        Ends { client: client.clone(), asking: None, asked: now, next: now, known: false }
    }

    /// Whether they were asked for and answered since they were [forgotten](Ends::forget).
    pub fn are_known(&self) -> bool {
        self.known
    }

    /// Something has changed: what is known, or being asked, is no longer enough.
    pub fn forget(&mut self) {
        (self.known, self.asking) = (false, None);
    }

    /// Asks for the ends of those of these lanes that are not held, unless they are known or asked for.
    pub fn ask(&mut self, lanes: &[Lane]) {
        if self.known || self.asking.is_some() {
            return;
        }
        let free = lanes.iter().enumerate().filter(|(_, lane)| !lane.held);
        let (which, asked): (Vec<_>, Vec<_>) =
            free.map(|(at, lane)| (at, (lane.topic.clone(), lane.partition))).unzip();
        let (client, next) = (self.client.clone(), self.next);
        self.asked = next.max(Instant::now());
        let ask = async move {
            sleep_until(next).await;
            let ends = places::ask(&client, "read", &asked, LATEST).await.map_err(deleted)?;
            Ok(which.into_iter().zip(ends.into_iter().map(|end| end.offset)).collect())
        };
        self.asking = Some(ask.boxed());
    }

    /// The answer, by lane; never, where nothing is asked. Behaviour: cancel safe.
    pub async fn answer(&mut self) -> Result<Vec<(usize, i64)>> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let answer = asking.await;
        let now = Instant::now();
        let took: Duration = now.saturating_duration_since(self.asked);
        (self.asking, self.known, self.next) = (None, true, now + took * REST);
        answer
    }
}
