//! The task of a member: it asks the queues for messages and puts them on the desk, keeps what nobody works on, and
//! gives all back at the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::client::Client;
use super::desk::{Desk, Source, Ticket};
use super::error::{About, Fault};
use super::groups;
use super::receive::{Taken, receive};
use super::settle::{What, tell};
use crate::broker::{Error, Kind, Result};

/// The most requests for messages that are open at a time on one queue.
const RECEIVERS: usize = 8;
/// So many messages at most come of one.
const TOGETHER: usize = 10;
/// How long such a request is left open after so many that brought nothing: short at first, so that who leaves early does
/// not wait for it.
const WAITS: [i32; 6] = [1, 1, 2, 5, 10, 20];
/// So many in a row must bring nothing until it is asked whether the rest is gone.
const QUIET: u32 = 2;
/// The longest that leaving waits for open requests: a message that comes by one later is hidden for its lease.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// A queue that was not asked for so long, because the hands are full, is asked whether it is still there.
const UNASKED: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the task and the member both see.
pub struct Shared {
    desk: Mutex<Desk>,
    /// Rung when there is something to say.
    pub bell: Notify,
    /// Rung when there may be room for more, or something to give up.
    pub room: Notify,
}

impl Shared {
    /// With nothing done yet.
    pub fn new(desk: Desk) -> Shared {
        Shared { desk: Mutex::new(desk), bell: Notify::new(), room: Notify::new() }
    }

    /// What is in hand. Never held over an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue as the task sees it.
struct Tap {
    source: Source,
    about: About,
    /// Requests that are open, and how many may be.
    open: usize,
    wanted: usize,
    /// In a row brought nothing.
    empty: u32,
    /// When it answered last, and whether a look at it is under way.
    answered: Instant,
    looked_at: bool,
    /// It has not answered since.
    silent: Option<Instant>,
    not_before: Option<Instant>,
    tries: u32,
}

type Came = (usize, usize, std::result::Result<Vec<Taken>, Fault>);
type Doing = Pin<Box<dyn Future<Output = Did> + Send>>;

enum Did {
    Received(Came),
    Looked(usize, Result<u64>),
    IsThere(usize, bool),
    Kept(Instant, Vec<(Ticket, std::result::Result<(), Fault>)>),
    GaveBack,
}

/// The task.
pub struct Work {
    client: Arc<Client>,
    shared: Arc<Shared>,
    taps: Vec<Tap>,
    lease: i32,
    bounded: bool,
    doing: FuturesUnordered<Doing>,
    keep_at: Instant,
}

impl Work {
    /// A task for these sources. `lease`: seconds for which what is received is ours.
    pub fn new(
        client: &Arc<Client>,
        shared: Arc<Shared>,
        sources: Vec<(Source, About)>,
        lease: i32,
        bounded: bool,
    ) -> Work {
        let tap = |(source, about)| Tap {
            source,
            about,
            open: 0,
            wanted: 1,
            empty: 0,
            answered: Instant::now(),
            looked_at: false,
            silent: None,
            not_before: None,
            tries: 0,
        };
        Work {
            client: client.clone(),
            shared,
            taps: sources.into_iter().map(tap).collect(),
            lease,
            bounded,
            doing: FuturesUnordered::new(),
            keep_at: Instant::now(),
        }
    }

    /// A third of the lease.
    fn keeping(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.lease) / 3.0)
    }

    /// Works until it is told to leave, or its member is gone.
    pub async fn run(mut self, mut leave: oneshot::Receiver<oneshot::Sender<()>>) {
        self.keep_at = Instant::now() + self.keeping();
        let done = loop {
            let wake = self.ask().into_iter().chain(self.unasked()).fold(self.keep_at, Instant::min);
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                done = &mut leave => break done.ok(),
                Some(did) = self.doing.next(), if !self.doing.is_empty() => self.did(did),
                () = shared.room.notified() => self.give_up(),
                () = tokio::time::sleep_until(wake) => self.keep(),
            }
        };
        self.leave().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Opens as many requests as are useful now; when to look again, if that is known.
    fn ask(&mut self) -> Option<Instant> {
        let (now, mut wake) = (Instant::now(), None);
        for at in 0..self.taps.len() {
            loop {
                let tap = &self.taps[at];
                if let Some(later) = tap.not_before.filter(|later| *later > now) {
                    wake = Some(wake.map_or(later, |wake: Instant| wake.min(later)));
                    break;
                }
                if tap.open >= tap.wanted {
                    break;
                }
                let asked = self.shared.desk().ask(at, TOGETHER);
                if asked == 0 {
                    break;
                }
                self.open(at, asked);
            }
        }
        wake
    }

    /// Looks at queues that nothing was asked of for a while; when to look next.
    fn unasked(&mut self) -> Option<Instant> {
        let (now, mut wake) = (Instant::now(), None);
        for at in 0..self.taps.len() {
            let tap = &mut self.taps[at];
            if tap.open > 0 || tap.wanted == 0 || tap.looked_at {
                continue;
            }
            let due = tap.answered + UNASKED;
            if due > now {
                wake = Some(wake.map_or(due, |wake: Instant| wake.min(due)));
                continue;
            }
            tap.looked_at = true;
            let (client, source, about) = (self.client.clone(), tap.source.clone(), tap.about.clone());
            self.doing.push(Box::pin(async move {
                let found = client.attributes(&about, &source.url).await;
                Did::IsThere(at, !matches!(found, Ok(None)))
            }));
        }
        wake
    }

    fn open(&mut self, at: usize, asked: usize) {
        let tap = &mut self.taps[at];
        tap.open += 1;
        let wait = match self.bounded {
            true => 1,
            false => WAITS[(tap.empty as usize).min(WAITS.len() - 1)].min(self.client.settings.wait),
        };
        let (client, source, about, lease) =
            (self.client.clone(), tap.source.clone(), tap.about.clone(), self.lease);
        self.doing.push(Box::pin(async move {
            let came = match client.services(&about).await {
                Ok(services) => receive(services, &source.url, &source.topic, asked, lease, wait).await,
                Err(error) => Err(Fault::from_ours(&error)),
            };
            Did::Received((at, asked, came))
        }));
    }

    fn did(&mut self, did: Did) {
        match did {
            Did::Received(came) => self.received(came),
            Did::Looked(at, Ok(0)) => {
                self.shared.desk().is_empty(at);
                self.shared.bell.notify_one();
            }
            Did::Looked(at, _) => self.taps[at].empty = 0,
            Did::IsThere(at, is_there) => {
                let tap = &mut self.taps[at];
                (tap.answered, tap.looked_at) = (Instant::now(), false);
                if !is_there {
                    tap.wanted = 0;
                    self.shared.desk().fail(gone(&tap.about));
                    self.shared.bell.notify_one();
                }
            }
            Did::Kept(from, kept) => {
                let mut desk = self.shared.desk();
                // What cannot be kept lapses by itself.
                kept.iter()
                    .filter(|(_, kept)| kept.is_ok())
                    .for_each(|(ticket, _)| desk.extended(ticket, from));
            }
            Did::GaveBack => {}
        }
    }

    fn received(&mut self, (at, asked, came): Came) {
        let now = Instant::now();
        let tap = &mut self.taps[at];
        tap.open -= 1;
        let taken = match came {
            Ok(taken) => taken,
            Err(fault) => return self.failed(at, asked, &fault),
        };
        (tap.silent, tap.not_before, tap.tries, tap.answered) = (None, None, 0, now);
        let count = taken.len();
        self.shared.desk().came(at, asked, taken);
        if count == 0 {
            tap.wanted = 1;
            tap.empty = tap.empty.saturating_add(1);
            if self.bounded && tap.empty >= QUIET && self.shared.desk().waits_for(at, now) {
                self.look(at);
            }
            return;
        }
        tap.empty = 0;
        if count == asked {
            tap.wanted = (tap.wanted * 2).min(RECEIVERS);
        }
        self.shared.bell.notify_one();
    }

    fn failed(&mut self, at: usize, asked: usize, fault: &Fault) {
        let now = Instant::now();
        let tap = &mut self.taps[at];
        let silent = now.duration_since(*tap.silent.get_or_insert(now));
        let patient = self.client.settings.timeout.is_none_or(|timeout| silent < timeout);
        self.client.heed(fault);
        let mut desk = self.shared.desk();
        desk.came(at, asked, Vec::new());
        tap.wanted = 1;
        if fault.again && patient {
            tracing::debug!("{}: {}", tap.about.subject, fault.message);
            let pause = PAUSE.saturating_mul(1 << tap.tries.min(10)).min(LONGEST_PAUSE);
            tap.tries += 1;
            tap.not_before = Some(now + pause);
            return;
        }
        let error = match fault.kind {
            Kind::NotFound => gone(&tap.about),
            _ => tap.about.fault(fault),
        };
        desk.fail(error);
        // It is not asked again.
        tap.wanted = 0;
        drop(desk);
        self.shared.bell.notify_one();
    }

    /// Asks whether anything is left before the stop.
    fn look(&mut self, at: usize) {
        let (tap, client) = (&mut self.taps[at], self.client.clone());
        tap.empty = 0;
        // What we keep ourselves holds the rest of its key back: it does not come while we are here.
        if tap.source.url.ends_with(".fifo") && self.shared.desk().has_released() {
            self.shared.desk().is_empty(at);
            return self.shared.bell.notify_one();
        }
        let (source, about) = (tap.source.clone(), tap.about.clone());
        self.doing.push(Box::pin(async move {
            let left = async {
                let attributes =
                    groups::waiting(&client, &about, &source.url).await?.ok_or_else(|| about.missing())?;
                Ok(count(&attributes, &QueueAttributeName::ApproximateNumberOfMessages))
            };
            Did::Looked(at, left.await)
        }));
    }

    /// What nobody works on stays ours.
    fn keep(&mut self) {
        let now = Instant::now();
        if now < self.keep_at {
            return;
        }
        self.keep_at = now + self.keeping();
        let kept = self.shared.desk().kept();
        self.hide(kept, self.lease, true);
    }

    fn give_up(&mut self) {
        let given_up = self.shared.desk().given_up();
        self.hide(given_up, 0, false);
    }

    fn hide(&mut self, tickets: Vec<Ticket>, seconds: i32, ours: bool) {
        if tickets.is_empty() {
            return;
        }
        let client = self.client.clone();
        let (sources, about) = (self.sources(), self.taps[0].about.clone());
        self.doing.push(Box::pin(async move {
            let from = Instant::now();
            let Ok(services) = client.services(&about).await else { return Did::GaveBack };
            let told = tell(&client, services, &sources, &tickets, What::Hide(seconds)).await;
            if ours { Did::Kept(from, tickets.into_iter().zip(told).collect()) } else { Did::GaveBack }
        }));
    }

    fn sources(&self) -> Vec<Source> {
        self.taps.iter().map(|tap| tap.source.clone()).collect()
    }

    /// Gives back all that is ours; what open requests bring in the next moments too.
    async fn leave(&mut self) {
        let until = Instant::now() + LAST_ANSWERS;
        let mut given = self.shared.desk().leave();
        loop {
            given.extend(self.shared.desk().given_up());
            if let Ok(services) = self.client.services(&self.taps[0].about).await {
                tell(&self.client, services, &self.sources(), &given, What::Hide(0)).await;
            }
            let Ok(Some(did)) = tokio::time::timeout_at(until, self.doing.next()).await else { return };
            if let Did::Received((at, asked, Ok(taken))) = did {
                self.shared.desk().came(at, asked, taken);
            }
            given = self.shared.desk().leave();
        }
    }
}

fn gone(about: &About) -> Error {
    about.error(Kind::NotFound, "does not exist any more")
}

/// A number of a queue's.
pub fn count(
    attributes: &std::collections::HashMap<QueueAttributeName, String>,
    name: &QueueAttributeName,
) -> u64 {
    attributes.get(name).and_then(|count| count.parse().ok()).unwrap_or(0)
}
