//! Rebalances of a member: what comes, what goes, and what was lost.
//!
//! The library waits with a rebalance until we say that it may go on. That is how what goes stays ours until it is
//! finished and committed: the next owner does not begin before.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::admin::Committed;
use super::desk::{Asked, Desk};
use super::error::{About, Trouble};
use super::holes::Holes;
use super::part::Part;
use super::partitions::{self, Partitions};
use super::queue::Event;
use super::regain;
use super::sys::{self, Code};
use crate::broker::{Error, Kind, Received, Result, Token};
use crate::event::Name;

/// The longest a commit is waited for before partitions go; and all of it before we leave.
pub const COMMIT: Duration = Duration::from_secs(4);

/// The longest that the library's own thread is waited for, in ms: it answers at once, unless the machine is very busy. What
/// was fetched before counts no more from the call on, whether it was answered or not.
const SEEK: i32 = 100;

/// What is being done about a rebalance.
pub enum Change {
    /// These come; where they begin was asked.
    Coming {
        /// Topics and numbers.
        list: Vec<(Name, i32)>,
        /// What the group committed, of all it has.
        committed: Asked<Vec<Committed>>,
    },
    /// These go.
    Going {
        /// Topics and numbers.
        list: Vec<(Name, i32)>,
        /// Ours among them.
        parts: Vec<u64>,
        /// What of them is still out then is lost, and then what is not committed comes again.
        until: Instant,
        /// Only the commit is waited for.
        finished: bool,
    },
}

impl Change {
    /// What was asked for it.
    pub fn asked(&mut self) -> Option<&mut Asked<Vec<Committed>>> {
        match self {
            Change::Coming { committed, .. } => Some(committed),
            Change::Going { .. } => None,
        }
    }

    /// When it goes on though nothing happens.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Change::Coming { .. } => None,
            Change::Going { until, .. } => Some(*until),
        }
    }

    /// The partitions.
    pub fn list(&self) -> &[(Name, i32)] {
        match self {
            Change::Coming { list, .. } | Change::Going { list, .. } => list,
        }
    }
}

impl Desk {
    /// Begins with what a rebalance says.
    pub fn rebalanced(&mut self, event: &Event) {
        // SAFETY: the list lives as long as the event.
        let list = unsafe { partitions::iter(sys::rd_kafka_event_topic_partition_list(event.raw())) };
        let list: Vec<(Name, i32)> = list.map(|at| (at.topic.into(), at.partition)).collect();
        let code = event.trouble().map(|trouble| trouble.code);
        tracing::debug!(?code, ?list, group = %self.group, "rebalance");
        if code == Some(Code::LOCAL_ASSIGN_PARTITIONS) {
            let (admin, group, places) = (self.admin.clone(), self.group.clone(), list.clone());
            let committed = Box::pin(async move {
                admin.committed(&About::group("receive", &group), &group, Some(&places), true).await
            });
            self.change = Some(Change::Coming { list, committed });
            return;
        }
        let is_going =
            |part: &Part| list.iter().any(|(topic, number)| part.topic == *topic && part.number == *number);
        let parts: Vec<u64> =
            self.parts.iter().filter(|(_, part)| is_going(part)).map(|(name, _)| *name).collect();
        // SAFETY: the client is live.
        if self.hasty || unsafe { sys::rd_kafka_assignment_lost(self.client.raw()) } != 0 {
            self.lose(&parts);
            self.part_with(&parts);
            self.let_go(&list);
            return;
        }
        for name in &parts {
            if let Some(part) = self.parts.get_mut(name) {
                part.leaves = true;
            }
        }
        let tokens = self.tokens_of(&parts);
        if !tokens.is_empty() {
            self.tell(Ok(Received::Revoking(tokens)));
        }
        let until = Instant::now() + self.grace;
        self.change = Some(Change::Going { list, parts, until, finished: false });
    }

    /// Goes on with what is being done.
    pub fn follow(&mut self) {
        let Some(Change::Going { parts, until, finished, .. }) = &mut self.change else { return };
        let now = Instant::now();
        if !*finished {
            let is_out = self.held.values().any(|slot| parts.contains(&slot.part));
            if is_out && *until > now {
                return;
            }
            (*until, *finished) = (now + COMMIT, true);
            let parts = parts.clone();
            self.lose(&parts);
        }
        let Some(Change::Going { parts, until, .. }) = &self.change else { return };
        let going = || parts.iter().filter_map(|name| self.parts.get(name));
        if !self.commits.is_clean(going()) && *until > now {
            // Where that fails it is tried again, after a pause.
            if let Err(trouble) = self.commits.commit(&mut self.parts) {
                tracing::debug!(?trouble, "not committed");
            }
            return;
        }
        if let Some(Change::Going { list, parts, .. }) = self.change.take() {
            self.part_with(&parts);
            self.let_go(&list);
            let kept: Vec<u64> = self.parts.keys().copied().collect();
            self.read_on(&kept);
        }
    }

    /// They are not ours any more, and what of them waits for a commit is answered.
    fn part_with(&mut self, parts: &[u64]) {
        self.answer();
        parts.iter().for_each(|name| drop(self.parts.remove(name)));
        self.answer();
    }

    /// What comes is ours from now on.
    pub fn assigned(&mut self, committed: Result<Vec<Committed>>) {
        let Some(Change::Coming { list, .. }) = self.change.take() else { return };
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                self.change = Some(Change::Coming { list, committed: Box::pin(std::future::pending()) });
                return self.fail(error);
            }
        };
        let mut places = Partitions::new(list.len());
        let kept: Vec<u64> = self.parts.keys().copied().collect();
        for (topic, number) in list {
            let known = committed.iter().find(|at| at.topic == topic && at.partition == number);
            // Every partition got a place when the group was made. One that has none is new: it begins at its beginning.
            let place = known.map(|at| Holes::read(at.offset, &at.metadata));
            // One that was added since has nothing that is wanted.
            let end = |ends: &HashMap<_, _>| ends.get(&(topic.clone(), number)).copied().unwrap_or(0);
            let stop = self.ends.as_ref().map(end);
            let Some(queue) = self.client.partition_queue(&topic, number, &self.wake) else { continue };
            let name = self.mint();
            let part = Part::new(topic, number, place, queue, stop);
            places.add(&part.topic, number, part.place(), b"");
            self.parts.insert(name, part);
        }
        self.joined = true;
        self.take_over(&places);
        self.read_on(&kept);
    }

    /// Has those that stay read on from where we are.
    ///
    /// The library (2.12) throws away what it has fetched of them while it waits for us, and with it the word that one of
    /// them cannot be read on, which it says once.
    fn read_on(&mut self, kept: &[u64]) {
        if kept.is_empty() || !self.is_incremental() {
            return;
        }
        let mut places = Partitions::new(kept.len());
        let parts = kept.iter().filter_map(|name| Some((*name, self.parts.get(name)?)));
        let parts: HashMap<(Name, i32), u64> =
            parts.map(|(name, part)| ((part.topic.clone(), part.number), name)).collect();
        for part in parts.values().filter_map(|name| self.parts.get(name)) {
            places.add(&part.topic, part.number, part.place(), b"");
        }
        // SAFETY: client and list are live. Waits for the library's own thread, never for the broker.
        unsafe { taken(sys::rd_kafka_seek_partitions(self.client.raw(), places.raw(), SEEK)) };
        // SAFETY: the list is live.
        for at in unsafe { partitions::iter(places.raw()) }.filter(|at| at.code != Code::OK) {
            let name = parts.get(&(at.topic.into(), at.partition));
            if let Some((name, part)) = name.and_then(|name| Some((*name, self.parts.get_mut(name)?))) {
                part.doubted = true;
                self.doubted.push(regain::ask(&self.client, &self.group, name, part));
            }
        }
    }

    /// Those are no longer ours, and were not given up in order.
    fn lose(&mut self, parts: &[u64]) {
        let tokens = self.tokens_of(parts);
        for token in &tokens {
            if let Some(slot) = self.held.remove(token) {
                self.bytes -= slot.bytes;
            }
        }
        if !tokens.is_empty() {
            self.tell(Ok(Received::Lost(tokens)));
        }
    }

    fn tokens_of(&self, parts: &[u64]) -> Vec<Token> {
        let held = self.held.iter().filter(|(_, slot)| parts.contains(&slot.part));
        let mut tokens: Vec<Token> = held.map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        tokens
    }

    pub fn take_over(&mut self, places: &Partitions) {
        // SAFETY: client and list are live.
        let code = unsafe {
            match self.is_incremental() {
                true => taken(sys::rd_kafka_incremental_assign(self.client.raw(), places.raw())),
                false => sys::assign(self.client.raw(), places.raw()),
            }
        };
        self.check(code);
    }

    fn let_go(&mut self, list: &[(Name, i32)]) {
        let mut places = Partitions::new(list.len());
        list.iter().for_each(|(topic, number)| places.add(topic, *number, 0, b""));
        // SAFETY: client and list are live; null takes all.
        let code = unsafe {
            match self.is_incremental() {
                true => taken(sys::rd_kafka_incremental_unassign(self.client.raw(), places.raw())),
                false => sys::assign(self.client.raw(), std::ptr::null()),
            }
        };
        self.check(code);
    }

    pub fn is_incremental(&self) -> bool {
        // SAFETY: the client is live; answers a static text.
        unsafe { sys::text(sys::rd_kafka_rebalance_protocol(self.client.raw())) == "COOPERATIVE" }
    }

    pub fn check(&mut self, code: Code) {
        // The library itself has gone on meanwhile, and says so next.
        if code != Code::OK && code != Code::LOCAL_STATE {
            let error = Trouble::of(code).error(&self.about(), &self.client);
            self.fail(error);
        }
    }

    /// Commits all that is settled, before we leave.
    pub async fn commit_last(&mut self) -> Result<()> {
        let until = Instant::now() + COMMIT;
        let mut failed = None;
        while !self.commits.is_clean(self.parts.values()) {
            let committed = self.commits.commit(&mut self.parts);
            let due = self.commits.due(&self.parts).unwrap_or(until);
            if Instant::now() >= until {
                break;
            }
            let waited = timeout_at(due.min(until), self.commits.wait()).await;
            let answered = self.commits.answered(&mut self.parts);
            failed = committed.and(answered).err().or(failed.filter(|_| waited.is_err()));
        }
        if self.commits.is_clean(self.parts.values()) {
            return Ok(());
        }
        let about = About::group("close", &self.group);
        Err(match failed {
            Some(trouble) => trouble.error(&about, &self.client),
            None => {
                Error::new(Kind::Unreachable, about.operation, about.subject, "no answer to the last commit")
            }
        }
        .with_hint("what was settled last comes again"))
    }
}

/// The code of an answer that is ours to free.
///
/// # Safety
/// `error` must be null or live, and nobody else's.
pub unsafe fn taken(error: *mut sys::rd_kafka_error_t) -> Code {
    // SAFETY: the caller's.
    unsafe {
        let code = sys::error_code(error);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        code
    }
}
