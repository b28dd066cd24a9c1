//! Printing: an event is handled when its line was written and flushed. Many lines are one write.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Crew;
use crate::event::Event;
use crate::flow::driver::{Handler, Tell, Told};
use crate::flow::lanes::{Failure, Verdict};
use crate::output::stdout::{CHUNK, Closed, Stdout};

/// How events are printed.
#[async_trait]
pub trait Lines: Send {
    /// Appends what is to be printed of these events to `out`, and to `printed` what that was, for each.
    async fn write(
        &mut self,
        events: &[Event],
        out: &mut Vec<u8>,
        printed: &mut Vec<Printed>,
    ) -> anyhow::Result<()>;
}

/// What became of an event.
pub struct Printed {
    /// How long the output was after it.
    pub end: usize,
    /// Why there is nothing to print of it: it is dead.
    pub failed: Option<Failure>,
}

impl Printed {
    fn verdict(self) -> Verdict {
        self.failed.map_or(Verdict::Ack, Verdict::Dead)
    }
}

/// The most events of one write.
const MOST: usize = 1024;

/// So many at a time are one write.
const FEW: usize = 64;

/// Writes begin small and double, with so long between them: a pipe takes far more than `head -1` reads, and what it took
/// is acked.
const GLANCE: Duration = Duration::from_millis(1);

struct Printing(mpsc::UnboundedSender<(usize, Event)>);

impl Handler for Printing {
    fn start(&mut self, lane: usize, event: Event, _attempt: u32) {
        let _ = self.0.send((lane, event));
    }

    /// What is being written cannot be called back; a reader who stopped reading is not waited for.
    fn kill(&mut self, _lane: usize) {}
}

/// Prints to `stdout`, which must have been written by nobody else.
pub fn print(
    stdout: Stdout,
    lines: Box<dyn Lines>,
    tell: Tell,
    told: mpsc::UnboundedReceiver<Told>,
    mut tasks: JoinSet<()>,
) -> Crew {
    let (give, orders) = mpsc::unbounded_channel();
    tasks.spawn(serve(stdout, lines, orders, tell));
    Crew { handler: Box::new(Printing(give)), told, tasks }
}

async fn serve(
    mut stdout: Stdout,
    mut lines: Box<dyn Lines>,
    mut orders: mpsc::UnboundedReceiver<(usize, Event)>,
    tell: Tell,
) {
    let mut some = Vec::new();
    let mut printed = Vec::new();
    let mut written = 0;
    let finished = |lanes: &[usize], verdict: Verdict| {
        for lane in lanes {
            let _ = tell.send(Told::Finished(*lane, verdict.clone()));
        }
    };
    let accounted = |lanes: &[usize], printed: std::vec::Drain<Printed>| {
        for (lane, printed) in lanes.iter().zip(printed) {
            let _ = tell.send(Told::Finished(*lane, printed.verdict()));
        }
    };
    let mut most = 1;
    loop {
        let got = tokio::select! {
            biased;
            got = orders.recv_many(&mut some, MOST) => got,
            // While nothing comes, too: nobody would read the next one.
            closed = stdout.closed() => {
                let _ = tell.send(ended(closed));
                while let Some((lane, _)) = orders.recv().await {
                    finished(&[lane], Verdict::Killed);
                }
                return;
            }
        };
        if got == 0 {
            return;
        }
        let (lanes, events): (Vec<_>, Vec<_>) = some.drain(..).unzip();
        let mut from = 0;
        // What `-c` asked for, mostly: acked at once, or the broker would hand out more meanwhile.
        let few = events.len() <= FEW;
        while from < events.len() {
            // Not more than a write at a time: what waits to be written is in memory twice.
            let mut bytes = 0;
            let fits = |event: &&Event| {
                bytes += event.size();
                bytes <= CHUNK
            };
            let to = from
                + events[from..].iter().take(if few { MOST } else { most }).take_while(fits).count().max(1);
            printed.clear();
            let told = match put(&mut stdout, &mut *lines, &events[from..to], &mut printed).await {
                Ok(()) => {
                    accounted(&lanes[from..to], printed.drain(..));
                    written = stdout.written();
                    from = to;
                    if few || most >= MOST {
                        continue;
                    }
                    most *= 2;
                    match tokio::time::timeout(GLANCE, stdout.closed()).await {
                        Err(_) => continue,
                        Ok(closed) => ended(closed),
                    }
                }
                Err(told) => told,
            };
            let here = stdout.written() - written;
            let sure = printed.iter().take_while(|printed| printed.end as u64 <= here).count();
            accounted(&lanes[from..from + sure], printed.drain(..sure));
            let _ = tell.send(told);
            finished(&lanes[from + sure..], Verdict::Killed);
            while let Some((lane, _)) = orders.recv().await {
                finished(&[lane], Verdict::Killed);
            }
            return;
        }
    }
}

async fn put(
    stdout: &mut Stdout,
    lines: &mut dyn Lines,
    events: &[Event],
    printed: &mut Vec<Printed>,
) -> Result<(), Told> {
    let mut out = stdout.buffer();
    lines.write(events, &mut out, printed).await.map_err(Told::Broken)?;
    stdout.write(out).await.map_err(ended)?;
    stdout.flush().await.map_err(ended)
}

fn ended(closed: Closed) -> Told {
    match closed.reader_left() {
        true => Told::ReaderLeft,
        false => Told::Broken(closed.into()),
    }
}
