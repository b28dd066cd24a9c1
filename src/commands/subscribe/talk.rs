//! What is said on stderr while events are worked on.

use std::borrow::Cow;

use crate::event::{Event, Name};
use crate::flow::driver::{Ended, Progress, Report};
use crate::flow::lanes::{Death, Failure};
use crate::output::{sanitize, words};
use crate::session::Session;
use crate::settings::duration;

/// The longest text of one failure on the screen; the dead letter has all of it.
const WIDEST: usize = 160;

/// Says what happens.
pub struct Talk<'a> {
    pub session: &'a Session,
    /// Whether the topic is named.
    pub several: bool,
    pub max_attempts: u32,
    pub dead_letters: &'a [(Name, Name)],
}

impl Talk<'_> {
    pub fn progress(&mut self, progress: Progress<'_>) {
        let ui = &self.session.ui;
        match progress {
            Progress::Waiting { event, next, wait, failure } => {
                let (clock, place) = (self.clock(), self.place(event));
                let (word, wait) = (ui.err.warning("retry"), duration::short(wait));
                let what = sanitize::text(&failure.what);
                let line = format!("{what}, try {next} of {} in {wait}", self.max_attempts);
                ui.status(format_args!("{clock}  {word}  {place}  {line}{}", after_colon(failure)));
            }
            Progress::Dead { death: Death { event, attempts, failure }, receipt } => {
                let (clock, place) = (self.clock(), self.place(event));
                let word = ui.err.error("dead ");
                let tries = tries(*attempts);
                let why = match attempts {
                    0 | 1 => format!(", {}", one_line(failure)),
                    _ => String::new(),
                };
                let to = match receipt {
                    Some(receipt) => format!(" -> {} {}", self.dlq(event), receipt.position),
                    None => String::new(),
                };
                // Also under -q: which events died must be said somewhere.
                ui.line(format_args!("{clock}  {word}  {place}  {tries}{why}{to}"));
            }
        }
    }

    fn clock(&self) -> String {
        let now = self.session.now();
        self.session.ui.err.faint(&words::clock_seconds(now, now, &self.session.zone()))
    }

    /// `42  A-18`; with several topics `orders 42  A-18`.
    fn place(&self, event: &Event) -> String {
        let topic = if self.several { format!("{} ", event.topic()) } else { String::new() };
        let key = match event.key() {
            Some(key) => cut(&sanitize::text(&String::from_utf8_lossy(key))).into_owned(),
            None => "-".into(),
        };
        format!("{topic}{}  {}", event.position(), self.session.ui.err.key(&key))
    }

    fn dlq(&self, event: &Event) -> &str {
        self.dead_letters.iter().find(|(topic, _)| topic == event.topic()).map_or("-", |(_, dlq)| dlq)
    }
}

/// `1 try`, `5 tries`.
pub fn tries(attempts: u32) -> String {
    if attempts == 1 { "1 try".into() } else { format!("{attempts} tries") }
}

/// A failure on one line: what it was, and the last thing that was said about it.
pub fn one_line(failure: &Failure) -> String {
    format!("{}{}", sanitize::text(&failure.what), after_colon(failure))
}

fn after_colon(failure: &Failure) -> String {
    // Programs say first what they were doing and last what went wrong.
    match failure.text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(": {}", cut(&sanitize::text(line.trim()))),
        None => String::new(),
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// `stopped: 3 acked, 1 dead, 0 given back`; `done` where nobody had to stop it.
pub fn summary(session: &Session, report: &Report) {
    let word = match report.ended {
        Ended::Complete | Ended::Limit | Ended::Idle | Ended::TimeOver => "done",
        _ => "stopped",
    };
    let mut parts = vec![
        format!("{} acked", words::count(report.acked)),
        format!("{} dead", words::count(report.dead)),
        format!("{} given back", words::count(report.given_back)),
    ];
    if report.skipped > 0 {
        parts.push(format!("{} skipped", words::count(report.skipped)));
    }
    if report.lost > 0 {
        parts.push(format!("{} lost to another member", words::count(report.lost)));
    }
    session.ui.status(format_args!("{word}: {}", parts.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_cannot_act_on_a_terminal() {
        let failure = Failure::new("exit", "exit 1").said("Traceback:\n  deep\nValueError: \u{1b}[31mno\n\n");
        let line = one_line(&failure);
        assert!(line.starts_with("exit 1: ValueError: ") && !line.contains('\u{1b}'), "{line}");
        assert_eq!(one_line(&Failure::new("exit", "exit 1")), "exit 1");
        let long = one_line(&Failure::new("exit", "exit 1").said("ü".repeat(1000)));
        assert!(long.chars().count() < 200 && long.ends_with('…'), "{long}");
    }
}
