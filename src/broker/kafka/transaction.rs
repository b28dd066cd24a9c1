//! Dead letters moved exactly once: copies, and what says that they are settled, in one transaction.
//!
//! The transactional id is a function of the topic of the dead letters alone. Whoever takes it over fences who was there
//! before, so that there is one operator at a time, on whatever machine.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Kafka;
use super::admin::LATEST;
use super::client::{Client, Role};
use super::epoch;
use super::error::{About, Trouble, transactional_id};
use super::hanging;
use super::produce::{Room, Topic, reports};
use super::sys::{self, Code, rd_kafka_error_t, rd_kafka_t};
use crate::broker::{Error, Kind, Result, TAKEN_OVER};
use crate::event::{Event, Name, Position};

/// How long the broker waits for a run that died before it gives its transaction up; until then readers wait too.
const LONGEST: Duration = Duration::from_secs(900);
/// Where nobody says how long.
const USUAL: Duration = Duration::from_secs(60);

/// How often what waits behind a failure is thrown away: what comes back from the broker waits again.
const PURGES: Duration = Duration::from_millis(50);

/// Who moves dead letters now.
pub struct Operator {
    /// Go before the client.
    topics: HashMap<Name, Topic>,
    room: Room,
    sent: Sent,
    /// The last of what says what is settled.
    noted: Option<(Name, i32, i64)>,
    caller: Caller,
}

/// What was handed to the library, which reads payloads where they are until it has reported on them.
#[derive(Default)]
struct Sent {
    events: Vec<Event>,
    answers: Vec<Option<std::result::Result<Position, Trouble>>>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.answers.iter().any(Option::is_none) {
            std::mem::forget(std::mem::take(&mut self.events));
        }
    }
}

/// How a transaction ended.
pub enum Ended {
    /// All is there; the place of each copy.
    Committed(Vec<Position>),
    /// Nothing is there, because of these: by their index. None: the same may go now. So ends the transaction behind one
    /// that was refused, whose numbers the broker has not seen.
    Refused(Vec<(usize, Error)>),
}

impl Operator {
    /// Takes the work on these dead letters over from whoever is at it. What they had not committed is not there.
    pub async fn take_over(kafka: &Kafka, letters: &Name) -> Result<Operator> {
        let settings = &kafka.settings;
        let patience = settings.timeout.unwrap_or(USUAL).clamp(Duration::from_secs(1), LONGEST);
        let (id, ms) = (transactional_id(letters), patience.as_millis().to_string());
        let defaults = [
            ("linger.ms", "0"),
            ("message.max.bytes", "1000000000"),
            // A transaction ends in 9 ms so, and in 16 to 25 with the library's own.
            ("retry.backoff.ms", "5"),
            ("retry.backoff.max.ms", "20"),
            ("topic.metadata.propagation.max.ms", "2000"),
        ];
        let fixed = [
            ("transactional.id", &*id),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("transaction.timeout.ms", &ms),
            ("message.timeout.ms", &ms),
        ];
        let client = Client::new(Role::Producer, settings, &defaults, &fixed, |conf| {
            epoch::replace_marks(conf);
            // SAFETY: the configuration is live.
            unsafe { sys::rd_kafka_conf_set_events(conf.raw(), sys::RD_KAFKA_EVENT_DR) }
        })?;
        let (topics, room, sent) = (HashMap::new(), Room::default(), Sent::default());
        let caller = Caller { client, letters: letters.clone(), patience };
        // With a broker that it knows the library begins at once, without it after half a second.
        caller.client.describe_topics(&caller.about(), &[letters]).await?;
        caller.call(Step::Begin).await?;
        Ok(Operator { topics, room, sent, noted: None, caller })
    }

    /// Stores these, and what `settles` makes of their places, all or nothing.
    pub async fn transact(
        &mut self,
        copies: Vec<Event>,
        settles: impl FnOnce(&[Position]) -> Vec<Event>,
    ) -> Result<Ended> {
        self.begin()?;
        let stored = self.send(copies).await;
        let failed = |stored: Vec<std::result::Result<Position, Trouble>>| {
            let all = stored.into_iter().enumerate();
            all.filter_map(|(at, stored)| Some((at, stored.err()?))).collect::<Vec<_>>()
        };
        let places: Vec<Position> =
            stored.iter().filter_map(|stored| stored.as_ref().ok().cloned()).collect();
        let refused = failed(stored);
        if !refused.is_empty() {
            return self.give_up(refused).await.map(Ended::Refused);
        }
        let notes = settles(&places);
        let topic = notes.last().map(|note| note.topic().clone());
        let stored = self.send(notes).await;
        let noted = topic.zip(stored.last().and_then(|stored| stored.as_ref().ok()).cloned());
        let refused = failed(stored);
        if !refused.is_empty() {
            return match self.give_up(refused).await?.into_iter().next() {
                Some((_, error)) => Err(error),
                None => Ok(Ended::Refused(Vec::new())),
            };
        }
        match self.caller.call(Step::Commit).await {
            Ok(()) => {}
            // Where two take over at once the broker may refuse without a reason. An abort fails too where we are fenced,
            // or where it was committed after all; else nothing is there.
            Err(error) if matches!(error.kind(), Kind::Rejected | Kind::Broken) => {
                self.caller.call(Step::Abort).await?;
                return Ok(Ended::Refused(Vec::new()));
            }
            Err(error) => return Err(error),
        }
        self.noted = noted.and_then(|(topic, at)| Some((topic, at.partition()?, at.offset()?)));
        Ok(Ended::Committed(places))
    }

    /// Stores these in a transaction that is given up: nobody sees them, and what else was open of this id in the same
    /// partitions is given up with them.
    pub async fn abandon(&mut self, events: Vec<Event>) -> Result<()> {
        self.begin()?;
        let stored = self.send(events).await;
        let refused = stored.into_iter().enumerate().filter_map(|(at, stored)| Some((at, stored.err()?)));
        let refused = self.give_up(refused.collect()).await?;
        refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// How long what the broker does by itself is waited for.
    pub fn patience(&self) -> Duration {
        self.caller.patience
    }

    fn begin(&self) -> Result<()> {
        // SAFETY: the client is live.
        let begun = unsafe { Failure::taken(sys::rd_kafka_begin_transaction(self.caller.client.raw())) };
        self.caller.check(Step::Begin, begun)
    }

    /// Waits until who looks sees what was committed. The broker answers a commit once it is sure to happen, and makes it
    /// visible a little later: who asked then would find dead letters that were settled already.
    pub async fn until_visible(&mut self) -> Result<()> {
        let Some((topic, partition, offset)) = &self.noted else { return Ok(()) };
        let about = self.caller.about();
        let until = Instant::now() + self.caller.patience;
        loop {
            let asked = [(topic.clone(), *partition, LATEST)];
            let answers = self.caller.client.offsets(&about, &asked, true).await?;
            match answers.into_iter().next() {
                Some(Ok(end)) if end.offset <= *offset => {
                    if Instant::now() >= until {
                        return Err(hanging::hangs(topic));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Some(Err(trouble)) => return Err(trouble.error(&about, &self.caller.client)),
                _ => return Ok(()),
            }
        }
    }

    /// Aborts, and answers why.
    async fn give_up(&mut self, refused: Vec<(usize, Trouble)>) -> Result<Vec<(usize, Error)>> {
        self.caller.call(Step::Abort).await?;
        // One that failed takes with it those that wait behind it: they were purged, and are no reason.
        let reason = |code| !matches!(code, Code::LOCAL_PURGE_QUEUE | Code::LOCAL_PURGE_INFLIGHT);
        let refused = refused.into_iter().filter(|(_, trouble)| reason(trouble.code));
        let error = |(at, trouble): (usize, Trouble)| {
            let topic = self.sent.events.get(at).map_or(&self.caller.letters, Event::topic);
            (at, trouble.error(&About::topic("send", topic), &self.caller.client))
        };
        Ok(refused.map(error).collect())
    }

    /// Hands events to the library, and waits for what it reports on each.
    async fn send(&mut self, events: Vec<Event>) -> Vec<std::result::Result<Position, Trouble>> {
        self.sent = Sent { answers: events.iter().map(|_| None).collect(), events };
        let Operator { topics, room, sent, caller: Caller { client, .. }, noted: _ } = self;
        let Sent { events, answers } = sent;
        let mut first = 0;
        for run in events.chunk_by(|a, b| a.topic() == b.topic()) {
            let name = run[0].topic();
            if !topics.contains_key(name)
                && let Ok(topic) = Topic::new(client, name, true)
            {
                topics.insert(name.clone(), topic);
            }
            match topics.get(name) {
                // SAFETY: `sent` keeps the events until each is answered, and for ever if one is not.
                Some(topic) => unsafe {
                    topic.produce(run, first, room, |at, trouble| answers[first + at] = Some(Err(trouble)));
                },
                None => answers[first..first + run.len()].fill_with(|| {
                    let words = "is no name of a topic".to_owned();
                    Some(Err(Trouble { code: Code::TOPIC_EXCEPTION, words }))
                }),
            }
            first += run.len();
        }
        let queue = client.serve();
        while answers.iter().any(Option::is_none) {
            let Some(event) = queue.poll() else {
                if answers.iter().flatten().all(std::result::Result::is_ok) {
                    queue.filled().await;
                } else {
                    // After one that failed the library sends no others, and would keep them until their time is over.
                    let which = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
                    // SAFETY: the client is live.
                    unsafe { sys::rd_kafka_purge(client.raw(), which) };
                    let _ = tokio::time::timeout(PURGES, queue.filled()).await;
                }
                continue;
            };
            for report in reports(&event) {
                let (partition, offset) = (report.partition, report.offset);
                let place = match report.failed {
                    None => Ok(Position::At { partition, offset }),
                    Some((trouble, _)) => Err(trouble),
                };
                if let Some(answer) = answers.get_mut(report.number) {
                    *answer = Some(place);
                }
            }
        }
        std::mem::take(answers).into_iter().flatten().collect()
    }
}

/// What is asked of the library about a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To take the work over, or to begin.
    Begin,
    /// Only this may have been done though nobody has said so.
    Commit,
    Abort,
}

/// Whom the library's calls about transactions are made for. Apart from [`Operator`], which no two threads may look at.
struct Caller {
    client: Client,
    letters: Name,
    patience: Duration,
}

impl Caller {
    fn about(&self) -> About {
        About::topic("settle", &self.letters)
    }

    /// A call of the library's that blocks, on a thread of its own, again as long as it helps and there is time.
    async fn call(&self, step: Step) -> Result<()> {
        let call: unsafe extern "C" fn(*mut rd_kafka_t, i32) -> *mut rd_kafka_error_t = match step {
            Step::Begin => sys::rd_kafka_init_transactions,
            Step::Commit => sys::rd_kafka_commit_transaction,
            Step::Abort => sys::rd_kafka_abort_transaction,
        };
        let until = Instant::now() + self.patience;
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_millis().max(1) as i32;
            let client = self.client.clone();
            // SAFETY: the client is live for as long as the call takes.
            let called =
                tokio::task::spawn_blocking(move || unsafe { Failure::taken(call(client.raw(), left)) });
            let failure = tokio::select! {
                called = called => called.unwrap_or_else(|_| Some(Failure::of(Code::LOCAL_DESTROY))),
                trouble = self.client.refused() => return self.check(step, Some(Failure { trouble, again: false })),
            };
            match failure {
                Some(Failure { again: true, .. }) if Instant::now() < until => {}
                failure => return self.check(step, failure),
            }
        }
    }

    fn check(&self, step: Step, failure: Option<Failure>) -> Result<()> {
        let Some(Failure { trouble, .. }) = failure else { return Ok(()) };
        let fenced = [Code::LOCAL_FENCED, Code::PRODUCER_FENCED, Code::INVALID_PRODUCER_EPOCH];
        if fenced.contains(&trouble.code) {
            // The broker says the same to one whose transaction it gave up because nothing was heard for so long.
            let message =
                "another run has taken over, or the broker was away for so long that it gave this one up";
            return Err(Error::new(Kind::Lost, TAKEN_OVER, format!("topic {}", self.letters), message));
        }
        let error = match trouble.code {
            // About an answer to a request that stands in no receipt.
            Code::REQUEST_TIMED_OUT => Trouble::of(Code::LOCAL_TIMED_OUT).error(&self.about(), &self.client),
            _ => trouble.error(&self.about(), &self.client),
        };
        Err(match error.kind() {
            Kind::Unreachable | Kind::InDoubt if step == Step::Commit => {
                let message = format!(
                    "no answer to the end of a transaction: it may have been settled ({})",
                    error.detail().message
                );
                Error::new(Kind::InDoubt, "settle", format!("topic {}", self.letters), message)
                    .with_hint("the same command again finds out: it repeats nothing that was settled")
            }
            _ => error,
        })
    }
}

/// Why a call about transactions failed.
struct Failure {
    trouble: Trouble,
    /// The same call may be made again.
    again: bool,
}

impl Failure {
    fn of(code: Code) -> Failure {
        Failure { trouble: Trouble::of(code), again: false }
    }

    /// # Safety
    /// `error` must be null or live, and nobody else's.
    unsafe fn taken(error: *mut rd_kafka_error_t) -> Option<Failure> {
        if error.is_null() {
            return None;
        }
        // SAFETY: the caller's; freed last.
        unsafe {
            let trouble =
                Trouble { code: sys::error_code(error), words: sys::text(sys::rd_kafka_error_string(error)) };
            let again = sys::rd_kafka_error_is_retriable(error) != 0;
            sys::rd_kafka_error_destroy(error);
            Some(Failure { trouble, again })
        }
    }
}
