//! Events into bytes, in the format that was asked for.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

use super::human::Human;
use super::template::Template;
use super::{Style, Ui, indent, sanitize};
use crate::cli::{OutputArgs, OutputFormat};
use crate::event::{Event, Millis, frames, line};
use crate::outcome::Failure;

/// Appends events to a buffer, each complete with its line end.
pub struct Printer {
    format: Format,
    style: Style,
    pretty: bool,
    scratch: Vec<u8>,
}

enum Format {
    Human(Box<Human>),
    Json,
    Raw,
    Frames,
    Template(Template),
}

impl Printer {
    /// What was asked for; else human on a terminal and `piped` elsewhere. A bad template, and frames on a terminal,
    /// are refused.
    pub fn resolve(args: &OutputArgs, ui: &Ui, piped: OutputFormat) -> Result<Printer, Failure> {
        let OutputArgs { output, format, pretty } = args;
        let style = ui.out;
        let chosen = output.unwrap_or(if style.terminal { OutputFormat::Human } else { piped });
        if *pretty && (format.is_some() || chosen == OutputFormat::Frames) {
            let other = if format.is_some() { "-F" } else { "-o frames" };
            return Err(Failure::usage(format!("--pretty: {other} has nothing to indent"))
                .hint("it goes with -o human, json and raw"));
        }
        let format = match (format, chosen) {
            (Some(template), _) => Format::Template(Template::parse(template, TimeZone::system)?),
            (None, OutputFormat::Human) => Format::Human(Box::new(Human::new(style, *pretty, Arc::new(now)))),
            (None, OutputFormat::Json) => Format::Json,
            (None, OutputFormat::Raw) => Format::Raw,
            (None, OutputFormat::Frames) if style.terminal => {
                return Err(Failure::usage("-o frames: binary lengths are nothing for a terminal")
                    .hint("write to a file or a pipe, or: -o raw"));
            }
            (None, OutputFormat::Frames) => Format::Frames,
        };
        Ok(Printer { format, style, pretty: *pretty, scratch: Vec::new() })
    }

    /// Whether lines name the topic: there are several.
    pub fn show_topics(&mut self, several: bool) {
        if let Format::Human(human) = &mut self.format {
            human.topics = several;
        }
    }

    /// Says which events are about to be printed, so that columns are wide enough from the first on. Optional.
    pub fn prepare(&mut self, events: &[Event]) {
        if let Format::Human(human) = &mut self.format {
            human.prepare(events);
        }
    }

    /// Appends an event.
    #[inline]
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event) {
        self.event_with(out, event, &[]);
    }

    /// The same with further members of the canonical object, whose values are JSON; other formats leave them out.
    #[inline]
    pub fn event_with(&mut self, out: &mut Vec<u8>, event: &Event, extra: &[(&str, &str)]) {
        match &mut self.format {
            Format::Raw if !self.style.terminal && !self.pretty => {
                out.extend_from_slice(event.payload().unwrap_or_default());
                out.push(b'\n');
            }
            Format::Json if !self.style.terminal && !self.pretty => {
                line::write_with(out, event, extra);
                out.push(b'\n');
            }
            Format::Json => {
                self.scratch.clear();
                line::write_with(&mut self.scratch, event, extra);
                self.json(out);
            }
            Format::Raw => {
                let payload = event.payload().unwrap_or_default();
                if self.pretty && indent::is_json(payload) {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(payload);
                    return self.json(out);
                }
                self.text(out, payload);
            }
            Format::Human(human) => human.event(out, event),
            Format::Frames => frames::write(out, event.payload()),
            Format::Template(template) => template.event(out, event, self.style.terminal),
        }
    }

    /// Appends a result of `--select`, given as JSON: as it is with `-o json`, else strings without their quotes.
    pub fn value(&mut self, out: &mut Vec<u8>, json: &str) {
        self.scratch.clear();
        self.scratch.extend_from_slice(json.as_bytes());
        let text = match self.format {
            Format::Json => None,
            _ => serde_json::from_str::<String>(json).ok(),
        };
        match (&self.format, text) {
            (Format::Frames, text) => {
                let payload = text.as_deref().unwrap_or(json).as_bytes();
                frames::write(out, (json != "null").then_some(payload));
            }
            (_, Some(text)) => self.text(out, text.as_bytes()),
            (_, None) => self.json(out),
        }
    }

    /// The JSON in `scratch`, as this stream may have it.
    fn json(&mut self, out: &mut Vec<u8>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if self.pretty {
            let mut laid_out = Vec::with_capacity(scratch.len() * 2);
            indent::indent(&mut laid_out, &scratch, "");
            scratch = laid_out;
        }
        match std::str::from_utf8(&scratch) {
            Ok(text) if self.style.terminal => sanitize::json(out, text),
            _ => out.extend_from_slice(&scratch),
        }
        out.push(b'\n');
        self.scratch = scratch;
    }

    fn text(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self.style.terminal {
            true => out.extend_from_slice(sanitize::block(bytes).as_bytes()),
            false => out.extend_from_slice(bytes),
        }
        out.push(b'\n');
    }
}

/// Only for the date before a time that is not today's.
fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers, Name, Position};

    fn printer(output: Option<OutputFormat>, terminal: bool, pretty: bool) -> Result<Printer, Failure> {
        let out = Style { color: false, terminal };
        let ui = Ui::new(out, Style::default(), false, false, false, String::new());
        Printer::resolve(&OutputArgs { output, format: None, pretty }, &ui, OutputFormat::Raw)
    }

    fn printed(mut printer: Printer, payload: Option<&[u8]>) -> String {
        let mut batch = Batch::default();
        batch.push(&Name::from("t"), None, Headers::default(), payload, None, Position::Offset(1));
        let mut out = Vec::new();
        batch.finish().iter().for_each(|event| printer.event_with(&mut out, event, &[("failure", "{}")]));
        String::from_utf8_lossy(&out).into_owned()
    }

    const JSON: Option<OutputFormat> = Some(OutputFormat::Json);
    const RAW: Option<OutputFormat> = Some(OutputFormat::Raw);

    #[test]
    fn human_on_a_terminal_and_raw_on_a_pipe() {
        assert_eq!(printed(printer(None, true, false).unwrap(), Some(b"x")), "-  1  -  -  x\n");
        assert_eq!(printed(printer(None, false, false).unwrap(), Some(b"x\x1b")), "x\x1b\n");
        assert_eq!(printed(printer(RAW, true, false).unwrap(), Some(b"x\x1b")), "x\\x1b\n");
        assert!(printer(Some(OutputFormat::Frames), true, false).is_err());
    }

    #[test]
    fn json_stays_json_on_a_terminal_and_when_laid_out() {
        let payload = Some("\"\u{202e}\"".as_bytes());
        let plain = printed(printer(JSON, false, false).unwrap(), payload);
        assert!(plain.contains("\"payload\":\"\u{202e}\",\"failure\":{}}\n"), "{plain}");
        let clean = printed(printer(JSON, true, true).unwrap(), payload);
        assert!(clean.contains("\n  \"payload\": \"\\u202e\",\n"), "{clean}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&plain), value(&clean));
        assert_eq!(printed(printer(RAW, false, true).unwrap(), Some(b"[1.0]")), "[\n  1.0\n]\n");
    }

    #[test]
    fn selected_strings_lose_their_quotes_but_not_in_json() {
        let value = |output, json: &str| {
            let mut out = Vec::new();
            printer(output, false, false).unwrap().value(&mut out, json);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(value(RAW, "\"a\\nb\""), "a\nb\n");
        assert_eq!(value(RAW, "{\"a\":1.0}"), "{\"a\":1.0}\n");
        assert_eq!(value(JSON, "\"a\""), "\"a\"\n");
        assert_eq!(value(Some(OutputFormat::Frames), "\"a\""), "\0\0\0\u{1}a");
    }
}
