//! What a member has in hand: what was received, handed out, released or lost. Pure: the time is handed in.
//!
//! A message is ours until its lease ends. That is known here a little before the queue acts on it, so that nobody works
//! on, deletes or puts back what is already somebody else's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::receive::Taken;
use crate::broker::{Delivery, Error, Received, Token};
use crate::event::Name;

/// So much later than promised a queue may hand out again what is no longer hidden.
const LATE: Duration = Duration::from_secs(5);

/// A queue that is worked on.
#[derive(Clone)]
pub struct Source {
    /// What its events say they are from.
    pub topic: Name,
    /// Its URL.
    pub url: Arc<str>,
    /// How many more are taken; `None`: whatever comes.
    pub left: Option<u64>,
}

/// A message of ours.
pub struct Held {
    /// Which queue.
    pub source: usize,
    /// What it is settled by.
    pub handle: String,
    until: Instant,
    group: Option<String>,
    released: bool,
}

/// What is to be said to a queue of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Which queue.
    pub source: usize,
    /// Which message.
    pub handle: String,
    /// Who works on it, if anybody does.
    pub token: Option<Token>,
}

/// All of it.
pub struct Desk {
    /// The queues.
    pub sources: Vec<Source>,
    in_flight: usize,
    lease: Duration,
    ready: VecDeque<(usize, Taken, Instant)>,
    held: BTreeMap<Token, Held>,
    lost: Vec<Token>,
    /// Later ones of a key that was lost: to be given up.
    given_up: Vec<Ticket>,
    failed: Option<Error>,
    in_hand: usize,
    /// Asked for and not here yet.
    coming: usize,
    /// What is hidden, and comes again, has come by then.
    hidden_until: Option<Instant>,
    tokens: u64,
}

impl Desk {
    /// Nothing in hand. `lease`: for how long what is received is ours.
    pub fn new(sources: Vec<Source>, in_flight: usize, lease: Duration) -> Desk {
        Desk {
            sources,
            in_flight: in_flight.max(1),
            lease,
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            lost: Vec::new(),
            given_up: Vec::new(),
            failed: None,
            in_hand: 0,
            coming: 0,
            hidden_until: None,
            tokens: 0,
        }
    }

    /// What the way of an answer may take.
    fn margin(&self) -> Duration {
        (self.lease / 8).min(Duration::from_secs(2))
    }

    /// The end of a lease that begins now, less that.
    fn until(&self, from: Instant) -> Instant {
        from + self.lease - self.margin()
    }

    /// Something comes again at this time.
    fn hidden(&mut self, until: Instant) {
        let until = until + LATE;
        self.hidden_until = Some(self.hidden_until.map_or(until, |other| other.max(until)));
    }

    /// How many may be asked of a queue now; they are counted as coming.
    pub fn ask(&mut self, source: usize, most: usize) -> usize {
        let room = self.in_flight.saturating_sub(self.in_hand + self.ready.len() + self.coming);
        let left =
            self.sources[source].left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let ask = room.min(most).min(left.saturating_sub(self.coming));
        self.coming += ask;
        ask
    }

    /// These came, of so many that were asked for.
    pub fn came(&mut self, source: usize, asked: usize, taken: Vec<Taken>) {
        self.coming -= asked;
        if let Some(left) = &mut self.sources[source].left {
            *left = left.saturating_sub(taken.len() as u64);
        }
        for one in taken {
            let until = self.until(one.at);
            self.ready.push_back((source, one, until));
        }
    }

    /// No more comes of this queue before its stop: somebody else had the rest.
    pub fn is_empty(&mut self, source: usize) {
        if let Some(left) = &mut self.sources[source].left {
            *left = 0;
        }
    }

    /// Whether a queue's stop is not reached, while nothing of it can be in sight: nothing is in hand or waits for its
    /// retry.
    pub fn waits_for(&self, source: usize, now: Instant) -> bool {
        self.sources[source].left.is_some_and(|left| left > 0)
            && self.in_hand == 0
            && self.ready.is_empty()
            && self.hidden_until.is_none_or(|until| until <= now)
    }

    /// Whether some of a queue are kept from coming again to us.
    pub fn has_released(&self) -> bool {
        self.held.values().any(|held| held.released)
    }

    /// It cannot go on; said once all else was.
    pub fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    /// What is to be said now, if anything is.
    pub fn say(&mut self, now: Instant) -> Option<crate::broker::Result<Received>> {
        self.lapse(now);
        if !self.lost.is_empty() {
            return Some(Ok(Received::Lost(std::mem::take(&mut self.lost))));
        }
        let deliveries = self.hand_out();
        if !deliveries.is_empty() {
            return Some(Ok(Received::Deliveries(deliveries)));
        }
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let over = self.in_hand == 0 && self.sources.iter().all(|source| source.left == Some(0));
        over.then_some(Ok(Received::End))
    }

    /// When the next lease ends of what somebody works on.
    pub fn next_lapse(&self) -> Option<Instant> {
        self.held.values().filter(|held| !held.released).map(|held| held.until).min()
    }

    /// What was not extended in time is no longer ours.
    fn lapse(&mut self, now: Instant) {
        let late: Vec<Token> =
            self.held.iter().filter(|(_, held)| held.until <= now).map(|(token, _)| *token).collect();
        late.into_iter().for_each(|token| self.lose(token, now));
        // What nobody has seen comes again, and nobody needs to hear of it.
        let mut back = Vec::new();
        self.ready.retain(|(source, _, until)| {
            let ours = *until > now;
            if !ours {
                back.push(*source);
            }
            ours
        });
        for source in back {
            self.hidden(now + self.margin());
            self.comes_again(source);
        }
    }

    fn comes_again(&mut self, source: usize) {
        if let Some(left) = &mut self.sources[source].left {
            *left += 1;
        }
    }

    /// It is somebody else's by now, or nobody's; with it the later ones of its key.
    pub fn lose(&mut self, token: Token, now: Instant) {
        let Some(held) = self.held.remove(&token) else { return };
        if held.released {
            return;
        }
        self.hidden(held.until + self.margin());
        self.in_hand -= 1;
        self.comes_again(held.source);
        self.lost.push(token);
        let Some(group) = held.group else { return };
        let same = |source: usize, other: Option<&String>| source == held.source && other == Some(&group);
        let later: Vec<Token> = self
            .held
            .range(token..)
            .filter(|(_, other)| same(other.source, other.group.as_ref()))
            .map(|(token, _)| *token)
            .collect();
        for token in later {
            if let Some(other) = self.held.remove(&token) {
                // One that is over too may be somebody else's by now, and to give it up would take it from them.
                if other.until > now {
                    self.given_up.push(Ticket { source: other.source, handle: other.handle, token: None });
                }
                self.comes_again(other.source);
                if !other.released {
                    self.in_hand -= 1;
                    self.lost.push(token);
                }
            }
        }
        let (gone, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.ready)
            .into_iter()
            .partition(|(source, taken, _)| same(*source, taken.group.as_ref()));
        self.ready = stay;
        for (source, taken, until) in gone {
            if until > now {
                self.given_up.push(Ticket { source, handle: taken.handle, token: None });
            }
            self.comes_again(source);
        }
    }

    /// What is to be given back because an earlier one of its key was lost.
    pub fn given_up(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.given_up)
    }

    fn hand_out(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while self.in_hand < self.in_flight
            && let Some((source, taken, until)) = self.ready.pop_front()
        {
            self.tokens += 1;
            self.in_hand += 1;
            let token = Token(self.tokens);
            let Taken { event, handle, receives, group, at: _ } = taken;
            self.held.insert(token, Held { source, handle, until, group, released: false });
            deliveries.push(Delivery { event, token, attempt: receives });
        }
        deliveries
    }

    /// What is ours still, to settle it.
    pub fn ticket(&self, token: Token, now: Instant) -> Option<Ticket> {
        let held = self.held.get(&token).filter(|held| !held.released && held.until > now)?;
        Some(Ticket { source: held.source, handle: held.handle.clone(), token: Some(token) })
    }

    /// Not handed out again while we are here; given back when we leave.
    pub fn release(&mut self, token: Token) {
        if let Some(held) = self.held.get_mut(&token).filter(|held| !held.released) {
            held.released = true;
            self.in_hand -= 1;
        }
    }

    /// It is deleted.
    pub fn settled(&mut self, token: Token) {
        if self.held.remove(&token).is_some() {
            self.in_hand -= 1;
        }
    }

    /// It comes again after this.
    pub fn retried(&mut self, token: Token, at: Instant) {
        if let Some(held) = self.held.remove(&token) {
            self.in_hand -= 1;
            self.comes_again(held.source);
            self.hidden(at);
        }
    }

    /// Its lease begins again.
    pub fn extended(&mut self, ticket: &Ticket, from: Instant) {
        let until = self.until(from);
        if let Some(held) = ticket.token.and_then(|token| self.held.get_mut(&token)) {
            held.until = until;
        } else if let Some(ready) = self.ready.iter_mut().find(|(_, taken, _)| taken.handle == ticket.handle)
        {
            ready.2 = until;
        }
    }

    /// What nobody works on, whose lease is ours to extend.
    pub fn kept(&self) -> Vec<Ticket> {
        let released = self.held.iter().filter(|(_, held)| held.released).map(|(token, held)| Ticket {
            source: held.source,
            handle: held.handle.clone(),
            token: Some(*token),
        });
        let ready = self.ready.iter().map(|(source, taken, _)| Ticket {
            source: *source,
            handle: taken.handle.clone(),
            token: None,
        });
        released.chain(ready).collect()
    }

    /// All that is not settled, to be given back.
    pub fn leave(&mut self) -> Vec<Ticket> {
        let held = std::mem::take(&mut self.held);
        let ready = std::mem::take(&mut self.ready);
        self.in_hand = 0;
        let ticket = |source, handle| Ticket { source, handle, token: None };
        let held = held.into_values().map(|held| ticket(held.source, held.handle));
        let ready = ready.into_iter().map(|(source, taken, _)| ticket(source, taken.handle));
        held.chain(ready).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Headers, Position};

    const LEASE: Duration = Duration::from_secs(8);

    fn desk(left: Option<u64>, in_flight: usize) -> Desk {
        let source = Source { topic: "t".into(), url: "u".into(), left };
        Desk::new(vec![source], in_flight, LEASE)
    }

    fn come(desk: &mut Desk, at: Instant, groups: &[&str]) {
        let asked = desk.ask(0, groups.len());
        let taken = groups.iter().take(asked).enumerate().map(|(i, group)| {
            let event =
                Event::new(&"t".into(), None, Headers::default(), Some(b"p"), None, Position::Unknown);
            let group = (!group.is_empty()).then(|| (*group).to_owned());
            Taken { event, handle: format!("h{i}{group:?}"), receives: Some(1), group, at }
        });
        desk.came(0, asked, taken.collect());
    }

    fn tokens(desk: &mut Desk, now: Instant) -> Vec<Token> {
        match desk.say(now) {
            Some(Ok(Received::Deliveries(all))) => all.into_iter().map(|delivery| delivery.token).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_more_is_asked_for_than_may_be_in_hand_and_come_before_the_stop() {
        let now = Instant::now();
        let mut desk = desk(Some(3), 2);
        assert_eq!((desk.ask(0, 10), desk.ask(0, 10)), (2, 0));
        desk.came(0, 2, Vec::new());
        come(&mut desk, now, &["", "", ""]);
        let first = tokens(&mut desk, now);
        assert_eq!((first.len(), desk.ask(0, 10)), (2, 0));
        desk.settled(first[0]);
        desk.release(first[1]);
        assert_eq!(desk.ask(0, 10), 1, "one more before the stop");
        desk.came(0, 1, Vec::new());
        desk.is_empty(0);
        assert!(matches!(desk.say(now), Some(Ok(Received::End))));
        assert_eq!(desk.leave().len(), 1);
    }

    #[test]
    fn what_is_not_extended_is_lost_before_its_lease_ends_and_with_it_what_follows_of_its_key() {
        let now = Instant::now();
        let mut desk = desk(None, 10);
        come(&mut desk, now, &["a", "b", "a"]);
        let held = tokens(&mut desk, now);
        let (a, b) = (desk.ticket(held[0], now).unwrap(), desk.ticket(held[1], now).unwrap());
        assert_ne!(a, b);
        let later = now + LEASE / 2;
        for token in [held[1], held[2]] {
            let ticket = desk.ticket(token, now).unwrap();
            desk.extended(&ticket, later);
        }
        match desk.say(now + LEASE - Duration::from_millis(900)) {
            Some(Ok(Received::Lost(lost))) => assert_eq!(lost, [held[0], held[2]]),
            other => panic!("{other:?}"),
        }
        assert_eq!(desk.given_up().len(), 1);
        assert!(desk.ticket(held[1], now + LEASE).is_some());
        assert!(desk.ticket(held[2], now + LEASE).is_none());
    }

    #[test]
    fn what_somebody_else_may_have_by_now_is_not_given_up() {
        let now = Instant::now();
        let mut desk = desk(None, 10);
        come(&mut desk, now, &["a", "a"]);
        assert_eq!(tokens(&mut desk, now).len(), 2);
        let over = now + LEASE;
        assert!(matches!(desk.say(over), Some(Ok(Received::Lost(lost))) if lost.len() == 2));
        assert_eq!(desk.given_up(), [], "its lease is over as well");
    }

    #[test]
    fn the_end_waits_for_a_retry() {
        let now = Instant::now();
        let mut desk = desk(Some(1), 1);
        come(&mut desk, now, &[""]);
        let held = tokens(&mut desk, now);
        let at = now + Duration::from_secs(3);
        desk.retried(held[0], at);
        assert!(desk.say(now).is_none());
        assert!(!desk.waits_for(0, now) && !desk.waits_for(0, at) && desk.waits_for(0, at + LATE));
    }
}
