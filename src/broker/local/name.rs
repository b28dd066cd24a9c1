//! Which names a topic or group may have: nearly all.

use crate::broker::{Error, Kind, Result};

/// The longest name, in bytes.
const LONGEST: usize = 255;
/// So many characters of a refused name are told.
const SHOWN: usize = 40;

/// Refuses an empty name, a longer one, and one with control characters; spaces, slashes and quotes are legal. `what` is
/// `topic` or `group`.
pub fn check(operation: &'static str, what: &str, name: &str) -> Result<()> {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    let refuse = |message: String, hint: &str| {
        Err(Error::new(Kind::Invalid, operation, format!("{what} '{shown}'"), message).with_hint(hint))
    };
    if name.is_empty() {
        return refuse("the name is empty".into(), "give it at least one character");
    }
    if name.len() > LONGEST {
        let message = format!("the name has {} bytes, at most {LONGEST} are allowed", name.len());
        return refuse(message, "a shorter name, and the rest in a header");
    }
    if name.chars().any(char::is_control) {
        return refuse(
            "the name has control characters".into(),
            "leave them out; spaces, slashes and quotes are fine",
        );
    }
    Ok(())
}

/// The same for a name that may be made: in a glob (`tail 'orders.*'`) these characters mean something else, and a topic
/// of that name is hardly what was meant. The dead-letter topic of a group has its name in it.
pub fn for_new(operation: &'static str, what: &str, name: &str) -> Result<()> {
    check(operation, what, name)?;
    match name.contains(['*', '?', '[', ']', '{', '}']) {
        false => Ok(()),
        true => Err(Error::new(
            Kind::Invalid,
            operation,
            format!("{what} '{name}'"),
            "a new name has none of * ? [ ] { }: they choose among topics that are there",
        )
        .with_hint("which there are: evcat topics list; one event into several: a loop of the shell")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_names_are_legal() {
        for name in ["orders", "a b/c'd\"e", "ä", &"x".repeat(255)] {
            assert!(check("send", "topic", name).is_ok(), "{name}");
        }
        for name in ["orders.*", "a?", "[ab]", "{a,b}"] {
            assert!(check("seek_group", "group", name).is_ok(), "one that is there already");
            assert_eq!(for_new("send", "topic", name).unwrap_err().kind(), Kind::Invalid, "{name}");
        }
        for name in ["", "a\nb", "\0", &"x".repeat(256), &"x".repeat(1000)] {
            let error = check("send", "topic", name).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
            assert!(error.to_string().len() < 200, "a long name is not repeated in full");
        }
    }
}
