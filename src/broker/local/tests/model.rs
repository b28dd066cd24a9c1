//! Members at random against a naive model: who may get what, and what must hold after every step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish { key: usize },
    Claim { member: usize, want: usize },
    Ack { member: usize, pick: usize },
    Retry { member: usize, pick: usize, after: u64 },
    Release { member: usize, pick: usize },
    Dead { member: usize, pick: usize },
    PutBack { member: usize, pick: usize },
    Kill { member: usize },
    Close { member: usize },
    Stall { member: usize },
    Pass { ms: i64 },
}

const KEYS: [&str; 4] = ["", "x", "y", "z"];
const MEMBERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let (member, pick) = (0..MEMBERS, any::<prop::sample::Index>().prop_map(|index| index.index(1000)));
    let one = (member.clone(), pick);
    prop_oneof![
        4 => (0..KEYS.len()).prop_map(|key| Step::Publish { key }),
        6 => (member.clone(), 1..6usize).prop_map(|(member, want)| Step::Claim { member, want }),
        4 => one.clone().prop_map(|(member, pick)| Step::Ack { member, pick }),
        2 => (one.clone(), 0..60u64).prop_map(|((member, pick), after)| Step::Retry { member, pick, after }),
        1 => one.clone().prop_map(|(member, pick)| Step::Release { member, pick }),
        1 => one.clone().prop_map(|(member, pick)| Step::Dead { member, pick }),
        1 => one.prop_map(|(member, pick)| Step::PutBack { member, pick }),
        1 => member.clone().prop_map(|member| Step::Kill { member }),
        1 => member.clone().prop_map(|member| Step::Close { member }),
        1 => member.prop_map(|member| Step::Stall { member }),
        2 => (1..50i64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// What is known without looking into the file. An event is named by its payload, which is unique.
struct World {
    rig: Rig,
    seats: Vec<Seat>,
    hands: Vec<Vec<Got>>,
    published: Vec<String>,
    settled: BTreeSet<String>,
    released: Vec<BTreeSet<String>>,
    seen: BTreeSet<String>,
    last: HashMap<String, i64>,
    attempts: BTreeMap<String, u32>,
    dead: usize,
    put_backs: usize,
}

impl World {
    fn new() -> World {
        let rig = Rig::with_group("o", "g");
        let seats = (0..MEMBERS).map(|_| rig.member(&["o"], "g")).collect();
        World {
            rig,
            seats,
            hands: vec![vec![]; MEMBERS],
            published: vec![],
            settled: BTreeSet::new(),
            released: vec![BTreeSet::new(); MEMBERS],
            seen: BTreeSet::new(),
            last: HashMap::new(),
            attempts: BTreeMap::new(),
            dead: 0,
            put_backs: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish { key } => {
                let text = format!("{}", self.published.len());
                self.rig.publish("o", &[(KEYS[key], &text)]);
                self.published.push(text);
            }
            Step::Claim { member, want } => self.claim(member, want),
            Step::Ack { member, pick } => {
                if let Some(got) = self.pick(member, pick) {
                    assert!(
                        self.seats[member].settle(&got, Settlement::Ack),
                        "a member that lives has its events"
                    );
                    self.settled.insert(got.text());
                }
            }
            Step::Retry { member, pick, after } => {
                let delay = Duration::from_millis(after);
                for (at, got) in self.pick_with_followers(member, pick).into_iter().enumerate() {
                    let delay = if at == 0 { delay } else { Duration::ZERO };
                    assert!(self.seats[member].settle(&got, Settlement::Retry(delay)));
                }
            }
            Step::Release { member, pick } => {
                for got in self.pick_with_followers(member, pick) {
                    assert!(self.seats[member].settle(&got, Settlement::Release));
                    self.released[member].insert(got.text());
                    *self.attempts.get_mut(&got.text()).unwrap() -= 1;
                }
            }
            Step::Dead { member, pick } => {
                if let Some(got) = self.pick(member, pick) {
                    assert!(self.seats[member].settle(&got, move_to(event("d", "", &got.text(), &[]), None)));
                    self.settled.insert(got.text());
                    self.dead += 1;
                    assert_eq!(self.rig.end("d"), self.dead as i64);
                }
            }
            Step::PutBack { member, pick } => {
                if let Some(got) = self.pick(member, pick) {
                    self.settled.insert(got.text());
                    self.put_backs += 1;
                    let (key, text) = (key_of(&got), format!("back-{}", self.put_backs));
                    let end = self.rig.end("o");
                    assert!(
                        self.seats[member].settle(&got, move_to(event("o", &key, &text, &[]), Some("g")))
                    );
                    assert_eq!(self.rig.end("o"), end, "a put-back changes no offset");
                    self.published.push(text);
                }
            }
            Step::Kill { member } => {
                self.seats[member] = self.rig.member(&["o"], "g");
                self.hands[member].clear();
                self.released[member].clear();
            }
            Step::Close { member } => {
                let next = self.rig.member(&["o"], "g");
                let untried = std::mem::take(&mut self.hands[member]);
                untried.iter().for_each(|got| *self.attempts.get_mut(&got.text()).unwrap() -= 1);
                std::mem::replace(&mut self.seats[member], next).leave(&untried);
                self.released[member].clear();
            }
            Step::Stall { member } => self.stall(member),
            Step::Pass { ms } => self.rig.pass(ms),
        }
    }

    fn claim(&mut self, member: usize, want: usize) {
        let (lost, got, _) = self.seats[member].claim(want).unwrap();
        assert!(lost.is_empty());
        assert!(got.len() <= want);
        for got in got {
            let text = got.text();
            assert!(!self.settled.contains(&text), "no delivery after a settle: {text}");
            assert!(!self.released[member].contains(&text), "nor to whom released it");
            assert!(self.hands.iter().flatten().all(|held| held.text() != text), "nor to two at once");
            let key = key_of(&got);
            if !key.is_empty() {
                let elsewhere =
                    (0..MEMBERS).filter(|other| *other != member).flat_map(|other| &self.hands[other]);
                assert!(elsewhere.clone().all(|held| key_of(held) != key), "a key is with one member");
            }
            let attempt = self.attempts.entry(text.clone()).or_insert(0);
            *attempt += 1;
            assert_eq!(got.attempt, *attempt, "{text}");
            if let (true, Some(offset)) = (self.seen.insert(text), got.event.position().offset()) {
                let last = self.last.insert(key.clone(), offset);
                let ascends = key.is_empty() || last.is_none_or(|last| last < offset);
                assert!(ascends, "first deliveries of a key ascend, over all members");
            }
            self.hands[member].push(got);
        }
    }

    /// Its lease runs out while the others go on, and they take over what it had.
    fn stall(&mut self, member: usize) {
        let other = (member + 1) % MEMBERS;
        for _ in 0..2 {
            self.rig.pass(15_001);
            for alive in (0..MEMBERS).filter(|at| *at != member) {
                let seat = &mut self.seats[alive];
                let work = &mut *seat.work;
                let kept = seat
                    .store
                    .write(Durability::Process, Bell::Silent, |sql| work.keep(&seat.store, sql, true));
                assert!(kept.unwrap().is_empty());
            }
        }
        let zombie = std::mem::take(&mut self.hands[member]);
        self.claim(other, 1);
        let taken: BTreeSet<_> = self.hands[other].iter().map(Got::text).collect();
        for got in zombie {
            if taken.contains(&got.text()) {
                assert!(!self.seats[member].settle(&got, Settlement::Ack), "somebody else has it");
            }
        }
        let (lost, got, _) = self.seats[member].claim(1).unwrap();
        assert_eq!(lost, [0]);
        // Under its new name it may have been given something: back at once, untried.
        for got in got {
            assert!(self.seats[member].settle(&got, Settlement::Retry(Duration::ZERO)));
            *self.attempts.entry(got.text()).or_insert(0) += 1;
            assert!(!self.settled.contains(&got.text()));
        }
    }

    fn pick(&mut self, member: usize, pick: usize) -> Option<Got> {
        let hand = &mut self.hands[member];
        // The oldest of its key: lanes do nothing else.
        let at = (!hand.is_empty()).then(|| pick % hand.len())?;
        let key = key_of(&hand[at]);
        let at = if key.is_empty() { at } else { hand.iter().position(|got| key_of(got) == key)? };
        Some(hand.remove(at))
    }

    fn pick_with_followers(&mut self, member: usize, pick: usize) -> Vec<Got> {
        let Some(first) = self.pick(member, pick) else { return vec![] };
        let key = key_of(&first);
        let mut all = vec![first];
        if !key.is_empty() {
            all.extend(self.hands[member].extract_if(.., |got| key_of(got) == key));
        }
        all
    }

    /// What §8 asks of the file after every step.
    fn check(&self) {
        let rig = &self.rig;
        let sql = rig.store.sql();
        let next: i64 = sql.query_row("SELECT next FROM grp WHERE name='g'", [], |row| row.get(0)).unwrap();
        assert!(next <= rig.end_or_zero("o"));
        let log = "open WHERE (id >> 40) & 1 = 1";
        assert_eq!(
            rig.count(&format!("{log} AND (id & ((1 << 40) - 1)) >= {next}")),
            0,
            "open rows lie below next"
        );
        // Two members whose locks are held by living seats never own one key.
        let both = "open a JOIN open b ON a.key = b.key JOIN member ma ON ma.id = a.owner
                    JOIN member mb ON mb.id = b.owner WHERE a.owner < b.owner";
        let mut select = sql.prepare(&format!("SELECT a.owner, b.owner FROM {both}")).unwrap();
        let pairs = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
        for pair in pairs {
            let (a, b) = pair.unwrap();
            assert!(!(rig.lives(a) && rig.lives(b)), "a key has one owner that is alive");
        }
    }

    /// Everything comes to an end: nothing is lost, nothing stays.
    fn drain(mut self) {
        self.rig.pass(1000);
        for member in 0..MEMBERS {
            self.run(&Step::Kill { member });
        }
        while {
            self.claim(0, 5);
            !self.hands[0].is_empty()
        } {
            for got in std::mem::take(&mut self.hands[0]) {
                assert!(self.seats[0].settle(&got, Settlement::Ack));
                self.settled.insert(got.text());
            }
        }
        assert_eq!(self.settled, self.published.iter().cloned().collect(), "each was settled");
        assert_eq!(self.rig.count("open"), 0, "settled leaves nothing");
    }
}

impl Rig {
    fn end_or_zero(&self, topic: &str) -> i64 {
        match log::topic(self.store.sql(), topic).unwrap() {
            Some(topic) => log::end(self.store.sql(), &topic).unwrap().next,
            None => 0,
        }
    }

    fn lives(&self, member: i64) -> bool {
        let find = "SELECT until FROM member WHERE id=?1";
        let until: i64 = self.store.sql().query_row(find, [member], |row| row.get(0)).unwrap();
        until >= self.store.now() && self.store.is_alive(member)
    }
}

fn key_of(got: &Got) -> String {
    String::from_utf8(got.event.key().unwrap_or_default().to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    #[cfg(target_os = "linux")]
    fn members_share_a_group_without_loss_or_overlap(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.drain();
    }
}
