use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Event, Headers, Name, Position};

fn event(key: Option<u8>, offset: i64) -> Event {
    let topic: Name = "t".into();
    let mut batch = Batch::default();
    let key = key.map(|key| [key]);
    let key = key.as_ref().map(|key| &key[..]);
    batch.push(&topic, key, Headers::default(), Some(b"payload"), None, Position::Offset(offset));
    batch.finish()[0].clone()
}

fn delivery(token: u64, key: Option<u8>) -> Delivery {
    Delivery { event: event(key, token as i64), token: Token(token), attempt: Some(1) }
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(Vec<(Option<u8>, u8)>),
    Finish(usize, u8),
    Tick(u64),
    Revoke(Vec<usize>),
    Lose(Vec<usize>),
    KillAll,
    Age,
    Bury(usize, bool),
    Stop,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0usize..40, 1..5);
    prop_oneof![
        6 => prop::collection::vec((prop::option::weighted(0.8, 0u8..4), 0u8..12), 1..8).prop_map(Step::Deliver),
        12 => (0usize..8, 0u8..10).prop_map(|(lane, verdict)| Step::Finish(lane, verdict)),
        6 => (0usize..8, prop::bool::weighted(0.95)).prop_map(|(nth, well)| Step::Bury(nth, well)),
        5 => (0u64..3_000).prop_map(Step::Tick),
        1 => some().prop_map(Step::Revoke),
        1 => some().prop_map(Step::Lose),
        1 => Just(Step::KillAll),
        1 => Just(Step::Age),
        1 => Just(Step::Stop),
        1 => Just(Step::End),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let ordering = prop_oneof![Just(Ordering::Key), Just(Ordering::Partition), Just(Ordering::None)];
    let retry_delay = prop::option::of(Just(Duration::from_secs(60)));
    let few = || prop::option::weighted(0.3, 1u32..6);
    let passes = prop::bool::weighted(0.3);
    (1usize..5, passes, ordering, 1u32..4, few(), any::<bool>(), few(), retry_delay).prop_map(
        |(concurrency, passes, ordering, max_attempts, max_dead, dead_letters, limit, retry_delay)| Rules {
            concurrency,
            passes,
            ordering: if passes { Ordering::None } else { ordering },
            max_attempts,
            max_dead,
            dead_letters,
            limit: limit.map(u64::from),
            retry_delay,
            ..Rules::default()
        },
    )
}

/// A world around the lanes that checks every action against what is known.
struct World {
    lanes: Lanes,
    rules: Rules,
    now: Instant,
    keys: HashMap<Token, Option<u8>>,
    /// Delivered and neither settled nor lost.
    open: HashSet<Token>,
    lost: HashSet<Token>,
    /// To be stored as dead letters, and those that could not be.
    dying: Vec<Token>,
    unburied: Vec<Token>,
    running: BTreeMap<usize, Token>,
    /// Handed over without a lane.
    passing: VecDeque<Token>,
    killed: HashSet<usize>,
    tries: HashMap<Token, u32>,
    last_started: HashMap<u8, Token>,
    handled: u64,
    stopping: bool,
    ended: bool,
    done: bool,
}

impl World {
    fn new(rules: Rules) -> World {
        World {
            lanes: Lanes::new(rules.clone(), || 0.5),
            rules,
            now: Instant::now(),
            keys: HashMap::new(),
            open: HashSet::new(),
            lost: HashSet::new(),
            dying: Vec::new(),
            unburied: Vec::new(),
            running: BTreeMap::new(),
            passing: VecDeque::new(),
            killed: HashSet::new(),
            tries: HashMap::new(),
            last_started: HashMap::new(),
            handled: 0,
            stopping: false,
            ended: false,
            done: false,
        }
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        while let Some(action) = self.lanes.next_action() {
            match action {
                Action::Start { lane, event, attempt } => self.started(lane, event, attempt)?,
                Action::Pass(events) => self.pass(&events)?,
                Action::Settle(token, settled) => {
                    prop_assert!(self.open.remove(&token), "{token:?} settled twice, or lost");
                    let runs = self.running.values().chain(&self.passing).any(|t| *t == token);
                    prop_assert!(!runs, "settled while it runs");
                    match settled {
                        Settled::Ack => self.handled += 1,
                        Settled::Dead(death) => {
                            prop_assert!(self.rules.dead_letters);
                            prop_assert!(death.attempts <= self.rules.max_attempts);
                            self.handled += 1;
                            self.dying.push(token);
                        }
                        Settled::Retry(_) => prop_assert_eq!(self.rules.ordering, Ordering::None),
                        Settled::Skip | Settled::Release | Settled::GiveBack => {}
                    }
                }
                Action::Waiting { next, wait, .. } => {
                    prop_assert!(next <= self.rules.max_attempts);
                    prop_assert!(wait >= self.rules.backoff.min && wait <= self.rules.backoff.max);
                    prop_assert!(!self.stopping);
                }
                Action::Kill(lane) => {
                    prop_assert!(self.running.contains_key(&lane), "an idle lane is killed");
                    prop_assert!(self.killed.insert(lane), "killed twice");
                }
                Action::Stopping(_) => {
                    prop_assert!(!self.stopping);
                    self.stopping = true;
                }
                Action::Done => {
                    prop_assert!(!self.done, "done twice");
                    prop_assert!(self.stopping || self.ended);
                    let mut open = self.open.iter();
                    let behind =
                        |token: &Token| self.unburied.iter().any(|t| t < token && self.is_same(t, token));
                    prop_assert!(open.all(behind), "done with work in hand");
                    prop_assert!(
                        self.running.is_empty() && self.passing.is_empty() && self.dying.is_empty(),
                        "done with work under way"
                    );
                    self.done = true;
                }
            }
        }
        if let Some(limit) = self.rules.limit {
            prop_assert!(self.handled <= limit);
        }
        let mut held: Vec<_> = self.lanes.tokens();
        let mut open: Vec<_> = self.open.iter().copied().collect();
        held.sort();
        open.sort();
        prop_assert_eq!(held, open, "what is in hand is what a lease is extended for");
        Ok(())
    }

    fn pass(&mut self, events: &[Event]) -> Result<(), TestCaseError> {
        prop_assert!(self.rules.passes && !self.stopping && !self.done, "passed after the stop");
        for event in events {
            let token = Token(event.position().offset().unwrap() as u64);
            prop_assert!(self.open.contains(&token), "passed what is settled or lost");
            prop_assert!(self.passing.back().is_none_or(|last| *last < token), "out of order");
            self.passing.push_back(token);
        }
        if let Some(limit) = self.rules.limit {
            prop_assert!(self.handled + self.passing.len() as u64 <= limit);
        }
        Ok(())
    }

    fn started(&mut self, lane: usize, event: Event, attempt: u32) -> Result<(), TestCaseError> {
        prop_assert!(!self.rules.passes, "there are no lanes");
        prop_assert!(!self.stopping && !self.done, "started after the stop");
        let token = Token(event.position().offset().unwrap() as u64);
        prop_assert!(self.open.contains(&token), "started what is settled or lost");
        prop_assert!(lane < self.rules.concurrency && !self.running.contains_key(&lane), "a busy lane");
        prop_assert!(!self.running.values().any(|t| *t == token), "twice at a time");
        let tries = self.tries.entry(token).or_default();
        *tries += 1;
        prop_assert_eq!(attempt, *tries);
        prop_assert!(attempt <= self.rules.max_attempts);
        let earlier = self.dying.iter().chain(&self.unburied).find(|t| self.is_same(t, &token));
        prop_assert!(earlier.is_none(), "{token:?} did not wait for the dead letter of {earlier:?}");
        if let (Ordering::Key, Some(key)) = (self.rules.ordering, self.keys[&token]) {
            let same = self.running.values().find(|t| self.keys[t] == Some(key));
            prop_assert!(same.is_none(), "two of one key at a time");
            let last = self.last_started.insert(key, token);
            prop_assert!(last.is_none_or(|last| last <= token), "{token:?} came after {last:?}");
            let earlier = self.open.iter().find(|t| **t < token && self.keys[t] == Some(key));
            prop_assert!(earlier.is_none(), "{token:?} overtook {earlier:?}");
        }
        if self.rules.ordering == Ordering::Partition {
            prop_assert!(self.running.is_empty());
            prop_assert!(!self.open.iter().any(|t| *t < token));
        }
        self.running.insert(lane, token);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Deliver(events) if !self.ended => {
                let mut batch = Vec::new();
                for (key, task) in events {
                    let token = Token(self.keys.len() as u64);
                    self.keys.insert(token, key);
                    self.open.insert(token);
                    let task = match task {
                        0 => Task::Dead(Box::new(Failure::new("filter", "no number"))),
                        1 => Task::Skip,
                        _ => Task::Handle,
                    };
                    batch.push((delivery(token.0, key), task));
                }
                self.lanes.delivered(batch);
            }
            Step::Deliver(_) => {}
            Step::Finish(nth, verdict) if self.rules.passes => {
                let verdict = match verdict {
                    0..=6 => Verdict::Ack,
                    7 => Verdict::Killed,
                    8 => Verdict::Dead(failure()),
                    _ => Verdict::Halt(failure()),
                };
                self.end(nth, &verdict);
            }
            Step::Finish(nth, verdict) => {
                let Some(&lane) = self.running.keys().nth(nth % self.running.len().max(1)) else {
                    return Ok(());
                };
                let failure = Failure::new("exit", "exit 1");
                let verdict = match verdict {
                    _ if self.killed.contains(&lane) => Verdict::Killed,
                    0..=4 => Verdict::Ack,
                    5..=7 => Verdict::Retry(failure),
                    8 => Verdict::Dead(failure),
                    _ => Verdict::Halt(failure),
                };
                self.finish(lane, verdict);
            }
            Step::Tick(ms) => {
                self.now += Duration::from_millis(ms);
                self.lanes.tick(self.now);
            }
            Step::Revoke(some) => {
                let tokens = self.pick(&some);
                self.lanes.revoking(self.now + Duration::from_secs(1), &tokens);
                self.look()?;
                for token in tokens {
                    let runs = self.running.values().chain(&self.passing).any(|t| *t == token);
                    // Behind an event whose dead letter could not be stored: it goes back with that one, on leaving.
                    let waits = self.unburied.iter().any(|t| *t < token && self.is_same(t, &token));
                    let given_back = !self.open.contains(&token);
                    prop_assert!(runs || waits || given_back, "what has not begun goes back at once");
                }
            }
            Step::Lose(some) => {
                let tokens = self.pick(&some);
                for token in &tokens {
                    self.open.remove(token);
                    self.lost.insert(*token);
                }
                self.lanes.lost(&tokens);
            }
            Step::Bury(nth, well) => {
                if !self.dying.is_empty() {
                    let token = self.dying.swap_remove(nth % self.dying.len());
                    if !well {
                        self.unburied.push(token);
                        self.lanes.stop();
                    }
                    self.lanes.settled(token, well);
                }
            }
            Step::KillAll => self.lanes.kill_all(),
            Step::Age => self.lanes.detach_old(),
            Step::Stop => self.lanes.stop(),
            Step::End => {
                self.ended = true;
                self.lanes.end();
            }
        }
        self.look()
    }

    /// The oldest of what passed have ended.
    fn end(&mut self, count: usize, verdict: &Verdict) {
        let count = count.min(self.passing.len());
        self.passing.drain(..count);
        self.lanes.passed(count, verdict);
    }

    fn finish(&mut self, lane: usize, verdict: Verdict) {
        self.running.remove(&lane);
        self.killed.remove(&lane);
        self.lanes.finished(self.now, lane, verdict);
    }

    /// Whether they are of one unit.
    fn is_same(&self, one: &Token, other: &Token) -> bool {
        match self.rules.ordering {
            Ordering::Key => self.keys[one].is_some() && self.keys[one] == self.keys[other],
            Ordering::Partition => true,
            Ordering::None => false,
        }
    }

    fn pick(&self, some: &[usize]) -> Vec<Token> {
        let mut open: Vec<_> = self.open.iter().copied().collect();
        open.sort();
        let picked: HashSet<_> = some.iter().filter_map(|at| open.get(*at).copied()).collect();
        picked.into_iter().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_the_rules_hold_and_the_work_ends(rules in rules(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(rules);
        for step in steps {
            world.step(step)?;
        }
        // From here on everything goes well, and all that was delivered comes to an end.
        world.step(Step::End)?;
        for _ in 0..1_000 {
            if world.done {
                break;
            }
            match world.running.keys().next().copied() {
                Some(lane) => {
                    let killed = world.killed.contains(&lane);
                    world.finish(lane, if killed { Verdict::Killed } else { Verdict::Ack });
                    world.look()?;
                }
                None if !world.passing.is_empty() => {
                    world.end(1, &Verdict::Ack);
                    world.look()?;
                }
                None if !world.dying.is_empty() => world.step(Step::Bury(0, true))?,
                None => world.step(Step::Tick(120_000))?,
            }
        }
        prop_assert!(world.done, "it never ends");
        prop_assert!(world.open.is_empty() || !world.unburied.is_empty());
    }
}

fn all(lanes: &mut Lanes) -> Vec<Action> {
    std::iter::from_fn(|| lanes.next_action()).collect()
}

fn started(lanes: &mut Lanes) -> Vec<(usize, i64, u32)> {
    all(lanes)
        .into_iter()
        .filter_map(|action| match action {
            Action::Start { lane, event, attempt } => Some((lane, event.position().offset()?, attempt)),
            _ => None,
        })
        .collect()
}

fn handle(deliveries: impl IntoIterator<Item = Delivery>) -> Vec<(Delivery, Task)> {
    deliveries.into_iter().map(|delivery| (delivery, Task::Handle)).collect()
}

fn failure() -> Failure {
    Failure::new("exit", "exit 1").said("no")
}

#[test]
fn one_lane_keeps_the_order_received_over_keys() {
    let mut lanes = Lanes::new(Rules::default(), || 0.0);
    let now = Instant::now();
    lanes.delivered(handle([delivery(0, Some(1)), delivery(1, Some(1)), delivery(2, Some(2))]));
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(started(&mut lanes));
        lanes.finished(now, 0, Verdict::Ack);
    }
    assert_eq!(order, [(0, 0, 1), (0, 1, 1), (0, 2, 1)]);
}

#[test]
fn a_failed_key_holds_back_itself_and_nobody_else() {
    let mut lanes = Lanes::new(Rules::default(), || 0.0);
    let now = Instant::now();
    lanes.delivered(handle([delivery(0, Some(1)), delivery(1, Some(1)), delivery(2, Some(2))]));
    assert_eq!(started(&mut lanes), [(0, 0, 1)]);
    lanes.finished(now, 0, Verdict::Retry(failure()));
    assert_eq!(started(&mut lanes), [(0, 2, 1)]);
    lanes.finished(now, 0, Verdict::Ack);
    assert!(started(&mut lanes).is_empty());
    assert_eq!(lanes.wake(), Some(now + Duration::from_secs(1)));
    lanes.tick(now + Duration::from_secs(1));
    assert_eq!(started(&mut lanes), [(0, 0, 2)]);
    lanes.finished(now, 0, Verdict::Ack);
    assert_eq!(started(&mut lanes), [(0, 1, 1)]);
}

#[test]
fn tries_count_on_from_what_the_broker_counted() {
    let mut lanes = Lanes::new(Rules { max_attempts: 4, ..Rules::default() }, || 0.0);
    let now = Instant::now();
    lanes.delivered(handle([Delivery { attempt: Some(3), ..delivery(0, Some(1)) }]));
    assert_eq!(started(&mut lanes), [(0, 0, 3)]);
    lanes.finished(now, 0, Verdict::Retry(failure()));
    lanes.tick(now + Duration::from_secs(100));
    assert_eq!(started(&mut lanes), [(0, 0, 4)]);
    lanes.finished(now, 0, Verdict::Retry(failure()));
    let actions = all(&mut lanes);
    let [Action::Settle(Token(0), Settled::Dead(death))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((death.attempts, death.failure.to_string().as_str()), (4, "exit 1: no"));
}

#[test]
fn an_event_that_took_its_handlers_with_it_is_not_tried_again() {
    let mut lanes = Lanes::new(Rules::default(), || 0.0);
    lanes.delivered(handle([Delivery { attempt: Some(6), ..delivery(0, None) }]));
    let actions = all(&mut lanes);
    let [Action::Settle(Token(0), Settled::Dead(death))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((death.attempts, death.failure.kind), (5, "unsettled"));
}

#[test]
fn so_many_dead_in_a_row_stop_the_work_and_one_success_begins_anew() {
    let mut lanes = Lanes::new(Rules { max_dead: Some(2), ..Rules::default() }, || 0.0);
    let now = Instant::now();
    lanes.delivered(handle((0..5).map(|token| delivery(token, None))));
    let verdicts =
        [Verdict::Dead(failure()), Verdict::Ack, Verdict::Dead(failure()), Verdict::Dead(failure())];
    for (token, verdict) in (0..).zip(verdicts) {
        assert_eq!(started(&mut lanes).len(), 1);
        lanes.finished(now, 0, verdict);
        if token < 3 {
            lanes.settled(Token(token), true);
        }
    }
    let actions = all(&mut lanes);
    assert!(
        matches!(
            &actions[..],
            [
                Action::Settle(Token(3), Settled::Dead(_)),
                Action::Stopping(Reason::MaxDead(2)),
                Action::Settle(Token(4), Settled::Release),
            ]
        ),
        "{actions:?}"
    );
    lanes.settled(Token(3), true);
    assert!(matches!(&all(&mut lanes)[..], [Action::Done]), "not before its dead letter is stored");
}

#[test]
fn a_key_waits_until_the_dead_letter_is_stored() {
    for is_over in [true, false] {
        let mut lanes = Lanes::new(Rules::default(), || 0.0);
        lanes.delivered(handle([delivery(0, Some(1)), delivery(1, Some(1)), delivery(2, Some(2))]));
        started(&mut lanes);
        lanes.finished(Instant::now(), 0, Verdict::Dead(failure()));
        assert_eq!(started(&mut lanes), [(0, 2, 1)], "another key goes on");
        lanes.finished(Instant::now(), 0, Verdict::Ack);
        assert!(started(&mut lanes).is_empty());
        assert!(!lanes.is_idle());
        if is_over {
            lanes.settled(Token(0), true);
            assert_eq!(started(&mut lanes), [(0, 1, 1)]);
        } else {
            lanes.stop();
            lanes.settled(Token(0), false);
            assert!(matches!(&all(&mut lanes)[..], [Action::Stopping(_), Action::Done]));
            assert_eq!(lanes.tokens(), [Token(1)], "it goes back together with the one before it");
        }
    }
}

#[test]
fn without_a_place_for_the_dead_the_first_stops_the_work() {
    let mut lanes = Lanes::new(Rules { dead_letters: false, max_attempts: 1, ..Rules::default() }, || 0.0);
    lanes.delivered(handle([delivery(0, Some(1)), delivery(1, Some(1))]));
    started(&mut lanes);
    lanes.finished(Instant::now(), 0, Verdict::Retry(failure()));
    let actions = all(&mut lanes);
    assert!(
        matches!(
            &actions[..],
            [
                Action::Settle(Token(0), Settled::Release),
                Action::Stopping(Reason::Died(_)),
                Action::Settle(Token(1), Settled::Release),
                Action::Done
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn later_events_of_a_running_key_go_back_after_it() {
    let mut lanes = Lanes::new(Rules { concurrency: 2, ..Rules::default() }, || 0.0);
    lanes.delivered(handle([delivery(0, Some(1)), delivery(1, Some(1)), delivery(2, Some(2))]));
    started(&mut lanes);
    lanes.stop();
    assert!(matches!(&all(&mut lanes)[..], [Action::Stopping(Reason::Asked)]));
    lanes.finished(Instant::now(), 0, Verdict::Ack);
    let actions = all(&mut lanes);
    let [Action::Settle(Token(0), Settled::Ack), Action::Settle(Token(1), Settled::Release)] = &actions[..]
    else {
        panic!("{actions:?}")
    };
}

#[test]
fn without_order_the_broker_holds_a_retry_back_where_it_counts_tries() {
    let rules =
        Rules { ordering: Ordering::None, retry_delay: Some(Duration::from_secs(900)), ..Rules::default() };
    let mut lanes = Lanes::new(rules, || 0.0);
    lanes.delivered(handle([delivery(0, None), Delivery { attempt: None, ..delivery(1, None) }]));
    for by_broker in [true, false] {
        assert_eq!(started(&mut lanes).len(), 1);
        lanes.finished(Instant::now(), 0, Verdict::Retry(failure()));
        let retried = |action: &Action| matches!(action, Action::Settle(Token(0), Settled::Retry(wait)) if wait.as_secs() == 1);
        assert_eq!(lanes.actions.iter().any(retried), by_broker);
    }
    assert_eq!(lanes.tokens(), [Token(1)], "only we count the tries of the second: it waits here");
}

#[test]
fn what_waits_lets_go_of_its_batch() {
    let topic: Name = "t".into();
    let mut batch = Batch::default();
    for key in [&b"a"[..], b"a"] {
        batch.push(&topic, Some(key), Headers::default(), Some(b"x"), None, Position::Unknown);
    }
    let events = batch.finish();
    let before = events[1].payload().unwrap().as_ptr();
    let mut lanes = Lanes::new(Rules::default(), || 0.0);
    lanes.delivered(handle(events.iter().enumerate().map(|(token, event)| Delivery {
        event: event.clone(),
        token: Token(token as u64),
        attempt: Some(1),
    })));
    started(&mut lanes);
    lanes.detach_old();
    lanes.detach_old();
    lanes.finished(Instant::now(), 0, Verdict::Ack);
    let second = all(&mut lanes).into_iter().find_map(|action| match action {
        Action::Start { event, .. } => Some(event),
        _ => None,
    });
    assert_ne!(second.unwrap().payload().unwrap().as_ptr(), before);
}

#[test]
fn no_more_is_wanted_while_too_many_bytes_wait() {
    let mut lanes = Lanes::new(Rules { bytes: 20, ..Rules::default() }, || 0.0);
    lanes.delivered(handle((0..4).map(|token| delivery(token, Some(1)))));
    assert!(!lanes.wants_more());
    started(&mut lanes);
    lanes.finished(Instant::now(), 0, Verdict::Ack);
    started(&mut lanes);
    assert!(lanes.wants_more(), "one runs, two wait with eight bytes each");
}
