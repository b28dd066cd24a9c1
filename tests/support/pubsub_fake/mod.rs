//! A Pub/Sub of our own for tests: as much of the service, by gRPC, as evcat uses, with what no other stand-in has:
//! attempts per subscription, dead letters with their attributes, the pauses of a retry policy, retention and a seek back
//! in time, acks that are exactly once.
//!
//! Written from the comments of Google's `pubsub.proto`, and never against evcat alone: whatever `pstest` can do too is
//! run against that as well. It has no filters, schemas, snapshots, push, IAM, and keeps all in memory.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod service;
mod state;
mod subscription;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_stream::wrappers::TcpListenerStream;

use service::{Api, Publisher, Subscriber};
pub use state::State;

/// What all calls share.
pub struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A server on a port of its own, which ends with this.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// On a free port.
    pub fn start() -> Fake {
        Fake::at("127.0.0.1:0".parse().unwrap())
    }

    /// On this one.
    pub fn at(address: SocketAddr) -> Fake {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Notify::new() });
        let (stop, stopped) = oneshot::channel();
        let (told, tell) = std::sync::mpsc::channel();
        let serving = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let server = tonic::transport::Server::builder()
                    .initial_stream_window_size(4 << 20)
                    .initial_connection_window_size(16 << 20)
                    .add_service(Api::<Publisher>::new(serving.clone()))
                    .add_service(Api::<Subscriber>::new(serving))
                    .serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    served = server => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let address = tell.recv_timeout(Duration::from_secs(10)).expect("it listens");
        Fake { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `pubsub://PROJECT` on it.
    pub fn url(&self, project: &str) -> String {
        format!("pubsub://{project}?emulator={}", self.address)
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Waits for its end, which somebody else brings about.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server did not end well");
        }
    }
}
