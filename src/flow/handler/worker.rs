//! A process per lane that handles one event after the other: a canonical line in, an answer line out.
//!
//! The hot path is one write and one read per event, into buffers that are kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::tail::Tail;
use super::{Command, Crew, facts, process};
use crate::event::{Event, line};
use crate::flow::driver::{Handler, Tell, Told};
use crate::flow::lanes::{Failure, Verdict};
use crate::settings::duration;

/// An answer is not longer than this.
const LONGEST: usize = 64 << 10;
/// The first wait before a restarted worker is given an event; it doubles with every death.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_MOST: Duration = Duration::from_secs(10);
/// So often it may die without having been asked anything.
const STILLBORN: u32 = 3;
/// After its stdin was closed, a worker may take so long to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Starts the command once per lane.
pub fn worker(
    command: Command,
    lanes: usize,
    tell: Tell,
    told: mpsc::UnboundedReceiver<Told>,
    mut tasks: JoinSet<()>,
) -> Crew {
    let command = Arc::new(command);
    let lanes = (0..lanes).map(|number| {
        let (give, orders) = mpsc::unbounded_channel();
        let lane = Lane {
            number,
            command: command.clone(),
            orders,
            tell: tell.clone(),
            line: Vec::new(),
            deaths: 0,
            stillborn: 0,
        };
        tasks.spawn(lane.serve());
        give
    });
    Crew { handler: Box::new(Workers { lanes: lanes.collect() }), told, tasks }
}

enum Order {
    Handle(Event),
    Kill,
}

struct Workers {
    lanes: Vec<mpsc::UnboundedSender<Order>>,
}

impl Handler for Workers {
    fn start(&mut self, lane: usize, event: Event, _attempt: u32) {
        let _ = self.lanes[lane].send(Order::Handle(event));
    }

    fn kill(&mut self, lane: usize) {
        let _ = self.lanes[lane].send(Order::Kill);
    }
}

struct Lane {
    number: usize,
    command: Arc<Command>,
    orders: mpsc::UnboundedReceiver<Order>,
    tell: Tell,
    line: Vec<u8>,
    /// Since the last answer that was understood.
    deaths: u32,
    /// Deaths in a row of workers that had not been asked anything.
    stillborn: u32,
}

/// How an event fared.
enum Heard {
    Answer(Verdict),
    /// The worker is gone, or what it says cannot be trusted any more.
    Broken(Failure),
    Killed,
}

impl Lane {
    async fn serve(mut self) {
        let mut waiting: Option<Event> = None;
        loop {
            let mut worker = match Worker::start(&self.command) {
                Ok(worker) => worker,
                Err(error) => {
                    let verdict = process::not_started(&self.command.program, &error);
                    if waiting.take().is_none() && !self.next_event().await {
                        return;
                    }
                    self.finished(verdict);
                    continue;
                }
            };
            // A worker that died before is watched for a while first: it would only take another event with it.
            let mut ready_at = (self.deaths > 0).then(|| {
                Instant::now() + SETTLE.saturating_mul(1 << (self.deaths - 1).min(16)).min(SETTLE_MOST)
            });
            let alive = loop {
                tokio::select! {
                    biased;
                    order = self.orders.recv() => match order {
                        None => {
                            worker.close().await;
                            return;
                        }
                        Some(Order::Handle(event)) => waiting = Some(event),
                        // Late, if nothing waits: the event had ended.
                        Some(Order::Kill) => if waiting.take().is_some() { self.finished(Verdict::Killed) },
                    },
                    () = worker.unasked() => {
                        self.stillborn += 1;
                        break false;
                    }
                    () = until(ready_at) => ready_at = None,
                }
                if ready_at.is_none()
                    && let Some(event) = waiting.take()
                    && !self.handle(&mut worker, &event).await
                {
                    break true;
                }
            };
            self.deaths += 1;
            let failure = worker.end().await;
            if !alive && self.stillborn >= STILLBORN {
                let what = format!("the worker ends at every start, before it is given an event: {failure}");
                let hint =
                    "it must read lines from stdin until they end, and answer each with ok, retry or dead";
                let broken = crate::outcome::Failure::failed(what).hint(hint);
                let _ = self.tell.send(Told::Broken(broken.into()));
                if waiting.is_some() {
                    self.finished(Verdict::Killed);
                }
                while self.next_event().await {
                    self.finished(Verdict::Killed);
                }
                return;
            }
        }
    }

    /// Handles one event. False: this worker must not go on.
    async fn handle(&mut self, worker: &mut Worker, event: &Event) -> bool {
        self.line.clear();
        line::write(&mut self.line, event);
        self.line.push(b'\n');
        let heard = tokio::select! {
            biased;
            heard = worker.ask(&self.line) => heard,
            // A kill, or the end of everything.
            _ = self.orders.recv() => Heard::Killed,
            () = after(self.command.timeout) => {
                let limit = duration::short(self.command.timeout.unwrap_or_default());
                Heard::Broken(Failure::new("timeout", format!("no answer within {limit}")).said(worker.said()))
            }
        };
        match heard {
            Heard::Answer(verdict) => {
                (self.deaths, self.stillborn) = (0, 0);
                self.finished(verdict);
                true
            }
            Heard::Broken(failure) => {
                let code = worker.exit_code().await;
                let failure = match (code, failure.kind) {
                    (Some(how), "worker") if failure.what.is_empty() => {
                        Failure::new("worker", format!("the worker ended with {how}")).said(worker.said())
                    }
                    (None, "worker") if failure.what.is_empty() => {
                        Failure::new("worker", "the worker closed its stdout").said(worker.said())
                    }
                    _ => failure,
                };
                let verdict = match failure.what.as_str() {
                    what if what.ends_with("exit 126") || what.ends_with("exit 127") => {
                        Verdict::Halt(failure)
                    }
                    _ => Verdict::Retry(failure),
                };
                self.end(worker, verdict).await
            }
            Heard::Killed => self.end(worker, Verdict::Killed).await,
        }
    }

    /// What the worker was told to do must have ended before somebody else may begin it, or what comes after it.
    async fn end(&self, worker: &mut Worker, verdict: Verdict) -> bool {
        worker.end().await;
        self.finished(verdict);
        false
    }

    async fn next_event(&mut self) -> bool {
        loop {
            match self.orders.recv().await {
                Some(Order::Handle(_)) => return true,
                Some(Order::Kill) => {}
                None => return false,
            }
        }
    }

    fn finished(&self, verdict: Verdict) {
        let _ = self.tell.send(Told::Finished(self.number, verdict));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

struct Worker {
    child: Child,
    _leash: process::Leash,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// Read and not used yet: the beginning of an answer.
    buffer: Vec<u8>,
    tail: Arc<Mutex<Tail>>,
}

impl Worker {
    fn start(command: &Command) -> std::io::Result<Worker> {
        let mut process = process::command(&command.program, &command.args);
        let group = command.group.as_ref().map(|group| ("EVCAT_GROUP", group.into()));
        let known: Vec<_> = group.into_iter().chain([("EVCAT_BROKER", (&command.broker).into())]).collect();
        facts::set(&mut process, &known);
        let mut child = process.spawn()?;
        let leash = process::Leash::of(&child);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let tail = Arc::<Mutex<Tail>>::default();
        if let Some(stderr) = child.stderr.take() {
            let (relay, tail) = (command.relay.clone(), tail.clone());
            tokio::spawn(async move {
                relay
                    .err(stderr, |bytes| tail.lock().unwrap_or_else(PoisonError::into_inner).push(bytes))
                    .await;
            });
        }
        Ok(Worker { child, _leash: leash, stdin, stdout, buffer: Vec::with_capacity(4096), tail })
    }

    /// Waits until it ends or says something though nobody asked. Cancel safe.
    async fn unasked(&mut self) {
        if self.buffer.is_empty() {
            let _ = self.stdout.read_buf(&mut self.buffer).await;
        }
    }

    async fn ask(&mut self, line: &[u8]) -> Heard {
        let silent = || Heard::Broken(Failure::new("worker", ""));
        let Some(stdin) = &mut self.stdin else { return silent() };
        if stdin.write_all(line).await.is_err() {
            return silent();
        }
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let heard = answer(&self.buffer[..end]);
                self.buffer.drain(..=end);
                if !self.buffer.is_empty() {
                    let what = "the worker answered more than once for one event";
                    return Heard::Broken(Failure::new("worker", what).said(self.said()));
                }
                if let Heard::Answer(Verdict::Ack) = heard {
                    return heard;
                }
                // What it wrote about this event must not be taken for a word about the next one.
                self.tail.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return heard;
            }
            if self.buffer.len() > LONGEST {
                return Heard::Broken(Failure::new("worker", "the worker's answer has no end"));
            }
            match self.stdout.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return silent(),
                Ok(_) => {}
            }
        }
    }

    fn said(&self) -> String {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    /// How it ended, if it does within a moment of closing its pipe.
    async fn exit_code(&mut self) -> Option<String> {
        let status = tokio::time::timeout(Duration::from_millis(500), self.child.wait()).await.ok()?.ok()?;
        // What it said last may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some(match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        })
    }

    /// Ends it, and says how it ended and what it said last.
    async fn end(&mut self) -> String {
        self.stdin = None;
        let how = self.exit_code().await;
        process::end(&mut self.child).await;
        let said = self.said();
        let how = how.unwrap_or_else(|| "it had to be killed".into());
        if said.is_empty() { how } else { format!("{how}: {said}") }
    }

    /// No more events: it ends by itself, or is ended.
    async fn close(&mut self) {
        self.stdin = None;
        if tokio::time::timeout(LAST_WORDS, self.child.wait()).await.is_err() {
            process::end(&mut self.child).await;
        }
    }
}

fn answer(line: &[u8]) -> Heard {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line == b"ok" {
        return Heard::Answer(Verdict::Ack);
    }
    let text = String::from_utf8_lossy(line);
    let (word, reason) = text.split_once(' ').unwrap_or((&text, ""));
    let reason = reason.trim();
    match word {
        "ok" => Heard::Answer(Verdict::Ack),
        "retry" => Heard::Answer(Verdict::Retry(Failure::new("worker", "worker: retry").said(reason))),
        "dead" => Heard::Answer(Verdict::Dead(Failure::new("dead", "worker: dead").said(reason))),
        _ => {
            let shown: String = text.chars().take(80).collect();
            let what = format!("the worker answered '{shown}', which is none of ok, retry, dead");
            Heard::Broken(Failure::new("worker", what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_are_understood() {
        let verdict = |line: &str| match answer(line.as_bytes()) {
            Heard::Answer(verdict) => Some(verdict),
            _ => None,
        };
        assert_eq!(verdict("ok"), Some(Verdict::Ack));
        assert_eq!(verdict("ok\r"), Some(Verdict::Ack));
        let Some(Verdict::Retry(failure)) = verdict("retry carrier is silent") else { panic!() };
        assert_eq!(failure.text, "carrier is silent");
        let Some(Verdict::Dead(failure)) = verdict("dead") else { panic!() };
        assert_eq!((failure.kind, failure.text.as_str()), ("dead", ""));
        for line in ["", "OK", "okay", "done", "retry: no", "{}", "\u{0}"] {
            assert_eq!(verdict(line), None, "{line}");
        }
    }
}
