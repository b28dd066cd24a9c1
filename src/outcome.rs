//! How a run ended, and the one place that turns that into an exit code.

use crate::broker;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done: 0.
    Done,
    /// Some events failed or died; which ones was said: 6.
    Partial,
    /// Less, or more, than was asked for (`-c`, `--max`, `--expect`): 3.
    Short,
    /// Nothing was asked for, and it was said what can be: 2.
    Usage,
    /// Stopped cleanly by this signal, and ends by it.
    Interrupted(i32),
}

/// The exit codes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing, or not the one thing asked for, was done.
    Failed = 1,
    /// Usage, configuration, a name that does not exist, or something this broker cannot do.
    Usage = 2,
    /// Ended with less or more than was asked for.
    Short = 3,
    /// The broker cannot be reached.
    Unreachable = 4,
    /// Authentication or permission, also of a file.
    Denied = 5,
    /// Partly done.
    Partial = 6,
}

/// An error whose exit code and hint are known where it is made.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, on what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A mistake in what was typed or configured: exit 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// It failed: exit 1.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// With another exit code.
    pub fn exit(self, exit: Exit) -> Failure {
        Failure { exit, ..self }
    }

    /// With what to do next.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error: the first in its chain that knows one.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return Some(failure.exit);
            }
            if let Some(error) = cause.downcast_ref::<broker::Error>() {
                return Some(exit_of_kind(error.kind()));
            }
            let io = cause.downcast_ref::<std::io::Error>()?;
            Some(match io.kind() {
                std::io::ErrorKind::PermissionDenied => Exit::Denied,
                std::io::ErrorKind::NotFound => Exit::Usage,
                _ => Exit::Failed,
            })
        })
        .unwrap_or(Exit::Failed)
}

/// The exit code of a broker's error.
pub fn exit_of_kind(kind: broker::Kind) -> Exit {
    use broker::Kind::*;
    match kind {
        Unsupported | NotFound | Invalid => Exit::Usage,
        Gone | Rejected | Unroutable | Lost | Full | Broken => Exit::Failed,
        Denied => Exit::Denied,
        Unreachable | InDoubt => Exit::Unreachable,
    }
}

/// The hint with ` -b prod` in each command that names no broker: a backend knows nothing of profiles, and a command that
/// is pasted must not go to another broker.
pub fn with_broker(hint: &str, flag: &str) -> String {
    const PLAIN: [&str; 4] = ["publish", "subscribe", "tail", "replay"];
    const NOUNS: [&str; 3] = ["dlq", "topics", "groups"];
    let mut parts = hint.split("evcat ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("evcat ");
        let word = |text: &str| text.bytes().take_while(u8::is_ascii_lowercase).count();
        let verb = word(part);
        let end = match &part[..verb] {
            plain if PLAIN.contains(&plain) => verb,
            noun if NOUNS.contains(&noun) && part[verb..].starts_with(' ') => {
                verb + 1 + word(&part[verb + 1..])
            }
            _ => 0,
        };
        let flag = if end == 0 || part.contains(" -b ") { "" } else { flag };
        out.extend([&part[..end], flag, &part[end..]]);
    }
    out
}

/// What to do next, as far as somebody in the chain knows.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Failure>()
            .and_then(|failure| failure.hint.as_deref())
            .or_else(|| cause.downcast_ref::<broker::Error>().and_then(|e| e.detail().hint.as_deref()))
    })
}

#[cfg(test)]
mod tests {
    use super::with_broker;

    #[test]
    fn each_command_of_a_hint_names_the_broker_once() {
        for (hint, told) in [
            ("to make it: evcat topics create x", "to make it: evcat topics create -b prod x"),
            ("evcat tail x; or: evcat dlq peek x", "evcat tail -b prod x; or: evcat dlq peek -b prod x"),
            ("evcat groups list, evcat tail t -b prod", "evcat groups list -b prod, evcat tail t -b prod"),
            ("evcat help filters", "evcat help filters"),
            ("evcat needs it; all of them: evcat -X help", "evcat needs it; all of them: evcat -X help"),
            ("later: evcat topics gc", "later: evcat topics gc -b prod"),
            ("evcat topics", "evcat topics"),
            ("", ""),
        ] {
            assert_eq!(with_broker(hint, " -b prod"), told);
        }
    }
}
