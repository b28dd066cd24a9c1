//! Working.

use async_trait::async_trait;
use evcat::broker::{
    Error, Kind, Receipt, Received, Result, Settlement, Source, SubscribeOptions, Subscription, Taken, Token,
};
use evcat::event::{Name, Position};
use tokio::time::Instant;

use super::queue::{Item, OWN, Queue, RUN};
use super::store::Store;
use super::{Shape, World};

/// See [`evcat::broker::Broker::subscription`].
pub fn open(world: &World, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
    let unsupported =
        |name: &str, what| Err(Error::new(Kind::Unsupported, "subscription", name.to_owned(), what));
    let log = world.shape == Shape::Log;
    let sources = match source {
        Source::Group { topics, group } => topics.into_iter().map(|topic| (topic, group.clone())).collect(),
        Source::Queue(queue) if log => {
            return unsupported(&queue, "there are no queues here; a group is one");
        }
        Source::DeadLetters { dlq, chosen: Some(_) } if !log => {
            return unsupported(&dlq, "nothing can be chosen from a queue; take all, and release the rest");
        }
        Source::DeadLetters { dlq, chosen } if log => {
            let mut store = world.reach("subscription")?;
            let run = begin_run(&mut store, &dlq, chosen)?;
            vec![(dlq, run)]
        }
        Source::Queue(queue) | Source::DeadLetters { dlq: queue, .. } => vec![(queue, OWN.into())],
    };
    let id = world.reach("subscription")?.join(sources, options)?;
    world.ring();
    Ok(Box::new(Member { world: world.clone(), id }))
}

/// A run over dead letters has a queue of its own, of those that were chosen and that nobody has settled.
fn begin_run(store: &mut Store, dlq: &Name, chosen: Option<Vec<Position>>) -> Result<Name> {
    let run: Name = format!("{RUN}{}", store.mint()).into();
    let topic = store.topic("subscription", dlq)?;
    let mut queue = Queue::default();
    for (at, partition) in topic.partitions.iter().enumerate() {
        for (serial, event) in &partition.rows {
            let wanted = chosen.as_ref().is_none_or(|chosen| chosen.contains(event.position()));
            if wanted && !topic.settled.contains(event.position()) {
                queue.items.insert(*serial, Item::new(event.clone(), at, Instant::now()));
            }
        }
    }
    topic.groups.insert(run.clone(), queue);
    Ok(run)
}

struct Member {
    world: World,
    id: u64,
}

#[async_trait]
impl Subscription for Member {
    async fn receive(&self) -> Result<Received> {
        loop {
            let bell = self.world.bell.notified();
            {
                let mut store = self.world.reach("receive")?;
                store.hear(self.id);
                // Taken and returned without an await between, so that dropping this loses nothing.
                if let Some(said) = store.say(self.id)? {
                    return Ok(said);
                }
            }
            self.world.rung(bell).await;
        }
    }

    async fn taken(&self) -> Taken {
        loop {
            let bell = self.world.bell.notified();
            {
                let said = self.world.store().members.get_mut(&self.id).and_then(|member| {
                    let is_taken =
                        |said: &Received| matches!(said, Received::Revoking(_) | Received::Lost(_));
                    let at = member.said.iter().position(is_taken)?;
                    member.said.remove(at)
                });
                match said {
                    Some(Received::Revoking(tokens)) => return Taken::Revoking(tokens),
                    Some(Received::Lost(tokens)) => return Taken::Lost(tokens),
                    _ => {}
                }
            }
            self.world.rung(bell).await;
        }
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let takes = self.world.store().settle_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let mut store = self.world.reach("settle")?;
        let answers = items.into_iter().map(|(token, how)| store.settle(self.id, token, how)).collect();
        store.finish_moves();
        let answer_is_lost = std::mem::take(&mut store.lose_an_answer);
        drop(store);
        self.world.ring();
        match answer_is_lost {
            true => Err(Error::new(Kind::InDoubt, "settle", "simulated", "no answer; it may have happened")),
            false => Ok(answers),
        }
    }

    async fn extend(&self, tokens: &[Token]) -> Result<()> {
        let mut store = self.world.reach("extend")?;
        store.hear(self.id);
        if let Some(member) = store.members.get_mut(&self.id) {
            let until = Instant::now() + member.options.lease;
            let named = member.held.iter_mut().filter(|(token, _)| tokens.contains(token));
            named.for_each(|(_, held)| held.until = until);
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.world.reach("close")?.leave(self.id);
        self.world.ring();
        Ok(())
    }
}

/// Without `close` its process died: a push notices at once, the others when they have not heard of it for a lease.
impl Drop for Member {
    fn drop(&mut self) {
        if let Ok(mut store) = self.world.store.lock()
            && let Some(member) = store.members.get_mut(&self.id)
        {
            member.died = true;
        }
    }
}
