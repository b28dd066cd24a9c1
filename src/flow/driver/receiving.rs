//! Receiving: what arrives, with what the filters say of it. One call at a time, kept over the turns of the loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Judge, pending};
use crate::broker::{self, Delivery, Received, Subscription, Token};
use crate::flow::lanes::Task;

/// What arrived.
pub enum Arrived {
    /// One task for each.
    Deliveries(Vec<Delivery>, Vec<Task>),
    Revoking(Vec<Token>),
    Lost(Vec<Token>),
    End,
}

type Call<'a> = Pin<Box<dyn Future<Output = (anyhow::Result<Arrived>, Box<dyn Judge>)> + Send + 'a>>;

type Listening<'a> = Pin<Box<dyn Future<Output = broker::Taken> + Send + 'a>>;

pub struct Receiving<'a> {
    subscription: &'a dyn Subscription,
    /// Away with the call.
    judge: Option<Box<dyn Judge>>,
    call: Option<Call<'a>>,
    /// While nothing more is wanted: what is taken from us is heard all the same.
    listening: Option<Listening<'a>>,
    /// Handed out, and the filters have not yet said what becomes of it.
    unjudged: Arc<Mutex<Vec<Token>>>,
}

impl<'a> Receiving<'a> {
    pub fn new(subscription: &'a dyn Subscription, judge: Box<dyn Judge>) -> Receiving<'a> {
        Receiving { subscription, judge: Some(judge), call: None, listening: None, unjudged: Arc::default() }
    }

    /// Asks for more, if nothing is being asked for.
    pub fn begin(&mut self) {
        let Some(mut judge) = self.judge.take() else { return };
        self.listening = None;
        let (subscription, unjudged) = (self.subscription, self.unjudged.clone());
        self.call = Some(Box::pin(async move {
            let arrived = receive(subscription, &mut *judge, &unjudged).await;
            (arrived, judge)
        }));
    }

    /// Asks only for what is taken from us, if nothing is being asked for.
    pub fn listen(&mut self) {
        if self.call.is_none() && self.listening.is_none() {
            self.listening = Some(self.subscription.taken());
        }
    }

    /// Waits for what was asked for; for ever if nothing was. Cancel safe.
    pub async fn next(&mut self) -> anyhow::Result<Arrived> {
        let (arrived, judge) = tokio::select! {
            taken = pending(&mut self.listening) => {
                return Ok(match taken {
                    broker::Taken::Revoking(tokens) => Arrived::Revoking(tokens),
                    broker::Taken::Lost(tokens) => Arrived::Lost(tokens),
                });
            }
            received = pending(&mut self.call) => received,
        };
        self.judge = Some(judge);
        if arrived.is_ok() {
            set(&self.unjudged, Vec::new());
        }
        arrived
    }

    /// What is ours and not yet with the lanes.
    pub fn tokens(&self) -> Vec<Token> {
        self.unjudged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Breaks off; answers what was received and will not be judged.
    pub fn stop(&mut self) -> Vec<Token> {
        self.call = None;
        set(&self.unjudged, Vec::new())
    }
}

fn set(tokens: &Mutex<Vec<Token>>, new: Vec<Token>) -> Vec<Token> {
    std::mem::replace(&mut *tokens.lock().unwrap_or_else(PoisonError::into_inner), new)
}

async fn receive(
    subscription: &dyn Subscription,
    judge: &mut dyn Judge,
    unjudged: &Mutex<Vec<Token>>,
) -> anyhow::Result<Arrived> {
    Ok(match subscription.receive().await? {
        Received::Deliveries(deliveries) => {
            set(unjudged, deliveries.iter().map(|delivery| delivery.token).collect());
            let tasks = judge.judge(&deliveries).await?;
            anyhow::ensure!(tasks.len() == deliveries.len(), "a filter answered too little");
            Arrived::Deliveries(deliveries, tasks)
        }
        Received::Revoking(tokens) => Arrived::Revoking(tokens),
        Received::Lost(tokens) => Arrived::Lost(tokens),
        Received::End => Arrived::End,
    })
}
