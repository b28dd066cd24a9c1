//! What was published and is not confirmed yet: one task, a queue per topic, a few requests of each under way.
//!
//! Events with a key keep their order: of those of a topic one request is under way at a time, and what comes meanwhile
//! goes with the next. Those without a key do not wait for each other.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{PublishRequest, PubsubMessage};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use super::error::About;
use super::link::Link;
use super::message::{MAX_REQUEST, REQUEST_ROOM};
use crate::broker::{Error, Kind, Receipt, Result};
use crate::event::{Name, Position};

/// Messages of one request.
const MOST: usize = 1000;
/// Requests of one topic under way.
const ABREAST: usize = 8;
/// What a message takes in a request besides itself.
const FRAME: usize = 8;

/// What one call wants to publish, and where its answers go.
pub struct Batch {
    /// Each with its topic; or why it does not go.
    pub messages: Vec<Result<(Name, PubsubMessage)>>,
    /// One per message.
    pub answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

/// Whose answer it is: a call, and the place in it.
type Whose = (u64, usize);

/// A request that was answered.
struct Landed {
    topic: Name,
    keyed: bool,
    answers: Vec<(Whose, Result<Receipt>)>,
}

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// What waits for a topic.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<(Whose, PubsubMessage)>,
    out: usize,
    /// A request with keys is under way.
    keyed: bool,
}

/// A call that waits for its answers.
struct Call {
    open: usize,
    answers: Vec<Option<Result<Receipt>>>,
    answer: oneshot::Sender<Vec<Result<Receipt>>>,
}

struct Tower {
    link: Arc<Link>,
    lanes: HashMap<Name, Lane>,
    flights: FuturesUnordered<Flight>,
    calls: HashMap<u64, Call>,
    next: u64,
}

/// Publishes until nobody can send any more and all answers are there.
pub async fn fly(link: Arc<Link>, mut batches: mpsc::UnboundedReceiver<Batch>) {
    let mut tower = Tower {
        link,
        lanes: HashMap::new(),
        flights: FuturesUnordered::new(),
        calls: HashMap::new(),
        next: 0,
    };
    let mut open = true;
    while open || !tower.flights.is_empty() {
        tokio::select! {
            Some(landed) = tower.flights.next(), if !tower.flights.is_empty() => tower.land(landed),
            batch = batches.recv(), if open => match batch {
                Some(batch) => {
                    tower.take(batch);
                    // What is there already goes with the same request.
                    while let Ok(more) = batches.try_recv() {
                        tower.take(more);
                    }
                }
                None => open = false,
            },
        }
        tower.start();
    }
}

impl Tower {
    fn take(&mut self, batch: Batch) {
        let Batch { messages, answer } = batch;
        self.next += 1;
        let call = self.next;
        let answers = (0..messages.len()).map(|_| None).collect();
        self.calls.insert(call, Call { open: messages.len(), answers, answer });
        for (at, message) in messages.into_iter().enumerate() {
            match message {
                Ok((topic, message)) => {
                    self.lanes.entry(topic).or_default().waiting.push_back(((call, at), message));
                }
                Err(error) => self.answer((call, at), Err(error)),
            }
        }
    }

    fn answer(&mut self, (call, at): Whose, answer: Result<Receipt>) {
        let Some(waits) = self.calls.get_mut(&call) else { return };
        waits.answers[at] = Some(answer);
        waits.open -= 1;
        if waits.open == 0
            && let Some(done) = self.calls.remove(&call)
        {
            // Whoever does not want to know has dropped the future.
            let _ = done.answer.send(done.answers.into_iter().flatten().collect());
        }
    }

    fn land(&mut self, landed: Landed) {
        if let Some(lane) = self.lanes.get_mut(&landed.topic) {
            lane.out -= 1;
            lane.keyed &= !landed.keyed;
            if lane.out == 0 && lane.waiting.is_empty() {
                self.lanes.remove(&landed.topic);
            }
        }
        for (whose, answer) in landed.answers {
            self.answer(whose, answer);
        }
    }

    /// Sends what may go now.
    fn start(&mut self) {
        for (topic, lane) in &mut self.lanes {
            while let Some((keyed, load)) = lane.load() {
                lane.out += 1;
                lane.keyed |= keyed;
                self.flights.push(Box::pin(go(self.link.clone(), topic.clone(), keyed, load)));
            }
        }
    }
}

impl Lane {
    /// The next request, if one may go: what has a key waits for those with keys that are out.
    fn load(&mut self) -> Option<(bool, Vec<(Whose, PubsubMessage)>)> {
        if self.out >= ABREAST {
            return None;
        }
        let (mut load, mut size, mut keyed) = (Vec::new(), REQUEST_ROOM, false);
        while let Some((_, message)) = self.waiting.front() {
            let (has_key, more) = (!message.ordering_key.is_empty(), message.encoded_len() + FRAME);
            let full = load.len() >= MOST || (size + more > MAX_REQUEST && !load.is_empty());
            if full || (has_key && self.keyed) {
                break;
            }
            keyed |= has_key;
            size += more;
            load.extend(self.waiting.pop_front());
        }
        (!load.is_empty()).then_some((keyed, load))
    }
}

async fn go(link: Arc<Link>, topic: Name, keyed: bool, load: Vec<(Whose, PubsubMessage)>) -> Landed {
    let (whose, messages): (Vec<_>, Vec<_>) = load.into_iter().unzip();
    let answers = match publish(&link, &topic, messages.clone()).await {
        Ok(receipts) => receipts.into_iter().map(Ok).collect(),
        // One that is refused takes those of its request with it: each goes by itself.
        Err(error) if error.kind() == Kind::Rejected && messages.len() > 1 => {
            let mut answers = Vec::new();
            for message in messages {
                answers.push(
                    publish(&link, &topic, vec![message]).await.and_then(|receipts| one(&topic, receipts)),
                );
            }
            answers
        }
        Err(error) => whose.iter().map(|_| Err(error.clone())).collect::<Vec<_>>(),
    };
    Landed { topic, keyed, answers: whose.into_iter().zip(answers).collect() }
}

fn one(topic: &Name, receipts: Vec<Receipt>) -> Result<Receipt> {
    receipts.into_iter().next().ok_or_else(|| unanswered(topic))
}

fn unanswered(topic: &Name) -> Error {
    About::topic("send", topic).error(Kind::Broken, "the server did not say what became of each event")
}

async fn publish(link: &Link, topic: &Name, messages: Vec<PubsubMessage>) -> Result<Vec<Receipt>> {
    let about = About::topic("send", topic);
    let (name, count) = (link.settings.topic(topic), messages.len());
    let request = PublishRequest { topic: name.clone(), messages };
    let answer = link
        .call(&about, &format!("topic={name}"), request, |mut clients, request| {
            Box::pin(async move { clients.publisher.publish(request).await })
        })
        .await?;
    if answer.message_ids.len() != count {
        return Err(unanswered(topic));
    }
    let receipt = |id: String| Receipt { position: Position::Id(id.into()), duplicate: false };
    Ok(answer.message_ids.into_iter().map(receipt).collect())
}
