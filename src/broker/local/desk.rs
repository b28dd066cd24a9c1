//! The thread of a subscription: claims, settles, keeps the lease, and says what it has.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Keeper;
use super::fault::Fault;
use super::file::{Bell, Durability, Store};
use super::letters_work::LettersWork;
use super::loot::{BYTES, Loot, Slot};
use super::settle::{self, Answer, Item};
use super::shared_work::SharedWork;
use super::watch::{Knocker, Watch};
use super::work::Work;
use crate::broker::{
    ByToken, Delivery, Error, Kind, Received, Result, Settlement, Source, SubscribeOptions, Token,
};
use crate::event::Millis;

/// How often an idle member looks for the events of one that died: nobody rings the bell for it.
const LOOK: Millis = 3_000;
/// Acks are written to the disk at least so often; a power cut takes back no more.
const SYNC: Millis = 1_000;
/// With more than half in hand there is no hurry to take each event as it comes; and no waiting for the rest of what
/// is in hand either, which may take an hour.
const CALM: Millis = 20;
/// A member that lives long cuts the log at this.
const LOG: u64 = 16 << 20;

/// What is to be settled together, and who waits for the answers.
type Asked = (Vec<(Token, Settlement)>, oneshot::Sender<Vec<Answer>>);

/// What the trait's methods ask for.
pub enum Command {
    /// `settle`.
    Settle(Vec<(Token, Settlement)>, oneshot::Sender<Vec<Answer>>),
    /// `extend`.
    Extend(oneshot::Sender<Result<()>>),
    /// `close`, with what was said and not received.
    Close(mpsc::UnboundedReceiver<Result<Received>>, oneshot::Sender<Result<()>>),
}

/// Everything a subscription has.
pub struct Desk {
    store: Store,
    keeper: Keeper,
    watch: Watch,
    work: Box<dyn Work>,
    commands: Receiver<Command>,
    say: mpsc::UnboundedSender<Result<Received>>,
    in_flight: usize,
    lease: Millis,
    held: ByToken<Slot>,
    /// What they take in memory, all together.
    bytes: usize,
    minted: u64,
    /// The last claim found all it wanted: there is more without anybody ringing.
    more: bool,
    /// The last claim found the end; it is said when nothing is held.
    exhausted: bool,
    /// The end or an error was said.
    over: bool,
    /// The earliest time at which there may be more.
    due: Option<Millis>,
    looked: Millis,
    kept: Millis,
    synced: Millis,
    /// Acks since then that a power cut would take back.
    unsynced: bool,
}

impl Desk {
    /// Joins, and watches the bell from before the first look.
    pub fn join(
        store: Store,
        source: Source,
        options: SubscribeOptions,
        commands: Receiver<Command>,
        say: mpsc::UnboundedSender<Result<Received>>,
    ) -> Result<(Desk, Knocker)> {
        let explain = |fault| store.explain(fault, "subscription");
        let (watch, knocker) = Watch::new(store.side().bell_path()).map_err(|error| explain(error.into()))?;
        let mut keeper = Keeper::new(LOG);
        keeper.keep(&store);
        let work = store
            .write(Durability::Process, Bell::Silent, |sql| {
                Ok::<Box<dyn Work>, Fault>(match &source {
                    Source::Group { topics, group } => {
                        Box::new(SharedWork::join(&store, sql, topics, group, &options)?)
                    }
                    Source::DeadLetters { dlq, chosen } => {
                        Box::new(LettersWork::join(&store, sql, dlq, chosen.as_deref(), &options)?)
                    }
                    Source::Queue(queue) => {
                        let message = "there are no queues here";
                        return Err(Error::new(Kind::Unsupported, "subscription", &**queue, message).into());
                    }
                })
            })
            .map_err(explain)?;
        let now = store.now();
        let desk = Desk {
            keeper,
            watch,
            work,
            commands,
            say,
            in_flight: options.in_flight.max(1),
            lease: options.lease.as_millis() as Millis,
            held: ByToken::default(),
            bytes: 0,
            minted: 0,
            more: true,
            exhausted: false,
            over: false,
            due: None,
            looked: now,
            kept: now,
            synced: now,
            unsynced: false,
            store,
        };
        Ok((desk, knocker))
    }

    /// Until it is closed, or nobody is there any more.
    pub fn run(mut self) {
        while self.obey() {
            self.refill();
            self.tidy();
            self.watch.wait(Some(self.pause()));
        }
    }

    /// Does what was asked for. False: it is closed.
    fn obey(&mut self) -> bool {
        let mut settles = vec![];
        loop {
            match self.commands.try_recv() {
                Ok(Command::Settle(items, answer)) => settles.push((items, answer)),
                Ok(Command::Extend(answer)) => drop(answer.send(self.keep())),
                Ok(Command::Close(unread, answer)) => {
                    self.settle(settles);
                    let closed = self.close(unread);
                    drop(answer.send(closed));
                    return false;
                }
                Err(TryRecvError::Empty) => {
                    self.settle(settles);
                    return true;
                }
                Err(TryRecvError::Disconnected) => {
                    // Nobody is left to be told.
                    let _ = self.leave(&[]);
                    return false;
                }
            }
        }
    }

    /// All that was asked for meanwhile goes into one transaction.
    fn settle(&mut self, settles: Vec<Asked>) {
        if settles.is_empty() {
            return;
        }
        let mut items = vec![];
        let mut answers_to = vec![];
        for (asked, answer) in settles {
            answers_to.push((asked.len(), answer));
            items.extend(asked.into_iter().map(|(token, settlement)| {
                let slot = self.held.get(&token).copied();
                Item { token, slot, settlement }
            }));
        }
        let now = self.store.now();
        let moves = items.iter().any(|item| matches!(item.settlement, Settlement::Move { .. }));
        let synced = moves || now.abs_diff(self.synced) >= SYNC.unsigned_abs();
        let durability = if synced { Durability::Power } else { Durability::Process };
        let work = &mut *self.work;
        let settled =
            self.store.write(durability, Bell::Ring, |sql| settle::settle(&self.store, sql, work, &items));
        let done = settled.is_ok();
        let answers =
            settled.unwrap_or_else(|fault| vec![Err(self.store.explain(fault, "settle")); items.len()]);
        for (item, answer) in items.iter().zip(&answers) {
            // What was refused is still ours, and may be settled otherwise.
            if answer.as_ref().err().is_none_or(|error| error.kind() == Kind::Lost) {
                self.bytes -= self.held.remove(&item.token).map_or(0, |slot| slot.bytes);
            }
        }
        match (synced, done) {
            (true, true) => (self.synced, self.unsynced) = (now, false),
            // A write that failed has saved nothing of those before.
            (true, false) => {}
            (false, _) => self.unsynced = true,
        }
        self.exhausted = false;
        let mut answers = answers.into_iter();
        for (count, answer) in answers_to {
            drop(answer.send(answers.by_ref().take(count).collect()));
        }
    }

    /// Takes more where there is room for it and a reason to look.
    fn refill(&mut self) {
        let now = self.store.now();
        if self.over || !self.has_room() || (self.exhausted && !self.held.is_empty()) {
            return;
        }
        if self.held.len() > self.in_flight / 2 && now - self.looked < CALM {
            return;
        }
        self.looked = now;
        if !self.more {
            let work = &mut *self.work;
            match self.store.read(|sql| work.is_due(&self.store, sql)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => return self.fail(fault),
            }
        }
        self.claim();
    }

    fn has_room(&self) -> bool {
        self.held.len() < self.in_flight && self.bytes < BYTES
    }

    fn claim(&mut self) {
        let (mut loot, mut room) = (Loot::default(), 0);
        let work = &mut *self.work;
        let claimed = self.store.write(Durability::Process, Bell::Silent, |sql| {
            let lost = work.keep(&self.store, sql, false)?;
            let held = self.held.values().filter(|slot| !lost.contains(&slot.part)).count();
            room = self.in_flight.saturating_sub(held).max(1);
            Ok((lost, work.claim(&self.store, sql, room, &mut loot)?))
        });
        let (lost, claimed) = match claimed {
            Ok(done) => done,
            Err(fault) => return self.fail(fault),
        };
        self.lose(&lost);
        self.more = loot.len() == room || loot.is_full();
        self.due = claimed.due;
        self.exhausted = claimed.exhausted;
        let deliveries: Vec<_> = loot
            .finish()
            .map(|(event, slot, attempt)| {
                self.minted += 1;
                let token = Token(self.minted);
                self.held.insert(token, slot);
                self.bytes += slot.bytes;
                Delivery { event, token, attempt: Some(attempt) }
            })
            .collect();
        if !deliveries.is_empty() {
            self.tell(Ok(Received::Deliveries(deliveries)));
        } else if self.exhausted && self.held.is_empty() {
            self.over = true;
            self.tell(Ok(Received::End));
        }
    }

    /// Renews the lease now.
    fn keep(&mut self) -> Result<()> {
        let work = &mut *self.work;
        self.kept = self.store.now();
        let kept =
            self.store.write(Durability::Process, Bell::Silent, |sql| work.keep(&self.store, sql, true));
        let lost = kept.map_err(|fault| self.store.explain(fault, "extend"))?;
        self.lose(&lost);
        Ok(())
    }

    /// What was handed out of these topics is not ours any more.
    fn lose(&mut self, parts: &[usize]) {
        if parts.is_empty() {
            return;
        }
        let lost = self.held.extract_if(|_, slot| parts.contains(&slot.part));
        let (mut lost, bytes): (Vec<Token>, Vec<usize>) =
            lost.map(|(token, slot)| (token, slot.bytes)).unzip();
        self.bytes -= bytes.iter().sum::<usize>();
        lost.sort_unstable();
        // Else, with the rest still held, there would be more and nobody to look for it: a loop without a pause.
        (self.more, self.exhausted) = (true, false);
        if !lost.is_empty() {
            self.tell(Ok(Received::Lost(lost)));
        }
    }

    /// What is done now and then.
    fn tidy(&mut self) {
        let now = self.store.now();
        // Who holds deliveries extends; if nobody does, the work hangs, and the lease is there to run out.
        if self.held.is_empty()
            && !self.over
            && now.abs_diff(self.kept) >= (self.lease / 3).unsigned_abs()
            && let Err(error) = self.keep()
        {
            self.over = true;
            self.tell(Err(error));
        }
        if self.unsynced && now.abs_diff(self.synced) >= SYNC.unsigned_abs() {
            let work = &mut *self.work;
            let done =
                self.store.write(Durability::Power, Bell::Silent, |sql| work.keep(&self.store, sql, true));
            (self.synced, self.unsynced) = (now, done.is_err());
            if let Ok(lost) = done {
                self.lose(&lost);
            }
        }
        self.keeper.committed(&self.store);
    }

    /// How long there is nothing to do unless somebody rings or knocks.
    fn pause(&self) -> Duration {
        let now = self.store.now();
        let mut pause = LOOK.min(self.lease / 3);
        let mut until = |at: Millis| pause = pause.min((at - now).max(0));
        if self.unsynced {
            until(self.synced + SYNC);
        }
        let has_room = !self.over && self.has_room();
        if let Some(due) = self.due.filter(|_| has_room) {
            until(due);
        }
        if has_room && self.held.len() > self.in_flight / 2 {
            until(self.looked + CALM);
        }
        if has_room && self.held.len() <= self.in_flight / 2 && self.more {
            until(now);
        }
        Duration::from_millis(pause.max(0).unsigned_abs())
    }

    fn close(&mut self, mut unread: mpsc::UnboundedReceiver<Result<Received>>) -> Result<()> {
        let mut untried = vec![];
        while let Ok(said) = unread.try_recv() {
            if let Ok(Received::Deliveries(deliveries)) = said {
                untried.extend(deliveries.iter().filter_map(|delivery| self.held.get(&delivery.token)));
            }
        }
        self.leave(&untried)
    }

    fn leave(&mut self, untried: &[Slot]) -> Result<()> {
        let work = &mut *self.work;
        let left = self
            .store
            .write(Durability::Power, Bell::Ring, |sql| work.leave(&self.store, sql, untried))
            .map_err(|fault| self.store.explain(fault, "close"));
        self.keeper.end(&self.store);
        left
    }

    fn fail(&mut self, fault: Fault) {
        self.over = true;
        self.tell(Err(self.store.explain(fault, "receive")));
    }

    fn tell(&self, what: Result<Received>) {
        // Nobody listens only while it is being closed.
        let _ = self.say.send(what);
    }
}
