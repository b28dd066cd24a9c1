//! Where replayed events go, and the account of what became of them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::OnError;
use super::copy::Copying;
use super::work::{Handling, Hands};
use crate::broker::{self, PublishOptions, Receipt};
use crate::event::{Event, Events, Name, Position};
use crate::flow::checkpoint::{Checkpoint, Places, Progress};
use crate::flow::failures::Failures;
use crate::flow::outbox::{Confirmed, Outbox, Window};
use crate::output::Printer;
use crate::output::screen::Screen;
use crate::session::Session;
use crate::shutdown::Stop;

/// What was asked for.
pub enum Target {
    Stdout(Printer),
    Copy(Copying),
    Command(Handling),
}

impl Target {
    /// `to stdout`, `into orders-again on prod`, `through ./ship.sh`.
    pub fn words(&self) -> String {
        match self {
            Target::Stdout(_) => "to stdout".into(),
            Target::Copy(copying) => copying.words(),
            Target::Command(handling) => format!("through {}", handling.program.name.to_string_lossy()),
        }
    }

    /// What an event that failed was not: `delivered to orders-again on prod`, `handled by ./ship.sh`.
    pub fn done(&self) -> String {
        match self {
            Target::Stdout(_) => "printed".into(),
            Target::Copy(copying) => format!("delivered to {}", copying.words().trim_start_matches("into ")),
            Target::Command(handling) => format!("handled by {}", handling.program.name.to_string_lossy()),
        }
    }

    /// Opens it.
    pub async fn open(self, session: &Session, several: bool) -> anyhow::Result<Sink> {
        Ok(match self {
            Target::Stdout(mut printer) => {
                printer.show_topics(several);
                Sink::Stdout(Box::new(Screen::open(printer)?))
            }
            Target::Copy(copying) => {
                // What is copied is in memory twice.
                let window = Window { bytes: 3 << 20, ..Window::default() };
                let options = PublishOptions { in_flight: window.events, ..PublishOptions::default() };
                let outbox = Outbox::new(copying.broker.publisher(options).await?, window);
                Sink::Copy(Box::new(copying), outbox)
            }
            Target::Command(handling) => Sink::Command(Hands::begin(handling, session)?),
        })
    }
}

/// A target at work.
pub enum Sink {
    Stdout(Box<Screen>),
    /// The tag is the number of the chunk, and the events as they were before they were copied.
    Copy(Box<Copying>, Outbox<(u64, Events)>),
    Command(Hands),
}

impl Sink {
    /// Takes a chunk; waits while too much is under way.
    pub async fn put(&mut self, chunk: u64, events: Events, account: &mut Account) -> anyhow::Result<()> {
        match self {
            Sink::Stdout(screen) => {
                screen.events(&events).await?;
                account.handled(events.len() as u64);
                account.settled(chunk, events.len());
                if account.is_due() {
                    screen.flush().await?;
                    account.save()?;
                }
            }
            Sink::Copy(copying, outbox) => {
                let most = Window::default().events;
                for from in (0..events.len()).step_by(most) {
                    let part = events.slice(from..events.len().min(from + most));
                    let size = part.size();
                    while !outbox.has_room(part.len(), size) {
                        if let Some(confirmed) = outbox.next().await {
                            account.confirmed(confirmed)?;
                        }
                    }
                    outbox.send(copying.copies(&part), (chunk, part));
                }
                account.save_if_due()?;
            }
            Sink::Command(hands) => {
                hands.put(chunk, events, account).await?;
                account.save_if_due()?;
            }
        }
        Ok(())
    }

    /// Hears of something that was under way; waits for ever where nothing is. Cancel safe.
    pub async fn hear(&mut self, account: &mut Account) -> anyhow::Result<()> {
        match self {
            Sink::Copy(_, outbox) if !outbox.is_empty() => {
                if let Some(confirmed) = outbox.next().await {
                    account.confirmed(confirmed)?;
                }
                account.save_if_due()
            }
            Sink::Command(hands) if hands.is_busy() => {
                hands.hear(account).await?;
                account.save_if_due()
            }
            _ => std::future::pending().await,
        }
    }

    /// Nobody is to wait for what was printed.
    pub async fn hurry(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::Stdout(screen) => Ok(screen.write().await?),
            _ => Ok(()),
        }
    }

    /// Events that are one chunk: of those that a command works on, each by itself, so that a rerun repeats none that was
    /// handled.
    pub fn together(&self) -> usize {
        if matches!(self, Sink::Command(_)) { 1 } else { usize::MAX }
    }

    /// Waits until nothing is under way any more. Once somebody wants us to stop nothing new is begun.
    pub async fn finish(&mut self, account: &mut Account, stop: &Stop) -> anyhow::Result<()> {
        let finished = match self {
            Sink::Stdout(screen) if !stop.is_requested() => screen.flush().await.map_err(Into::into),
            // A reader who stopped reading is not waited for; what it did not get has not been passed.
            Sink::Stdout(screen) => match tokio::time::timeout(LAST_WRITE, screen.flush()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => return Ok(()),
            },
            Sink::Copy(_, outbox) => loop {
                let Some(confirmed) = outbox.next().await else { break Ok(()) };
                if let Err(error) = account.confirmed(confirmed) {
                    break Err(error);
                }
            },
            Sink::Command(hands) => hands.finish(account, stop).await,
        };
        // Also of what ended with an error: the rerun goes on from there.
        finished.and(account.save())
    }
}

/// A part of what was read, on its way.
struct Chunk {
    /// How far reading had come at its end.
    places: Places,
    /// Events that are under way.
    open: usize,
    events: u64,
}

/// What became of events, and how far all is done.
pub struct Account {
    checkpoint: Option<Checkpoint>,
    pub failures: Failures,
    on_error: OnError,
    /// Copied, handled or printed.
    pub done: u64,
    /// One failed, and that ends it.
    pub stopped: bool,
    chunks: VecDeque<Chunk>,
    first: u64,
    reached: Option<Places>,
    unsaved: u64,
    save_at: Instant,
    within: Within,
}

/// How far copies are done within the first open chunk: the one that ends the replay may lie in its middle.
#[derive(Default)]
struct Within {
    passed: Progress,
    /// The last that was done, and is not passed yet: `--transform` can make several of one event.
    last: Option<Event>,
    events: u64,
    /// One failed that ends the replay: what was done behind it comes again.
    ended: bool,
}

impl Within {
    fn at(places: &[(Name, Position)]) -> Within {
        Within { passed: Progress::new(places), ..Within::default() }
    }

    fn pass(&mut self, event: &Event) {
        if let Some(last) = self.last.replace(event.clone())
            && !is_same(&last, event)
        {
            self.passed.pass(&last);
        }
        self.events += 1;
    }

    /// The places before the event that failed.
    fn end(&mut self, failed: &Event) -> Places {
        self.ended = true;
        if let Some(last) = self.last.take().filter(|last| !is_same(last, failed)) {
            self.passed.pass(&last);
        }
        self.passed.places().clone()
    }
}

fn is_same(one: &Event, other: &Event) -> bool {
    one.position() == other.position() && one.topic() == other.topic()
}

/// The longest wait for stdout after somebody asked us to stop.
const LAST_WRITE: Duration = Duration::from_millis(500);
/// A checkpoint is written so often.
const SAVE: Duration = Duration::from_millis(100);

impl Account {
    pub fn new(checkpoint: Option<Checkpoint>, failures: Failures, on_error: OnError) -> Account {
        Account {
            checkpoint,
            failures,
            on_error,
            done: 0,
            stopped: false,
            chunks: VecDeque::new(),
            first: 0,
            reached: None,
            unsaved: 0,
            save_at: Instant::now(),
            within: Within::default(),
        }
    }

    /// Whether anybody wants to know how far it has come.
    pub fn keeps_places(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Fixes start and end, and writes them down before anything is done: the same command goes on to the same end,
    /// whether or not there was anything to read, and what cannot be kept is known before the first event is on its way.
    pub fn begin_at(&mut self, start: &[(Name, Position)], end: &[(Name, Position)]) -> anyhow::Result<()> {
        self.within = Within::at(start);
        match &mut self.checkpoint {
            None => Ok(()),
            Some(checkpoint) => {
                checkpoint.set_end(end);
                checkpoint.save(start, 0)
            }
        }
    }

    /// A chunk of so many events begins; the number it is spoken of by.
    pub fn begin(&mut self, events: usize, places: Places) -> u64 {
        self.chunks.push_back(Chunk { places, open: events, events: events as u64 });
        self.first + self.chunks.len() as u64 - 1
    }

    /// So many more were done.
    pub fn handled(&mut self, events: u64) {
        self.done += events;
    }

    /// So many of a chunk are no longer under way, done or failed. Nothing after a failure that ends the replay counts:
    /// the rerun begins with it.
    pub fn settled(&mut self, chunk: u64, events: usize) {
        let index = (chunk - self.first) as usize;
        if let Some(chunk) = self.chunks.get_mut(index) {
            chunk.open -= events.min(chunk.open);
        }
        while self.chunks.front().is_some_and(|chunk| chunk.open == 0) {
            if let Some(chunk) = self.chunks.pop_front() {
                self.first += 1;
                self.unsaved += chunk.events;
                if self.checkpoint.is_some() {
                    self.within = Within::at(&chunk.places);
                }
                self.reached = Some(chunk.places);
            }
        }
    }

    /// An event failed, and why. Whether that is told apart from done: its chunk stays open if it ends the replay.
    pub fn failed(&mut self, chunk: u64) {
        match self.on_error {
            OnError::Continue => self.settled(chunk, 1),
            OnError::Stop => self.stopped = true,
        }
    }

    /// Whether the first failure ends the replay; if so it does now.
    pub fn stops(&mut self) -> bool {
        self.stopped |= self.on_error == OnError::Stop;
        self.stopped
    }

    fn confirmed(&mut self, confirmed: Confirmed<(u64, Events)>) -> anyhow::Result<()> {
        let (chunk, originals) = &*confirmed.tag;
        self.answered(*chunk, &originals[confirmed.offset..], &confirmed.receipts)
    }

    /// What became of the copies of these.
    fn answered(
        &mut self,
        chunk: u64,
        originals: &[Event],
        receipts: &[broker::Result<Receipt>],
    ) -> anyhow::Result<()> {
        for (original, receipt) in originals.iter().zip(receipts) {
            match receipt {
                Ok(_) => {
                    self.done += 1;
                    self.pass(original);
                    self.settled(chunk, 1);
                }
                Err(error) => {
                    self.failures.undelivered(place(original), error, original)?;
                    self.fail(original);
                    self.failed(chunk);
                }
            }
        }
        Ok(())
    }

    /// This one is done, and so are all before it: confirmations come in the order of sending.
    fn pass(&mut self, event: &Event) {
        if self.checkpoint.is_some() && !self.within.ended {
            self.within.pass(event);
        }
    }

    /// This one failed. If that ends the replay, the rerun begins with it.
    fn fail(&mut self, event: &Event) {
        match self.on_error {
            OnError::Continue => self.pass(event),
            OnError::Stop if self.checkpoint.is_some() && !self.within.ended => {
                self.reached = Some(self.within.end(event));
                self.unsaved += self.within.events;
            }
            OnError::Stop => (),
        }
    }

    /// Whether it is time for a checkpoint.
    fn is_due(&self) -> bool {
        self.checkpoint.is_some() && Instant::now() >= self.save_at
    }

    fn save_if_due(&mut self) -> anyhow::Result<()> {
        if self.is_due() { self.save() } else { Ok(()) }
    }

    /// Writes the checkpoint. Requires: what is settled has left us.
    fn save(&mut self) -> anyhow::Result<()> {
        let Some(checkpoint) = &mut self.checkpoint else { return Ok(()) };
        if let Some(places) = self.reached.take() {
            self.failures.flush()?;
            checkpoint.save(&places, std::mem::take(&mut self.unsaved))?;
            self.save_at = Instant::now() + SAVE;
        }
        Ok(())
    }
}

/// Where an event lies, for people.
pub fn place(event: &Event) -> String {
    format!("{} {}", event.topic(), event.position())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Error, Kind};
    use crate::event::{Batch, Headers};

    fn events(offsets: &[i64]) -> Events {
        let mut batch = Batch::default();
        for offset in offsets {
            batch.push(&"n".into(), None, Headers::default(), None, None, Position::Offset(*offset));
        }
        batch.finish()
    }

    /// What the checkpoint says after copies of these events, in one chunk, of which the marked one failed.
    fn next_after(offsets: &[i64], failed: usize, on_error: OnError) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("at");
        let (checkpoint, _) = Checkpoint::open(&path, "n into m").unwrap();
        let mut account = Account::new(Some(checkpoint), Failures::open(None, &[]).unwrap(), on_error);
        let at = |offset| vec![("n".into(), Position::Offset(offset))];
        account.begin_at(&at(0), &at(9)).unwrap();
        let chunk = account.begin(offsets.len(), at(9));
        let receipt = |n| match n == failed {
            true => Err(Error::new(Kind::Rejected, "send", "topic m", "no")),
            false => Ok(Receipt { position: Position::Offset(0), duplicate: false }),
        };
        // In two parts, as the outbox has it where one request takes not all of them.
        for part in [0..1, 1..offsets.len()] {
            let receipts: Vec<_> = part.clone().map(receipt).collect();
            account.answered(chunk, &events(offsets)[part], &receipts).unwrap();
        }
        account.save().unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        kept["next"][0][1].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_copy_that_fails_within_a_chunk_is_where_the_rerun_begins() {
        assert_eq!(
            next_after(&[0, 1, 4, 5], 2, OnError::Stop),
            "2",
            "what was not wanted is read again, and no copy made"
        );
        assert_eq!(next_after(&[0, 1, 4, 5], 0, OnError::Stop), "0");
        assert_eq!(
            next_after(&[0, 1, 1, 5], 2, OnError::Stop),
            "1",
            "one of two that --transform made of it"
        );
        assert_eq!(next_after(&[0, 1, 4, 5], 2, OnError::Continue), "9");
    }
}
