//! The thread that evaluates, and the second it has for each event.
//!
//! An expression that loops cannot be stopped from outside. Its thread is abandoned, the event is answered with an
//! error, and a new thread goes on with the next one; the third time the command ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::engine::{self, TooDeep};
use crate::event::{Event, Position};
use crate::outcome::Failure;

/// How long one event may take.
const LIMIT: Duration = Duration::from_secs(1);
/// How many events may take longer before the command stops.
const OVERRUNS: u32 = 3;
/// Room for expressions that recurse; only what is used is ever taken from the machine.
pub(super) const STACK: usize = 64 << 20;
/// What of it is left to a native function called at the deepest point, and to what is dropped there.
const SPARE: usize = 16 << 20;

/// What is done with one event: the event, `.failure` as raw JSON, the answer or why there is none.
pub(super) type Task<T> = Arc<Evaluate<T>>;
type Evaluate<T> = dyn Fn(&Event, Option<&str>) -> Result<T, String> + Send + Sync;

/// Runs a task over events, on a thread of its own.
pub(super) struct Runner<T> {
    flag: String,
    task: Task<T>,
    worker: Option<mpsc::Sender<Job<T>>>,
    overruns: u32,
    limit: Duration,
}

struct Job<T> {
    events: Vec<Event>,
    failures: Option<Vec<String>>,
    board: Arc<Board<T>>,
    done: oneshot::Sender<()>,
}

/// What the thread has answered so far, and since when it has been at the next event.
struct Board<T>(Mutex<(Vec<Result<T, String>>, Instant)>);

impl<T> Board<T> {
    fn read<R>(&self, look: impl FnOnce(&mut (Vec<Result<T, String>>, Instant)) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Send + 'static> Runner<T> {
    pub fn new(flag: &str, task: Task<T>) -> Runner<T> {
        Runner { flag: flag.into(), task, worker: None, overruns: 0, limit: LIMIT }
    }

    /// One answer per event. `failures`: one raw JSON object per event.
    ///
    /// Errors: the third event that takes longer than the limit, and a machine without room for a thread.
    pub async fn run(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> Result<Vec<Result<T, String>>, Failure> {
        let mut answers = Vec::with_capacity(events.len());
        while answers.len() < events.len() {
            let from = answers.len();
            let board = Arc::new(Board(Mutex::new((Vec::new(), Instant::now()))));
            let (done, finished) = oneshot::channel();
            self.hand_over(Job {
                events: events[from..].to_vec(),
                failures: failures.map(|failures| failures[from..].to_vec()),
                board: board.clone(),
                done,
            })?;
            let in_time = self.wait(&board, events.len() - from, finished).await;
            answers.append(&mut board.read(|(answers, _)| std::mem::take(answers)));
            if !in_time && answers.len() < events.len() {
                self.worker = None;
                self.overruns += 1;
                let event = &events[answers.len()];
                if self.overruns == OVERRUNS {
                    let place = match event.position() {
                        Position::Unknown | Position::Partition(_) => String::new(),
                        position => format!(", the last of them {} {position}", event.topic()),
                    };
                    let message = format!("{}: took longer than 1 s on {OVERRUNS} events{place}", self.flag);
                    return Err(Failure::failed(message)
                        .hint("an expression has one second per event: evcat help filters"));
                }
                answers.push(Err(format!("{}: took longer than 1 s", self.flag)));
            }
        }
        Ok(answers)
    }

    /// Whether the thread came to the end before one event took too long.
    async fn wait(&self, board: &Board<T>, events: usize, mut finished: oneshot::Receiver<()>) -> bool {
        let mut due = Instant::now() + self.limit;
        loop {
            if tokio::time::timeout_at(due, &mut finished).await.is_ok() {
                return true;
            }
            let (answered, since) = board.read(|(answers, since)| (answers.len(), *since));
            due = since + self.limit;
            if answered < events && due <= Instant::now() {
                // A process that was stopped (Ctrl-Z) or starved finds its time gone: it gets a moment to show itself.
                let grace = self.limit / 10;
                if tokio::time::timeout(grace, &mut finished).await.is_ok() {
                    return true;
                }
                if board.read(|(answers, _)| answers.len()) == answered {
                    return false;
                }
                due = Instant::now();
            } else if answered >= events {
                due = Instant::now() + self.limit;
            }
        }
    }

    fn hand_over(&mut self, job: Job<T>) -> Result<(), Failure> {
        let job = match &self.worker {
            Some(worker) => match worker.send(job) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(job)) => job,
            },
            None => job,
        };
        let (worker, jobs) = mpsc::channel::<Job<T>>();
        let (task, flag) = (self.task.clone(), self.flag.clone());
        let thread = std::thread::Builder::new().name("jq".into()).stack_size(STACK);
        let started = thread.spawn(move || {
            engine::allow_stack(STACK - SPARE);
            for job in jobs {
                work(&*task, &flag, job);
            }
        });
        started
            .map_err(|error| Failure::failed(format!("{}: no thread to run it on: {error}", self.flag)))?;
        // Just made, and its thread waits for it.
        let _ = worker.send(job);
        self.worker = Some(worker);
        Ok(())
    }
}

fn work<T>(task: &Evaluate<T>, flag: &str, job: Job<T>) {
    let Job { events, failures, board, done } = job;
    for (i, event) in events.iter().enumerate() {
        let failure = failures.as_ref().and_then(|failures| failures.get(i)).map(String::as_str);
        // A bug in the engine is this event's failure, not the end of the command.
        let answer = catch_unwind(AssertUnwindSafe(|| task(event, failure))).unwrap_or_else(|broke| {
            let why = if broke.is::<TooDeep>() { "it recurses too deep" } else { "the engine broke on it" };
            Err(format!("{flag}: {why}"))
        });
        board.read(|(answers, since)| {
            answers.push(answer);
            *since = Instant::now();
        });
        if done.is_closed() {
            return; // abandoned
        }
    }
    let _ = done.send(());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers};

    fn events(payloads: &[&str]) -> Vec<Event> {
        let topic = "t".into();
        let mut batch = Batch::default();
        for (i, payload) in payloads.iter().enumerate() {
            let position = Position::Offset(i as i64);
            batch.push(&topic, None, Headers::default(), Some(payload.as_bytes()), None, position);
        }
        batch.finish().to_vec()
    }

    fn runner() -> Runner<usize> {
        let task: Task<usize> = Arc::new(|event, _| match event.payload() {
            Some(b"loop") => loop {
                std::thread::park();
            },
            Some(b"panic") => panic!("as asked"),
            payload => Ok(payload.unwrap_or_default().len()),
        });
        Runner::new("--where", task)
    }

    #[tokio::test]
    async fn a_loop_costs_one_event_and_the_rest_goes_on() {
        let answers = runner().run(&events(&["a", "loop", "bb", "ccc"]), None).await.unwrap();
        let expected = [Ok(1), Err("--where: took longer than 1 s".into()), Ok(2), Ok(3)];
        assert_eq!(answers, expected);
    }

    #[tokio::test]
    async fn a_bug_in_the_engine_costs_one_event() {
        // Printing where it broke may take long on a busy machine.
        let mut patient = Runner { limit: Duration::from_secs(60), ..runner() };
        let answers = patient.run(&events(&["panic", "a"]), None).await.unwrap();
        assert_eq!(answers, [Err("--where: the engine broke on it".into()), Ok(1)]);
    }

    #[tokio::test]
    async fn the_third_loop_ends_the_command() {
        let mut runner = runner();
        assert!(runner.run(&events(&["loop", "a", "loop"]), None).await.is_ok());
        let failure = runner.run(&events(&["a", "loop"]), None).await.unwrap_err();
        assert_eq!(failure.exit, crate::outcome::Exit::Failed);
        assert!(failure.message.contains("the last of them t 1"), "{failure}");
    }
}
