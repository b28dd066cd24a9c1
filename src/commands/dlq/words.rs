//! The phrases that several screens share.

use std::time::Duration;

use crate::broker::TopicInfo;
use crate::deadletter::{Letter, Origin};
use crate::event::{Millis, Position};
use crate::output::words;
use crate::settings::duration;

/// `1 dead letter`, `40,000 dead letters`.
pub fn dead_letters(count: u64) -> String {
    many(count, "dead letter")
}

/// `1 thing`, `40,000 things`.
pub fn many(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", words::count(count), if count == 1 { "" } else { "s" })
}

/// What is not there is a dash.
pub fn or_dash(text: Option<impl Into<String>>) -> String {
    text.map_or_else(|| "-".into(), Into::into)
}

/// `orders 3:881`.
pub fn origin(origin: &Origin) -> String {
    match (&origin.topic, &origin.position) {
        (None, _) => "-".into(),
        (Some(topic), Position::Unknown) => topic.clone(),
        (Some(topic), position) => format!("{topic} {position}"),
    }
}

/// The handler that failed on it, where it can be typed again as it stands: not a worker, which reads lines and would take
/// a payload for nothing, nor a program whose arguments were left out of the record. A bare word is neither, and cannot
/// do anything else in the shell it is pasted into.
pub fn handler(letter: &Letter) -> Option<&str> {
    letter.handler.as_deref().filter(|handler| words::shell_quoted(handler) == *handler)
}

/// How long until what was stored at `oldest` expires: `6d17h`, `14h (!)` within a day; `-` where nothing does.
pub fn expires(info: &TopicInfo, oldest: Option<Millis>, now: Millis) -> String {
    let (Some(kept), Some(oldest)) = (info.kept_for, oldest) else { return "-".into() };
    let left = (oldest + kept.as_millis() as Millis - now).max(0) as u64;
    let short = duration::short(Duration::from_millis(left));
    if left < 86_400_000 { format!("{short} (!)") } else { short }
}

/// The text of the failure in one line; what is known of it, if that is not all.
pub fn error(letter: &Letter) -> String {
    match (&letter.error, &letter.kind) {
        (Some(error), _) => crate::deadletter::fingerprint::headline(error).into_owned(),
        (None, Some(kind)) => kind.clone(),
        (None, None) => "-".into(),
    }
}

/// Text of an event, for a table: at most so many characters.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.into(),
    }
}

/// A key in a table.
pub fn key(key: Option<&[u8]>) -> String {
    match key {
        None => "-".into(),
        Some(key) => match std::str::from_utf8(key) {
            Ok(text) => short(text, 40),
            Err(_) => format!("({} B)", key.len()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_within_a_day_is_marked() {
        let info = TopicInfo { kept_for: Some(Duration::from_secs(7 * 86_400)), ..TopicInfo::default() };
        let hour = 3_600_000;
        assert_eq!(expires(&info, Some(0), 7 * hour), "6d17h");
        assert_eq!(expires(&info, Some(0), 7 * 24 * hour - 14 * hour), "14h (!)");
        assert_eq!(expires(&info, Some(0), 9 * 24 * hour), "0s (!)");
        assert_eq!(expires(&info, None, 0), "-");
        assert_eq!(expires(&TopicInfo::default(), Some(0), 0), "-");
    }

    #[test]
    fn a_long_cell_is_cut_by_characters() {
        assert_eq!((short("abc", 3), short("äöüß", 3)), ("abc".into(), "äö…".into()));
        assert_eq!(key(Some(b"\xff\x00")), "(2 B)");
    }
}
