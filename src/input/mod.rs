//! Bytes in, events to publish out.
//!
//! The way: `reader` (a thread: files and stdin in large pieces) -> `split` (where one event ends, by format) -> `shape`
//! (key, headers, timestamp from the flags) -> a bounded queue of [`Chunk`]s. Nothing waits for more input than the event
//! needs: what a read returned leaves as soon as its last line, value or frame is complete.

mod json;
mod reader;
mod shape;
mod split;

pub use reader::{Input, Source};
pub use shape::{CloudEvent, Shape};
pub use split::Format;

use crate::event::{Event, Events};

/// Some events, in the order of the input, and what was not one.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The events.
    pub events: Events,
    /// Where each came from.
    pub places: Places,
    /// What could not be read as an event, in order.
    pub broken: Vec<Broken>,
    /// Blank lines that were skipped.
    pub blank: u64,
    /// Bytes of input that this was made of.
    pub bytes: u64,
}

/// Where events came from.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The file, where there are several.
    pub file: Option<String>,
    /// `line`, `value`, `frame`; empty where a file is one event.
    pub unit: &'static str,
    /// One number per event, from 1.
    pub numbers: Vec<u64>,
}

impl Places {
    /// The place of the event at this index, as messages name it: `line 17`, `a.jsonl line 17`, `a.json`;
    /// empty for an event that was read from nowhere.
    pub fn name(&self, index: usize) -> String {
        self.name_of(self.numbers.get(index).copied().unwrap_or_default())
    }

    /// The same for a number.
    pub fn name_of(&self, number: u64) -> String {
        match (&self.file, self.unit) {
            (None, "") => String::new(),
            (None, unit) => format!("{unit} {number}"),
            (Some(file), "") => file.clone(),
            (Some(file), unit) => format!("{file} {unit} {number}"),
        }
    }
}

/// Input that is no event.
#[derive(Debug)]
pub struct Broken {
    /// How many events of the chunk stand before it.
    pub before: usize,
    /// Its line, value or frame.
    pub number: u64,
    /// What is wrong with it.
    pub why: String,
    /// What stood there, as the payload of an event.
    pub raw: Event,
}
