//! Working, as the trait has it: a desk in a task of its own, and the two channels to it.

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Kafka;
use super::desk::{Command, Desk};
use super::letters::Letters;
use crate::broker::{
    Error, Kind, Receipt, Received, Result, Settlement, Source, SubscribeOptions, Subscription, Token,
};

/// What settling one delivery comes to.
pub type Answer = Result<Option<Receipt>>;

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(kafka: &Kafka, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
    let (commands, received_commands) = mpsc::unbounded_channel();
    let (say, said) = mpsc::unbounded_channel();
    match source {
        Source::Group { topics, group } => {
            let desk = Desk::join(kafka, &topics, &group, &options, received_commands, say).await?;
            tokio::spawn(desk.run());
        }
        Source::DeadLetters { dlq, chosen } => {
            let chosen = chosen.as_deref();
            let run = Letters::begin(kafka, &dlq, chosen, &options, received_commands, say).await?;
            tokio::spawn(run.run());
        }
        Source::Queue(queue) => {
            let message = "there are no queues here; a group over a topic is one";
            return Err(Error::new(Kind::Unsupported, "subscription", queue.to_string(), message)
                .with_hint("evcat subscribe TOPIC -g GROUP"));
        }
    }
    Ok(Box::new(Member { commands, inbox: Mutex::new(Inbox { said, last: None }) }))
}

/// Without `close` (an error, a panic) the desk finds the channel closed and leaves the group.
struct Member {
    commands: mpsc::UnboundedSender<Command>,
    inbox: Mutex<Inbox>,
}

struct Inbox {
    said: mpsc::UnboundedReceiver<Result<Received>>,
    /// The end, or the error that ended it: said again to whoever asks again.
    last: Option<Result<()>>,
}

impl Member {
    async fn ask<T>(
        &self,
        operation: &'static str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| stopped(operation))?;
        answered.await.map_err(|_| stopped(operation))
    }
}

fn stopped(operation: &'static str) -> Error {
    Error::new(Kind::Broken, operation, "kafka", "what works on the subscription has ended")
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        // Cancel safe: what is in the channel stays there until it is returned without another await.
        let mut inbox = self.inbox.lock().await;
        if let Some(last) = &inbox.last {
            return last.clone().map(|()| Received::End);
        }
        let received = inbox.said.recv().await.unwrap_or_else(|| Err(stopped("receive")));
        inbox.last = match &received {
            Ok(Received::End) => Some(Ok(())),
            Ok(_) => None,
            Err(error) => Some(Err(error.clone())),
        };
        received
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Answer>> {
        if items.is_empty() {
            return Ok(vec![]);
        }
        self.ask("settle", |answer| Command::Settle(items, answer)).await
    }

    /// The member is kept by the desk, which polls whatever the work does; there is no lease of a delivery.
    async fn extend(&self, _: &[Token]) -> Result<()> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.ask("close", Command::Close).await?
    }
}
