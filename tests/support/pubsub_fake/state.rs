//! Topics and subscriptions, and what is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tonic::{Code, Status};

use super::subscription::{Puller, Stored, Subscription, failures};

/// The last call of this many answers so.
struct Fault {
    method: String,
    code: Code,
    times: usize,
}

/// All of it.
#[derive(Default)]
pub struct State {
    topics: BTreeMap<String, Topic>,
    subscriptions: BTreeMap<String, Subscription>,
    messages: u64,
    pullers: u64,
    faults: Vec<Fault>,
    /// Calls that were made, by method.
    pub calls: BTreeMap<String, u64>,
}

struct Topic {
    config: api::Topic,
    /// What it keeps, where it keeps.
    log: Vec<Arc<Stored>>,
    published: usize,
}

type Answer<T> = Result<T, Status>;

impl State {
    /// Answers the next calls of this method so.
    pub fn fail(&mut self, method: &str, code: Code, times: usize) {
        self.faults.push(Fault { method: method.to_owned(), code, times });
    }

    /// The names of the subscriptions there are, short.
    pub fn subscription_names(&self) -> Vec<String> {
        self.subscriptions.keys().map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// How many messages were published to a topic, of this short name.
    pub fn published(&self, short: &str) -> usize {
        let named = |(name, _): &(&String, &Topic)| name.rsplit('/').next() == Some(short);
        self.topics.iter().find(named).map_or(0, |(_, topic)| topic.published)
    }

    /// All that a topic keeps: id, key and payload of each message.
    pub fn kept(&self, short: &str) -> Vec<(String, String, Vec<u8>)> {
        let named = |(name, _): &(&String, &Topic)| name.rsplit('/').next() == Some(short);
        let log = self.topics.iter().find(named).map(|(_, topic)| &topic.log);
        let messages = log.into_iter().flatten().map(|stored| &stored.message);
        let parts = |message: &api::PubsubMessage| {
            (message.message_id.clone(), message.ordering_key.clone(), message.data.to_vec())
        };
        messages.map(parts).collect()
    }

    /// How many messages of a subscription are not acked.
    pub fn not_acked(&self, short: &str) -> usize {
        let named = |(name, _): &(&String, &Subscription)| name.rsplit('/').next() == Some(short);
        self.subscriptions.iter().find(named).expect("it is there").1.not_acked()
    }

    /// How a subscription was made.
    pub fn config(&self, short: &str) -> Option<&api::Subscription> {
        let named = |(name, _): &(&String, &Subscription)| name.rsplit('/').next() == Some(short);
        self.subscriptions.iter().find(named).map(|(_, subscription)| &subscription.config)
    }

    /// Makes it otherwise than evcat would.
    pub fn reconfigure(&mut self, short: &str, how: impl FnOnce(&mut api::Subscription)) {
        let named = |(name, _): &(&String, &mut Subscription)| name.rsplit('/').next() == Some(short);
        how(&mut self.subscriptions.iter_mut().find(named).expect("it is there").1.config);
    }

    /// As if all leases had ended at once; what was out is to be had again.
    pub fn forget_leases(&mut self, short: &str) {
        let named = |(name, _): &(&String, &mut Subscription)| name.rsplit('/').next() == Some(short);
        self.subscriptions.iter_mut().find(named).expect("it is there").1.forget_leases();
    }

    pub fn fault(&mut self, method: &str) -> Option<Status> {
        *self.calls.entry(method.to_owned()).or_default() += 1;
        let fault = self.faults.iter_mut().find(|fault| fault.method == method && fault.times > 0)?;
        fault.times -= 1;
        Some(Status::new(fault.code, "it was asked to fail"))
    }

    pub fn puller(&mut self, client: String, seconds: i32, messages: i64, bytes: i64) -> Puller {
        self.pullers += 1;
        Puller::new(self.pullers, client, seconds, messages, bytes)
    }

    fn topic(&self, name: &str) -> Answer<&Topic> {
        self.topics.get(name).ok_or_else(|| missing(name))
    }

    pub fn subscription(&self, name: &str) -> Answer<&Subscription> {
        self.subscriptions.get(name).ok_or_else(|| missing(name))
    }

    fn subscription_mut(&mut self, name: &str) -> Answer<&mut Subscription> {
        self.subscriptions.get_mut(name).ok_or_else(|| missing(name))
    }

    pub fn create_topic(&mut self, config: api::Topic) -> Answer<api::Topic> {
        named(&config.name, "topics")?;
        if self.topics.contains_key(&config.name) {
            return Err(Status::already_exists(format!(
                "Resource already exists in the project (resource={}).",
                config.name
            )));
        }
        if let Some(kept) = &config.message_retention_duration {
            between("message_retention_duration", kept.seconds, 600, 31 * 86_400)?;
        }
        self.topics
            .insert(config.name.clone(), Topic { config: config.clone(), log: Vec::new(), published: 0 });
        Ok(config)
    }

    pub fn get_topic(&mut self, request: api::GetTopicRequest) -> Answer<api::Topic> {
        self.topic(&request.topic).map(|topic| topic.config.clone())
    }

    pub fn list_topics(&mut self, request: api::ListTopicsRequest) -> Answer<api::ListTopicsResponse> {
        let within = format!("{}/", request.project);
        let all =
            self.topics.values().map(|topic| &topic.config).filter(|topic| topic.name.starts_with(&within));
        let (topics, next_page_token) = page(all.cloned(), request.page_size, &request.page_token);
        Ok(api::ListTopicsResponse { topics, next_page_token })
    }

    pub fn list_topic_subscriptions(
        &mut self,
        request: api::ListTopicSubscriptionsRequest,
    ) -> Answer<api::ListTopicSubscriptionsResponse> {
        self.topic(&request.topic)?;
        let all = self.subscriptions.values().map(|subscription| &subscription.config);
        let of = all.filter(|config| config.topic == request.topic).map(|config| config.name.clone());
        let (subscriptions, next_page_token) = page(of, request.page_size, &request.page_token);
        Ok(api::ListTopicSubscriptionsResponse { subscriptions, next_page_token })
    }

    pub fn delete_topic(&mut self, request: api::DeleteTopicRequest) -> Answer<()> {
        self.topics.remove(&request.topic).ok_or_else(|| missing(&request.topic))?;
        for subscription in self.subscriptions.values_mut().filter(|one| one.config.topic == request.topic) {
            subscription.config.topic = "_deleted-topic_".to_owned();
        }
        Ok(())
    }

    pub fn publish(&mut self, request: api::PublishRequest) -> Answer<api::PublishResponse> {
        self.topic(&request.topic)?;
        if request.messages.is_empty() || request.messages.len() > 1000 {
            return Err(Status::invalid_argument("a request has 1 to 1000 messages"));
        }
        request.messages.iter().try_for_each(legal)?;
        let message_ids =
            request.messages.into_iter().map(|message| self.store(&request.topic, message)).collect();
        Ok(api::PublishResponse { message_ids })
    }

    fn store(&mut self, topic: &str, mut message: api::PubsubMessage) -> String {
        self.messages += 1;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let id = (10_000_000_000_000_000 + self.messages).to_string();
        message.message_id = id.clone();
        message.publish_time =
            Some(prost_types::Timestamp { seconds: at.as_secs() as i64, nanos: at.subsec_nanos() as i32 });
        let stored = Arc::new(Stored { number: self.messages, at, message });
        for subscription in self.subscriptions.values_mut().filter(|one| one.config.topic == topic) {
            subscription.add(stored.clone());
        }
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.published += 1;
            if topic.config.message_retention_duration.is_some() {
                topic.log.push(stored);
            }
        }
        id
    }

    pub fn create_subscription(&mut self, mut config: api::Subscription) -> Answer<api::Subscription> {
        named(&config.name, "subscriptions")?;
        self.topic(&config.topic)?;
        if self.subscriptions.contains_key(&config.name) {
            return Err(Status::already_exists(format!(
                "Resource already exists in the project (resource={}).",
                config.name
            )));
        }
        if config.ack_deadline_seconds == 0 {
            config.ack_deadline_seconds = 10;
        }
        between("ack_deadline_seconds", config.ack_deadline_seconds.into(), 10, 600)?;
        if let Some(kept) = &config.message_retention_duration {
            between("message_retention_duration", kept.seconds, 600, 31 * 86_400)?;
        }
        if let Some(ttl) = config.expiration_policy.as_ref().and_then(|policy| policy.ttl.as_ref()) {
            between("expiration_policy.ttl", ttl.seconds, 86_400, i64::MAX)?;
        }
        if let Some(policy) = &config.dead_letter_policy {
            self.topic(&policy.dead_letter_topic)?;
            between("max_delivery_attempts", policy.max_delivery_attempts.into(), 5, 100)?;
        }
        if !config.filter.is_empty() {
            return Err(Status::unimplemented("filters are not part of this stand-in"));
        }
        self.subscriptions.insert(config.name.clone(), Subscription::new(config.clone()));
        Ok(config)
    }

    pub fn get_subscription(&mut self, request: api::GetSubscriptionRequest) -> Answer<api::Subscription> {
        self.subscription(&request.subscription).map(|subscription| subscription.config.clone())
    }

    pub fn update_subscription(
        &mut self,
        request: api::UpdateSubscriptionRequest,
    ) -> Answer<api::Subscription> {
        let wish = request.subscription.unwrap_or_default();
        if request.update_mask.unwrap_or_default().paths != ["labels"] {
            return Err(Status::unimplemented("labels are all that can be changed in this stand-in"));
        }
        let subscription = self.subscription_mut(&wish.name)?;
        subscription.config.labels = wish.labels;
        Ok(subscription.config.clone())
    }

    pub fn list_subscriptions(
        &mut self,
        request: api::ListSubscriptionsRequest,
    ) -> Answer<api::ListSubscriptionsResponse> {
        let within = format!("{}/", request.project);
        let all = self.subscriptions.values().map(|subscription| &subscription.config);
        let all = all.filter(|config| config.name.starts_with(&within)).cloned();
        let (subscriptions, next_page_token) = page(all, request.page_size, &request.page_token);
        Ok(api::ListSubscriptionsResponse { subscriptions, next_page_token })
    }

    pub fn delete_subscription(&mut self, request: api::DeleteSubscriptionRequest) -> Answer<()> {
        let name = request.subscription;
        self.subscriptions.remove(&name).map(drop).ok_or_else(|| missing(&name))
    }

    /// What this puller may have now.
    pub fn take(&mut self, name: &str, puller: &Puller, many: usize) -> Answer<Vec<api::ReceivedMessage>> {
        let dead = self.subscription_mut(name)?.fail_expired();
        self.bury(name, dead)?;
        Ok(self.subscription_mut(name)?.take(puller, many))
    }

    /// Forwards dead letters as the service does: as new messages that say where they died.
    fn bury(&mut self, name: &str, dead: Vec<(Arc<Stored>, u32)>) -> Answer<()> {
        for (stored, count) in dead {
            let policy = self.subscription(name)?.config.dead_letter_policy.clone();
            let Some(policy) = policy.filter(|policy| self.topics.contains_key(&policy.dead_letter_topic))
            else {
                continue;
            };
            let mut parts = name.split('/').skip(1).step_by(2);
            let (project, subscription) =
                (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
            let mut message = stored.message.clone();
            let time = message.publish_time.as_ref().map(ToString::to_string).unwrap_or_default();
            for (word, value) in [
                ("DeliveryCount", count.to_string()),
                ("Subscription", subscription),
                ("SubscriptionProject", project),
                ("TopicPublishTime", time),
            ] {
                message.attributes.insert(format!("CloudPubSubDeadLetterSource{word}"), value);
            }
            self.store(&policy.dead_letter_topic, message);
        }
        Ok(())
    }

    pub fn acknowledge(&mut self, request: api::AcknowledgeRequest) -> Answer<()> {
        let refused = self.ack(&request.subscription, &request.ack_ids)?;
        self.answer_of(&request.subscription, refused)
    }

    pub fn ack(&mut self, name: &str, ids: &[String]) -> Answer<Vec<String>> {
        let dead = self.subscription_mut(name)?.fail_expired();
        self.bury(name, dead)?;
        Ok(self.subscription_mut(name)?.ack(ids))
    }

    pub fn modify_ack_deadline(&mut self, request: api::ModifyAckDeadlineRequest) -> Answer<()> {
        let refused = self.modify(&request.subscription, &request.ack_ids, request.ack_deadline_seconds)?;
        self.answer_of(&request.subscription, refused)
    }

    pub fn modify(&mut self, name: &str, ids: &[String], seconds: i32) -> Answer<Vec<String>> {
        between("ack_deadline_seconds", seconds.into(), 0, 600)?;
        let dead = self.subscription_mut(name)?.fail_expired();
        self.bury(name, dead)?;
        let (refused, dead) = self.subscription_mut(name)?.modify(ids, seconds);
        self.bury(name, dead)?;
        Ok(refused)
    }

    /// Only a subscription with exactly-once delivery says which ids meant nothing.
    fn answer_of(&self, name: &str, refused: Vec<String>) -> Answer<()> {
        let exactly_once = self.subscription(name)?.config.enable_exactly_once_delivery;
        if refused.is_empty() || !exactly_once {
            return Ok(());
        }
        Err(failures(refused))
    }

    pub fn seek(&mut self, request: api::SeekRequest) -> Answer<api::SeekResponse> {
        let Some(api::seek_request::Target::Time(time)) = request.target else {
            return Err(Status::unimplemented("snapshots are not part of this stand-in"));
        };
        let topic = self.subscription(&request.subscription)?.config.topic.clone();
        let log = self.topics.get(&topic).map(|topic| topic.log.clone()).unwrap_or_default();
        self.subscription_mut(&request.subscription)?.seek(&time, log);
        Ok(api::SeekResponse {})
    }
}

fn missing(name: &str) -> Status {
    Status::not_found(format!("Resource not found (resource={}).", name.rsplit('/').next().unwrap_or(name)))
}

/// The rule of names, from the comment of `Topic.name`.
fn named(name: &str, kind: &str) -> Answer<()> {
    let wrong = || Status::invalid_argument(format!("Invalid [{kind}] name: (name={name})"));
    let mut parts = name.split('/');
    let (head, _project, word) = (parts.next(), parts.next().ok_or_else(wrong)?, parts.next());
    let short = parts.next().ok_or_else(wrong)?;
    let legal = (3..=255).contains(&short.len())
        && short.starts_with(|c: char| c.is_ascii_alphabetic())
        && short.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~+%".contains(c))
        && !short.starts_with("goog");
    match legal && head == Some("projects") && word == Some(kind) && parts.next().is_none() {
        true => Ok(()),
        false => Err(wrong()),
    }
}

/// The limits of a message (<https://cloud.google.com/pubsub/quotas#resource_limits>).
fn legal(message: &api::PubsubMessage) -> Answer<()> {
    let refuse = |words: &str| Err(Status::invalid_argument(words.to_owned()));
    if message.data.is_empty() && message.attributes.is_empty() {
        return refuse("The value for message is invalid: it has neither data nor attributes.");
    }
    if message.attributes.len() > 100 {
        return refuse("a message has 100 attributes at most");
    }
    if message.attributes.iter().any(|(key, value)| key.is_empty() || key.len() > 256 || value.len() > 1024) {
        return refuse("an attribute has a key of 256 bytes at most, and a value of 1024");
    }
    if message.ordering_key.len() > 1024 || message.data.len() > 10_000_000 {
        return refuse("an ordering key has 1024 bytes at most, a message 10 MB");
    }
    Ok(())
}

fn between(what: &str, is: i64, least: i64, most: i64) -> Answer<()> {
    match (least..=most).contains(&is) {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!("{what} is {is}: {least} to {most}"))),
    }
}

/// A few of a list, and where the next begin.
fn page<T>(all: impl Iterator<Item = T>, size: i32, token: &str) -> (Vec<T>, String) {
    let from: usize = token.parse().unwrap_or(0);
    let size = usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(100);
    let mut rest = all.skip(from);
    let some: Vec<T> = rest.by_ref().take(size).collect();
    let next = if rest.next().is_some() { (from + size).to_string() } else { String::new() };
    (some, next)
}
