//! Publishing: events are handed to a task, in the order of the calls.

use std::sync::Arc;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::PubsubMessage;
use tokio::sync::{mpsc, oneshot};

use super::flights::{self, Batch};
use super::link::Link;
use super::name::{self, Place};
use super::{error::About, message};
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use crate::event::{Event, Events, Name};

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub fn open(link: Arc<Link>, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight: _, compression, delay } = options;
    let unsupported = |what: &str| Err(Error::new(Kind::Unsupported, "publisher", "", what));
    if delay.is_some() {
        return unsupported("Pub/Sub does not hold an event back: it goes to its subscriptions at once");
    }
    if compression.is_some() {
        return unsupported("Pub/Sub compresses nothing: a payload is what it is");
    }
    Ok(Box::new(Post::new(link)))
}

/// The way to the task. Dropped, the task ends when all that is under way has arrived.
pub struct Post {
    sender: mpsc::UnboundedSender<Batch>,
}

impl Post {
    /// Behaviour: no I/O before the first event.
    pub fn new(link: Arc<Link>) -> Post {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(flights::fly(link, receiver));
        Post { sender }
    }

    /// Sends events that were delivered before.
    pub fn move_all(&self, events: Vec<Event>) -> Receipts {
        self.go(&events, true)
    }

    fn go(&self, events: &[Event], moved: bool) -> Receipts {
        let count = events.len();
        let (answer, answers) = oneshot::channel();
        let messages = events.iter().map(|event| checked(event, moved)).collect();
        let sent = self.sender.send(Batch { messages, answer });
        Box::pin(async move {
            let gone = || Error::new(Kind::Broken, "send", "", "the task that publishes has ended");
            match (sent, answers.await) {
                (Ok(()), Ok(answers)) => answers,
                _ => (0..count).map(|_| Err(gone())).collect(),
            }
        })
    }
}

impl Publisher for Post {
    fn send(&self, events: Events) -> Receipts {
        self.go(&events, false)
    }
}

/// Refuses what Pub/Sub cannot hold, before it is sent.
fn checked(event: &Event, moved: bool) -> Result<(Name, PubsubMessage)> {
    name::topic("send", event.topic())?;
    if let Place::Subscription(subscription) = Place::of(event.topic()) {
        let message =
            "one subscription alone cannot be addressed: what is published goes to all of its topic";
        return Err(About::topic("send", event.topic())
            .error(Kind::Unsupported, message)
            .with_hint(format!("its topic: evcat topics describe subscription:{subscription}")));
    }
    Ok((event.topic().clone(), message::to_message(event, moved)?))
}
