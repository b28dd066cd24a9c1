//! The keys of `-X` and of the URL's query: evcat's own, and the properties of librdkafka (`properties`).

use super::client::Role;
use super::properties::{CONSUMER_ONLY, PRODUCER_ONLY, PROPERTIES};
use super::reserved::RESERVED;

/// evcat's own key: the password of the user in the URL.
pub const PASSWORD: (&str, &str) = ("password", "the password of the URL's user, better given by a profile");

/// evcat's own key: on how many brokers a new topic is.
pub const REPLICATION: (&str, &str) =
    ("replication.factor", "on how many brokers a topic made by evcat is [the broker's default]");

/// What begins so is a setting of the topics that evcat makes.
pub const TOPIC_PREFIX: &str = "topic.";

/// The settings of a topic that people set (<https://kafka.apache.org/documentation/#topicconfigs>). A broker's own
/// compression is not among them: events stay as they were published.
const TOPIC_OPTIONS: &[(&str, &str)] = &[
    (
        "topic.cleanup.policy",
        "topics made by evcat: delete what is old, or compact to the last of each key [delete]",
    ),
    ("topic.delete.retention.ms", "topics made by evcat: how long a compacted topic keeps tombstones"),
    ("topic.max.message.bytes", "topics made by evcat: the largest batch of events"),
    (
        "topic.message.timestamp.after.max.ms",
        "topics made by evcat: how far in the future a timestamp may be",
    ),
    ("topic.message.timestamp.before.max.ms", "topics made by evcat: how far in the past a timestamp may be"),
    ("topic.message.timestamp.type", "topics made by evcat: CreateTime or LogAppendTime"),
    ("topic.min.compaction.lag.ms", "topics made by evcat: how long an event is safe from compaction"),
    ("topic.min.insync.replicas", "topics made by evcat: how many brokers must have an event"),
    ("topic.retention.bytes", "topics made by evcat: keep so many bytes of each partition"),
    ("topic.retention.ms", "topics made by evcat: keep events so long; --retention goes before it"),
    ("topic.segment.bytes", "topics made by evcat: what is old goes in pieces of this size"),
    ("topic.segment.ms", "topics made by evcat: what is old goes in pieces of this age"),
];

/// The keys of `-X`.
pub const OPTIONS: &[(&str, &str)] = {
    const OWN: usize = 2 + TOPIC_OPTIONS.len();
    const ALL: [(&str, &str); OWN + PROPERTIES.len()] = {
        let mut all = [PASSWORD; OWN + PROPERTIES.len()];
        all[1] = REPLICATION;
        let mut i = 0;
        while i < TOPIC_OPTIONS.len() {
            all[2 + i] = TOPIC_OPTIONS[i];
            i += 1;
        }
        let mut i = 0;
        while i < PROPERTIES.len() {
            all[OWN + i] = PROPERTIES[i];
            i += 1;
        }
        all
    };
    &ALL
};

/// Whether a key is evcat's and not the library's.
pub fn is_own(key: &str) -> bool {
    [PASSWORD.0, REPLICATION.0].contains(&key) || TOPIC_OPTIONS.iter().any(|(known, _)| *known == key)
}

/// Whether a property means something to a client of this role; else the library logs a warning for each.
pub fn concerns(key: &str, role: Role) -> bool {
    let others = match role {
        Role::Producer => CONSUMER_ONLY,
        Role::Consumer => PRODUCER_ONLY,
    };
    !others.contains(&key)
}

/// Whether the value of a property is never shown.
pub fn is_secret(key: &str) -> bool {
    let secret = ["password", "secret", "passphrase", "key.pem", "private.key", "oauthbearer.config"];
    secret.iter().any(|word| key.contains(word)) && !key.ends_with(".file") && !key.ends_with(".location")
}

/// Why a property cannot be set, where that is so.
pub fn reserved(key: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(known, _)| *known == key).map(|(_, why)| *why)
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
