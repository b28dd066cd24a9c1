//! Where one event ends and the next begins.

use std::ops::Range;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};

use super::json::{Scanner, Step};
use crate::event::frames::{Decoder, FrameError};

/// How the input is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One event per line.
    Lines,
    /// One event up to each of these.
    Delimiter(Vec<u8>),
    /// All of it is one event.
    Whole,
    /// JSON values, with white space between them or without.
    Json {
        /// The elements of a top-level array are an event each.
        each: bool,
    },
    /// Canonical event lines.
    Events,
    /// A big-endian 32-bit length before each, -1 for a tombstone.
    Frames,
}

impl Format {
    /// What its places are counted in.
    pub fn unit(&self) -> &'static str {
        match self {
            Format::Lines | Format::Events | Format::Json { .. } => "line",
            Format::Delimiter(_) => "item",
            Format::Whole => "",
            Format::Frames => "frame",
        }
    }
}

/// One thing found in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, counted from the start of what was given.
    pub range: Range<usize>,
    /// Its line, item or frame, from 1.
    pub number: u64,
    /// What it is.
    pub what: What,
}

impl Piece {
    /// Whether an event may be made of it.
    pub fn is_event(&self) -> bool {
        matches!(self.what, What::Bytes | What::Null)
    }
}

/// What a piece is.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A payload, or a canonical line.
    Bytes,
    /// A tombstone.
    Null,
    /// Nothing, to be counted.
    Blank,
    /// No event: why.
    Broken(String),
}

/// Takes one input apart.
pub struct Splitter {
    kind: Kind,
    /// The number of the piece that comes next; with JSON, of the line.
    number: u64,
    /// Bytes at the start of the next input that hold no end.
    scanned: usize,
}

enum Kind {
    Newline,
    Delimiter(Box<Finder<'static>>),
    Whole,
    Json(Json),
    Frames(Decoder),
}

#[derive(Default)]
struct Json {
    each: bool,
    /// In a top-level array, and whether a comma or its end must come first.
    array: Option<bool>,
    scanner: Option<Scanner>,
    /// After a broken value: what the next one must begin with, at the start of a line.
    resume: Option<Resume>,
}

#[derive(Clone, Copy)]
enum Resume {
    Bracket,
    Any,
}

/// A chunk is closed at so many events: it is the unit of the queue and of the window.
pub const MOST: usize = 8192;

impl Splitter {
    /// At the start of an input.
    pub fn new(format: &Format) -> Splitter {
        let kind = match format {
            Format::Lines | Format::Events => Kind::Newline,
            Format::Delimiter(delimiter) if delimiter == b"\n" => Kind::Newline,
            Format::Delimiter(delimiter) => Kind::Delimiter(Box::new(Finder::new(delimiter).into_owned())),
            Format::Whole => Kind::Whole,
            Format::Json { each } => Kind::Json(Json { each: *each, ..Json::default() }),
            Format::Frames => Kind::Frames(Decoder::default()),
        };
        Splitter { kind, number: 1, scanned: 0 }
    }

    /// Takes pieces off the start of `input`, at most [`MOST`], and says how many bytes they took. What is left is given
    /// again, with more behind it; `end` says that there is no more.
    pub fn take(&mut self, input: &[u8], end: bool, pieces: &mut Vec<Piece>) -> usize {
        match &mut self.kind {
            Kind::Newline => {
                let mut start = 0;
                for at in memchr_iter(b'\n', &input[self.scanned..]) {
                    let at = self.scanned + at;
                    pieces.push(piece(start..at, self.number));
                    self.number += 1;
                    start = at + 1;
                    if pieces.len() == MOST {
                        self.scanned = 0;
                        return start;
                    }
                }
                self.rest(start, input, end, 0, pieces)
            }
            Kind::Delimiter(finder) => {
                let mut start = 0;
                let length = finder.needle().len();
                let mut from = self.scanned;
                while let Some(at) = finder.find(&input[from..]) {
                    let at = from + at;
                    pieces.push(piece(start..at, self.number));
                    self.number += 1;
                    start = at + length;
                    from = start;
                    if pieces.len() == MOST {
                        self.scanned = 0;
                        return start;
                    }
                }
                self.rest(start, input, end, length - 1, pieces)
            }
            Kind::Whole if end => {
                pieces.push(Piece { range: 0..input.len(), number: 1, what: What::Bytes });
                input.len()
            }
            Kind::Whole => 0,
            Kind::Json(json) => json.take(input, end, &mut self.number, &mut self.scanned, pieces),
            Kind::Frames(decoder) => {
                let mut rest = input;
                while pieces.len() < MOST {
                    let number = self.number;
                    let before = input.len() - rest.len();
                    match decoder.take(&mut rest) {
                        Ok(None) if end => {
                            if let Err(error) = decoder.finish(rest) {
                                let what = What::Broken(framed(&error));
                                pieces.push(Piece { range: before..input.len(), number, what });
                            }
                            return input.len();
                        }
                        Ok(None) => break,
                        Ok(Some(payload)) => {
                            let used = input.len() - rest.len();
                            let what = if payload.is_some() { What::Bytes } else { What::Null };
                            pieces.push(Piece { range: before + 4..used, number, what });
                            self.number += 1;
                        }
                        Err(error) => {
                            // Nothing behind a wrong length can be told apart.
                            let what = What::Broken(framed(&error));
                            pieces.push(Piece { range: before..input.len(), number, what });
                            self.kind = Kind::Whole;
                            return input.len();
                        }
                    }
                }
                input.len() - rest.len()
            }
        }
    }

    /// Whether nothing of what may follow can be read any more.
    pub fn is_lost(&self, pieces: &[Piece]) -> bool {
        matches!(self.kind, Kind::Whole) && matches!(pieces.last(), Some(Piece { what: What::Broken(_), .. }))
    }

    /// What follows the last delimiter: an item of its own at the end, else to be given again.
    fn rest(
        &mut self,
        start: usize,
        input: &[u8],
        end: bool,
        overlap: usize,
        pieces: &mut Vec<Piece>,
    ) -> usize {
        if end && start < input.len() {
            pieces.push(piece(start..input.len(), self.number));
            self.number += 1;
            return input.len();
        }
        self.scanned = (input.len() - start).saturating_sub(overlap);
        start
    }
}

fn piece(range: Range<usize>, number: u64) -> Piece {
    let what = if range.is_empty() { What::Blank } else { What::Bytes };
    Piece { range, number, what }
}

impl Json {
    fn take(
        &mut self,
        input: &[u8],
        end: bool,
        line: &mut u64,
        scanned: &mut usize,
        pieces: &mut Vec<Piece>,
    ) -> usize {
        let mut start = 0;
        while pieces.len() < MOST {
            if let Some(resume) = self.resume {
                let Some(at) = memchr(b'\n', &input[start..]) else {
                    *scanned = 0;
                    return if end { input.len() } else { start };
                };
                // The first byte of the next line decides whether it may begin a value.
                let next = start + at + 1;
                match input.get(next) {
                    None if !end => {
                        *scanned = 0;
                        return start;
                    }
                    None => {}
                    Some(byte) => {
                        let bracket = matches!(byte, b'{' | b'[');
                        if bracket || matches!(resume, Resume::Any) && !byte.is_ascii_whitespace() {
                            self.resume = None;
                        }
                    }
                }
                *line += 1;
                start = next;
                continue;
            }
            if self.scanner.is_none() {
                let Some(first) = self.between(input, &mut start, line) else {
                    *scanned = 0;
                    if end && self.array.take().is_some() {
                        let why = "not JSON: the input ends within the array".into();
                        pieces.push(Piece { range: start..start, number: *line, what: What::Broken(why) });
                    }
                    return start;
                };
                if let Err(why) = first {
                    *scanned = 0;
                    match self.give_up(input, end, &mut start, *line, why, pieces) {
                        true => continue,
                        false => return start,
                    }
                }
                self.scanner = Some(Scanner::default());
                *scanned = 0;
            }
            let Some(scanner) = &mut self.scanner else { break };
            let mut step = scanner.scan(&input[start + *scanned..]);
            if step == Step::More && end && scanner.may_end() {
                step = Step::End(input.len() - start - *scanned);
            }
            match step {
                Step::More if !end => {
                    *scanned = input.len() - start;
                    return start;
                }
                Step::End(at) => {
                    let stop = start + *scanned + at;
                    let text = &input[start..stop];
                    if std::str::from_utf8(text).is_err() {
                        *scanned = 0;
                        match self.give_up(input, end, &mut start, *line, "not UTF-8".into(), pieces) {
                            true => continue,
                            false => return start,
                        }
                    }
                    pieces.push(Piece { range: start..stop, number: *line, what: What::Bytes });
                    *line += memchr_iter(b'\n', text).count() as u64;
                    start = stop;
                    self.scanner = None;
                    if let Some(comma) = &mut self.array {
                        *comma = true;
                    }
                }
                Step::More => {
                    self.scanner = None;
                    let why = "not JSON: the input ends within the value".into();
                    pieces.push(Piece { range: start..input.len(), number: *line, what: What::Broken(why) });
                    return input.len();
                }
                Step::Broken(at) => {
                    let place = start + *scanned + at;
                    let why = where_broken(input, start, place, *line);
                    *scanned = 0;
                    if !self.give_up(input, end, &mut start, *line, why, pieces) {
                        return start;
                    }
                }
            }
        }
        *scanned = 0;
        start
    }

    /// Goes to the first byte of the next value. `None`: it has not arrived.
    fn between(&mut self, input: &[u8], start: &mut usize, line: &mut u64) -> Option<Result<(), String>> {
        loop {
            let byte = *input.get(*start)?;
            match (byte, self.array) {
                (b'\n', _) => *line += 1,
                (b' ' | b'\t' | b'\r', _) => {}
                (b'[', None) if self.each => self.array = Some(false),
                (b']', Some(_)) => self.array = None,
                (b',', Some(true)) => self.array = Some(false),
                (_, Some(true)) => {
                    return Some(Err(format!("not JSON: {} where ',' or ']' should be", quoted(byte))));
                }
                _ => return Some(Ok(())),
            }
            *start += 1;
        }
    }

    /// Leaves the rest of this line out and goes on where a line begins as this one should have. False while the rest
    /// of the line has not arrived: it is looked at again then.
    fn give_up(
        &mut self,
        input: &[u8],
        end: bool,
        start: &mut usize,
        line: u64,
        why: String,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        self.scanner = None;
        let stop = match memchr(b'\n', &input[*start..]) {
            Some(at) => *start + at,
            None if end => input.len(),
            None => return false,
        };
        let bracket = matches!(input.get(*start), Some(b'{' | b'['));
        self.resume = Some(if bracket { Resume::Bracket } else { Resume::Any });
        self.array = None;
        pieces.push(Piece { range: *start..stop, number: line, what: What::Broken(why) });
        *start = stop;
        true
    }
}

/// The error without the number of the frame, which its place has.
fn framed(error: &FrameError) -> String {
    let text = error.to_string();
    text.split_once(" at ").map_or(text.clone(), |(_, rest)| format!("at {rest}"))
}

fn where_broken(input: &[u8], start: usize, place: usize, line: u64) -> String {
    let before = &input[start..place];
    let found = input.get(place).map_or("the end".into(), |byte| quoted(*byte));
    match memchr::memrchr(b'\n', before) {
        None => format!("not JSON: {found} at byte {} of the value", before.len() + 1),
        Some(at) => {
            let line = line + memchr_iter(b'\n', before).count() as u64;
            format!("not JSON: {found} at line {line}, column {}", before.len() - at)
        }
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b' '..=b'~' => format!("'{}'", char::from(byte)),
        b'\n' => "a line break".into(),
        b'\t' => "a tab".into(),
        _ => format!("the byte 0x{byte:02x}"),
    }
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
