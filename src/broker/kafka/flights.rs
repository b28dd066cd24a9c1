//! What was sent and is not yet answered: which receipt a delivery report belongs to.
//!
//! Every event gets a number, which the library carries round and gives back in its report. Numbers rise over all calls of
//! `send`, so the flight of a number is found by where its numbers begin.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;

use tokio::sync::oneshot;

use super::error::Trouble;
use crate::broker::{Error, Receipt, Result};
use crate::event::{Events, Position};

/// What became of one call of `send`.
pub struct Landed {
    /// One for each event; of those in `failed` a filler.
    pub receipts: Vec<Result<Receipt>>,
    /// What was not stored, by its place in the call.
    pub failed: Vec<(usize, Failed)>,
    /// Frees what the library read from until now.
    pub events: Events,
}

/// Why an event was not stored.
pub enum Failed {
    /// It was not taken.
    Refused(Error),
    /// It was taken, and then this. `stored`: the request left, so it may have been stored all the same.
    Reported {
        /// As the library said it.
        trouble: Trouble,
        /// Perhaps stored.
        stored: bool,
    },
}

/// One call of `send`.
struct Flight {
    /// The number of its first event.
    first: usize,
    landed: Landed,
    /// Events without an answer.
    open: usize,
    answer: Option<oneshot::Sender<Landed>>,
}

/// All of them.
#[derive(Default)]
pub struct Flights {
    /// Those that are answered stay until all before them are, so that numbers lie without gaps.
    all: VecDeque<Flight>,
    /// The number of the next event.
    next: usize,
    /// Where the last report belonged: the next one most often belongs there too.
    last: usize,
}

impl Flights {
    /// Whether everything is answered.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Numbers for these events from the one returned on, and where their answer will come.
    pub fn begin(&mut self, events: Events) -> (usize, oneshot::Receiver<Landed>) {
        let (answer, answered) = oneshot::channel();
        let (first, open) = (self.next, events.len());
        self.next = first.wrapping_add(open);
        let landed = Landed { receipts: Vec::with_capacity(open), failed: Vec::new(), events };
        self.all.push_back(Flight { first, landed, open, answer: Some(answer) });
        (first, answered)
    }

    /// The event of this number was stored here.
    #[inline]
    pub fn stored(&mut self, number: usize, position: Position) {
        let Some((flight, index)) = self.find(number) else { return };
        let (receipt, receipts) = (Ok(Receipt { position, duplicate: false }), &mut flight.landed.receipts);
        // Reports most often come in order.
        match index.cmp(&receipts.len()) {
            Ordering::Equal => receipts.push(receipt),
            Ordering::Less => receipts[index] = receipt,
            Ordering::Greater => {
                receipts.resize(index, filler());
                receipts.push(receipt);
            }
        }
        self.answered();
    }

    /// The event of this number was not stored.
    pub fn failed(&mut self, number: usize, why: Failed) {
        let Some((flight, index)) = self.find(number) else { return };
        flight.landed.failed.push((index, why));
        self.answered();
    }

    #[inline]
    fn find(&mut self, number: usize) -> Option<(&mut Flight, usize)> {
        let holds = |flight: &Flight| number.wrapping_sub(flight.first) < flight.landed.events.len();
        if !self.all.get(self.last).is_some_and(holds) {
            self.last = self.all.iter().position(holds)?;
        }
        let flight = &mut self.all[self.last];
        let index = number.wrapping_sub(flight.first);
        Some((flight, index))
    }

    /// One more event of the flight that was found last is answered.
    #[inline]
    fn answered(&mut self) {
        let flight = &mut self.all[self.last];
        flight.open -= 1;
        if flight.open == 0 {
            self.land();
        }
    }

    #[cold]
    fn land(&mut self) {
        let flight = &mut self.all[self.last];
        let empty = Landed { receipts: Vec::new(), failed: Vec::new(), events: Events::default() };
        let mut landed = std::mem::replace(&mut flight.landed, empty);
        landed.receipts.resize(landed.events.len(), filler());
        if let Some(answer) = flight.answer.take() {
            // Whoever dropped the future does not want to know.
            let _ = answer.send(landed);
        }
        while self.all.front().is_some_and(|flight| flight.open == 0) {
            self.all.pop_front();
            self.last = self.last.saturating_sub(1);
        }
    }
}

/// Stands where another will be put, or none: what failed is told apart.
fn filler() -> Result<Receipt> {
    Ok(Receipt { position: Position::Unknown, duplicate: false })
}

impl Drop for Flights {
    /// The library reads payloads where they lie until it has reported them, and goes on with that on its own threads
    /// when the runtime ends before: then they stay, as the process does not.
    fn drop(&mut self) {
        for flight in &mut self.all {
            let _ = ManuallyDrop::new(std::mem::take(&mut flight.landed.events));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Kind;
    use crate::event::{Event, Headers};

    fn events(count: usize) -> Events {
        let one = || Event::new(&"t".into(), None, Headers::default(), Some(b"p"), None, Position::Unknown);
        (0..count).map(|_| one()).collect()
    }

    fn at(offset: i64) -> Position {
        Position::At { partition: 0, offset }
    }

    #[test]
    fn reports_find_their_receipts_in_any_order() {
        let mut flights = Flights::default();
        let (a, mut in_a) = flights.begin(events(2));
        let (b, mut in_b) = flights.begin(events(3));
        for (number, offset) in [(b + 2, 7), (a, 1), (b, 5), (b + 1, 6)] {
            flights.stored(number, at(offset));
        }
        assert!(in_a.try_recv().is_err(), "one is missing");
        let offsets = |landed: Landed| -> Vec<_> {
            landed.receipts.into_iter().map(|receipt| receipt.unwrap().position).collect()
        };
        assert_eq!(offsets(in_b.try_recv().unwrap()), [at(5), at(6), at(7)]);
        assert!(!flights.is_empty(), "numbers lie without gaps");
        let refused = Error::new(Kind::Rejected, "send", "", "no");
        flights.failed(a + 1, Failed::Refused(refused));
        let landed = in_a.try_recv().unwrap();
        assert!(matches!(landed.failed[..], [(1, Failed::Refused(_))]));
        assert_eq!(landed.receipts[0].as_ref().unwrap().position, at(1));
        assert!(flights.is_empty());
        let (c, mut in_c) = flights.begin(events(1));
        flights.stored(c, at(8));
        assert_eq!(offsets(in_c.try_recv().unwrap()), [at(8)]);
    }
}
