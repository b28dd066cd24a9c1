//! Signals turned into one wish to stop.
//!
//! The first SIGINT or SIGTERM asks for a clean stop; the second ends the process in the handler itself, so that
//! nothing that hangs can keep it alive. Where other processes must end with us, a thread does both.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

/// Whether the next signal ends the process in the handler.
static ARMED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// What the signal handlers do about that.
static IN_HANDLER: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// Shared by all that wait: whether somebody asked us to stop.
#[derive(Clone)]
pub struct Stop {
    requested: watch::Receiver<bool>,
    request: Arc<watch::Sender<bool>>,
    signal: Arc<AtomicI32>,
    /// See [`begin`](Stop::begin).
    begun: Arc<AtomicBool>,
}

impl Stop {
    /// One that no signal reaches: for tests and for commands that end by themselves.
    pub fn manual() -> Stop {
        let (request, requested) = watch::channel(false);
        Stop { requested, request: Arc::new(request), signal: Arc::default(), begun: Arc::default() }
    }

    /// One that SIGINT and SIGTERM reach. Call it on the runtime.
    pub fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::manual();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds it unarmed and arms it, the second is not ours any more.
            let ends = signal_hook::flag::register_conditional_default(signal, ARMED.clone())?;
            let arms = signal_hook::flag::register(signal, ARMED.clone())?;
            IN_HANDLER.lock().unwrap_or_else(PoisonError::into_inner).extend([ends, arms]);
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

    /// From here on something may be half done: whoever called this hears the wish and ends by itself. Until then a
    /// command that does not is left where it is.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether something may be half done.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
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

/// Has `last` done before a second signal ends the process: by a thread, because a signal handler may do next to nothing.
/// The first caller's counts. Where there can be no thread the process ends as it would without.
pub fn before_the_end(last: fn()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            for signal in signals.forever().skip(1) {
                last();
                end_by(signal);
            }
        };
        // The first was there before us: the handler ends us, as it would have.
        if ARMED.load(Ordering::Relaxed)
            || std::thread::Builder::new().name("signals".into()).spawn(wait).is_err()
        {
            return;
        }
        let mut in_handler = IN_HANDLER.lock().unwrap_or_else(PoisonError::into_inner);
        for id in in_handler.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    });
}

/// Ends this process by that signal, so that loops and service managers see it; returns where it is ignored, as for
/// PID 1.
pub fn end_by(signal: i32) {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
