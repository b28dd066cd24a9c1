//! A member at work, as the trait has it: a desk on a thread of its own, and the two channels to it.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::desk::{Command, Desk};
use super::file::Place;
use super::patience::Patience;
use super::settle::Answer;
use super::watch::Knocker;
use super::worker::{spawn_with_store, stopped};
use crate::broker::{
    Error, Kind, Received, Result, Settlement, Source, SubscribeOptions, Subscription, Token,
};

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    place: &Arc<Place>,
    source: Source,
    options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    if let Source::Queue(queue) = source {
        let message = "there are no queues here; a group over a topic is one";
        return Err(Error::new(Kind::Unsupported, "subscription", queue.to_string(), message)
            .with_hint("evcat subscribe TOPIC -g GROUP"));
    }
    let (commands, received_commands) = channel();
    let (say, said) = mpsc::unbounded_channel();
    let (joined, has_joined) = oneshot::channel();
    spawn_with_store("subscription", place, "subscription", move |store| {
        match Desk::join(store, source, options, received_commands, say) {
            Ok((desk, knocker)) => {
                if joined.send(Ok(knocker)).is_ok() {
                    desk.run();
                }
            }
            Err(error) => drop(joined.send(Err(error))),
        }
    })
    .await?;
    let knocker = place.patience.answer("subscription", has_joined).await??;
    Ok(Box::new(Member {
        commands,
        knocker: Farewell(knocker),
        patience: place.patience.clone(),
        inbox: Mutex::new(Inbox { said, last: None }),
    }))
}

/// Without `close` (an error, a panic) the desk finds the channel closed, gives back and ends: the fields are dropped in
/// this order.
struct Member {
    commands: Sender<Command>,
    knocker: Farewell,
    patience: Arc<Patience>,
    inbox: Mutex<Inbox>,
}

/// Knocks a last time when it is dropped.
struct Farewell(Knocker);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.knock();
    }
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
        self.knocker.0.knock();
        self.patience.answer(operation, answered).await
    }
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

    async fn extend(&self, _: &[Token]) -> Result<()> {
        // The lease is the member's: one renewal is all of them.
        self.ask("extend", Command::Extend).await?
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        let Member { commands, knocker, patience, inbox } = *self;
        // What nobody received goes back as if never handed out: the desk sees it in the channel.
        commands.send(Command::Close(inbox.into_inner().said, done)).map_err(|_| stopped("close"))?;
        knocker.0.knock();
        patience.answer("close", is_done).await?
    }
}
