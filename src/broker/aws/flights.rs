//! What was published and is not confirmed yet: one task that sends batches of ten.
//!
//! Several batches are under way at once. To a place that is FIFO only one event of a key is: of a batch some may be stored
//! while others fail, and one that was stored before an earlier one of its key would have passed it. What was certainly not
//! stored is sent again until the patience ends. Where that is not certain, it is only sent again to a FIFO place, which knows it by
//! its id; else it is answered as in doubt at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::client::Client;
use super::error::{About, Fault};
use super::limit;
use super::message::Outgoing;
use super::name::Place;
use super::send;
use crate::broker::{Error, Kind, Receipt, Result};
use crate::event::Position;

/// So many messages go together.
pub const TOGETHER: usize = 10;
/// So many batches at a time to a place without order.
pub const UNDER_WAY: usize = 16;
/// The same to a FIFO place.
const UNDER_WAY_FIFO: usize = 8;
/// So many events that wait are looked through for keys that may go.
const LOOKED_THROUGH: usize = 1000;
/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many ids of FIFO places are remembered, and so long, which is a little less than they do.
const REMEMBERED: usize = 100_000;
const KNOWN_FOR: Duration = Duration::from_secs(295);

/// What one call wants to publish, and where its answers go.
pub struct Batch {
    /// Or why it does not go.
    pub items: Vec<Result<Item>>,
    /// One per item.
    pub answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

/// A message on its way.
pub struct Item {
    /// For its error.
    pub about: About,
    /// Where to.
    pub place: Place,
    /// What.
    pub out: Outgoing,
    /// Held back so long.
    pub delay: Option<Duration>,
    call: u64,
    at: usize,
    since: Instant,
    tries: u32,
    /// It may have been stored by an earlier try.
    in_doubt: bool,
    /// Not with others: one of them was refused, and nobody said which.
    alone: bool,
}

impl Item {
    /// Not sent yet.
    pub fn new(about: About, place: Place, out: Outgoing, delay: Option<Duration>) -> Item {
        let (since, in_doubt, alone) = (Instant::now(), false, false);
        Item { about, place, out, delay, call: 0, at: 0, since, tries: 0, in_doubt, alone }
    }

    /// What keeps its order: the key, in a FIFO place.
    fn group(&self) -> Option<&str> {
        self.out.fifo.as_ref().map(|(group, _)| group.as_str())
    }
}

/// A call that waits for its answers.
struct Call {
    open: usize,
    answers: Vec<Option<Result<Receipt>>>,
    answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

/// What waits for its turn to one place.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Item>,
    under_way: usize,
    /// Keys of which an event is under way.
    busy: HashSet<String>,
    not_before: Option<Instant>,
    /// When something was stored last.
    stored: Option<Instant>,
}

impl Lane {
    /// The later ones of a key that could not be sent: they would pass it.
    fn behind(&mut self, item: &Item, fault: &Fault) -> Vec<(u64, usize, Result<Receipt>)> {
        let Some(group) = item.group() else { return Vec::new() };
        let waiting = std::mem::take(&mut self.waiting);
        let (behind, rest) =
            waiting.into_iter().partition::<VecDeque<_>, _>(|other| other.group() == Some(group));
        self.waiting = rest;
        let message =
            format!("was not sent, because an earlier event of its key was not stored: {}", fault.message);
        let error = |item: Item| (item.call, item.at, Err(item.about.error(fault.kind, message.clone())));
        behind.into_iter().map(error).collect()
    }
}

/// What a FIFO place knows again: group and id, and when and as what it took them. It drops what has both again within five
/// minutes, and what it answers then is not always the same: so we remember for ourselves.
#[derive(Default)]
struct Ids {
    known: HashMap<(Key, String, String), (Instant, String)>,
    in_order: VecDeque<((Key, String, String), Instant)>,
}

impl Ids {
    /// As what it was taken before, if it was.
    fn first(&mut self, key: &Key, fifo: &(String, String), id: &str, now: Instant) -> Option<String> {
        while let Some((_, at)) = self.in_order.front()
            && (now - *at >= KNOWN_FOR || self.in_order.len() > REMEMBERED)
        {
            if let Some((oldest, _)) = self.in_order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        let it = (key.clone(), fifo.0.clone(), fifo.1.clone());
        if let Some((_, first)) = self.known.get(&it) {
            return Some(first.clone());
        }
        self.known.insert(it.clone(), (now, id.to_owned()));
        self.in_order.push_back((it, now));
        None
    }
}

/// A place, as text.
type Key = String;
/// A batch that came back: each with the id that it got, or what was wrong.
type Landing = (Key, Vec<(Item, std::result::Result<String, Fault>)>);
type Flight = Pin<Box<dyn Future<Output = Landing> + Send>>;

struct Tower {
    client: Arc<Client>,
    lanes: HashMap<Key, Lane>,
    flights: FuturesUnordered<Flight>,
    calls: HashMap<u64, Call>,
    ids: Ids,
    next: u64,
}

/// Publishes until nobody can send any more and all answers are there.
pub async fn fly(client: Arc<Client>, mut batches: mpsc::UnboundedReceiver<Batch>) {
    let mut tower = Tower {
        client,
        lanes: HashMap::new(),
        flights: FuturesUnordered::new(),
        calls: HashMap::new(),
        ids: Ids::default(),
        next: 0,
    };
    let mut open = true;
    while open || !tower.calls.is_empty() {
        let wake = tower.start();
        tokio::select! {
            biased;
            Some(landing) = tower.flights.next(), if !tower.flights.is_empty() => tower.land(landing),
            batch = batches.recv(), if open => match batch {
                Some(batch) => tower.take(batch),
                None => open = false,
            },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
}

impl Tower {
    fn take(&mut self, batch: Batch) {
        let Batch { items, answer } = batch;
        self.next += 1;
        let call = self.next;
        let answers = (0..items.len()).map(|_| None).collect();
        self.calls.insert(call, Call { open: items.len(), answers, answer });
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Ok(item) => {
                    self.lanes.entry(format!("{:?}", item.place)).or_default().waiting.push_back(Item {
                        call,
                        at,
                        ..item
                    });
                }
                Err(error) => self.answer(call, at, Err(error)),
            }
        }
    }

    /// Sends what can be sent now; when there may be more to send, if somebody waits for that.
    fn start(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        self.lanes.retain(|_, lane| !lane.waiting.is_empty() || lane.under_way > 0);
        for (key, lane) in &mut self.lanes {
            while let Some(first) = lane.waiting.front() {
                if let Some(at) = lane.not_before.filter(|at| *at > now) {
                    wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    break;
                }
                if lane.under_way >= if first.place.is_fifo() { UNDER_WAY_FIFO } else { UNDER_WAY } {
                    break;
                }
                let items = together(lane);
                if items.is_empty() {
                    break;
                }
                let (key, client) = (key.clone(), self.client.clone());
                self.flights.push(Box::pin(async move { (key, send::send(&client, items).await) }));
            }
        }
        wake
    }

    /// A batch came back.
    fn land(&mut self, (key, landed): Landing) {
        let (timeout, now) = (self.client.settings.timeout, Instant::now());
        let crowd = landed.len() > 1;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.under_way -= 1;
        if landed.iter().any(|(_, result)| result.is_ok()) {
            lane.stored = Some(now);
        }
        let (mut again, mut answers) = (Vec::new(), Vec::new());
        for (mut item, result) in landed {
            item.group().map(|group| lane.busy.remove(group));
            let fault = match result {
                Ok(id) => {
                    let fifo = item.out.fifo.as_ref();
                    let first = fifo.and_then(|fifo| self.ids.first(&key, fifo, &id, now));
                    let duplicate = first.is_some();
                    let position = Position::Id(first.unwrap_or(id).into());
                    let receipt = Receipt { position, duplicate };
                    answers.push((item.call, item.at, Ok(receipt)));
                    continue;
                }
                Err(fault) => fault,
            };
            self.client.heed(&fault);
            item.in_doubt |= fault.in_doubt;
            let since = lane.stored.map_or(item.since, |stored| stored.max(item.since));
            let late = timeout.is_some_and(|most| now - since >= most);
            let safe = !fault.in_doubt || item.out.fifo.is_some();
            if crowd && fault.kind == Kind::Rejected && !item.alone {
                item.alone = true;
                again.push(item);
            } else if fault.again && safe && !late {
                item.tries += 1;
                again.push(item);
            } else {
                answers.push((item.call, item.at, Err(verdict(&item, &fault))));
                if fault.kind != Kind::Rejected {
                    answers.extend(lane.behind(&item, &fault));
                }
            }
        }
        if let Some(tries) = again.iter().map(|item| item.tries).max().filter(|tries| *tries > 0) {
            let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(10)).min(LONGEST_PAUSE);
            lane.not_before = Some(now + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        }
        // In front of all others of its lane, so that a key keeps its order.
        again.into_iter().rev().for_each(|item| lane.waiting.push_front(item));
        answers.into_iter().for_each(|(call, at, answer)| self.answer(call, at, answer));
    }

    fn answer(&mut self, call: u64, at: usize, answer: Result<Receipt>) {
        let Some(waiting) = self.calls.get_mut(&call) else { return };
        waiting.answers[at] = Some(answer);
        waiting.open -= 1;
        if waiting.open == 0
            && let Some(done) = self.calls.remove(&call)
        {
            // Who dropped the future does not want to know.
            let _ = done.answer.send(done.answers.into_iter().flatten().collect());
        }
    }
}

/// As many of the first as may go in one request. To a FIFO place no key goes twice, and none of which an event is under way.
fn together(lane: &mut Lane) -> Vec<Item> {
    let (mut items, mut size, mut at) = (Vec::<Item>::new(), 0, 0);
    // Keys that wait for an earlier event of theirs.
    let mut held = HashSet::<String>::new();
    while let Some(next) = lane.waiting.get(at).filter(|_| at < LOOKED_THROUGH && items.len() < TOGETHER) {
        if let Some(group) = next.group()
            && (lane.busy.contains(group) || held.contains(group))
        {
            held.insert(group.to_owned());
            at += 1;
            continue;
        }
        let alone = next.alone || items.last().is_some_and(|last| last.alone);
        let fits = size + next.out.size() <= limit(&next.place);
        if !items.is_empty() && (alone || !fits) {
            break;
        }
        let Some(next) = lane.waiting.remove(at) else { break };
        lane.busy.extend(next.group().map(str::to_owned));
        size += next.out.size();
        items.push(next);
    }
    lane.under_way += usize::from(!items.is_empty());
    items
}

/// Why it is not certain to be stored, for good.
fn verdict(item: &Item, fault: &Fault) -> Error {
    if item.in_doubt {
        let message =
            format!("was sent and not confirmed, so that it may have been stored: {}", fault.message);
        let error = item.about.error(Kind::InDoubt, message);
        return error.with_hint("publishing it again may make a duplicate");
    }
    if fault.kind == Kind::NotFound
        && let Place::Topic(_) | Place::Queue(_) | Place::Letters(_) = item.place
    {
        let topic = item.about.subject.strip_prefix("topic ").unwrap_or_default();
        return item.about.missing().with_hint(format!("to make it: evcat topics create {topic}"));
    }
    item.about.fault(fault)
}
