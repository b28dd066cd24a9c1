//! CloudEvents attributes in binary mode: read under every binding's prefix, written under one.
//!
//! The prefixes are from the protocol bindings of CloudEvents 1.0.2 (`bindings/*.md`). SQS, Redis and AMQP 0.9.1 have
//! none; there we write what their neighbours use.

use super::{HeaderValue, Headers, HeadersBuf};

/// How a broker's headers carry an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// `ce_id`: Kafka, local, Redis, SNS and SQS.
    #[default]
    Underscore,
    /// `cloudEvents_id`: AMQP.
    Amqp,
    /// `ce-id`: NATS, Pub/Sub.
    Dash,
}

/// Every prefix in use; AMQP has two, of which we write the first.
const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudEvents_", "cloudEvents:"];

impl Binding {
    /// The binding that a backend's events are written in, by the backend's name.
    pub fn of(backend: &str) -> Binding {
        match backend {
            "rabbitmq" => Binding::Amqp,
            "nats" | "pubsub" => Binding::Dash,
            _ => Binding::Underscore,
        }
    }

    /// What stands before an attribute's name.
    pub fn prefix(self) -> &'static str {
        match self {
            Binding::Underscore => "ce_",
            Binding::Amqp => "cloudEvents_",
            Binding::Dash => "ce-",
        }
    }
}

/// The attribute that a header's name stands for. NATS headers may have been written in any case, so it is ignored.
fn attribute_of(name: &[u8]) -> Option<&[u8]> {
    PREFIXES.iter().find_map(|prefix| {
        let (head, rest) = name.split_at_checked(prefix.len())?;
        (head.eq_ignore_ascii_case(prefix.as_bytes()) && !rest.is_empty()).then_some(rest)
    })
}

/// An attribute by its name, such as `id`; the last one wins.
pub fn attribute<'a>(headers: Headers<'a>, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .filter(|(header, _)| attribute_of(header).is_some_and(|a| a.eq_ignore_ascii_case(name.as_bytes())))
        .last()
        .and_then(|(_, value)| value.as_str())
}

/// The event's id.
pub fn id(headers: Headers<'_>) -> Option<&str> {
    attribute(headers, "id")
}

/// The event's type.
pub fn kind(headers: Headers<'_>) -> Option<&str> {
    attribute(headers, "type")
}

/// Adds an attribute.
pub fn write(headers: &mut HeadersBuf, binding: Binding, name: &str, value: &str) {
    let header = [binding.prefix(), name].concat();
    headers.push_str(&header, value);
}

/// The same headers with every attribute under this binding's prefix: a copy to another broker. Order, duplicates and
/// all other headers stay.
pub fn rename(headers: Headers<'_>, to: Binding) -> HeadersBuf {
    let mut renamed = HeadersBuf::default();
    for (name, value) in headers.iter() {
        match attribute_of(name) {
            Some(attribute) => renamed.push(&[to.prefix().as_bytes(), attribute].concat(), value),
            None => renamed.push(name, value),
        }
    }
    renamed
}

/// The same headers without this attribute: before another is written in its place.
pub fn without(headers: Headers<'_>, name: &str) -> HeadersBuf {
    let mut kept = HeadersBuf::default();
    let keep = |header: &[u8]| attribute_of(header).is_none_or(|a| !a.eq_ignore_ascii_case(name.as_bytes()));
    headers
        .iter()
        .filter(|(header, _)| keep(header))
        .for_each(|(header, value): (&[u8], HeaderValue<'_>)| kept.push(header, value));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_read_and_renamed() {
        for prefix in ["ce_", "ce-", "Ce-", "cloudEvents_", "cloudEvents:"] {
            let mut headers = HeadersBuf::default();
            headers.push_str("a", "1");
            headers.push_str(&format!("{prefix}id"), "first");
            headers.push_str(&format!("{prefix}type"), "order.placed");
            headers.push_str(&format!("{prefix}id"), "7");
            let headers = headers.as_headers();
            assert_eq!((id(headers), kind(headers)), (Some("7"), Some("order.placed")), "{prefix}");
            let renamed = rename(headers, Binding::Amqp);
            let names: Vec<_> = renamed.as_headers().iter().map(|(name, _)| name.to_vec()).collect();
            assert_eq!(names, [&b"a"[..], b"cloudEvents_id", b"cloudEvents_type", b"cloudEvents_id"]);
            assert_eq!(without(headers, "id").as_headers().iter().count(), 2);
        }
    }

    #[test]
    fn other_headers_are_not_attributes() {
        let mut headers = HeadersBuf::default();
        for name in ["id", "ce_", "ce", "price_id", "evcat-id", ""] {
            headers.push_str(name, "x");
        }
        assert_eq!(id(headers.as_headers()), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for backend in ["local", "kafka", "rabbitmq", "nats", "pubsub", "redis", "aws"] {
            let mut headers = HeadersBuf::default();
            write(&mut headers, Binding::of(backend), "id", "7");
            assert_eq!(id(headers.as_headers()), Some("7"), "{backend}");
        }
    }
}
