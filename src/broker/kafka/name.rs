//! Which names a topic or group may have.

use crate::broker::{Error, Kind, Result};

/// The longest name of a topic: a directory of the broker is called so, with the partition behind it.
const LONGEST_TOPIC: usize = 249;
/// The longest name of a group that the protocol carries, in bytes.
const LONGEST_GROUP: usize = 32_767;
/// So many characters of a refused name are told.
const SHOWN: usize = 40;

/// Refuses what the broker would refuse, and in words.
pub fn topic(operation: &'static str, name: &str) -> Result<()> {
    let hint = "letters, digits, '.', '_' and '-', at most 249 of them";
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || matches!(name, "." | "..") {
        return Err(refuse(operation, "topic", name, "is no name of a topic in Kafka".into(), hint));
    }
    if let Some(bad) = name.chars().find(|c| !legal(*c)) {
        let message = format!("{bad:?} is not allowed in the name of a topic in Kafka");
        return Err(refuse(operation, "topic", name, message, hint));
    }
    if name.len() > LONGEST_TOPIC {
        let message = format!("the name has {} characters, at most {LONGEST_TOPIC} are allowed", name.len());
        return Err(refuse(operation, "topic", name, message, hint));
    }
    Ok(())
}

/// Refuses an empty name, one with control characters and one that the protocol cannot carry; all else is legal.
pub fn group(operation: &'static str, name: &str) -> Result<()> {
    let hint = "a short name of plain characters, such as billing";
    if name.is_empty() {
        return Err(refuse(operation, "group", name, "the name of the group is empty".into(), hint));
    }
    if name.chars().any(char::is_control) {
        let message = "the name of the group has control characters".into();
        return Err(refuse(operation, "group", name, message, hint));
    }
    if name.len() > LONGEST_GROUP {
        let message = format!("the name has {} bytes, at most {LONGEST_GROUP} are allowed", name.len());
        return Err(refuse(operation, "group", name, message, hint));
    }
    Ok(())
}

fn refuse(operation: &'static str, what: &str, name: &str, message: String, hint: &str) -> Error {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    Error::new(Kind::Invalid, operation, format!("{what} '{shown}'"), message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_called_as_kafka_allows() {
        for name in ["orders", "a.b_c-D9", &"x".repeat(249), "..."] {
            assert!(topic("send", name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            let error = topic("send", name).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
            assert!(error.detail().message.len() > 10 && error.to_string().len() < 200, "{error}");
        }
    }

    #[test]
    fn groups_are_called_nearly_anything() {
        for name in ["billing", "a b/c", "日本語", &"x".repeat(1000)] {
            assert!(group("create_group", name).is_ok(), "{name}");
        }
        for name in ["", "a\nb", "a\0"] {
            assert_eq!(group("create_group", name).unwrap_err().kind(), Kind::Invalid, "{name:?}");
        }
    }
}
