//! What a group has settled of a partition: all before a base, and beyond it some.
//!
//! Kafka keeps one offset of a group and partition, and a text with it. The offset is the base; what is settled beyond
//! it goes into the text, so that a restart repeats only what was not settled. A commit by somebody else (`groups seek`,
//! another program) replaces the text, and what it says with it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

/// The most a broker takes as it comes (`offset.metadata.max.bytes`), counted in UTF-16 units; ours are ASCII.
pub const LONGEST: usize = 4096;
/// What our texts begin with: whose they are, and the version. Then `r` for runs or `b` for bits, and base64.
const PREFIX: &str = "evcat1";
/// As many bytes fit behind that.
const ROOM: usize = (LONGEST - PREFIX.len() - 1) / 4 * 3;
/// As many offsets beyond the base can be told of one by one.
const BITS: i64 = ROOM as i64 * 8;
/// One more hole takes no more bytes of runs than this, in any place.
const HOLE: usize = 12;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holes {
    base: i64,
    /// First offset and end of each settled range, all beyond the base, none touching another.
    settled: BTreeMap<i64, i64>,
}

impl Holes {
    /// As it was committed. Another's text says nothing to us.
    pub fn read(base: i64, text: &[u8]) -> Holes {
        let mut holes = Holes { base, settled: BTreeMap::new() };
        let ranges = std::str::from_utf8(text).ok().and_then(|text| ranges(text.strip_prefix(PREFIX)?));
        for (gap, len) in ranges.unwrap_or_default() {
            let from = holes.end() + gap;
            holes.settle(from, from + len);
        }
        holes
    }

    /// All before it is settled, and it is not.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// Behind the last that is settled.
    pub fn end(&self) -> i64 {
        self.settled.last_key_value().map_or(self.base, |(_, end)| *end)
    }

    /// Whether this one is settled.
    pub fn has(&self, offset: i64) -> bool {
        offset < self.base || self.settled.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// How many from the first to before the end are settled.
    pub fn count(&self, first: i64, end: i64) -> u64 {
        let both = |from: i64, until: i64| (until.min(end) - from.max(first)).max(0) as u64;
        both(first, self.base) + self.settled.iter().map(|(from, until)| both(*from, *until)).sum::<u64>()
    }

    /// Settles these: handled, or known not to exist.
    pub fn settle(&mut self, mut from: i64, mut end: i64) {
        if from <= self.base {
            self.base = self.base.max(end);
        } else if from < end {
            if let Some((before, until)) = self.settled.range(..=from).next_back().map(|(a, b)| (*a, *b))
                && until >= from
            {
                (from, end) = (before, end.max(until));
            }
            while let Some((next, until)) = self.settled.range(from..=end).next().map(|(a, b)| (*a, *b)) {
                self.settled.remove(&next);
                end = end.max(until);
            }
            self.settled.insert(from, end);
        }
        while let Some(first) = self.settled.first_entry()
            && *first.key() <= self.base
        {
            self.base = self.base.max(*first.get());
            first.remove();
        }
    }

    /// How many from `next` on may be handed out so that, in whatever order they are settled, all of it can be told.
    /// `open`: so many are handed out already.
    pub fn room(&self, next: i64, open: usize) -> usize {
        match usize::try_from(BITS - (next - self.base)) {
            Ok(room @ 1..) => room,
            _ => (ROOM.saturating_sub(self.runs().len()) / HOLE).saturating_sub(open),
        }
    }

    /// The text to be committed with the base, at most so long. What it has no room for comes again after a restart.
    pub fn text(&self, longest: usize) -> String {
        if self.settled.is_empty() {
            return String::new();
        }
        let (mut kind, mut bytes) = ('r', self.runs());
        if self.end() - self.base <= BITS && ((self.end() - self.base) as usize).div_ceil(8) < bytes.len() {
            (kind, bytes) = ('b', self.bits());
        }
        let text = format!("{PREFIX}{kind}{}", BASE64.encode(bytes));
        // More than `room` gives, or a broker that takes less than usual.
        if text.len() > longest {
            return self.clone().shorter().text(longest);
        }
        text
    }

    /// Without the last tenth of its ranges.
    fn shorter(mut self) -> Holes {
        for _ in 0..self.settled.len().div_ceil(10) {
            self.settled.pop_last();
        }
        self
    }

    /// Of each range the distance from the one before and its length, 7 bits to a byte.
    fn runs(&self) -> Vec<u8> {
        let (mut bytes, mut at) = (Vec::new(), self.base);
        for (from, end) in &self.settled {
            put(&mut bytes, (from - at) as u64);
            put(&mut bytes, (end - from) as u64);
            at = *end;
        }
        bytes
    }

    /// A bit for each offset from the base on, the lowest first.
    fn bits(&self) -> Vec<u8> {
        let mut bytes = vec![0; ((self.end() - self.base) as usize).div_ceil(8)];
        for (from, end) in &self.settled {
            for bit in (from - self.base) as usize..(end - self.base) as usize {
                bytes[bit / 8] |= 1 << (bit % 8);
            }
        }
        bytes
    }
}

/// Distance and length of each range. `None`: not ours after all.
fn ranges(text: &str) -> Option<Vec<(i64, i64)>> {
    let (kind, text) = text.split_at_checked(1)?;
    let bytes = BASE64.decode(text).ok()?;
    let mut ranges = Vec::new();
    match kind {
        "r" => {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                ranges.push((take(&mut rest)?, take(&mut rest)?));
            }
        }
        "b" => {
            let is_set = |bit: usize| bytes[bit / 8] & 1 << (bit % 8) != 0;
            let (mut at, all) = (0, bytes.len() * 8);
            while let Some(from) = (at..all).find(|bit| is_set(*bit)) {
                let end = (from..all).find(|bit| !is_set(*bit)).unwrap_or(all);
                ranges.push(((from - at) as i64, (end - from) as i64));
                at = end;
            }
        }
        _ => return None,
    }
    Some(ranges)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A distance or a length: never 0, and small enough that no sum of a text's overflows.
fn take(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0;
    for shift in (0..49).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= i64::from(byte & 127) << shift;
        if byte < 128 {
            return (number > 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn holes(base: i64, settled: &[(i64, i64)]) -> Holes {
        let mut holes = Holes::read(base, b"");
        settled.iter().for_each(|(from, end)| holes.settle(*from, *end));
        holes
    }

    #[test]
    fn the_base_moves_over_what_is_settled() {
        let mut it = holes(10, &[(12, 13), (14, 20)]);
        assert_eq!((it.base(), it.has(11), it.has(12), it.has(13), it.end()), (10, false, true, false, 20));
        assert_eq!((it.count(0, 100), it.count(9, 15), it.count(12, 13), it.count(30, 40)), (17, 3, 1, 0));
        it.settle(10, 11);
        assert_eq!(it.base(), 11);
        it.settle(11, 12);
        assert_eq!(it.base(), 13);
        it.settle(13, 14);
        assert_eq!((it.base(), it.text(LONGEST).as_str()), (20, ""));
    }

    #[test]
    fn what_others_wrote_says_nothing() {
        let foreign = [
            &b"consumer-1"[..],
            b"",
            b"\xff\xfe",
            b"evcat1",
            b"evcat1x",
            b"evcat1r!!",
            b"evcat1rgICAgICAgICA",
            b"evcat2rAQE",
        ];
        for text in foreign {
            assert_eq!(Holes::read(5, text), holes(5, &[]), "{text:?}");
        }
    }

    #[test]
    fn there_is_room_as_long_as_all_can_be_told_in_the_worst_order() {
        let mut it = holes(0, &[]);
        let (mut next, mut open) = (0, BTreeSet::new());
        let mut random = fastrand::Rng::with_seed(7);
        // The first is never settled, the others at random, as many as may be are handed out.
        for _ in 0..400 {
            let most = it.room(next, open.len()).min(1000 - open.len());
            open.extend(next..next + most as i64);
            next += most as i64;
            for offset in open.clone().into_iter().skip(1) {
                if random.u8(..) < 100 {
                    open.remove(&offset);
                    it.settle(offset, offset + 1);
                }
            }
            let text = it.text(LONGEST);
            assert!(text.len() <= LONGEST, "{}", text.len());
            assert_eq!(Holes::read(it.base(), text.as_bytes()), it);
        }
        assert!(next > 2 * BITS, "it goes on beyond what bits can tell: {next}");
    }

    #[test]
    fn what_cannot_be_told_is_left_out() {
        let mut it = holes(0, &[]);
        (0..20_000).for_each(|i| it.settle(1 + i * 300, 2 + i * 300));
        let text = it.text(LONGEST);
        assert!(text.len() <= LONGEST);
        let told = Holes::read(0, text.as_bytes());
        assert!(
            told.settled.len() > 500
                && told.settled.iter().all(|range| it.settled.get(range.0) == Some(range.1))
        );
    }

    #[test]
    fn a_broker_that_takes_less_is_told_less() {
        let mut it = holes(0, &[]);
        (0..500).for_each(|i| it.settle(1 + i * 3, 2 + i * 3));
        for longest in [4096, 512, 100, 20, 5, 0] {
            let text = it.text(longest);
            assert!(text.len() <= longest);
            let told = Holes::read(0, text.as_bytes());
            assert!(told.settled.iter().all(|(from, end)| it.settled.get(from) == Some(end)), "{longest}");
            assert_eq!(told.settled.is_empty(), longest < 20, "{longest}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_offsets(settles in prop::collection::vec((0i64..300, 0i64..40), 0..60)) {
            let mut it = Holes::read(20, b"");
            let mut all: BTreeSet<i64> = (0..20).collect();
            for (from, len) in settles {
                it.settle(from, from + len);
                all.extend(from..from + len);
            }
            // What is below the base is settled, whoever said so.
            let first = (20..).find(|offset| !all.contains(offset)).unwrap_or_default();
            prop_assert_eq!(it.base(), first);
            (0..400).try_for_each(|offset| { prop_assert_eq!(it.has(offset), offset < 20 || all.contains(&offset)); Ok(()) })?;
            let text = it.text(LONGEST);
            prop_assert_eq!(Holes::read(it.base(), text.as_bytes()), it);
        }
    }
}
