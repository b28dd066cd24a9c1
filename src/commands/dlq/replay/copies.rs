//! `--keep` and `@FILE`: copies are published, or handled here, and nothing is settled.

use std::collections::HashSet;

use super::receipts::{Done, Receipts};
use super::survey::changes;
use super::work::{Ended, Work};
use crate::broker::PublishOptions;
use crate::commands::dlq::heap::{Dead, Dlq, Heap};
use crate::deadletter::copy;
use crate::deadletter::plan::{Way, way};
use crate::event::{Event, Position};
use crate::flow::outbox::{Outbox, Window};

type Going = Vec<(Dead, Way)>;

impl Work<'_> {
    /// Goes through the letters once more, pass by pass.
    pub async fn copy(
        &mut self,
        dlq: &Dlq,
        passes: Vec<Vec<Position>>,
        receipts: &mut Receipts,
    ) -> anyhow::Result<Ended> {
        let publisher = self.session.broker.publisher(PublishOptions::default()).await?;
        let mut outbox: Outbox<Going> = Outbox::new(publisher, Window::default());
        for positions in passes {
            let wanted: HashSet<Position> = positions.into_iter().collect();
            let mut heap = Heap::open(self.session, dlq, None).await?;
            while let Some(dead) = heap.next().await? {
                let chosen = dead.into_iter().filter(|dead| wanted.contains(dead.event.position()));
                if let Ended::Stopped = self.copy_some(chosen.collect(), &mut outbox, receipts).await? {
                    return Ok(Ended::Stopped);
                }
                receipts.flush().await?;
            }
            let stopped = heap.stopped();
            heap.close().await?;
            outbox.finish(|confirmed| note(confirmed, receipts)).await;
            receipts.flush().await?;
            if stopped {
                return Ok(Ended::Stopped);
            }
        }
        Ok(Ended::Whole)
    }

    async fn copy_some(
        &mut self,
        dead: Vec<Dead>,
        outbox: &mut Outbox<Going>,
        receipts: &mut Receipts,
    ) -> anyhow::Result<Ended> {
        self.session.stop.begin();
        let ways: Vec<Way> = dead.iter().map(|dead| way(&dead.letter, self.rules, self.places)).collect();
        let going: Vec<&Dead> =
            dead.iter().zip(&ways).filter(|(_, way)| changes(way)).map(|(dead, _)| dead).collect();
        let mut contents = self.edits.apply(&going).await?.into_iter();
        let (mut events, mut those): (Vec<Event>, Going) = Default::default();
        for (dead, way) in dead.into_iter().zip(ways) {
            if !changes(&way) {
                continue;
            }
            match contents.next() {
                Some(Ok(made)) => {
                    events.push(copy::put_back(
                        &made.event,
                        &dead.letter,
                        &way,
                        &self.run,
                        made.of.as_deref(),
                    ));
                    those.push((dead, way));
                }
                Some(Err(why)) => receipts.note(&dead, &Done::Stays(why)),
                None => (),
            }
        }
        while !events.is_empty() {
            let permitted = tokio::select! {
                biased;
                () = self.session.stop.requested() => {
                    outbox.finish(|confirmed| note(confirmed, receipts)).await;
                    return Ok(Ended::Stopped);
                }
                count = self.pacer.permit(&events) => count.clamp(1, events.len()),
            };
            let now: Vec<Event> = events.drain(..permitted).collect();
            let tag: Going = those.drain(..permitted).collect();
            match &mut self.hands {
                None => outbox.push(now.into(), tag, |confirmed| note(confirmed, receipts)).await,
                Some(hands) => {
                    for (event, (dead, _)) in now.into_iter().zip(tag) {
                        let group = dead.letter.group.as_deref();
                        match hands.handle(event, 1, group, &self.session.stop).await? {
                            Ok(()) => receipts.note(&dead, &Done::Handled),
                            Err(why) => receipts.note(&dead, &Done::Failed(why)),
                        }
                    }
                }
            }
        }
        Ok(Ended::Whole)
    }
}

fn note(confirmed: crate::flow::outbox::Confirmed<Going>, receipts: &mut Receipts) {
    let those = &confirmed.tag[confirmed.offset..];
    for ((dead, way), receipt) in those.iter().zip(&confirmed.receipts) {
        match receipt {
            Ok(receipt) => receipts.note(dead, &Done::Went(way, receipt.position.clone())),
            Err(error) => receipts.note(dead, &Done::Failed(error.to_string())),
        }
    }
}
