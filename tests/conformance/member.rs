//! Members at work, and whoever sees what is published.

use std::sync::Arc;
use std::time::Duration;

use evcat::broker::*;
use evcat::event::Event;
use tokio::time::{Instant, timeout, timeout_at};

use crate::kit::{PATIENCE, QUIET, next_n, of};

/// Sees what is published to a topic.
pub enum Watch {
    Look(Box<dyn Reader>),
    Work(Member),
}

impl Watch {
    /// The next `n` events, and not one more.
    pub async fn take(&mut self, n: usize) -> Vec<Event> {
        match self {
            Watch::Look(reader) => next_n(reader, n).await,
            Watch::Work(member) => {
                let mut all = Vec::new();
                while all.len() < n {
                    let some = member.some().await;
                    member.ack(&some).await;
                    all.extend(some.into_iter().map(|delivery| delivery.event));
                }
                all
            }
        }
    }
}

/// A member of a group, and what it was told.
pub struct Member {
    subscription: Box<dyn Subscription>,
    waiting: Vec<Delivery>,
    /// Tokens that are no longer ours.
    pub lost: Vec<Token>,
    /// Those that were to go and were given back; they come again.
    pub given_back: Vec<Token>,
}

impl Member {
    pub async fn of(broker: &Arc<dyn Broker>, source: Source, options: SubscribeOptions) -> Member {
        let subscription = broker.subscription(source, options).await.unwrap();
        Member { subscription, waiting: Vec::new(), lost: Vec::new(), given_back: Vec::new() }
    }

    /// What comes next, or `None` at the end. What is being revoked is given back.
    pub async fn step(&mut self) -> Option<Vec<Delivery>> {
        if !self.waiting.is_empty() {
            return Some(std::mem::take(&mut self.waiting));
        }
        loop {
            match self.subscription.receive().await.unwrap() {
                Received::Deliveries(deliveries) => {
                    assert!(!deliveries.is_empty(), "there is always something to say");
                    return Some(deliveries);
                }
                Received::Revoking(tokens) => {
                    self.given_back.extend(&tokens);
                    self.give_back(tokens).await;
                }
                Received::Lost(tokens) => self.lost.extend(tokens),
                Received::End => return None,
            }
        }
    }

    /// Whether there are deliveries within such a time; they are the next to come.
    pub async fn has_some(&mut self, within: Duration) -> bool {
        match timeout(within, self.step()).await {
            Ok(Some(some)) => self.waiting = some,
            Ok(None) | Err(_) => return false,
        }
        true
    }

    /// At least one delivery.
    pub async fn some(&mut self) -> Vec<Delivery> {
        timeout(PATIENCE, self.step()).await.expect("a delivery comes").expect("before the end")
    }

    /// The next `n`.
    pub async fn take(&mut self, n: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        let until = Instant::now() + PATIENCE;
        while all.len() < n {
            match timeout_at(until, self.step()).await {
                Err(_) => panic!("{} of {n} deliveries came: {:?}", all.len(), of(&all)),
                Ok(None) => panic!("the end after {} of {n} deliveries", all.len()),
                Ok(Some(some)) => all.extend(some),
            }
        }
        self.waiting = all.split_off(n);
        all
    }

    /// Acks everything until the end, and answers what it was.
    pub async fn drain(&mut self) -> Vec<Delivery> {
        let mut all = Vec::new();
        while let Some(some) = timeout(PATIENCE, self.step()).await.expect("the end is said") {
            self.ack(&some).await;
            all.extend(some);
        }
        all
    }

    /// Nothing comes for a while.
    pub async fn idle(&mut self) {
        if let Ok(Some(some)) = timeout(QUIET, self.step()).await {
            panic!("{:?} was delivered", of(&some));
        }
    }

    /// Waits for the error that ends its work.
    pub async fn failure(&self) -> Error {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Err(error) = timeout_at(until, self.subscription.receive()).await.expect("it is told") {
                return error;
            }
        }
    }

    /// Waits until it is told that something was lost.
    pub async fn until_lost(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.lost.is_empty() {
            match timeout_at(until, self.subscription.receive())
                .await
                .expect("it is told of the loss")
                .unwrap()
            {
                Received::Lost(tokens) => self.lost.extend(tokens),
                Received::Deliveries(more) => self.waiting.extend(more),
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn settle(&self, delivery: &Delivery, how: Settlement) -> Result<Option<Receipt>> {
        self.subscription.settle(vec![(delivery.token, how)]).await.unwrap().remove(0)
    }

    pub async fn settle_each(&self, items: Vec<(Token, Settlement)>) -> Vec<Result<Option<Receipt>>> {
        let n = items.len();
        let answers = self.subscription.settle(items).await.unwrap();
        assert_eq!(answers.len(), n, "one answer per item");
        answers
    }

    pub async fn ack(&self, deliveries: &[Delivery]) {
        self.settle_all(deliveries.iter().map(|delivery| delivery.token), Settlement::Ack).await;
    }

    pub async fn settle_all(&self, tokens: impl IntoIterator<Item = Token>, how: Settlement) {
        let items: Vec<_> = tokens.into_iter().map(|token| (token, how.clone())).collect();
        for answer in self.settle_each(items).await {
            answer.unwrap();
        }
    }

    /// Releases what is being revoked; what was settled before that was said is not ours any more.
    async fn give_back(&self, tokens: Vec<Token>) {
        let items = tokens.into_iter().map(|token| (token, Settlement::Release)).collect();
        for answer in self.settle_each(items).await {
            assert!(answer.as_ref().err().is_none_or(|error| error.kind() == Kind::Lost), "{answer:?}");
        }
    }

    pub async fn extend(&self, deliveries: &[Delivery]) {
        let tokens: Vec<_> = deliveries.iter().map(|delivery| delivery.token).collect();
        self.subscription.extend(&tokens).await.unwrap();
    }

    pub async fn close(self) {
        self.subscription.close().await.unwrap();
    }
}
