//! A publisher with a bounded window: what is unconfirmed is counted in events and in bytes, and what comes back is in
//! the order it was sent.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;

use crate::broker::{Error, Kind, Publisher, Receipt, Result};
use crate::event::{Event, Events};

/// How much may be unconfirmed at a time. A batch larger than this in bytes goes alone.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Events; the same number as [`PublishOptions::in_flight`](crate::broker::PublishOptions).
    pub events: usize,
    /// Bytes of keys, headers and payloads.
    pub bytes: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { events: 50_000, bytes: 6 << 20 }
    }
}

/// What became of some events that were pushed together.
#[derive(Debug)]
pub struct Confirmed<T> {
    /// What the caller gave with them.
    pub tag: Arc<T>,
    /// Where the first of them stood in what was pushed together.
    pub offset: usize,
    /// How many events were pushed before the first of them, over the whole outbox.
    pub index: u64,
    /// The events, in the order they were pushed.
    pub events: Events,
    /// One for each event.
    pub receipts: Vec<Result<Receipt>>,
    /// What the events count in the window.
    bytes: usize,
}

impl<T> Confirmed<T> {
    /// Each event with its place among all events of the outbox, and what became of it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Event, &Result<Receipt>)> {
        let rows = self.events.iter().zip(&self.receipts).enumerate();
        rows.map(|(i, (event, receipt))| (self.index + i as u64, event, receipt))
    }
}

/// Events on their way to a broker. `T` is whatever the caller wants back with a batch: where it came from.
///
/// Dropping it does not unsend anything; [`finish`](Outbox::finish) waits for every answer.
pub struct Outbox<T = ()> {
    publisher: Box<dyn Publisher>,
    window: Window,
    flights: FuturesOrdered<BoxFuture<'static, Confirmed<T>>>,
    events: usize,
    bytes: usize,
    pushed: u64,
}

impl<T: Send + Sync + 'static> Outbox<T> {
    /// Nothing is sent yet.
    pub fn new(publisher: Box<dyn Publisher>, window: Window) -> Outbox<T> {
        let window = Window { events: window.events.min(publisher.enough()), ..window };
        Outbox { publisher, window, flights: FuturesOrdered::new(), events: 0, bytes: 0, pushed: 0 }
    }

    /// Whether so much more may be sent now.
    pub fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.flights.is_empty()
            || (self.events + events <= self.window.events && self.bytes + bytes <= self.window.bytes)
    }

    /// Whether every event has been answered.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Events that have not been answered yet.
    pub fn in_flight(&self) -> usize {
        self.events
    }

    /// Sends at once, without a look at the window: the caller asked [`has_room`](Outbox::has_room), and took
    /// [`next`](Outbox::next) until there was. For loops that wait for more than room.
    ///
    /// Requires: no more events than the window holds.
    pub fn send(&mut self, events: Events, tag: T) {
        let bytes = events.size();
        self.send_part(events, bytes, Arc::new(tag), 0);
    }

    fn send_part(&mut self, events: Events, bytes: usize, tag: Arc<T>, offset: usize) {
        if events.is_empty() {
            return;
        }
        let index = self.pushed;
        self.pushed += events.len() as u64;
        self.events += events.len();
        self.bytes += bytes;
        let receipts = self.publisher.send(events.clone());
        self.flights.push_back(Box::pin(async move {
            let mut receipts = receipts.await;
            // A backend that answers too little has not said that the rest failed either.
            let silent = || Err(Error::new(Kind::InDoubt, "send", "", "no answer; it may have arrived"));
            receipts.resize_with(events.len(), silent);
            Confirmed { tag, offset, index, events, receipts, bytes }
        }));
    }

    /// What became of the oldest events that were not answered yet; `None` where none are left. Cancel safe.
    pub async fn next(&mut self) -> Option<Confirmed<T>> {
        let confirmed = self.flights.next().await?;
        self.events -= confirmed.events.len();
        self.bytes -= confirmed.bytes;
        Some(confirmed)
    }

    /// Sends events as soon as the window has room; what is confirmed meanwhile is handed to `each`.
    ///
    /// Not cancel safe: a caller that also waits for something else uses [`send`](Outbox::send).
    pub async fn push(&mut self, events: Events, tag: T, mut each: impl FnMut(Confirmed<T>)) {
        let tag = Arc::new(tag);
        let most = self.window.events.max(1);
        for offset in (0..events.len()).step_by(most) {
            let part = events.slice(offset..events.len().min(offset + most));
            let (count, bytes) = (part.len(), part.size());
            while !self.has_room(count, bytes) {
                if let Some(confirmed) = self.next().await {
                    each(confirmed);
                }
            }
            self.send_part(part, bytes, tag.clone(), offset);
        }
    }

    /// Waits for every answer.
    pub async fn finish(&mut self, mut each: impl FnMut(Confirmed<T>)) {
        while let Some(confirmed) = self.next().await {
            each(confirmed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use tokio::sync::oneshot;

    use super::*;
    use crate::broker::Receipts;
    use crate::event::{Batch, Events, Headers, Name, Position};

    /// Holds every batch back until it is told to answer.
    #[derive(Clone, Default)]
    struct Held(Arc<Mutex<Vec<Waiting>>>);
    type Waiting = (usize, oneshot::Sender<usize>);

    impl Publisher for Held {
        fn send(&self, events: Events) -> Receipts {
            let (answer, answered) = oneshot::channel();
            self.0.lock().unwrap().push((events.len(), answer));
            Box::pin(async move {
                let count = answered.await.unwrap_or(0);
                let receipt = Receipt { position: Position::Unknown, duplicate: false };
                (0..count).map(|_| Ok(receipt.clone())).collect()
            })
        }
    }

    impl Held {
        fn sizes(&self) -> Vec<usize> {
            self.0.lock().unwrap().iter().map(|(events, _)| *events).collect()
        }

        /// Answers the batch at this place, with so many receipts less than asked for.
        fn answer(&self, at: usize, short: usize) {
            let (events, answer) = self.0.lock().unwrap().remove(at);
            answer.send(events - short).unwrap();
        }
    }

    fn events(count: usize, size: usize) -> Events {
        let (topic, payload): (Name, _) = ("t".into(), vec![b'x'; size]);
        let mut batch = Batch::default();
        for _ in 0..count {
            batch.push(&topic, None, Headers::default(), Some(&payload), None, Position::Unknown);
        }
        batch.finish()
    }

    fn outbox(events: usize, bytes: usize) -> (Held, Outbox<&'static str>) {
        let held = Held::default();
        (held.clone(), Outbox::new(Box::new(held), Window { events, bytes }))
    }

    #[tokio::test]
    async fn results_come_in_the_order_of_sending() {
        let (held, mut outbox) = outbox(100, 1000);
        outbox.push(events(2, 1), "a", |_| unreachable!()).await;
        outbox.push(events(3, 1), "b", |_| unreachable!()).await;
        held.answer(1, 0);
        held.answer(0, 0);
        let mut seen = Vec::new();
        outbox.finish(|c| seen.push((*c.tag, c.iter().map(|(i, ..)| i).collect::<Vec<_>>()))).await;
        assert_eq!(seen, [("a", vec![0, 1]), ("b", vec![2, 3, 4])]);
        assert!(outbox.is_empty());
    }

    #[tokio::test]
    async fn the_window_bounds_events_and_bytes() {
        let (held, mut outbox) = outbox(4, 100);
        let push = outbox.push(events(10, 1), "many", |_| ());
        tokio::select! { biased; _ = push => panic!("10 events in a window of 4"), _ = std::future::ready(()) => () }
        assert_eq!(held.sizes(), [4], "in parts that fit");

        let (held, mut outbox) = self::outbox(100, 100);
        outbox.push(events(1, 500), "large", |_| ()).await;
        assert!(!outbox.has_room(1, 1), "what is larger than the window goes alone");
        held.answer(0, 0);
        assert_eq!(outbox.next().await.map(|c| c.events.len()), Some(1));
        assert!(outbox.has_room(100, 100));
    }

    #[tokio::test]
    async fn an_event_without_an_answer_is_in_doubt() {
        let (held, mut outbox) = outbox(10, 100);
        outbox.send(events(2, 1), "a");
        held.answer(0, 1);
        let confirmed = outbox.next().await.unwrap();
        assert!(confirmed.receipts[0].is_ok());
        assert_eq!(confirmed.receipts[1].as_ref().unwrap_err().kind(), Kind::InDoubt);
    }
}
