//! A command run for each event; each is tried once, and nothing is settled.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::sink::{Account, place};
use crate::event::{Event, Events};
use crate::flow::driver::Told;
use crate::flow::handler::{self, Command, Crew, Program, Relay};
use crate::flow::lanes::Verdict;
use crate::outcome::Failure;
use crate::output::stdout::Closed;
use crate::session::Session;
use crate::shutdown::Stop;

/// What to run.
pub struct Handling {
    pub program: Program,
    pub args: Vec<OsString>,
    pub timeout: Option<Duration>,
    pub worker: bool,
    pub lanes: usize,
}

/// So many events wait for a lane at most.
const WAITING: usize = 256;
/// After somebody asked us to stop, running handlers have so long.
const DRAIN: Duration = Duration::from_secs(30);

/// Handlers at work. Events of one key always go to the same lane, so they stay in order.
pub struct Hands {
    crew: Crew,
    lanes: Vec<Lane>,
    waiting: usize,
}

#[derive(Default)]
struct Lane {
    running: Option<(u64, Event)>,
    queue: VecDeque<(u64, Event)>,
}

impl Hands {
    /// Starts workers; a command per event is started with its event.
    pub fn begin(handling: Handling, session: &Session) -> anyhow::Result<Hands> {
        let Handling { program, args, timeout, worker, lanes } = handling;
        let (tell, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let relay = Relay::open(tell.clone(), &mut tasks)?;
        let broker = session.endpoint.given.expose().to_owned();
        let command = Command { program, args, whole_event: false, timeout, group: None, broker, relay };
        let begin = if worker { handler::worker } else { handler::exec };
        let crew = begin(command, lanes, tell, told, tasks);
        Ok(Hands { crew, lanes: (0..lanes).map(|_| Lane::default()).collect(), waiting: 0 })
    }

    /// Whether anything runs.
    pub fn is_busy(&self) -> bool {
        self.lanes.iter().any(|lane| lane.running.is_some())
    }

    /// Takes events; waits while too many do.
    pub async fn put(&mut self, chunk: u64, events: Events, account: &mut Account) -> anyhow::Result<()> {
        for event in &events {
            let mut hasher = DefaultHasher::new();
            (event.topic(), event.key()).hash(&mut hasher);
            // Without a key there is no order to keep.
            let number = match event.key() {
                Some(_) => (hasher.finish() % self.lanes.len() as u64) as usize,
                None => (0..self.lanes.len()).min_by_key(|lane| self.lanes[*lane].queue.len()).unwrap_or(0),
            };
            self.lanes[number].queue.push_back((chunk, event.clone()));
            self.waiting += 1;
            self.start(number);
            while self.waiting >= WAITING && !account.stopped {
                self.hear(account).await?;
            }
        }
        Ok(())
    }

    fn start(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if lane.running.is_none()
            && let Some((chunk, event)) = lane.queue.pop_front()
        {
            self.waiting -= 1;
            lane.running = Some((chunk, event.clone()));
            self.crew.handler.start(number, event, 1);
        }
    }

    /// Hears of one handler that ended. Cancel safe.
    pub async fn hear(&mut self, account: &mut Account) -> anyhow::Result<()> {
        match self.crew.told.recv().await {
            Some(Told::Finished(number, verdict)) => {
                if let Some((chunk, event)) = self.lanes.get_mut(number).and_then(|lane| lane.running.take())
                {
                    self.ended(chunk, &event, verdict, account)?;
                }
                if !account.stopped {
                    self.start(number);
                }
                Ok(())
            }
            Some(Told::Passed(..)) => Ok(()),
            Some(Told::ReaderLeft) => Err(Closed::left().into()),
            Some(Told::Broken(error)) => Err(error),
            None => anyhow::bail!("the handler went away"),
        }
    }

    fn ended(
        &self,
        chunk: u64,
        event: &Event,
        verdict: Verdict,
        account: &mut Account,
    ) -> anyhow::Result<()> {
        match verdict {
            Verdict::Ack => {
                account.handled(1);
                account.settled(chunk, 1);
            }
            Verdict::Retry(failure) | Verdict::Dead(failure) => {
                account.failures.refused(place(event), failure.to_string(), event)?;
                account.failed(chunk);
            }
            Verdict::Halt(failure) => {
                let message = format!("stopped at {}, which was not handled: {failure}", place(event));
                return Err(Failure::failed(message).into());
            }
            Verdict::Killed => {}
        }
        Ok(())
    }

    /// Lets everything that was taken end, or, once somebody asks us to stop, what runs.
    pub async fn finish(&mut self, account: &mut Account, stop: &Stop) -> anyhow::Result<()> {
        while self.is_busy() && !account.stopped {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                heard = self.hear(account) => heard?,
            }
        }
        if self.is_busy() {
            self.lanes.iter_mut().for_each(|lane| lane.queue.clear());
            self.waiting = 0;
            account.stopped = true;
            let drained = tokio::time::timeout(DRAIN, async {
                while self.is_busy() {
                    self.hear(account).await?;
                }
                Ok::<_, anyhow::Error>(())
            });
            if let Ok(heard) = drained.await {
                heard?;
            } else {
                (0..self.lanes.len()).for_each(|lane| self.crew.handler.kill(lane));
            }
        }
        while self.is_busy() {
            self.hear(account).await?;
        }
        // What the handlers said is still on its way to our stdout.
        let idle = Box::new(Idle);
        drop(std::mem::replace(&mut self.crew.handler, idle));
        handler::ended(std::mem::take(&mut self.crew.tasks)).await;
        Ok(())
    }
}

/// Stands where a handler was.
struct Idle;

impl crate::flow::driver::Handler for Idle {
    fn start(&mut self, _lane: usize, _event: Event, _attempt: u32) {}
    fn kill(&mut self, _lane: usize) {}
}
