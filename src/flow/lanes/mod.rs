//! The rules of working on events, pure: what happened goes in, what to do comes out.
//!
//! A *lane* handles one event at a time. Events of one *unit* (a key; with another `--ordering` a partition, or the
//! event alone) are handled one after the other, in the order received; a unit whose event failed waits, and holds
//! back its own later events and nobody else's. One whose event died waits until the dead letter is stored: until then
//! the event may have to come again. Among units whose turn it is, the event received first goes first.
//!
//! A handler that takes events as they come ([`Rules::passes`]) has no lanes: events pass in the order received.
//!
//! No clock, no randomness, no broker: the driver passes time in and carries out what comes out.

mod actions;
mod passing;
mod rules;
#[cfg(test)]
mod tests;
mod unit;

pub use actions::{Action, Death, Failure, Reason, Settled, Task, Verdict};
pub use rules::{Backoff, Ordering, Rules};

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use crate::broker::{Delivery, Token};
use passing::Passing;
use unit::{Item, Units};

/// A lane at work.
struct Running {
    unit: u64,
    item: Item,
    /// No longer ours: its end settles nothing.
    lost: bool,
    /// To be broken off then: its lease ends.
    until: Option<Instant>,
    killed: bool,
}

/// The state of the work.
pub struct Lanes {
    rules: Rules,
    random: Box<dyn FnMut() -> f64 + Send>,
    units: Units,
    passing: Passing,
    lanes: Vec<Option<Running>>,
    idle: Vec<usize>,
    /// Units whose turn it is, by when their first event was received. Entries may be stale.
    ready: BinaryHeap<Reverse<(u64, u64)>>,
    /// Units in backoff. Entries may be stale.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Units that wait because [`Rules::limit`] allows no new event.
    parked: Vec<(u64, u64)>,
    /// Units that wait for the dead letter of their first event, by its token: it is in no lane any more.
    burying: HashMap<Token, u64>,
    /// What was behind an event that could not be settled: ours until all of it is given back together.
    left: Vec<Token>,
    /// When the first of what runs may have to be broken off; early, if that has ended since.
    kill_at: Option<Instant>,
    actions: VecDeque<Action>,
    received: u64,
    /// Events that had a first start and may still end as handled, and those that have.
    admitted: u64,
    handled: u64,
    dead_in_a_row: u32,
    stopping: bool,
    ended: bool,
    done: bool,
}

impl Lanes {
    /// `random` answers numbers in `0.0..1.0`, for the backoff.
    pub fn new(rules: Rules, random: impl FnMut() -> f64 + Send + 'static) -> Lanes {
        let lanes = rules.concurrency.max(1);
        Lanes {
            units: Units::new(rules.ordering),
            passing: Passing::default(),
            rules,
            random: Box::new(random),
            lanes: (0..lanes).map(|_| None).collect(),
            idle: (0..lanes).rev().collect(),
            ready: BinaryHeap::new(),
            timers: BinaryHeap::new(),
            parked: Vec::new(),
            burying: HashMap::new(),
            left: Vec::new(),
            kill_at: None,
            actions: VecDeque::new(),
            received: 0,
            admitted: 0,
            handled: 0,
            dead_in_a_row: 0,
            stopping: false,
            ended: false,
            done: false,
        }
    }

    /// What to do next, until there is nothing.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether another delivery is wanted: less than [`Rules::bytes`] are in hand.
    pub fn wants_more(&self) -> bool {
        !self.stopping && self.units.bytes() + self.passing.bytes() < self.rules.bytes
    }

    /// Whether nothing is in hand.
    pub fn is_idle(&self) -> bool {
        let runs = self.idle.len() < self.lanes.len() || !self.passing.is_empty();
        !runs && self.units.is_empty() && self.burying.is_empty()
    }

    /// Every token in hand and not in an [`Action::Settle`]: what a lease must be extended for.
    pub fn tokens(&self) -> Vec<Token> {
        let running = self.lanes.iter().flatten().filter(|running| !running.lost);
        let held = self.units.tokens().chain(self.passing.tokens()).chain(self.left.iter().copied());
        running.map(|running| running.item.token).chain(held).collect()
    }

    /// When [`tick`](Lanes::tick) is wanted at the latest.
    pub fn wake(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        [timer, self.kill_at].into_iter().flatten().min()
    }

    /// Events were handed to us, in order per key.
    pub fn delivered(&mut self, deliveries: impl IntoIterator<Item = (Delivery, Task)>) {
        let (mut passing, mut received) = (Vec::new(), 0);
        for (delivery, task) in deliveries {
            received += 1;
            if self.stopping {
                self.actions.push_back(Action::Settle(delivery.token, Settled::Release));
                continue;
            }
            let seq = self.received;
            self.received += 1;
            if task == Task::Handle && self.passes(&delivery) {
                self.admitted += 1;
                passing.push((delivery, seq));
            } else if let Some(unit) = self.units.add(Item::new(delivery, task, seq)) {
                self.ready.push(Reverse((seq, unit)));
            }
        }
        // A few of many would keep the buffer of all of them.
        if passing.len() * 2 < received {
            passing.iter_mut().for_each(|(delivery, _)| delivery.event = delivery.event.detach());
        }
        self.pass(passing);
        self.pump();
    }

    /// So many more that passed have ended, the oldest.
    pub fn passed(&mut self, count: usize, verdict: &Verdict) {
        let mut passing = std::mem::take(&mut self.passing);
        passing.answered(count, |slot, event| match verdict {
            _ if slot.lost => self.unadmit(),
            Verdict::Ack => {
                self.settle(slot.token, Settled::Ack);
                self.dead_in_a_row = 0;
                self.handled();
            }
            Verdict::Dead(failure) => {
                let delivery = Delivery { event: event.clone(), token: slot.token, attempt: slot.base };
                let mut item = Item::new(delivery, Task::Handle, slot.seq);
                item.tries = 1;
                self.dead(self.units.name(&item), item, failure.clone());
            }
            Verdict::Retry(_) | Verdict::Killed => self.give_back(slot.token, Settled::GiveBack),
            Verdict::Halt(failure) => {
                self.give_back(slot.token, Settled::Release);
                self.stop_because(Reason::Halted(failure.clone()));
            }
        });
        self.passing = passing;
        self.pump();
    }

    /// A lane ended.
    pub fn finished(&mut self, now: Instant, lane: usize, verdict: Verdict) {
        let Some(Running { unit, mut item, lost, until, .. }) =
            self.lanes.get_mut(lane).and_then(Option::take)
        else {
            return;
        };
        self.idle.push(lane);
        let token = item.token;
        if lost {
            self.unadmit();
        } else {
            item.tries += 1;
            match verdict {
                Verdict::Ack => {
                    self.settle(token, Settled::Ack);
                    self.dead_in_a_row = 0;
                    self.handled();
                }
                Verdict::Dead(failure) => {
                    self.dead(unit, item, failure);
                    return self.pump();
                }
                Verdict::Retry(failure) if item.attempt() > self.rules.max_attempts => {
                    self.dead(unit, item, failure);
                    return self.pump();
                }
                Verdict::Retry(failure) if !self.stopping && until.is_none() => {
                    return self.wait(now, unit, item, failure);
                }
                Verdict::Retry(_) | Verdict::Killed => self.give_back(token, Settled::GiveBack),
                Verdict::Halt(failure) => {
                    self.give_back(token, Settled::Release);
                    self.stop_because(Reason::Halted(failure));
                }
            }
        }
        self.advance(unit);
        self.pump();
    }

    /// The broker's last word about an [`Action::Settle`]; wanted for each [`Settled::Dead`]. `is_over`: it is out of our
    /// hands, so that the next event of its unit may begin. Else it comes again to somebody, and what is behind it must
    /// neither begin nor be given back before it: the work has to be stopped, and leaving the group gives all back.
    pub fn settled(&mut self, token: Token, is_over: bool) {
        let Some(unit) = self.burying.remove(&token) else { return };
        if is_over {
            self.advance(unit);
        } else {
            let behind = self.units.remove(unit);
            self.left.extend(behind.into_iter().map(|item| item.token));
        }
        self.pump();
    }

    /// Still ours until then: what has not begun is given back, what runs may end, and is broken off at that time.
    pub fn revoking(&mut self, until: Instant, tokens: &[Token]) {
        for &token in tokens {
            if let Some(item) = self.take(token) {
                self.give_up(item);
            } else if let Some(running) = self.lanes.iter_mut().flatten().find(|r| r.item.token == token) {
                running.until = Some(until);
                self.kill_at = Some(self.kill_at.map_or(until, |at| at.min(until)));
            }
        }
        self.pump();
    }

    /// No longer ours: what runs is broken off, nothing of it is settled.
    pub fn lost(&mut self, tokens: &[Token]) {
        self.left.retain(|token| !tokens.contains(token));
        if !self.passing.is_empty() {
            self.passing.lose(&tokens.iter().copied().collect::<HashSet<_>>());
        }
        for &token in tokens {
            if let Some(item) = self.take(token) {
                if item.tries > 0 {
                    self.unadmit();
                }
            } else if let Some(lane) =
                self.lanes.iter().position(|r| r.as_ref().is_some_and(|r| r.item.token == token))
                && let Some(running) = &mut self.lanes[lane]
            {
                running.lost = true;
                self.kill(lane);
            }
        }
        self.pump();
    }

    /// Time has passed: backoffs end, and what must be broken off is.
    pub fn tick(&mut self, now: Instant) {
        while let Some(&Reverse((at, unit))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            if let Some(seq) = self.units.end_wait(unit, at) {
                self.ready.push(Reverse((seq, unit)));
            }
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].as_ref().is_some_and(|r| r.until.is_some_and(|until| until <= now)) {
                    self.kill(lane);
                }
            }
            let running = self.lanes.iter().flatten();
            self.kill_at = running.filter(|r| !r.killed).filter_map(|r| r.until).min();
        }
        self.pump();
    }

    /// To be called about each second: what has waited since the call before lets go of the batch it came in, or a
    /// bound on the bytes in hand would be none.
    pub fn detach_old(&mut self) {
        self.units.detach_old();
    }

    /// No more is started; what has not begun is given back.
    pub fn stop(&mut self) {
        self.stop_because(Reason::Asked);
        self.pump();
    }

    /// Nothing will be delivered any more; what is in hand is worked off.
    pub fn end(&mut self) {
        self.ended = true;
        self.pump();
    }

    /// Breaks off everything that runs.
    pub fn kill_all(&mut self) {
        (0..self.lanes.len()).for_each(|lane| self.kill(lane));
    }
}

/// The moves behind the inputs.
impl Lanes {
    fn settle(&mut self, token: Token, settled: Settled) {
        self.actions.push_back(Action::Settle(token, settled));
    }

    fn kill(&mut self, lane: usize) {
        if let Some(running) = &mut self.lanes[lane]
            && !running.killed
        {
            running.killed = true;
            self.actions.push_back(Action::Kill(lane));
        }
    }

    fn take(&mut self, token: Token) -> Option<Item> {
        let (item, ready) = self.units.take(token)?;
        self.ready.extend(ready.map(Reverse));
        Some(item)
    }

    /// Gives back what has not begun, or waits for another try.
    fn give_up(&mut self, item: Item) {
        match item.tries {
            0 => self.settle(item.token, Settled::Release),
            _ => self.give_back(item.token, Settled::GiveBack),
        }
    }

    /// Gives back what had begun.
    fn give_back(&mut self, token: Token, how: Settled) {
        self.settle(token, how);
        self.unadmit();
    }

    fn handled(&mut self) {
        self.handled += 1;
        if self.rules.limit.is_some_and(|limit| self.handled >= limit) {
            self.stop_because(Reason::Limit);
        }
    }

    fn unadmit(&mut self) {
        self.admitted -= 1;
        self.ready.extend(self.parked.drain(..).map(Reverse));
    }

    /// After its failed try: another lane's turn, or the broker's.
    fn wait(&mut self, now: Instant, unit: u64, item: Item, failure: Failure) {
        // The try that failed is counted in already.
        let next = item.attempt();
        let wait = self.rules.backoff.wait(next - 1, (self.random)());
        let event = item.event.clone();
        self.actions.push_back(Action::Waiting { event, next, wait, failure });
        let by_broker = self.rules.ordering == Ordering::None
            && item.base.is_some()
            && self.rules.retry_delay.is_some_and(|longest| wait <= longest);
        if by_broker {
            self.give_back(item.token, Settled::Retry(wait));
            self.advance(unit);
        } else {
            self.units.wait(unit, item, now + wait);
            self.timers.push(Reverse((now + wait, unit)));
        }
        self.pump();
    }

    /// Its unit goes on when the dead letter is stored.
    fn dead(&mut self, unit: u64, item: Item, failure: Failure) {
        let attempts = item.attempt() - 1;
        let Item { event, token, .. } = item;
        let death = Box::new(Death { event, attempts, failure });
        if !self.rules.dead_letters {
            self.give_back(token, Settled::Release);
            self.stop_because(Reason::Died(death));
            return self.advance(unit);
        }
        self.burying.insert(token, unit);
        self.settle(token, Settled::Dead(death));
        self.dead_in_a_row += 1;
        self.handled();
        if self.rules.max_dead.is_some_and(|max| self.dead_in_a_row >= max) {
            self.stop_because(Reason::MaxDead(self.dead_in_a_row));
        }
    }

    /// The first event of a unit is out of hand: the next one's turn, or, when no more is started, all of it goes back.
    fn advance(&mut self, unit: u64) {
        if self.stopping {
            for item in self.units.remove(unit) {
                self.give_up(item);
            }
        } else if let Some(seq) = self.units.advance(unit) {
            self.ready.push(Reverse((seq, unit)));
        }
    }

    fn stop_because(&mut self, reason: Reason) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.actions.push_back(Action::Stopping(reason));
        // Behind a running event its later ones stay until it has ended: given back now, another member might begin
        // them first.
        for item in self.units.remove_unstarted() {
            self.give_up(item);
        }
        self.ready.clear();
        self.timers.clear();
        self.parked.clear();
    }

    /// Starts what can be started.
    fn pump(&mut self) {
        while !self.stopping
            && let Some(&Reverse((seq, unit))) = self.ready.peek()
        {
            let Some(item) = self.units.ready(unit, seq) else {
                self.ready.pop();
                continue;
            };
            if item.tries == 0 && self.rules.limit.is_some_and(|limit| self.admitted >= limit) {
                self.ready.pop();
                self.parked.push((seq, unit));
                continue;
            }
            let worn_out = item.attempt() > self.rules.max_attempts;
            if item.task == Task::Handle && !worn_out && self.idle.is_empty() && !self.rules.passes {
                break;
            }
            self.ready.pop();
            let Some(mut item) = self.units.begin(unit) else { continue };
            if item.task == Task::Skip {
                self.settle(item.token, Settled::Skip);
                self.advance(unit);
                continue;
            }
            if item.tries == 0 {
                self.admitted += 1;
            }
            match std::mem::replace(&mut item.task, Task::Handle) {
                Task::Dead(failure) => {
                    item.tries += 1;
                    self.dead(unit, item, *failure);
                }
                _ if worn_out => {
                    // Each time whoever had it went away without a word, perhaps because of it.
                    let what = format!("handed out {} times and never settled", item.attempt() - 1);
                    self.dead(unit, item, Failure::new("unsettled", what));
                }
                _ => self.start(unit, item),
            }
        }
        if (self.stopping || self.ended) && !self.done && self.is_idle() {
            self.done = true;
            self.actions.push_back(Action::Done);
        }
    }

    /// Whether it passes at once: what else was received and has not begun waits for a place below the limit.
    fn passes(&self, delivery: &Delivery) -> bool {
        self.rules.passes
            && self.rules.limit.is_none_or(|limit| self.admitted < limit)
            && delivery.attempt.is_none_or(|attempt| attempt <= self.rules.max_attempts)
    }

    fn pass(&mut self, deliveries: Vec<(Delivery, u64)>) {
        if !deliveries.is_empty() {
            self.actions.push_back(Action::Pass(self.passing.begin(deliveries)));
        }
    }

    fn start(&mut self, unit: u64, item: Item) {
        if self.rules.passes {
            self.advance(unit);
            let Item { event, token, base, seq, .. } = item;
            return self.pass(vec![(Delivery { event, token, attempt: base }, seq)]);
        }
        let Some(lane) = self.idle.pop() else { return };
        let (event, attempt) = (item.event.clone(), item.attempt());
        self.lanes[lane] = Some(Running { unit, item, lost: false, until: None, killed: false });
        self.actions.push_back(Action::Start { lane, event, attempt });
    }
}
