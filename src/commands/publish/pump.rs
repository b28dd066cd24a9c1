//! Events from the input to the broker, and what became of them.

use indicatif::ProgressBar;

use super::plan::Plan;
use super::prepare::Ready;
use super::receipt::Receipts;
use crate::broker::Kind;
use crate::event::Events;
use crate::flow::failures::Failures;
use crate::flow::outbox::{Confirmed, Outbox, Window};
use crate::input::{Chunk, Places};
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::words;
use crate::session::Session;

/// Input smaller than this is read before a bar could be seen.
const BAR_FROM: u64 = 4 << 20;

/// The counts of a run, for its closing line.
#[derive(Default)]
struct Counts {
    /// Events that were read.
    read: u64,
    published: u64,
    duplicates: u64,
    blank: u64,
    left_out: u64,
    /// Events that were read and not sent.
    unsent: u64,
}

struct Run<'a> {
    session: &'a Session,
    target: String,
    failures: Failures,
    receipts: Receipts,
    counts: Counts,
    repeat: u64,
    bar: Option<ProgressBar>,
    stop_at_error: bool,
    /// No more is read; what is ready is still sent.
    ended: bool,
    /// No more is read or sent.
    stopping: bool,
    /// The broker is gone, or has no room: the next event would only fail too.
    fatal: Option<Kind>,
}

/// What is ready to go, and waits for room or for its time.
#[derive(Default)]
struct Pending {
    events: Events,
    places: Places,
    bytes: usize,
}

pub(super) async fn run(plan: Plan, session: &Session) -> anyhow::Result<Outcome> {
    let Plan {
        target,
        mut input,
        mut prepare,
        mut pacer,
        options,
        failures,
        receipts,
        stop_at_error,
        dry_run,
        count,
        repeat,
        size,
        single,
    } = plan;
    let ui = &session.ui;
    let window = Window { events: options.in_flight, ..Window::default() };
    let mut outbox = match dry_run {
        true => None,
        false => Some(Outbox::new(session.broker.publisher(options).await?, window)),
    };
    let mut run = Run {
        session,
        target,
        failures,
        receipts: Receipts::open(receipts, ui.out.terminal)?,
        counts: Counts::default(),
        repeat,
        bar: size.filter(|size| *size >= BAR_FROM && ui.progress).map(|size| ui.byte_bar(size)),
        stop_at_error,
        ended: false,
        stopping: false,
        fatal: None,
    };
    let mut pending = Pending::default();
    let mut unreadable = None;
    session.stop.begin();
    loop {
        let sending = !pending.events.is_empty() && !run.stopping;
        if let Some(outbox) = outbox.as_mut().filter(|outbox| !outbox.is_empty()) {
            // All that can be said about what was sent comes first: it makes room, and may say stop.
            let room = sending && outbox.has_room(pending.events.len(), pending.bytes);
            let reading = !run.ended && !sending && !run.stopping;
            tokio::select! {
                biased;
                () = session.stop.requested(), if !run.stopping => run.stopping = true,
                Some(confirmed) = outbox.next() => if let Err(error) = run.confirm(confirmed).await {
                    (unreadable, run.ended, pending) = (Some(error), true, Pending::default());
                },
                count = pacer.permit(&pending.events), if room => pending.send(outbox, count),
                chunk = input.next(), if reading => match chunk {
                    Some(Ok(chunk)) => match run.take(chunk, &mut prepare).await {
                        Ok(ready) => pending = ready,
                        // What is on its way is still waited for.
                        Err(error) => (unreadable, run.ended) = (Some(error), true),
                    },
                    Some(Err(error)) => (unreadable, run.ended) = (Some(error), true),
                    None => run.ended = true,
                },
            }
            continue;
        }
        if run.stopping || run.ended && !sending {
            break;
        }
        tokio::select! {
            biased;
            () = session.stop.requested() => run.stopping = true,
            count = pacer.permit(&pending.events), if sending => match &mut outbox {
                Some(outbox) => pending.send(outbox, count),
                None => run.would_send(pending.cut(count)).await,
            },
            chunk = input.next(), if !sending => match chunk {
                Some(Ok(chunk)) => match run.take(chunk, &mut prepare).await {
                        Ok(ready) => pending = ready,
                        // What is on its way is still waited for.
                        Err(error) => (unreadable, run.ended) = (Some(error), true),
                    },
                Some(Err(error)) => (unreadable, run.ended) = (Some(error), true),
                None => run.ended = true,
            },
        }
    }
    run.counts.unsent += pending.events.len() as u64;
    drop(outbox);
    run.end(dry_run, single, count, unreadable).await
}

impl Pending {
    /// Takes the first events off.
    fn cut(&mut self, count: usize) -> Pending {
        let events = self.events.slice(count..self.events.len());
        self.events.truncate(count);
        let numbers = self.places.numbers.split_off(count);
        let bytes = events.size();
        let places = Places { numbers, ..self.places.clone() };
        std::mem::replace(self, Pending { events, places, bytes })
    }

    fn send(&mut self, outbox: &mut Outbox<Places>, count: usize) {
        let Pending { events, places, bytes: _ } = match count == self.events.len() {
            true => std::mem::take(self),
            false => self.cut(count),
        };
        outbox.send(events, places);
    }
}

impl Run<'_> {
    /// What of a chunk may go.
    async fn take(&mut self, chunk: Chunk, prepare: &mut super::prepare::Prepare) -> anyhow::Result<Pending> {
        self.counts.read += chunk.events.len() as u64 / self.repeat + chunk.broken.len() as u64;
        self.counts.blank += chunk.blank;
        if let Some(bar) = &self.bar {
            bar.inc(chunk.bytes);
        }
        let Ready { events, places, left_out, stop } =
            prepare.chunk(chunk, &mut self.failures, self.stop_at_error).await?;
        self.counts.left_out += left_out;
        self.failures.flush()?;
        let bytes = events.size();
        self.ended |= stop;
        Ok(Pending { events, places, bytes })
    }

    /// Counts what the broker said.
    async fn confirm(&mut self, confirmed: Confirmed<Places>) -> anyhow::Result<()> {
        for (index, (event, receipt)) in confirmed.events.iter().zip(&confirmed.receipts).enumerate() {
            match receipt {
                Ok(receipt) => {
                    self.counts.published += 1;
                    self.counts.duplicates += u64::from(receipt.duplicate);
                    if self.receipts.wanted() {
                        self.receipts.add(event, receipt);
                    }
                }
                Err(error) => {
                    let place = confirmed.tag.name(confirmed.offset + index);
                    self.failures.undelivered(place, error, event)?;
                    if matches!(error.kind(), Kind::Unreachable | Kind::Denied | Kind::Full | Kind::Broken) {
                        self.fatal.get_or_insert(error.kind());
                    }
                    self.stopping |= self.stop_at_error || self.fatal.is_some();
                }
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} published", words::count(self.counts.published)));
        }
        self.failures.flush()?;
        self.receipts.write(&self.session.stop).await;
        Ok(())
    }

    async fn would_send(&mut self, pending: Pending) {
        for event in &pending.events {
            self.receipts.would_be(event);
        }
        self.counts.published += pending.events.len() as u64;
        self.receipts.write(&self.session.stop).await;
    }

    /// Says what happened, and how it ended.
    async fn end(
        mut self,
        dry_run: bool,
        single: bool,
        count: Option<u64>,
        unreadable: Option<anyhow::Error>,
    ) -> anyhow::Result<Outcome> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let lost_receipts = self.receipts.finish(&self.session.stop).await;
        self.failures.close(&self.session.ui);
        let ui = &self.session.ui;
        let Counts { read, published, .. } = self.counts;
        let signal = self.session.stop.signal();
        // What a person wants to see; a script is told only what it could not know.
        let odd = self.counts.blank + self.counts.left_out + self.counts.duplicates > 0;
        if ui.err.terminal || odd || signal.is_some() || dry_run {
            ui.status(self.closing(dry_run, signal.is_some()));
        }
        let total = published + self.failures.count();
        let delivered = format!("delivered to {}", self.target);
        let again = format!("evcat publish{}", self.session.endpoint.flag);
        let report = self.failures.report(total, &delivered, Some(&again));
        // Two things that went wrong are both said.
        let and = report.as_ref().map(|report| format!("\n{}", report.message)).unwrap_or_default();
        if let Some(why) = lost_receipts {
            let what = match published {
                0 => "receipts are missing",
                _ => "the events were published, receipts are missing",
            };
            let failure = Failure::failed(format!("{why}; {what}{and}"));
            return Err(failure.exit(if published > 0 { Exit::Partial } else { Exit::Failed }).into());
        }
        if let Some(error) = unreadable {
            let partial = (published > 0).then_some(Exit::Partial);
            let before = match published {
                0 => String::new(),
                n => format!("; {} had been published", events(n)),
            };
            let mut failure = Failure::failed(format!("{error}{before}{and}"));
            failure.hint = crate::outcome::hint_of(&error).map(str::to_owned);
            return Err(failure.exit(partial.unwrap_or_else(|| crate::outcome::exit_of(&error))).into());
        }
        if let Some(mut failure) = report {
            if matches!(self.fatal, Some(Kind::Unreachable)) {
                failure = failure.exit(Exit::Unreachable);
            }
            if !single && (self.stop_at_error || self.fatal.is_some()) {
                failure.message += match published {
                    0 => "\nstopped: nothing was published",
                    _ => {
                        "\nstopped: what was published stands, also what was on its way behind it, and nothing more is sent"
                    }
                };
            }
            return Err(failure.into());
        }
        if let Some(signal) = signal {
            return Ok(Outcome::Interrupted(signal));
        }
        if let Some(count) = count.filter(|count| read < *count) {
            ui.warn(format_args!("the input ended after {} of {}", words::count(read), events(count)));
            return Ok(Outcome::Short);
        }
        Ok(Outcome::Done)
    }

    fn closing(&self, dry_run: bool, interrupted: bool) -> String {
        let Counts { read: _, published, duplicates, blank, left_out, unsent } = self.counts;
        let target = &self.target;
        let mut line = match (dry_run, interrupted) {
            (true, _) => format!("nothing was published: {} would go to {target}", events(published)),
            (false, true) => format!("stopped: {} published to {target}", events(published)),
            (false, false) => format!("{} published to {target}", events(published)),
        };
        let mut also = |n: u64, one: &str, many: &str| {
            if n > 0 {
                line += &format!(", {} {}", words::count(n), if n == 1 { one } else { many });
            }
        };
        also(duplicates, "of them a duplicate", "of them duplicates");
        also(blank, "blank line skipped", "blank lines skipped");
        also(left_out, "left out by --transform", "left out by --transform");
        also(unsent, "read and not sent", "read and not sent");
        line
    }
}

fn events(n: u64) -> String {
    format!("{} event{}", words::count(n), if n == 1 { "" } else { "s" })
}
