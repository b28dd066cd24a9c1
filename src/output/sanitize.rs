//! What came from a broker is hostile on a terminal: control, bidi and zero-width characters are escaped there.

use std::borrow::Cow;
use std::fmt::Write;

/// Text as a terminal may have it, on one line.
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if acts(c) && (c as u32) < 256 => {
                let _ = write!(clean, "\\x{:02x}", c as u32);
            }
            c if acts(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", c as u32);
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Whether a character does something to a terminal or to its reader instead of being seen: C0, DEL, C1, zero-width,
/// bidi controls (Trojan Source, CVE-2021-42574), line and paragraph separators, tags.
pub fn acts(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_and_the_rest_untouched() {
        assert_eq!(text("a\x1b[31mb\n"), "a\\x1b[31mb\\n");
        assert_eq!(text("\u{202e}evil\u{200b}"), "\\u{202e}evil\\u{200b}");
        assert_eq!(text("\u{9b}31m"), "\\x9b31m");
        assert!(matches!(text("Grüße, 日本 🎉"), Cow::Borrowed(_)));
    }
}
