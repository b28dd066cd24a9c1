//! What came from a broker is hostile on a terminal: control, bidi and zero-width characters are escaped there.

use std::borrow::Cow;
use std::fmt::Write;

/// Text as a terminal may have it, on one line.
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut clean, c));
    Cow::Owned(clean)
}

/// Bytes as a terminal may have them: line breaks and tabs do what they always do, the rest that acts, and what is not
/// UTF-8, is escaped.
pub fn block(bytes: &[u8]) -> Cow<'_, str> {
    let harmless = |c: char| matches!(c, '\n' | '\t') || !acts(c);
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(harmless)
    {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if harmless(c) { clean.push(c) } else { push(&mut clean, c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(clean, "\\x{byte:02x}");
        }
    }
    Cow::Owned(clean)
}

/// JSON as a terminal may have it, and still JSON: what acts can only stand in a string, and becomes `\u202e`.
pub fn json(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| acts(*c) && !matches!(c, '\n' | '\t')) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
}

fn push(clean: &mut String, c: char) {
    match c {
        '\n' => clean.push_str("\\n"),
        '\r' => clean.push_str("\\r"),
        '\t' => clean.push_str("\\t"),
        c if !acts(c) => clean.push(c),
        c if (c as u32) < 256 => {
            let _ = write!(clean, "\\x{:02x}", c as u32);
        }
        c => {
            let _ = write!(clean, "\\u{{{:x}}}", c as u32);
        }
    }
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

    #[test]
    fn a_block_keeps_its_lines_and_shows_what_is_no_text() {
        assert_eq!(block(b"a\n\tb\r\x1b\xff"), "a\n\tb\\r\\x1b\\xff");
        assert!(matches!(block("é\n".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_json() {
        let mut out = Vec::new();
        json(&mut out, "{\"a\":\"\u{202e}x\u{e0001}\u{9b}\"}");
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":"\u202ex\udb40\udc01\u009b"}"#);
    }
}
