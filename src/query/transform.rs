//! `--transform`: an expression that makes another event of an event.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jaq_json::{Map, Rc, Val};

use super::runner::Runner;
use super::{Answer, Query, value};
use crate::event::{Event, Position, line};
use crate::outcome::Failure;

/// What an event may have; anything else in a result is a slip of the pen.
const MEMBERS: &[&str] = &[
    "topic",
    "partition",
    "offset",
    "position",
    "timestamp",
    "key",
    "headers",
    "encoding",
    "payload",
    "properties",
    "failure",
];

/// Changes events.
///
/// The result is a canonical event. What it does not touch stays as it was written, byte for byte; in a payload that it
/// does touch, numbers that it does not touch keep their text. `offset`, `position`, `properties` and `failure` are
/// facts and not taken from the result.
pub struct Transform(Runner<Vec<Event>>);

impl Transform {
    /// Compiles an expression; see [`Query::compile`].
    pub fn compile(flag: &str, text: &str) -> Result<Transform, Failure> {
        let query = Query::compile(flag, text)?;
        Ok(Transform(Runner::new(
            flag,
            Arc::new(move |event, failure| {
                let before = value::of_event(event, failure);
                let results = query.engine.run(event.headers(), before.clone());
                let changed = results.map(|result| changed(event, &before, &result?));
                changed.collect::<Result<_, String>>().map_err(|error| format!("{}: {error}", query.flag))
            }),
        )))
    }

    /// For each event what becomes of it: one event, none (`empty`: it is left out), or several. `failures`: `.failure`
    /// as raw JSON, one per event.
    pub async fn apply(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> Result<Vec<Answer<Vec<Event>>>, Failure> {
        self.0.run(events, failures).await
    }
}

fn changed(event: &Event, before: &Val, after: &Val) -> Result<Event, String> {
    if let (Val::Obj(before), Val::Obj(after)) = (before, after)
        && Rc::ptr_eq(before, after)
    {
        return Ok(event.clone());
    }
    let Val::Obj(after) = after else {
        return Err("the result is not an event; change it in place, like '.payload.total = 1'".into());
    };
    let Val::Obj(before) = before else { return Err("it is not an event".into()) };
    if let Some(other) = after.keys().find(|name| !matches!(name, Val::TStr(n) if is_member(n))) {
        return Err(format!("the result has {other}, which an event has not"));
    }
    let same = |name| same(get(before, name), get(after, name));

    // Everything but the payload is read back by the rules of the canonical line.
    let mut text = String::from("{\"payload\":null");
    for name in ["topic", "partition", "timestamp", "key", "headers"] {
        if let Some(value) = get(after, name) {
            text += &format!(",\"{name}\":");
            value::write(value, &mut text);
        }
    }
    text.push('}');
    let parsed = line::parse(text.as_bytes()).map_err(|error| format!("the result's {error}"))?;

    let payload = match same("payload") && same("encoding") {
        true => event.payload().map(<[u8]>::to_vec),
        false => payload(get(after, "encoding"), get(after, "payload"))?,
    };
    let topic = match &parsed.topic {
        Some(topic) if **topic != **event.topic() => topic.as_str().into(),
        Some(_) => event.topic().clone(),
        None => return Err("the result has no topic".into()),
    };
    let position = match parsed.partition {
        Some(partition) if !same("partition") => Position::Partition(partition),
        _ => event.position().clone(),
    };
    let headers = if same("headers") { event.headers() } else { parsed.headers.as_headers() };
    let timestamp = if same("timestamp") { event.timestamp() } else { parsed.timestamp };
    let made = Event::new(&topic, parsed.key.as_deref(), headers, payload.as_deref(), timestamp, position);
    Ok(match event.extra() {
        Some(extra) => made.with_extra(extra.clone()),
        None => made,
    })
}

fn is_member(name: &[u8]) -> bool {
    MEMBERS.iter().any(|member| member.as_bytes() == name)
}

fn get<'a>(map: &'a Map, name: &'static str) -> Option<&'a Val> {
    map.get(&Val::utf8_str(name.as_bytes()))
}

/// Whether nothing was changed. The engine's own equality takes `1` and `1.0` for the same.
fn same(before: Option<&Val>, after: Option<&Val>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(Val::Obj(before)), Some(Val::Obj(after))) if Rc::ptr_eq(before, after) => true,
        (Some(Val::Arr(before)), Some(Val::Arr(after))) if Rc::ptr_eq(before, after) => true,
        (Some(before), Some(after)) => text(before) == text(after),
        _ => false,
    }
}

fn text(value: &Val) -> String {
    let mut text = String::new();
    value::write(value, &mut text);
    text
}

/// The bytes of a payload that was changed. `null` is a tombstone; what is no string is JSON; a string is what
/// `.encoding` says, and text where that was removed.
fn payload(encoding: Option<&Val>, payload: Option<&Val>) -> Result<Option<Vec<u8>>, String> {
    let payload = match payload {
        None => return Err("the result has no payload".into()),
        Some(Val::Null) => return Ok(None),
        Some(payload) => payload,
    };
    let encoding = match encoding {
        None | Some(Val::Null) => None,
        Some(Val::TStr(encoding)) => Some(&encoding[..]),
        Some(other) => {
            return Err(format!("the encoding {other} is not known; these are: json, text, base64"));
        }
    };
    Ok(Some(match (payload, encoding) {
        (Val::TStr(text) | Val::BStr(text), None | Some(b"text")) => text.to_vec(),
        (Val::TStr(text), Some(b"base64")) => {
            STANDARD.decode(&text[..]).map_err(|error| format!("the payload is not base64: {error}"))?
        }
        (value, None | Some(b"json" | b"text" | b"base64")) => text(value).into_bytes(),
        (_, Some(other)) => {
            let other = String::from_utf8_lossy(other);
            return Err(format!("the encoding \"{other}\" is not known; these are: json, text, base64"));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeaderValue, HeadersBuf};

    fn event(payload: Option<&[u8]>) -> Event {
        let topic = "orders".into();
        let mut headers = HeadersBuf::default();
        headers.push(b"t", HeaderValue::Table("{\"a\": 1}"));
        headers.push(b"b", HeaderValue::Bytes(b"\xff"));
        let mut batch = Batch::default();
        batch.push(&topic, Some(b"k"), headers.as_headers(), payload, Some(5), Position::Offset(7));
        batch.finish()[0].clone()
    }

    async fn apply(text: &str, payload: Option<&[u8]>) -> Answer<Vec<Event>> {
        let mut transform = Transform::compile("--transform", text).unwrap();
        transform.apply(&[event(payload)], None).await.unwrap().remove(0)
    }

    async fn payload_of(text: &str, payload: &str) -> String {
        let events = apply(text, Some(payload.as_bytes())).await.unwrap();
        String::from_utf8(events[0].payload().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_touched_stays_as_it_was_written() {
        let payload = r#"{"a": 1.10, "n": -0, "big": 123456789012345678901234567890, "e": 1E5}"#;
        assert_eq!(payload_of(".", payload).await, payload);
        assert_eq!(payload_of(".key = \"x\"", payload).await, payload, "spaces too");
        assert_eq!(
            payload_of(".payload.new = 1", payload).await,
            r#"{"a":1.10,"n":-0,"big":123456789012345678901234567890,"e":1E5,"new":1}"#
        );
        let binary = apply(".key = null", Some(b"\xff\x00")).await.unwrap();
        assert_eq!((binary[0].key(), binary[0].payload()), (None, Some(&b"\xff\x00"[..])));
        assert_eq!(binary[0].headers(), event(None).headers());
        assert_eq!((binary[0].timestamp(), binary[0].position()), (Some(5), &Position::Offset(7)));
    }

    #[tokio::test]
    async fn payloads_of_every_kind() {
        assert_eq!(payload_of(".payload = 1.0", "1").await, "1.0", "1 and 1.0 are not the same");
        assert_eq!(payload_of(".payload |= ascii_upcase", "text").await, "TEXT");
        assert_eq!(payload_of(".payload = {a: 1}", "text").await, "{\"a\":1}");
        assert_eq!(payload_of(".payload = \"s\"", "{}").await, "\"s\"", "encoding says JSON");
        assert_eq!(payload_of("del(.encoding) | .payload = \"s\"", "{}").await, "s");
        assert_eq!(apply(".payload = null", Some(b"1")).await.unwrap()[0].payload(), None);
        let decoded = apply(".payload = \"AAE=\"", Some(b"\xff")).await.unwrap();
        assert_eq!(decoded[0].payload(), Some(&b"\x00\x01"[..]));
    }

    #[tokio::test]
    async fn headers_and_key_follow_the_canonical_line() {
        let made =
            apply(".headers += [[\"n\", 7, \"int\"]] | .key = {base64: \"/w==\"}", Some(b"1")).await.unwrap();
        let headers: Vec<_> = made[0].headers().iter().collect();
        assert_eq!(headers[1..], [(&b"b"[..], HeaderValue::Bytes(b"\xff")), (b"n", HeaderValue::Int(7))]);
        assert_eq!(made[0].key(), Some(&b"\xff"[..]));
    }

    #[tokio::test]
    async fn none_and_several() {
        assert!(apply("empty", Some(b"1")).await.unwrap().is_empty());
        let spread = apply(".payload[] as $x | .payload = $x", Some(b"[1,2]")).await.unwrap();
        assert_eq!(spread.iter().map(|e| e.payload().unwrap()).collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[tokio::test]
    async fn what_is_no_event_is_refused() {
        for (text, words) in [
            (".payload", "no payload"),
            (".key", "not an event"),
            (".paylod = 1", "\"paylod\""),
            ("del(.payload)", "no payload"),
            (".headers = [1]", "\"headers\""),
            ("del(.topic)", "no topic"),
            (".encoding = \"avro\"", "avro"),
            (".timestamp = \"soon\"", "\"timestamp\""),
            ("error(\"no\")", "no"),
        ] {
            let error = apply(text, Some(b"{}")).await.unwrap_err();
            assert!(error.starts_with("--transform: ") && error.contains(words), "{text}: {error}");
        }
    }
}
