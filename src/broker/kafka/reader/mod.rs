//! Looking: the library reads ahead, a little; the reader gives out what is not held.

mod ends;
mod growth;
mod intake;
mod lane;
mod lifeline;
mod newest;
mod plan;
mod take;

use std::collections::{HashMap, HashSet, VecDeque};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Kafka;
use super::client::{Client, Role};
use super::error::{About, Trouble};
use super::settled::{self, Settled};
use crate::broker::{Error, Read, ReadOptions, Reader, Result, Stop};
use crate::event::{Events, Name, Position};
use ends::Ends;
use growth::Growth;
use intake::Intake;
use lane::{Fetch, Lane};
use lifeline::Lifeline;
use plan::Plan;
use take::Take;

/// What a reader's client is made with, unless the user says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // One who is slower than the broker waits a second for more, else.
    ("fetch.queue.backoff.ms", "1"),
    // What is read ahead: enough to be busy, and all of it in the processor's cache where events are small.
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("check.crcs", "true"),
];

/// An empty fetch is answered after so long; that is how the end of a partition is learned that ends in a gap. Who waits
/// for what is to come asks less often, and is answered at once where something comes.
const WAIT_TO_THE_END: &str = "3";
const WAIT_FOR_MORE: &str = "100";

/// Not for users.
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
];

/// A client for a reader, of what is there or also of what is to come.
pub fn client(kafka: &Kafka, follows: bool) -> Result<Client> {
    let wait = if follows { WAIT_FOR_MORE } else { WAIT_TO_THE_END };
    let defaults: Vec<_> = DEFAULTS.iter().copied().chain([("fetch.wait.max.ms", wait)]).collect();
    Client::new(Role::Consumer, &kafka.settings, &defaults, FIXED, |_| ())
}

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(kafka: &Kafka, options: ReadOptions) -> Result<Box<dyn Reader>> {
    let settled = match options.unsettled {
        true => settled::of_all(kafka, &options.topics).await?,
        false => HashMap::new(),
    };
    begin(kafka, options, settled).await
}

/// A reader that leaves out what is settled.
pub async fn begin(
    kafka: &Kafka,
    options: ReadOptions,
    settled: HashMap<Name, Settled>,
) -> Result<Box<dyn Reader>> {
    let follows = options.stop == Stop::Never;
    let lent = if follows { None } else { kafka.lend() };
    let is_lent = lent.is_some();
    let client = lent.map_or_else(|| client(kafka, follows), Ok)?;
    let Plan { lanes, partitions } = plan::plan(&client, &options).await?;
    let grows = follows && options.partition.is_none();
    let growth = grows.then(|| Growth::new(&client, &kafka.settings, partitions)).flatten();
    let place = |of: fn(&Lane) -> i64| -> Vec<_> {
        lanes.iter().map(|lane| (lane.topic.clone(), lane.position(of(lane)))).collect()
    };
    let (start, end) = (place(|lane| lane.next), place(|lane| lane.stop.unwrap_or(lane.end)));
    let mut reader = KafkaReader {
        start,
        end,
        follows,
        intake: Intake::new(&client),
        settled,
        ready: VecDeque::new(),
        ends: Ends::new(&client),
        growth,
        lifeline: Lifeline::new(&client),
        said: false,
        fate: None,
        over: None,
        is_lent,
        client,
    };
    for lane in lanes {
        reader.add(lane)?;
    }
    Ok(Box::new(reader))
}

struct KafkaReader {
    start: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
    /// Without a stop.
    follows: bool,
    intake: Intake,
    settled: HashMap<Name, Settled>,
    /// What was taken and not returned yet, each of one lane.
    ready: VecDeque<(usize, Events)>,
    ends: Ends,
    growth: Option<Growth>,
    lifeline: Lifeline,
    /// That it has caught up was said, and nothing has changed since.
    said: bool,
    /// What went wrong is being put into words.
    fate: Option<BoxFuture<'static, Result<()>>>,
    over: Option<Error>,
    /// The client is somebody else's too, and stays.
    is_lent: bool,
    client: Client,
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        if self.is_lent {
            self.intake.stop();
        }
    }
}

impl KafkaReader {
    fn add(&mut self, lane: Lane) -> Result<()> {
        let about = About::topic("read", &lane.topic);
        self.intake.add(lane).map_err(|trouble| trouble.error(&about, &self.client))
    }

    /// What was said, and where partitions were said to end, is no longer all.
    fn changed(&mut self) {
        self.said = false;
        self.ends.forget();
    }

    /// What can be said now.
    fn say(&mut self) -> Option<Result<Read>> {
        loop {
            let lanes = self.intake.lanes();
            if let Some(at) = self.ready.iter().position(|(at, _)| !lanes[*at].held)
                && let Some((_, events)) = self.ready.remove(at)
            {
                self.changed();
                return Some(Ok(Read::Events(events)));
            }
            if let Some(error) = &self.over {
                return Some(Err(error.clone()));
            }
            if self.fate.is_some() || !self.sweep() {
                break;
            }
        }
        let mut free = self.intake.lanes().iter().filter(|lane| !lane.held);
        let caught_up = match self.follows {
            true => self.ends.are_known() && free.all(Lane::is_at_end),
            false => free.all(Lane::is_done),
        };
        if self.fate.is_some() || !caught_up {
            return None;
        }
        if !self.follows && self.ready.is_empty() && self.intake.lanes().iter().all(Lane::is_done) {
            return Some(Ok(Read::End));
        }
        (!std::mem::replace(&mut self.said, true)).then_some(Ok(Read::CaughtUp))
    }

    /// Takes what has come; whether there were events.
    fn sweep(&mut self) -> bool {
        let before = self.ready.len();
        let mut take = Take::new(&mut self.ready, &self.settled);
        let trouble = self.intake.sweep(&mut take);
        take.finish();
        if let Some(trouble) = trouble {
            let lane = self.intake.lanes()[trouble.at].clone();
            self.fate = Some(lifeline::explain(self.client.clone(), lane, trouble).boxed());
        }
        // A lane that is done would be fetched for as long as others are not.
        let lanes = self.intake.lanes();
        if lanes.iter().any(|lane| lane.is_done() && lane.fetch == Fetch::On)
            && !lanes.iter().all(Lane::is_done)
        {
            self.intake.pause();
        }
        self.ready.len() > before
    }

    /// Waits until there may be more to say.
    async fn wait(&mut self) {
        if let Some(fate) = &mut self.fate {
            let fate = fate.await;
            self.fate = None;
            let again = |trouble: Trouble| trouble.error(&About::new("read", ""), &self.client);
            self.over = fate.and_then(|()| self.intake.again().map_err(again)).err();
            return;
        }
        let KafkaReader { intake, ends, growth, lifeline, .. } = self;
        let lanes = intake.lanes();
        let reads_on = lanes.iter().any(|lane| !lane.held && !lane.is_done());
        if self.follows && !self.said && lanes.iter().all(|lane| lane.held || lane.is_at_end()) {
            ends.ask(lanes);
        }
        enum Came {
            Events,
            Ends(Result<Vec<(usize, i64)>>),
            Grown(Result<Vec<Lane>>),
            Broken(Error),
        }
        let came = tokio::select! {
            biased;
            () = intake.filled() => Came::Events,
            answer = ends.answer() => Came::Ends(answer),
            grown = growth::grown(growth) => Came::Grown(grown),
            error = lifeline.broken(lanes, !self.follows && reads_on) => Came::Broken(error),
        };
        let done = match came {
            Came::Events => Ok(()),
            Came::Ends(answer) => answer.map(|ends| {
                let lanes = intake.lanes_mut();
                ends.into_iter().for_each(|(at, end)| lanes[at].end = end);
            }),
            Came::Grown(Ok(new)) => {
                self.changed();
                new.into_iter().try_for_each(|lane| self.add(lane))
            }
            Came::Grown(Err(error)) | Came::Broken(error) => Err(error),
        };
        self.over = done.err();
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            if let Some(said) = self.say() {
                return said;
            }
            self.wait().await;
        }
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.start
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        let lanes = self.intake.lanes().iter();
        let coming: Option<i64> = lanes.map(|lane| Some((lane.stop? - lane.next).max(0))).sum();
        let taken: usize = self.ready.iter().map(|(_, events)| events.len()).sum();
        coming.map(|coming| coming as u64 + taken as u64)
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        let held: HashSet<_> = partitions.iter().cloned().collect();
        for lane in self.intake.lanes_mut() {
            let is_held = |partition| held.contains(&(lane.topic.clone(), partition));
            lane.held = is_held(Some(lane.partition)) || is_held(None);
        }
        self.intake.pause();
        self.changed();
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // Looking made nothing; the client goes by itself.
        Ok(())
    }
}
