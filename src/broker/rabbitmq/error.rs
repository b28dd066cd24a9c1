//! What the client and the server say went wrong as our kinds, in words, with what to do next.

use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError as Hard, AMQPSoftError as Soft};

use crate::broker::{Error, Kind};

/// What was being done, for an error.
#[derive(Clone, Debug)]
pub struct About {
    /// The trait's method.
    pub operation: &'static str,
    /// On what: `topic orders`, `group billing of topic orders`, or nothing.
    pub subject: String,
}

/// Where it says what may be done by whom.
const RIGHTS: &str =
    "rights are given per virtual host: rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ";

/// What to do about a delivery that the server took back.
const TOO_LONG: &str = "a handler that takes longer needs a longer consumer_timeout (30 minutes unless it is set): in \
                        rabbitmq.conf, in a policy, or x-consumer-timeout of the queue; --handler-timeout ends it before";

impl About {
    /// Such a method on such a thing.
    pub fn new(operation: &'static str, subject: impl Into<String>) -> About {
        About { operation, subject: subject.into() }
    }

    /// On this topic.
    pub fn topic(operation: &'static str, topic: &str) -> About {
        About::new(operation, format!("topic {topic}"))
    }

    /// On this group of it.
    pub fn group(operation: &'static str, topic: &str, group: &str) -> About {
        About::new(operation, format!("group {group} of topic {topic}"))
    }

    /// An error of ours.
    pub fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        Error::new(kind, self.operation, self.subject.clone(), message)
    }

    /// There is none.
    pub fn missing(&self) -> Error {
        self.error(Kind::NotFound, "does not exist")
    }

    /// The client's error as ours. What the server itself said goes before what the client made of it.
    pub fn map(&self, error: &lapin::Error) -> Error {
        tracing::debug!(operation = self.operation, "{error}");
        let (kind, message, hint) = match error.kind() {
            ErrorKind::ProtocolError(said) => verdict(said),
            // The channel or the connection went down before this was asked: the cause was told to somebody else.
            ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannel(_) => (Kind::Unreachable, "the connection was lost".into(), None),
            ErrorKind::IOError(error) => return self.io(error),
            ErrorKind::MissingHeartbeatError => {
                (Kind::Unreachable, "the server gives no sign of life any more".into(), None)
            }
            ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => {
                let hint = "is it the port of another service? RabbitMQ's is 5672, and 5671 with TLS";
                (Kind::Unreachable, "something that is not AMQP 0.9.1 answers there".into(), Some(hint))
            }
            ErrorKind::ChannelsLimitReached => {
                (Kind::Rejected, "the server allows no more channels".into(), None)
            }
            other => (Kind::Broken, format!("{other:?}"), None),
        };
        let error = self.error(kind, message).with_source(error.clone());
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn io(&self, error: &std::io::Error) -> Error {
        let words = error.to_string();
        let (message, hint) = if words.contains("UnknownIssuer") || words.contains("certificate") {
            let hint = "-X cacertfile=FILE names who signed it; the host in the URL must be a name in it";
            (format!("its certificate is not accepted: {words}"), Some(hint))
        } else if words.contains("InvalidContentType") || words.contains("corrupt message") {
            (
                "does not speak TLS on this port".into(),
                Some("amqp:// instead of amqps://, or the port that speaks TLS"),
            )
        } else {
            (words, None)
        };
        let error = self.error(Kind::Unreachable, message);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// The server's code and words.
fn verdict(said: &AMQPError) -> (Kind, String, Option<&'static str>) {
    let words = plain(said.get_message().as_str());
    match said.kind() {
        AMQPErrorKind::Soft(Soft::NOTFOUND) => (Kind::NotFound, words, None),
        AMQPErrorKind::Soft(Soft::ACCESSREFUSED) => (Kind::Denied, words, Some(RIGHTS)),
        // Said on a channel whose event was in hand for longer than the server allows.
        AMQPErrorKind::Soft(Soft::PRECONDITIONFAILED) if words.contains("acknowledgement on channel") => (
            Kind::Rejected,
            format!("an event was in hand for longer than the server allows: {words}"),
            Some(TOO_LONG),
        ),
        // Deleted while it has members, or declared otherwise than it is.
        AMQPErrorKind::Soft(Soft::PRECONDITIONFAILED) => (Kind::Rejected, words, None),
        AMQPErrorKind::Soft(Soft::RESOURCELOCKED) => {
            (Kind::Rejected, words, Some("it belongs to one connection alone, or another has it for itself"))
        }
        AMQPErrorKind::Soft(Soft::CONTENTTOOLARGE) => (Kind::Rejected, words, None),
        AMQPErrorKind::Soft(Soft::NOROUTE | Soft::NOCONSUMERS) => (Kind::Unroutable, words, None),
        AMQPErrorKind::Hard(Hard::CONNECTIONFORCED) => (Kind::Unreachable, words, None),
        // Asked for when logging in: a virtual host that is not there. One that is there and not ours is refused in the
        // same code.
        AMQPErrorKind::Hard(Hard::NOTALLOWED) if words.contains("vhost") && words.contains("not found") => (
            Kind::NotFound,
            words,
            Some("the virtual host is the path of the URL: amqp://host/VHOST, '/' is %2F"),
        ),
        AMQPErrorKind::Hard(Hard::NOTALLOWED) if words.contains("vhost") => {
            (Kind::Denied, words, Some(RIGHTS))
        }
        AMQPErrorKind::Hard(Hard::NOTALLOWED) => (Kind::Denied, words, None),
        AMQPErrorKind::Hard(Hard::INVALIDPATH) => (Kind::NotFound, words, None),
        AMQPErrorKind::Hard(Hard::RESOURCEERROR) => (Kind::Full, words, None),
        AMQPErrorKind::Hard(Hard::NOTIMPLEMENTED) => (Kind::Unsupported, words, None),
        _ => (Kind::Broken, words, None),
    }
}

/// `NOT_FOUND - no exchange 'x' in vhost '/'` without its code.
fn plain(words: &str) -> String {
    match words.split_once(" - ") {
        Some((code, rest)) if code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => rest.to_owned(),
        _ => words.to_owned(),
    }
}

/// Whether the server said that there is no such thing.
pub fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if matches!(said.kind(), AMQPErrorKind::Soft(Soft::NOTFOUND)))
}

/// Whether the server said that it is otherwise than we said, or in use.
pub fn is_precondition(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if matches!(said.kind(), AMQPErrorKind::Soft(Soft::PRECONDITIONFAILED)))
}

/// Whether the server did not take our name and password.
pub fn is_login(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if matches!(said.kind(), AMQPErrorKind::Soft(Soft::ACCESSREFUSED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_host_that_is_not_ours_is_there() {
        let refused = |words: &str| {
            let said = AMQPError::new(AMQPErrorKind::Hard(Hard::NOTALLOWED), words.into());
            verdict(&said).0
        };
        assert_eq!(refused("NOT_ALLOWED - vhost x not found"), Kind::NotFound);
        assert_eq!(refused("NOT_ALLOWED - access to vhost '/' refused for user 'eve'"), Kind::Denied);
    }

    /// As RabbitMQ 4 says it.
    #[test]
    fn a_handler_that_takes_too_long_is_told_what_was_too_long() {
        let said = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms";
        let (kind, words, hint) =
            verdict(&AMQPError::new(AMQPErrorKind::Soft(Soft::PRECONDITIONFAILED), said.into()));
        assert_eq!(kind, Kind::Rejected);
        assert!(words.contains("longer than the server allows") && words.contains("1800000 ms"), "{words}");
        assert!(hint.is_some_and(|hint| hint.contains("consumer_timeout")));
    }

    #[test]
    fn the_code_is_cut_off_and_the_words_stay() {
        assert_eq!(plain("NOT_FOUND - no queue 'a - b' in vhost '/'"), "no queue 'a - b' in vhost '/'");
        assert_eq!(plain("it - is so"), "it - is so");
    }
}
