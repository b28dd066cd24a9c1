//! Where replayed events go, and the account of what became of them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::OnError;
use super::copy::Copying;
use super::work::{Handling, Hands};
use crate::broker::PublishOptions;
use crate::event::{Event, Events};
use crate::flow::checkpoint::{Checkpoint, Places};
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
        }
    }

    /// Whether anybody wants to know how far it has come.
    pub fn keeps_places(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Finds out whether checkpoints can be written, before anything is done that they should tell of.
    pub fn try_checkpoint(&self) -> anyhow::Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), Checkpoint::try_writing)
    }

    /// Fixes the end.
    pub fn set_end(&mut self, end: &[(crate::event::Name, crate::event::Position)]) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.set_end(end);
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
        for (original, receipt) in originals[confirmed.offset..].iter().zip(&confirmed.receipts) {
            match receipt {
                Ok(_) => {
                    self.done += 1;
                    self.settled(*chunk, 1);
                }
                Err(error) => {
                    self.failures.undelivered(place(original), error, original)?;
                    self.failed(*chunk);
                }
            }
        }
        Ok(())
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
