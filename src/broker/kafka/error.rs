//! The library's and the broker's codes as our kinds, in words, with what to do next.
//!
//! One table (`verdict`) for what a code means; what a code alone does not say is found in what the client said of its
//! connections (`connection::error`).

use super::client::Client;
use super::connection;
use super::sys::Code;
use crate::broker::{Error, Kind, nearest};

/// What was being done, for an error.
#[derive(Clone, Debug)]
pub struct About {
    /// The trait's method.
    pub operation: &'static str,
    /// On what: `topic orders`, `group billing`, or nothing.
    pub subject: String,
}

impl About {
    /// Such a method on such a thing.
    pub fn new(operation: &'static str, subject: impl Into<String>) -> About {
        About { operation, subject: subject.into() }
    }

    /// On this topic.
    pub fn topic(operation: &'static str, topic: &str) -> About {
        About::new(operation, format!("topic {topic}"))
    }

    /// On this group.
    pub fn group(operation: &'static str, group: &str) -> About {
        About::new(operation, format!("group {group}"))
    }

    /// The name of the topic or group that this is about.
    fn name(&self) -> Option<&str> {
        self.subject.strip_prefix("topic ").or_else(|| self.subject.strip_prefix("group "))
    }
}

/// What went wrong, as the library said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its code.
    pub code: Code,
    /// Its words, perhaps none.
    pub words: String,
}

impl Trouble {
    /// A code that came without words.
    pub fn of(code: Code) -> Trouble {
        Trouble { code, words: String::new() }
    }

    /// The cluster is busy with itself, and may answer when it is asked again.
    pub fn is_busy(&self) -> bool {
        BUSY.contains(&self.code)
    }

    /// Whether the one who was asked may be gone.
    pub fn is_lost(&self) -> bool {
        matches!(self.code, Code::LOCAL_TIMED_OUT | Code::LOCAL_TRANSPORT | Code::LOCAL_DESTROY_BROKER)
    }

    /// Whether the library gets over it by itself, once the broker is there again. What came damaged stays so.
    pub fn passes(&self) -> bool {
        let kind = verdict(self.code, &About::new("", ""), None).kind;
        kind == Kind::Unreachable && self.code != Code::LOCAL_BAD_MSG
    }

    /// The same as an error of ours; where the broker was not reached, with what the client said of its connections.
    pub fn error(&self, about: &About, client: &Client) -> Error {
        let words = client.news().masked(&self.words);
        tracing::debug!(code = %self.code.name(), operation = about.operation, "{words}");
        let Verdict { kind, message, hint } = verdict(self.code, about, client.user());
        if kind == Kind::Unreachable || self.code == Code::LOCAL_AUTHENTICATION {
            return connection::error(about, client, &Trouble { code: self.code, words });
        }
        let message = match message {
            Some(message) => message,
            None if words.is_empty() => self.code.words(),
            None => words,
        };
        let error = Error::new(kind, about.operation, about.subject.clone(), message);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// The same of an event that was to be published. `stored`: it may have been, because the request left.
    pub fn send_error(&self, about: &About, client: &Client, stored: bool) -> Error {
        let waited = [
            Code::LOCAL_MSG_TIMED_OUT,
            Code::LOCAL_TIMED_OUT,
            Code::REQUEST_TIMED_OUT,
            Code::LOCAL_TRANSPORT,
        ];
        if !stored || !waited.contains(&self.code) {
            return self.error(about, client);
        }
        let message = "was sent and not acknowledged in time: it may have been stored";
        Error::new(Kind::InDoubt, about.operation, about.subject.clone(), message)
            .with_hint("publishing it again may make a duplicate; look first: evcat tail --no-follow")
    }
}

/// What the cluster answers while who does it now is being found out.
const BUSY: &[Code] = &[
    Code::LOCAL_WAIT_COORD,
    Code::COORDINATOR_LOAD_IN_PROGRESS,
    Code::COORDINATOR_NOT_AVAILABLE,
    Code::NOT_COORDINATOR,
    Code::NOT_CONTROLLER,
    Code::LEADER_NOT_AVAILABLE,
    Code::NOT_LEADER_FOR_PARTITION,
    Code::OFFSET_NOT_AVAILABLE,
    Code::FENCED_LEADER_EPOCH,
    Code::UNKNOWN_LEADER_EPOCH,
    Code::REPLICA_NOT_AVAILABLE,
    Code::KAFKA_STORAGE_ERROR,
    Code::UNSTABLE_OFFSET_COMMIT,
];

/// An event that the client itself refuses, before it is sent.
pub fn too_large(about: &About, bytes: usize, limit: Option<&str>) -> Error {
    let limit = limit.unwrap_or("1000000");
    let message = format!("the event has {bytes} bytes, and message.max.bytes of this client is {limit}");
    Error::new(Kind::Rejected, about.operation, about.subject.clone(), message)
        .with_hint("-X message.max.bytes=N; the topic's max.message.bytes must allow it too")
}

/// There is no such topic, and the nearest there is.
pub async fn unknown_topic(client: &Client, operation: &'static str, topic: &str) -> Error {
    let about = About::topic(operation, topic);
    let error = Trouble::of(Code::UNKNOWN_TOPIC_OR_PART).error(&about, client);
    // Who may not list topics is told of this one all the same.
    let names = client.topic_names(&about).await.unwrap_or_default();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match nearest(topic, &names) {
        Some(near) => {
            error.with_hint(format!("did you mean '{near}'? to make it: evcat topics create {topic}"))
        }
        None => error,
    }
}

/// What a code means.
struct Verdict {
    kind: Kind,
    /// Our words; `None` where the library's own are best.
    message: Option<String>,
    hint: Option<String>,
}

/// The table.
fn verdict(code: Code, about: &About, user: Option<&str>) -> Verdict {
    let plain = |kind| Verdict { kind, message: None, hint: None };
    let said = |kind, message: &str| Verdict { kind, message: Some(message.into()), hint: None };
    let told = |kind, message: &str, hint: &str| Verdict {
        kind,
        message: Some(message.into()),
        hint: Some(hint.into()),
    };
    let named = about.name().unwrap_or("NAME");
    match code {
        Code::LOCAL_UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC_OR_PART | Code::LOCAL_NOENT => {
            let hint = format!("which there are: evcat topics list; to make it: evcat topics create {named}");
            told(Kind::NotFound, "does not exist", &hint)
        }
        Code::LOCAL_UNKNOWN_PARTITION => {
            told(Kind::NotFound, "has no such partition", &format!("evcat topics describe {named}"))
        }
        Code::GROUP_ID_NOT_FOUND => {
            told(Kind::NotFound, "does not exist", "which there are: evcat groups list")
        }

        Code::TOPIC_AUTHORIZATION_FAILED => denied("topic", topic_right(about.operation), about, user),
        Code::GROUP_AUTHORIZATION_FAILED => denied("group", group_right(about.operation), about, user),
        Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
            let id = About::topic(about.operation, &transactional_id(named));
            denied("transactional-id", "Write", &id, user)
        }
        Code::CLUSTER_AUTHORIZATION_FAILED => denied("cluster", cluster_right(about.operation), about, user),
        Code::SASL_AUTHENTICATION_FAILED | Code::LOCAL_AUTHENTICATION => {
            told(Kind::Denied, "the broker does not take this user and password", CREDENTIALS)
        }

        Code::LOCAL_TRANSPORT
        | Code::LOCAL_RESOLVE
        | Code::LOCAL_ALL_BROKERS_DOWN
        | Code::LOCAL_TIMED_OUT
        | Code::LOCAL_TIMED_OUT_QUEUE
        | Code::LOCAL_MSG_TIMED_OUT
        | Code::LOCAL_SSL
        | Code::LOCAL_BAD_MSG
        | Code::LOCAL_WAIT_COORD
        // The others took it out of the cluster while it had a question of ours.
        | Code::LOCAL_DESTROY_BROKER
        | Code::LEADER_NOT_AVAILABLE
        | Code::NOT_LEADER_FOR_PARTITION
        | Code::OFFSET_NOT_AVAILABLE
        | Code::FENCED_LEADER_EPOCH
        | Code::UNKNOWN_LEADER_EPOCH
        | Code::BROKER_NOT_AVAILABLE
        | Code::REPLICA_NOT_AVAILABLE
        | Code::NETWORK_EXCEPTION
        | Code::COORDINATOR_LOAD_IN_PROGRESS
        | Code::COORDINATOR_NOT_AVAILABLE
        | Code::NOT_COORDINATOR
        | Code::NOT_CONTROLLER
        | Code::THROTTLING_QUOTA_EXCEEDED
        | Code::UNSTABLE_OFFSET_COMMIT
        | Code::CONCURRENT_TRANSACTIONS
        | Code::KAFKA_STORAGE_ERROR => plain(Kind::Unreachable),
        Code::NOT_ENOUGH_REPLICAS => plain(Kind::Unreachable),
        Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND => told(
            Kind::InDoubt,
            "was stored on too few brokers: it is there, and lost if these fail now",
            "look how many are in sync: evcat topics describe",
        ),
        Code::REQUEST_TIMED_OUT => told(
            Kind::InDoubt,
            "the broker did not have it from enough of its replicas in time: it may have been stored",
            "publishing it again may make a duplicate",
        ),
        Code::LOCAL_PURGE_INFLIGHT => {
            said(Kind::InDoubt, "was on its way when we left: it may have been stored")
        }
        Code::LOCAL_PURGE_QUEUE | Code::LOCAL_DESTROY => {
            said(Kind::Unreachable, "was not sent before we left")
        }

        Code::MSG_SIZE_TOO_LARGE | Code::RECORD_LIST_TOO_LARGE => told(
            Kind::Rejected,
            "the event is too large for the broker",
            &format!(
                "whoever may can raise it: kafka-configs.sh --alter --topic {named} --add-config max.message.bytes=N"
            ),
        ),
        Code::INVALID_RECORD => told(
            Kind::Rejected,
            "the broker does not take this event",
            "a compacted topic (cleanup.policy=compact) takes no events without a key",
        ),
        Code::INVALID_TIMESTAMP => told(
            Kind::Rejected,
            "the event's timestamp is further from now than the topic allows",
            "leave --timestamp out, or raise the topic's message.timestamp.before.max.ms or .after.max.ms",
        ),
        // Of an event that the library cannot take.
        Code::LOCAL_INVALID_ARG => plain(Kind::Rejected),
        Code::INVALID_MSG => said(Kind::Rejected, "the broker found the event damaged"),
        // The broker says what is wrong with it, such as another name that differs in '.' and '_' alone.
        Code::TOPIC_EXCEPTION => plain(Kind::Invalid),
        Code::INVALID_GROUP_ID => said(Kind::Invalid, "is no name of a group"),
        Code::TOPIC_ALREADY_EXISTS => said(Kind::Rejected, "exists already"),
        Code::NON_EMPTY_GROUP => told(Kind::Rejected, "members are at work on it", STOP_MEMBERS),
        Code::UNKNOWN_MEMBER_ID if about.operation == "seek_group" || about.operation == "create_group" => {
            told(Kind::Rejected, "members are at work on it", STOP_MEMBERS)
        }
        Code::GROUP_SUBSCRIBED_TO_TOPIC => told(Kind::Rejected, "members are at work on it", STOP_MEMBERS),
        Code::OFFSET_METADATA_TOO_LARGE => plain(Kind::Rejected),
        Code::INVALID_PARTITIONS
        | Code::INVALID_REPLICATION_FACTOR
        | Code::INVALID_CONFIG
        | Code::INVALID_REQUEST
        | Code::INVALID_REQUIRED_ACKS
        | Code::POLICY_VIOLATION => plain(Kind::Rejected),

        Code::OFFSET_OUT_OF_RANGE | Code::LOCAL_AUTO_OFFSET_RESET => {
            told(Kind::Gone, "what lay there is no longer kept", "--from beginning reads what there is")
        }
        Code::LOCAL_FENCED
        | Code::PRODUCER_FENCED
        | Code::INVALID_PRODUCER_EPOCH
        | Code::FENCED_INSTANCE_ID
        | Code::ILLEGAL_GENERATION
        | Code::UNKNOWN_MEMBER_ID
        | Code::FENCED_MEMBER_EPOCH
        | Code::STALE_MEMBER_EPOCH
        | Code::REBALANCE_IN_PROGRESS
        | Code::LOCAL_MAX_POLL_EXCEEDED => said(Kind::Lost, "somebody else has it by now"),

        Code::UNSUPPORTED_VERSION | Code::LOCAL_UNSUPPORTED_FEATURE => {
            told(Kind::Unsupported, "this broker is too old for that", "its version: evcat profiles check")
        }
        Code::UNSUPPORTED_COMPRESSION_TYPE | Code::LOCAL_BAD_COMPRESSION => plain(Kind::Unsupported),
        Code::TOPIC_DELETION_DISABLED => told(
            Kind::Unsupported,
            "this broker deletes no topics",
            "delete.topic.enable=true in its settings",
        ),
        Code::SECURITY_DISABLED => said(Kind::Unsupported, "this broker has no rights to manage"),
        Code::GROUP_MAX_SIZE_REACHED => plain(Kind::Rejected),
        Code::INCONSISTENT_GROUP_PROTOCOL | Code::LOCAL_UNKNOWN_PROTOCOL => told(
            Kind::Rejected,
            "the members at work on it share the partitions in another way than we do",
            "as other clients do, and as all members must: -X partition.assignment.strategy=range,roundrobin",
        ),
        Code::INVALID_SESSION_TIMEOUT => told(
            Kind::Rejected,
            "the broker does not take this session.timeout.ms",
            "leave it out, or stay within the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
        ),
        Code(1..) => plain(Kind::Rejected),
        Code(_) => plain(Kind::Broken),
    }
}

/// Of who works on these dead letters: one at a time, on whatever machine.
pub fn transactional_id(letters: &str) -> String {
    format!("evcat-dlq-{letters}")
}

/// What to try with a user that was not taken.
pub const CREDENTIALS: &str = "the user stands in the URL, the password in the profile; how it logs in: -X sasl.mechanism=PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";

const STOP_MEMBERS: &str = "stop them first; a killed one counts until its session is over";

/// A right is missing, and how somebody who may can give it.
fn denied(resource: &str, right: &str, about: &About, user: Option<&str>) -> Verdict {
    let name = about.name().unwrap_or("NAME");
    let on = if resource == "cluster" { "the cluster".to_owned() } else { format!("the {resource}") };
    let which =
        if resource == "cluster" { String::from("--cluster") } else { format!("--{resource} {name}") };
    let user = user.unwrap_or("USER");
    Verdict {
        kind: Kind::Denied,
        message: Some(format!("not allowed: the right {right} on {on} is missing")),
        hint: Some(format!(
            "whoever may can give it: kafka-acls.sh --add --allow-principal User:{user} --operation {right} {which}"
        )),
    }
}

fn topic_right(operation: &str) -> &'static str {
    match operation {
        "send" | "publisher" => "Write",
        "create_topic" => "Create",
        "delete_topic" => "Delete",
        "topics" | "check" | "groups" => "Describe",
        _ => "Read",
    }
}

fn group_right(operation: &str) -> &'static str {
    match operation {
        "delete_group" => "Delete",
        "groups" | "check" => "Describe",
        _ => "Read",
    }
}

fn cluster_right(operation: &str) -> &'static str {
    match operation {
        "create_topic" => "Create",
        "send" | "publisher" => "IdempotentWrite",
        _ => "Describe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::kafka::sys::{self, rd_kafka_err_desc};

    fn of(operation: &'static str, subject: &str, code: Code) -> (Kind, String, String) {
        let Verdict { kind, message, hint } = verdict(code, &About::new(operation, subject), Some("ann"));
        (kind, message.unwrap_or_default(), hint.unwrap_or_default())
    }

    #[test]
    fn what_people_meet_is_told_in_words_with_a_way_on() {
        for (code, operation, subject, kind, message, hint) in [
            (
                Code::UNKNOWN_TOPIC_OR_PART,
                "reader",
                "topic a",
                Kind::NotFound,
                "does not exist",
                "topics create a",
            ),
            (
                Code::TOPIC_AUTHORIZATION_FAILED,
                "send",
                "topic a",
                Kind::Denied,
                "right Write on the topic",
                "--operation Write --topic a",
            ),
            (Code::TOPIC_AUTHORIZATION_FAILED, "reader", "topic a", Kind::Denied, "right Read", "User:ann"),
            (
                Code::GROUP_AUTHORIZATION_FAILED,
                "groups",
                "group g",
                Kind::Denied,
                "right Describe on the group",
                "--group g",
            ),
            (
                Code::CLUSTER_AUTHORIZATION_FAILED,
                "create_topic",
                "topic a",
                Kind::Denied,
                "right Create on the cluster",
                "--cluster",
            ),
            (
                Code::MSG_SIZE_TOO_LARGE,
                "send",
                "topic a",
                Kind::Rejected,
                "too large for the broker",
                "max.message.bytes",
            ),
            (
                Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                "settle",
                "topic a.g.dlq",
                Kind::Denied,
                "right Write on the transactional-id",
                "--operation Write --transactional-id evcat-dlq-a.g.dlq",
            ),
            (Code::LOCAL_DESTROY_BROKER, "groups", "group g", Kind::Unreachable, "", ""),
            (
                Code::NON_EMPTY_GROUP,
                "delete_group",
                "group g",
                Kind::Rejected,
                "members are at work",
                "stop them",
            ),
            (
                Code::UNKNOWN_MEMBER_ID,
                "seek_group",
                "group g",
                Kind::Rejected,
                "members are at work",
                "stop them",
            ),
            (Code::UNKNOWN_MEMBER_ID, "settle", "group g", Kind::Lost, "somebody else", ""),
            (Code::STALE_MEMBER_EPOCH, "settle", "group g", Kind::Lost, "somebody else", ""),
            (
                Code::INCONSISTENT_GROUP_PROTOCOL,
                "receive",
                "group g",
                Kind::Rejected,
                "in another way",
                "range,roundrobin",
            ),
            (Code::OFFSET_OUT_OF_RANGE, "next", "topic a", Kind::Gone, "no longer kept", "--from beginning"),
            (Code::TOPIC_EXCEPTION, "create_topic", "topic a/b", Kind::Invalid, "", ""),
            (Code::UNSUPPORTED_VERSION, "check", "", Kind::Unsupported, "too old", "profiles check"),
        ] {
            let (found, words, next) = of(operation, subject, code);
            assert_eq!(found, kind, "{code:?} in {operation}");
            assert!(
                words.contains(message) && next.contains(hint),
                "{code:?} in {operation}: {words} / {next}"
            );
        }
    }

    #[test]
    fn every_code_of_the_broker_is_an_answer_and_every_unknown_one_of_the_library_is_ours() {
        let (mut all, mut count) = (std::ptr::null::<rd_kafka_err_desc>(), 0);
        // SAFETY: sets both to a static table.
        unsafe { sys::rd_kafka_get_err_descs(&mut all, &mut count) };
        let mut seen = 0;
        for i in 0..count {
            // SAFETY: within the table.
            let code = unsafe { Code::at(&raw const (*all.add(i)).code) };
            // Not in use, or not an error.
            if code.name().is_empty() || code == Code::OK {
                continue;
            }
            seen += 1;
            let (kind, ..) = of("send", "topic a", code);
            assert!(code.0 < 0 || kind != Kind::Broken, "{code:?} of the broker is not our bug");
        }
        assert!(seen > 150, "{seen} codes");
        assert_eq!(of("send", "topic a", Code(-150)).0, Kind::Broken);
        assert_eq!(of("send", "topic a", Code(9999)).0, Kind::Rejected);
    }
}
