//! What goes wrong, on order; and what can be seen of a broker from behind.

use std::time::Duration;

use evcat::broker::Token;
use evcat::event::Name;
use tokio::time::Instant;

use crate::simulated::{Shape, World};

impl World {
    /// Takes away what this shape takes away, chosen by `nth`: a partition after saying so, a lease, a channel.
    pub fn disturb(&self, nth: usize) {
        let mut store = self.store();
        let mut out: Vec<(u64, Token)> = Vec::new();
        for (id, member) in &store.members {
            out.extend(member.held.keys().map(|token| (*id, *token)));
        }
        out.sort();
        let Some((id, token)) = out.get(nth % out.len().max(1)).copied() else { return };
        match self.shape {
            Shape::Log => {
                let held = store.members[&id].held[&token].clone();
                let queue = &store.topics[&held.topic].groups[&held.group];
                let partition = queue.items[&held.serial].partition;
                if queue.owners[partition].is(id) {
                    store.revoke(&held.topic, &held.group, partition, Some(id));
                }
            }
            Shape::Lease | Shape::Fifo => store.lose(id, vec![token]),
            Shape::Push => store.lose_all(id),
        }
        drop(store);
        self.ring();
    }

    /// Nobody reaches it for so long: every call answers that, at once.
    pub fn go_away(&self, so_long: Duration) {
        self.store().away_until = Some(Instant::now() + so_long);
        self.ring();
    }

    /// The next settle happens, and its answer is lost.
    pub fn lose_an_answer(&self) {
        self.store().lose_an_answer = true;
    }

    /// So many settlements fail, and nothing of them happens.
    pub fn refuse_to_settle(&self, so_many: u32) {
        self.store().refuse = so_many;
    }

    /// What was settled last is delivered again, by itself.
    pub fn duplicate(&self) {
        let mut store = self.store();
        let Some((topic, group, serial, mut item)) = store.last_settled.clone() else { return };
        item.free();
        if let Ok(queue) = store.queue("fault", &topic, &group) {
            queue.items.entry(serial).or_insert(item);
        }
        drop(store);
        self.ring();
    }

    /// Nothing more goes wrong.
    pub fn calm(&self) {
        let mut store = self.store();
        (store.away_until, store.lose_an_answer, store.refuse) = (None, false, 0);
    }

    /// Whether every event of a group is settled.
    pub fn is_settled(&self, topic: &str, group: &str) -> bool {
        self.store().topics[topic].groups[group].items.is_empty()
    }

    /// How often events were handed out, less those that came back as if they never had been.
    pub fn tried(&self, topic: &str, group: &str) -> u32 {
        let store = self.store();
        store.topics[topic].groups[group].items.values().map(|item| item.handed_out).sum()
    }

    /// The payloads of what was stored in a topic.
    pub fn stored(&self, topic: &str) -> Vec<i64> {
        let store = self.store();
        let Some(topic) = store.topics.get(&Name::from(topic)) else { return Vec::new() };
        let rows = topic.partitions.iter().flat_map(|partition| &partition.rows);
        rows.map(|(_, event)| crate::number(event)).collect()
    }
}
