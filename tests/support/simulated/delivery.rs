//! Who gets what next.

use std::collections::HashSet;

use evcat::broker::{Delivery, Received, Result, Token};
use evcat::event::{Extra, Name};
use tokio::time::Instant;

use super::Shape;
use super::members::{Held, MemberState};
use super::queue::{Item, Queue, State};
use super::store::Store;

impl Store {
    /// What a member is told now, if there is anything to say.
    pub fn say(&mut self, id: u64) -> Result<Option<Received>> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(None) };
        if let Some(said) = member.said.pop_front() {
            return Ok(Some(said));
        }
        for (topic, group) in member.sources.clone() {
            self.has_kept_up(&topic, &group)?;
        }
        let deliveries = self.hand_out(id);
        if !deliveries.is_empty() {
            return Ok(Some(Received::Deliveries(deliveries)));
        }
        Ok(self.is_over(id).then_some(Received::End))
    }

    fn hand_out(&mut self, id: u64) -> Vec<Delivery> {
        let (shape, now) = (self.shape, Instant::now());
        let Some(member) = self.members.get_mut(&id) else { return Vec::new() };
        let mut deliveries = Vec::new();
        for (topic, group) in member.sources.clone() {
            let Some(queue) = self.topics.get_mut(&topic).and_then(|t| t.groups.get_mut(&group)) else {
                continue;
            };
            let mut blocked = blocked_keys(shape, queue);
            for serial in in_order(shape, queue) {
                let Some(item) = queue.items.get_mut(&serial) else { continue };
                let State::Waiting { from } = item.state else { continue };
                if member.held.len() >= member.options.in_flight {
                    return deliveries;
                }
                let key = item.event.key();
                if from > now {
                    blocked.extend(key.filter(|_| shape == Shape::Fifo).map(<[u8]>::to_vec));
                    continue;
                }
                let owned = shape != Shape::Log || queue.owners[item.partition].is(id);
                if !owned || key.is_some_and(|key| blocked.contains(key)) || !member.wants(serial) {
                    continue;
                }
                self.minted += 1;
                let token = Token(self.minted);
                deliveries.push(deliver(shape, item, token, id));
                member.seen.insert(serial);
                let until = now + member.options.lease;
                let (topic, group): (Name, Name) = (topic.clone(), group.clone());
                member.held.insert(token, Held { topic, group, serial, until });
            }
        }
        deliveries
    }

    /// Whether nothing before the stop is left that this member could get, and it holds nothing.
    fn is_over(&self, id: u64) -> bool {
        let member = &self.members[&id];
        let released = State::Released { member: id };
        let left = |(topic, group): &(Name, Name)| {
            let queue = self.topics.get(topic).and_then(|topic| topic.groups.get(group));
            queue.is_some_and(|q| {
                q.items.iter().any(|(serial, i)| i.state != released && member.wants(*serial))
            })
        };
        member.stop.is_some() && member.held.is_empty() && !member.sources.iter().any(left)
    }
}

impl MemberState {
    /// Whether this event is before the stop.
    fn wants(&self, serial: u64) -> bool {
        self.stop.is_none_or(|stop| serial <= stop || self.budget.is_some())
            && self.budget.is_none_or(|budget| self.seen.len() < budget || self.seen.contains(&serial))
    }
}

/// SQS FIFO: nothing of a key is handed out while something of it is out.
fn blocked_keys(shape: Shape, queue: &Queue) -> HashSet<Vec<u8>> {
    let out = queue.items.values().filter(|item| !matches!(item.state, State::Waiting { .. }));
    let keys = out.filter_map(|item| item.event.key()).map(<[u8]>::to_vec);
    if shape == Shape::Fifo { keys.collect() } else { HashSet::new() }
}

/// As published, but for SQS, which promises no order and has none here.
fn in_order(shape: Shape, queue: &Queue) -> Vec<u64> {
    let mut serials: Vec<u64> = queue.items.keys().copied().collect();
    if shape == Shape::Lease {
        serials.sort_by_key(|serial| serial ^ 3);
    }
    serials
}

fn deliver(shape: Shape, item: &mut Item, token: Token, member: u64) -> Delivery {
    item.state = State::Out { token, member };
    item.handed_out += 1;
    let mut event = item.event.clone();
    if shape == Shape::Push && item.handed_out > 1 {
        event = event.with_extra(Extra { properties: vec![("redelivered".into(), "true".into())] });
    }
    let attempt = shape.leases().then_some(item.handed_out);
    Delivery { event, token, attempt }
}
