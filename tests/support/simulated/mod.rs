//! Three brokers in memory, each the shape of a family: a log, queues with leases, queues that push.
//!
//! They share one store and differ where `shape` says so, each as honest about what it cannot do as the brokers that it
//! stands for. Time is tokio's, so that tests can let it pass at once.
//!
//! | file | what it owns |
//! |---|---|
//! | `shape` | what the shapes can do, what they refuse, how they name a place |
//! | `store` | topics, what is published, retention |
//! | `queue` | what one group has not settled |
//! | `starts` | where to begin and to end |
//! | `members` | members, and how deliveries end |
//! | `delivery` | who gets what next |
//! | `partitions` | the log alone: who owns which partition, and revocation |
//! | `broker`, `publisher`, `reader`, `subscription` | the four traits over that |

mod broker;
mod delivery;
mod members;
mod partitions;
mod publisher;
mod queue;
mod reader;
mod shape;
mod starts;
mod store;
mod subscription;

pub use shape::Shape;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use evcat::broker::{Broker, Error, Kind, Result};
use tokio::sync::{Notify, futures::Notified};

pub use store::Store;

/// A broker, shared by all of its clients.
#[derive(Clone)]
pub struct World {
    store: Arc<Mutex<Store>>,
    bell: Arc<Notify>,
    /// What it is like.
    pub shape: Shape,
}

impl World {
    /// An empty one.
    pub fn new(shape: Shape) -> World {
        World { store: Arc::new(Mutex::new(Store::new(shape))), bell: Arc::default(), shape }
    }

    /// A client of it.
    pub fn connect(&self) -> Arc<dyn Broker> {
        Arc::new(self.clone())
    }

    /// Looks at it, or changes it, behind the back of its clients.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// The same for a client: time passes first, and it may not be reached.
    fn reach(&self, operation: &'static str) -> Result<MutexGuard<'_, Store>> {
        let mut store = self.store();
        store.asked += 1;
        if store.away_until.is_some_and(|until| until > tokio::time::Instant::now()) {
            return Err(Error::new(Kind::Unreachable, operation, "simulated", "nobody answers"));
        }
        store.pass_time();
        Ok(store)
    }

    /// Wakes whoever waits for something to be said.
    pub fn ring(&self) {
        self.bell.notify_waiters();
    }

    /// Waits for the bell, or for time to pass.
    async fn rung(&self, bell: Notified<'_>) {
        let _ = tokio::time::timeout(Duration::from_millis(50), bell).await;
    }
}
