//! Calls of `settle` that wait for their commit: what is answered as settled is committed.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::part::Part;
use super::subscription::Answer;
use crate::broker::Error;

/// A call, its answers so far, and what of it is not committed.
pub struct Call {
    /// One for each item.
    pub answers: Vec<Answer>,
    /// Who asked.
    pub asked: oneshot::Sender<Vec<Answer>>,
    /// What is acked and waits.
    pub acked: Vec<Acked>,
}

/// One that was acked.
pub struct Acked {
    /// Its place among the answers.
    pub at: usize,
    /// Its partition.
    pub part: u64,
    /// How many commits had been made: it is in one behind them.
    pub made: u64,
}

/// The calls, in the order in which they came.
#[derive(Default)]
pub struct Answers {
    calls: Vec<Call>,
}

impl Answers {
    /// One more.
    pub fn push(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// Answers what is committed by now, and what never will be because its partition is not ours any more.
    pub fn answer(&mut self, parts: &BTreeMap<u64, Part>, lost: impl Fn() -> Error) {
        for call in &mut self.calls {
            let Call { answers, acked, .. } = call;
            acked.retain(|one| match parts.get(&one.part) {
                Some(part) => part.committed <= one.made,
                None => {
                    answers[one.at] = Err(lost());
                    false
                }
            });
        }
        self.send(|call| call.acked.is_empty());
    }

    /// Answers all of it: what is not committed has failed.
    pub fn fail(&mut self, error: &Error) {
        for Call { answers, acked, .. } in &mut self.calls {
            acked.drain(..).for_each(|one| answers[one.at] = Err(error.clone()));
        }
        self.send(|_| true);
    }

    fn send(&mut self, is_over: impl Fn(&Call) -> bool) {
        for call in self.calls.extract_if(.., |call| is_over(call)) {
            // Who asked may have given up waiting.
            drop(call.asked.send(call.answers));
        }
    }
}
