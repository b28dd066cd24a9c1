//! An event's headers as message attributes: at most ten, each name once, in no order, and no empty values.
//!
//! What cannot be said so stands in one attribute more, `evcat`: a JSON object whose `headers` is the list of how they
//! were, names of attributes and, as in the canonical line, `[name, value]` for those that are none. Everybody else
//! reads the attributes. Headers of evcat itself (`evcat-dlq-error`) always stand there, so that nine words about a
//! failure do not take the places of the event's own.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::event::{Extra, HeaderValue, Headers, HeadersBuf, line, own};

/// Says what attributes cannot.
pub const MORE: &str = "evcat";
/// The bytes of a payload that is no text.
pub const PAYLOAD: &str = "evcat-payload";
/// The most attributes of a message: with more, SNS does not deliver to a queue in the raw form.
const MOST: usize = 10;
/// What the property of a data type is called: `type:NAME`. There is one where the value does not tell it.
const TYPE: &str = "type:";

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// `String`, `Number`, `Binary`, or one of these and a label, such as `Number.int`.
    pub kind: String,
    /// What it says.
    pub said: Said,
}

/// Text or bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Of strings and numbers.
    Text(String),
    /// Of binaries.
    Bytes(Vec<u8>),
}

impl Value {
    /// Of text.
    pub fn text(text: impl Into<String>) -> Value {
        Value { kind: "String".into(), said: Said::Text(text.into()) }
    }

    /// Of bytes: text where it can be that.
    pub fn bytes(bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) if is_plain(text) => Value::text(text),
            _ => Value { kind: "Binary".into(), said: Said::Bytes(bytes.to_vec()) },
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.said {
            Said::Text(text) => text.as_bytes(),
            Said::Bytes(bytes) => bytes,
        }
    }

    /// What it weighs against the limit, without its name.
    pub fn size(&self) -> usize {
        self.kind.len() + self.as_bytes().len()
    }
}

/// All of a message, by name.
pub type Attributes = BTreeMap<String, Value>;

/// Text that a message can hold: the characters of XML 1.0.
pub fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

/// Whether an attribute may be called so.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let lower = name.to_ascii_lowercase();
    !name.is_empty()
        && name.len() <= 256
        && name.chars().all(plain)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
        && name != MORE
        && !name.starts_with(own::PREFIX)
}

/// The attribute that a header is by itself, if it can be one.
fn value_of(value: HeaderValue<'_>) -> Option<Value> {
    let number = |text: String| Value { kind: "Number".into(), said: Said::Text(text) };
    match value {
        HeaderValue::Bytes(b"") => None,
        HeaderValue::Bytes(bytes) => Some(Value::bytes(bytes)),
        HeaderValue::Int(n) => Some(number(n.to_string())),
        HeaderValue::Float(n) if n.is_finite() && n.to_string().parse::<i64>().is_err() => {
            Some(number(n.to_string()))
        }
        _ => None,
    }
}

/// Writes headers among the attributes that are there; what they cannot say goes into `more`.
pub fn write(
    attributes: &mut Attributes,
    more: &mut Map<String, Json>,
    headers: Headers<'_>,
    extra: Option<&Extra>,
) {
    let all: Vec<(&[u8], HeaderValue<'_>)> = headers.iter().collect();
    let alone = |name: &[u8]| all.iter().filter(|(other, _)| *other == name).count() == 1;
    let mut named: Vec<Option<Value>> = all
        .iter()
        .map(|(name, value)| {
            let text = std::str::from_utf8(name).ok().filter(|text| is_name(text) && alone(name))?;
            let mut value = value_of(*value)?;
            if let Some(kind) = typed(extra, text).filter(|kind| fits(kind, &value)) {
                value.kind = kind.to_owned();
            }
            Some(value)
        })
        .collect();
    let names: Vec<&[u8]> = all.iter().map(|(name, _)| *name).collect();
    // In the order of their names they need no word more; `more` may be needed for something else.
    let room = MOST - attributes.len() - usize::from(!more.is_empty());
    let simple = named.iter().all(Option::is_some) && named.len() <= room && names.is_sorted_by(|a, b| a < b);
    if !simple {
        let room = MOST - attributes.len() - 1;
        let beyond = named.iter_mut().filter(|value| value.is_some()).skip(room);
        beyond.for_each(|value| *value = None);
        let list = all.iter().zip(&named).map(|((name, value), named)| match named {
            Some(_) => Json::String(String::from_utf8_lossy(name).into_owned()),
            None => spelled(name, *value),
        });
        more.insert("headers".into(), Json::Array(list.collect()));
    }
    for (name, value) in names.into_iter().zip(named) {
        if let Some(value) = value {
            attributes.insert(String::from_utf8_lossy(name).into_owned(), value);
        }
    }
}

/// As the canonical line has it.
fn spelled(name: &[u8], value: HeaderValue<'_>) -> Json {
    let (mut one, mut text) = (HeadersBuf::default(), Vec::new());
    one.push(name, value);
    line::write_headers(&mut text, one.as_headers());
    serde_json::from_slice::<Vec<Json>>(&text).ok().and_then(|mut list| list.pop()).unwrap_or_default()
}

/// The data type that a property asks for.
fn typed<'a>(extra: Option<&'a Extra>, name: &str) -> Option<&'a str> {
    let of = |property: &str| property.strip_prefix(TYPE) == Some(name);
    extra?.properties.iter().find(|(property, _)| of(property)).map(|(_, kind)| kind.as_str())
}

/// Whether a value can be of this type.
fn fits(kind: &str, value: &Value) -> bool {
    let (base, label) = kind.split_once('.').unwrap_or((kind, "x"));
    let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let base = match (base, &value.said) {
        ("String", Said::Text(_)) | ("Binary", Said::Bytes(_)) => true,
        ("Number", Said::Text(text)) => number(text),
        _ => false,
    };
    base && kind.len() <= 256 && !label.is_empty() && is_plain(label)
}

/// The headers of attributes, without `leave`, and a property for each type that the value does not tell.
pub fn read(out: &mut HeadersBuf, attributes: &Attributes, more: Option<&Map<String, Json>>, leave: &[&str]) {
    let list = more.and_then(|more| more.get("headers")).and_then(Json::as_array);
    let mut told: Vec<&str> = Vec::new();
    for entry in list.into_iter().flatten() {
        match entry {
            Json::String(name) => {
                if let Some(value) = attributes.get(name) {
                    out.push(name.as_bytes(), header_of(value));
                    told.push(name);
                }
            }
            entry => {
                let text = format!("{{\"payload\":null,\"headers\":[{entry}]}}");
                if let Ok(parsed) = line::parse(text.as_bytes()) {
                    out.extend(parsed.headers.as_headers());
                }
            }
        }
    }
    // What somebody added since comes last.
    for (name, value) in attributes {
        if !told.contains(&name.as_str()) && !leave.contains(&name.as_str()) {
            out.push(name.as_bytes(), header_of(value));
        }
    }
}

/// A number that is written as we would write it is one; any other keeps its text.
fn header_of(value: &Value) -> HeaderValue<'_> {
    if let ("Number", Said::Text(text)) = (value.kind.split('.').next().unwrap_or_default(), &value.said) {
        if let Some(n) = text.parse::<i64>().ok().filter(|n| n.to_string() == *text) {
            return HeaderValue::Int(n);
        }
        if let Some(n) = text.parse::<f64>().ok().filter(|n| n.is_finite() && n.to_string() == *text) {
            return HeaderValue::Float(n);
        }
    }
    HeaderValue::Bytes(value.as_bytes())
}

/// The types that would not be the same if the headers were sent again, as properties.
pub fn types(attributes: &Attributes, leave: &[&str], properties: &mut Vec<(String, String)>) {
    for (name, value) in attributes.iter().filter(|(name, _)| !leave.contains(&name.as_str())) {
        if value_of(header_of(value)).is_none_or(|again| again.kind != value.kind) {
            properties.push((format!("{TYPE}{name}"), value.kind.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(headers: &HeadersBuf) -> (HeadersBuf, Attributes, Map<String, Json>) {
        let (mut attributes, mut more) = (Attributes::new(), Map::new());
        write(&mut attributes, &mut more, headers.as_headers(), None);
        assert!(attributes.len() + usize::from(!more.is_empty()) <= MOST);
        let mut back = HeadersBuf::default();
        read(&mut back, &attributes, Some(&more), &[]);
        (back, attributes, more)
    }

    #[test]
    fn every_header_comes_back() {
        let mut headers = HeadersBuf::default();
        for (name, value) in [("z", "1"), ("a", "2"), ("a", ""), ("z", "1"), ("m", "\""), ("AWS.x", "y")] {
            headers.push_str(name, value);
        }
        headers.push(b"n", HeaderValue::Null);
        headers.push(b"i", HeaderValue::Int(-3));
        headers.push(b"f", HeaderValue::Float(0.5));
        headers.push(b"whole", HeaderValue::Float(2.0));
        headers.push(b"b", HeaderValue::Bool(true));
        headers.push(b"t", HeaderValue::Time(1_700_000_000_000));
        headers.push(b"o", HeaderValue::Table("{\"a\":[1,null]}"));
        headers.push(b"bytes", HeaderValue::Bytes(b"\0\xff"));
        headers.push(b"control", HeaderValue::Bytes(b"a\x01b"));
        headers.push(b"\xff", HeaderValue::Bytes(b"1"));
        headers.push(b"evcat-dlq-error", HeaderValue::Bytes(b"why"));
        assert_eq!(there_and_back(&headers).0, headers);
    }

    #[test]
    fn what_is_simple_needs_no_word_more() {
        let mut headers = HeadersBuf::default();
        (0..10).for_each(|i| headers.push_str(&format!("h{i}"), "x"));
        let (back, attributes, more) = there_and_back(&headers);
        assert_eq!((back, attributes.len(), more.is_empty()), (headers.clone(), 10, true));
        headers.push_str("i", "y");
        let (back, attributes, _) = there_and_back(&headers);
        assert_eq!((back, attributes.len()), (headers, 9));
    }

    #[test]
    fn types_of_others_are_kept() {
        let value = |kind: &str, text: &str| Value { kind: kind.into(), said: Said::Text(text.into()) };
        let mut theirs = Attributes::new();
        theirs.insert("a".into(), value("Number", "1.50"));
        theirs.insert("b".into(), value("String.json", "{}"));
        theirs.insert("c".into(), value("Number.int", "7"));
        theirs.insert("d".into(), Value { kind: "Binary".into(), said: Said::Bytes(b"text".to_vec()) });
        theirs.insert("e".into(), value("String", "plain"));
        let (mut headers, mut properties) = (HeadersBuf::default(), Vec::new());
        read(&mut headers, &theirs, None, &[]);
        types(&theirs, &[], &mut properties);
        assert_eq!(properties.len(), 4, "{properties:?}");
        let (mut again, mut more) = (Attributes::new(), Map::new());
        write(&mut again, &mut more, headers.as_headers(), Some(&Extra { properties }));
        theirs.remove("d");
        again.remove("d");
        assert_eq!((again, more.is_empty()), (theirs, true));
    }
}
