//! What a member has in hand: what arrived, was handed out, released or lost. Pure but for the lock: the time is handed
//! over.
//!
//! A delivery is ours until a time that is counted here, from before the service was asked: Pub/Sub says of a lease that
//! ended nothing at all, and takes an ack of it without a word.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{PubsubMessage, ReceivedMessage};
use tokio::time::Instant;

use crate::broker::{Delivery, Error, Received, Result, Token};
use crate::event::{Batch, Extra, HeadersBuf, Millis, Name};

use super::message;

/// Where a dead letter was published before, found through the subscription that it names.
pub const SOURCE_TOPIC: &str = "dead_letter_source_topic";

/// The shortest lease that the service knows, and the pause behind it.
const COMES_AGAIN: Duration = Duration::from_secs(11);
/// See [`COMES_AGAIN`].
const LEAST_LEASE: Duration = Duration::from_secs(10);
/// So long after it answered, what a server has had to say has come.
const ANSWERED: Duration = Duration::from_millis(200);

/// A subscription that is worked on.
pub struct Source {
    /// What its events say they are from.
    pub topic: Name,
    /// Its whole name.
    pub subscription: String,
}

/// A message that arrived.
pub struct Arrived {
    /// As it came.
    pub received: ReceivedMessage,
    /// Of a dead letter: see [`SOURCE_TOPIC`].
    pub source_topic: Option<String>,
}

/// A message that is ours.
struct Held {
    source: usize,
    ack_id: String,
    id: String,
    key: String,
    until: Instant,
    /// Kept from everybody until we leave.
    released: bool,
}

struct Waiting {
    source: usize,
    arrived: Arrived,
    until: Instant,
}

/// Which ack id of which source.
pub type Ack = (usize, String);

/// All of it.
pub struct Desk {
    pub sources: Vec<Source>,
    in_flight: usize,
    lease: Duration,
    /// Whether the end is near: only what was published until then is handed out.
    stop: Option<Millis>,
    quiet: Duration,
    ordered: bool,
    /// What has arrived and is not settled, by its source and id: the token that it has, or will have.
    known: HashMap<(usize, String), Token>,
    ready: BTreeMap<Token, Waiting>,
    held: BTreeMap<Token, Held>,
    /// Behind the stop: given back when we leave.
    beyond: BTreeMap<Token, Waiting>,
    lost: Vec<Token>,
    failed: Option<Error>,
    in_hand: usize,
    /// Released, or behind the stop, since the streams began: so much of their windows will not come free again.
    stuck: usize,
    tokens: u64,
    /// When something happened last, or is still to happen.
    last: Instant,
    /// When the server answered a question that was asked after that.
    answered: Option<Instant>,
}

impl Desk {
    /// Nothing in hand.
    pub fn new(
        sources: Vec<Source>,
        in_flight: usize,
        lease: Duration,
        stop: Option<Millis>,
        quiet: Duration,
        ordered: bool,
    ) -> Desk {
        Desk {
            sources,
            in_flight: in_flight.max(1),
            lease,
            stop,
            quiet,
            ordered,
            known: HashMap::new(),
            ready: BTreeMap::new(),
            held: BTreeMap::new(),
            beyond: BTreeMap::new(),
            lost: Vec::new(),
            failed: None,
            in_hand: 0,
            stuck: 0,
            tokens: 0,
            last: Instant::now(),
            answered: None,
        }
    }

    /// The service handed these over.
    pub fn arrived(&mut self, source: usize, many: Vec<Arrived>, now: Instant) {
        let until = now + self.lease;
        for arrived in many {
            let Some(message) = &arrived.received.message else { continue };
            let late = message::published(message).zip(self.stop).is_some_and(|(at, stop)| at > stop);
            if !late {
                // What lies behind the stop never ends on a topic that is never quiet.
                self.stir(now);
            }
            let known = (source, message.message_id.clone());
            if let Some(token) = self.known.get(&known) {
                // It comes again while it is here: the newest name of it is the one that counts.
                if let Some(held) = self.held.get_mut(token) {
                    held.ack_id = arrived.received.ack_id;
                } else if let Some(waiting) = self.ready.get_mut(token).or(self.beyond.get_mut(token)) {
                    waiting.arrived.received.ack_id = arrived.received.ack_id;
                    waiting.until = until;
                }
                continue;
            }
            self.tokens += 1;
            let token = Token(self.tokens);
            self.known.insert(known, token);
            let waiting = Waiting { source, arrived, until };
            match late {
                true => {
                    self.stuck += 1;
                    self.beyond.insert(token, waiting);
                }
                false => drop(self.ready.insert(token, waiting)),
            }
        }
    }

    /// Something happened that more may follow, or will not before then.
    pub fn stir(&mut self, at: Instant) {
        self.last = self.last.max(at);
        self.answered = None;
    }

    /// A stream broke. What was under way on it is ours for the service, and comes again when that lease is over.
    pub fn broke(&mut self, lease: Duration, now: Instant) {
        self.stir(now + lease + COMES_AGAIN - LEAST_LEASE);
    }

    /// The server answered, and nothing has happened since it was asked, at `asked`.
    pub fn answered(&mut self, asked: Instant, now: Instant) {
        if self.last <= asked {
            self.answered = Some(now);
        }
    }

    /// Whether so much waits here that no more is wanted.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= self.in_flight
    }

    /// It cannot go on; said once all else was.
    pub fn fail(&mut self, error: Error) {
        self.failed = Some(error);
    }

    /// When it is quiet for long enough, if nothing happens before.
    pub fn end(&self) -> Option<Instant> {
        let open = self.stop.is_none() || self.in_hand > 0 || !self.ready.is_empty() || self.failed.is_some();
        (!open).then(|| self.answered.map_or(self.last + self.quiet, |at| at + ANSWERED))
    }

    /// Whether it is quiet for so long that the server is to be asked if it is there: one that hangs, and one that is out
    /// of reach, is silent too.
    pub fn is_to_ask(&self, now: Instant) -> bool {
        self.answered.is_none() && self.end().is_some_and(|end| end <= now)
    }

    /// What is to be said now, if anything is.
    pub fn say(&mut self, now: Instant) -> Option<Result<Received>> {
        if !self.lost.is_empty() {
            self.lost.sort_unstable();
            return Some(Ok(Received::Lost(std::mem::take(&mut self.lost))));
        }
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let deliveries = self.hand_out(now);
        if !deliveries.is_empty() {
            return Some(Ok(Received::Deliveries(deliveries)));
        }
        let over = self.answered.is_some() && self.end().is_some_and(|end| end <= now);
        over.then_some(Ok(Received::End))
    }

    fn hand_out(&mut self, now: Instant) -> Vec<Delivery> {
        let (mut batch, mut scratch, mut more) = (Batch::default(), HeadersBuf::default(), Vec::new());
        while self.in_hand < self.in_flight
            && let Some((token, Waiting { source, arrived, until })) = self.ready.pop_first()
        {
            let Arrived { received, source_topic } = arrived;
            let Some(message) = received.message else { continue };
            let PubsubMessage { message_id: id, ordering_key: key, .. } = &message;
            if until <= now {
                // Slept over: it comes again by itself.
                self.known.remove(&(source, id.clone()));
                continue;
            }
            self.in_hand += 1;
            message::push(&mut batch, &self.sources[source].topic, &message, &mut scratch);
            let (id, key, ack_id) = (id.clone(), key.clone(), received.ack_id);
            self.held.insert(token, Held { source, ack_id, id, key, until, released: false });
            let attempt = u32::try_from(received.delivery_attempt).ok().filter(|attempt| *attempt > 0);
            more.push((token, attempt, source_topic));
        }
        let events = batch.finish();
        let with =
            |(event, (token, attempt, source_topic)): (&crate::event::Event, (Token, _, Option<String>))| {
                let event = match source_topic {
                    Some(topic) => {
                        event.clone().with_extra(Extra { properties: vec![(SOURCE_TOPIC.to_owned(), topic)] })
                    }
                    None => event.clone(),
                };
                Delivery { event, token, attempt }
            };
        events.iter().zip(more).map(with).collect()
    }

    /// Whether a token is ours still; else it is lost from now on, and with it what is behind it in its key.
    pub fn holds(&mut self, token: Token, now: Instant) -> bool {
        match self.held.get(&token) {
            Some(held) if held.released => false,
            Some(held) if held.until > now => true,
            Some(_) => {
                self.lose(token, now);
                false
            }
            None => false,
        }
    }

    /// It is no longer ours. Answers what is given up with it.
    pub fn lose(&mut self, token: Token, now: Instant) -> Vec<Ack> {
        if self.held.get(&token).is_none_or(|held| held.released) {
            return Vec::new();
        }
        let Some(Held { source, key, .. }) = self.let_go(token) else { return Vec::new() };
        // It comes again before the end, when the service has found out too.
        self.stir(now + COMES_AGAIN);
        self.lost.push(token);
        if !self.ordered || key.is_empty() {
            return Vec::new();
        }
        let behind = |(_, one): &(&Token, &Held)| one.source == source && one.key == key && !one.released;
        let later: Vec<Token> = self.held.range(token..).filter(behind).map(|(other, _)| *other).collect();
        self.lost.extend(&later);
        let held = later.into_iter().filter_map(|other| self.let_go(other));
        let mut with_it: Vec<Ack> = held.map(|held| (held.source, held.ack_id)).collect();
        with_it.extend(self.take_back(|waiting| waiting.source == source && waiting.key() == key));
        with_it
    }

    /// What was handed out, and is not in hand any more.
    fn let_go(&mut self, token: Token) -> Option<Held> {
        let held = self.held.remove(&token)?;
        self.known.remove(&(held.source, held.id.clone()));
        self.in_hand -= usize::from(!held.released);
        Some(held)
    }

    /// What waits and is such is not handed out.
    fn take_back(&mut self, is_such: impl Fn(&Waiting) -> bool) -> Vec<Ack> {
        let such = self.ready.extract_if(.., |_, waiting| is_such(waiting));
        let mut acks = Vec::new();
        for (_, waiting) in such {
            self.known.remove(&(waiting.source, waiting.id().to_owned()));
            acks.push((waiting.source, waiting.arrived.received.ack_id));
        }
        acks
    }

    /// Not handed out again while we are here; given back when we leave.
    pub fn release(&mut self, token: Token, now: Instant) {
        self.stir(now);
        if let Some(held) = self.held.get_mut(&token) {
            held.released = true;
            self.in_hand -= 1;
            self.stuck += 1;
        }
    }

    /// Whether the streams have so little of their windows left that new ones are needed.
    pub fn needs_streams(&mut self) -> bool {
        let needs = self.stuck * 2 >= self.in_flight;
        if needs {
            self.stuck = 0;
        }
        needs
    }

    /// What a token is acked by.
    pub fn ack_of(&self, token: Token) -> Option<Ack> {
        self.held.get(&token).map(|held| (held.source, held.ack_id.clone()))
    }

    /// Settled.
    pub fn settled(&mut self, token: Token, now: Instant) {
        self.stir(now);
        self.let_go(token);
    }

    /// When the first lease of what was handed out ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.held.values().filter(|held| !held.released).map(|held| held.until).min()
    }

    /// Loses what is over. Answers what is given up with it.
    pub fn expire(&mut self, now: Instant) -> Vec<Ack> {
        let over = |(_, held): &(&Token, &Held)| !held.released && held.until <= now;
        let tokens: Vec<Token> = self.held.iter().filter(over).map(|(token, _)| *token).collect();
        tokens.into_iter().flat_map(|token| self.lose(token, now)).collect()
    }

    /// Whether something was lost that nobody has heard of: who does not listen takes nothing.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// What waits of a source, which is not wanted now.
    pub fn give_back_waiting(&mut self, source: usize) -> Vec<Ack> {
        self.take_back(|waiting| waiting.source == source)
    }

    /// Ours for another lease, counted from `now`.
    pub fn extended(&mut self, tokens: &[Token], now: Instant) {
        for token in tokens {
            if let Some(held) = self.held.get_mut(token) {
                held.until = now + self.lease;
            }
        }
    }

    /// What nobody but us knows of, and must stay ours: what waits, what was released, what is behind the stop.
    pub fn kept(&self) -> Vec<Ack> {
        let waiting = self.ready.values().chain(self.beyond.values());
        let released = self.held.values().filter(|held| held.released);
        waiting
            .map(|waiting| (waiting.source, waiting.arrived.received.ack_id.clone()))
            .chain(released.map(|held| (held.source, held.ack_id.clone())))
            .collect()
    }

    /// They are ours for another lease, counted from `now`.
    pub fn kept_on(&mut self, now: Instant) {
        let until = now + self.lease;
        self.ready.values_mut().for_each(|waiting| waiting.until = until);
    }

    /// All that is open, in the order it came, and nothing in hand any more.
    pub fn give_back(&mut self) -> Vec<Ack> {
        let held = std::mem::take(&mut self.held).into_values().map(|held| (held.source, held.ack_id));
        let waiting = [&mut self.ready, &mut self.beyond].map(std::mem::take).into_iter().flatten();
        self.known.clear();
        self.in_hand = 0;
        held.chain(waiting.map(|(_, waiting)| (waiting.source, waiting.arrived.received.ack_id))).collect()
    }
}

impl Waiting {
    fn id(&self) -> &str {
        self.arrived.received.message.as_ref().map_or("", |message| &message.message_id)
    }

    fn key(&self) -> &str {
        self.arrived.received.message.as_ref().map_or("", |message| &message.ordering_key)
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
