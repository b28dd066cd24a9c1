//! Working, as the trait has it: a desk in a task of its own, and the two channels to it.

use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Kafka;
use super::desk::{Command, Desk};
use super::letters::Letters;
use crate::broker::{
    Delivery, Error, Kind, Receipt, Received, Result, Settlement, Source, SubscribeOptions, Subscription,
    Taken, Token,
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
    Ok(Box::new(Member { commands, inbox: Mutex::new(Inbox { said, put_by: VecDeque::new(), last: None }) }))
}

/// Without `close` (an error, a panic) the desk finds the channel closed and leaves the group.
struct Member {
    commands: mpsc::UnboundedSender<Command>,
    inbox: Mutex<Inbox>,
}

struct Inbox {
    said: mpsc::UnboundedReceiver<Result<Received>>,
    /// Said while nobody wanted it.
    put_by: VecDeque<Vec<Delivery>>,
    /// The end, or the error that ended it: said again to whoever asks again.
    last: Option<Result<()>>,
}

impl Inbox {
    /// Takes these out of what was put by; those that were in it.
    fn take_out(&mut self, tokens: &[Token]) -> Vec<Token> {
        let mut out = Vec::new();
        for deliveries in &mut self.put_by {
            deliveries.retain(|delivery| {
                let goes = tokens.contains(&delivery.token);
                out.extend(goes.then_some(delivery.token));
                !goes
            });
        }
        self.put_by.retain(|deliveries| !deliveries.is_empty());
        out
    }
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
        if let Some(deliveries) = inbox.put_by.pop_front() {
            return Ok(Received::Deliveries(deliveries));
        }
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

    async fn taken(&self) -> Taken {
        // Cancel safe: as above.
        let mut inbox = self.inbox.lock().await;
        while inbox.last.is_none() {
            match inbox.said.recv().await {
                Some(Ok(Received::Deliveries(deliveries))) => inbox.put_by.push_back(deliveries),
                Some(Ok(Received::Revoking(tokens))) => {
                    // Nobody has begun with those.
                    let back = inbox.take_out(&tokens);
                    if !back.is_empty() {
                        let items = back.into_iter().map(|token| (token, Settlement::Release)).collect();
                        let _ = self.commands.send(Command::Settle(items, oneshot::channel().0));
                    }
                    return Taken::Revoking(tokens);
                }
                Some(Ok(Received::Lost(tokens))) => {
                    inbox.take_out(&tokens);
                    return Taken::Lost(tokens);
                }
                Some(Ok(Received::End)) => inbox.last = Some(Ok(())),
                Some(Err(error)) => inbox.last = Some(Err(error)),
                None => inbox.last = Some(Err(stopped("receive"))),
            }
        }
        // `receive` says it.
        drop(inbox);
        std::future::pending().await
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
