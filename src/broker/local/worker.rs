//! A thread with its own [`Store`]: SQLite blocks, and the runtime must not.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::fault;
use super::file::{Place, Store};
use crate::broker::{Error, Kind, Result};

/// Starts a named thread. It is never joined: whoever needs its end waits for its answer.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name(format!("evcat-{name}")).spawn(body).map(drop).map_err(|error| {
        Error::new(Kind::Broken, "open", "", "no thread could be started").with_source(error)
    })
}

/// Starts a thread, opens a store on it, and answers when the store is open. Then `body` has the thread until it
/// returns.
pub async fn spawn_with_store(
    name: &str,
    place: &Arc<Place>,
    operation: &'static str,
    body: impl FnOnce(Store) + Send + 'static,
) -> Result<()> {
    let (opened, is_open) = oneshot::channel();
    let patience = place.patience.clone();
    let place = place.clone();
    spawn(name, move || match Store::open(&place, operation) {
        Ok(store) => {
            if opened.send(Ok(())).is_ok() {
                body(store);
            }
        }
        Err(error) => drop(opened.send(Err(error))),
    })?;
    patience.answer(operation, is_open).await?
}

/// The thread is no longer there: it panicked.
pub fn stopped(operation: &'static str) -> Error {
    Error::new(
        Kind::Broken,
        operation,
        "",
        "the thread of the local broker ended early; this is a bug in evcat",
    )
}

type Job = Box<dyn FnOnce(&mut Option<Store>) + Send>;

/// Does the short jobs of a broker one after the other, on a thread that starts with the first of them.
pub struct Worker {
    place: Arc<Place>,
    jobs: std::sync::Mutex<Option<mpsc::Sender<Job>>>,
}

impl Worker {
    /// Starts nothing yet.
    pub fn new(place: Arc<Place>) -> Worker {
        Worker { place, jobs: Default::default() }
    }

    /// Runs a job with the store, making the file where there is none.
    pub async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Store) -> fault::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(operation, move |place, slot| {
            let store = match slot {
                Some(store) => store,
                None => slot.insert(Store::open(place, operation)?),
            };
            job(store).map_err(|fault| store.explain(fault, operation))
        })
        .await
    }

    /// Runs a job with the store if there is a file; `None` where there is none, and none is made.
    pub async fn call_existing<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Store) -> fault::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        self.run(operation, move |place, slot| {
            if slot.is_none() {
                *slot = Store::open_existing(place, operation)?;
            }
            let Some(store) = slot else { return Ok(None) };
            job(store).map(Some).map_err(|fault| store.explain(fault, operation))
        })
        .await
    }

    /// Gives its store away, if it has one: who is about to open one need not. Its next job opens another.
    pub async fn give_store(&self) -> Result<Option<Store>> {
        if self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_none() {
            return Ok(None);
        }
        self.run("reader", |_, slot| Ok(slot.take())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Arc<Place>, &mut Option<Store>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let place = self.place.clone();
        let job: Job = Box::new(move |slot| drop(answer.send(job(&place, slot))));
        self.sender()?.send(job).map_err(|_| stopped(operation))?;
        self.place.patience.answer(operation, answered).await?
    }

    fn sender(&self) -> Result<mpsc::Sender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(sender) = &*jobs {
            return Ok(sender.clone());
        }
        let (sender, queue) = mpsc::channel::<Job>();
        spawn("broker", move || {
            let mut store = None;
            while let Ok(job) = queue.recv() {
                job(&mut store);
            }
        })?;
        *jobs = Some(sender.clone());
        Ok(sender)
    }
}
