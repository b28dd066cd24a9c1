//! JSON laid out anew, token by token: numbers, duplicate keys and escapes stay as they were written.

/// Levels beyond this are not indented further, so that deep nesting does not print a square of spaces.
const MAX_LEVELS: usize = 64;

/// Whether this is JSON at all.
pub fn is_json(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// Appends JSON on many lines, two spaces to a level, each line but the first behind `margin`.
///
/// Requires: valid JSON.
pub fn indent(out: &mut Vec<u8>, json: &[u8], margin: &str) {
    let mut level = 0usize;
    let line = |out: &mut Vec<u8>, level: usize| {
        out.push(b'\n');
        out.extend_from_slice(margin.as_bytes());
        out.extend(std::iter::repeat_n(b' ', 2 * level.min(MAX_LEVELS)));
    };
    tokens(json, |token, next| match token {
        b"{" | b"[" => {
            level += 1;
            out.extend_from_slice(token);
            if !matches!(next, Some(b'}' | b']')) {
                line(out, level);
            }
        }
        b"}" | b"]" => {
            level = level.saturating_sub(1);
            if !matches!(out.last(), Some(b'{' | b'[')) {
                line(out, level);
            }
            out.extend_from_slice(token);
        }
        b"," => {
            out.push(b',');
            line(out, level);
        }
        b":" => out.extend_from_slice(b": "),
        _ => out.extend_from_slice(token),
    });
}

/// Appends JSON on one line.
///
/// Requires: valid JSON.
pub fn compact(out: &mut Vec<u8>, json: &[u8]) {
    tokens(json, |token, _| out.extend_from_slice(token));
}

/// Each token, and the first byte of the next.
fn tokens(json: &[u8], mut each: impl FnMut(&[u8], Option<u8>)) {
    let skip = |mut at: usize| {
        while json.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut at = skip(0);
    while let Some(&byte) = json.get(at) {
        let end = match byte {
            b'"' => string_end(json, at),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => at + 1,
            _ => {
                let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'}' | b']' | b':');
                json[at..].iter().position(ends).map_or(json.len(), |n| at + n.max(1))
            }
        };
        let next = skip(end);
        each(&json[at..end], json.get(next).copied());
        at = next;
    }
}

/// Where the string that begins here ends.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indented(json: &str) -> String {
        let mut out = Vec::new();
        indent(&mut out, json.as_bytes(), "");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tokens_stay_as_they_were_written() {
        let json = r#" {"a" : 1.50,"a":[ ],"s":"x\"}, {","o":{},"l":[1,[null]]} "#;
        let expected = "{\n  \"a\": 1.50,\n  \"a\": [],\n  \"s\": \"x\\\"}, {\",\n  \"o\": {},\n  \"l\": [\n    1,\n    \
                        [\n      null\n    ]\n  ]\n}";
        assert_eq!(indented(json), expected);
        let mut out = Vec::new();
        compact(&mut out, expected.as_bytes());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":1.50,"a":[],"s":"x\"}, {","o":{},"l":[1,[null]]}"#
        );
    }

    #[test]
    fn deep_nesting_prints_no_square_of_spaces() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(is_json(deep.as_bytes()));
        assert!(indented(&deep).len() < 10_000 * 300);
    }
}
