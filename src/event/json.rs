//! The few things about JSON text that must be fast: is it JSON, and a string in quotes.

/// Deeper than this it is carried as text: many readers overflow or refuse beyond 128, and the line adds one.
const MAX_DEPTH: u32 = 127;

/// Whether these bytes can stand in a canonical line as they are: one valid JSON value (strings with whole surrogate
/// pairs), without line breaks or outer white space, not nested too deeply, and not `null`. Needs no stack and no memory.
pub(crate) fn embeddable(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(b'{' | b'[' | b'"' | b't' | b'f' | b'-' | b'0'..=b'9') => {}
        _ => return false,
    }
    let mut scan = Scan { bytes, at: 0 };
    scan.value() == Some(()) && scan.at == bytes.len() && std::str::from_utf8(bytes).is_ok()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Spaces and tabs: a line break anywhere outside a string would break the line.
    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// One value. Open brackets are bits of a word, 1 for an object.
    fn value(&mut self) -> Option<()> {
        let (mut objects, mut depth) = (0u128, 0u32);
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    if depth == MAX_DEPTH {
                        return None;
                    }
                    depth += 1;
                    objects = objects << 1 | u128::from(open == b'{');
                    self.space();
                    // `}` and `]` lie two after their openers; an empty pair is closed below.
                    if self.peek()? != open + 2 {
                        if open == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => {
                    if depth == 0 {
                        return None;
                    }
                    self.word(b"null")?;
                }
                _ => self.number()?,
            }
            // A value has ended, or an empty bracket is about to.
            loop {
                if depth == 0 {
                    return Some(());
                }
                self.space();
                let object = objects & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        self.space();
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// A member's name, the colon, and the space round it.
    #[inline]
    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.eat(b':')?;
        self.space();
        Some(())
    }

    #[inline]
    fn string(&mut self) -> Option<()> {
        self.eat(b'"')?;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.hex()? {
                0xd800..0xdc00 => {
                    self.word(b"\\u")?;
                    matches!(self.hex()?, 0xdc00..0xe000).then_some(())
                }
                0xdc00..0xe000 => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |n, digit| Some(n << 4 | char::from(*digit).to_digit(16)?))
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }
}

/// How many bytes from the start need no escape: eight at a time, then one by one.
#[inline]
pub(crate) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // A byte of `word` is below `n`, or zero with `n` 1; bytes from 0x80 on never are.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let word = u64::from_le_bytes(word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        let found = below(word, 0x20) | below(quote, 1) | below(slash, 1);
        if found != 0 {
            // Borrows run upwards only, so the lowest bit that is set is right.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    bytes[at..].iter().position(special).map_or(bytes.len(), |n| at + n)
}

/// Appends the text in quotes.
#[inline]
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let run = plain(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(&byte) = rest.get(run) else { break };
        rest = &rest[run + 1..];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees(bytes: &[u8]) {
        let line_break = bytes.iter().any(|b| matches!(b, b'\n' | b'\r'));
        let outer = bytes.trim_ascii() != bytes;
        let valid = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
        let expected = valid && !line_break && !outer && bytes != b"null";
        assert_eq!(embeddable(bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn knows_json_from_what_looks_like_it() {
        for text in [
            "{}",
            "[]",
            "[ ]",
            "{\t}",
            "[1,2]",
            "[1,]",
            "[,1]",
            "[,]",
            "{,}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1 2]",
            "[1",
            "]",
            "{]",
            "[}",
            "[[],{}]",
            "[{\"a\":[]}]",
            "[1]]",
            "null",
            "[null]",
            "true",
            "tru",
            "truex",
            "false",
            "-",
            "-0",
            "01",
            "1.",
            "1.5e",
            "1.5e+3",
            "1e400",
            "0.1",
            "\"",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83dx\"",
            "\"\\x\"",
            "\"\t\"",
            "\"a\nb\"",
            "[1,\n2]",
            " 1",
            "1 ",
            "",
            "NaN",
            "{\"a\":1,\"a\":2}",
            "{ \"a\" : 1 , \"b\" : [ ] }",
            "[1}",
            "{\"a\":{}}",
            "{\"a\":[],\"b\":{}}",
            "{\"a\" 1}",
            "\"é\"",
            "[\"x\",]",
            "[[,]]",
            "[[],]",
        ] {
            agrees(text.as_bytes());
        }
        agrees(b"\"\xff\"");
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(embeddable(&nested(127)));
        assert!(!embeddable(&nested(128)));
        assert!(!embeddable(&nested(10_000_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(text in r#"[\[\]{},:"\\u0d8n1-9.eE+ \ttruefalsn-]{0,12}"#) {
            agrees(text.as_bytes());
        }

        #[test]
        fn any_string_comes_back(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert!(embeddable(&out));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
