//! Publishing: events are handed to a task that sends them, in the order of the calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::error::About;
use super::flights::{self, Batch, Item};
use super::message::{self, Making};
use super::name::{self, Place};
use super::{MAX_DELAY, limit, max_event};
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use crate::event::{Event, Events, Name, Position};

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub fn open(client: &Arc<Client>, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight: _, compression, delay } = options;
    let unsupported = |what: String| Err(Error::new(Kind::Unsupported, "publisher", "", what));
    if let Some(delay) = delay.filter(|delay| *delay > MAX_DELAY) {
        return unsupported(format!("a queue holds an event back for at most {MAX_DELAY:?}, not {delay:?}"));
    }
    if compression.is_some() {
        return unsupported("SNS and SQS compress nothing: a payload is what it is".into());
    }
    Ok(Box::new(Post::new(client, delay)))
}

/// The way to the task. Dropped, the task ends when all that is under way has arrived.
pub struct Post {
    delay: Option<Duration>,
    sender: mpsc::UnboundedSender<Batch>,
}

impl Post {
    /// Behaviour: no I/O before the first event.
    pub fn new(client: &Arc<Client>, delay: Option<Duration>) -> Post {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(flights::fly(client.clone(), receiver));
        Post { delay, sender }
    }

    /// Sends events; each to the queue of this group alone, where one is named.
    pub fn go(&self, events: Vec<(Event, Option<Name>)>) -> Receipts {
        let count = events.len();
        let (answer, answers) = oneshot::channel();
        let items = events.into_iter().map(|(event, only)| item(&event, only, self.delay)).collect();
        let sent = self.sender.send(Batch { items, answer });
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
        self.go(events.iter().map(|event| (event.clone(), None)).collect())
    }

    /// Ten times what is on its way at once to one place.
    fn enough(&self) -> usize {
        flights::UNDER_WAY * flights::TOGETHER * 10
    }
}

/// Refuses what AWS cannot hold, before it is sent, and makes the message of the rest.
fn item(event: &Event, only: Option<Name>, delay: Option<Duration>) -> Result<Item> {
    let about = About::topic("send", event.topic());
    name::topic("send", event.topic())?;
    let place = match only {
        Some(group) => {
            name::group("send", event.topic(), &group)?;
            Place::Queue(name::queue_of(event.topic(), &group))
        }
        None => Place::of(event.topic()),
    };
    if matches!(event.position(), Position::Partition(_)) {
        return Err(about.error(Kind::Unsupported, "there are no partitions here to choose from"));
    }
    let fifo = place.is_fifo();
    if delay.is_some() && (fifo || matches!(place, Place::Topic(_))) {
        let message = "only a queue that is not FIFO holds single events back; SNS and FIFO queues do not";
        return Err(about.error(Kind::Unsupported, message));
    }
    let (size, most) = (event.payload().map_or(0, <[u8]>::len), max_event(&place));
    let limit = limit(&place);
    if size > most {
        let message = format!(
            "its payload has {size} bytes, and {most} are allowed: {limit} for all of a message at AWS, less what \
             evcat may have to say beside it"
        );
        return Err(about.error(Kind::Rejected, message));
    }
    // Whether a place holds dead letters the name of a bare queue does not tell for sure, and a group of its own for each
    // would take the order away from one that does not.
    let out = message::to_message(event, Making { fifo, letters: matches!(place, Place::Letters(_)) });
    if out.size() > limit {
        let message = format!(
            "with its key and headers it has {} bytes, and AWS takes a message of at most {limit}",
            out.size()
        );
        return Err(about.error(Kind::Rejected, message));
    }
    Ok(Item::new(about, place, out, delay))
}
