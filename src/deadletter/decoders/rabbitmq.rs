//! What RabbitMQ writes when a queue gives a message to its dead-letter exchange: `x-death`, newest entry first.
//!
//! It knows which queue and why in one word, and no error. Put back, a message goes to that queue alone: to the group
//! where the queue is one of ours, else by `queue:NAME`.

use serde_json::Value;

use super::{Decoder, Facts};
use crate::deadletter::{Origin, record};
use crate::event::{Event, HeaderValue};

/// RabbitMQ's own dead letters.
pub const DECODER: Decoder = Decoder { name: "rabbitmq", decode, owns };

/// The server writes all of these anew, and one that a client sends would only mislead.
fn owns(name: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"x-death", b"x-opt-deaths", b"x-delivery-count", b"x-acquired-count"];
    names.contains(&name) || name.starts_with(b"x-first-death-") || name.starts_with(b"x-last-death-")
}

fn decode(event: &Event) -> Option<Facts> {
    let Some(HeaderValue::Table(deaths)) = event.headers().last("x-death") else { return None };
    let deaths: Value = serde_json::from_str(deaths).ok()?;
    let last = deaths.get(0)?;
    let text = |name: &str| last[name].as_str().filter(|text| !text.is_empty());
    let queue = text("queue")?;
    let group =
        text("exchange").and_then(|topic| Some((topic, queue.strip_prefix(topic)?.strip_prefix('.')?)));
    let (topic, group) = match group {
        Some((topic, group)) if !group.is_empty() => (topic.to_owned(), Some(group.to_owned())),
        _ => (format!("queue:{queue}"), None),
    };
    let count = last["count"].as_u64().and_then(|count| u32::try_from(count).ok());
    let reason = text("reason");
    Some(Facts {
        kind: reason.map(str::to_owned),
        error: reason.map(|reason| words(reason, queue)),
        origin: Origin { topic: Some(topic), timestamp: event.timestamp(), ..Origin::default() },
        group,
        attempts: count,
        handler: None,
        failed_at: text("time").and_then(record::parse_time),
    })
}

/// The reason as RabbitMQ's documentation explains it.
fn words(reason: &str, queue: &str) -> String {
    match reason {
        "rejected" => format!("rejected: a consumer of queue {queue} did not want it again"),
        "expired" => format!("expired: nobody took it from queue {queue} in time"),
        "maxlen" => format!("maxlen: queue {queue} had no room for it"),
        "delivery_limit" => format!("delivery_limit: queue {queue} delivered it as often as it may"),
        other => format!("{other}: queue {queue}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HeadersBuf, Position};

    fn dead(deaths: &str) -> Facts {
        let mut headers = HeadersBuf::default();
        headers.push(b"x-death", HeaderValue::Table(deaths));
        let headers = headers.as_headers();
        let event = Event::new(&"x.dlq".into(), None, headers, Some(b"p"), Some(7), Position::Unknown);
        decode(&event).expect("it is one")
    }

    /// As RabbitMQ 4.0.5 wrote it.
    #[test]
    fn a_queue_of_a_group_is_that_group() {
        let facts = dead(
            r#"[{"count":3,"exchange":"orders","queue":"orders.shipping","reason":"rejected","routing-keys":["A-17"],"time":"2026-11-21T14:02:11Z"}]"#,
        );
        assert_eq!((facts.kind.as_deref(), facts.attempts), (Some("rejected"), Some(3)));
        assert_eq!(
            (facts.origin.topic.as_deref(), facts.group.as_deref()),
            (Some("orders"), Some("shipping"))
        );
        assert_eq!(facts.failed_at, record::parse_time("2026-11-21T14:02:11Z"));
    }

    #[test]
    fn any_other_queue_is_a_place_by_itself() {
        let facts = dead(r#"[{"count":1,"exchange":"amq.topic","queue":"work","reason":"expired"}]"#);
        assert_eq!((facts.origin.topic.as_deref(), facts.group), (Some("queue:work"), None));
    }
}
