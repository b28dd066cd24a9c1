//! Publishing.

use std::time::Duration;

use evcat::broker::{Error, Kind, PublishOptions, Publisher, Receipts, Result};
use evcat::event::Events;

use super::World;

/// See [`evcat::broker::Broker::publisher`].
pub fn open(world: &World, options: PublishOptions) -> Result<Box<dyn Publisher>> {
    let longest = world.shape.capabilities("").publish_delay;
    match options.delay {
        Some(delay) if longest.is_none_or(|longest| delay > longest) => {
            let message = "nothing can be held back for so long here";
            Err(Error::new(Kind::Unsupported, "publisher", "", message))
        }
        delay => Ok(Box::new(Sender { world: world.clone(), delay: delay.unwrap_or_default() })),
    }
}

struct Sender {
    world: World,
    delay: Duration,
}

impl Publisher for Sender {
    fn send(&self, events: Events) -> Receipts {
        // In the call, so that call order is send order.
        let mut receipts = Vec::new();
        for event in &events {
            // What this shape refuses needs no broker to be refused.
            let sent = self.world.shape.check_event(event);
            receipts.push(sent.and_then(|()| self.world.reach("send")?.publish(event, self.delay)));
        }
        self.world.ring();
        Box::pin(std::future::ready(receipts))
    }
}
