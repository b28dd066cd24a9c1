//! Events from a reader to the screen, until something ends it.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::broker::Read;
use crate::event::Events;
use crate::flow::merge::Merge;
use crate::flow::sieve::Sieve;
use crate::outcome::Outcome;
use crate::output::screen::Screen;
use crate::output::words;
use crate::session::Session;

/// When to end.
pub struct Until {
    /// After so many events were printed.
    pub count: Option<u64>,
    /// After so long without any.
    pub idle: Option<Duration>,
    /// After so long.
    pub lasts: Option<Duration>,
    /// Not with the end of what is there.
    pub follow: bool,
}

/// Everything at hand.
pub struct Watch<'a> {
    pub session: &'a Session,
    pub merge: Merge,
    pub sieve: Sieve,
    pub screen: Screen,
    pub until: Until,
    /// `-n`: how many of the last were asked for.
    pub last: Option<u64>,
}

enum Next {
    Read(crate::broker::Result<Read>),
    Stopped,
    Over,
}

impl Watch<'_> {
    /// Prints until the end.
    pub async fn run(mut self) -> anyhow::Result<Outcome> {
        let outcome = self.watch().await;
        if let Some(words) = self.sieve.tally().words() {
            self.session.ui.warn(words);
        }
        // Looking made nothing that a failure here could leave behind unseen.
        let closed = self.merge.close().await;
        let outcome = outcome?;
        closed?;
        Ok(outcome)
    }

    async fn watch(&mut self) -> anyhow::Result<Outcome> {
        let session = self.session;
        let over = self.until.lasts.map(|lasts| Instant::now() + lasts);
        let mut quiet_since = Instant::now();
        let mut printed = 0;
        let mut history = true;
        loop {
            // What can be had at once is printed together; else nobody waits for what was printed before.
            let read = match self.merge.next().now_or_never() {
                Some(_) if session.stop.is_requested() => Next::Stopped,
                Some(read) => Next::Read(read),
                None => {
                    self.hurry().await?;
                    let idle = self.until.idle.map(|idle| quiet_since + idle);
                    self.next(over.into_iter().chain(idle).min()).await?
                }
            };
            match read {
                Next::Read(Ok(Read::Events(events))) => {
                    quiet_since = Instant::now();
                    let left = self.until.count.map(|count| count - printed);
                    printed += self.print(events, left).await?;
                    if self.until.count == Some(printed) {
                        self.screen.flush().await?;
                        return Ok(Outcome::Done);
                    }
                }
                Next::Read(Ok(Read::CaughtUp)) => {
                    if std::mem::take(&mut history) {
                        self.history_ended(printed).await?;
                    }
                }
                Next::Read(Ok(Read::End)) => {
                    if history {
                        // Below what matched, also where both streams are one terminal.
                        self.screen.flush().await?;
                        self.say_matched();
                    }
                    return self.end(printed).await;
                }
                Next::Read(Err(error)) => {
                    self.screen.flush().await?;
                    return Err(error.into());
                }
                Next::Over => return self.end(printed).await,
                Next::Stopped => {
                    return Ok(session.stop.signal().map_or(Outcome::Done, Outcome::Interrupted));
                }
            }
            if over.is_some_and(|over| over <= Instant::now()) {
                return self.end(printed).await;
            }
        }
    }

    /// Waits for what comes first.
    async fn next(&mut self, over: Option<Instant>) -> anyhow::Result<Next> {
        let over = async {
            match over {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.session.stop.requested() => Ok(Next::Stopped),
            closed = self.screen.closed() => Err(closed.into()),
            read = self.merge.next() => Ok(Next::Read(read)),
            () = over => Ok(Next::Over),
        }
    }

    /// Hands over what was printed; a reader of our stdout who stopped reading does not keep us from stopping.
    async fn hurry(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            written = self.screen.write() => Ok(written?),
            () = self.session.stop.requested() => Ok(()),
        }
    }

    /// Prints what is wanted of these, at most `left`; how many that were.
    async fn print(&mut self, events: Events, left: Option<u64>) -> anyhow::Result<u64> {
        let mut events = self.sieve.sift(events).await?;
        if let Some(left) = left {
            events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if !self.sieve.selects() {
            tokio::select! {
                biased;
                printed = self.screen.events(&events) => printed?,
                () = self.session.stop.requested() => {}
            }
            return Ok(events.len() as u64);
        }
        for results in self.sieve.select(&events).await? {
            self.screen.values(&results).await?;
        }
        Ok(events.len() as u64)
    }

    /// What existed at the start has been shown.
    async fn history_ended(&mut self, printed: u64) -> anyhow::Result<()> {
        let ui = &self.session.ui;
        if !self.until.follow {
            return Ok(());
        }
        // In this order also where both streams are one terminal.
        self.screen.flush().await?;
        self.say_matched();
        if ui.err.terminal && printed > 0 {
            ui.status(ui.err.faint("-- new --"));
        }
        Ok(())
    }

    /// Filters look at the last ones only, so it is said how few of them there were.
    fn say_matched(&self) {
        if self.last.is_none() || !self.sieve.filters() {
            return;
        }
        let (seen, kept) = (self.sieve.seen(), self.sieve.tally().kept);
        self.session.ui.status(format_args!(
            "{} of the last {} matched",
            words::count(kept),
            words::count(seen)
        ));
    }

    async fn end(&mut self, printed: u64) -> anyhow::Result<Outcome> {
        self.screen.flush().await?;
        // A count that was reached has ended it before.
        let Some(count) = self.until.count else { return Ok(Outcome::Done) };
        self.session.ui.warn(words::short(printed, count));
        Ok(Outcome::Short)
    }
}
