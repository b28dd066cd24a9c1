//! Both directions of an event.
//!
//! The payload is the body where it is text that a message can hold. Else the body is `-`, and the payload is the binary
//! attribute `evcat-payload`; an empty one and a tombstone are told by `payload` in the attribute `evcat`. The key is the
//! group of a FIFO queue where it can be one, else the attribute `evcat-key`. A time of the publisher's own is
//! `timestamp` in `evcat`, in milliseconds; else the time is that at which the queue got the message.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::attributes::{self, Attributes, MORE, PAYLOAD, Said, Value};
use crate::event::{Batch, Event, Extra, HeadersBuf, Millis, Name, Position, cloudevents, identity, own};

/// The body of what has its payload elsewhere: there is no empty one.
const NO_BODY: &str = "-";
/// What a group begins with that is not its key.
const OURS: &str = "evcat:";
/// The group of what has no key: one of its own, for it waits for nobody.
const NO_KEY: &str = "evcat:none:";
/// The trace that SQS carries beside the attributes.
pub const TRACE: &str = "AWSTraceHeader";
/// Where AWS itself took it from when it became a dead letter.
pub const DIED_IN: &str = "DeadLetterQueueSourceArn";
/// What a FIFO queue knows a message again by.
const DEDUP: &str = "MessageDeduplicationId";

/// A message to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Never empty.
    pub body: String,
    /// At most ten.
    pub attributes: Attributes,
    /// Group and id, where the place is FIFO.
    pub fifo: Option<(String, String)>,
    /// The trace, for a queue.
    pub trace: Option<String>,
}

impl Outgoing {
    /// What counts against the limit.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.size());
        self.body.len() + attributes.sum::<usize>()
    }
}

/// How a place wants it.
#[derive(Clone, Copy)]
pub struct Making {
    /// With group and id.
    pub fifo: bool,
    /// A place of dead letters: each has a group of its own there, so that it can be taken and left by itself.
    pub letters: bool,
}

/// An event as a message.
pub fn to_message(event: &Event, making: Making) -> Outgoing {
    let (mut attributes, mut more) = (Attributes::new(), Map::new());
    let body = match event.payload() {
        None => {
            more.insert("payload".into(), json!("null"));
            NO_BODY.to_owned()
        }
        Some(b"") => {
            more.insert("payload".into(), json!("empty"));
            NO_BODY.to_owned()
        }
        Some(payload) => match std::str::from_utf8(payload) {
            Ok(text) if attributes::is_plain(text) => text.to_owned(),
            _ => {
                let value = Value { kind: "Binary".into(), said: Said::Bytes(payload.to_vec()) };
                attributes.insert(PAYLOAD.into(), value);
                NO_BODY.to_owned()
            }
        },
    };
    if let Some(at) = event.timestamp() {
        more.insert("timestamp".into(), json!(at));
    }
    let group = making.fifo.then(|| group_of(event.key(), making.letters));
    match event.key() {
        Some(key) if group.as_ref().is_some_and(|group| group.as_bytes() == key) => {}
        Some(b"") => {
            more.insert("key".into(), json!(""));
        }
        Some(key) => {
            attributes.insert(own::KEY.into(), Value::bytes(key));
        }
        None => {}
    }
    attributes::write(&mut attributes, &mut more, event.headers(), event.extra());
    if !more.is_empty() {
        attributes.insert(MORE.into(), Value::text(Json::Object(more).to_string()));
    }
    let property = |name: &str| {
        let properties = event.extra().map(|extra| &extra.properties[..]).unwrap_or_default();
        properties.iter().find(|(property, _)| property == name).map(|(_, value)| value.clone())
    };
    Outgoing {
        body,
        attributes,
        fifo: group.map(|group| (group, dedup_of(event))),
        trace: property(TRACE).filter(|trace| !trace.is_empty() && attributes::is_plain(trace)),
    }
}

/// 1 to 128 letters, digits and signs.
fn is_group(text: &[u8]) -> bool {
    (1..=128).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

fn group_of(key: Option<&[u8]>, letters: bool) -> String {
    match key {
        None => format!("{NO_KEY}{}", Uuid::now_v7()),
        Some(_) if letters => format!("{OURS}{}", Uuid::now_v7()),
        Some(key) if is_group(key) && !key.starts_with(OURS.as_bytes()) => {
            String::from_utf8_lossy(key).into_owned()
        }
        Some(key) => format!("{OURS}{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, key)),
    }
}

/// The event's id. What was put back or died again is another message than that it was, and the same one whenever that
/// is tried again. What has no id is never taken for another.
fn dedup_of(event: &Event) -> String {
    let headers = event.headers();
    let rounds: Vec<&str> = [own::REPLAY_RUN, own::REPLAY_COUNT, own::DLQ_FAILED_AT]
        .iter()
        .filter_map(|name| headers.text(name))
        .collect();
    match cloudevents::id(headers).filter(|id| !id.is_empty()) {
        Some(id) if rounds.is_empty() && is_group(id.as_bytes()) => id.to_owned(),
        None if rounds.is_empty() => Uuid::now_v7().to_string(),
        _ => {
            let parts = [identity(event), rounds.join("\n")].join("\n");
            Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.as_bytes()).to_string()
        }
    }
}

/// What the event of a message is made of.
pub struct Incoming<'a> {
    /// Its id at AWS.
    pub id: &'a str,
    /// The body.
    pub body: &'a str,
    /// All that came with it.
    pub attributes: Attributes,
    /// What the service says of it, by name.
    pub said: Vec<(&'a str, &'a str)>,
}

impl Incoming<'_> {
    fn said(&self, name: &str) -> Option<&str> {
        self.said.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// How often it was handed out, this time included.
    pub fn receives(&self) -> Option<u32> {
        self.said("ApproximateReceiveCount")?.parse().ok()
    }

    /// Its group in a FIFO queue.
    pub fn group(&self) -> Option<&str> {
        self.said("MessageGroupId")
    }
}

/// The event of a message.
pub fn to_event(topic: &Name, message: &Incoming<'_>) -> Event {
    let more = more_of(&message.attributes);
    let text = |name: &str| more.as_ref().and_then(|more| more.get(name)).and_then(Json::as_str);
    let binary = match message.attributes.get(PAYLOAD) {
        Some(Value { kind, said: Said::Bytes(bytes) }) if kind == "Binary" && message.body == NO_BODY => {
            Some(&bytes[..])
        }
        _ => None,
    };
    let payload = match (binary, text("payload")) {
        (Some(bytes), _) => Some(bytes),
        (None, Some("null")) => None,
        (None, Some("empty")) => Some(&b""[..]),
        _ => Some(message.body.as_bytes()),
    };
    let key = match message.attributes.get(own::KEY).map(|value| &value.said) {
        Some(Said::Text(text)) => Some(text.as_bytes()),
        Some(Said::Bytes(bytes)) => Some(&bytes[..]),
        None if text("key") == Some("") => Some(&b""[..]),
        None => message.group().filter(|group| !group.starts_with(NO_KEY)).map(str::as_bytes),
    };
    let sent = || message.said("SentTimestamp").and_then(|at| at.parse::<Millis>().ok());
    let own_time = more.as_ref().and_then(|more| more.get("timestamp")).and_then(Json::as_i64);
    let mut leave: Vec<&str> = vec![own::KEY];
    leave.extend(more.is_some().then_some(MORE));
    leave.extend(binary.is_some().then_some(PAYLOAD));
    let (mut batch, mut headers) = (Batch::default(), HeadersBuf::default());
    attributes::read(&mut headers, &message.attributes, more.as_ref(), &leave);
    let position = Position::Id(message.id.into());
    batch.push(topic, key, headers.as_headers(), payload, own_time.or_else(sent), position);
    let event = batch.finish()[0].clone();
    let mut properties: Vec<(String, String)> = [TRACE, DIED_IN, DEDUP]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), message.said(name)?.to_owned())))
        .collect();
    attributes::types(&message.attributes, &leave, &mut properties);
    match properties.is_empty() {
        true => event,
        false => event.with_extra(Extra { properties }),
    }
}

/// Our own word, if that is what it is.
fn more_of(attributes: &Attributes) -> Option<Map<String, Json>> {
    let Some(Value { said: Said::Text(text), .. }) = attributes.get(MORE) else { return None };
    match serde_json::from_str(text) {
        Ok(Json::Object(more)) => Some(more),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HeaderValue, Headers};

    fn event(key: Option<&[u8]>, payload: Option<&[u8]>, at: Option<Millis>, headers: Headers<'_>) -> Event {
        Event::new(&"t".into(), key, headers, payload, at, Position::Unknown)
    }

    fn back(event: &Event, making: Making) -> Event {
        let out = to_message(event, making);
        assert!(!out.body.is_empty() && attributes::is_plain(&out.body) && out.attributes.len() <= 10);
        let mut said = vec![("SentTimestamp", "5")];
        if let Some((group, id)) = &out.fifo {
            assert!(is_group(group.as_bytes()) && is_group(id.as_bytes()), "{group} {id}");
            said.push(("MessageGroupId", group));
        }
        let message = Incoming { id: "m", body: &out.body, attributes: out.attributes.clone(), said };
        to_event(&"t".into(), &message)
    }

    #[test]
    fn keys_payloads_and_times_of_every_kind_come_back() {
        let long = vec![b'k'; 10_000];
        let keys = [None, Some(&b""[..]), Some(b"A-17"), Some(b"\0\xff"), Some(&long), Some(b"evcat:none:x")];
        let payloads = [
            None,
            Some(&b""[..]),
            Some(b"-"),
            Some(b"{\"a\":1}"),
            Some(b"\0\xff"),
            Some(b"\x01"),
            Some(b"null"),
        ];
        let mut headers = HeadersBuf::default();
        (0..12).rev().for_each(|i| headers.push(format!("h{i}").as_bytes(), HeaderValue::Int(i)));
        for fifo in [false, true] {
            for letters in [false, true] {
                for (key, payload) in keys.iter().flat_map(|key| payloads.iter().map(move |p| (*key, *p))) {
                    for at in [None, Some(1_700_000_000_123)] {
                        let sent = event(key, payload, at, headers.as_headers());
                        let there = back(&sent, Making { fifo, letters });
                        assert_eq!((there.key(), there.payload()), (key, payload), "{fifo} {letters}");
                        assert_eq!(there.timestamp(), at.or(Some(5)));
                        assert_eq!(there.headers(), sent.headers());
                    }
                }
            }
        }
    }

    #[test]
    fn an_id_is_kept_and_a_copy_that_goes_back_has_another() {
        let with = |run: Option<&str>| {
            let mut headers = HeadersBuf::default();
            headers.push_str("ce_id", "order-1");
            run.into_iter().for_each(|run| headers.push_str(own::REPLAY_RUN, run));
            dedup_of(&event(None, Some(b"p"), None, headers.as_headers()))
        };
        assert_eq!(with(None), "order-1");
        assert_ne!(with(Some("r1")), with(None));
        assert_eq!(with(Some("r1")), with(Some("r1")), "a rerun after a crash is known again");
        assert_ne!(with(Some("r1")), with(Some("r2")));
    }

    #[test]
    fn what_others_call_like_ours_is_a_header() {
        let mut attributes = Attributes::new();
        attributes.insert(MORE.into(), Value::text("mine"));
        attributes.insert(PAYLOAD.into(), Value::text("mine too"));
        let event = to_event(&"t".into(), &Incoming { id: "m", body: "b", attributes, said: Vec::new() });
        assert_eq!(event.headers().iter().count(), 2);
        assert_eq!((event.payload(), event.timestamp()), (Some(&b"b"[..]), None));
    }
}
