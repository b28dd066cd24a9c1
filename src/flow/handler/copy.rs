//! A copy into another topic, perhaps on another broker: a live, resumable bridge. An event is handled when the copy
//! was acknowledged.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Crew;
use crate::broker::{Kind, Publisher};
use crate::event::{Batch, Event, Events, HeadersBuf, Name, Position, cloudevents, own};
use crate::flow::driver::{Pass, Tell, Told};
use crate::flow::lanes::{Failure, Verdict};
use crate::flow::outbox::{Outbox, Window};

/// Where to.
pub struct Copying {
    /// Sends the copies.
    pub publisher: Box<dyn Publisher>,
    /// The topic; `None`: the same name.
    pub into: Option<Name>,
    /// How that broker carries CloudEvents.
    pub binding: cloudevents::Binding,
    /// Whether that broker takes a timestamp.
    pub keep_timestamp: bool,
}

/// Copies, in the order received. What has left cannot be called back: its receipt ends it.
pub fn copy(
    copying: Copying,
    window: Window,
    tell: Tell,
    told: mpsc::UnboundedReceiver<Told>,
    mut tasks: JoinSet<()>,
) -> Crew<Pass> {
    let (give, orders) = mpsc::unbounded_channel();
    tasks.spawn(serve(copying, window, orders, tell));
    let pass = move |events| drop(give.send(events));
    Crew { handler: Box::new(pass), told, tasks }
}

async fn serve(
    copying: Copying,
    window: Window,
    mut orders: mpsc::UnboundedReceiver<Arc<[Event]>>,
    tell: Tell,
) {
    let Copying { publisher, into, binding, keep_timestamp } = copying;
    let mut outbox = Outbox::new(publisher, window);
    let mut open = true;
    while open || !outbox.is_empty() {
        tokio::select! {
            Some(confirmed) = outbox.next(), if !outbox.is_empty() => {
                for receipt in confirmed.receipts {
                    let verdict = match receipt {
                        Ok(_) => Verdict::Ack,
                        Err(error) if matches!(error.kind(), Kind::Rejected | Kind::Invalid | Kind::Unroutable) => {
                            Verdict::Dead(Failure::new("copy", "the copy was refused").said(error.to_string()))
                        }
                        Err(error) => {
                            let _ = tell.send(Told::Broken(error.into()));
                            Verdict::Killed
                        }
                    };
                    let _ = tell.send(Told::Passed(1, verdict));
                }
            }
            events = orders.recv(), if open => match events {
                Some(events) => outbox.send(copies(&events, into.as_ref(), binding, keep_timestamp), ()),
                None => open = false,
            }
        }
    }
}

/// Key, headers and payload as they are; the headers of a CloudEvent as the other broker has them. A copy is for
/// everybody, also one of an event that was put back for one group.
fn copies(
    events: &[Event],
    into: Option<&Name>,
    binding: cloudevents::Binding,
    keep_timestamp: bool,
) -> Events {
    let mut batch = Batch::default();
    for event in events {
        let renamed = cloudevents::rename(event.headers(), binding);
        let mut headers = HeadersBuf::default();
        for (name, value) in
            renamed.as_headers().iter().filter(|(name, _)| *name != own::REPLAY_GROUP.as_bytes())
        {
            headers.push(name, value);
        }
        batch.push(
            into.unwrap_or(event.topic()),
            event.key(),
            headers.as_headers(),
            event.payload(),
            event.timestamp().filter(|_| keep_timestamp),
            Position::Unknown,
        );
    }
    batch.finish()
}
