//! Commits of a member: one at a time, each with all that was settled while the one before was on its way. So none waits
//! for another, and there are as many in a second as the broker answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::error::Trouble;
use super::holes::LONGEST;
use super::part::Part;
use super::partitions::{self, Partitions};
use super::queue::Queue;
use super::sys::{self, Code};

/// From one that failed to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Commits {
    client: Client,
    /// Where the answers come.
    queue: Queue,
    /// How many there were.
    made: u64,
    /// One is on its way.
    under_way: bool,
    /// Not before this.
    next: Instant,
    /// When the last one was sent.
    sent: Instant,
    /// When the first one was sent that failed since one did not.
    failing: Option<Instant>,
    /// As much of a text as this broker takes.
    longest: usize,
}

impl Commits {
    /// None so far.
    pub fn new(client: &Client) -> Commits {
        let queue = client.queue();
        let now = Instant::now();
        Commits {
            client: client.clone(),
            queue,
            made: 0,
            under_way: false,
            next: now,
            sent: now,
            failing: None,
            longest: LONGEST,
        }
    }

    /// How many were made: what is settled now is in one behind them.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// When the next one is to be made, if one is.
    pub fn due(&self, parts: &BTreeMap<u64, Part>) -> Option<Instant> {
        (!self.under_way && parts.values().any(|part| part.dirty)).then_some(self.next)
    }

    /// For how long none has succeeded that was asked for.
    pub fn failing_for(&self) -> Duration {
        self.failing.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether all that was settled of these is committed.
    pub fn is_clean<'a>(&self, mut parts: impl Iterator<Item = &'a Part>) -> bool {
        !self.under_way && parts.all(|part| !part.dirty)
    }

    /// Commits what changed.
    pub fn commit(&mut self, parts: &mut BTreeMap<u64, Part>) -> Result<(), Trouble> {
        if self.under_way || self.next > Instant::now() {
            return Ok(());
        }
        let mut list = Partitions::new(parts.len());
        let mut count = 0;
        for part in parts.values_mut().filter(|part| part.dirty) {
            list.add(&part.topic, part.number, part.holes.base(), part.holes.text(self.longest).as_bytes());
            part.dirty = false;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        self.made += 1;
        self.sent = Instant::now();
        // SAFETY: the client is a member of a group; all live.
        match unsafe { sys::commit(self.client.raw(), list.raw(), self.queue.raw()) } {
            Code::OK => {
                self.under_way = true;
                Ok(())
            }
            code => {
                parts.values_mut().for_each(|part| part.dirty = true);
                self.failed();
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
                let part =
                    parts.values_mut().find(|part| part.number == at.partition && *part.topic == *at.topic);
                match (trouble, part) {
                    (None, Some(part)) => part.committed = self.made,
                    (None, None) => {}
                    (Some(trouble), part) => {
                        part.into_iter().for_each(|part| part.dirty = true);
                        failed = Some(trouble);
                    }
                }
            }
            self.failing = self.failing.filter(|_| failed.is_some());
        }
        if failed.as_ref().is_some_and(|trouble| trouble.code == Code::OFFSET_METADATA_TOO_LARGE)
            && self.longest > 0
        {
            // Without a text what is settled beyond the base comes again after a restart.
            self.longest = if self.longest > 64 { self.longest / 2 } else { 0 };
            return Ok(());
        }
        if failed.is_some() {
            self.failed();
        }
        failed.map_or(Ok(()), Err)
    }

    fn failed(&mut self) {
        self.next = Instant::now() + PAUSE;
        self.failing.get_or_insert(self.sent);
    }

    /// Waits until an answer may have come. Cancel safe.
    pub async fn wait(&self) {
        self.queue.filled().await;
    }
}
