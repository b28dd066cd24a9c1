//! Events as people read them: one line each, columns that fit what has been seen so far.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::{Style, indent, sanitize, words};
use crate::event::{Event, HeaderValue, Millis, cloudevents, time, trace};

/// A payload is cut after so many bytes on a terminal.
const LONGEST: usize = 4 << 10;
/// A key, topic or type is cut after so many columns on a terminal.
const WIDEST: usize = 64;
/// Columns grow with what they hold, up to this; what is wider stands out alone.
const GROWS_TO: usize = 32;
/// Bytes of a binary payload that are shown.
const PREVIEW: usize = 6;

/// The lines of `tail`.
pub struct Human {
    pub style: Style,
    pub pretty: bool,
    /// Whether topics are shown: there are several.
    pub topics: bool,
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    pub zone: TimeZone,
    widths: [usize; 5],
}

impl Human {
    pub fn new(style: Style, pretty: bool, clock: Arc<dyn Fn() -> Millis + Send + Sync>) -> Human {
        Human { style, pretty, topics: false, clock, zone: TimeZone::system(), widths: [0; 5] }
    }

    /// Makes the columns wide enough for these events before the first is printed.
    pub fn prepare(&mut self, events: &[Event]) {
        for event in events.iter().take(100) {
            self.columns(event);
        }
    }

    /// Appends one event.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event) {
        let [at, topic, position, key, kind] = self.columns(event);
        let style = self.style;
        let columns = [
            (style.faint(&at), at),
            (style.faint(&topic), topic),
            (style.faint(&position), position),
            (style.key(&key), key),
            (style.kind(&kind), kind),
        ];
        for (index, (painted, plain)) in columns.iter().enumerate() {
            if index == 1 && !self.topics {
                continue;
            }
            out.extend_from_slice(painted.as_bytes());
            let room = self.widths[index].saturating_sub(plain.width());
            out.extend(std::iter::repeat_n(b' ', room + 2));
        }
        if self.pretty {
            out.truncate(out.trim_ascii_end().len());
            self.details(out, event);
        } else {
            self.payload(out, event.payload());
        }
        out.push(b'\n');
    }

    /// The text of each column; the widths grow with them.
    fn columns(&mut self, event: &Event) -> [String; 5] {
        let at = event.timestamp().map(|at| words::clock(at, (self.clock)(), &self.zone));
        let columns = [
            at.unwrap_or_else(none),
            self.short(event.topic()),
            self.short(&event.position().to_string()),
            event.key().map_or_else(none, |key| self.short(&key_text(key))),
            cloudevents::kind(event.headers()).map_or_else(none, |kind| self.short(kind)),
        ];
        for (width, column) in self.widths.iter_mut().zip(&columns) {
            *width = (*width).max(column.width().min(GROWS_TO));
        }
        columns
    }

    /// One column's text: on a terminal escaped and not too long.
    fn short(&self, text: &str) -> String {
        if !self.style.terminal {
            return text.to_owned();
        }
        let clean = sanitize::text(text);
        match clean.char_indices().nth(WIDEST) {
            Some((cut, _)) => format!("{}…", &clean[..cut]),
            None => clean.into_owned(),
        }
    }

    fn payload(&self, out: &mut Vec<u8>, payload: Option<&[u8]>) {
        let Some(payload) = payload else {
            return out.extend_from_slice(self.style.faint("(tombstone)").as_bytes());
        };
        let (schema, body) = framing(payload);
        let Some(text) = std::str::from_utf8(body).ok().filter(|text| !text.contains('\0')) else {
            return self.binary(out, payload, schema);
        };
        if let Some(id) = schema {
            let size = words::bytes(payload.len() as u64);
            out.extend_from_slice(self.style.faint(&format!("({size}, schema id {id}) ")).as_bytes());
        }
        if !self.style.terminal {
            return out.extend_from_slice(text.as_bytes());
        }
        // JSON on several lines would be one line full of `\n`.
        if text.contains('\n') && indent::is_json(body) {
            let mut compact = Vec::new();
            indent::compact(&mut compact, body);
            return self.cut(out, &String::from_utf8_lossy(&compact), true);
        }
        self.cut(out, text, true);
    }

    /// Escaped text, cut where it is too long; `one_line` or as it is laid out.
    fn cut(&self, out: &mut Vec<u8>, text: &str, one_line: bool) {
        let shown = &text[..text.floor_char_boundary(LONGEST)];
        let clean = if one_line { sanitize::text(shown) } else { sanitize::block(shown.as_bytes()) };
        out.extend_from_slice(clean.as_bytes());
        if shown.len() < text.len() {
            let more = words::bytes((text.len() - shown.len()) as u64);
            out.extend_from_slice(self.style.hint(&format!("… {more} more, -o raw shows all")).as_bytes());
        }
    }

    fn binary(&self, out: &mut Vec<u8>, payload: &[u8], schema: Option<u32>) {
        let schema = schema.map(|id| format!(", schema id {id}")).unwrap_or_default();
        let head = format!("(binary, {}{schema})", words::bytes(payload.len() as u64));
        out.extend_from_slice(self.style.faint(&head).as_bytes());
        for byte in payload.iter().take(PREVIEW) {
            out.extend_from_slice(format!(" {byte:02x}").as_bytes());
        }
        if payload.len() > PREVIEW {
            out.extend_from_slice(" …".as_bytes());
        }
    }

    /// `--pretty`: the headers, then the payload laid out.
    fn details(&self, out: &mut Vec<u8>, event: &Event) {
        let mut row = |name: &str, value: &str| {
            let (name, value) = (self.short(name), self.short_value(value));
            out.extend_from_slice(
                format!("\n  {} {value}", self.style.faint(&format!("{name} ="))).as_bytes(),
            );
        };
        for (name, value) in event.headers().iter() {
            row(&String::from_utf8_lossy(name), &header_text(value));
        }
        if let Some(extra) = event.extra() {
            extra.properties.iter().for_each(|(name, value)| row(name, value));
        }
        if let Some(id) = trace::id(event.headers()) {
            row("trace", id);
        }
        out.extend_from_slice(b"\n  ");
        match event.payload() {
            Some(payload) if indent::is_json(payload) => {
                let mut laid_out = Vec::new();
                indent::indent(&mut laid_out, payload, "  ");
                match self.style.terminal {
                    true => self.cut(out, &String::from_utf8_lossy(&laid_out), false),
                    false => out.extend_from_slice(&laid_out),
                }
            }
            payload => self.payload(out, payload),
        }
    }

    fn short_value<'a>(&self, value: &'a str) -> Cow<'a, str> {
        if self.style.terminal { sanitize::text(value) } else { Cow::Borrowed(value) }
    }
}

fn none() -> String {
    "-".into()
}

/// A key as text; one that is not UTF-8 in hex.
fn key_text(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok("") => Cow::Borrowed("\"\""),
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let hex: String = key.iter().take(WIDEST).map(|byte| format!("{byte:02x}")).collect();
            Cow::Owned(format!("0x{hex}"))
        }
    }
}

/// The value of a header as a person would type it.
pub fn header_text(value: HeaderValue<'_>) -> Cow<'_, str> {
    match value {
        HeaderValue::Null => Cow::Borrowed("-"),
        HeaderValue::Bytes(bytes) => String::from_utf8_lossy(bytes),
        HeaderValue::Int(n) => Cow::Owned(n.to_string()),
        HeaderValue::Float(n) => Cow::Owned(n.to_string()),
        HeaderValue::Bool(yes) => Cow::Owned(yes.to_string()),
        HeaderValue::Time(at) => Cow::Owned(time::text(at)),
        HeaderValue::Table(json) => Cow::Borrowed(json),
    }
}

/// The id of a schema in a registry, and what follows it: a zero byte, then four of the id (Confluent's wire format).
fn framing(payload: &[u8]) -> (Option<u32>, &[u8]) {
    match payload {
        [0, a, b, c, d, body @ ..] => (Some(u32::from_be_bytes([*a, *b, *c, *d])), body),
        _ => (None, payload),
    }
}

#[cfg(test)]
mod tests;
