//! What was published and is not confirmed yet: one task with a connection and a channel that confirms.
//!
//! The client hands a returned message to whatever confirmation comes next, which is not that of the message when the
//! server confirms out of order (it does: what goes nowhere is confirmed at once, what a quorum queue stores is not).
//! So returns are collected, and matched with what they are returns of, once all confirmations that are there were seen:
//! a return always comes before the confirmation of its own message.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, poll};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::error::About;
use super::link::{Link, Patience, is_lost};
use super::message::{Making, Outgoing, to_message};
use super::name::Place;
use super::settings::Settings;
use crate::broker::{Error, Kind, Receipt, Result};
use crate::event::{Event, Name, Position};

/// Room in the one frame of a message's headers for what is not headers.
const FRAME_ROOM: usize = 1024;

/// So many are sent and not confirmed at a time. Of more a quorum queue makes hard work: 100,000 events of 100 B, on
/// RabbitMQ 4.0.5, take 3.0 s with 300 to 5,000 of them, 6.8 s and twice the server's processor time with 20,000.
const WINDOW: usize = 1000;

/// Between two tries of a connection that was made and lost.
const AGAIN: Duration = Duration::from_millis(100);

/// What one call wants to publish, and where its answers go.
pub struct Batch {
    /// Each with the queue it goes to alone, if it does; or why it does not go.
    pub events: Vec<Result<(Event, Option<Name>)>>,
    /// Whether they were delivered before.
    pub moved: bool,
    /// When it was asked for.
    pub asked: Instant,
    /// One per event.
    pub answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

/// A connection that publishes.
struct Line {
    link: Link,
    channel: Channel,
    /// Exchanges that were seen on it: publishing to one that is not there would close the channel for all others.
    known: HashSet<Name>,
}

type Landing = (u64, lapin::Result<Confirmation>);
type Flight = Pin<Box<dyn Future<Output = Landing> + Send>>;

/// Who waits for a confirmation.
struct Waiting {
    call: u64,
    at: usize,
    event: Event,
    out: Outgoing,
}

/// A call that waits for its answers.
struct Call {
    open: usize,
    answers: Vec<Option<Result<Receipt>>>,
    answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

struct Tower {
    settings: Settings,
    line: Option<Line>,
    flights: FuturesUnordered<Flight>,
    waiting: HashMap<u64, Waiting>,
    /// When each was sent, oldest first.
    sent: VecDeque<(u64, Instant)>,
    calls: HashMap<u64, Call>,
    returned: Vec<BasicReturnMessage>,
    /// When the server was there last.
    there: Option<Instant>,
    next: u64,
}

/// Publishes until nobody can send any more and all answers are there.
pub async fn fly(settings: Settings, mut batches: mpsc::UnboundedReceiver<Batch>) {
    let mut tower = Tower {
        settings,
        line: None,
        flights: FuturesUnordered::new(),
        waiting: HashMap::new(),
        sent: VecDeque::new(),
        calls: HashMap::new(),
        returned: Vec::new(),
        there: None,
        next: 0,
    };
    let mut open = true;
    while open || !tower.waiting.is_empty() {
        let limit = tower.limit();
        tokio::select! {
            biased;
            Some(landing) = tower.flights.next(), if !tower.flights.is_empty() => tower.land(landing),
            batch = batches.recv(), if open => match batch {
                Some(batch) => tower.take(batch).await,
                None => open = false,
            },
            () = tokio::time::sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => drop(tower.give_up()),
        }
    }
    if let Some(line) = tower.line {
        line.link.close().await;
    }
}

impl Tower {
    async fn take(&mut self, batch: Batch) {
        let Batch { events, moved, asked, answer } = batch;
        let call = self.mint();
        let answers = (0..events.len()).map(|_| None).collect();
        self.calls.insert(call, Call { open: events.len(), answers, answer });
        // The server was away for too long: what is left of the call is not waited for once more.
        let mut away: Option<String> = None;
        for (at, event) in events.into_iter().enumerate() {
            if away.is_none() {
                away = self.room().await.err();
            }
            let sent = match (event, &away) {
                (Ok((event, _)), Some(why)) => {
                    Err(About::topic("send", event.topic()).error(Kind::Unreachable, why.clone()))
                }
                (Ok((event, only)), None) => {
                    let since = self.there.map_or(asked, |there| there.max(asked));
                    let patience = Patience::since(&self.settings, since);
                    self.send(call, at, event, only, moved, patience).await
                }
                (Err(error), _) => Err(error),
            };
            if let Err(error) = sent {
                if error.kind() == Kind::Unreachable {
                    away = Some(error.detail().message.clone());
                }
                self.answer(call, at, Err(error));
            }
        }
    }

    /// Waits until one more may be under way. Errors: why what is has been given up.
    async fn room(&mut self) -> std::result::Result<(), String> {
        while self.waiting.len() >= WINDOW {
            let limit = self.limit();
            tokio::select! {
                biased;
                Some(landing) = self.flights.next() => self.land(landing),
                () = tokio::time::sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {
                    self.give_up().map_or(Ok(()), Err)?;
                }
                else => break,
            }
        }
        Ok(())
    }

    /// Sends one. `Ok`: it is under way, its answer comes when it lands.
    async fn send(
        &mut self,
        call: u64,
        at: usize,
        event: Event,
        only: Option<Name>,
        moved: bool,
        patience: Patience,
    ) -> Result<()> {
        let about = About::topic("send", event.topic());
        let user = self.settings.user().to_owned();
        let making = Making { only: only.as_deref(), user: &user, now: (self.settings.clock)(), moved };
        let out = to_message(&event, &making).map_err(|why| about.error(Kind::Rejected, why))?;
        loop {
            let line = match self.line(&about, patience).await {
                // It was reached, and lost again at once.
                Err(error) if error.kind() == Kind::Unreachable && !patience.is_over() => {
                    self.line = None;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                line => line?,
            };
            let room = line.link.frame_max().saturating_sub(FRAME_ROOM);
            self.there = Some(Instant::now());
            if out.header_bytes > room {
                let message = format!(
                    "its headers and properties take more than the {room} bytes that AMQP has for them"
                );
                return Err(about.error(Kind::Rejected, message));
            }
            if only.is_none() && !self.exists(&about, event.topic()).await? {
                let hint = format!("to make it: evcat topics create {}", event.topic());
                return Err(about.missing().with_hint(hint));
            }
            let id = self.mint();
            let Some(line) = &self.line else { continue };
            let mut flight = flight(id, line.channel.clone(), &out, event.clone());
            // Polled here, so that it is on its way in the order of the calls.
            match poll!(&mut flight) {
                // It did not leave: the connection had been lost before.
                Poll::Ready((_, Err(error))) if is_lost(&error) => self.line = None,
                Poll::Ready(landing) => {
                    self.wait(id, Waiting { call, at, event, out });
                    self.land(landing);
                    return Ok(());
                }
                Poll::Pending => {
                    self.flights.push(flight);
                    self.wait(id, Waiting { call, at, event, out });
                    return Ok(());
                }
            }
        }
    }

    fn wait(&mut self, id: u64, waiting: Waiting) {
        self.waiting.insert(id, waiting);
        self.sent.push_back((id, Instant::now()));
    }

    /// The connection, made anew if it was lost.
    async fn line(&mut self, about: &About, patience: Patience) -> Result<&Line> {
        if self.line.as_ref().is_some_and(|line| !line.link.is_up() || !line.channel.status().connected()) {
            self.line = None;
        }
        if self.line.is_none() {
            let link = Link::open(&self.settings, about, patience).await?;
            let channel = Link::soon(about, async {
                let channel = link.channel(about).await?;
                let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
                confirming.map(|()| channel).map_err(|error| about.map(&error))
            });
            let channel = channel.await?;
            self.returned.clear();
            self.line = Some(Line { link, channel, known: HashSet::new() });
        }
        self.line.as_ref().ok_or_else(|| about.error(Kind::Unreachable, "the connection was lost"))
    }

    /// Whether there is where this is to go. Of a queue the server tells by sending it back.
    async fn exists(&mut self, about: &About, topic: &Name) -> Result<bool> {
        let Place::Exchange(exchange) = Place::of(topic) else { return Ok(true) };
        let Some(line) = &mut self.line else { return Ok(true) };
        if line.known.contains(topic) {
            return Ok(true);
        }
        let exists = match Link::soon(about, line.link.exchange(about, exchange)).await {
            // It is seen when the message itself is sent.
            Err(error) if error.kind() == Kind::Unreachable => return Ok(true),
            other => other?,
        };
        if exists {
            line.known.insert(topic.clone());
        }
        Ok(exists)
    }

    /// One landed; with it all others that have by now.
    fn land(&mut self, first: Landing) {
        let mut landed = vec![first];
        // It makes a pause now and then though more is there; then it has called for another look.
        let more = Arc::new(More::default());
        let waker = Waker::from(more.clone());
        let mut context = Context::from_waker(&waker);
        loop {
            match self.flights.poll_next_unpin(&mut context) {
                Poll::Ready(Some(landing)) => landed.push(landing),
                Poll::Pending if more.0.swap(false, Relaxed) => {}
                Poll::Pending | Poll::Ready(None) => break,
            }
        }
        // A refusal closes the channel for all that is under way. It names its exchange, so that it is known whose it was
        // if one alone was under way to there.
        let mut under_way: HashMap<ShortString, u32> = HashMap::new();
        if landed.iter().any(|(_, confirmation)| confirmation.is_err()) {
            for waiting in self.waiting.values() {
                *under_way.entry(waiting.out.exchange.clone()).or_default() += 1;
            }
        }
        for (_, confirmation) in &mut landed {
            if let Ok(confirmed) = confirmation {
                let is_ack = confirmed.is_ack();
                let taken = std::mem::replace(confirmed, Confirmation::NotRequested);
                self.returned.extend(taken.take_message());
                *confirmed = if is_ack { Confirmation::Ack(None) } else { Confirmation::Nack(None) };
            }
        }
        for (id, confirmation) in landed {
            let Some(waiting) = self.waiting.remove(&id) else { continue };
            let alone = under_way.get(&waiting.out.exchange) == Some(&1);
            let answer = self.verdict(&waiting, confirmation, alone);
            self.answer(waiting.call, waiting.at, answer);
        }
        while self.sent.front().is_some_and(|(id, _)| !self.waiting.contains_key(id)) {
            self.sent.pop_front();
        }
    }

    fn verdict(
        &mut self,
        waiting: &Waiting,
        confirmation: lapin::Result<Confirmation>,
        alone: bool,
    ) -> Result<Receipt> {
        let about = About::topic("send", waiting.event.topic());
        match confirmation {
            Ok(confirmation) => {
                if let Some(at) = self.return_of(waiting) {
                    self.returned.swap_remove(at);
                    return Err(unroutable(&about, waiting));
                }
                if !confirmation.is_ack() {
                    let message = "the server refuses it, as a queue does that is full and has a limit";
                    return Err(about.error(Kind::Full, message));
                }
                Ok(Receipt { position: Position::Unknown, duplicate: false })
            }
            Err(error) => {
                let why = about.map(&error);
                let exchange = match waiting.out.exchange.as_str() {
                    "" => "amq.default",
                    exchange => exchange,
                };
                let named = why.detail().message.contains(&format!("'{exchange}'"));
                match why.kind() {
                    Kind::NotFound | Kind::Denied if named && alone => Err(why),
                    _ => Err(in_doubt(&about, &why.detail().message)),
                }
            }
        }
    }

    /// The return that is of this one, if any is: by all that it says where that can be told, for a headers exchange sends
    /// by its headers alone.
    fn return_of(&self, waiting: &Waiting) -> Option<usize> {
        let same =
            self.returned.iter().position(|returned| waiting.is_like(returned) && waiting.says(returned));
        same.or_else(|| {
            // The server may have changed what it says; then it is ours if it is nobody else's.
            let of_another = |returned: &BasicReturnMessage| {
                self.waiting.values().any(|other| other.is_like(returned) && other.says(returned))
            };
            self.returned.iter().position(|returned| waiting.is_like(returned) && !of_another(returned))
        })
    }

    /// When the oldest that is under way has been for too long.
    fn limit(&self) -> Option<Instant> {
        Some(self.sent.front()?.1 + self.settings.timeout?)
    }

    /// Gives up what is under way, if the oldest of it has been for too long, and answers why.
    fn give_up(&mut self) -> Option<String> {
        let now = Instant::now();
        let longest = self.settings.timeout.unwrap_or(Duration::MAX);
        let why = match self.line.as_ref().and_then(|line| line.link.alarm()) {
            Some(alarm) => format!("the server takes no events, by an alarm of its own: {alarm}"),
            None => format!("no confirmation within {longest:?}"),
        };
        let late =
            |(id, at): &(u64, Instant)| self.waiting.contains_key(id) && now.duration_since(*at) >= longest;
        if !self.sent.iter().any(late) {
            self.sent.retain(|(id, _)| self.waiting.contains_key(id));
            return None;
        }
        // All of them: the line is given up, and what it has not confirmed by now is not heard of again.
        for (id, _) in std::mem::take(&mut self.sent) {
            if let Some(waiting) = self.waiting.remove(&id) {
                let about = About::topic("send", waiting.event.topic());
                self.answer(waiting.call, waiting.at, Err(in_doubt(&about, &why)));
            }
        }
        self.flights = FuturesUnordered::new();
        self.returned.clear();
        if let Some(line) = self.line.take() {
            tokio::spawn(async move { line.link.close().await });
        }
        Some(why)
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

    fn mint(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Waiting {
    /// Whether what came back went the same way with the same payload.
    fn is_like(&self, returned: &BasicReturnMessage) -> bool {
        returned.exchange == self.out.exchange
            && returned.routing_key == self.out.routing_key
            && Some(&*returned.data) == self.event.payload()
    }

    /// Whether it says the same of itself.
    fn says(&self, returned: &BasicReturnMessage) -> bool {
        returned.properties == self.out.properties
    }
}

/// Whether it was called for another look.
#[derive(Default)]
struct More(AtomicBool);

impl Wake for More {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

fn flight(id: u64, channel: Channel, out: &Outgoing, event: Event) -> Flight {
    let (exchange, key) = (out.exchange.clone(), out.routing_key.clone());
    let properties = out.properties.clone();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    Box::pin(async move {
        let payload = event.payload().unwrap_or_default();
        let landing = match channel.basic_publish(exchange, key, options, payload, properties).await {
            Ok(confirmation) => confirmation.await,
            Err(error) => Err(error),
        };
        (id, landing)
    })
}

fn unroutable(about: &About, waiting: &Waiting) -> Error {
    let Outgoing { exchange, routing_key, .. } = &waiting.out;
    let (exchange, routing_key) = (exchange.as_str(), routing_key.as_str());
    if exchange.is_empty() {
        return about.error(Kind::NotFound, format!("there is no queue '{routing_key}'"));
    }
    let message =
        format!("exchange '{exchange}' has no queue bound for the key '{routing_key}': nobody got the event");
    about.error(Kind::Unroutable, message).with_hint(
        "a group is a queue: evcat groups create GROUP TOPIC, with -X binding=PATTERN for some keys alone",
    )
}

fn in_doubt(about: &About, why: &str) -> Error {
    let message = format!("was sent and not confirmed, so that it may have been stored: {why}");
    about.error(Kind::InDoubt, message).with_hint("publishing it again may make a duplicate")
}
