//! An event as a message and back.
//!
//! The key is the ordering key. One that cannot be (not UTF-8, longer than 1024 bytes, empty where no key is not) stands
//! in the header `evcat-key`, and a name made of it is the ordering key, so that its events keep their order too.

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::PubsubMessage;
use prost::Message;

use super::headers;
use crate::broker::Error;
use crate::broker::Kind;
use crate::event::{Batch, Event, HeaderValue, HeadersBuf, Millis, Name, Position, own};

use super::error::About;

/// The largest request, in bytes, which a message is part of.
pub const MAX_REQUEST: usize = 10_000_000;
/// What is in a request besides its messages.
pub const REQUEST_ROOM: usize = 1024;
/// The longest ordering key.
const LONGEST_KEY: usize = 1024;

/// The event as a message. `moved`: stored again after it was delivered, so that its time is that of another message.
/// Errors: what of it Pub/Sub cannot hold.
pub fn to_message(event: &Event, moved: bool) -> Result<PubsubMessage, Error> {
    let refuse = |kind, message: &str| Err(About::topic("send", event.topic()).error(kind, message));
    let Some(payload) = event.payload() else {
        let message = "Pub/Sub knows no tombstone: a payload may be empty, and is always there";
        return refuse(Kind::Unsupported, message);
    };
    if event.timestamp().is_some() && !moved {
        return refuse(Kind::Unsupported, "Pub/Sub itself says when an event was published");
    }
    if matches!(event.position(), Position::Partition(_)) {
        return refuse(Kind::Unsupported, "there are no partitions here to choose from");
    }
    let mut all = HeadersBuf::default();
    all.extend(event.headers());
    let ordering_key = match event.key() {
        None => String::new(),
        Some(key) => match std::str::from_utf8(key).ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()))
        {
            Some(key) => key.to_owned(),
            None => {
                all.push(own::KEY.as_bytes(), HeaderValue::Bytes(key));
                format!("{}:{}", own::KEY, uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, key))
            }
        },
    };
    let mut attributes = match headers::to_attributes(all.as_headers()) {
        Ok(attributes) => attributes,
        Err(why) => return refuse(Kind::Rejected, &why),
    };
    if payload.is_empty() && attributes.is_empty() {
        // A message is refused that has neither; this says that there are no headers.
        attributes.insert(headers::ORDER.to_owned(), "[]".to_owned());
    }
    let data = payload.to_vec().into();
    let message = PubsubMessage { data, attributes, ordering_key, ..PubsubMessage::default() };
    let size = message.encoded_len() + REQUEST_ROOM;
    if size > MAX_REQUEST {
        let message = format!("the event has {size} bytes, and Pub/Sub takes 10 MB ({MAX_REQUEST}) at most");
        return refuse(Kind::Rejected, &message);
    }
    Ok(message)
}

/// When it was published.
pub fn published(message: &PubsubMessage) -> Option<Millis> {
    let time = message.publish_time.as_ref()?;
    time.seconds.checked_mul(1000)?.checked_add(i64::from(time.nanos) / 1_000_000)
}

/// Adds the event of a message to a batch.
pub fn push(batch: &mut Batch, topic: &Name, message: &PubsubMessage, scratch: &mut HeadersBuf) {
    let mut all = std::mem::take(scratch);
    all.clear();
    headers::from_attributes(&mut all, &message.attributes);
    let named = message.ordering_key.starts_with(own::KEY);
    let key = named
        .then(|| all.as_headers().last(own::KEY).and_then(|key| key.to_text().map(|key| key.into_owned())));
    let position = Position::Id(message.message_id.as_str().into());
    let (payload, at) = (Some(&*message.data), published(message));
    match key.flatten() {
        Some(key) => {
            for (name, value) in all.as_headers().iter().filter(|(name, _)| *name != own::KEY.as_bytes()) {
                scratch.push(name, value);
            }
            batch.push(topic, Some(&key), scratch.as_headers(), payload, at, position);
        }
        None => {
            let key = Some(message.ordering_key.as_bytes()).filter(|key| !key.is_empty());
            batch.push(topic, key, all.as_headers(), payload, at, position);
            *scratch = all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Headers;

    fn event(key: Option<&[u8]>, headers: Headers<'_>, payload: &[u8]) -> Event {
        Event::new(&"orders".into(), key, headers, Some(payload), None, Position::Unknown)
    }

    fn back(event: &Event) -> Event {
        let mut message = to_message(event, false).expect("it can be said");
        message.message_id = "7".into();
        message.publish_time = Some(prost_types::Timestamp { seconds: 1, nanos: 5_999_999 });
        let (mut batch, mut scratch) = (Batch::default(), HeadersBuf::default());
        push(&mut batch, &"orders".into(), &message, &mut scratch);
        batch.finish()[0].clone()
    }

    #[test]
    fn keys_of_every_kind_come_back() {
        let long = vec![b'k'; 10_000];
        for key in [None, Some(&b""[..]), Some(b"a.b"), Some(b"\0\xff"), Some(&long)] {
            let there = back(&event(key, Headers::default(), b"p"));
            assert_eq!((there.key(), there.headers().is_empty()), (key, true));
            assert_eq!((there.timestamp(), there.position()), (Some(1005), &Position::Id("7".into())));
        }
        let key = |key: &[u8]| {
            to_message(&event(Some(key), Headers::default(), b"p"), false).map(|m| m.ordering_key)
        };
        assert_eq!(key(b"\xff").ok(), key(b"\xff").ok());
        assert_ne!(key(b"\xff").ok(), key(b"\xfe").ok(), "each has an order of its own");
    }

    #[test]
    fn an_empty_payload_is_a_message_too() {
        let sent = event(None, Headers::default(), b"");
        assert!(!to_message(&sent, false).expect("it can be said").attributes.is_empty());
        assert_eq!((back(&sent).payload(), back(&sent).headers().is_empty()), (Some(&b""[..]), true));
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_limit() {
        let error =
            to_message(&event(None, Headers::default(), &vec![b'x'; MAX_REQUEST]), false).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(error.to_string().contains("10 MB"), "{error}");
    }
}
