//! What went wrong at a broker: a closed kind, the operation, its subject, words, and what to try next.

use std::sync::Arc;

/// What every broker call answers.
pub type Result<T> = std::result::Result<T, Error>;

/// One word, so that a receipt for a good event costs nothing.
#[derive(Clone, Debug)]
pub struct Error(Arc<Detail>);

/// What an [`Error`] holds.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Chooses the exit code, and says whether another try can help.
    pub kind: Kind,
    /// The trait's method, such as `send`.
    pub operation: &'static str,
    /// What it was about, such as `topic orders`.
    pub subject: String,
    /// What happened, in words that stand alone.
    pub message: String,
    /// What to do next, with the command to try where there is one.
    pub hint: Option<String>,
    /// The client's own words, for `-v`.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Closed: the exit code, and "is another try of any use", are functions of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not here, not in this version, not on this type of queue, not in this build. Exit 2.
    Unsupported,
    /// No such topic, group or partition. Exit 2.
    NotFound,
    /// A name, a place or an option as it was typed, never: an illegal or too long name, a position beyond the end. Exit 2.
    Invalid,
    /// The position was there once: retention, trimming. Exit 1, never a silent reset.
    Gone,
    /// This event, as it is, never: too large, timestamp out of bounds. Or not now: it exists, members are at work.
    /// Exit 1 (6 if others went).
    Rejected,
    /// Accepted and routed nowhere: RabbitMQ mandatory, NATS no responders. Exit 1 (6).
    Unroutable,
    /// Exit 5.
    Denied,
    /// Exit 4; worth trying later.
    Unreachable,
    /// The request left and no answer came: it may have happened. Exit 4; trying again may make a duplicate.
    InDoubt,
    /// Somebody else has it: lease over, partition revoked, producer fenced. A duplicate, not a failure.
    Lost,
    /// The store has no room. Exit 1; worth trying again when there is some.
    Full,
    /// A damaged or newer store, or a bug. Exit 1.
    Broken,
}

impl Error {
    /// An error without hint or source.
    pub fn new(
        kind: Kind,
        operation: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Error {
        let (subject, message) = (subject.into(), message.into());
        Error(Arc::new(Detail { kind, operation, subject, message, hint: None, source: None }))
    }

    /// The same with what to do next.
    pub fn with_hint(self, hint: impl Into<String>) -> Error {
        let mut detail = Arc::unwrap_or_clone(self.0);
        detail.hint = Some(hint.into());
        Error(Arc::new(detail))
    }

    /// The same with the client's own error below it.
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        let mut detail = Arc::unwrap_or_clone(self.0);
        detail.source = Some(Arc::new(source));
        Error(Arc::new(detail))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// All of it.
    pub fn detail(&self) -> &Detail {
        &self.0
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Detail { subject, message, .. } = &*self.0;
        if subject.is_empty() { f.write_str(message) } else { write!(f, "{subject}: {message}") }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
