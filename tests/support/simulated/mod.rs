//! Subscriptions that misbehave on order: a log that revokes, a queue whose leases end, a push whose channel closes.
//!
//! Each keeps what it promises and nothing more. Time is tokio's, so that tests can let it pass at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evcat::broker::{
    Delivery, Error, Kind, Receipt, Received, Result, Settlement, Stop, SubscribeOptions, Subscription, Token,
};
use evcat::event::{Event, Position};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Like which broker it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Kafka: no attempt counts, no delay; takes partitions away after saying so.
    Log,
    /// SQS FIFO: counts, delays; a lease that nobody extends ends, and with it those of its key.
    Lease,
    /// RabbitMQ: counts; when its channel closes, all that was handed out is void.
    Push,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting { from: Instant },
    Out { token: Token, until: Instant },
    Settled,
}

struct Row {
    event: Event,
    state: State,
    handed_out: u32,
}

#[derive(Default)]
struct Store {
    rows: Vec<Row>,
    dead: Vec<Event>,
    by_token: HashMap<Token, usize>,
    tokens: u64,
    said: VecDeque<Received>,
    revoking: Vec<(Instant, Vec<Token>)>,
    away_until: Option<Instant>,
    doubtful: bool,
    settled: HashSet<Token>,
    /// Tokens that were settled a second time: a mistake of whoever uses it.
    settled_twice: Vec<Token>,
    ended: bool,
}

/// A broker with one topic and one group.
#[derive(Clone)]
pub struct World {
    style: Style,
    store: Arc<Mutex<Store>>,
    bell: Arc<Notify>,
}

impl World {
    /// With these events published.
    pub fn new(style: Style, events: Vec<Event>) -> World {
        let from = Instant::now();
        let row = |event| Row { event, state: State::Waiting { from }, handed_out: 0 };
        let store = Store { rows: events.into_iter().map(row).collect(), ..Store::default() };
        World { style, store: Arc::new(Mutex::new(store)), bell: Arc::default() }
    }

    /// A member; the one before must have left or died.
    pub fn join(&self, options: SubscribeOptions) -> Box<dyn Subscription> {
        let mut store = self.store.lock().unwrap();
        store.free_all();
        store.said.clear();
        store.revoking.clear();
        store.ended = false;
        Box::new(Member { world: self.clone(), options })
    }

    /// Whether every event is settled.
    pub fn is_settled(&self) -> bool {
        self.store.lock().unwrap().rows.iter().all(|row| row.state == State::Settled)
    }

    /// How often events were handed out, less those that came back as if they never had been.
    pub fn tried(&self) -> u32 {
        self.store.lock().unwrap().rows.iter().map(|row| row.handed_out).sum()
    }

    /// The dead letters.
    pub fn dead(&self) -> Vec<Event> {
        self.store.lock().unwrap().dead.clone()
    }

    /// Tokens that were settled more than once.
    pub fn settled_twice(&self) -> Vec<Token> {
        self.store.lock().unwrap().settled_twice.clone()
    }

    /// Takes away what this style takes away, chosen by `nth`.
    pub fn disturb(&self, nth: usize) {
        let mut store = self.store.lock().unwrap();
        let out: Vec<_> = store.out().collect();
        let Some(&(token, row)) = out.get(nth % out.len().max(1)) else { return };
        let key = store.rows[row].event.key().map(<[u8]>::to_vec);
        let same_key = |store: &Store| -> Vec<Token> {
            store
                .out()
                .filter(|(_, row)| store.rows[*row].event.key() == key.as_deref())
                .map(|o| o.0)
                .collect()
        };
        match self.style {
            Style::Log => {
                let tokens = same_key(&store);
                store.revoking.push((Instant::now() + Duration::from_secs(2), tokens.clone()));
                store.said.push_back(Received::Revoking(tokens));
            }
            Style::Lease => {
                let tokens = if key.is_some() { same_key(&store) } else { vec![token] };
                store.lose(tokens);
            }
            Style::Push => {
                let tokens = out.into_iter().map(|(token, _)| token).collect();
                store.lose(tokens);
            }
        }
        drop(store);
        self.bell.notify_waiters();
    }

    /// Nobody reaches it for so long: every call answers that, at once.
    pub fn go_away(&self, so_long: Duration) {
        self.store.lock().unwrap().away_until = Some(Instant::now() + so_long);
        self.bell.notify_waiters();
    }

    /// The next settle happens, and its answer is lost.
    pub fn lose_an_answer(&self) {
        self.store.lock().unwrap().doubtful = true;
    }
}

impl Store {
    fn out(&self) -> impl Iterator<Item = (Token, usize)> {
        self.rows.iter().enumerate().filter_map(|(at, row)| match row.state {
            State::Out { token, .. } => Some((token, at)),
            _ => None,
        })
    }

    fn free(&mut self, at: usize) {
        self.rows[at].state = State::Waiting { from: Instant::now() };
    }

    fn free_all(&mut self) {
        let out: Vec<_> = self.out().collect();
        out.into_iter().for_each(|(_, at)| self.free(at));
    }

    fn lose(&mut self, tokens: Vec<Token>) {
        for token in &tokens {
            if let Some(&at) = self.by_token.get(token)
                && matches!(self.rows[at].state, State::Out { token: now, .. } if now == *token)
            {
                self.free(at);
            }
        }
        self.said.push_back(Received::Lost(tokens));
    }

    fn reach(&self, operation: &'static str) -> Result<()> {
        match self.away_until {
            Some(until) if until > Instant::now() => {
                Err(Error::new(Kind::Unreachable, operation, "simulated", "nobody answers"))
            }
            _ => Ok(()),
        }
    }

    /// Ends leases and revocations whose time is over.
    fn pass_time(&mut self, style: Style) {
        let now = Instant::now();
        let over: Vec<_> = self.revoking.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, tokens) in over {
            self.lose(tokens);
        }
        if style == Style::Lease {
            let ended = self.rows.iter().filter_map(|row| match row.state {
                State::Out { token, until } if until <= now => Some(token),
                _ => None,
            });
            let ended: Vec<_> = ended.collect();
            if !ended.is_empty() {
                self.lose(ended);
            }
        }
    }

    fn hand_out(&mut self, style: Style, options: &SubscribeOptions) -> Vec<Delivery> {
        let now = Instant::now();
        let mut room = options.in_flight.saturating_sub(self.out().count());
        let revoked: Vec<Token> = self.revoking.iter().flat_map(|(_, tokens)| tokens.clone()).collect();
        let held = |store: &Store, key: Option<&[u8]>| {
            // What is being taken away is not handed out again before it is gone.
            key.is_some()
                && store.out().any(|(t, row)| revoked.contains(&t) && store.rows[row].event.key() == key)
        };
        let mut blocked: Vec<Vec<u8>> = Vec::new();
        let mut deliveries = Vec::new();
        for at in 0..self.rows.len() {
            if room == 0 {
                break;
            }
            let key = self.rows[at].event.key().map(<[u8]>::to_vec);
            let State::Waiting { from } = self.rows[at].state else { continue };
            let waits = from > now || held(self, key.as_deref());
            if waits || key.as_ref().is_some_and(|key| options.ordered && blocked.contains(key)) {
                blocked.extend(key);
                continue;
            }
            self.tokens += 1;
            let token = Token(self.tokens);
            self.by_token.insert(token, at);
            let row = &mut self.rows[at];
            row.handed_out += 1;
            row.state = State::Out { token, until: now + options.lease };
            let attempt = (style != Style::Log).then_some(row.handed_out);
            deliveries.push(Delivery { event: row.event.clone(), token, attempt });
            room -= 1;
        }
        deliveries
    }

    fn settle(&mut self, token: Token, how: Settlement) -> Result<Option<Receipt>> {
        let lost = || Error::new(Kind::Lost, "settle", "simulated", "somebody else has it");
        if !self.settled.insert(token) {
            self.settled_twice.push(token);
        }
        let Some(&at) = self.by_token.get(&token) else { return Err(lost()) };
        if !matches!(self.rows[at].state, State::Out { token: now, .. } if now == token) {
            return Err(lost());
        }
        let mut receipt = None;
        match how {
            Settlement::Ack => self.rows[at].state = State::Settled,
            Settlement::Retry(wait) => self.rows[at].state = State::Waiting { from: Instant::now() + wait },
            Settlement::Release => {
                self.rows[at].handed_out -= 1;
                self.free(at);
            }
            Settlement::Move { event, .. } => {
                receipt =
                    Some(Receipt { position: Position::Offset(self.dead.len() as i64), duplicate: false });
                self.dead.push(*event);
                self.rows[at].state = State::Settled;
            }
        }
        Ok(receipt)
    }
}

struct Member {
    world: World,
    options: SubscribeOptions,
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let bell = self.world.bell.notified();
            {
                let mut store = self.world.store.lock().unwrap();
                store.reach("receive")?;
                store.pass_time(self.world.style);
                if let Some(said) = store.said.pop_front() {
                    return Ok(said);
                }
                let deliveries = store.hand_out(self.world.style, &self.options);
                if !deliveries.is_empty() {
                    return Ok(Received::Deliveries(deliveries));
                }
                let all = store.rows.iter().all(|row| row.state == State::Settled);
                if all && self.options.stop == Stop::Now && !store.ended {
                    store.ended = true;
                    return Ok(Received::End);
                }
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), bell).await;
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut store = self.world.store.lock().unwrap();
        store.reach("settle")?;
        let answers = items.into_iter().map(|(token, how)| store.settle(token, how)).collect();
        let doubtful = std::mem::take(&mut store.doubtful);
        drop(store);
        self.world.bell.notify_waiters();
        match doubtful {
            true => Err(Error::new(Kind::InDoubt, "settle", "simulated", "no answer; it may have happened")),
            false => Ok(answers),
        }
    }

    async fn extend(&self, tokens: &[Token]) -> Result<()> {
        let mut store = self.world.store.lock().unwrap();
        store.reach("extend")?;
        for row in &mut store.rows {
            if let State::Out { token, until } = &mut row.state
                && tokens.contains(token)
            {
                *until = Instant::now() + self.options.lease;
            }
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let mut store = self.world.store.lock().unwrap();
        store.reach("close")?;
        store.free_all();
        Ok(())
    }
}
