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
use tokio::sync::{Notify, oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;

use service::{Api, Publisher, Subscriber};
pub use state::State;

/// What all calls share.
pub struct Shared {
    state: Mutex<State>,
    changed: Notify,
    paused: watch::Sender<bool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns when it is not paused.
    async fn goes_on(&self) {
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}

/// A server on a port of its own, which ends with this.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// All connections end with it.
    fn end(self) {
        drop(self.stop);
        let ended = self.thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server did not end well");
    }
}

impl Fake {
    /// On a free port.
    pub fn start() -> Fake {
        Fake::at("127.0.0.1:0".parse().unwrap())
    }

    /// On this one.
    pub fn at(address: SocketAddr) -> Fake {
        let paused = watch::Sender::new(false);
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), paused });
        let (address, running) = serve(address, shared.clone());
        Fake { address, shared, running: Some(running) }
    }

    /// Breaks all connections, listens to nobody for so long, and is there again with all that it held: what the service
    /// has confirmed it keeps, and its leases go on.
    pub fn restart(&mut self, away: Duration) {
        self.running.take().unwrap().end();
        std::thread::sleep(away);
        self.running = Some(serve(self.address, self.shared.clone()).1);
    }

    /// From now on it takes connections and requests, and answers nothing, until it goes on.
    pub fn pause(&self, is: bool) {
        self.shared.paused.send_replace(is);
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
        self.running.take().unwrap().thread.join().unwrap();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

fn serve(address: SocketAddr, shared: Arc<Shared>) -> (SocketAddr, Running) {
    let (stop, stopped) = oneshot::channel();
    let (told, tell) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(address).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(16 << 20)
                .add_service(Api::<Publisher>::new(shared.clone()))
                .add_service(Api::<Subscriber>::new(shared))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! {
                served = server => served.unwrap(),
                _ = stopped => {}
            }
        });
    });
    let address = tell.recv_timeout(Duration::from_secs(10)).expect("it listens");
    (address, Running { stop, thread })
}
