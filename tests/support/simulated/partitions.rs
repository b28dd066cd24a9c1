//! The log alone: which member works on which partition, and how one passes to another.

use std::time::Duration;

use evcat::broker::{Received, Token};
use evcat::event::Name;
use tokio::time::Instant;

use super::Shape;
use super::store::Store;

/// Who works on a partition.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    pub member: Option<u64>,
    /// It is being taken away: nothing of it is handed out meanwhile.
    pub moving: Option<Moving>,
}

#[derive(Clone, Debug)]
pub struct Moving {
    to: Option<u64>,
    until: Instant,
}

impl Owner {
    pub fn is(&self, member: u64) -> bool {
        self.member == Some(member) && self.moving.is_none()
    }
}

impl Store {
    /// Shares the partitions of a group among its members anew. A partition that moves is revoked first.
    pub fn rebalance(&mut self, topic: &Name, group: &Name) {
        if self.shape != Shape::Log {
            return;
        }
        let works = |m: &super::members::MemberState| m.joined && m.works_on(topic, group);
        let mut joined: Vec<u64> = self.members.iter().filter(|(_, m)| works(m)).map(|(id, _)| *id).collect();
        joined.sort();
        let Some(partitions) = self.topics.get(topic).map(|topic| topic.partitions.len()) else { return };
        let Ok(queue) = self.queue("rebalance", topic, group) else { return };
        queue.owners.resize_with(partitions, Owner::default);
        for partition in 0..partitions {
            let to = joined.get(partition % joined.len().max(1)).copied();
            let owner =
                &mut self.topics.get_mut(topic).unwrap().groups.get_mut(group).unwrap().owners[partition];
            match &mut owner.moving {
                Some(moving) => moving.to = to,
                None if owner.member != to => self.revoke(topic, group, partition, to),
                None => {}
            }
        }
        self.finish_moves();
    }

    /// Takes a partition from its owner, who has its grace to settle what it holds of it.
    pub fn revoke(&mut self, topic: &Name, group: &Name, partition: usize, to: Option<u64>) {
        let owner = self.topics[topic].groups[group].owners[partition].member;
        let tokens = self.held_in(owner, topic, group, partition);
        let mut grace = Duration::ZERO;
        if let Some(member) = owner.and_then(|owner| self.members.get_mut(&owner)) {
            grace = member.options.grace;
            if !tokens.is_empty() {
                member.said.push_back(Received::Revoking(tokens));
            }
        }
        let moving = Some(Moving { to, until: Instant::now() + grace });
        self.topics.get_mut(topic).unwrap().groups.get_mut(group).unwrap().owners[partition].moving = moving;
    }

    /// Hands over the partitions whose last owner has settled everything, or has had its time.
    pub fn finish_moves(&mut self) {
        let mut moves = Vec::new();
        for (topic, info) in &self.topics {
            for (group, queue) in &info.groups {
                let moving = queue.owners.iter().enumerate().filter(|(_, owner)| owner.moving.is_some());
                moves.extend(
                    moving.map(|(partition, owner)| (topic.clone(), group.clone(), partition, owner.clone())),
                );
            }
        }
        for (topic, group, partition, owner) in moves {
            let Some(moving) = owner.moving else { continue };
            let tokens = self.held_in(owner.member, &topic, &group, partition);
            if !tokens.is_empty() && moving.until > Instant::now() {
                continue;
            }
            if let Some(member) = owner.member {
                self.lose(member, tokens);
            }
            let queue = self.topics.get_mut(&topic).unwrap().groups.get_mut(&group).unwrap();
            // Whoever has it now reads on from what was committed, even if it is the same member.
            if let Some(member) = owner.member {
                queue.free_released(member, Some(partition));
            }
            queue.owners[partition] = Owner { member: moving.to, moving: None };
        }
    }

    fn held_in(&self, member: Option<u64>, topic: &Name, group: &Name, partition: usize) -> Vec<Token> {
        let Some(member) = member.and_then(|member| self.members.get(&member)) else { return Vec::new() };
        let items = &self.topics[topic].groups[group].items;
        let here = member.held.iter().filter(|(_, held)| {
            held.topic == *topic
                && held.group == *group
                && items.get(&held.serial).is_some_and(|item| item.partition == partition)
        });
        here.map(|(token, _)| *token).collect()
    }
}
