//! The canonical event as the engine's value, and the engine's values as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jaq_json::{Map, Num, Rc, Val};

use crate::event::{Event, HeaderValue, Headers, Position, time};

type Failed = jaq_json::Error;

/// Deeper JSON than this is text, as in the canonical line: the engine recurses, and a payload must not be able to end
/// the process.
const DEEPEST: usize = 127;

/// The canonical event. `failure` is the raw JSON of `.failure`, for dead letters.
pub(super) fn of_event(event: &Event, failure: Option<&str>) -> Val {
    let mut map = Map::default();
    let mut put = |name: &'static str, value: Val| {
        map.insert(text(name.as_bytes()), value);
    };
    put("topic", text(event.topic().as_bytes()));
    let position = event.position();
    if let Some(partition) = position.partition() {
        put("partition", Val::from(partition as isize));
    }
    match position {
        Position::Unknown | Position::Partition(_) => (),
        Position::Offset(offset) | Position::At { offset, .. } => put("offset", Val::from(*offset as isize)),
        other => put("position", Val::from(other.to_string())),
    }
    if let Some(at) = event.timestamp() {
        put("timestamp", Val::from(time::text(at)));
    }
    put("key", event.key().map_or(Val::Null, bytes));
    put("headers", headers(event.headers()));
    let (encoding, payload) = payload(event.payload());
    if let Some(encoding) = encoding {
        put("encoding", text(encoding.as_bytes()));
    }
    put("payload", payload);
    if let Some(extra) = event.extra() {
        let rows = extra.properties.iter();
        let properties: Map = rows.map(|(k, v)| (text(k.as_bytes()), text(v.as_bytes()))).collect();
        put("properties", Val::obj(properties));
    }
    if let Some(failure) = failure {
        put("failure", json(failure.as_bytes()).unwrap_or_default());
    }
    Val::obj(map)
}

/// The payload as a filter sees it, and its encoding. More generous than the canonical line in one thing: JSON with
/// line breaks or spaces around it is JSON here too, because `.payload.amount` is meant to work on a pretty payload.
pub(super) fn payload(payload: Option<&[u8]>) -> (Option<&'static str>, Val) {
    let Some(payload) = payload else { return (None, Val::Null) };
    match json(payload) {
        Some(Val::Null) | None => match std::str::from_utf8(payload) {
            Ok(_) => (Some("text"), text(payload)),
            Err(_) => (Some("base64"), Val::from(STANDARD.encode(payload))),
        },
        Some(value) => (Some("json"), value),
    }
}

fn headers(headers: Headers<'_>) -> Val {
    let row = |(name, value): (&[u8], HeaderValue<'_>)| {
        let kind = match value {
            HeaderValue::Null | HeaderValue::Bytes(_) => None,
            HeaderValue::Int(_) => Some("int"),
            HeaderValue::Float(_) => Some("float"),
            HeaderValue::Bool(_) => Some("bool"),
            HeaderValue::Time(_) => Some("time"),
            HeaderValue::Table(_) => Some("table"),
        };
        let kind = kind.map(|kind| text(kind.as_bytes()));
        [bytes(name), header(value)].into_iter().chain(kind).collect::<Val>()
    };
    headers.iter().map(row).collect()
}

/// The value of a header.
pub(super) fn header(value: HeaderValue<'_>) -> Val {
    match value {
        HeaderValue::Null => Val::Null,
        HeaderValue::Bytes(value) => bytes(value),
        HeaderValue::Int(n) => Val::from(n as isize),
        HeaderValue::Float(n) => Val::from(n),
        HeaderValue::Bool(yes) => Val::from(yes),
        HeaderValue::Time(at) => Val::from(time::text(at)),
        HeaderValue::Table(table) => json(table.as_bytes()).unwrap_or_else(|| text(table.as_bytes())),
    }
}

/// The name that `header` was asked for.
pub(super) fn header_name(name: &Val) -> Result<&[u8], Failed> {
    match name {
        Val::TStr(name) => Ok(name),
        other => Err(Failed::typ(other.clone(), "string")),
    }
}

/// `fromjson`: JSON within a string, no deeper than a payload.
pub(super) fn from_json(value: &Val) -> Result<Val, Failed> {
    match value {
        Val::TStr(bytes) | Val::BStr(bytes) => json(bytes).ok_or_else(|| {
            Failed::str(format_args!("fromjson: not JSON, or nested deeper than {DEEPEST}: {value}"))
        }),
        other => Err(Failed::typ(other.clone(), "string")),
    }
}

/// A key or header: text, or base64 in an object.
fn bytes(value: &[u8]) -> Val {
    match std::str::from_utf8(value) {
        Ok(_) => text(value),
        Err(_) => Val::obj(Map::from_iter([(text(b"base64"), Val::from(STANDARD.encode(value)))])),
    }
}

fn text(value: &[u8]) -> Val {
    Val::utf8_str(value.to_vec())
}

/// Parses JSON and nothing else: the engine's own reader takes comments, `NaN` and bytes too, and has no bound on depth.
/// Numbers keep their text.
pub(super) fn json(bytes: &[u8]) -> Option<Val> {
    std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: bytes };
    let value = reader.value(DEEPEST)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn space(&mut self) {
        let at = self.rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        self.rest = &self.rest[at.unwrap_or(self.rest.len())..];
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.rest.first() == Some(&byte);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    fn word(&mut self, word: &str, value: Val) -> Option<Val> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        Some(value)
    }

    fn value(&mut self, depth: usize) -> Option<Val> {
        self.space();
        match self.rest.first()? {
            b'n' => self.word("null", Val::Null),
            b't' => self.word("true", Val::Bool(true)),
            b'f' => self.word("false", Val::Bool(false)),
            b'"' => self.string(),
            b'[' => {
                self.rest = &self.rest[1..];
                let (depth, mut all) = (depth.checked_sub(1)?, Vec::new());
                if !self.eat(b']') {
                    loop {
                        all.push(self.value(depth)?);
                        if self.eat(b']') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Val::Arr(Rc::new(all)))
            }
            b'{' => {
                self.rest = &self.rest[1..];
                let (depth, mut all) = (depth.checked_sub(1)?, Map::default());
                if !self.eat(b'}') {
                    loop {
                        self.space();
                        let name = self.string()?;
                        self.eat(b':').then_some(())?;
                        let value = self.value(depth)?;
                        all.insert(name, value);
                        if self.eat(b'}') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Val::obj(all))
            }
            _ => self.number(),
        }
    }

    fn string(&mut self) -> Option<Val> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let end = inside.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))?;
        if inside[end] == b'"' {
            self.rest = &inside[end + 1..];
            return Some(text(&inside[..end]));
        }
        // Escapes are rare: serde_json knows them all. Its end is the first quote that no backslash precedes.
        let (mut at, mut escaped) = (end, false);
        loop {
            match inside.get(at)? {
                b'"' if !escaped => break,
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
            at += 1;
        }
        let (quoted, rest) = self.rest.split_at(at + 2);
        self.rest = rest;
        serde_json::from_slice::<String>(quoted).ok().map(Val::from)
    }

    fn number(&mut self) -> Option<Val> {
        let digits = |at: usize| self.rest[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let is = |at: usize, any: &[u8]| self.rest.get(at).is_some_and(|b| any.contains(b));
        let sign = usize::from(is(0, b"-"));
        let whole = digits(sign);
        if whole == 0 || whole > 1 && is(sign, b"0") {
            return None;
        }
        let integer = sign + whole;
        let mut end = integer;
        if is(end, b".") {
            end += 1 + Some(digits(end + 1)).filter(|count| *count > 0)?;
        }
        if is(end, b"eE") {
            let exponent = end + 1 + usize::from(is(end + 1, b"+-"));
            end = exponent + Some(digits(exponent)).filter(|count| *count > 0)?;
        }
        let (number, rest) = self.rest.split_at(end);
        let number = std::str::from_utf8(number).ok()?;
        self.rest = rest;
        // As an integer `-0` would lose its sign, and text that was not touched is to stay as it was.
        let integer = (end == integer && number != "-0").then(|| Num::from_str_radix(number, 10)).flatten();
        Some(Val::Num(integer.unwrap_or_else(|| Num::Dec(Rc::new(number.to_owned())))))
    }
}

/// A value as JSON in one line. What JSON cannot say is written as jq does: not-a-number as `null`, the infinities as
/// the largest numbers, bytes as text.
pub(super) fn write(value: &Val, out: &mut String) {
    use std::fmt::Write;
    let quoted = |bytes: &[u8], out: &mut String| {
        // Writing a string into a string cannot fail.
        let text = String::from_utf8_lossy(bytes);
        out.push_str(&serde_json::to_string(&*text).unwrap_or_default());
    };
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Val::Num(Num::Float(n)) if n.is_nan() => out.push_str("null"),
        Val::Num(Num::Float(n)) if n.is_infinite() => {
            out.push_str(if *n > 0.0 { "1.7976931348623157e308" } else { "-1.7976931348623157e308" });
        }
        Val::Num(n) => {
            let _ = write!(out, "{n}");
        }
        Val::BStr(bytes) | Val::TStr(bytes) => quoted(bytes, out),
        Val::Arr(all) => {
            out.push('[');
            for (i, value) in all.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(value, out);
            }
            out.push(']');
        }
        Val::Obj(all) => {
            out.push('{');
            for (i, (name, value)) in all.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                match name {
                    Val::TStr(name) => quoted(name, out),
                    other => quoted(other.to_string().as_bytes(), out),
                }
                out.push(':');
                write_value(value, out);
            }
            out.push('}');
        }
    }
}

use write as write_value;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Batch, HeadersBuf};

    fn rewritten(text: &str) -> Option<String> {
        let mut out = String::new();
        write(&json(text.as_bytes())?, &mut out);
        Some(out)
    }

    #[test]
    fn numbers_keep_their_text() {
        for number in ["0", "-0", "1.0", "1e5", "1E+05", "-0.10", "123456789012345678901234567890", "1e400"] {
            assert_eq!(rewritten(number).as_deref(), Some(number));
        }
    }

    #[test]
    fn only_json_is_json() {
        for text in [
            "",
            " ",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "NaN",
            "Infinity",
            "b\"a\"",
            "# c\n1",
            "{1:2}",
            "[1,]",
            "{,}",
            "[",
            "\"\n\"",
            "\"\\x\"",
            "tru",
            "1 2",
            "{\"a\"}",
            "\"\\ud800\"",
            "-",
            "\"\\",
        ] {
            assert!(json(text.as_bytes()).is_none(), "{text:?}");
        }
        for text in [" [ ] ", "{ }", "{\"a\" : [1 , \"\\u00e4\\\\\\\"\"]}\n"] {
            assert!(json(text.as_bytes()).is_some(), "{text:?}");
        }
        assert!(json("[".repeat(100_000).as_bytes()).is_none(), "depth is bounded");
    }

    proptest! {
        #[test]
        fn agrees_with_serde(text in "[\\[\\]{}\",:\\\\ 0-9eE.+ntfalsrue-]{0,12}") {
            let serde = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(json(text.as_bytes()).is_some(), serde);
        }

        #[test]
        fn strings_survive(text in ".*") {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(rewritten(&quoted), Some(quoted));
        }
    }

    #[test]
    fn an_event_is_its_canonical_object() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push(b"i", HeaderValue::Int(7));
        let mut batch = Batch::default();
        let topic = "orders".into();
        let at = Position::At { partition: 3, offset: 9 };
        batch.push(&topic, Some(b"\xff"), headers.as_headers(), Some(b" {\"a\": 1.0}\n"), Some(0), at);
        let mut out = String::new();
        write(&of_event(&batch.finish()[0], Some("{\"error\":\"e\"}")), &mut out);
        assert_eq!(
            out,
            concat!(
                r#"{"topic":"orders","partition":3,"offset":9,"timestamp":"1970-01-01T00:00:00.000Z","#,
                r#""key":{"base64":"/w=="},"headers":[["a","1"],["i",7,"int"]],"encoding":"json","#,
                r#""payload":{"a":1.0},"failure":{"error":"e"}}"#
            )
        );
        assert_eq!(payload(Some(b"null")).0, Some("text"), "the text null is no tombstone");
    }
}
