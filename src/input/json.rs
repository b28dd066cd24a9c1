//! Where a JSON value ends, found out while its bytes arrive, and whether it is JSON at all.
//!
//! A broken value must be noticed where it breaks: one missing brace would else swallow a million good lines.

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// The value ends before this byte.
    End(usize),
    /// It breaks at this byte.
    Broken(usize),
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`: a value or `]`.
    FirstValue,
    /// After `{`: a name or `}`.
    FirstName,
    Name,
    Colon,
    /// After a value in a list or object.
    Next,
    String {
        name: bool,
    },
    Escape {
        name: bool,
    },
    Hex {
        name: bool,
        left: u8,
    },
    Word {
        rest: &'static [u8],
    },
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

/// One value, byte by byte.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Open brackets, true for an object. A list and not a stack of calls: depth costs a byte and not a frame.
    open: Vec<bool>,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { state: State::Value, open: Vec::new() }
    }
}

impl Scanner {
    /// Goes on with these bytes; the first call begins at the value's first byte.
    pub fn scan(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while at < bytes.len() {
            if let State::String { .. } = self.state {
                at += crate::event::json::plain(&bytes[at..]);
                if at == bytes.len() {
                    break;
                }
            }
            match self.step(bytes[at]) {
                Some(Took::Byte) => at += 1,
                Some(Took::Last) => return Step::End(at + 1),
                Some(Took::Before) => return Step::End(at),
                None => return Step::Broken(at),
            }
        }
        Step::More
    }

    /// Whether the input may end here: only a number has no end of its own.
    pub fn may_end(&self) -> bool {
        let number = matches!(
            self.state,
            State::Number(Number::Zero | Number::Whole | Number::Fraction | Number::Exponent)
        );
        number && self.open.is_empty()
    }

    fn step(&mut self, byte: u8) -> Option<Took> {
        use State::*;
        match self.state {
            Value | FirstValue => match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b'{' => {
                    self.open.push(true);
                    self.state = FirstName;
                }
                b'[' => {
                    self.open.push(false);
                    self.state = FirstValue;
                }
                b']' if self.state == FirstValue => return Some(self.close()),
                b'"' => self.state = String { name: false },
                b't' => self.state = Word { rest: b"rue" },
                b'f' => self.state = Word { rest: b"alse" },
                b'n' => self.state = Word { rest: b"ull" },
                b'-' => self.state = Number(self::Number::Sign),
                b'0' => self.state = Number(self::Number::Zero),
                b'1'..=b'9' => self.state = Number(self::Number::Whole),
                _ => return None,
            },
            FirstName | Name => match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b'"' => self.state = String { name: true },
                b'}' if self.state == FirstName => return Some(self.close()),
                _ => return None,
            },
            Colon => match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b':' => self.state = Value,
                _ => return None,
            },
            Next => match (byte, self.open.last()?) {
                (b' ' | b'\t' | b'\n' | b'\r', _) => {}
                (b',', true) => self.state = Name,
                (b',', false) => self.state = Value,
                (b'}', true) | (b']', false) => return Some(self.close()),
                _ => return None,
            },
            String { name } => match byte {
                b'"' if name => self.state = Colon,
                b'"' => return Some(self.ended()),
                b'\\' => self.state = Escape { name },
                0..=0x1f => return None,
                _ => {}
            },
            Escape { name } => match byte {
                b'u' => self.state = Hex { name, left: 4 },
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.state = String { name },
                _ => return None,
            },
            Hex { name, left } if byte.is_ascii_hexdigit() => {
                self.state = if left > 1 { Hex { name, left: left - 1 } } else { String { name } };
            }
            Hex { .. } => return None,
            Word { rest } => match rest {
                [next] if *next == byte => return Some(self.ended()),
                [next, rest @ ..] if *next == byte => self.state = Word { rest },
                _ => return None,
            },
            Number(number) => {
                use self::Number::*;
                self.state = Number(match (number, byte) {
                    (Sign, b'0') => Zero,
                    (Sign, b'1'..=b'9') | (Whole, b'0'..=b'9') => Whole,
                    (Zero | Whole, b'.') => Point,
                    (Point | Fraction, b'0'..=b'9') => Fraction,
                    (Zero | Whole | Fraction, b'e' | b'E') => E,
                    (E, b'+' | b'-') => ESign,
                    (E | ESign | Exponent, b'0'..=b'9') => Exponent,
                    (Zero | Whole | Fraction | Exponent, _) if self.open.is_empty() => {
                        // At the top a number needs room after it, or `1x` would be a 1.
                        let ends = matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']');
                        return ends.then_some(Took::Before);
                    }
                    (Zero | Whole | Fraction | Exponent, _) => {
                        self.state = Next;
                        return self.step(byte);
                    }
                    _ => return None,
                });
            }
        }
        Some(Took::Byte)
    }

    fn close(&mut self) -> Took {
        self.open.pop();
        self.ended()
    }

    fn ended(&mut self) -> Took {
        self.state = State::Next;
        if self.open.is_empty() { Took::Last } else { Took::Byte }
    }
}

enum Took {
    Byte,
    Last,
    /// The value ended before this byte.
    Before,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end_of(text: &str) -> Step {
        Scanner::default().scan(text.as_bytes())
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        assert_eq!(end_of("{\"a\":[1,{}]} {"), Step::End(12));
        assert_eq!(end_of("\"a\\\"\" 1"), Step::End(5));
        assert_eq!(end_of("12 "), Step::End(2));
        assert_eq!(end_of("12"), Step::More);
        assert_eq!(end_of("true1"), Step::End(4));
    }

    #[test]
    fn it_breaks_where_it_breaks() {
        assert_eq!(end_of("{\"a\": 1\n{\"b\":2}"), Step::Broken(8));
        assert_eq!(end_of("[1,]"), Step::Broken(3));
        assert_eq!(end_of("1x"), Step::Broken(1));
        assert_eq!(end_of("\"a\nb\""), Step::Broken(2));
        assert_eq!(end_of("oops"), Step::Broken(0));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_however_it_is_cut(
            text in "[\\[\\]{}\",:\\\\ 0-9eE.+ntfalsrue-]{1,14}",
            cut in 0usize..14,
        ) {
            let text = text.trim().to_owned() + " ";
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut scanner = Scanner::default();
            let step = match scanner.scan(first) {
                Step::More => match scanner.scan(second) {
                    Step::End(at) => Step::End(at + first.len()),
                    other => other,
                },
                other => other,
            };
            let whole = matches!(step, Step::End(at) if bytes[at..].trim_ascii().is_empty());
            // A lone surrogate passes here: the bytes are published as they were written.
            let serde = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
            prop_assert_eq!(whole, serde, "{} {:?}", text, step);
        }
    }
}
