//! The keys of `-X` and of the URL's query.

/// A stand-in on this machine.
pub const EMULATOR: (&str, &str) =
    ("emulator", "host:port of an emulator: plain text, no credentials [PUBSUB_EMULATOR_HOST]");
/// Where the service is.
pub const ENDPOINT: (&str, &str) =
    ("endpoint", "host of the service, such as europe-west1-pubsub.googleapis.com [pubsub.googleapis.com]");
/// Acks that are exactly once.
pub const EXACTLY_ONCE: (&str, &str) =
    ("exactly_once", "groups made by evcat: with exactly-once delivery, true or false [false]");
/// How an end is known.
pub const QUIET: (&str, &str) = (
    "quiet",
    "nothing came for so long: all there was has been read, which Pub/Sub does not tell [10s; an emulator 500ms]",
);
/// How old what is temporary must be.
pub const STALE: (&str, &str) = (
    "stale",
    "seconds without a sign of its tail after which a temporary subscription was left behind [900]",
);
/// How long topics that evcat makes keep their events.
pub const RETENTION: (&str, &str) = (
    "topic.retention",
    "topics made by evcat: how long they keep events for replay, 10m to 31d [not at all]",
);

/// All of them.
pub const OPTIONS: &[(&str, &str)] = &[EMULATOR, ENDPOINT, EXACTLY_ONCE, QUIET, RETENTION, STALE];
