//! Colour by meaning, decided once per stream.
//!
//! `colored` decides globally, so it is forced on at start and asked only behind the flag of a stream.

use colored::{ColoredString, Colorize};

/// How one stream is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether escapes are written.
    pub color: bool,
    /// Whether a person reads it: what came from a broker is then sanitised.
    pub terminal: bool,
}

impl Style {
    fn paint(self, text: &str, paint: impl FnOnce(&str) -> ColoredString) -> String {
        if self.color { paint(text).to_string() } else { text.to_owned() }
    }

    /// What failed.
    pub fn error(self, text: &str) -> String {
        self.paint(text, |t| t.red().bold())
    }

    /// What may need care.
    pub fn warning(self, text: &str) -> String {
        self.paint(text, |t| t.yellow())
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint(text, |t| t.green())
    }

    /// What to do next.
    pub fn hint(self, text: &str) -> String {
        self.paint(text, |t| t.cyan())
    }

    /// The head of a table.
    pub fn heading(self, text: &str) -> String {
        self.paint(text, |t| t.bold())
    }

    /// The key of an event.
    pub fn key(self, text: &str) -> String {
        self.paint(text, |t| t.cyan())
    }

    /// The type of an event.
    pub fn kind(self, text: &str) -> String {
        self.paint(text, |t| t.magenta())
    }

    /// What is there but not the point: times, positions.
    pub fn faint(self, text: &str) -> String {
        self.paint(text, |t| t.dimmed())
    }
}
