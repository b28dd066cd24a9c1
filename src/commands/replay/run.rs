//! Reading, choosing, changing and pacing, until the end that was fixed at the start.

use std::time::Instant;

use indicatif::ProgressBar;

use super::sink::{Account, Sink, Target, place};
use crate::broker::Read;
use crate::event::{Event, Events, Name};
use crate::flow::checkpoint::Progress;
use crate::flow::merge::Merge;
use crate::flow::pacer::Pacer;
use crate::flow::schema::Schema;
use crate::flow::sieve::Sieve;
use crate::outcome::Outcome;
use crate::output::{sanitize, stdout, words};
use crate::query::Transform;
use crate::session::Session;
use crate::settings::duration;

/// `--invalid-for`.
pub struct Invalid {
    pub schema: Schema,
    pub found: u64,
    pub first: Option<String>,
}

/// All that was resolved.
pub struct Replay<'a> {
    pub session: &'a Session,
    /// As the screens name them.
    pub topics: String,
    pub several: bool,
    pub merge: Merge,
    pub sieve: Sieve,
    pub schema: Option<Invalid>,
    pub transform: Option<Transform>,
    pub pacer: Pacer,
    pub account: Account,
    pub read: u64,
    pub chosen: u64,
}

impl Replay<'_> {
    /// `--dry-run`: reads, chooses, and does nothing.
    pub async fn plan(mut self, target: &Target) -> anyhow::Result<Outcome> {
        let planned = self.look(target).await;
        let closed = self.merge.close().await;
        planned?;
        closed?;
        Ok(Outcome::Done)
    }

    async fn look(&mut self, target: &Target) -> anyhow::Result<()> {
        let places = |list: &[(Name, crate::event::Position)]| {
            let shown = |(topic, at): &(Name, _)| match self.several {
                true => format!("{topic} {at}"),
                false => format!("{at}"),
            };
            list.iter().map(shown).collect::<Vec<_>>().join("  ")
        };
        let reader = self.merge.reader();
        let (from, to) = (places(reader.start()), places(reader.end()));
        let bar = self.session.ui.bar(reader.left());
        loop {
            match self.merge.next().await? {
                Read::Events(events) => {
                    bar.inc(events.len() as u64);
                    self.read += events.len() as u64;
                    let events = self.choose(events).await?;
                    self.chosen += events.len() as u64;
                }
                Read::CaughtUp => {}
                Read::End => break,
            }
        }
        bar.finish_and_clear();
        let (read, chosen) = (words::count(self.read), words::count(self.chosen));
        let name = &self.session.endpoint.name;
        let plan = format!(
            "PLAN, nothing was done\n  from     {} on {name}, {from} up to {to}\n  chosen   {chosen} of {read}\n  \
             target   {}\ndo it: the same without --dry-run\n",
            self.topics,
            target.words()
        );
        stdout::print(&plan)?;
        Ok(())
    }

    /// Does it.
    pub async fn run(mut self, target: Target, topics: &[Name]) -> anyhow::Result<Outcome> {
        let session = self.session;
        let began = Instant::now();
        let (words, fate) = (target.words(), target.done());
        let prints = matches!(target, Target::Stdout(_));
        let again = if let Target::Copy(copying) = &target { Some(copying.again()) } else { None };
        let mut sink = match self.open(target, topics).await {
            Ok(sink) => sink,
            Err(error) => {
                // What looking needed is removed all the same; why it is not begun is what counts.
                let _ = self.merge.close().await;
                return Err(error);
            }
        };
        let bar = session.ui.bar(self.merge.reader().left());
        session.stop.begin();
        let pumped = tokio::select! {
            biased;
            () = session.stop.requested() => Ok(true),
            pumped = self.pump(&mut sink, &bar) => pumped.map(|()| false),
        };
        let asked = matches!(pumped, Ok(true));
        let finished = sink.finish(&mut self.account, &session.stop).await;
        let asked = asked || session.stop.is_requested();
        bar.finish_and_clear();
        self.account.failures.close(&session.ui);
        let closed = self.merge.close().await;
        if let Some(words) = self.sieve.tally().words() {
            session.ui.warn(words);
        }
        let (done, failed) = (self.account.done, self.account.failures.count());
        if !prints {
            let took = duration::short(began.elapsed());
            let begin = if asked { "stopped: " } else { "" };
            session.ui.status(format_args!(
                "{begin}{} of {} events of {} on {} went {words} in {took}, {failed} failed",
                words::count(done),
                words::count(self.read),
                self.topics,
                session.endpoint.name,
            ));
        }
        pumped?;
        finished?;
        closed?;
        if asked {
            return Ok(session.stop.signal().map_or(Outcome::Done, Outcome::Interrupted));
        }
        if let Some(failure) = self.account.failures.report(done + failed, &fate, again.as_deref()) {
            return Err(failure.into());
        }
        match &self.schema {
            Some(Invalid { found, first: Some(first), .. }) if *found > 0 => {
                let (found, read) = (words::count(*found), words::count(self.sieve.seen()));
                session
                    .ui
                    .line(format_args!("{found} of {read} events break the schema; the first: {first}"));
                Ok(Outcome::Partial)
            }
            _ => Ok(Outcome::Done),
        }
    }

    async fn open(&mut self, target: Target, topics: &[Name]) -> anyhow::Result<Sink> {
        if let Target::Copy(copying) = &target {
            copying.check(topics).await?;
        }
        let reader = self.merge.reader();
        self.account.begin_at(reader.start(), reader.end())?;
        target.open(self.session, self.several).await
    }

    async fn pump(&mut self, sink: &mut Sink, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut progress = Progress::new(self.merge.reader().start());
        while !self.account.stopped {
            match self.merge.next().await? {
                Read::Events(events) => {
                    let count = events.len() as u64;
                    self.read += count;
                    self.batch(events, sink, &mut progress).await?;
                    bar.inc(count);
                }
                Read::CaughtUp => {}
                Read::End => return Ok(()),
            }
        }
        Ok(())
    }

    async fn batch(
        &mut self,
        events: Events,
        sink: &mut Sink,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let keeps = self.account.keeps_places();
        let all = if keeps { events.clone() } else { Events::default() };
        let mut passed = all.iter();
        let chosen = self.choose(events).await?;
        self.chosen += chosen.len() as u64;
        if let (true, Sink::Stdout(screen)) = (self.sieve.selects(), &mut *sink) {
            for results in self.sieve.select(&chosen).await? {
                screen.values(&results).await?;
            }
            passed.for_each(|event| progress.pass(event));
            let chunk = self.account.begin(0, progress.places().clone());
            self.account.settled(chunk, 0);
            return Ok(());
        }
        let mut done = 0;
        while done < chosen.len() && !self.account.stopped {
            let count = loop {
                tokio::select! {
                    count = self.pacer.permit(&chosen[done..]) => break count,
                    heard = sink.hear(&mut self.account) => heard?,
                }
            };
            let permitted = done + count;
            while done < permitted && !self.account.stopped {
                let now = chosen.slice(done..permitted.min(done.saturating_add(sink.together())));
                let (out, failed, took) = self.change(&now).await?;
                done += took;
                let now = now.slice(0..took);
                if keeps && let Some(last) = now.last() {
                    let is_last = |e: &Event| e.position() == last.position() && e.topic() == last.topic();
                    for event in passed.by_ref() {
                        progress.pass(event);
                        if is_last(event) {
                            break;
                        }
                    }
                    // Behind the last that is wanted, those that are not wanted are passed with it.
                    if done == chosen.len() {
                        passed.by_ref().for_each(|event| progress.pass(event));
                    }
                }
                let places = if keeps { progress.places().clone() } else { Vec::new() };
                let chunk = self.account.begin(out.len() + failed, places);
                (0..failed).for_each(|_| self.account.failed(chunk));
                if !out.is_empty() {
                    sink.put(chunk, out, &mut self.account).await?;
                } else {
                    self.account.settled(chunk, 0);
                }
            }
            if !self.pacer.is_unbounded() {
                sink.hurry().await?;
            }
        }
        if chosen.is_empty() && keeps {
            passed.for_each(|event| progress.pass(event));
            let chunk = self.account.begin(0, progress.places().clone());
            self.account.settled(chunk, 0);
        }
        Ok(())
    }

    /// Those in the range that pass the filters and, with `--invalid-for`, break the schema.
    async fn choose(&mut self, events: Events) -> anyhow::Result<Events> {
        let mut events = self.sieve.sift(events).await?;
        if let Some(invalid) = &mut self.schema {
            events.retain(|event| match invalid.schema.check(event) {
                Ok(()) => false,
                Err(why) => {
                    invalid.found += 1;
                    invalid
                        .first
                        .get_or_insert_with(|| format!("{}: {}", place(event), sanitize::text(&why)));
                    true
                }
            });
        }
        Ok(events)
    }

    /// What `--transform` makes of these, how many it failed on, and how many of them that covers: the first that fails may
    /// end the replay, and then what follows it is not sent.
    async fn change(&mut self, events: &Events) -> anyhow::Result<(Events, usize, usize)> {
        let Some(transform) = &mut self.transform else { return Ok((events.clone(), 0, events.len())) };
        let (mut out, mut failed) = (Vec::new(), 0);
        for (at, (event, answer)) in events.iter().zip(transform.apply(events, None).await?).enumerate() {
            match answer {
                Ok(changed) => out.extend(changed),
                Err(why) => {
                    self.account.failures.refused(place(event), why, event)?;
                    if self.account.stops() {
                        return Ok((out.into(), failed, at));
                    }
                    failed += 1;
                }
            }
        }
        Ok((out.into(), failed, events.len()))
    }
}
