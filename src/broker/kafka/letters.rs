//! A run over dead letters: reads those of its plan, and settles them in transactions.
//!
//! Nothing is claimed by reading. The first settle of the run takes the work over from whoever is at it
//! (`transaction`), and then looks again at what is settled (`settled`): until then others may have settled what was
//! handed out here, and from then on nobody else can.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::desk::Command;
use super::hanging;
use super::settled::{self, Settled};
use super::subscription::Answer;
use super::transaction::{Ended, Operator};
use super::{Kafka, places, reader, topics};
use crate::broker::{
    Delivery, Error, Kind, Read, ReadOptions, Reader, Receipt, Received, Result, Settlement, Start, Stop,
    SubscribeOptions, TAKEN_OVER, Token,
};
use crate::event::{Event, Name, Position};

/// At most so many are settled in a transaction.
const AT_ONCE: usize = 500;
/// How often a transaction is tried that ended for no reason of its own.
const TRIES: usize = 3;
/// Bytes in hand from which no more are taken.
const BYTES: usize = 16 << 20;

/// Everything a run has.
pub struct Letters {
    kafka: Kafka,
    letters: Name,
    settled: Settled,
    /// The plan's positions; `None`: all.
    chosen: Option<HashSet<(i32, i64)>>,
    /// `None` when all was read.
    reader: Option<Box<dyn Reader>>,
    /// Read and not handed out.
    read: VecDeque<Event>,
    held: HashMap<Token, (i32, i64, usize)>,
    bytes: usize,
    minted: u64,
    in_flight: usize,
    operator: Option<Operator>,
    /// The name of this run, where what it moved says so.
    run: Option<String>,
    commands: mpsc::UnboundedReceiver<Command>,
    say: mpsc::UnboundedSender<Result<Received>>,
    /// The end or an error was said.
    over: bool,
}

/// One that is to be settled in a transaction.
struct Turn {
    /// Its place among the answers.
    at: usize,
    token: Token,
    place: (i32, i64),
    copy: Option<Event>,
}

impl Turn {
    fn run(&self) -> Option<String> {
        settled::run_of(self.copy.as_ref()?)
    }
}

impl Letters {
    /// Begins. The end is fixed here. Errors: there is no such topic, or what says which are settled cannot be made.
    pub async fn begin(
        kafka: &Kafka,
        letters: &Name,
        chosen: Option<&[Position]>,
        options: &SubscribeOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        say: mpsc::UnboundedSender<Result<Received>>,
    ) -> Result<Letters> {
        const OPERATION: &str = "subscription";
        let found = topics::existing(kafka.admin()?, OPERATION, std::slice::from_ref(letters)).await?;
        settled::make(kafka, letters).await?;
        let mut settled = Settled::default();
        settled.read_on(kafka, letters).await?;
        let mut look = ReadOptions {
            topics: vec![letters.clone()],
            partition: None,
            start: Start::Earliest,
            stop: options.stop.clone(),
            unsettled: false,
        };
        let chosen = match chosen {
            None => None,
            Some(positions) => {
                let place = |position: &Position| match position {
                    Position::At { partition, offset } => Ok((*partition, *offset)),
                    _ => {
                        let message =
                            format!("{position} is no position here: PARTITION:OFFSET, such as 0:123");
                        Err(Error::new(Kind::Rejected, OPERATION, format!("topic {letters}"), message))
                    }
                };
                let chosen = positions.iter().map(place).collect::<Result<HashSet<_>>>()?;
                let spans = places::spans(kafka.admin()?, OPERATION, &found).await?;
                let (mut starts, mut stops) = (Vec::new(), Vec::new());
                for span in &spans {
                    let open = chosen.iter().filter(|(partition, offset)| {
                        *partition == span.partition
                            && (span.first..span.end).contains(offset)
                            && !settled.has(*partition, *offset)
                    });
                    let (first, last) = open.fold((i64::MAX, -1), |(first, last), (_, offset)| {
                        (first.min(*offset), last.max(*offset))
                    });
                    if last >= 0 {
                        let at =
                            |offset| (letters.clone(), Position::At { partition: span.partition, offset });
                        starts.push(at(first));
                        stops.push(at(last + 1));
                    }
                }
                (look.start, look.stop) = (Start::At(starts), Stop::At(stops));
                Some(chosen)
            }
        };
        let nothing = matches!(&look.start, Start::At(places) if places.is_empty());
        let reader = match nothing {
            true => None,
            false => Some(reader::begin(kafka, look, HashMap::new()).await?),
        };
        Ok(Letters {
            kafka: kafka.clone(),
            letters: letters.clone(),
            settled,
            chosen,
            reader,
            read: VecDeque::new(),
            held: HashMap::new(),
            bytes: 0,
            minted: 0,
            in_flight: options.in_flight.max(1),
            operator: None,
            run: None,
            commands,
            say,
            over: false,
        })
    }

    /// Until it is closed, or nobody is there any more.
    pub async fn run(mut self) {
        loop {
            // What is handed out together is most often settled together, and a transaction costs the same for one.
            while self.has_room()
                && self.held.len() + self.read.len() < self.in_flight
                && let Some(read) = next(&mut self.reader).now_or_never()
            {
                self.take(read);
            }
            self.hand_out();
            if !self.over && self.reader.is_none() && self.read.is_empty() && self.held.is_empty() {
                self.over = true;
                self.tell(Ok(Received::End));
            }
            let reads_on = self.read.is_empty() && self.has_room();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Settle(items, answer)) => {
                        let answers = self.settle(items).await;
                        // Who asked may have given up waiting.
                        let _ = answer.send(answers);
                    }
                    Some(Command::Close(answer)) => {
                        // Who does not see it yet does so later: what was committed is done.
                        if let Some(operator) = &mut self.operator
                            && let Err(error) = operator.until_visible().await
                        {
                            tracing::warn!("what was settled is not seen yet: {error}");
                        }
                        let _ = answer.send(Ok(()));
                        return;
                    }
                    None => return,
                },
                read = next(&mut self.reader), if reads_on => self.take(read),
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.over && self.held.len() < self.in_flight && self.bytes < BYTES
    }

    fn take(&mut self, read: Result<Read>) {
        match read {
            Ok(Read::Events(events)) => {
                for event in &events {
                    let wanted = place_of(event).is_some_and(|place| {
                        self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&place))
                            && !self.settled.has(place.0, place.1)
                    });
                    if wanted {
                        self.read.push_back(event.clone());
                    }
                }
            }
            Ok(Read::CaughtUp) => {}
            Ok(Read::End) => self.reader = None,
            Err(error) => {
                self.over = true;
                self.tell(Err(error));
            }
        }
    }

    fn hand_out(&mut self) {
        let mut deliveries = Vec::new();
        while self.has_room()
            && let Some(event) = self.read.pop_front()
        {
            let Some((partition, offset)) = place_of(&event) else { continue };
            self.minted += 1;
            let token = Token(self.minted);
            self.bytes += event.size();
            self.held.insert(token, (partition, offset, event.size()));
            deliveries.push(Delivery { event, token, attempt: None });
        }
        if !deliveries.is_empty() {
            self.tell(Ok(Received::Deliveries(deliveries)));
        }
    }

    async fn settle(&mut self, items: Vec<(Token, Settlement)>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(items.len());
        let mut turns = Vec::new();
        for (token, how) in items {
            let at = answers.len();
            let place = self.held.get(&token).map(|(partition, offset, _)| (*partition, *offset));
            answers.push(match (place, how) {
                (None, _) => Err(self.error(Kind::Lost, "another run has it")),
                (_, Settlement::Retry(_)) => {
                    Err(self.error(Kind::Unsupported, "Kafka cannot hold a retry back"))
                }
                (_, Settlement::Move { only: Some(_), .. }) => {
                    let message = "an event goes to every group here, not to one alone";
                    Err(self.error(Kind::Unsupported, message))
                }
                (Some(_), Settlement::Release) => {
                    self.forget(token);
                    Ok(None)
                }
                (Some(place), Settlement::Ack) => {
                    turns.push(Turn { at, token, place, copy: None });
                    Ok(None)
                }
                (Some(place), Settlement::Move { event, only: None }) => {
                    turns.push(Turn { at, token, place, copy: Some(*event) });
                    Ok(None)
                }
            });
        }
        while !turns.is_empty() {
            let rest = turns.split_off(turns.len().min(AT_ONCE));
            let some = std::mem::replace(&mut turns, rest);
            let mut open: Vec<_> = some.iter().map(|turn| (turn.at, turn.token)).collect();
            if let Err(error) = self.transact(some, &mut answers).await {
                open.extend(turns.drain(..).map(|turn| (turn.at, turn.token)));
                open.retain(|(at, token)| answers[*at].is_ok() && self.held.contains_key(token));
                let error = self.explain(error).await;
                open.into_iter().for_each(|(at, _)| answers[at] = Err(error.clone()));
            }
        }
        answers
    }

    /// Settles these in one transaction; in more where some cannot be stored, without those. Errors: none that is still
    /// held is settled.
    async fn transact(&mut self, mut turns: Vec<Turn>, answers: &mut [Answer]) -> Result<()> {
        if self.operator.is_none() {
            let mut operator = Operator::take_over(&self.kafka, &self.letters).await?;
            hanging::end(&self.kafka, &self.letters, &mut operator).await?;
            self.settled.read_on(&self.kafka, &self.letters).await?;
            // Not before all that others settled is known.
            self.operator = Some(operator);
        }
        let (open, done): (Vec<_>, Vec<_>) =
            turns.into_iter().partition(|turn| !self.settled.has(turn.place.0, turn.place.1));
        turns = open;
        for turn in done {
            let who = self.settled.last_run.as_ref().map_or("another run".into(), |run| format!("run {run}"));
            answers[turn.at] = Err(self.error(Kind::Lost, &format!("{who} has settled it since the plan")));
            self.forget(turn.token);
        }
        let (mut groups, mut tried) = (vec![turns], 0);
        while let Some(mut turns) = groups.pop() {
            let Some(operator) = self.operator.as_mut().filter(|_| !turns.is_empty()) else { continue };
            let copies: Vec<Event> = turns.iter().filter_map(|turn| turn.copy.clone()).collect();
            let (letters, id) = (&self.letters, self.settled.id.as_deref());
            let notes = |places: &[Position]| {
                settled::notes(letters, id, turns.iter().map(|turn| (turn.place, turn.copy.as_ref())), places)
            };
            match operator.transact(copies, notes).await? {
                Ended::Committed(places) => {
                    tried = 0;
                    self.run = self.run.take().or_else(|| turns.iter().find_map(Turn::run));
                    let mut places = places.into_iter();
                    for turn in turns {
                        let position = turn.copy.is_some().then(|| places.next()).flatten();
                        let receipt = position.map(|position| Receipt { position, duplicate: false });
                        answers[turn.at] = Ok(receipt);
                        self.settled.add(turn.place.0, &[turn.place.1]);
                        self.forget(turn.token);
                    }
                }
                Ended::Refused(refused) if refused.is_empty() && tried < TRIES => {
                    tried += 1;
                    groups.push(turns);
                }
                Ended::Refused(refused) if refused.is_empty() => {
                    let message = "the broker takes no transaction to its end";
                    return Err(self.error(Kind::Broken, message));
                }
                Ended::Refused(refused) => {
                    // The others would fare no better.
                    let last = [Kind::Unreachable, Kind::InDoubt, Kind::Lost, Kind::Broken];
                    if let Some((_, error)) = refused.iter().find(|(_, error)| last.contains(&error.kind())) {
                        return Err(error.clone());
                    }
                    // For one event the broker refuses all that came with it.
                    if refused.len() > 1 && refused.iter().all(|(_, error)| error.kind() == Kind::Rejected) {
                        let half = turns.split_off(turns.len() / 2);
                        groups.extend([half, turns]);
                        continue;
                    }
                    let mut refused: BTreeMap<usize, Error> = refused.into_iter().collect();
                    let mut copy = 0;
                    turns.retain(|turn| {
                        let at = copy;
                        copy += usize::from(turn.copy.is_some());
                        let error = turn.copy.is_some().then(|| refused.remove(&at)).flatten();
                        let goes = error.is_none();
                        if let Some(error) = error {
                            answers[turn.at] = Err(error);
                        }
                        goes
                    });
                    groups.push(turns);
                }
            }
        }
        Ok(())
    }

    /// Who was fenced is at its end, and says who took over, if they have done something.
    async fn explain(&mut self, error: Error) -> Error {
        if error.detail().operation != TAKEN_OVER {
            return error;
        }
        let before = self.settled.last_run.take();
        let known = self.settled.read_on(&self.kafka, &self.letters).await.is_ok();
        let others = |run: &String| known && ![&before, &self.run].contains(&&Some(run.clone()));
        let who = match self.settled.last_run.clone().filter(others) {
            Some(run) => format!("run {run} has taken over"),
            None => error.detail().message.clone(),
        };
        (self.reader, self.operator) = (None, None);
        self.read.clear();
        self.held.clear();
        self.bytes = 0;
        Error::new(
            Kind::Lost,
            TAKEN_OVER,
            format!("topic {}", self.letters),
            format!("{who}, and this one ends"),
        )
        .with_hint("what it had not settled is theirs; to go on afterwards: the same command again")
    }

    fn forget(&mut self, token: Token) {
        self.bytes -= self.held.remove(&token).map_or(0, |(.., bytes)| bytes);
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(kind, "settle", format!("topic {}", self.letters), message)
    }

    fn tell(&self, what: Result<Received>) {
        // Nobody listens only while it is being closed.
        let _ = self.say.send(what);
    }
}

fn place_of(event: &Event) -> Option<(i32, i64)> {
    Some((event.position().partition()?, event.position().offset()?))
}

/// What is read next; for ever if all was read.
async fn next(reader: &mut Option<Box<dyn Reader>>) -> Result<Read> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}
