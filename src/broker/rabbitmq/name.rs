//! What a name stands for: an exchange, a queue or a stream, and which names there may be.

use crate::broker::{Error, Kind, Result};

/// The longest name that the protocol carries, in bytes.
const LONGEST: usize = 255;
/// The longest of an exchange, so that the queues of its groups and their dead letters have room for theirs.
const LONGEST_TOPIC: usize = 200;
/// So many characters of a refused name are told.
const SHOWN: usize = 40;

/// What a topic's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// An exchange: events go by their key to the queues bound to it.
    Exchange(&'a str),
    /// `queue:NAME`, by the default exchange.
    Queue(&'a str),
    /// `stream:NAME`, by the default exchange.
    Stream(&'a str),
}

impl<'a> Place<'a> {
    /// By its name.
    pub fn of(topic: &'a str) -> Place<'a> {
        match topic.split_once(':') {
            Some(("queue", queue)) => Place::Queue(queue),
            Some(("stream", stream)) => Place::Stream(stream),
            _ => Place::Exchange(topic),
        }
    }

    /// Where to publish: exchange, and routing key unless that is the event's key.
    pub fn address(self) -> (&'a str, Option<&'a str>) {
        match self {
            Place::Exchange(exchange) => (exchange, None),
            Place::Queue(queue) | Place::Stream(queue) => ("", Some(queue)),
        }
    }

    /// The queue that holds its events, where it is one: that of dead letters is called as their exchange is.
    pub fn queue(self) -> &'a str {
        match self {
            Place::Exchange(name) | Place::Queue(name) | Place::Stream(name) => name,
        }
    }
}

/// What is behind a name that is for dead letters: a queue that keeps them, besides the exchange.
pub fn is_for_letters(name: &str) -> bool {
    name.ends_with(".dlq") || name.ends_with(".parked")
}

/// The queue of a group.
pub fn queue_of(topic: &str, group: &str) -> String {
    format!("{topic}.{group}")
}

/// Refuses a topic that RabbitMQ would refuse, or change.
pub fn topic(operation: &'static str, name: &str) -> Result<()> {
    let place = Place::of(name);
    legal(operation, "topic", name, place.queue())?;
    match place {
        Place::Exchange(name) if name.len() > LONGEST_TOPIC => {
            let message = format!(
                "it has {} bytes, and {LONGEST_TOPIC} leave room for the queues of its groups",
                name.len()
            );
            Err(refuse(operation, "topic", name, message))
        }
        _ => Ok(()),
    }
}

/// Refuses a group whose queue could not have its name.
pub fn group(operation: &'static str, topic: &str, name: &str) -> Result<()> {
    legal(operation, "group", name, name)?;
    if is_for_letters(name) {
        let message = "its queue would be called like one of dead letters".to_owned();
        return Err(refuse(operation, "group", name, message));
    }
    let queue = queue_of(topic, name);
    match queue.len() > LONGEST {
        false => Ok(()),
        true => {
            let message =
                format!("its queue would have a name of {} bytes, and {LONGEST} are allowed", queue.len());
            Err(refuse(operation, "group", name, message))
        }
    }
}

fn legal(operation: &'static str, what: &str, name: &str, bare: &str) -> Result<()> {
    if bare.is_empty() {
        return Err(refuse(operation, what, name, format!("a {what} has a name")));
    }
    if bare.len() > LONGEST {
        let message = format!("it has {} bytes, and a name in AMQP has at most {LONGEST}", bare.len());
        return Err(refuse(operation, what, name, message));
    }
    // The server cuts line ends off a name, so that the queue would be another one.
    if bare.chars().any(char::is_control) {
        return Err(refuse(operation, what, name, "a name has no control characters".into()));
    }
    Ok(())
}

/// What begins so is the server's own.
pub fn reserved(operation: &'static str, name: &str) -> Result<()> {
    match Place::of(name).queue().starts_with("amq.") {
        false => Ok(()),
        true => {
            Err(refuse(operation, "topic", name, "names that begin with amq. are the server's own".into()))
        }
    }
}

fn refuse(operation: &'static str, what: &str, name: &str, message: String) -> Error {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    Error::new(Kind::Invalid, operation, format!("{what} '{shown}'"), message)
        .with_hint("1 to 255 bytes of UTF-8, such as orders.eu; queue:NAME and stream:NAME are no exchanges")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_what_a_name_stands_for() {
        assert_eq!(Place::of("orders"), Place::Exchange("orders"));
        assert_eq!(Place::of("a:b"), Place::Exchange("a:b"));
        assert_eq!(Place::of("queue:a:b").address(), ("", Some("a:b")));
        assert_eq!(Place::of("stream:s"), Place::Stream("s"));
    }

    #[test]
    fn names_are_called_as_amqp_allows() {
        for name in ["orders", "a b/c", "日本語", &"x".repeat(200), "queue:x", "..", "*"] {
            assert!(topic("send", name).is_ok(), "{name}");
        }
        for name in ["", "queue:", "a\nb", "a\0", &"ü".repeat(101)] {
            let error = topic("send", name).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
            assert!(error.detail().message.len() > 10 && error.to_string().len() < 200, "{error}");
        }
        assert!(group("create_group", "orders", &"x".repeat(249)).is_err());
        assert!(reserved("create_topic", "amq.topic").is_err());
    }
}
