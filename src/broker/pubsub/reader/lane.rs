//! One topic of a look: a task pulls its subscription and acks what it has handed on.

use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::broker::pubsub::error::About;
use crate::broker::pubsub::link::Link;
use crate::broker::pubsub::pull::{Outcome, Pull, Wish, acknowledge};
use crate::broker::pubsub::{message, subscriptions};
use crate::broker::{Kind, Result};
use crate::event::{Batch, Event, HeadersBuf, Name};

/// Messages, and bytes, that the service sends ahead.
const AHEAD: (i64, i64) = (4000, 16 << 20);
/// Batches that wait to be taken.
const WAITING: usize = 4;
/// Nobody else works on it: so long may it take us, in seconds.
const LEASE: i32 = 600;
/// The longest that removing takes: what is not removed then is deleted by the service a day later.
const LEAVING: Duration = Duration::from_secs(10);

type Came = Result<Vec<Event>>;

/// When something came last, and how many batches were not taken yet.
struct Pulse {
    last: Instant,
    waiting: usize,
}

/// See the module.
pub struct Lane {
    /// Its topic.
    pub topic: Name,
    /// Nothing is taken now.
    pub held: bool,
    link: Arc<Link>,
    about: About,
    subscription: String,
    came: mpsc::Receiver<Came>,
    pulse: Arc<Mutex<Pulse>>,
    task: JoinHandle<()>,
    removed: bool,
}

impl Lane {
    /// Begins to pull.
    pub fn begin(link: Arc<Link>, about: About, topic: Name, subscription: String) -> Lane {
        let (sender, came) = mpsc::channel(WAITING);
        let pulse = Arc::new(Mutex::new(Pulse { last: Instant::now(), waiting: 0 }));
        let wish = Wish {
            subscription: subscription.clone(),
            lease: LEASE,
            messages: AHEAD.0,
            bytes: AHEAD.1,
            client: format!("{:032x}", fastrand::u128(..)),
        };
        let pull = Pull::new(link.clone(), about.clone(), wish);
        let work = Work {
            link: link.clone(),
            about: about.clone(),
            topic: topic.clone(),
            subscription: subscription.clone(),
            pulse: pulse.clone(),
        };
        let task = tokio::spawn(work.run(pull, sender));
        Lane { topic, held: false, link, about, subscription, came, pulse, task, removed: false }
    }

    /// Whether something has come that nobody has taken.
    pub fn is_behind(&self) -> bool {
        beat(&self.pulse, |pulse| pulse.waiting > 0)
    }

    /// When something came last.
    pub fn last(&self) -> Instant {
        beat(&self.pulse, |pulse| pulse.last)
    }

    /// What has come.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Came> {
        let came = std::task::ready!(self.came.poll_recv(context));
        beat(&self.pulse, |pulse| {
            pulse.waiting = pulse.waiting.saturating_sub(1);
            pulse.last = Instant::now();
        });
        Poll::Ready(
            came.unwrap_or_else(|| Err(self.about.error(Kind::Broken, "the task that reads has ended"))),
        )
    }

    /// Removes the subscription.
    pub async fn end(mut self) -> Result<()> {
        self.task.abort();
        self.removed = true;
        let removing = subscriptions::delete(&self.link, &self.about, &self.subscription);
        match timeout(LEAVING, removing).await {
            // Somebody else was faster.
            Ok(Err(error)) if error.kind() == Kind::NotFound => Ok(()),
            Ok(result) => result,
            Err(_) => {
                let message = "its temporary subscription could not be removed; Pub/Sub does it in a day";
                Err(self.about.error(Kind::Unreachable, message))
            }
        }
    }
}

/// Whoever did not end it is on the way out by an error: it is tried all the same.
impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
        if !self.removed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (link, about, subscription) =
                (self.link.clone(), self.about.clone(), self.subscription.clone());
            runtime.spawn(async move { subscriptions::delete(&link, &about, &subscription).await });
        }
    }
}

fn beat<T>(pulse: &Mutex<Pulse>, with: impl FnOnce(&mut Pulse) -> T) -> T {
    with(&mut pulse.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

struct Work {
    link: Arc<Link>,
    about: About,
    topic: Name,
    subscription: String,
    pulse: Arc<Mutex<Pulse>>,
}

impl Work {
    async fn run(self, mut pull: Pull, sender: mpsc::Sender<Came>) {
        let mut scratch = HeadersBuf::default();
        loop {
            let messages = match pull.next().await {
                Ok(messages) => messages,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            beat(&self.pulse, |pulse| {
                pulse.last = Instant::now();
                pulse.waiting += 1;
            });
            let (mut batch, mut ids) = (Batch::default(), Vec::new());
            for received in messages {
                ids.push(received.ack_id);
                if let Some(message) = &received.message {
                    message::push(&mut batch, &self.topic, message, &mut scratch);
                }
            }
            if sender.send(Ok(batch.finish().to_vec())).await.is_err() {
                return;
            }
            // What comes twice because this failed comes twice to us alone.
            let (link, about, subscription) =
                (self.link.clone(), self.about.clone(), self.subscription.clone());
            tokio::spawn(async move {
                if let Outcome::Failed(error) = acknowledge(&link, &about, &subscription, &ids).await {
                    tracing::debug!("{error}");
                }
            });
        }
    }
}
