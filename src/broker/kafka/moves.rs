//! Dead-lettering by a member: the event is stored, and only then settled. Not one step: a crash between them makes a
//! duplicate.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::answers::Call;
use super::{Kafka, publisher};
use crate::broker::{PublishOptions, Publisher, Receipt, Result, Token};
use crate::event::Event;

/// Stores the events of moves, by a publisher that is made for the first of them.
pub struct Moves {
    /// Where to.
    pub kafka: Kafka,
    /// The publisher.
    pub publisher: Arc<OnceCell<Box<dyn Publisher>>>,
}

/// What became of the moves of one call of `settle`.
pub struct Stored {
    /// The call; the answers of its moves are to be put in.
    pub call: Call,
    /// Of each move its place among them, its delivery, and where it was stored.
    pub stored: Vec<(usize, Token, Result<Receipt>)>,
}

/// Moves under way.
pub type Moved = Pin<Box<dyn Future<Output = Stored> + Send>>;

impl Moves {
    /// Stores these events; each is the move of a delivery, whose answer has its place among `answers`.
    pub fn send(&self, call: Call, moves: Vec<(usize, Token, Event)>) -> Moved {
        let (kafka, publisher) = (self.kafka.clone(), self.publisher.clone());
        Box::pin(async move {
            let (places, events): (Vec<_>, Vec<_>) =
                moves.into_iter().map(|(at, token, event)| ((at, token), event)).unzip();
            let opened =
                publisher.get_or_try_init(|| publisher::open(&kafka, PublishOptions::default())).await;
            let receipts = match opened {
                Ok(publisher) => publisher.send(events.into()).await,
                Err(error) => vec![Err(error); places.len()],
            };
            let places = places.into_iter().zip(receipts);
            let stored = places.map(|((at, token), receipt)| (at, token, receipt)).collect();
            Stored { call, stored }
        })
    }
}
