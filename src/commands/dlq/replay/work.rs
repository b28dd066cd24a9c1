//! Does what the plan says: takes each letter by a lease, moves or handles it, and settles it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::edits::Edits;
use super::handle::Hands;
use super::receipts::{Done, Receipts};
use super::survey::{changes, key_of, place};
use crate::broker::{
    Delivery, Kind, Received, STORED, Settlement, Stop, SubscribeOptions, Subscription, TAKEN_OVER, Token,
};
use crate::commands::dlq::heap::{Dead, Parted, Wanted, source_of};
use crate::commands::dlq::others;
use crate::commands::dlq::words::many;
use crate::deadletter::copy;
use crate::deadletter::plan::{PARKED, Place, Rules, Way, way};
use crate::event::{Event, Name, Position};
use crate::flow::pacer::Pacer;
use crate::session::Session;

/// Letters in hand at a time.
const IN_HAND: usize = 500;
/// For how long they are ours without a sign of life.
const LEASE: Duration = Duration::from_secs(30);

/// What the work needs to know.
pub struct Work<'a> {
    pub session: &'a Session,
    pub dlq: Name,
    pub rules: &'a Rules,
    pub places: &'a HashMap<String, Place>,
    pub edits: Edits,
    /// The name of the run.
    pub run: String,
    pub pacer: Pacer,
    /// What handles them here.
    pub hands: Option<Hands>,
    /// At most one of a key unconfirmed, and none behind one that failed.
    pub ordered: bool,
}

/// How it ended.
pub enum Ended {
    /// Every letter of the plan had its turn.
    Whole,
    /// Somebody asked us to stop.
    Stopped,
}

/// A letter and what is to be done with it.
struct Turn {
    token: Token,
    attempt: u32,
    dead: Dead,
    way: Way,
    event: Event,
    key: u64,
}

impl Work<'_> {
    /// Works on these letters, pass by pass.
    pub async fn run(
        &mut self,
        passes: Vec<Vec<Position>>,
        receipts: &mut Receipts,
    ) -> anyhow::Result<Ended> {
        let mut blocked = HashSet::new();
        let planned: usize = passes.iter().map(Vec::len).sum();
        for positions in passes {
            let (source, mut wanted) = source_of(self.session, &self.dlq, positions);
            loop {
                let before = wanted.left();
                let options = SubscribeOptions {
                    stop: Stop::Now,
                    in_flight: IN_HAND,
                    lease: LEASE,
                    grace: LEASE / 3,
                    ordered: false,
                };
                let subscription = self.session.broker.subscription(source.clone(), options).await?;
                self.session.stop.begin();
                let ended = self.pass(&*subscription, &mut wanted, receipts, &mut blocked).await;
                receipts.flush().await?;
                let both = wanted.done_and_there() as u64;
                if both > 0 && !matches!(ended, Ok(Ended::Whole)) {
                    self.session.ui.warn(format_args!(
                        "{} done and still in {}: the connection was lost before that could be acked, and the same \
                         command does it again",
                        many(both, "dead letter"),
                        self.dlq
                    ));
                }
                // What was not settled is given back, whatever happened.
                let closed = subscription.close().await;
                match ended? {
                    Ended::Whole => closed?,
                    Ended::Stopped => return Ok(Ended::Stopped),
                }
                // What comes again after a lost connection counts for the end too, so that some may not have been
                // reached.
                let left = wanted.left();
                if left == 0 || left == before {
                    break;
                }
            }
        }
        // What never came was settled between the plan and the first delivery, or is with somebody who is still there.
        let never = (planned as u64).saturating_sub(receipts.counts.seen());
        match never > 0 && others::are_there(self.session, &self.dlq).await? {
            true => receipts.counts.held += never,
            false => receipts.counts.elsewhere += never,
        }
        Ok(Ended::Whole)
    }

    async fn pass(
        &mut self,
        subscription: &dyn Subscription,
        wanted: &mut Wanted,
        receipts: &mut Receipts,
        blocked: &mut HashSet<u64>,
    ) -> anyhow::Result<Ended> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.session.stop.requested() => return Ok(Ended::Stopped),
                received = subscription.receive() => received?,
            };
            match received {
                Received::Deliveries(deliveries) => {
                    let Parted { meant, rest, done } = wanted.part(deliveries);
                    if !rest.is_empty() {
                        let is_ack = |(_, how): &(Token, Settlement)| matches!(how, Settlement::Ack);
                        let acks: Vec<bool> = rest.iter().map(is_ack).collect();
                        let answers = subscription.settle(rest).await?;
                        let acked = answers.into_iter().zip(acks).filter(|(_, is_ack)| *is_ack);
                        for (name, (answer, _)) in done.iter().zip(acked) {
                            if answer.is_err() {
                                wanted.comes_again_done(name);
                            }
                        }
                    }
                    let mut turns = self.turns(subscription, meant, receipts).await?;
                    while !turns.is_empty() {
                        if let Ended::Stopped =
                            self.step(subscription, &mut turns, wanted, receipts, blocked).await?
                        {
                            return Ok(Ended::Stopped);
                        }
                    }
                    receipts.flush().await?;
                }
                // Nothing is in hand while we wait here.
                Received::Revoking(_) | Received::Lost(_) => (),
                Received::End => return Ok(Ended::Whole),
            }
        }
    }

    /// Decides on each letter anew, by the same rules as the plan; those that stay after all are given back.
    async fn turns(
        &mut self,
        subscription: &dyn Subscription,
        deliveries: Vec<Delivery>,
        receipts: &mut Receipts,
    ) -> anyhow::Result<Vec<Turn>> {
        let letters: Vec<_> = deliveries
            .into_iter()
            .map(|Delivery { event, token, attempt }| (token, attempt.unwrap_or(1), Dead::of(event)))
            .collect();
        let ways: Vec<Way> =
            letters.iter().map(|(.., dead)| way(&dead.letter, self.rules, self.places)).collect();
        let going: Vec<&Dead> =
            letters.iter().zip(&ways).filter(|(_, way)| changes(way)).map(|((.., dead), _)| dead).collect();
        let mut contents = self.edits.apply(&going).await?.into_iter();
        let (mut turns, mut back) = (Vec::new(), Vec::new());
        for ((token, attempt, dead), way) in letters.into_iter().zip(ways) {
            let event = match &way {
                Way::Stays(why) => Err(why.words()),
                Way::Parked { topic } => Ok(copy::park(&dead.event, topic)),
                way => contents.next().unwrap_or_else(|| Err("nothing was made of it".into())).map(|made| {
                    copy::put_back(&made.event, &dead.letter, way, &self.run, made.of.as_deref())
                }),
            };
            match event {
                Ok(event) => {
                    let key = key_of(&dead);
                    turns.push(Turn { token, attempt, dead, way, event, key });
                }
                Err(why) => {
                    receipts.note(&dead, &Done::Stays(why));
                    back.push((token, Settlement::Release));
                }
            }
        }
        if !back.is_empty() {
            subscription.settle(back).await?;
        }
        Ok(turns)
    }

    /// Takes as many turns from the front as may go now.
    async fn step(
        &mut self,
        subscription: &dyn Subscription,
        turns: &mut Vec<Turn>,
        wanted: &mut Wanted,
        receipts: &mut Receipts,
        blocked: &mut HashSet<u64>,
    ) -> anyhow::Result<Ended> {
        let tokens: Vec<Token> = turns.iter().map(|turn| turn.token).collect();
        let mut most = if self.hands.is_some() { 1 } else { turns.len() };
        if self.ordered {
            let mut keys = HashSet::new();
            most = most.min(turns.iter().take_while(|turn| keys.insert(turn.key)).count());
            let held = turns.iter().take(most).take_while(|turn| blocked.contains(&turn.key)).count();
            if held > 0 {
                return self.hold(subscription, turns.drain(..held).collect(), receipts).await;
            }
            most = most.min(turns.iter().take_while(|turn| !blocked.contains(&turn.key)).count());
        }
        let events: Vec<Event> = turns.iter().take(most).map(|turn| turn.event.clone()).collect();
        let permitted = {
            let permit = self.pacer.permit(&events);
            match alive(self.session, subscription, &tokens, permit).await? {
                Some(count) => count.clamp(1, most),
                None => return Ok(Ended::Stopped),
            }
        };
        let batch: Vec<Turn> = turns.drain(..permitted).collect();
        match self.hands.is_some() {
            true => self.handle(subscription, batch, &tokens, wanted, receipts, blocked).await,
            false => self.settle(subscription, batch, wanted, receipts, blocked).await.map(|()| Ended::Whole),
        }
    }

    async fn hold(
        &mut self,
        subscription: &dyn Subscription,
        held: Vec<Turn>,
        receipts: &mut Receipts,
    ) -> anyhow::Result<Ended> {
        for turn in &held {
            receipts.note(&turn.dead, &Done::Failed("an earlier one of its key failed".into()));
        }
        subscription.settle(held.iter().map(|turn| (turn.token, Settlement::Release)).collect()).await?;
        Ok(Ended::Whole)
    }

    async fn settle(
        &mut self,
        subscription: &dyn Subscription,
        batch: Vec<Turn>,
        wanted: &mut Wanted,
        receipts: &mut Receipts,
        blocked: &mut HashSet<u64>,
    ) -> anyhow::Result<()> {
        let items = batch
            .iter()
            .map(|turn| {
                let only = match &turn.way {
                    Way::Group { group, .. } => Some(group.clone()),
                    _ => None,
                };
                (turn.token, Settlement::Move { event: Box::new(turn.event.clone()), only })
            })
            .collect();
        let answers = subscription.settle(items).await?;
        let (mut back, mut fatal) = (Vec::new(), None);
        for (turn, answer) in batch.iter().zip(answers) {
            match answer {
                Ok(receipt) => {
                    let position = receipt.map_or(Position::Unknown, |receipt| receipt.position);
                    receipts.note(&turn.dead, &Done::Went(&turn.way, position));
                }
                Err(error) if error.detail().operation == TAKEN_OVER => return Err(error.into()),
                Err(error) if error.kind() == Kind::Lost => {
                    // On queues it was the connection that was lost: nobody else has the letter, and it comes again.
                    let name = turn.dead.event.position();
                    if error.detail().operation == STORED && wanted.comes_again_done(name) {
                        receipts.note(&turn.dead, &Done::Went(&turn.way, Position::Unknown));
                    } else if !wanted.comes_again(name) {
                        receipts.note(&turn.dead, &Done::Elsewhere);
                    }
                }
                Err(error) => {
                    receipts.note(&turn.dead, &Done::Failed(error.to_string()));
                    blocked.insert(turn.key);
                    back.push((turn.token, Settlement::Release));
                    if !matches!(
                        error.kind(),
                        Kind::Rejected | Kind::Invalid | Kind::Unroutable | Kind::NotFound
                    ) {
                        fatal = fatal.or(Some(error));
                    }
                }
            }
        }
        if !back.is_empty() {
            subscription.settle(back).await?;
        }
        // The next would fare no better.
        fatal.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn handle(
        &mut self,
        subscription: &dyn Subscription,
        batch: Vec<Turn>,
        tokens: &[Token],
        wanted: &mut Wanted,
        receipts: &mut Receipts,
        blocked: &mut HashSet<u64>,
    ) -> anyhow::Result<Ended> {
        let Some(hands) = &mut self.hands else { return Ok(Ended::Whole) };
        for turn in batch {
            let group = turn.dead.letter.group.as_deref();
            let mut handled =
                std::pin::pin!(hands.handle(turn.event.clone(), turn.attempt, group, &self.session.stop));
            let result = loop {
                tokio::select! {
                    biased;
                    result = &mut handled => break result,
                    () = tokio::time::sleep(LEASE / 3) => subscription.extend(tokens).await?,
                }
            }?;
            let (settlement, done) = match result {
                Ok(()) => (Settlement::Ack, Done::Handled),
                Err(why) => (Settlement::Release, Done::Failed(why)),
            };
            let answer = subscription.settle(vec![(turn.token, settlement)]).await?.into_iter().next();
            let done = match answer {
                Some(Err(error)) if error.kind() == Kind::Lost && error.detail().operation != TAKEN_OVER => {
                    match done {
                        Done::Handled if !wanted.comes_again_done(turn.dead.event.position()) => {
                            Done::Elsewhere
                        }
                        done => done,
                    }
                }
                Some(Err(error)) => return Err(error.into()),
                _ => done,
            };
            if let Done::Failed(why) = &done {
                blocked.insert(turn.key);
                let why = crate::deadletter::fingerprint::headline(why).into_owned();
                let id = turn.dead.event.position();
                self.session.ui.line(format_args!("{}  {id}  {why}", self.session.ui.err.error("failed")));
            }
            receipts.note(&turn.dead, &done);
        }
        match self.session.stop.is_requested() {
            true => Ok(Ended::Stopped),
            false => Ok(Ended::Whole),
        }
    }
}

/// Makes the topic of those that have been round too often, where the broker does not do that by itself.
pub async fn make_parked(session: &Session, dlq: &Name) -> anyhow::Result<()> {
    let parked = format!("{dlq}{PARKED}");
    let broker = &session.broker;
    if session.endpoint.backend == "local" || place(session, &parked).await?.exists {
        return Ok(());
    }
    match broker.create_topic(&parked, &[]).await {
        Ok(()) => session.ui.status(format_args!("made {parked} on {}", session.endpoint.name)),
        // Another run was faster.
        Err(_) if place(session, &parked).await?.exists => (),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Waits for `what` and keeps what is in hand ours meanwhile. `None`: somebody asked us to stop.
async fn alive<T>(
    session: &Session,
    subscription: &dyn Subscription,
    tokens: &[Token],
    what: impl Future<Output = T>,
) -> anyhow::Result<Option<T>> {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            () = session.stop.requested() => return Ok(None),
            done = &mut what => return Ok(Some(done)),
            () = tokio::time::sleep(LEASE / 3) => subscription.extend(tokens).await?,
        }
    }
}
