//! One subscription: what is in it, who has it, and until when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use prost::Message;
use tonic::{Code, Status};

/// A message as it lies in its topic.
pub struct Stored {
    pub number: u64,
    pub at: Duration,
    pub message: api::PubsubMessage,
}

/// Who takes: a stream, or one pull.
pub struct Puller {
    number: u64,
    client: String,
    lease: Option<Duration>,
    messages: usize,
    bytes: usize,
}

impl Puller {
    pub fn new(number: u64, client: String, seconds: i32, messages: i64, bytes: i64) -> Puller {
        let limit = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        let client = if client.is_empty() { format!("#{number}") } else { client };
        let lease = u64::try_from(seconds).ok().filter(|s| *s > 0).map(Duration::from_secs);
        Puller { number, client, lease, messages: limit(messages), bytes: limit(bytes) }
    }
}

struct Entry {
    stored: Arc<Stored>,
    /// Deliveries that came back or whose lease ended.
    failures: u32,
    not_before: Option<Instant>,
    out: Option<Out>,
}

struct Out {
    ack_id: String,
    until: Instant,
    client: String,
    puller: u64,
}

/// All of it.
pub struct Subscription {
    pub config: api::Subscription,
    backlog: BTreeMap<u64, Entry>,
    /// Of those that are out.
    acks: HashMap<String, u64>,
    /// Messages and bytes per puller.
    out: HashMap<u64, (usize, usize)>,
    /// Acked ones, where the subscription keeps them.
    kept: Vec<Arc<Stored>>,
    deliveries: u64,
    /// No lease ends before this.
    first_end: Option<Instant>,
}

/// What was delivered as often as it may be, and how often.
type Dead = Vec<(Arc<Stored>, u32)>;

impl Subscription {
    pub fn new(config: api::Subscription) -> Subscription {
        Subscription {
            config,
            backlog: BTreeMap::new(),
            acks: HashMap::new(),
            out: HashMap::new(),
            kept: Vec::new(),
            deliveries: 0,
            first_end: None,
        }
    }

    pub fn not_acked(&self) -> usize {
        self.backlog.len()
    }

    pub fn add(&mut self, stored: Arc<Stored>) {
        self.backlog.insert(stored.number, Entry { stored, failures: 0, not_before: None, out: None });
    }

    /// In order of publishing; a key is with one client at a time.
    pub fn take(&mut self, puller: &Puller, many: usize) -> Vec<api::ReceivedMessage> {
        let now = Instant::now();
        let usual = Duration::from_secs(u64::try_from(self.config.ack_deadline_seconds).unwrap_or(10));
        let (mut outs, mut bytes) = self.out.get(&puller.number).copied().unwrap_or_default();
        let (mut taken, mut size) = (Vec::new(), 0);
        let mut blocked: HashSet<&str> = HashSet::new();
        let counts = self.config.dead_letter_policy.is_some();
        for (number, entry) in &mut self.backlog {
            if taken.len() >= many || size > 8_000_000 || outs >= puller.messages || bytes >= puller.bytes {
                break;
            }
            let Entry { stored, failures, not_before, out } = entry;
            let key = stored.message.ordering_key.as_str();
            let ordered = self.config.enable_message_ordering && !key.is_empty();
            let waits = not_before.is_some_and(|at| at > now);
            let elsewhere = out.as_ref().is_some_and(|out| out.client != puller.client);
            if out.is_some() || waits || (ordered && blocked.contains(key)) {
                if ordered && (waits || elsewhere) {
                    blocked.insert(key);
                }
                continue;
            }
            self.deliveries += 1;
            let ack_id = format!("{number}-{}", self.deliveries);
            let until = now + puller.lease.unwrap_or(usual);
            self.first_end = Some(self.first_end.map_or(until, |first| first.min(until)));
            *out = Some(Out {
                ack_id: ack_id.clone(),
                until,
                client: puller.client.clone(),
                puller: puller.number,
            });
            self.acks.insert(ack_id.clone(), *number);
            let len = stored.message.encoded_len();
            (outs, bytes, size) = (outs + 1, bytes + len, size + len);
            let delivery_attempt = if counts { *failures as i32 + 1 } else { 0 };
            taken.push(api::ReceivedMessage {
                ack_id,
                message: Some(stored.message.clone()),
                delivery_attempt,
            });
        }
        self.out.insert(puller.number, (outs, bytes));
        taken
    }

    /// Takes it out of the hand it is in.
    fn back(&mut self, number: u64) {
        let Some(entry) = self.backlog.get_mut(&number) else { return };
        let Some(out) = entry.out.take() else { return };
        self.acks.remove(&out.ack_id);
        if let Some((messages, bytes)) = self.out.get_mut(&out.puller) {
            *messages -= 1;
            *bytes -= entry.stored.message.encoded_len();
        }
    }

    /// It came back: it is delivered again, and with it what was delivered after it of its key; or it is dead.
    fn fail(&mut self, number: u64) -> Option<(Arc<Stored>, u32)> {
        self.back(number);
        let entry = self.backlog.get_mut(&number)?;
        entry.failures += 1;
        let (stored, failures) = (entry.stored.clone(), entry.failures);
        if let Some(policy) = &self.config.retry_policy {
            let length = |it: &Option<prost_types::Duration>, usual: u64| {
                it.as_ref().map_or(Duration::from_secs(usual), |it| {
                    Duration::new(
                        u64::try_from(it.seconds).unwrap_or(0),
                        u32::try_from(it.nanos).unwrap_or(0),
                    )
                })
            };
            let (least, most) = (length(&policy.minimum_backoff, 10), length(&policy.maximum_backoff, 600));
            let pause = least.saturating_mul(1 << (failures - 1).min(16)).min(most);
            entry.not_before = Some(Instant::now() + pause);
        }
        let key = &stored.message.ordering_key;
        if self.config.enable_message_ordering && !key.is_empty() {
            let later = self.backlog.range(number + 1..);
            let of_key =
                later.filter(|(_, entry)| entry.stored.message.ordering_key == *key && entry.out.is_some());
            let of_key: Vec<u64> = of_key.map(|(number, _)| *number).collect();
            of_key.into_iter().for_each(|number| self.back(number));
        }
        let most =
            self.config.dead_letter_policy.as_ref().map(|policy| policy.max_delivery_attempts as u32)?;
        if failures < most {
            return None;
        }
        self.backlog.remove(&number);
        Some((stored, failures))
    }

    /// As if all leases had ended at once, and nobody counts it.
    pub fn forget_leases(&mut self) {
        let out: Vec<u64> = self.acks.values().copied().collect();
        for number in out {
            self.back(number);
            if let Some(entry) = self.backlog.get_mut(&number) {
                entry.not_before = Some(Instant::now() + Duration::from_millis(500));
            }
        }
    }

    pub fn fail_expired(&mut self) -> Dead {
        let now = Instant::now();
        if self.first_end.is_none_or(|first| first > now) {
            return Vec::new();
        }
        let over = |entry: &Entry| entry.out.as_ref().is_some_and(|out| out.until <= now);
        let expired: Vec<u64> =
            self.backlog.iter().filter(|(_, entry)| over(entry)).map(|(number, _)| *number).collect();
        let still_out = |own: &Subscription, number: u64| own.backlog.get(&number).is_some_and(over);
        let mut dead = Vec::new();
        for number in expired {
            // One before it in its key may have taken it along.
            if still_out(self, number) {
                dead.extend(self.fail(number));
            }
        }
        self.first_end = self.backlog.values().filter_map(|entry| Some(entry.out.as_ref()?.until)).min();
        dead
    }

    /// Answers the ids that meant nothing.
    pub fn ack(&mut self, ids: &[String]) -> Vec<String> {
        let mut refused = Vec::new();
        for id in ids {
            match self.acks.get(id).copied() {
                Some(number) => {
                    self.back(number);
                    let entry = self.backlog.remove(&number);
                    if self.config.retain_acked_messages {
                        self.kept.extend(entry.map(|entry| entry.stored));
                    }
                }
                None => refused.push(id.clone()),
            }
        }
        refused
    }

    /// Answers the ids that meant nothing, and what died.
    pub fn modify(&mut self, ids: &[String], seconds: i32) -> (Vec<String>, Dead) {
        let (mut refused, mut dead) = (Vec::new(), Vec::new());
        for id in ids {
            match self.acks.get(id).copied() {
                None => refused.push(id.clone()),
                Some(number) if seconds == 0 => dead.extend(self.fail(number)),
                Some(number) => {
                    let lease = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                    let entry = self.backlog.get_mut(&number);
                    if let Some(out) = entry.and_then(|entry| entry.out.as_mut()) {
                        out.until = Instant::now() + lease;
                        self.first_end = Some(self.first_end.map_or(out.until, |first| first.min(out.until)));
                    }
                }
            }
        }
        (refused, dead)
    }

    /// What was published since is not acked, what was published before is. `log`: what the topic keeps.
    pub fn seek(&mut self, time: &prost_types::Timestamp, log: Vec<Arc<Stored>>) {
        let to = match u64::try_from(time.seconds) {
            Ok(seconds) => Duration::new(seconds, u32::try_from(time.nanos).unwrap_or(0)),
            Err(_) => Duration::ZERO,
        };
        let before = std::mem::take(&mut self.backlog).into_values().map(|entry| entry.stored);
        let all: Vec<Arc<Stored>> = before.chain(self.kept.iter().cloned()).chain(log).collect();
        self.acks.clear();
        self.out.clear();
        all.into_iter().filter(|stored| stored.at >= to).for_each(|stored| self.add(stored));
    }
}

/// `google.rpc.Status` and `google.rpc.ErrorInfo`, as far as they are filled.
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// What exactly-once delivery says of acks that came too late (<https://cloud.google.com/pubsub/docs/exactly-once-delivery>).
pub fn failures(refused: Vec<String>) -> Status {
    let why = |id| (id, "PERMANENT_FAILURE_INVALID_ACK_ID".to_owned());
    let metadata = refused.into_iter().map(why).collect();
    let info = ErrorInfo {
        reason: "EXACTLY_ONCE_ACKID_FAILURE".into(),
        domain: "pubsub.googleapis.com".into(),
        metadata,
    };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
        value: info.encode_to_vec(),
    };
    let code = Code::FailedPrecondition;
    let details = Detailed { code: code as i32, details: vec![any] }.encode_to_vec();
    Status::with_details(code, "Some acknowledgement ids in the request were invalid.", details.into())
}
