//! Members: how they join and leave, what they hold and lose, and how a delivery ends.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use evcat::broker::{Error, Kind, Receipt, Received, Result, Settlement, Stop, SubscribeOptions, Token};
use evcat::event::{Name, Position};
use tokio::time::Instant;

use super::Shape;
use super::queue::{RUN, State};
use super::store::Store;

/// A member at work.
pub struct MemberState {
    /// Topics and groups.
    pub sources: Vec<(Name, Name)>,
    pub options: SubscribeOptions,
    pub held: HashMap<Token, Held>,
    pub said: VecDeque<Received>,
    /// Nothing published after this is delivered.
    pub stop: Option<u64>,
    /// Queues: how many events were there when it joined with `Stop::Now`; more are not delivered.
    pub budget: Option<usize>,
    /// Of those, what was delivered to it.
    pub seen: HashSet<u64>,
    /// When it last called.
    pub heard: Instant,
    /// Not expelled from its groups.
    pub joined: bool,
    /// Its process went without closing.
    pub died: bool,
    /// A run over dead letters has begun to settle.
    pub writes: bool,
}

/// A delivery that is out.
#[derive(Clone)]
pub struct Held {
    pub topic: Name,
    pub group: Name,
    pub serial: u64,
    /// The end of its lease.
    pub until: Instant,
}

impl MemberState {
    pub fn works_on(&self, topic: &Name, group: &Name) -> bool {
        self.sources.iter().any(|(t, g)| t == topic && g == group)
    }
}

impl Shape {
    /// Whether every delivery has a lease of its own.
    pub fn leases(self) -> bool {
        matches!(self, Shape::Lease | Shape::Fifo)
    }
}

impl Store {
    /// A new member. Errors: there is no such topic or group, or retention has overtaken it.
    pub fn join(&mut self, sources: Vec<(Name, Name)>, options: SubscribeOptions) -> Result<u64> {
        let mut there = 0;
        for (topic, group) in &sources {
            there += self.queue("subscription", topic, group)?.items.len();
            self.has_kept_up(topic, group)?;
        }
        let stop = match &options.stop {
            Stop::Never => None,
            Stop::Now => Some(self.now()),
            Stop::At(_) => {
                let message = "a subscription here ends now or never";
                return Err(Error::new(Kind::Unsupported, "subscription", "", message));
            }
        };
        let id = self.mint();
        let member = MemberState {
            sources: sources.clone(),
            budget: stop.and((self.shape != Shape::Log).then_some(there)),
            options,
            held: HashMap::new(),
            said: VecDeque::new(),
            stop,
            seen: HashSet::new(),
            heard: Instant::now(),
            joined: true,
            died: false,
            writes: false,
        };
        self.members.insert(id, member);
        sources.iter().for_each(|(topic, group)| self.rebalance(topic, group));
        Ok(id)
    }

    /// Gives back all that it holds, and what it released.
    pub fn leave(&mut self, id: u64) {
        self.lose_all(id);
        let Some(member) = self.members.remove(&id) else { return };
        for (topic, group) in &member.sources {
            if let Ok(queue) = self.queue("close", topic, group) {
                queue.free_released(id, None);
            }
            if group.starts_with(RUN)
                && let Some(topic) = self.topics.get_mut(topic)
            {
                topic.groups.remove(group);
            }
            self.rebalance(topic, group);
        }
    }

    /// Refuses to go on where retention dropped what was not settled: never a silent jump.
    pub fn has_kept_up(&mut self, topic: &str, group: &str) -> Result<()> {
        match self.queue("receive", topic, group)?.fell_behind {
            false => Ok(()),
            true => {
                let message = "events were dropped before they were settled";
                Err(Error::new(Kind::Gone, "receive", format!("group {group} of topic {topic}"), message)
                    .with_hint(format!("evcat groups seek {group} {topic} --to earliest")))
            }
        }
    }

    /// It calls, so it lives; a log takes it in again if it had been expelled.
    pub fn hear(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.heard = Instant::now();
        if !std::mem::replace(&mut member.joined, true) {
            for (topic, group) in member.sources.clone() {
                self.rebalance(&topic, &group);
            }
        }
    }

    /// Ends leases, memberships and revocations whose time is over.
    pub fn pass_time(&mut self) {
        let now = Instant::now();
        let members: Vec<u64> = self.members.keys().copied().collect();
        for id in members {
            let member = &self.members[&id];
            let silent = member.heard + member.options.lease <= now;
            if member.died && (silent || self.shape == Shape::Push) {
                self.leave(id);
            } else if self.shape.leases() {
                let over = member.held.iter().filter(|(_, held)| held.until <= now);
                self.lose(id, over.map(|(token, _)| *token).collect());
            } else if self.shape == Shape::Log && member.joined && silent {
                self.expel(id);
            }
        }
        self.finish_moves();
    }

    fn expel(&mut self, id: u64) {
        self.lose_all(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.joined = false;
        member.said.retain(|said| !matches!(said, Received::Revoking(_)));
        for (topic, group) in member.sources.clone() {
            self.rebalance(&topic, &group);
        }
    }

    /// All that it holds is void. RabbitMQ: its channel closed.
    pub fn lose_all(&mut self, id: u64) {
        let Some(member) = self.members.get(&id) else { return };
        self.lose(id, member.held.keys().copied().collect());
    }

    /// No longer its own, and free for others.
    pub fn lose(&mut self, id: u64, mut tokens: Vec<Token>) {
        if self.shape == Shape::Fifo {
            self.add_later_ones(id, &mut tokens);
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        tokens.retain(|token| {
            let Some(held) = member.held.remove(token) else { return false };
            let queue = self.topics.get_mut(&held.topic).and_then(|topic| topic.groups.get_mut(&held.group));
            if let Some(item) = queue.and_then(|queue| queue.items.get_mut(&held.serial)) {
                item.free();
            }
            true
        });
        if !tokens.is_empty() {
            member.said.push_back(Received::Lost(tokens));
        }
    }

    /// With a delivery goes what its member holds of the same key, which must not overtake it.
    fn add_later_ones(&self, id: u64, tokens: &mut Vec<Token>) {
        let Some(member) = self.members.get(&id) else { return };
        let key = |token: &Token| {
            let held = member.held.get(token)?;
            let item = self.topics.get(&held.topic)?.groups.get(&held.group)?.items.get(&held.serial)?;
            item.event.key().map(<[u8]>::to_vec)
        };
        let keys: HashSet<_> = tokens.iter().filter_map(key).collect();
        let more = member.held.keys().filter(|token| key(token).is_some_and(|key| keys.contains(&key)));
        let more: Vec<_> = more.filter(|token| !tokens.contains(token)).copied().collect();
        tokens.extend(more);
    }

    /// Ends one delivery.
    pub fn settle(&mut self, id: u64, token: Token, how: Settlement) -> Result<Option<Receipt>> {
        if self.refuse > 0 {
            self.refuse -= 1;
            return Err(Error::new(Kind::Broken, "settle", "simulated", "it could not be written"));
        }
        if !self.settled.insert(token) {
            self.settled_twice.push(token);
        }
        let lost = || Error::new(Kind::Lost, "settle", "simulated", "somebody else has it");
        let held =
            self.members.get(&id).and_then(|member| member.held.get(&token)).cloned().ok_or_else(lost)?;
        let unsupported =
            |what: &str| Err(Error::new(Kind::Unsupported, "settle", held.topic.to_string(), what));
        let mut receipt = None;
        match how {
            Settlement::Release => {
                self.end(id, token, |member| State::Released { member });
                return Ok(None);
            }
            Settlement::Retry(wait) => {
                let longest = self.shape.capabilities(&held.topic).retry_delay;
                if longest.is_none_or(|longest| wait > longest) {
                    self.settled.remove(&token);
                    return unsupported("it cannot hold a retry back for so long");
                }
                self.end(id, token, |_| State::Waiting { from: Instant::now() + wait });
                return Ok(None);
            }
            Settlement::Move { only: Some(_), .. } => {
                self.settled.remove(&token);
                return unsupported("an event goes to every group here, not to one alone");
            }
            Settlement::Move { event, only: None } => {
                self.claim_letter(id, token, &held)?;
                receipt = Some(self.publish(&event, Duration::ZERO)?);
            }
            Settlement::Ack => self.claim_letter(id, token, &held)?,
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.held.remove(&token);
        }
        if let Some(item) = self.queue("settle", &held.topic, &held.group)?.items.remove(&held.serial) {
            self.last_settled = Some((held.topic, held.group, held.serial, item));
        }
        Ok(receipt)
    }

    /// Takes a delivery from its member without settling it.
    fn end(&mut self, id: u64, token: Token, state: impl Fn(u64) -> State) {
        let counts_releases = self.shape.leases();
        let Some(held) = self.members.get_mut(&id).and_then(|member| member.held.remove(&token)) else {
            return;
        };
        let Ok(queue) = self.queue("settle", &held.topic, &held.group) else { return };
        if let Some(item) = queue.items.get_mut(&held.serial) {
            item.state = state(id);
            let is_released = matches!(item.state, State::Released { .. });
            item.handed_out -= u32::from(is_released && !counts_releases);
        }
    }

    /// A run over dead letters notes what it settles. The first note of a run fences every other one; what another one
    /// settled before that is lost.
    fn claim_letter(&mut self, id: u64, token: Token, held: &Held) -> Result<()> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if !held.group.starts_with(RUN) {
            return Ok(());
        }
        let first = !std::mem::replace(&mut member.writes, true);
        let topic = self.topic("settle", &held.topic)?;
        if first {
            topic.fence = id;
        }
        let position: Option<Position> = topic
            .groups
            .get(&held.group)
            .and_then(|q| q.items.get(&held.serial))
            .map(|i| i.event.position().clone());
        if topic.fence == id && position.is_some_and(|position| topic.settled.insert(position)) {
            return Ok(());
        }
        let lost = Error::new(Kind::Lost, "settle", held.topic.to_string(), "another run has settled it");
        self.end(id, token, |member| State::Released { member });
        Err(lost)
    }
}
