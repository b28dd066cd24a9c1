//! Publishing: events are handed to a task that has the connection, in the order of the calls.

use tokio::sync::{mpsc, oneshot};

use super::error::About;
use super::flights::{self, Batch};
use super::message;
use super::settings::Settings;
use super::{capabilities, name};
use crate::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use crate::event::{Event, Events, Name, Position};

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub fn open(settings: &Settings, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let PublishOptions { in_flight: _, compression, delay } = options;
    let unsupported = |what: &str| Err(Error::new(Kind::Unsupported, "publisher", "", what));
    if delay.is_some() {
        return unsupported("RabbitMQ does not hold an event back: it goes to its queues at once");
    }
    if compression.is_some() {
        return unsupported("RabbitMQ compresses nothing: a payload is what it is");
    }
    Ok(Box::new(Post::new(settings)))
}

/// The way to the task. Dropped, the task ends when all that is under way has arrived.
pub struct Post {
    settings: Settings,
    sender: mpsc::UnboundedSender<Batch>,
}

impl Post {
    /// Behaviour: no I/O before the first event.
    pub fn new(settings: &Settings) -> Post {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(flights::fly(settings.clone(), receiver));
        Post { settings: settings.clone(), sender }
    }

    /// Sends events that were delivered before; each to this queue alone, where one is named.
    pub fn move_all(&self, events: Vec<(Event, Option<Name>)>) -> Receipts {
        self.go(events, true)
    }

    fn go(&self, events: Vec<(Event, Option<Name>)>, moved: bool) -> Receipts {
        let count = events.len();
        let (answer, answers) = oneshot::channel();
        let checked = events
            .into_iter()
            .map(|(event, only)| match check(&self.settings, &event) {
                Ok(()) => Ok((event, only)),
                Err(error) => Err(error),
            })
            .collect();
        let asked = tokio::time::Instant::now();
        let sent = self.sender.send(Batch { events: checked, moved, asked, answer });
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
        self.go(events.iter().map(|event| (event.clone(), None)).collect(), false)
    }
}

/// Refuses what RabbitMQ cannot hold, before it is sent.
fn check(settings: &Settings, event: &Event) -> Result<()> {
    let about = || About::topic("send", event.topic());
    name::topic("send", event.topic())?;
    if message::is_tombstone(event) {
        let message = "AMQP knows no tombstone: a payload may be empty, and is always there";
        return Err(about().error(Kind::Unsupported, message));
    }
    if matches!(event.position(), Position::Partition(_)) && !capabilities(event.topic()).partitions {
        return Err(about().error(Kind::Unsupported, "there are no partitions here to choose from"));
    }
    let size = event.payload().map_or(0, <[u8]>::len);
    if size > settings.max_event {
        let message =
            format!("the event has {size} bytes, and the server takes {} at most", settings.max_event);
        let hint = "if its max_message_size is another: -X max_message_size=N";
        return Err(about().error(Kind::Rejected, message).with_hint(hint));
    }
    Ok(())
}
