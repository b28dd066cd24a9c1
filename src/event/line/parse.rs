//! Reading the canonical line back.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Extra, HeaderValue, HeadersBuf, Millis, Name, Position, time};

/// An event as a line has it. Only `payload` has to be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// `topic`.
    pub topic: Option<String>,
    /// `partition`.
    pub partition: Option<i32>,
    /// From `partition`, `offset` and `position`.
    pub position: Position,
    /// `timestamp`, RFC 3339 or milliseconds since 1970.
    pub timestamp: Option<Millis>,
    /// `key`; `None` where it is null or not there.
    pub key: Option<Vec<u8>>,
    /// `headers`, in order.
    pub headers: HeadersBuf,
    /// `payload`; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// `properties`.
    pub extra: Option<Extra>,
}

/// Why a line is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The member that is wrong; `None` where it is the whole line.
    pub member: Option<&'static str>,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.member {
            Some(member) => write!(f, "\"{member}\": {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for LineError {}

fn wrong(member: &'static str, problem: impl Into<String>) -> LineError {
    LineError { member: Some(member), problem: problem.into() }
}

/// The members as they stand in the line. Members that we do not know are other programs' business.
#[derive(Default)]
struct Members<'a> {
    topic: Option<&'a RawValue>,
    partition: Option<&'a RawValue>,
    offset: Option<&'a RawValue>,
    position: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    encoding: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    properties: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with a \"payload\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let place = match &*name {
                        "topic" => &mut members.topic,
                        "partition" => &mut members.partition,
                        "offset" => &mut members.offset,
                        "position" => &mut members.position,
                        "timestamp" => &mut members.timestamp,
                        "key" => &mut members.key,
                        "headers" => &mut members.headers,
                        "encoding" => &mut members.encoding,
                        "payload" => &mut members.payload,
                        "properties" => &mut members.properties,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if place.replace(map.next_value()?).is_some() {
                        return Err(serde::de::Error::custom(format_args!("\"{name}\" stands twice")));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads one line; white space round it does not matter.
pub fn parse(line: &[u8]) -> Result<Parsed, LineError> {
    let whole = |problem: String| LineError { member: None, problem };
    let text = std::str::from_utf8(line)
        .map_err(|error| whole(format!("not UTF-8 from byte {} on", error.valid_up_to() + 1)))?;
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| whole(plain(&error)))?;
    let payload = members.payload.ok_or_else(|| wrong("payload", "is missing"))?;
    let partition = present(members.partition)
        .map(|raw| whole_number::<i32>(raw).ok_or_else(|| wrong("partition", "must be a whole number")))
        .transpose()?;
    Ok(Parsed {
        topic: present(members.topic).map(|raw| string("topic", raw).map(Cow::into_owned)).transpose()?,
        partition,
        position: position(partition, present(members.offset), present(members.position))?,
        timestamp: present(members.timestamp).map(|raw| timestamp("timestamp", raw)).transpose()?,
        key: present(members.key).map(|raw| bytes("key", raw)).transpose()?,
        headers: headers(members.headers)?,
        payload: decode(present(members.encoding), payload)?,
        extra: present(members.properties).map(properties).transpose()?,
    })
}

/// The words of serde_json without its "at line 1".
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("{text} (column {})", error.column())
}

/// `null` is the same as not there.
fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

fn whole_number<T: std::str::FromStr>(raw: &RawValue) -> Option<T> {
    raw.get().parse().ok()
}

fn string<'a>(member: &'static str, raw: &'a RawValue) -> Result<Cow<'a, str>, LineError> {
    let text = raw.get();
    if !text.starts_with('"') {
        return Err(wrong(member, "must be a string"));
    }
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(&text[1..text.len() - 1]));
    }
    serde_json::from_str::<String>(text).map(Cow::Owned).map_err(|error| wrong(member, plain(&error)))
}

fn position(
    partition: Option<i32>,
    offset: Option<&RawValue>,
    position: Option<&RawValue>,
) -> Result<Position, LineError> {
    if let Some(raw) = position {
        let text = string("position", raw)?;
        let pair = text.split_once('-').and_then(|(ms, seq)| Some((ms.parse().ok()?, seq.parse().ok()?)));
        return Ok(match pair {
            // Only if it is written as we write a pair: an id may look much like one.
            Some((ms, seq)) if format!("{ms}-{seq}") == text => Position::Pair(ms, seq),
            _ => Position::Id(Name::from(&*text)),
        });
    }
    let offset = offset
        .map(|raw| whole_number(raw).ok_or_else(|| wrong("offset", "must be a whole number")))
        .transpose()?;
    Ok(match (partition, offset) {
        (Some(partition), Some(offset)) => Position::At { partition, offset },
        (Some(partition), None) => Position::Partition(partition),
        (None, Some(offset)) => Position::Offset(offset),
        (None, None) => Position::Unknown,
    })
}

fn timestamp(member: &'static str, raw: &RawValue) -> Result<Millis, LineError> {
    let at = if raw.get().starts_with('"') { time::parse(&string(member, raw)?) } else { whole_number(raw) };
    at.ok_or_else(|| wrong(member, "must be like \"2026-11-21T14:02:11.532Z\", or milliseconds since 1970"))
}

fn base64(member: &'static str, raw: &RawValue) -> Result<Vec<u8>, LineError> {
    let text = string(member, raw)?;
    STANDARD.decode(&*text).map_err(|error| wrong(member, format!("not base64: {error}")))
}

/// A string, or `{"base64": "..."}`.
fn bytes(member: &'static str, raw: &RawValue) -> Result<Vec<u8>, LineError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64<'a> {
        #[serde(borrow)]
        base64: &'a RawValue,
    }
    if raw.get().starts_with('"') {
        return Ok(string(member, raw)?.into_owned().into_bytes());
    }
    let wrapped: Base64<'_> = serde_json::from_str(raw.get())
        .map_err(|_| wrong(member, "must be a string, null or {\"base64\": \"...\"}"))?;
    base64(member, wrapped.base64)
}

fn headers(raw: Option<&RawValue>) -> Result<HeadersBuf, LineError> {
    let mut headers = HeadersBuf::default();
    let Some(raw) = present(raw).filter(|raw| raw.get() != "[]") else { return Ok(headers) };
    let shape = || wrong("headers", "must be a list of [name, value] or [name, value, type]");
    let list: Vec<Vec<&RawValue>> = serde_json::from_str(raw.get()).map_err(|_| shape())?;
    for header in list {
        let (name, value, kind) = match header[..] {
            [name, value] => (name, value, None),
            [name, value, kind] => (name, value, Some(string("headers", kind)?)),
            _ => return Err(shape()),
        };
        let name = bytes("headers", name)?;
        push(&mut headers, &name, value, kind.as_deref())?;
    }
    Ok(headers)
}

fn push(headers: &mut HeadersBuf, name: &[u8], raw: &RawValue, kind: Option<&str>) -> Result<(), LineError> {
    let text = raw.get();
    let bad = || {
        let name = String::from_utf8_lossy(name);
        wrong("headers", format!("the value of \"{name}\" is not of type {}", kind.unwrap_or("text")))
    };
    match kind {
        _ if text == "null" => headers.push(name, HeaderValue::Null),
        None => {
            let value = bytes("headers", raw).map_err(|_| bad())?;
            headers.push(name, HeaderValue::Bytes(&value));
        }
        Some("int") => headers.push(name, HeaderValue::Int(text.parse().map_err(|_| bad())?)),
        Some("float") => {
            // Quoted: NaN and the infinities, which JSON has no number for.
            headers.push(name, HeaderValue::Float(text.trim_matches('"').parse().map_err(|_| bad())?));
        }
        Some("bool") => headers.push(name, HeaderValue::Bool(text.parse().map_err(|_| bad())?)),
        Some("time") => headers.push(name, HeaderValue::Time(timestamp("headers", raw)?)),
        Some("table") if text.starts_with('"') => {
            headers.push(name, HeaderValue::Table(&string("headers", raw)?));
        }
        Some("table") => headers.push(name, HeaderValue::Table(text)),
        Some(other) => {
            let problem = format!("no type is called \"{other}\"; these are: int, float, bool, time, table");
            return Err(wrong("headers", problem));
        }
    }
    Ok(())
}

fn decode(encoding: Option<&RawValue>, payload: &RawValue) -> Result<Option<Vec<u8>>, LineError> {
    let encoding = encoding.map(|raw| string("encoding", raw)).transpose()?;
    let text = payload.get();
    // Always, so that `jq '.payload = null'` makes a tombstone; the text `null` is a string.
    if text == "null" {
        return Ok(None);
    }
    let is_string = text.starts_with('"');
    Ok(Some(match encoding.as_deref() {
        Some("json") => text.as_bytes().to_vec(),
        None if !is_string => text.as_bytes().to_vec(),
        None => string("payload", payload)?.into_owned().into_bytes(),
        Some("text" | "base64") if !is_string => {
            return Err(wrong("payload", "must be a string, as \"encoding\" says; leave that out for JSON"));
        }
        Some("text") => string("payload", payload)?.into_owned().into_bytes(),
        Some("base64") => base64("payload", payload)?,
        Some(other) => {
            return Err(wrong(
                "encoding",
                format!("\"{other}\" is not known; these are: json, text, base64"),
            ));
        }
    }))
}

fn properties(raw: &RawValue) -> Result<Extra, LineError> {
    struct Pairs(Vec<(String, String)>);
    impl<'de> Deserialize<'de> for Pairs {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Object;
            impl<'de> Visitor<'de> for Object {
                type Value = Pairs;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object of strings")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some(pair) = map.next_entry()? {
                        pairs.push(pair);
                    }
                    Ok(Pairs(pairs))
                }
            }
            deserializer.deserialize_map(Object)
        }
    }
    let pairs: Pairs =
        serde_json::from_str(raw.get()).map_err(|_| wrong("properties", "must be an object of strings"))?;
    Ok(Extra { properties: pairs.0 })
}
