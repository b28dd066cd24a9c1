//! What a member has in hand: what was delivered, handed out, released or lost. Pure but for the lock.
//!
//! A delivery tag means something on its channel alone: with the channel all that is in hand is void.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::broker::{Delivery, Error, Received, Token};
use crate::event::{Batch, HeadersBuf, Name, Position};

use super::message;

/// A queue that is worked on.
pub struct Source {
    /// What its events say they are from.
    pub topic: Name,
    /// Its name.
    pub queue: String,
    /// Whether its events are dead letters, which need a name to be chosen by.
    pub letters: bool,
    /// How many more are handed out; `None`: whatever comes.
    pub left: Option<u64>,
}

/// A delivery of ours.
struct Held {
    tag: u64,
    source: usize,
    released: bool,
    /// Of a dead letter.
    name: Option<Position>,
}

/// All of it.
pub struct Desk {
    pub sources: Vec<Source>,
    in_flight: usize,
    ready: VecDeque<(usize, lapin::message::Delivery)>,
    held: HashMap<Token, Held>,
    /// Dead letters that were released before the channel was lost, by their names: how many of each come again and are
    /// not to be handed out again.
    put_away: HashMap<Position, usize>,
    /// Tags of this channel that are not settled, in hand or not.
    open: BTreeSet<u64>,
    lost: Vec<Token>,
    failed: Option<Error>,
    in_hand: usize,
    /// Released since the consumers were made: so much of their windows will not come free again.
    stuck: usize,
    tokens: u64,
}

impl Desk {
    /// Nothing in hand.
    pub fn new(sources: Vec<Source>, in_flight: usize) -> Desk {
        Desk {
            sources,
            in_flight: in_flight.max(1),
            ready: VecDeque::new(),
            held: HashMap::new(),
            put_away: HashMap::new(),
            open: BTreeSet::new(),
            lost: Vec::new(),
            failed: None,
            in_hand: 0,
            stuck: 0,
            tokens: 0,
        }
    }

    /// The server delivered this.
    pub fn delivered(&mut self, source: usize, delivery: lapin::message::Delivery) {
        self.open.insert(delivery.delivery_tag);
        self.ready.push_back((source, delivery));
    }

    /// The channel is gone and all that was delivered on it is void. What was handed out comes again, also what was
    /// released: so much more comes before the stop.
    pub fn cut(&mut self) {
        self.ready.clear();
        self.open.clear();
        self.stuck = 0;
        for (token, held) in self.held.drain() {
            if let Some(left) = &mut self.sources[held.source].left {
                *left += 1;
            }
            match (held.released, held.name) {
                (false, _) => self.lost.push(token),
                (true, Some(name)) => *self.put_away.entry(name).or_default() += 1,
                (true, None) => {}
            }
        }
        self.lost.sort_unstable();
        self.in_hand = 0;
    }

    /// How many the server would give to others if we left.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether something was lost that nobody has heard of.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// What was lost and nobody has heard of; from now on somebody has.
    pub fn take_lost(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.lost)
    }

    /// It cannot go on; said once all else was.
    pub fn fail(&mut self, error: Error) {
        self.failed = Some(error);
    }

    /// No more comes of this queue before its stop: somebody else had the rest.
    pub fn is_empty(&mut self, source: usize) {
        if let Some(left) = &mut self.sources[source].left {
            *left = 0;
        }
    }

    /// The queues whose stop is not reached, while nothing of them is in sight.
    pub fn waiting_for(&self) -> Vec<usize> {
        let quiet =
            self.in_hand == 0 && self.ready.iter().all(|(source, _)| self.sources[*source].left == Some(0));
        let waits = |source: &Source| source.left.is_some_and(|left| left > 0);
        (0..self.sources.len()).filter(|at| quiet && waits(&self.sources[*at])).collect()
    }

    /// What is to be said now, if anything is.
    pub fn say(&mut self) -> Option<crate::broker::Result<Received>> {
        if !self.lost.is_empty() {
            return Some(Ok(Received::Lost(self.take_lost())));
        }
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        loop {
            let waiting = self.ready.len();
            let deliveries = self.hand_out();
            if !deliveries.is_empty() {
                return Some(Ok(Received::Deliveries(deliveries)));
            }
            // All that had room was put away: there is room again.
            if self.ready.len() == waiting {
                break;
            }
        }
        let over = self.in_hand == 0 && self.sources.iter().all(|source| source.left == Some(0));
        over.then_some(Ok(Received::End))
    }

    fn hand_out(&mut self) -> Vec<Delivery> {
        let (mut batch, mut scratch, mut taken) = (Batch::default(), HeadersBuf::default(), Vec::new());
        let mut beyond = Vec::new();
        while self.in_hand < self.in_flight
            && let Some((at, delivery)) = self.ready.pop_front()
        {
            let source = &mut self.sources[at];
            match &mut source.left {
                // Behind the stop: the server has it back when we leave.
                Some(0) => {
                    beyond.push((at, delivery));
                    continue;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.tokens += 1;
            self.in_hand += 1;
            let token = Token(self.tokens);
            let held = Held { tag: delivery.delivery_tag, source: at, released: false, name: None };
            self.held.insert(token, held);
            let more = message::push(&mut batch, &source.topic, &delivery, Position::Unknown, &mut scratch);
            taken.push((token, more.extra, source.letters));
        }
        for one in beyond.into_iter().rev() {
            self.ready.push_front(one);
        }
        let events = batch.finish();
        let mut deliveries = Vec::with_capacity(taken.len());
        for (event, (token, extra, letters)) in events.iter().zip(taken) {
            let mut event = event.clone();
            if let Some(extra) = extra {
                event = event.with_extra(extra);
            }
            if letters {
                event = message::named(&event);
                if self.is_put_away(token, event.position()) {
                    continue;
                }
            }
            // What the queue counts is not how often it was tried: what was only in a member's window, and went back
            // when that left, is counted too.
            deliveries.push(Delivery { event, token, attempt: None });
        }
        deliveries
    }

    /// Whether it is a letter that was released before and came again; if so it is released.
    fn is_put_away(&mut self, token: Token, name: &Position) -> bool {
        if let Some(held) = self.held.get_mut(&token) {
            held.name = Some(name.clone());
        }
        let Some(count) = self.put_away.get_mut(name).filter(|count| **count > 0) else { return false };
        *count -= 1;
        self.release(token);
        true
    }

    /// Whether a token is ours still.
    pub fn holds(&self, token: Token) -> bool {
        self.held.get(&token).is_some_and(|held| !held.released)
    }

    /// Not handed out again while we are here; given back when we leave.
    pub fn release(&mut self, token: Token) {
        if let Some(held) = self.held.get_mut(&token).filter(|held| !held.released) {
            held.released = true;
            self.in_hand -= 1;
            self.stuck += 1;
        }
    }

    /// Whether the consumers have so little of their windows left that new ones are needed.
    pub fn needs_consumers(&mut self) -> bool {
        let needs = self.stuck * 2 >= self.in_flight;
        if needs {
            self.stuck = 0;
        }
        needs
    }

    /// Settled: these tags are to be acked. The first, if any, with all before it.
    pub fn settle(&mut self, tokens: &[Token]) -> (Option<u64>, Vec<u64>) {
        let mut tags: BTreeSet<u64> = BTreeSet::new();
        for token in tokens {
            if let Some(held) = self.held.remove(token) {
                tags.insert(held.tag);
                self.in_hand -= 1;
            }
        }
        // All that is open below the first that stays open goes with one word.
        let stays = self.open.iter().find(|tag| !tags.contains(tag)).copied();
        let together: Vec<u64> =
            tags.iter().copied().take_while(|tag| stays.is_none_or(|stays| *tag < stays)).collect();
        for tag in &tags {
            self.open.remove(tag);
        }
        match together.last() {
            Some(last) if together.len() > 1 => {
                (Some(*last), tags.into_iter().filter(|tag| tag > last).collect())
            }
            _ => (None, tags.into_iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(left: Option<u64>, in_flight: usize) -> Desk {
        desk_of(false, left, in_flight)
    }

    fn desk_of(letters: bool, left: Option<u64>, in_flight: usize) -> Desk {
        let source = Source { topic: "t".into(), queue: "t.g".into(), letters, left };
        Desk::new(vec![source], in_flight)
    }

    fn deliver(desk: &mut Desk, tags: std::ops::RangeInclusive<u64>) {
        for tag in tags {
            desk.delivered(
                0,
                lapin::message::Delivery::mock(tag, "t".into(), "k".into(), false, tag.to_string().into()),
            );
        }
    }

    fn tokens(desk: &mut Desk) -> Vec<Token> {
        match desk.say() {
            Some(Ok(Received::Deliveries(all))) => all.into_iter().map(|delivery| delivery.token).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_more_is_in_hand_than_asked_and_the_end_waits_for_it() {
        let mut desk = desk(Some(3), 2);
        deliver(&mut desk, 1..=5);
        let first = tokens(&mut desk);
        assert_eq!(first.len(), 2);
        assert!(desk.say().is_none());
        desk.settle(&first);
        let last = tokens(&mut desk);
        assert_eq!(last.len(), 1, "the fourth lies behind the stop");
        assert!(desk.say().is_none());
        desk.release(last[0]);
        assert!(matches!(desk.say(), Some(Ok(Received::End))));
    }

    #[test]
    fn what_was_cut_is_lost_and_comes_again() {
        let mut desk = desk(Some(2), 5);
        deliver(&mut desk, 1..=2);
        let held = tokens(&mut desk);
        desk.release(held[0]);
        desk.cut();
        match desk.say() {
            Some(Ok(Received::Lost(lost))) => assert_eq!(lost, held[1..]),
            other => panic!("{other:?}"),
        }
        assert!(!desk.holds(held[1]));
        assert_eq!(desk.waiting_for(), [0]);
    }

    #[test]
    fn letters_that_were_released_and_cut_come_again_and_are_not_seen_again() {
        let mut desk = desk_of(true, Some(5), 2);
        deliver(&mut desk, 1..=2);
        tokens(&mut desk).into_iter().for_each(|token| desk.release(token));
        desk.cut();
        assert!(desk.say().is_none(), "nothing of it was lost to whoever released it");
        deliver(&mut desk, 1..=5);
        for rest in [2, 1] {
            let seen = tokens(&mut desk);
            assert_eq!(seen.len(), rest, "3 and 4, then 5");
            desk.settle(&seen);
        }
        assert!(matches!(desk.say(), Some(Ok(Received::End))));
    }

    #[test]
    fn many_are_acked_with_one_word_where_nothing_before_them_is_open() {
        let mut desk = desk(None, 10);
        deliver(&mut desk, 1..=6);
        let held = tokens(&mut desk);
        assert_eq!(desk.settle(&[held[0], held[1], held[3]]), (Some(2), vec![4]));
        assert_eq!(desk.settle(&[held[4], held[5]]), (None, vec![5, 6]), "3 is open");
        assert_eq!(desk.settle(&[held[2]]), (None, vec![3]));
    }
}
