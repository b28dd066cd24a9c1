//! Headers packed in wire order: duplicates and nulls are legal and kept.
//!
//! Per header: varint length of the name, name, one type byte, varint length of the value, value. Nothing is decoded
//! until somebody looks; the local broker stores the same bytes.

use std::borrow::Cow;

use super::Millis;

/// The value of a header. Kafka, NATS and Redis know bytes and null; the other types are AMQP's and SQS's, so that a
/// typed header survives the canonical line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeaderValue<'a> {
    /// A header without a value, which is not an empty one.
    Null,
    /// Bytes, most often UTF-8.
    Bytes(&'a [u8]),
    /// A signed integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A point in time.
    Time(Millis),
    /// A nested table or list, as JSON.
    Table(&'a str),
}

impl<'a> HeaderValue<'a> {
    /// The bytes of a bytes header; other types have none.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            HeaderValue::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes that a broker without types carries, as a person would type the value; a header without a value has none.
    pub fn to_text(self) -> Option<Cow<'a, [u8]>> {
        let text = match self {
            HeaderValue::Null => return None,
            HeaderValue::Bytes(bytes) => return Some(bytes.into()),
            HeaderValue::Table(json) => return Some(json.as_bytes().into()),
            HeaderValue::Int(n) => n.to_string(),
            HeaderValue::Float(n) => n.to_string(),
            HeaderValue::Bool(yes) => yes.to_string(),
            HeaderValue::Time(at) => at.to_string(),
        };
        Some(text.into_bytes().into())
    }

    /// The text of a bytes header that is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Header names are bytes on some wires; where one is not UTF-8 it is carried as it is, so a name is bytes here too.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Reads packed headers. A damaged tail ends the iteration; blocks are checked by their checksum before.
    #[inline]
    pub fn packed(bytes: &'a [u8]) -> Headers<'a> {
        Headers(bytes)
    }

    /// The packed form, to be stored as it is.
    #[inline]
    pub fn as_packed(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Name and value, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], HeaderValue<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let name = take(&mut rest)?;
            let (&kind, after) = rest.split_first()?;
            rest = after;
            let value = take(&mut rest)?;
            Some((name, decode(kind, value)?))
        })
    }

    /// The last value of that name: later headers win, as with Kafka's `lastHeader`.
    pub fn last(self, name: &str) -> Option<HeaderValue<'a>> {
        self.iter().filter(|(n, _)| *n == name.as_bytes()).last().map(|(_, value)| value)
    }

    /// The last value of that name as text.
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.last(name)?.as_str()
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(n, v)| (String::from_utf8_lossy(n), v))).finish()
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut len = 0usize;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        len |= ((byte & 127) as usize) << shift;
        if byte < 128 {
            let (value, after) = rest.split_at_checked(len)?;
            *rest = after;
            return Some(value);
        }
    }
    None
}

fn decode(kind: u8, value: &[u8]) -> Option<HeaderValue<'_>> {
    let word = || value.try_into().ok().map(i64::from_le_bytes);
    Some(match kind {
        0 => HeaderValue::Null,
        1 => HeaderValue::Bytes(value),
        2 => HeaderValue::Int(word()?),
        3 => HeaderValue::Float(f64::from_bits(word()? as u64)),
        4 => HeaderValue::Bool(value == [1]),
        5 => HeaderValue::Time(word()?),
        6 => HeaderValue::Table(std::str::from_utf8(value).ok()?),
        _ => return None,
    })
}

/// Headers being put together.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeadersBuf(Vec<u8>);

impl HeadersBuf {
    /// Adds a header after those that are there; a name may stand more than once.
    pub fn push(&mut self, name: &[u8], value: HeaderValue<'_>) {
        self.put(name);
        let (kind, word) = match value {
            HeaderValue::Null => (0, None),
            HeaderValue::Bytes(bytes) => {
                self.0.push(1);
                return self.put(bytes);
            }
            HeaderValue::Table(json) => {
                self.0.push(6);
                return self.put(json.as_bytes());
            }
            HeaderValue::Bool(yes) => {
                self.0.push(4);
                return self.put(&[yes as u8]);
            }
            HeaderValue::Int(n) => (2, Some(n)),
            HeaderValue::Float(n) => (3, Some(n.to_bits() as i64)),
            HeaderValue::Time(at) => (5, Some(at)),
        };
        self.0.push(kind);
        match word {
            Some(word) => self.put(&word.to_le_bytes()),
            None => self.put(&[]),
        }
    }

    /// Adds a header whose value is text.
    pub fn push_str(&mut self, name: &str, value: &str) {
        self.push(name.as_bytes(), HeaderValue::Bytes(value.as_bytes()));
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Headers<'_>) {
        self.0.extend_from_slice(other.as_packed());
    }

    /// Empties it and keeps its room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is there so far.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }

    fn put(&mut self, bytes: &[u8]) {
        let mut len = bytes.len();
        while len >= 128 {
            self.0.push(len as u8 | 128);
            len >>= 7;
        }
        self.0.push(len as u8);
        self.0.extend_from_slice(bytes);
    }
}

impl std::fmt::Debug for HeadersBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_headers().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_duplicates_nulls_and_types_survive() {
        let long = vec![b'x'; 300];
        let all = [
            (&b"a"[..], HeaderValue::Bytes(b"1")),
            (b"a", HeaderValue::Null),
            (b"", HeaderValue::Bytes(b"")),
            (b"\xff", HeaderValue::Bytes(&long)),
            (b"i", HeaderValue::Int(-7)),
            (b"f", HeaderValue::Float(0.5)),
            (b"b", HeaderValue::Bool(true)),
            (b"t", HeaderValue::Time(1_700_000_000_000)),
            (b"o", HeaderValue::Table("{\"a\":1}")),
        ];
        let mut buf = HeadersBuf::default();
        all.iter().for_each(|(name, value)| buf.push(name, *value));
        assert_eq!(buf.as_headers().iter().collect::<Vec<_>>(), all);
        assert_eq!(buf.as_headers().last("a"), Some(HeaderValue::Null), "the last one wins");
    }

    #[test]
    fn a_damaged_tail_ends_the_list() {
        let mut buf = HeadersBuf::default();
        buf.push_str("a", "1");
        buf.push_str("b", "2");
        let bytes = buf.as_headers().as_packed();
        for cut in 0..bytes.len() {
            assert!(Headers::packed(&bytes[..cut]).iter().count() <= 1);
        }
    }
}
