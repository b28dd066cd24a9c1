//! Publishing.
//!
//! A call hands its events to the library (`produce`), which has threads of its own; what the broker says comes back in
//! the client's main queue, which a task on the runtime serves as long as anything is unconfirmed (`flights`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Kafka;
use super::client::{Client, Role, crosses_threads};
use super::epoch;
use super::error::{About, Trouble, too_large, unknown_topic};
use super::flights::{Failed, Flights, Landed};
use super::name;
use super::produce::{Report, Room, Topic, reports};
use super::sys::{self, Code};
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use crate::event::{Events, Name, Position};

/// The most that the library's `message.max.bytes` can be.
const MOST: &str = "1000000000";
/// So many events in one call are one of many: another allocator then takes a fifteenth off the processor's time.
const STREAM: usize = 1000;

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub async fn open(kafka: &Kafka, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight, compression, delay } = options;
    let settings = &kafka.settings;
    let unsupported = |message| Err(Error::new(Kind::Unsupported, "publisher", "", message));
    if delay.is_some() {
        return unsupported("Kafka cannot hold an event back");
    }
    if ["acks", "request.required.acks"].iter().any(|key| settings.given(key) == Some("0")) {
        return unsupported(
            "-X acks=0: an event is published when the broker has acknowledged it, not before",
        );
    }
    let patience = settings.timeout.map_or(0, |timeout| timeout.as_millis().clamp(1, i32::MAX as u128));
    let patience = patience.to_string();
    let mut defaults = vec![
        // What the input had ready leaves at once; what comes meanwhile goes together with the next request.
        ("linger.ms", "0"),
        ("message.timeout.ms", patience.as_str()),
        // The topic's own limit is known to the broker alone.
        ("message.max.bytes", MOST),
        // A topic that is not there may be on its way from one broker to the others for so long.
        ("topic.metadata.propagation.max.ms", "2000"),
        ("reconnect.backoff.ms", "10"),
    ];
    if let Some(compression) = &compression {
        defaults.push(("compression.type", compression));
    }
    // One request at a time of each broker keeps the order over retries, and makes requests large: what comes meanwhile
    // goes with the next (`cargo bench --bench kafka -- slow-link` has what it costs). The library's idempotent producer
    // keeps it too, and its first event waits half a second. What only that one covers: a partition that moves to
    // another broker while the old one still owes an answer.
    if settings.given("enable.idempotence") != Some("true") {
        defaults.push(("max.in.flight.requests.per.connection", "1"));
    }
    if in_flight == 1 {
        // The connection that was asked for the brokers is kept until there is another. Where it is not, one event in ten
        // waits 100 ms on a busy machine.
        defaults.push(("enable.sparse.connections", "false"));
    }
    // The caller bounds what is unconfirmed.
    let fixed = [("queue.buffering.max.messages", "0"), ("queue.buffering.max.kbytes", "2147483647")];
    let java =
        ["partitioner", "sticky.partitioning.linger.ms"].iter().all(|key| settings.given(key).is_none());
    if java {
        // Else the library chooses for events without a key, without asking us.
        defaults.push(("sticky.partitioning.linger.ms", "0"));
    }
    let client = Client::new(Role::Producer, settings, &defaults, &fixed, |conf| {
        // SAFETY: the configuration is live.
        unsafe { sys::rd_kafka_conf_set_events(conf.raw(), sys::RD_KAFKA_EVENT_DR) }
        epoch::replace_marks(conf);
    })?;
    let limit = settings.given("message.max.bytes").unwrap_or(MOST).to_owned();
    let shared = Arc::new(Shared { state: Mutex::default(), wake: Notify::new(), client, java, limit });
    tokio::spawn(serve(shared.clone()));
    Ok(Box::new(KafkaPublisher(shared)))
}

struct KafkaPublisher(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to do for who serves reports.
    wake: Notify,
    client: Client,
    /// Keyed events go where Java's clients send them.
    java: bool,
    /// The largest event that the client takes.
    limit: String,
}

/// Topics go before the client, which `Shared` holds.
#[derive(Default)]
struct State {
    flights: Flights,
    topics: HashMap<Name, Topic>,
    room: Room,
    closed: bool,
}

impl Publisher for KafkaPublisher {
    fn send(&self, events: Events) -> Receipts {
        if events.len() >= STREAM {
            crosses_threads();
        }
        let shared = self.0.clone();
        let answered = shared.take(&events);
        Box::pin(async move {
            let landed = answered.await;
            // Without an answer the runtime that serves reports is at its end.
            let gone = || Err(Error::new(Kind::InDoubt, "send", "", "we left before there was an answer"));
            let Ok(Landed { mut receipts, failed, .. }) = landed else { return vec![gone(); events.len()] };
            let mut known = Known::default();
            for (index, failed) in failed {
                receipts[index] = Err(shared.error(&mut known, events[index].topic(), failed).await);
            }
            receipts
        })
    }

    /// Two requests full of small events: one on its way, one that fills. With 50,000 a stream of them takes a tenth more
    /// of the processor's time.
    fn enough(&self) -> usize {
        20_000
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody publishes any more, and everything is answered.
    fn is_done(&self) -> bool {
        let state = self.lock();
        state.closed && state.flights.is_empty()
    }

    /// Hands the events to the library, in order.
    fn take(&self, events: &Events) -> oneshot::Receiver<Landed> {
        let mut state = self.lock();
        let State { flights, topics, room, .. } = &mut *state;
        let (first, answered) = flights.begin(events.clone());
        let mut at = 0;
        for run in events.chunk_by(|a, b| same(a.topic(), b.topic())) {
            let number = first.wrapping_add(at);
            at += run.len();
            match self.topic(topics, run[0].topic()) {
                // SAFETY: the flight holds the events until all are answered, and longer if it must.
                Ok(topic) => unsafe {
                    topic.produce(run, number, room, |index, trouble| {
                        let size = run[index].size();
                        flights.failed(
                            number.wrapping_add(index),
                            self.not_taken(run[index].topic(), size, trouble),
                        );
                    });
                },
                Err(error) => {
                    let all = (0..run.len()).map(|index| number.wrapping_add(index));
                    all.for_each(|number| flights.failed(number, Failed::Refused(error.clone())));
                }
            }
        }
        if self.client.is_refused().is_some() {
            self.wake.notify_one();
        }
        answered
    }

    fn topic<'a>(&self, topics: &'a mut HashMap<Name, Topic>, topic: &Name) -> Result<&'a Topic> {
        if !topics.contains_key(topic) {
            name::topic("send", topic)?;
            let made = Topic::new(&self.client, topic, self.java);
            let made = made.map_err(|trouble| trouble.error(&About::topic("send", topic), &self.client))?;
            topics.insert(topic.clone(), made);
        }
        Ok(&topics[topic])
    }

    fn not_taken(&self, topic: &str, size: usize, trouble: Trouble) -> Failed {
        let about = About::topic("send", topic);
        match trouble.code {
            Code::MSG_SIZE_TOO_LARGE => Failed::Refused(too_large(&about, size, Some(&self.limit))),
            Code::INVALID_TIMESTAMP => {
                let message = "Kafka has no times before 1970";
                Failed::Refused(Error::new(Kind::Rejected, about.operation, about.subject, message))
            }
            _ => Failed::Reported { trouble, stored: false },
        }
    }

    /// Takes the reports that there are.
    fn hear(&self) {
        let queue = self.client.serve();
        while let Some(event) = queue.poll() {
            let mut state = self.lock();
            for Report { number, partition, offset, failed } in reports(&event) {
                match failed {
                    None if offset < 0 => state.flights.stored(number, Position::Partition(partition)),
                    None => state.flights.stored(number, Position::At { partition, offset }),
                    Some((trouble, stored)) => {
                        state.flights.failed(number, Failed::Reported { trouble, stored });
                    }
                }
            }
        }
    }

    /// Why an event was not published. Events that failed together most often failed of the same.
    async fn error(&self, known: &mut Known, topic: &Name, failed: Failed) -> Error {
        let (trouble, stored) = match failed {
            Failed::Refused(error) => return error,
            Failed::Reported { trouble, stored } => (trouble, stored),
        };
        let same = |(of, code, was, _): &&(Name, Code, bool, Error)| {
            of == topic && *code == trouble.code && *was == stored
        };
        if let Some((.., error)) = known.0.iter().find(same).filter(|_| trouble.words.is_empty()) {
            return error.clone();
        }
        let about = About::topic("send", topic);
        let error = match (trouble.code, self.client.is_refused()) {
            (Code::LOCAL_UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC_OR_PART, _) => {
                unknown_topic(&self.client, "send", topic).await
            }
            // What was purged because the broker refuses us.
            (Code::LOCAL_PURGE_QUEUE, Some(refused)) => refused.error(&about, &self.client),
            _ => trouble.send_error(&about, &self.client, stored),
        };
        known.0.push((topic.clone(), trouble.code, stored, error.clone()));
        error
    }
}

/// Names of one batch are most often one.
#[inline]
fn same(a: &Name, b: &Name) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Errors that were made already, by topic, code, and whether the event may have been stored.
#[derive(Default)]
struct Known(Vec<(Name, Code, bool, Error)>);

/// Serves reports until the publisher is dropped and everything is answered.
async fn serve(shared: Arc<Shared>) {
    let queue = shared.client.serve();
    let mut refused = false;
    loop {
        shared.hear();
        if shared.is_done() {
            return;
        }
        tokio::select! {
            () = queue.filled() => {}
            () = shared.wake.notified() => {}
            _ = shared.client.refused(), if !refused => refused = true,
        }
        if refused {
            // No patience helps, and the library would try until the events' time is over.
            let all = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
            // SAFETY: the client is live.
            unsafe { sys::rd_kafka_purge(shared.client.raw(), all | sys::RD_KAFKA_PURGE_F_NON_BLOCKING) };
        }
    }
}
