//! What a heap of dead letters has in common, counted in bounded memory.

use std::collections::{BTreeMap, HashMap};

use super::plan::Tally;
use super::{Letter, fingerprint};
use crate::event::Millis;

/// Counts over many letters.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Letters.
    pub total: u64,
    reasons: HashMap<String, Reason>,
    /// When they died.
    pub died: Histogram,
    /// The topics they came from; `None`: nobody says.
    pub origins: Tally<Option<String>>,
    /// The groups that gave them up.
    pub groups: Tally<Option<String>>,
    /// Tries made.
    pub tries: Tally<Option<u32>>,
    /// How often they had been put back.
    pub replays: Tally<u32>,
    /// Whose records they are.
    pub read_as: Tally<Option<&'static str>>,
}

/// One reason to die.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Its short name.
    pub fingerprint: String,
    /// Its words, without what differs from event to event; empty where nobody says why.
    pub words: String,
    /// Letters that died of it.
    pub count: u64,
}

impl Stats {
    /// One more.
    pub fn add(&mut self, letter: &Letter) {
        self.total += 1;
        match self.reasons.get_mut(&letter.fingerprint) {
            Some(reason) => reason.count += 1,
            None => {
                let fingerprint = letter.fingerprint.clone();
                let words = fingerprint::reason(letter.error.as_deref().unwrap_or_default());
                self.reasons.insert(fingerprint.clone(), Reason { fingerprint, words, count: 1 });
            }
        }
        if let Some(at) = letter.failed_at {
            self.died.add(at);
        }
        self.origins.add(letter.origin.topic.clone());
        self.groups.add(letter.group.clone());
        self.tries.add(letter.attempts);
        self.replays.add(letter.replays);
        self.read_as.add(letter.read_as);
    }

    /// The reasons, the most frequent first.
    pub fn reasons(&self) -> Vec<&Reason> {
        let mut all: Vec<_> = self.reasons.values().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        all
    }
}

/// Points in time, counted in cells that grow as the span does.
#[derive(Clone, Debug)]
pub struct Histogram {
    width: i64,
    cells: BTreeMap<i64, u64>,
    ends: Option<(Millis, Millis)>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { width: 1, cells: BTreeMap::new(), ends: None }
    }
}

/// More cells than any terminal is wide, so that a redistribution onto columns is fair.
const CELLS: usize = 4096;

impl Histogram {
    /// One more at this time.
    pub fn add(&mut self, at: Millis) {
        *self.cells.entry(at.div_euclid(self.width)).or_default() += 1;
        while self.cells.len() > CELLS {
            self.width *= 2;
            let cells = std::mem::take(&mut self.cells);
            for (cell, count) in cells {
                *self.cells.entry(cell.div_euclid(2)).or_default() += count;
            }
        }
        let (first, last) = self.ends.unwrap_or((at, at));
        self.ends = Some((first.min(at), last.max(at)));
    }

    /// The first and the last time.
    pub fn ends(&self) -> Option<(Millis, Millis)> {
        self.ends
    }

    /// The counts over so many equal parts of the span.
    pub fn columns(&self, columns: usize) -> Vec<u64> {
        let mut counts = vec![0; columns.max(1)];
        let Some((first, last)) = self.ends else { return counts };
        let span = (i128::from(last) - i128::from(first)).max(1);
        for (cell, count) in &self.cells {
            // The middle of a cell, kept within the span.
            let at = i128::from(*cell) * i128::from(self.width) + i128::from(self.width / 2);
            let into = (at - i128::from(first)).clamp(0, span);
            let column = (into * counts.len() as i128 / span).min(counts.len() as i128 - 1);
            counts[column as usize] += count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletter::Origin;

    fn letter(error: &str, failed_at: Option<Millis>) -> Letter {
        Letter {
            read_as: Some("evcat"),
            kind: Some("exit".into()),
            error: Some(error.into()),
            origin: Origin { topic: Some("orders".into()), ..Origin::default() },
            group: Some("shipping".into()),
            attempts: Some(5),
            handler: None,
            failed_at,
            replays: 0,
            run: None,
            of: None,
            fingerprint: fingerprint::of("exit", error),
        }
    }

    #[test]
    fn what_fails_alike_is_one_row() {
        let mut stats = Stats::default();
        for n in 0..10 {
            stats.add(&letter(&format!("exit 1: order {n} is late"), Some(n)));
        }
        stats.add(&letter("exit 65: no total", None));
        let rows: Vec<_> = stats.reasons().iter().map(|r| (r.words.clone(), r.count)).collect();
        assert_eq!(rows, [("exit 1: order # is late".into(), 10), ("exit 65: no total".into(), 1)]);
        assert_eq!((stats.total, stats.died.ends()), (11, Some((0, 9))));
    }

    #[test]
    fn a_histogram_keeps_every_count_and_few_cells() {
        let mut histogram = Histogram::default();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            histogram.add(random.i64(-1_000_000_000..1_000_000_000));
        }
        assert!(histogram.cells.len() <= CELLS);
        let columns = histogram.columns(10);
        assert_eq!(columns.iter().sum::<u64>(), 20_000);
        assert!(columns.iter().all(|count| (1700..2300).contains(count)), "{columns:?}");
    }

    #[test]
    fn one_moment_and_the_ends_of_time_are_no_trouble() {
        assert_eq!(Histogram::default().columns(3), [0, 0, 0]);
        let mut histogram = Histogram::default();
        histogram.add(7);
        assert_eq!(histogram.columns(3), [1, 0, 0]);
        histogram.add(Millis::MAX);
        histogram.add(Millis::MIN + 1);
        assert_eq!(histogram.columns(2).iter().sum::<u64>(), 3);
    }
}
