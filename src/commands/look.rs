//! Looking where a look is a lease: all that waits is taken, shown, and given back at the end.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::broker::{
    Delivery, Error, Kind, Read, Reader, Received, Result, Settlement, Source, Stop, SubscribeOptions,
    Subscription,
};
use crate::event::{Name, Position};
use crate::session::Session;

/// So many are on their way to be shown at a time.
const IN_HAND: usize = 1000;
/// Where a lease has an end.
const LEASE: Duration = Duration::from_secs(60);

/// Takes all that waits there now, and says first what that touches. What comes out has a name to be chosen by.
pub async fn open(session: &Session, topic: &Name) -> anyhow::Result<Box<dyn Reader>> {
    let options = SubscribeOptions {
        stop: Stop::Now,
        in_flight: IN_HAND,
        lease: LEASE,
        grace: LEASE / 3,
        ordered: false,
    };
    let source = Source::DeadLetters { dlq: topic.clone(), chosen: None };
    session.ui.status(format_args!(
        "looking takes what waits in {topic} from its other readers until this ends, and counts as a delivery; \
         all is given back, marked as redelivered, and may then come in another order"
    ));
    let subscription = session.broker.subscription(source, options).await?;
    let (said, reads) = mpsc::channel(1);
    Ok(Box::new(Look { reads, task: tokio::spawn(take(subscription, said)) }))
}

/// Hands over what comes until the end, or until nobody wants more; then all goes back.
async fn take(subscription: Box<dyn Subscription>, said: mpsc::Sender<Result<Read>>) -> Result<()> {
    loop {
        let received = tokio::select! {
            () = said.closed() => break,
            received = subscription.receive() => received,
        };
        let read = match received {
            Ok(Received::Deliveries(deliveries)) => {
                // Not shown to us again, and ours until the end.
                let release = |delivery: &Delivery| (delivery.token, Settlement::Release);
                match subscription.settle(deliveries.iter().map(release).collect()).await {
                    Ok(_) => Ok(Read::Events(deliveries.into_iter().map(|one| one.event).collect())),
                    Err(error) => Err(error),
                }
            }
            Ok(Received::Revoking(_) | Received::Lost(_)) => continue,
            Ok(Received::End) => Ok(Read::End),
            Err(error) => Err(error),
        };
        let goes_on = matches!(read, Ok(Read::Events(_)));
        if said.send(read).await.is_err() || !goes_on {
            break;
        }
    }
    subscription.close().await
}

struct Look {
    reads: mpsc::Receiver<Result<Read>>,
    task: JoinHandle<Result<()>>,
}

#[async_trait]
impl Reader for Look {
    async fn next(&mut self) -> Result<Read> {
        self.reads.recv().await.unwrap_or(Ok(Read::End))
    }

    fn start(&self) -> &[(Name, Position)] {
        &[]
    }

    fn end(&self) -> &[(Name, Position)] {
        &[]
    }

    fn left(&self) -> Option<u64> {
        None
    }

    fn hold(&mut self, _partitions: &[(Name, Option<i32>)]) {
        // One place is looked into at a time, so that nothing waits for another.
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let Look { reads, task } = *self;
        drop(reads);
        let gone = |_| Error::new(Kind::Broken, "close", "", "the task that looks has ended");
        task.await.map_err(gone)?
    }
}
