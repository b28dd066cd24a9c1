//! A member of a group at work: takes what is fetched, settles, keeps its membership, and says what it has.
//!
//! The library fetches each partition into a queue of its own, and bounds what lies there. So what is not wanted yet
//! stays where it is, and the queue of the member, which has its rebalances, is served whatever the work does.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, OnceCell, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Kafka;
use super::answers::{Acked, Answers, Call};
use super::client::Client;
use super::commits::Commits;
use super::error::{About, Trouble};
use super::moves::{Moved, Moves, Stored};
use super::part::{Part, Taken};
use super::queue::{Event, Queue};
use super::rebalance::{COMMIT, Change};
use super::regain::{self, Doubted};
use super::subscription::Answer;
use super::sys::{self, Code};
use super::{membership, places, topics};
use crate::broker::{
    ByToken, Delivery, Error, Kind, Received, Result, Settlement, Stop, SubscribeOptions, Token,
};
use crate::event::Name;

/// Bytes in hand from which no more are taken: what is asked for is a number of events, and they may be large.
const BYTES: usize = 16 << 20;
/// At most so many of a partition before it is another one's turn.
const SHARE: usize = 256;
/// The library takes us for dead when its queue is not served for long (`max.poll.interval.ms`).
const SERVE: Duration = Duration::from_secs(1);
/// How often those that work on the rest of the topics are looked at, where we wait for them.
const LOOK: Duration = Duration::from_millis(300);

/// What the trait's methods ask for.
pub enum Command {
    /// `settle`.
    Settle(Vec<(Token, Settlement)>, oneshot::Sender<Vec<Answer>>),
    /// `close`.
    Close(oneshot::Sender<Result<()>>),
}

/// Something asked for and not yet answered.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A delivery that is out.
pub struct Slot {
    pub part: u64,
    pub offset: i64,
    pub bytes: usize,
}

/// Everything a member has.
pub struct Desk {
    pub client: Client,
    /// Asks what the member's own client should not: an answer of NOT_COORDINATOR makes that look for its coordinator.
    pub admin: Client,
    pub group: Name,
    pub grace: Duration,
    /// Where each partition ends for us; `None`: nowhere.
    pub ends: Option<HashMap<(Name, i32), i64>>,
    pub commits: Commits,
    /// Ours, by names that are never used again.
    pub parts: BTreeMap<u64, Part>,
    pub held: ByToken<Slot>,
    /// What they take in memory, all together.
    pub bytes: usize,
    pub minted: u64,
    /// Wakes when something was fetched.
    pub wake: Arc<Notify>,
    /// What is being done about the last rebalance.
    pub change: Option<Change>,
    /// What goes has to go at once.
    pub hasty: bool,
    /// Partitions were assigned once, perhaps none.
    pub joined: bool,
    /// Who waits for a commit.
    pub answers: Answers,
    queue: Queue,
    moves: Moves,
    moving: FuturesUnordered<Moved>,
    /// Partitions whose place was said not to be there.
    pub doubted: FuturesUnordered<Doubted>,
    commands: mpsc::UnboundedReceiver<Command>,
    say: mpsc::UnboundedSender<Result<Received>>,
    in_flight: usize,
    /// The end or an error was said.
    over: bool,
    /// Why the library works no more: nothing will be committed.
    dead: Option<Error>,
    /// Whose turn it was last.
    turn: u64,
    /// Asked whether the others have come to the end, and not before when.
    others: Option<Asked<bool>>,
    look: Instant,
    /// Asked whether any broker is there.
    probe: Option<Asked<()>>,
    /// What is worked on.
    topics: Vec<Name>,
    /// Asked whether they are there, because somebody said that one is not.
    missing: Option<Asked<()>>,
}

impl Desk {
    /// Becomes a member. The ends are fixed here. Errors: there is no such topic or group.
    pub async fn join(
        kafka: &Kafka,
        topics: &[Name],
        group: &Name,
        options: &SubscribeOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        say: mpsc::UnboundedSender<Result<Received>>,
    ) -> Result<Desk> {
        const OPERATION: &str = "subscription";
        let admin = kafka.groups_admin()?;
        let found = topics::existing(admin, OPERATION, topics).await?;
        membership::known(admin, OPERATION, &found, group).await?;
        let ends = match &options.stop {
            Stop::Never => None,
            Stop::Now => {
                let spans = places::spans(admin, OPERATION, &found).await?;
                Some(spans.into_iter().map(|span| ((span.topic, span.partition), span.end)).collect())
            }
            Stop::At(_) => {
                let message = "a subscription here ends now or never";
                return Err(Error::new(Kind::Unsupported, OPERATION, "", message));
            }
        };
        let partitions = found.iter().map(|topic| topic.partitions.len()).sum();
        let (client, queue) = membership::begin(kafka, topics, group, options, partitions)?;
        Ok(Desk {
            admin: admin.clone(),
            group: group.clone(),
            grace: options.grace,
            ends,
            commits: Commits::new(&client),
            parts: BTreeMap::new(),
            held: ByToken::default(),
            bytes: 0,
            minted: 0,
            wake: Arc::default(),
            change: None,
            hasty: false,
            joined: false,
            answers: Answers::default(),
            queue,
            moves: Moves { kafka: kafka.clone(), publisher: Arc::new(OnceCell::new()) },
            moving: FuturesUnordered::new(),
            doubted: FuturesUnordered::new(),
            commands,
            say,
            in_flight: options.in_flight.max(1),
            over: false,
            dead: None,
            turn: 0,
            others: None,
            look: Instant::now(),
            probe: None,
            topics: topics.to_vec(),
            missing: None,
            client,
        })
    }

    /// Until it is closed, or nobody is there any more.
    pub async fn run(mut self) {
        loop {
            self.serve();
            self.follow();
            self.refill();
            self.tidy();
            let pause = self.pause();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Settle(items, answer)) => self.settle(items, answer),
                    Some(Command::Close(answer)) => {
                        // Who asked may have given up waiting.
                        let _ = answer.send(self.leave().await);
                        return;
                    }
                    None => {
                        let _ = self.leave().await;
                        return;
                    }
                },
                () = self.queue.filled() => {}
                () = self.commits.wait() => {}
                Some(moved) = self.moving.next(), if !self.moving.is_empty() => self.moved(moved),
                Some((name, is_there)) = self.doubted.next(), if !self.doubted.is_empty() => {
                    self.regain(name, is_there);
                }
                committed = asked(self.change.as_mut().and_then(Change::asked)) => self.assigned(committed),
                others = asked(self.others.as_mut()) => {
                    self.others = None;
                    match others {
                        Ok(true) => self.end(),
                        Ok(false) => self.look = Instant::now() + LOOK,
                        Err(error) => self.fail(error),
                    }
                }
                found = asked(self.probe.as_mut()) => {
                    self.probe = None;
                    if let Err(error) = found
                        && matches!(error.kind(), Kind::Unreachable | Kind::Denied)
                    {
                        self.fail(error);
                    }
                }
                found = asked(self.missing.as_mut()) => {
                    self.missing = None;
                    if let Err(error) = found {
                        self.fail(error);
                    }
                }
                trouble = self.client.refused(), if !self.over => {
                    let error = trouble.error(&self.about(), &self.client);
                    self.fail(error);
                }
                () = self.wake.notified(), if self.has_room() => {}
                () = sleep_until(pause) => {}
            }
        }
    }

    /// Takes what the library has to say to the member.
    pub fn serve(&mut self) {
        while let Some(event) = self.queue.poll() {
            match event.kind() {
                sys::RD_KAFKA_EVENT_REBALANCE => self.rebalanced(&event),
                sys::RD_KAFKA_EVENT_ERROR => self.hear(&event),
                _ => {}
            }
        }
        if let Err(trouble) = self.commits.answered(&mut self.parts) {
            self.not_committed(trouble);
        }
        self.answer();
    }

    /// Answers those whose commit was made, or never will be.
    pub fn answer(&mut self) {
        let group = &self.group;
        self.answers.answer(&self.parts, || lost(group));
        if let Some(error) = &self.dead {
            self.answers.fail(error);
        }
    }

    fn hear(&mut self, event: &Event) {
        self.client.news().hear(event);
        let Some(trouble) = event.trouble() else { return };
        // SAFETY: the event is live.
        if unsafe { sys::rd_kafka_event_error_is_fatal(event.raw()) } != 0 {
            let error = match trouble.code {
                Code::FENCED_INSTANCE_ID => {
                    let message = "another member with the same group.instance.id took its place";
                    Error::new(Kind::Lost, "receive", self.about().subject, message)
                        .with_hint("each member needs a group.instance.id of its own")
                }
                _ => trouble.error(&self.about(), &self.client),
            };
            self.dead = Some(error.clone());
            return self.fail(error);
        }
        match trouble.code {
            Code::LOCAL_ALL_BROKERS_DOWN if self.probe.is_none() && !self.over => {
                let (client, about) = (self.client.clone(), self.about());
                self.probe = Some(Box::pin(async move { client.cluster(&about).await.map(|_| ()) }));
            }
            Code::UNKNOWN_TOPIC_OR_PART | Code::LOCAL_UNKNOWN_TOPIC
                if self.missing.is_none() && !self.over =>
            {
                self.missing = Some(regain::topics(&self.client, &self.topics));
            }
            Code::UNKNOWN_TOPIC_OR_PART | Code::LOCAL_UNKNOWN_TOPIC => {}
            Code::TOPIC_AUTHORIZATION_FAILED
            | Code::GROUP_AUTHORIZATION_FAILED
            | Code::CLUSTER_AUTHORIZATION_FAILED
            | Code::INVALID_GROUP_ID
            | Code::GROUP_MAX_SIZE_REACHED
            | Code::UNSUPPORTED_VERSION
            | Code::LOCAL_UNSUPPORTED_FEATURE => {
                let error = trouble.error(&self.about(), &self.client);
                self.fail(error);
            }
            // The library tries again by itself, which may help, or not.
            code => {
                let error = trouble.error(&self.about(), &self.client);
                let refused = matches!(error.kind(), Kind::Rejected | Kind::Invalid | Kind::Unsupported)
                    && code != Code::UNRELEASED_INSTANCE_ID;
                let joins = ["JoinGroup failed", "ConsumerGroupHeartbeat failed"];
                if refused && joins.iter().any(|words| trouble.words.starts_with(words)) {
                    self.fail(error);
                }
            }
        }
    }

    /// What an error of the member is about.
    pub fn about(&self) -> About {
        About::group("receive", &self.group)
    }

    fn settle(&mut self, items: Vec<(Token, Settlement)>, answer: oneshot::Sender<Vec<Answer>>) {
        let mut answers = Vec::with_capacity(items.len());
        let (mut acked, mut moves) = (Vec::new(), Vec::new());
        for (token, how) in items {
            let at = answers.len();
            answers.push(match how {
                _ if !self.held.contains_key(&token) => Err(lost(&self.group)),
                Settlement::Ack => self.ack(at, token).map(|one| {
                    acked.push(one);
                    None
                }),
                Settlement::Release => self.release(token).map(|()| None),
                Settlement::Retry(_) => Err(self.refuse("Kafka cannot hold a retry back")),
                Settlement::Move { only: Some(_), .. } => {
                    Err(self.refuse("an event goes to every group here, not to one alone"))
                }
                Settlement::Move { event, only: None } => {
                    moves.push((at, token, *event));
                    Ok(None)
                }
            });
        }
        let call = Call { answers, asked: answer, acked };
        match moves.is_empty() {
            true => self.answers.push(call),
            false => self.moving.push(self.moves.send(call, moves)),
        }
    }

    /// The events of moves were stored, or not.
    fn moved(&mut self, moved: Stored) {
        let Stored { mut call, stored } = moved;
        for (at, token, stored) in stored {
            call.answers[at] = stored.and_then(|receipt| {
                call.acked.push(self.ack(at, token)?);
                Ok(Some(receipt))
            });
        }
        self.answers.push(call);
    }

    fn ack(&mut self, at: usize, token: Token) -> Result<Acked> {
        let Slot { part, offset, bytes } = self.held.remove(&token).ok_or_else(|| lost(&self.group))?;
        self.bytes -= bytes;
        if let Some(part) = self.parts.get_mut(&part) {
            part.ack(offset);
        }
        Ok(Acked { at, part, made: self.commits.made() })
    }

    fn release(&mut self, token: Token) -> Result<()> {
        let Slot { part, bytes, .. } = self.held.remove(&token).ok_or_else(|| lost(&self.group))?;
        self.bytes -= bytes;
        if let Some(part) = self.parts.get_mut(&part) {
            part.release();
        }
        Ok(())
    }

    fn refuse(&self, message: &str) -> Error {
        Error::new(Kind::Unsupported, "settle", self.about().subject, message)
    }

    fn has_room(&self) -> bool {
        !self.over && self.held.len() < self.in_flight && self.bytes < BYTES
    }

    /// Hands out what there is room for, by turns of the partitions.
    fn refill(&mut self) {
        let mut more = true;
        while more && self.has_room() {
            more = false;
            let mut taken = Taken::default();
            let turns: Vec<u64> = self.parts.keys().copied().collect();
            let first = turns.partition_point(|name| *name <= self.turn);
            for name in turns[first..].iter().chain(&turns[..first]) {
                let room = self.in_flight.saturating_sub(self.held.len() + taken.slots.len());
                if room == 0 || self.bytes + taken.batch.bytes() >= BYTES {
                    break;
                }
                self.turn = *name;
                let Some(part) = self.parts.get_mut(name) else { continue };
                match part.take(*name, room.min(SHARE), &mut taken) {
                    Ok(again) => more |= again,
                    Err(Trouble { code, words }) if regain::MAY_BE_THERE.contains(&code) => {
                        tracing::debug!(topic = &*part.topic, part.number, "{words}");
                        // What comes meanwhile is not taken: what is missing before it would pass for not there.
                        part.doubted = true;
                        self.doubted.push(regain::ask(&self.client, &self.group, *name, part));
                    }
                    Err(trouble) => {
                        let subject = format!("topic {} partition {}", part.topic, part.number);
                        self.cannot_read(subject, trouble);
                    }
                }
            }
            self.hand_out(taken);
        }
    }

    fn hand_out(&mut self, taken: Taken) {
        if taken.slots.is_empty() {
            return;
        }
        let events = taken.batch.finish();
        let mut deliveries = Vec::with_capacity(events.len());
        for (event, (part, offset)) in events.iter().zip(taken.slots) {
            let bytes = event.size();
            let token = Token(self.mint());
            self.bytes += bytes;
            self.held.insert(token, Slot { part, offset, bytes });
            deliveries.push(Delivery { event: event.clone(), token, attempt: None });
        }
        self.tell(Ok(Received::Deliveries(deliveries)));
    }

    /// A name or number that was never used before.
    pub fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    fn cannot_read(&mut self, subject: String, trouble: Trouble) {
        let error = match trouble.code {
            Code::LOCAL_BAD_MSG | Code::INVALID_MSG => {
                let what = match trouble.words.contains("headers") {
                    true => "its headers cannot be taken apart",
                    false => "its checksum does not fit",
                };
                Error::new(
                    Kind::Broken,
                    "receive",
                    subject,
                    format!("what the broker sent is damaged: {what}"),
                )
            }
            _ => trouble.error(&About::new("receive", subject), &self.client),
        };
        self.fail(error);
    }

    /// What is done now and then.
    fn tidy(&mut self) {
        if let Err(trouble) = self.commits.commit(&mut self.parts) {
            self.not_committed(trouble);
        }
        let (Some(ends), false) = (&self.ends, self.over) else { return };
        let ours = self.parts.values();
        if !self.joined || self.change.is_some() || !self.held.is_empty() || !self.moving.is_empty() {
            return;
        }
        if !ours.clone().all(Part::is_done) {
            return;
        }
        let mut rest = ends.clone();
        rest.retain(|(topic, number), _| {
            !ours.clone().any(|part| part.topic == *topic && part.number == *number)
        });
        if rest.is_empty() {
            self.end();
        } else if self.others.is_none() && self.look <= Instant::now() {
            self.others = Some(membership::have_ended(&self.admin, &self.group, rest));
        }
    }

    /// A commit failed: where another try cannot help, the work ends.
    fn not_committed(&mut self, trouble: Trouble) {
        let error = trouble.error(&About::group("settle", &self.group), &self.client);
        tracing::debug!(%error, "not committed");
        // What is lost is said by the library too, and then it is not committed any more.
        let helpless = match error.kind() {
            Kind::Denied | Kind::NotFound | Kind::Rejected | Kind::Broken => true,
            Kind::Lost => false,
            _ => self.client.timeout().is_some_and(|patience| self.commits.failing_for() > patience),
        };
        if helpless {
            self.fail(error);
        }
    }

    /// When something is to be done though nothing happens.
    fn pause(&self) -> Instant {
        let serve = Instant::now() + SERVE;
        let waits = self.ends.is_some() && self.others.is_none() && self.look > Instant::now();
        let times = [
            self.commits.due(&self.parts),
            self.change.as_ref().and_then(Change::until),
            waits.then_some(self.look),
        ];
        times.into_iter().flatten().fold(serve, Instant::min)
    }

    fn end(&mut self) {
        self.over = true;
        self.tell(Ok(Received::End));
    }

    /// Ends with an error, the first of which is the one that counts.
    pub fn fail(&mut self, error: Error) {
        self.answers.fail(&error);
        if !std::mem::replace(&mut self.over, true) {
            self.tell(Err(error));
        }
    }

    /// Says something to whoever receives.
    pub fn tell(&self, what: Result<Received>) {
        // Nobody listens only while it is being closed.
        let _ = self.say.send(what);
    }

    /// Leaves: commits what is settled, and gives back the rest by going. Errors: what was settled last comes again.
    async fn leave(&mut self) -> Result<()> {
        let until = Instant::now() + COMMIT;
        let committed = self.commit_last().await;
        self.answer();
        if let Err(error) = &committed {
            self.answers.fail(error);
        }
        self.held.clear();
        self.parts.clear();
        membership::end(&self.client, &self.queue, self.change.take(), until).await;
        committed
    }
}

fn lost(group: &str) -> Error {
    let message = "its partition went to another member";
    Error::new(Kind::Lost, "settle", About::group("settle", group).subject, message)
}

/// Waits for what was asked; for ever if nothing was.
async fn asked<T>(what: Option<&mut Asked<T>>) -> Result<T> {
    match what {
        Some(what) => what.await,
        None => std::future::pending().await,
    }
}
