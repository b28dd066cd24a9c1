//! Signals turned into one wish to stop.
//!
//! The first SIGINT or SIGTERM asks for a clean stop; the second ends the process in the handler itself, so that
//! nothing that hangs can keep it alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::watch;

/// Shared by all that wait: whether somebody asked us to stop.
#[derive(Clone)]
pub struct Stop {
    requested: watch::Receiver<bool>,
    request: Arc<watch::Sender<bool>>,
    signal: Arc<AtomicI32>,
}

impl Stop {
    /// One that no signal reaches: for tests and for commands that end by themselves.
    pub fn manual() -> Stop {
        let (request, requested) = watch::channel(false);
        Stop { requested, request: Arc::new(request), signal: Arc::default() }
    }

    /// One that SIGINT and SIGTERM reach. Call it on the runtime.
    pub fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::manual();
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds it unarmed and arms it, the second is not ours any more.
            signal_hook::flag::register_conditional_default(signal, armed.clone())?;
            signal_hook::flag::register(signal, armed.clone())?;
            let mut stream = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal))?;
            let stop = stop.clone();
            tokio::spawn(async move {
                if stream.recv().await.is_some() {
                    stop.request(signal);
                }
            });
        }
        Ok(stop)
    }

    /// Asks everyone to stop, because of this signal (0 for another reason).
    pub fn request(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
        self.request.send_replace(true);
    }

    /// Waits until somebody asks. Cancel safe.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // Cannot fail: the sender lives in `self`.
        let _ = requested.wait_for(|asked| *asked).await;
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// The signal that asked, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}

/// Ends this process by that signal, so that loops and service managers see it; returns where it is ignored, as for
/// PID 1.
pub fn end_by(signal: i32) {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
