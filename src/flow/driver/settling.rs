//! Settling: one call at a time, each with everything that became ready while the one before ran.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::report::{Progress, Report};
use crate::broker::{Kind, Receipt, Result, Settlement, Subscription, Token};
use crate::event::Event;
use crate::flow::lanes::{Death, Settled};

/// The longest a call may take once the end was asked for and the broker failed before.
const LAST_CALL: Duration = Duration::from_secs(5);

type Answer = Result<Vec<Result<Option<Receipt>>>>;
type Call<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What was settled together, and what the broker said.
pub struct Answered {
    items: Vec<(Token, Settled)>,
    answer: Answer,
    /// It is asked again.
    again: bool,
}

impl Answered {
    /// The dead for whom this is the last word, and whether they are out of our hands.
    pub fn buried(&self) -> Vec<(Token, bool)> {
        let is_over = |at: usize| match &self.answer {
            Ok(answers) => match answers.get(at) {
                Some(Ok(_)) => true,
                Some(Err(error)) => error.kind() == Kind::Lost,
                None => false,
            },
            Err(_) => false,
        };
        let items = self.items.iter().enumerate().filter(|_| !self.again);
        items
            .filter(|(_, (_, settled))| matches!(settled, Settled::Dead(_)))
            .map(|(at, (token, _))| (*token, is_over(at)))
            .collect()
    }
}

pub struct Settling<'a> {
    subscription: &'a dyn Subscription,
    bury: Box<dyn Fn(&Death) -> Event + Send + 'a>,
    waiting: Vec<(Token, Settled)>,
    /// Those of the call under way.
    asked: Vec<(Token, Settled)>,
    call: Option<Call<'a>>,
    counts_tries: bool,
    failed: bool,
    hurry: bool,
    unsettled: usize,
}

impl<'a> Settling<'a> {
    pub fn new(
        subscription: &'a dyn Subscription,
        bury: Box<dyn Fn(&Death) -> Event + Send + 'a>,
        counts_tries: bool,
    ) -> Settling<'a> {
        Settling {
            subscription,
            bury,
            waiting: Vec::new(),
            asked: Vec::new(),
            call: None,
            counts_tries,
            failed: false,
            hurry: false,
            unsettled: 0,
        }
    }

    pub fn push(&mut self, token: Token, settled: Settled) {
        self.waiting.push((token, settled));
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.call.is_none()
    }

    /// What is still ours until the broker has answered.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.waiting.iter().chain(&self.asked).map(|(token, _)| *token)
    }

    /// How many could not be settled and were left for the end of the subscription to give back.
    pub fn unsettled(&self) -> usize {
        self.unsettled + self.waiting.len() + self.asked.len()
    }

    /// The end was asked for: a broker that failed once is not waited for as long as before.
    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    /// Settles what waits. Cancel safe.
    pub async fn next(&mut self) -> Answered {
        if self.call.is_none() {
            self.call = Some(self.begin());
        }
        let answer = match &mut self.call {
            Some(call) => call.await,
            None => std::future::pending().await,
        };
        self.call = None;
        let items = std::mem::take(&mut self.asked);
        let mut again = false;
        if let Err(error) = &answer {
            // It never got there, so that it may be tried again: once, together with what ends meanwhile.
            again = error.kind() == Kind::Unreachable && !self.failed;
            if again {
                self.waiting.splice(0..0, items.iter().cloned());
            } else {
                self.unsettled += items.len();
            }
            self.failed = true;
        }
        Answered { items, answer, again }
    }

    fn begin(&mut self) -> Call<'a> {
        self.asked = std::mem::take(&mut self.waiting);
        let items: Vec<_> = self.asked.iter().map(|(token, how)| (*token, self.settlement(how))).collect();
        let subscription = self.subscription;
        let limit = (self.failed && self.hurry).then_some(LAST_CALL);
        Box::pin(async move {
            let call = subscription.settle(items);
            match limit {
                None => call.await,
                Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
                    let message = "no answer; it may have happened";
                    Err(crate::broker::Error::new(Kind::InDoubt, "settle", "", message))
                }),
            }
        })
    }

    fn settlement(&self, how: &Settled) -> Settlement {
        match how {
            Settled::Ack | Settled::Skip => Settlement::Ack,
            Settled::Retry(wait) => Settlement::Retry(*wait),
            Settled::GiveBack if self.counts_tries => Settlement::Retry(Duration::ZERO),
            Settled::Release | Settled::GiveBack => Settlement::Release,
            Settled::Dead(death) => Settlement::Move { event: Box::new((self.bury)(death)), only: None },
        }
    }
}

/// Enters into the account what was settled. An error ends the work.
pub fn account(
    answered: Answered,
    report: &mut Report,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> anyhow::Result<()> {
    let mut failed = None;
    for ((_, settled), answer) in answered.items.iter().zip(answered.answer?) {
        match (settled, answer) {
            (_, Err(error)) if error.kind() == Kind::Lost => report.lost += 1,
            (settled, Err(error)) => {
                report.given_back += 1;
                let what = match settled {
                    Settled::Dead(death) => {
                        format!("the dead letter of {} could not be stored", death.event.position())
                    }
                    _ => "the broker refused to settle an event".to_owned(),
                };
                let what = format!("{what}: {error}");
                failed.get_or_insert(anyhow::Error::new(error).context(what));
            }
            (Settled::Ack, Ok(_)) => report.acked += 1,
            (Settled::Skip, Ok(_)) => report.skipped += 1,
            (Settled::Retry(_), Ok(_)) => {}
            (Settled::Release | Settled::GiveBack, Ok(_)) => report.given_back += 1,
            (Settled::Dead(death), Ok(receipt)) => {
                report.dead += 1;
                progress(Progress::Dead { death, receipt: receipt.as_ref() });
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
