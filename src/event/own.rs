//! The names of the headers that evcat itself writes. One value each: replaced, never appended.

/// Origin topic of a dead letter.
pub const DLQ_TOPIC: &str = "evcat-dlq-topic";
/// Its position there.
pub const DLQ_POSITION: &str = "evcat-dlq-position";
/// Its timestamp there, RFC 3339.
pub const DLQ_TIMESTAMP: &str = "evcat-dlq-timestamp";
/// The group that gave it up.
pub const DLQ_GROUP: &str = "evcat-dlq-group";
/// Tries made.
pub const DLQ_ATTEMPTS: &str = "evcat-dlq-attempts";
/// The kind of the failure: `exit`, `signal`, `timeout`, `dead`, `filter`, ...
pub const DLQ_KIND: &str = "evcat-dlq-kind";
/// What went wrong, at most 4 KiB.
pub const DLQ_ERROR: &str = "evcat-dlq-error";
/// The handler that failed.
pub const DLQ_HANDLER: &str = "evcat-dlq-handler";
/// When it was given up, RFC 3339.
pub const DLQ_FAILED_AT: &str = "evcat-dlq-failed-at";

/// The run that put this copy back or replayed it.
pub const REPLAY_RUN: &str = "evcat-replay-run";
/// How often it has been put back.
pub const REPLAY_COUNT: &str = "evcat-replay-count";
/// The group this copy is meant for; others ack it as skipped.
pub const REPLAY_GROUP: &str = "evcat-replay-group";
/// The topic it was copied from.
pub const REPLAY_TOPIC: &str = "evcat-replay-topic";
/// Its position there.
pub const REPLAY_POSITION: &str = "evcat-replay-position";
/// Its timestamp there, RFC 3339.
pub const REPLAY_TIMESTAMP: &str = "evcat-replay-timestamp";
/// The id before an edit.
pub const REPLAY_OF: &str = "evcat-replay-of";
/// The key, where the broker cannot hold it.
pub const KEY: &str = "evcat-key";

/// What every header of this program begins with.
pub const PREFIX: &str = "evcat-";
