//! Commits of a member: one at a time, some in a second, each with all that changed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::error::Trouble;
use super::part::Part;
use super::partitions::{self, Partitions};
use super::queue::Queue;
use super::sys::{self, Code};

/// The least time from one to the next. What is settled first after a pause is committed at once.
const PACE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Commits {
    client: Client,
    /// Where the answers come.
    queue: Queue,
    /// One is on its way.
    under_way: bool,
    /// Not before this.
    next: Instant,
}

impl Commits {
    /// None so far.
    pub fn new(client: &Client) -> Commits {
        let queue = client.queue();
        Commits { client: client.clone(), queue, under_way: false, next: Instant::now() }
    }

    /// When the next one is to be made, if one is.
    pub fn due(&self, parts: &BTreeMap<u64, Part>) -> Option<Instant> {
        (!self.under_way && parts.values().any(|part| part.dirty)).then_some(self.next)
    }

    /// Whether all that was settled of these is committed.
    pub fn is_clean<'a>(&self, mut parts: impl Iterator<Item = &'a Part>) -> bool {
        !self.under_way && parts.all(|part| !part.dirty)
    }

    /// Commits what changed. `now`: without regard to the pace.
    pub fn commit(&mut self, parts: &mut BTreeMap<u64, Part>, now: bool) -> Result<(), Trouble> {
        if self.under_way || (!now && self.next > Instant::now()) {
            return Ok(());
        }
        let mut list = Partitions::new(parts.len());
        let mut count = 0;
        for part in parts.values_mut().filter(|part| part.dirty) {
            list.add(&part.topic, part.number, part.holes.base(), part.holes.text().as_bytes());
            part.dirty = false;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        self.next = Instant::now() + PACE;
        // SAFETY: the client is a member of a group; all live.
        match unsafe { sys::commit(self.client.raw(), list.raw(), self.queue.raw()) } {
            Code::OK => {
                self.under_way = true;
                Ok(())
            }
            code => {
                parts.values_mut().for_each(|part| part.dirty = true);
                Err(Trouble::of(code))
            }
        }
    }

    /// Takes the answer, if it has come. What was not committed is to be committed again. Errors: why it was not.
    pub fn answered(&mut self, parts: &mut BTreeMap<u64, Part>) -> Result<(), Trouble> {
        let mut failed = None;
        while let Some(event) = self.queue.poll() {
            if event.kind() != sys::RD_KAFKA_EVENT_OFFSET_COMMIT {
                continue;
            }
            self.under_way = false;
            let whole = event.trouble();
            // SAFETY: the list lives as long as the event.
            for at in unsafe { partitions::iter(sys::rd_kafka_event_topic_partition_list(event.raw())) } {
                let trouble = match at.code {
                    Code::OK => whole.clone(),
                    code => Some(Trouble::of(code)),
                };
                let Some(trouble) = trouble else { continue };
                let part =
                    parts.values_mut().find(|part| part.number == at.partition && *part.topic == *at.topic);
                if let Some(part) = part {
                    part.dirty = true;
                }
                failed = Some(trouble);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits until an answer may have come. Cancel safe.
    pub async fn wait(&self) {
        self.queue.filled().await;
    }
}
