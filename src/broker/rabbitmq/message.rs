//! An event as a message and back.
//!
//! The key is the routing key. One that cannot be (not UTF-8, longer than 255 bytes, empty where no key is not), and
//! the key of what goes to a queue by the default exchange, stands in the header `evcat-key`. Times are whole seconds in
//! AMQP; the milliseconds are in `timestamp_in_ms`, as RabbitMQ itself has it.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::name::Place;
use super::{headers, table};
use crate::event::{Batch, Event, Extra, HeadersBuf, Millis, Name, Position, own};

/// As RabbitMQ's own interceptor and plugin call it.
const MILLIS: &str = "timestamp_in_ms";
/// The offset in a stream.
const OFFSET: &str = "x-stream-offset";
/// Failed deliveries of a quorum queue.
const DELIVERIES: &str = "x-delivery-count";
/// Since 4.3: deliveries of any end.
const ACQUIRED: &str = "x-acquired-count";

/// A message that is to go.
pub struct Outgoing {
    /// The exchange; empty is the default one.
    pub exchange: ShortString,
    /// The routing key.
    pub routing_key: ShortString,
    /// Everything but the payload.
    pub properties: BasicProperties,
    /// The bytes that all of it takes in its one frame, or a little more.
    pub header_bytes: usize,
}

/// How to make one.
pub struct Making<'a> {
    /// To this queue alone, by the default exchange.
    pub only: Option<&'a str>,
    /// As whom we are logged in: the server refuses a message that says it is somebody else's.
    pub user: &'a str,
    /// For an event without a time.
    pub now: Millis,
    /// Stored again after it was delivered: it does not expire a second time, nor in the name of somebody else.
    pub moved: bool,
}

/// The event as a message. Errors: what of it AMQP cannot say.
pub fn to_message(event: &Event, making: &Making<'_>) -> Result<Outgoing, String> {
    let (exchange, queue) = Place::of(event.topic()).address();
    let (exchange, queue) = making.only.map_or((exchange, queue), |queue| ("", Some(queue)));
    let mut table = headers::to_table(event.headers())?;
    let mut header_bytes = 512 + event.headers().as_packed().len() * 2;
    let routing_key = match (queue, event.key()) {
        (Some(queue), key) => {
            key.into_iter().for_each(|key| put_key(&mut table, key));
            ShortString::try_new(queue)
        }
        (None, None) => Ok(ShortString::default()),
        (None, Some(key)) => {
            match std::str::from_utf8(key).ok().filter(|key| !key.is_empty() && key.len() <= 255) {
                Some(key) => ShortString::try_new(key),
                None => {
                    put_key(&mut table, key);
                    Ok(ShortString::default())
                }
            }
        }
    };
    header_bytes += event.key().map_or(0, <[u8]>::len);
    let at = event.timestamp().unwrap_or(making.now);
    let seconds = u64::try_from(at.div_euclid(1000)).map_err(|_| "its time lies before 1970".to_owned())?;
    if at % 1000 != 0 {
        table.insert(MILLIS.into(), AMQPValue::LongLongInt(at));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(2).with_timestamp(seconds);
    if !table.inner().is_empty() {
        properties = properties.with_headers(table);
    }
    for (name, value) in event.extra().into_iter().flat_map(|extra| &extra.properties) {
        header_bytes += value.len();
        properties = with_property(properties, name, value, making)?;
    }
    let long = |_| "a name of more than 255 bytes".to_owned();
    let exchange = ShortString::try_new(exchange).map_err(long)?;
    Ok(Outgoing { exchange, routing_key: routing_key.map_err(long)?, properties, header_bytes })
}

fn put_key(table: &mut FieldTable, key: &[u8]) {
    table.insert(own::KEY.into(), AMQPValue::LongString(key.to_vec().into()));
}

fn with_property(
    properties: BasicProperties,
    name: &str,
    value: &str,
    making: &Making<'_>,
) -> Result<BasicProperties, String> {
    let bad = |why: &str| Err(format!("property {name}: {why}"));
    let Ok(text) = ShortString::try_new(value) else { return bad("it has more than 255 bytes") };
    Ok(match name {
        "content_type" => properties.with_content_type(text),
        "content_encoding" => properties.with_content_encoding(text),
        "correlation_id" => properties.with_correlation_id(text),
        "reply_to" => properties.with_reply_to(text),
        "message_id" => properties.with_message_id(text),
        "type" => properties.with_type(text),
        "app_id" => properties.with_app_id(text),
        "cluster_id" => properties.with_cluster_id(text),
        "priority" => match value.parse() {
            Ok(priority) => properties.with_priority(priority),
            Err(_) => return bad("it is a number from 0 to 255"),
        },
        "delivery_mode" => match value {
            "1" => properties.with_delivery_mode(1),
            "2" => properties.with_delivery_mode(2),
            _ => return bad("it is 1 (transient) or 2 (persistent)"),
        },
        "expiration" if making.moved => properties,
        "expiration" => match value.parse::<u32>() {
            Ok(_) => properties.with_expiration(text),
            Err(_) => return bad("it is a number of milliseconds"),
        },
        "user_id" if value == making.user => properties.with_user_id(text),
        "user_id" if making.moved => properties,
        "user_id" => {
            return Err(format!(
                "property user_id: the server takes that of who is logged in alone, '{}', not '{value}'",
                making.user
            ));
        }
        // Of another broker: nothing of AMQP's is called so.
        _ => properties,
    })
}

/// The properties of a message, in the order of the standard; the usual delivery mode is not told.
fn extra(properties: &BasicProperties) -> Option<Extra> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        all.extend(value.map(|value| (name.to_owned(), value)));
    };
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    add("content_type", text(properties.content_type()));
    add("content_encoding", text(properties.content_encoding()));
    let transient = properties.delivery_mode().filter(|mode| *mode != 2);
    add("delivery_mode", transient.map(|mode| mode.to_string()));
    add("priority", properties.priority().map(|priority| priority.to_string()));
    add("correlation_id", text(properties.correlation_id()));
    add("reply_to", text(properties.reply_to()));
    add("expiration", text(properties.expiration()));
    add("message_id", text(properties.message_id()));
    add("type", text(properties.kind()));
    add("user_id", text(properties.user_id()));
    add("app_id", text(properties.app_id()));
    add("cluster_id", text(properties.cluster_id()));
    (!all.is_empty()).then_some(Extra { properties: all })
}

/// What of a message is not in its event.
pub struct Taken {
    /// Its properties.
    pub extra: Option<Extra>,
    /// Its place in a stream.
    pub offset: Option<i64>,
}

/// Adds the event of a message to a batch. `position`: if it is not the offset in a stream.
pub fn push(
    batch: &mut Batch,
    topic: &Name,
    delivery: &Delivery,
    position: Position,
    scratch: &mut HeadersBuf,
) -> Taken {
    let properties = &delivery.properties;
    let none = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&none).inner();
    let number = |name: &str| table.get(name).and_then(table::int);
    let seconds = properties.timestamp().map(table::millis);
    let finer = number(MILLIS).filter(|at| seconds == Some(at.div_euclid(1000) * 1000));
    let key = match table.get(own::KEY) {
        Some(AMQPValue::LongString(key)) => Some(key.as_bytes()),
        _ => key_of(
            died_with(table.get("x-death"))
                .unwrap_or((delivery.exchange.as_str(), delivery.routing_key.as_str().as_bytes())),
        ),
    };
    let leave = |name: &str| {
        [OFFSET, DELIVERIES, ACQUIRED, own::KEY].contains(&name) || (name == MILLIS && finer.is_some())
    };
    scratch.clear();
    headers::from_table(scratch, properties.headers().as_ref().unwrap_or(&none), leave);
    let offset = number(OFFSET);
    let position = offset.map_or(position, Position::Offset);
    batch.push(topic, key, scratch.as_headers(), Some(&delivery.data), finer.or(seconds), position);
    Taken { extra: extra(properties), offset }
}

/// How often it was delivered before and came back, where the queue counts.
pub fn failures(delivery: &Delivery) -> Option<u32> {
    let table = delivery.properties.headers().as_ref()?.inner();
    table::int(table.get(DELIVERIES)?).and_then(|count| u32::try_from(count).ok())
}

/// Exchange and routing key that a message had before its queue gave it to the dead letters, where it may have got others.
fn died_with(deaths: Option<&AMQPValue>) -> Option<(&str, &[u8])> {
    let AMQPValue::FieldArray(deaths) = deaths? else { return None };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else { return None };
    let AMQPValue::FieldArray(keys) = last.inner().get("routing-keys")? else { return None };
    let AMQPValue::LongString(exchange) = last.inner().get("exchange")? else { return None };
    let AMQPValue::LongString(key) = keys.as_slice().first()? else { return None };
    Some((std::str::from_utf8(exchange.as_bytes()).ok()?, key.as_bytes()))
}

/// What went by the default exchange was addressed to a queue, and had no key.
fn key_of<'a>((exchange, routing_key): (&'a str, &'a [u8])) -> Option<&'a [u8]> {
    (!exchange.is_empty() && !routing_key.is_empty()).then_some(routing_key)
}

/// One event of a message, in a buffer of its own.
pub fn to_event(topic: &Name, delivery: &Delivery, position: Position) -> (Event, Taken) {
    let (mut batch, mut scratch) = (Batch::default(), HeadersBuf::default());
    let taken = push(&mut batch, topic, delivery, position, &mut scratch);
    let event = batch.finish()[0].clone();
    match taken.extra.clone() {
        Some(extra) => (event.with_extra(extra), taken),
        None => (event, taken),
    }
}

/// Whether an event has a header of this name and kind: for what AMQP cannot carry at all.
pub fn is_tombstone(event: &Event) -> bool {
    event.payload().is_none()
}

/// The same event, at the place that is a name for it.
pub fn named(event: &Event) -> Event {
    let (topic, position) = (event.topic(), letter_id(event));
    let copy = Event::new(topic, event.key(), event.headers(), event.payload(), event.timestamp(), position);
    copy.with_extra_of(event)
}

/// A name for a message in a queue, which has none of its own: its id if it has one, else a hash of what it says.
fn letter_id(event: &Event) -> Position {
    use std::fmt::Write;
    let named = event.extra().and_then(|extra| {
        extra.properties.iter().find(|(name, _)| name == "message_id").map(|(_, id)| id.clone())
    });
    if let Some(id) = named.filter(|id| !id.is_empty()) {
        return Position::Id(id.into());
    }
    let mut headers = HeadersBuf::default();
    // What the server adds when it hands it out again does not make it another one; what says why it died does.
    for (name, value) in event.headers().iter().filter(|(name, _)| !name.starts_with(b"x-last-death")) {
        headers.push(name, value);
    }
    let parts = [event.key(), Some(headers.as_headers().as_packed()), event.payload()];
    let mut bytes = Vec::with_capacity(event.size() + 24);
    for part in parts {
        bytes.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &bytes);
    let mut id = String::with_capacity(12);
    for byte in &hash.as_bytes()[..6] {
        let _ = write!(id, "{byte:02x}");
    }
    Position::Id(id.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HeaderValue, Headers, HeadersBuf};

    fn making() -> Making<'static> {
        Making { only: None, user: "guest", now: 5, moved: false }
    }

    fn event(key: Option<&[u8]>, headers: Headers<'_>, at: Option<Millis>) -> Event {
        Event::new(&"orders".into(), key, headers, Some(b"p"), at, Position::Unknown)
    }

    fn back(event: &Event, making: &Making<'_>) -> Event {
        let out = to_message(event, making).expect("it can be said");
        let mut delivery = Delivery::mock(1, out.exchange, out.routing_key, false, b"p".to_vec());
        delivery.properties = out.properties;
        to_event(&"orders".into(), &delivery, Position::Unknown).0
    }

    #[test]
    fn keys_of_every_kind_come_back() {
        let long = vec![b'k'; 10_000];
        for key in [None, Some(&b""[..]), Some(b"a.b"), Some(b"\0\xff"), Some(&long)] {
            for only in [None, Some("orders.shipping")] {
                let sent = event(key, Headers::default(), Some(1));
                assert_eq!(back(&sent, &Making { only, ..making() }).key(), key, "{only:?}");
            }
        }
    }

    #[test]
    fn times_are_kept_to_the_millisecond() {
        for at in [0, 1, 1_700_000_000_123, 1_700_000_000_000] {
            let there = back(&event(None, Headers::default(), Some(at)), &making());
            assert_eq!((there.timestamp(), there.headers().is_empty()), (Some(at), true));
        }
        assert_eq!(back(&event(None, Headers::default(), None), &making()).timestamp(), Some(5));
        assert!(to_message(&event(None, Headers::default(), Some(-1)), &making()).is_err());
    }

    #[test]
    fn properties_come_back_and_bad_ones_are_refused() {
        let with = |name: &str, value: &str| {
            let properties = vec![(name.to_owned(), value.to_owned())];
            event(None, Headers::default(), Some(1)).with_extra(Extra { properties })
        };
        for (name, value) in [
            ("message_id", "7"),
            ("type", "t"),
            ("priority", "9"),
            ("user_id", "guest"),
            ("expiration", "60000"),
            ("delivery_mode", "1"),
            ("correlation_id", "c"),
            ("reply_to", "r"),
        ] {
            let sent = with(name, value);
            assert_eq!(back(&sent, &making()).extra(), sent.extra());
        }
        for (name, value) in
            [("priority", "x"), ("expiration", "1m"), ("user_id", "eve"), ("delivery_mode", "3")]
        {
            assert!(to_message(&with(name, value), &making()).is_err(), "{name}");
        }
        let moved = Making { moved: true, ..making() };
        assert_eq!(back(&with("expiration", "1"), &moved).extra(), None, "a dead letter does not expire");
        assert_eq!(back(&with("user_id", "eve"), &moved).extra(), None);
    }

    #[test]
    fn what_the_server_counts_is_no_header() {
        let mut headers = HeadersBuf::default();
        headers.push("x-delivery-count".as_bytes(), HeaderValue::Int(2));
        let out = to_message(&event(None, headers.as_headers(), Some(1)), &making()).expect("it can be said");
        let mut delivery = Delivery::mock(1, out.exchange, out.routing_key, true, Vec::new());
        delivery.properties = out.properties;
        let (event, _) = to_event(&"orders".into(), &delivery, Position::Unknown);
        assert_eq!((failures(&delivery), event.headers().is_empty()), (Some(2), true));
    }
}
