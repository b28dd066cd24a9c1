//! Printing: an event is handled when its line was written and flushed. Many lines are one write.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Crew;
use crate::event::Event;
use crate::flow::driver::{Pass, Tell, Told};
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

/// The most events of one write.
const MOST: usize = 1024;

/// So many at a time are one write.
const FEW: usize = 64;

/// Writes begin small and double, with so long between them: a pipe takes far more than `head -1` reads, and what it took
/// is acked.
const GLANCE: Duration = Duration::from_millis(1);

/// Prints to `stdout`, which must have been written by nobody else. What is being written cannot be called back; a reader
/// who stopped reading is not waited for.
pub fn print(
    stdout: Stdout,
    lines: Box<dyn Lines>,
    tell: Tell,
    told: mpsc::UnboundedReceiver<Told>,
    mut tasks: JoinSet<()>,
) -> Crew<Pass> {
    let (give, orders) = mpsc::unbounded_channel();
    tasks.spawn(serve(stdout, lines, orders, tell));
    let pass = move |events| drop(give.send(events));
    Crew { handler: Box::new(pass), told, tasks }
}

async fn serve(
    mut stdout: Stdout,
    mut lines: Box<dyn Lines>,
    mut orders: mpsc::UnboundedReceiver<Arc<[Event]>>,
    tell: Tell,
) {
    let mut printed = Vec::new();
    let mut most = 1;
    loop {
        let events = tokio::select! {
            biased;
            events = orders.recv() => events,
            // While nothing comes, too: nobody would read the next one.
            closed = stdout.closed() => return give_up(&[], ended(closed), orders, &tell).await,
        };
        let Some(events) = events else { return };
        // What has come meanwhile goes into the same writes.
        let mut more = Vec::new();
        while events.len() + more.len() < MOST
            && let Ok(next) = orders.try_recv()
        {
            more.extend_from_slice(&next);
        }
        let events = if more.is_empty() { events } else { events.iter().cloned().chain(more).collect() };
        let mut left = &events[..];
        // What `-c` asked for, mostly: acked at once, or the broker would hand out more meanwhile.
        let few = left.len() <= FEW;
        while !left.is_empty() {
            // Not more than a write at a time: what waits to be written is in memory twice.
            let mut bytes = 0;
            let fits = |event: &&Event| {
                bytes += event.size();
                bytes <= CHUNK
            };
            let count = left.iter().take(if few { MOST } else { most }).take_while(fits).count().max(1);
            let (some, rest) = left.split_at(count);
            printed.clear();
            let written = stdout.written();
            if let Err(told) = put(&mut stdout, &mut *lines, some, &mut printed).await {
                let here = stdout.written() - written;
                let sure = printed.iter().take_while(|printed| printed.end as u64 <= here).count();
                account(printed.drain(..sure), &tell);
                return give_up(&left[sure..], told, orders, &tell).await;
            }
            account(printed.drain(..), &tell);
            left = rest;
            if few || most >= MOST {
                continue;
            }
            most *= 2;
            if let Ok(closed) = tokio::time::timeout(GLANCE, stdout.closed()).await {
                return give_up(left, ended(closed), orders, &tell).await;
            }
        }
    }
}

/// What was printed is handled, and what could not be is dead.
fn account(printed: std::vec::Drain<Printed>, tell: &Tell) {
    let mut acked = 0;
    for Printed { failed, .. } in printed {
        let Some(failure) = failed else {
            acked += 1;
            continue;
        };
        let _ = tell.send(Told::Passed(std::mem::take(&mut acked), Verdict::Ack));
        let _ = tell.send(Told::Passed(1, Verdict::Dead(failure)));
    }
    let _ = tell.send(Told::Passed(acked, Verdict::Ack));
}

/// Nothing more can be printed, because of this: neither what is left nor what still comes.
async fn give_up(left: &[Event], why: Told, mut orders: mpsc::UnboundedReceiver<Arc<[Event]>>, tell: &Tell) {
    let _ = tell.send(why);
    let _ = tell.send(Told::Passed(left.len(), Verdict::Killed));
    while let Some(events) = orders.recv().await {
        let _ = tell.send(Told::Passed(events.len(), Verdict::Killed));
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
