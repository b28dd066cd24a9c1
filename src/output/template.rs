//! `-F`: kcat's verbs, and some more.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::human::header_text;
use super::sanitize;
use crate::event::{Event, cloudevents, frames};
use crate::outcome::Failure;

/// A template, taken apart.
pub struct Template {
    parts: Vec<Part>,
    zone: TimeZone,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Position,
    Key,
    KeyLength,
    Payload,
    PayloadLength,
    PayloadFrame,
    Millis,
    Time(String),
    Headers,
    Header(String),
    Id,
    Kind,
}

/// What a refusal lists.
const VERBS: &str = "%t topic, %p partition, %o offset, %k key, %s payload, %h headers, %T timestamp, %d{STRFTIME}, \
                     %H{name}, %i id, %y type, %K %S lengths, %R length in binary, %% a percent sign; \\n \\t \\r \\\\ \\xNN";

impl Template {
    /// Checks every verb and escape. Errors name the one that is not known. The zone is asked for where times are shown:
    /// to find the system's takes a millisecond.
    pub fn parse(text: &str, zone: fn() -> TimeZone) -> Result<Template, Failure> {
        let refuse = |what: String| Failure::usage(format!("-F: {what}")).hint(VERBS);
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => plain.push(escape(&mut rest).map_err(refuse)?),
                '%' if rest.as_str().starts_with('%') => {
                    rest.next();
                    plain.push(b'%');
                }
                '%' => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(verb(&mut rest).map_err(refuse)?);
                }
                c => plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let times = parts.iter().any(|part| matches!(part, Part::Time(_)));
        Ok(Template { parts, zone: if times { zone() } else { TimeZone::UTC } })
    }

    /// Appends the event. What is not there is empty, its length or number -1, as with kcat. `clean` escapes what came
    /// from the event, for a terminal.
    pub fn event(&self, out: &mut Vec<u8>, event: &Event, clean: bool) {
        let put = |out: &mut Vec<u8>, bytes: &[u8]| match clean {
            true => out.extend_from_slice(sanitize::block(bytes).as_bytes()),
            false => out.extend_from_slice(bytes),
        };
        let mut number = itoa::Buffer::new();
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Topic => put(out, event.topic().as_bytes()),
                Part::Partition => {
                    put(out, number.format(event.position().partition().unwrap_or(-1)).as_bytes());
                }
                Part::Position => match event.position().offset() {
                    Some(offset) => put(out, number.format(offset).as_bytes()),
                    None => put(out, event.position().to_string().as_bytes()),
                },
                Part::Key => put(out, event.key().unwrap_or_default()),
                Part::KeyLength => put(out, number.format(length(event.key())).as_bytes()),
                Part::Payload => put(out, event.payload().unwrap_or_default()),
                Part::PayloadLength => put(out, number.format(length(event.payload())).as_bytes()),
                Part::PayloadFrame => {
                    let mut frame = Vec::new();
                    frames::write(&mut frame, event.payload());
                    put(out, &frame[..4]);
                }
                Part::Millis => put(out, number.format(event.timestamp().unwrap_or(-1)).as_bytes()),
                Part::Time(format) => put(out, self.time(event, format).as_bytes()),
                Part::Headers => {
                    for (index, (name, value)) in event.headers().iter().enumerate() {
                        put(out, if index > 0 { b"," } else { b"" });
                        put(out, name);
                        put(out, b"=");
                        match value.as_bytes() {
                            Some(bytes) => put(out, bytes),
                            None if value == crate::event::HeaderValue::Null => put(out, b"NULL"),
                            None => put(out, header_text(value).as_bytes()),
                        }
                    }
                }
                Part::Header(name) => match event.headers().last(name) {
                    None | Some(crate::event::HeaderValue::Null) => {}
                    Some(value) => match value.as_bytes() {
                        Some(bytes) => put(out, bytes),
                        None => put(out, header_text(value).as_bytes()),
                    },
                },
                Part::Id => put(out, cloudevents::id(event.headers()).unwrap_or_default().as_bytes()),
                Part::Kind => put(out, cloudevents::kind(event.headers()).unwrap_or_default().as_bytes()),
            }
        }
    }

    fn time(&self, event: &Event, format: &str) -> String {
        let at = event.timestamp().and_then(|at| Timestamp::from_millisecond(at).ok());
        at.and_then(|at| strftime(format, at.to_zoned(self.zone.clone())).ok()).unwrap_or_default()
    }
}

fn strftime(format: &str, at: Zoned) -> Result<String, String> {
    jiff::fmt::strtime::format(format, &at).map_err(|error| error.to_string())
}

fn verb(rest: &mut std::str::Chars<'_>) -> Result<Part, String> {
    let Some(verb) = rest.next() else { return Err("the template ends with a lone '%'".into()) };
    let mut braces = |example: &str| {
        let inner = rest.as_str().strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (inner, after) = inner
            .filter(|(inner, _)| !inner.is_empty())
            .ok_or_else(|| format!("%{verb} needs braces and what stands in them: {example}"))?;
        *rest = after.chars();
        Ok::<_, String>(inner.to_owned())
    };
    Ok(match verb {
        't' => Part::Topic,
        'p' => Part::Partition,
        'o' => Part::Position,
        'k' => Part::Key,
        'K' => Part::KeyLength,
        's' => Part::Payload,
        'S' => Part::PayloadLength,
        'R' => Part::PayloadFrame,
        'T' => Part::Millis,
        'h' => Part::Headers,
        'i' => Part::Id,
        'y' => Part::Kind,
        'H' => Part::Header(braces("%H{tenant}")?),
        'd' => {
            let format = braces("%d{%H:%M:%S}")?;
            strftime(&format, Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
                .map_err(|error| format!("%d{{{format}}}: {error}"))?;
            Part::Time(format)
        }
        other => return Err(format!("no verb is called '%{other}'")),
    })
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits =
                rest.as_str().get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            *rest = rest.as_str().get(2..).unwrap_or_default().chars();
            byte.ok_or_else(|| "\\x needs two hex digits: \\x00".into())
        }
        Some(other) => Err(format!("no escape is called '\\{other}'")),
        None => Err("the template ends with a lone '\\'".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeaderValue, Headers, HeadersBuf, Name, Position};

    fn printed(template: &str, clean: bool) -> Vec<u8> {
        let mut headers = HeadersBuf::default();
        headers.push_str("ce_type", "order.placed");
        headers.push_str("ce_id", "7");
        headers.push(b"none", HeaderValue::Null);
        headers.push(b"n", HeaderValue::Int(5));
        let mut batch = Batch::default();
        let place = Position::At { partition: 3, offset: 881 };
        let (topic, at) = (Name::from("orders"), Some(1_700_000_000_532));
        batch.push(&topic, Some(b"A-17"), headers.as_headers(), Some(b"a\x07\nb"), at, place);
        batch.push(&topic, None, Headers::default(), None, None, Position::Offset(4));
        let template = Template::parse(template, || TimeZone::UTC).unwrap();
        let mut out = Vec::new();
        batch.finish().iter().for_each(|event| template.event(&mut out, event, clean));
        out
    }

    #[test]
    fn every_verb() {
        let all = r"%t %p %o %k %K %S %T %h %H{n} %i %y %d{%Y-%m-%d %H:%M:%S%.3f} 100%%\t\x41\\\n";
        assert_eq!(
            String::from_utf8(printed(all, false)).unwrap(),
            "orders 3 881 A-17 4 4 1700000000532 ce_type=order.placed,ce_id=7,none=NULL,n=5 5 7 order.placed \
             2023-11-14 22:13:20.532 100%\tA\\\norders -1 4  -1 -1 -1      100%\tA\\\n"
        );
        assert_eq!(printed("%R%s;", false), b"\0\0\0\x04a\x07\nb;\xff\xff\xff\xff;");
        assert_eq!(printed("%s;\\x07", true), b"a\\x07\nb;\x07;\x07", "what the user wrote is his business");
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (template, names) in [
            ("%q", "%q"),
            ("%", "lone '%'"),
            ("\\", "lone '\\'"),
            ("\\q", "\\q"),
            ("\\x4", "\\x needs"),
            ("\\xé", "\\x needs"),
            ("%d", "%d needs braces"),
            ("%d{%J}", "%d{%J}"),
            ("%H{x", "%H needs braces"),
            ("%H{}", "%H needs braces"),
        ] {
            let failure = Template::parse(template, || TimeZone::UTC).err().unwrap();
            assert!(failure.message.contains(names), "{template}: {}", failure.message);
        }
    }
}
