//! Events in a row: format 1.
//!
//! One format byte, crc32c (u32, little endian) of all that follows, the timestamp of the first event (i64), then the
//! events. Each is four varints (difference to that timestamp, zigzag; lengths + 1 of key, headers and payload, 0 for
//! none), then the three byte strings. SQLite does not see a flipped byte in a payload; the checksum does.

use crate::event::{Event, Millis, Slice};

/// A block ends before it would outgrow this, so that the row fits one page of 16 KiB without an overflow chain.
pub const FULL: usize = 16_000;

/// Format, checksum, first timestamp.
const HEAD: usize = 13;

/// Events as they are stored.
pub struct Block {
    /// How many, 1 or more.
    pub n: i64,
    /// Their highest timestamp.
    pub peak: Millis,
    /// The row's `data`.
    pub bytes: Vec<u8>,
}

impl Block {
    /// One event alone: what a put-back is stored as.
    pub fn of(event: &Event, timestamp: Millis) -> Block {
        let mut blocks = Blocks::default();
        blocks.push(event, timestamp);
        blocks.finish().remove(0)
    }
}

/// Puts events into as few blocks as they fit.
#[derive(Default)]
pub struct Blocks {
    done: Vec<Block>,
    bytes: Vec<u8>,
    n: i64,
    base: Millis,
    peak: Millis,
}

impl Blocks {
    /// Adds an event after those that are there. An event that outgrows a block has one of its own.
    pub fn push(&mut self, event: &Event, timestamp: Millis) {
        let packed = event.headers().as_packed();
        let parts = [event.key(), (!packed.is_empty()).then_some(packed), event.payload()];
        // 4 varints of at most 10 bytes.
        if self.n > 0 && self.bytes.len() + event.size() + 40 > FULL {
            self.seal();
        }
        if self.n == 0 {
            (self.base, self.peak) = (timestamp, timestamp);
            // After a full block another is likely, and growing to it would copy its bytes six times.
            let likely = if self.done.is_empty() { 256 } else { FULL };
            self.bytes = Vec::with_capacity((HEAD + event.size() + 40).max(likely));
            self.bytes.extend_from_slice(&[1, 0, 0, 0, 0]);
            self.bytes.extend_from_slice(&timestamp.to_le_bytes());
        }
        let delta = timestamp.wrapping_sub(self.base);
        put(&mut self.bytes, ((delta << 1) ^ (delta >> 63)) as u64);
        for part in parts {
            put(&mut self.bytes, part.map_or(0, |part| part.len() as u64 + 1));
        }
        for part in parts.into_iter().flatten() {
            self.bytes.extend_from_slice(part);
        }
        self.n += 1;
        self.peak = self.peak.max(timestamp);
    }

    /// Ends the block that is being filled, so that the next event begins another.
    pub fn seal(&mut self) {
        if self.n > 0 {
            let mut bytes = std::mem::take(&mut self.bytes);
            let sum = checksum(&bytes[5..]);
            bytes[1..5].copy_from_slice(&sum.to_le_bytes());
            self.done.push(Block { n: self.n, peak: self.peak, bytes });
            self.n = 0;
        }
    }

    /// Adds blocks that were made elsewhere, behind what is there.
    pub fn append(&mut self, others: Blocks) {
        self.seal();
        self.done.extend(others.finish());
    }

    /// Those that have ended.
    pub fn sealed(&self) -> &[Block] {
        &self.done
    }

    /// All of them.
    pub fn finish(mut self) -> Vec<Block> {
        self.seal();
        self.done
    }
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Not what was written.
    Checksum,
    /// Written by a version that we do not know.
    Format(u8),
    /// Its sum holds and its events do not end where it does: a bug of the writer.
    Shape,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Checksum => f.write_str("the checksum does not match"),
            Damage::Format(format) => write!(f, "unknown block format {format}"),
            Damage::Shape => f.write_str("its events do not fill it"),
        }
    }
}

/// Where an event's parts lie in the bytes of its block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// When it happened.
    pub timestamp: Millis,
    /// Null is no key.
    pub key: Slice,
    /// Packed; null is none.
    pub headers: Slice,
    /// Null is a tombstone.
    pub payload: Slice,
}

/// Reads the events of a block, in order. It ends after the last, or at once with [`Damage::Shape`].
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    base: Millis,
}

impl<'a> Entries<'a> {
    /// Checks the block first.
    pub fn open(bytes: &'a [u8]) -> Result<Entries<'a>, Damage> {
        let (Some(sum), Some(base)) = (word(bytes, 1), word(bytes, 5)) else { return Err(Damage::Checksum) };
        let &format = bytes.first().ok_or(Damage::Checksum)?;
        if checksum(&bytes[5..]) != u32::from_le_bytes(sum) {
            return Err(Damage::Checksum);
        }
        if format != 1 {
            return Err(Damage::Format(format));
        }
        Ok(Entries { bytes, at: HEAD, base: i64::from_le_bytes(base) })
    }

    #[inline]
    fn entry(&mut self) -> Option<Entry> {
        let [delta, lengths @ ..] = self.numbers()?;
        let delta = (delta >> 1) as i64 ^ -((delta & 1) as i64);
        let size = |length: u64| length.saturating_sub(1);
        let all = lengths.into_iter().fold(0, |all: u64, length| all.saturating_add(size(length)));
        if all > (self.bytes.len() - self.at) as u64 {
            return None;
        }
        let [key, headers, payload] = lengths.map(|length| match length {
            0 => Slice::NULL,
            length => {
                let from = self.at;
                self.at += size(length) as usize;
                Slice::new(from..self.at)
            }
        });
        Some(Entry { timestamp: self.base.wrapping_add(delta), key, headers, payload })
    }
}

impl Entries<'_> {
    /// The four before an event's bytes. Of a small event each is a single byte: then all are there at once.
    #[inline]
    fn numbers(&mut self) -> Option<[u64; 4]> {
        if let Some(bytes) = word::<4>(self.bytes, self.at)
            && u32::from_le_bytes(bytes) & 0x8080_8080 == 0
        {
            self.at += 4;
            return Some(bytes.map(u64::from));
        }
        let mut next = || get(self.bytes, &mut self.at);
        Some([next()?, next()?, next()?, next()?])
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Damage>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let entry = self.entry().ok_or(Damage::Shape);
        if entry.is_err() {
            self.at = self.bytes.len();
        }
        Some(entry)
    }
}

/// crc32c. With the processor's own instruction it is ten times as fast, but to ask whether there is one costs 60 us
/// where the processor is a virtual one: as much as a publish of one event can save.
fn checksum(bytes: &[u8]) -> u32 {
    const BY_TABLE: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    match bytes.len() < 2048 {
        true => BY_TABLE.checksum(bytes),
        false => crc32c::crc32c(bytes),
    }
}

/// A hash of 63 bits that is written to the file, so it never changes: of a key, and of an event's id in its topic.
pub fn hash(bytes: &[u8]) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 32;
    }
    (hash >> 1) as i64
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[inline]
fn get(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Batch, HeaderValue, HeadersBuf, Name, Position};

    type Plain = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, i64);

    fn event((key, header, payload, at): &Plain) -> Event {
        let mut headers = HeadersBuf::default();
        if let Some(header) = header {
            headers.push(header, HeaderValue::Null);
        }
        let (topic, mut batch): (Name, _) = ("t".into(), Batch::default());
        batch.push(
            &topic,
            key.as_deref(),
            headers.as_headers(),
            payload.as_deref(),
            Some(*at),
            Position::Unknown,
        );
        batch.finish()[0].clone()
    }

    type Stored = (Millis, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

    fn all(blocks: &[Block]) -> Vec<Stored> {
        let mut all = vec![];
        for block in blocks {
            for entry in Entries::open(&block.bytes).unwrap() {
                let entry = entry.unwrap();
                let part = |part: Slice| part.of(&block.bytes).map(<[u8]>::to_vec);
                all.push((entry.timestamp, part(entry.key), part(entry.headers), part(entry.payload)));
            }
        }
        all
    }

    fn part() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            Just(vec![7; 9_000]),
            Just(vec![0; 20_000])
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out(plain in proptest::collection::vec((part(), part(), part(), any::<i64>()), 1..30)) {
            let mut blocks = Blocks::default();
            let events: Vec<Event> = plain.iter().map(event).collect();
            for (event, plain) in events.iter().zip(&plain) {
                blocks.push(event, plain.3);
            }
            let blocks = blocks.finish();
            prop_assert_eq!(blocks.iter().map(|b| b.n).sum::<i64>(), plain.len() as i64);
            prop_assert_eq!(blocks.iter().map(|b| b.peak).max(), plain.iter().map(|p| p.3).max());
            prop_assert!(blocks.iter().all(|b| b.n == 1 || b.bytes.len() <= FULL), "a row of several fits a page");
            for (out, (event, plain)) in all(&blocks).iter().zip(events.iter().zip(&plain)) {
                prop_assert_eq!(out.0, plain.3);
                prop_assert_eq!(out.1.as_deref(), event.key());
                prop_assert_eq!(out.2.as_deref().unwrap_or_default(), event.headers().as_packed());
                prop_assert_eq!(out.3.as_deref(), event.payload());
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let block = Block::of(&event(&(Some(b"k".to_vec()), None, Some(b"payload".to_vec()), 5)), 5);
        for bit in 0..block.bytes.len() * 8 {
            let mut bytes = block.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Entries::open(&bytes).is_err(), "bit {bit}");
        }
        for cut in 0..block.bytes.len() {
            assert!(Entries::open(&block.bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn short_and_long_blocks_have_the_same_checksum() {
        // https://reveng.sourceforge.io/crc-catalogue/all.htm#crc.cat.crc-32-iscsi
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        for len in [0, 1, 2047, 2048, 5000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            assert_eq!(checksum(&bytes), crc32c::crc32c(&bytes), "{len}");
        }
    }

    #[test]
    fn the_hash_is_what_it_always_was() {
        assert_eq!(hash(b""), (0xcbf2_9ce4_8422_2325_u64 >> 1) as i64);
        assert!(hash(b"A-17") >= 0);
        assert_ne!(hash(b"a"), hash(b"a\0"), "the length counts");
    }
}
