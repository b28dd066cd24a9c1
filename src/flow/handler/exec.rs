//! One process per event.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::tail::Tail;
use super::{Command, Crew, Job, facts, process};
use crate::event::{Event, line};
use crate::flow::driver::{Handler, Tell, Told};
use crate::flow::lanes::{Failure, Verdict};
use crate::settings::duration;

/// A handler that ended may have left a child that holds its pipes: what it says later is not waited for.
const PIPES: Duration = Duration::from_millis(250);

/// Runs the command once per event: payload on stdin, facts in the environment.
pub fn exec(
    command: Command,
    lanes: usize,
    tell: Tell,
    told: mpsc::UnboundedReceiver<Told>,
    mut tasks: JoinSet<()>,
) -> Crew {
    let (jobs, mut queue) = mpsc::unbounded_channel::<(Job, oneshot::Receiver<()>)>();
    tasks.spawn(async move {
        let command = Arc::new(command);
        let mut running = JoinSet::new();
        while let Some((job, killed)) = queue.recv().await {
            let (command, tell) = (command.clone(), tell.clone());
            running.spawn(async move {
                let verdict = run(&command, &job, killed).await;
                let _ = tell.send(Told::Finished(job.lane, verdict));
            });
            while running.try_join_next().is_some() {}
        }
        // Whoever is still at it was to be killed, and nobody listens any more.
        running.shutdown().await;
    });
    let kills = (0..lanes).map(|_| None).collect();
    Crew { handler: Box::new(Exec { jobs, kills }), told, tasks }
}

struct Exec {
    jobs: mpsc::UnboundedSender<(Job, oneshot::Receiver<()>)>,
    kills: Vec<Option<oneshot::Sender<()>>>,
}

impl Handler for Exec {
    fn start(&mut self, lane: usize, event: Event, attempt: u32) {
        let (kill, killed) = oneshot::channel();
        self.kills[lane] = Some(kill);
        let _ = self.jobs.send((Job { lane, event, attempt }, killed));
    }

    fn kill(&mut self, lane: usize) {
        if let Some(kill) = self.kills[lane].take() {
            let _ = kill.send(());
        }
    }
}

async fn run(command: &Command, job: &Job, killed: oneshot::Receiver<()>) -> Verdict {
    let mut process = process::command(&command.program, &command.args);
    facts::set(&mut process, &facts::of(&job.event, job.attempt, command.group.as_deref(), &command.broker));
    let mut child = match process.spawn() {
        Ok(child) => child,
        Err(error) => return process::not_started(&command.program, &error),
    };
    let _leash = process::Leash::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut tail = Tail::default();
    let mut pipes = Box::pin(async {
        let out = async {
            if let Some(stdout) = stdout {
                command.relay.out(stdout).await;
            }
        };
        let err = async {
            if let Some(stderr) = stderr {
                command.relay.err(stderr, |bytes| tail.push(bytes)).await;
            }
        };
        tokio::join!(feed(stdin, &job.event, command.whole_event), out, err);
    });
    let too_long = async {
        match command.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut piping = true;
    let ended = {
        tokio::pin!(too_long, killed);
        loop {
            tokio::select! {
                biased;
                () = &mut pipes, if piping => piping = false,
                status = child.wait() => break Ended::Itself(status),
                () = &mut too_long => break Ended::TooLong,
                // An error is the driver's end, which is the same wish.
                _ = &mut killed => break Ended::Killed,
            }
        }
    };
    if !matches!(ended, Ended::Itself(_)) {
        // Its last words are still read, else it may hang in saying them.
        let mut end = Box::pin(process::end(&mut child));
        while piping {
            tokio::select! { () = &mut end => break, () = &mut pipes => piping = false }
        }
        if !piping {
            end.await;
        }
    }
    if piping {
        let _ = tokio::time::timeout(PIPES, &mut pipes).await;
    }
    drop(pipes);
    match ended {
        Ended::Itself(Ok(status)) => process::verdict(status, tail.text()),
        Ended::Itself(Err(error)) => {
            Verdict::Retry(Failure::new("exec", format!("its end is unknown: {error}")))
        }
        Ended::TooLong => {
            let limit = duration::short(command.timeout.unwrap_or_default());
            Verdict::Retry(Failure::new("timeout", format!("no end after {limit}")).said(tail.text()))
        }
        Ended::Killed => Verdict::Killed,
    }
}

enum Ended {
    Itself(std::io::Result<std::process::ExitStatus>),
    TooLong,
    Killed,
}

/// Gives it the event. A handler need not read it.
async fn feed(stdin: Option<ChildStdin>, event: &Event, whole: bool) {
    let Some(mut stdin) = stdin else { return };
    if whole {
        let mut bytes = Vec::with_capacity(event.size() + 256);
        line::write(&mut bytes, event);
        bytes.push(b'\n');
        let _ = stdin.write_all(&bytes).await;
    } else if let Some(payload) = event.payload() {
        let _ = stdin.write_all(payload).await;
    }
}
