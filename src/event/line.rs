//! The canonical line: one JSON object that holds all of an event, and gives it back byte for byte.
//!
//! `topic`, `partition` and `offset` or `position`, `timestamp`, `key`, `headers` as ordered `[name, value]` or
//! `[name, value, type]`, `encoding`, `payload`, `properties`. The payload is embedded as it is (`json`), or a string
//! (`text`), or base64; a tombstone is `null` without an encoding. Nothing guesses: the text `null` is a string.

mod parse;

pub use parse::{LineError, Parsed, parse};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Event, HeaderValue, Headers, Millis, Position, json, time};

/// Appends the event as one JSON object, without a newline.
pub fn write(out: &mut Vec<u8>, event: &Event) {
    write_with(out, event, &[]);
}

/// The same with further members at its end: names, and values as JSON text.
pub fn write_with(out: &mut Vec<u8>, event: &Event, extra: &[(&str, &str)]) {
    out.extend_from_slice(b"{\"topic\":");
    json::string(out, event.topic());
    position(out, event.position());
    if let Some(at) = event.timestamp() {
        out.extend_from_slice(b",\"timestamp\":");
        timestamp(out, at);
    }
    out.extend_from_slice(b",\"key\":");
    match event.key() {
        Some(key) => bytes(out, key),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"headers\":");
    write_headers(out, event.headers());
    payload(out, event.payload());
    if let Some(extra) = event.extra() {
        out.extend_from_slice(b",\"properties\":{");
        for (index, (name, value)) in extra.properties.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::string(out, name);
            out.push(b':');
            json::string(out, value);
        }
        out.push(b'}');
    }
    for (name, value) in extra {
        out.push(b',');
        json::string(out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

/// The headers alone, as the canonical line has them: `EVCAT_HEADERS`.
#[inline]
pub fn write_headers(out: &mut Vec<u8>, headers: Headers<'_>) {
    out.push(b'[');
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        header(out, name, value);
    }
    out.push(b']');
}

#[inline]
fn position(out: &mut Vec<u8>, position: &Position) {
    let mut number = |name: &str, n: i64| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    };
    match position {
        Position::Unknown => {}
        Position::Offset(offset) => number(",\"offset\":", *offset),
        Position::Partition(partition) => number(",\"partition\":", i64::from(*partition)),
        Position::At { partition, offset } => {
            number(",\"partition\":", i64::from(*partition));
            number(",\"offset\":", *offset);
        }
        Position::Pair(..) | Position::Id(_) => {
            out.extend_from_slice(b",\"position\":");
            json::string(out, &position.to_string());
        }
    }
}

/// A time that RFC 3339 cannot write is its milliseconds.
#[inline]
fn timestamp(out: &mut Vec<u8>, at: Millis) {
    let start = out.len();
    out.push(b'"');
    if time::rfc3339(out, at) {
        out.push(b'"');
    } else {
        out.truncate(start);
        out.extend_from_slice(itoa::Buffer::new().format(at).as_bytes());
    }
}

/// A string, or `{"base64": "..."}` where it is not UTF-8.
#[inline]
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => json::string(out, text),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":");
            base64(out, bytes);
            out.push(b'}');
        }
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // Cannot fail: the room is exactly what the encoding takes.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

fn header(out: &mut Vec<u8>, name: &[u8], value: HeaderValue<'_>) {
    out.push(b'[');
    bytes(out, name);
    out.push(b',');
    let kind = match value {
        HeaderValue::Null => {
            out.extend_from_slice(b"null");
            ""
        }
        HeaderValue::Bytes(value) => {
            bytes(out, value);
            ""
        }
        HeaderValue::Int(n) => {
            out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
            ",\"int\""
        }
        HeaderValue::Float(n) if n.is_finite() => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(n).as_bytes());
            ",\"float\""
        }
        HeaderValue::Float(n) => {
            json::string(out, &n.to_string());
            ",\"float\""
        }
        HeaderValue::Bool(yes) => {
            out.extend_from_slice(if yes { b"true" } else { b"false" });
            ",\"bool\""
        }
        HeaderValue::Time(at) => {
            timestamp(out, at);
            ",\"time\""
        }
        HeaderValue::Table(table) => {
            // As a string where it cannot stand in the line as it is.
            if table.starts_with(['{', '[']) && json::embeddable(table.as_bytes()) {
                out.extend_from_slice(table.as_bytes());
            } else {
                json::string(out, table);
            }
            ",\"table\""
        }
    };
    out.extend_from_slice(kind.as_bytes());
    out.push(b']');
}

#[inline]
fn payload(out: &mut Vec<u8>, payload: Option<&[u8]>) {
    let Some(payload) = payload else {
        return out.extend_from_slice(b",\"payload\":null");
    };
    if json::embeddable(payload) {
        out.extend_from_slice(b",\"encoding\":\"json\",\"payload\":");
        out.extend_from_slice(payload);
    } else if let Ok(text) = std::str::from_utf8(payload) {
        out.extend_from_slice(b",\"encoding\":\"text\",\"payload\":");
        json::string(out, text);
    } else {
        out.extend_from_slice(b",\"encoding\":\"base64\",\"payload\":");
        base64(out, payload);
    }
}

#[cfg(test)]
mod tests;
