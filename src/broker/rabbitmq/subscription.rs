//! Working: a task has the connection (`work`), the desk is between it and the caller.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, ConfirmSelectOptions};
use tokio::sync::{mpsc, oneshot};

use super::desk::{self, Desk};
use super::error::About;
use super::name::{self, Place, queue_of};
use super::publisher::Post;
use super::settings::Settings;
use super::work::{Order, Shared, Work};
use crate::broker::{
    Error, Kind, Receipt, Received, Result, STORED, Settlement, Source, Stop, SubscribeOptions, Subscription,
    Taken, Token,
};
use crate::event::{Event, Name};

/// The longest that leaving takes: the server gives back what we held all the same when we are gone.
const LEAVING: Duration = Duration::from_secs(10);

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    settings: &Settings,
    source: Source,
    options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    let SubscribeOptions { stop, in_flight, lease: _, grace: _, ordered: _ } = options;
    let (sources, abouts) = sources(source)?;
    let unsupported = |what: &str| Err(abouts[0].error(Kind::Unsupported, what));
    let bounded = match stop {
        Stop::Never => false,
        Stop::Now => true,
        Stop::At(_) => return unsupported("a queue has no positions to stop at"),
    };
    let shared = Arc::new(Shared::new(Desk::new(sources, in_flight)));
    let mut work = Work::new(settings, shared.clone(), abouts, in_flight, bounded);
    let at_work = work.connect().await?;
    let (orders, received) = mpsc::unbounded_channel();
    tokio::spawn(work.run(at_work, received));
    Ok(Box::new(Member { shared, orders, post: Post::new(settings) }))
}

/// The queues that are meant, and how errors call each.
fn sources(source: Source) -> Result<(Vec<desk::Source>, Vec<About>)> {
    const OPERATION: &str = "subscription";
    let one = |topic: Name, queue: String, letters| desk::Source { topic, queue, letters, left: None };
    match source {
        Source::Group { topics, group } => {
            let (mut sources, mut abouts) = (Vec::new(), Vec::new());
            for topic in topics {
                let about = About::group(OPERATION, &topic, &group);
                if Place::of(&topic) != Place::Exchange(&topic) {
                    let message = "only an exchange has groups; a queue is worked on as it is";
                    return Err(about.error(Kind::Unsupported, message));
                }
                name::group(OPERATION, &topic, &group)?;
                let queue = queue_of(&topic, &group);
                sources.push(one(topic, queue, false));
                abouts.push(about);
            }
            Ok((sources, abouts))
        }
        Source::Queue(topic) => {
            name::topic(OPERATION, &topic)?;
            let about = About::topic(OPERATION, &topic);
            let Place::Queue(queue) = Place::of(&topic) else {
                let message =
                    "is no queue: a queue is named queue:NAME, and a stream is read, not worked off";
                return Err(about.error(Kind::Unsupported, message));
            };
            let queue = queue.to_owned();
            Ok((vec![one(topic, queue, false)], vec![about]))
        }
        Source::DeadLetters { dlq, chosen } => {
            name::topic(OPERATION, &dlq)?;
            let about = About::topic(OPERATION, &dlq);
            if chosen.is_some() {
                let message = "nothing can be chosen from a queue; take all, and release the rest";
                return Err(about.error(Kind::Unsupported, message));
            }
            let queue = Place::of(&dlq).queue().to_owned();
            Ok((vec![one(dlq, queue, true)], vec![about]))
        }
    }
}

struct Member {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    post: Post,
}

fn lost() -> Error {
    About::new("settle", "")
        .error(Kind::Lost, "the connection was lost, and the server hands the event out again")
}

/// Lost before its ack: with a receipt it was stored by a move, and is twice there when it comes again.
fn lost_after(answer: &Result<Option<Receipt>>) -> Error {
    match answer {
        Ok(Some(_)) => About::new(STORED, "").error(
            Kind::Lost,
            "the event was stored, and the connection lost before the original was acked: it is handed out again",
        ),
        _ => lost(),
    }
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let rung = self.shared.bell.notified();
            let said = self.shared.desk().say();
            // What came again and had been released before takes room without a settle.
            if self.shared.desk().needs_consumers() {
                let _ = self.orders.send(Order::Consumers);
            }
            if let Some(said) = said {
                self.shared.heard.notify_one();
                return said;
            }
            rung.await;
        }
    }

    async fn taken(&self) -> Taken {
        loop {
            let rung = self.shared.bell.notified();
            let lost = self.shared.desk().take_lost();
            if !lost.is_empty() {
                self.shared.heard.notify_one();
                return Taken::Lost(lost);
            }
            // Whatever else it rings for, `receive` looks for itself before it waits.
            rung.await;
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let mut answers: Vec<Result<Option<Receipt>>> = Vec::with_capacity(items.len());
        let (mut acks, mut moves, mut moved) = (Vec::new(), Vec::<(Event, Option<Name>)>::new(), Vec::new());
        for (at, (token, how)) in items.into_iter().enumerate() {
            if !self.shared.desk().holds(token) {
                answers.push(Err(lost()));
                continue;
            }
            answers.push(Ok(None));
            match how {
                Settlement::Ack => acks.push((at, token)),
                Settlement::Release => self.shared.desk().release(token),
                Settlement::Move { event, only } => {
                    let queue = only.map(|group| queue_of(event.topic(), &group).into());
                    moves.push((*event, queue));
                    moved.push((at, token));
                }
                Settlement::Retry(_) => {
                    let message = "a queue has no delay: the event is held here until it is tried again";
                    answers[at] = Err(About::new("settle", "").error(Kind::Unsupported, message));
                }
            }
        }
        if !moves.is_empty() {
            for ((at, token), receipt) in moved.into_iter().zip(self.post.move_all(moves).await) {
                match receipt {
                    Ok(receipt) => {
                        answers[at] = Ok(Some(receipt));
                        acks.push((at, token));
                    }
                    Err(error) => answers[at] = Err(error),
                }
            }
        }
        self.ack(acks, &mut answers).await;
        if self.shared.desk().needs_consumers() {
            let _ = self.orders.send(Order::Consumers);
        }
        self.shared.bell.notify_one();
        Ok(answers)
    }

    async fn extend(&self, _tokens: &[Token]) -> Result<()> {
        // Ours as long as the channel is open.
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::Close(done)).is_ok() {
            let _ = tokio::time::timeout(LEAVING, is_done).await;
        }
        Ok(())
    }
}

impl Member {
    async fn ack(&self, acks: Vec<(usize, Token)>, answers: &mut [Result<Option<Receipt>>]) {
        let (together, each, mine) = {
            let mut desk = self.shared.desk();
            let (mine, gone): (Vec<_>, Vec<_>) = acks.into_iter().partition(|(_, token)| desk.holds(*token));
            gone.iter().for_each(|(at, _)| answers[*at] = Err(lost_after(&answers[*at])));
            let tokens: Vec<Token> = mine.iter().map(|(_, token)| *token).collect();
            let (together, each) = desk.settle(&tokens);
            (together, each, mine)
        };
        if mine.is_empty() {
            return;
        }
        let Some(channel) = self.shared.channel() else {
            return mine.iter().for_each(|(at, _)| answers[*at] = Err(lost_after(&answers[*at])));
        };
        let all = together.map(|tag| (tag, true)).into_iter().chain(each.into_iter().map(|tag| (tag, false)));
        let said = all.map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple }));
        let mut lost = join_all(said).await.iter().any(lapin::Result::is_err);
        // AMQP answers no ack. It answers this, which changes nothing here, and a channel does one thing after the other: so
        // the acks before it have arrived.
        lost = lost || channel.confirm_select(ConfirmSelectOptions::default()).await.is_err();
        if lost {
            mine.iter().for_each(|(at, _)| answers[*at] = Err(lost_after(&answers[*at])));
        }
    }
}
