//! A client of librdkafka: made of pairs, shared, and let go without waiting.

use std::ffi::{CString, c_char};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::conf::{Conf, ERROR_TEXT};
use super::error::Trouble;
use super::news::News;
use super::queue::{Owner, Queue};
use super::settings::Settings;
use super::sys::{self, rd_kafka_t, rd_kafka_type_t};
use crate::broker::{Error, Kind, Result};

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Publishes, and asks what an administrator asks.
    Producer,
    /// Reads; with `group.id`, as a member.
    Consumer,
}

/// A client. Clones are handles on the same one.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    rk: NonNull<rd_kafka_t>,
    /// It has a `group.id`, whether it joins that group or not.
    has_group: bool,
    /// The library's callbacks have its address.
    news: Arc<News>,
    /// What the client itself has to say; let go before the client is.
    main: ManuallyDrop<Queue>,
    /// Somebody serves `main` for as long as the client lives.
    served: AtomicBool,
    /// As [`Settings::timeout`].
    timeout: Option<Duration>,
    /// As [`Settings::reads_committed`].
    committed: bool,
    /// For errors: who we say we are, and where the broker is.
    user: Option<String>,
    servers: String,
}

// SAFETY: the library's handle takes calls from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Client {
    /// A client with these settings, and for its role `defaults`, which the user's options go before, and `fixed`, which
    /// nobody's do. `prepare` may set what is no text, such as the events it wants. Behaviour: no I/O in the call; the
    /// library's threads connect when there is something to ask.
    pub fn new(
        role: Role,
        settings: &Settings,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
        prepare: impl FnOnce(&mut Conf),
    ) -> Result<Client> {
        if !settings.is_plaintext() {
            leave_openssl_alone();
        }
        let news = Arc::new(News::new(settings.secrets()));
        let refuse = |words: String| Error::new(Kind::Unsupported, "open", "", news.masked(&words));
        let mut conf = Conf::new();
        let mut has_group = false;
        for (key, value) in settings.pairs(role, defaults, fixed) {
            has_group |= role == Role::Consumer && key == "group.id";
            conf.set(key, value).map_err(|words| refuse(format!("-X {key}: {words}")))?;
        }
        prepare(&mut conf);
        news.listen(conf.raw());
        let raw_role = match role {
            Role::Producer => rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Role::Consumer => {
                crosses_threads();
                rd_kafka_type_t::RD_KAFKA_CONSUMER
            }
        };
        let mut words: [c_char; ERROR_TEXT] = [0; ERROR_TEXT];
        let conf = conf.give();
        // SAFETY: the configuration is the client's from here on; where none is made it is still ours and freed below.
        let rk = unsafe { sys::rd_kafka_new(raw_role, conf, words.as_mut_ptr(), words.len()) };
        let Some(rk) = NonNull::new(rk) else {
            // SAFETY: ours still, and the text ends with a NUL.
            let words = unsafe {
                sys::rd_kafka_conf_destroy(conf);
                sys::text(words.as_ptr())
            };
            return Err(refuse(match settings.missing_file() {
                Some((key, file)) => format!("-X {key}: there is no file '{file}' that can be read"),
                None => words,
            }));
        };
        // SAFETY: a client has a main queue; the reference is ours, and let go before the client.
        let main = unsafe {
            let main = NonNull::new_unchecked(sys::rd_kafka_queue_get_main(rk.as_ptr()));
            Queue::own(main, Owner::Main(news.clone()))
        };
        let (main, served) = (ManuallyDrop::new(main), AtomicBool::new(false));
        let (timeout, servers) = (settings.timeout, settings.servers.clone());
        let committed = settings.reads_committed();
        let user = settings.user().map(str::to_owned);
        Ok(Client(Arc::new(Inner { rk, has_group, news, main, served, timeout, committed, user, servers })))
    }

    /// The client, for the library's calls.
    pub fn raw(&self) -> *mut rd_kafka_t {
        self.0.rk.as_ptr()
    }

    /// Whether it is a consumer with a `group.id`, which need not have joined it.
    pub fn has_group(&self) -> bool {
        self.0.has_group
    }

    /// What it said of its connections.
    pub fn news(&self) -> &News {
        &self.0.news
    }

    /// The longest time without the broker.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    /// Whether what transactions have not committed counts as not there.
    pub fn reads_committed(&self) -> bool {
        self.0.committed
    }

    /// Who we say we are.
    pub fn user(&self) -> Option<&str> {
        self.0.user.as_deref()
    }

    /// The addresses that were given.
    pub fn servers(&self) -> &str {
        &self.0.servers
    }

    /// Its main queue, for one who serves it from now on as long as the client lives: delivery reports and the news of
    /// connections come there. Until then whoever waits for an answer serves it.
    pub fn serve(&self) -> &Queue {
        self.0.served.store(true, Ordering::Relaxed);
        &self.0.main
    }

    /// A consumer's queue: what was fetched, rebalances, and from now on what the main queue has. `None` for a producer.
    /// Requires: asked for once; its owner serves it for as long as the client lives.
    pub fn consume(&self) -> Option<Queue> {
        // SAFETY: the client is live; what it answers is a code of its own.
        unsafe { sys::rd_kafka_poll_set_consumer(self.raw()) };
        // SAFETY: as above; null where there is no such queue.
        let raw = NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(self.raw()) })?;
        self.0.served.store(true, Ordering::Relaxed);
        // SAFETY: a reference of our own, asked for once.
        Some(unsafe { Queue::own(raw, Owner::Somebody(self.clone())) })
    }

    /// The queue of one partition, from now on apart from the consumer's; it wakes by `wake`. `None`: such a name cannot
    /// be. Requires: asked for before the partition is assigned, and not while another one of it is held.
    pub fn partition_queue(&self, topic: &str, partition: i32, wake: &Arc<Notify>) -> Option<Queue> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client is live and the name a C string; null for what cannot be.
        let raw = unsafe { sys::rd_kafka_queue_get_partition(self.raw(), topic.as_ptr(), partition) };
        let raw = NonNull::new(raw)?;
        // SAFETY: a reference of our own. Null takes the queue out of the consumer's.
        unsafe {
            sys::rd_kafka_queue_forward(raw.as_ptr(), std::ptr::null_mut());
            Some(Queue::own_waking(raw, Owner::Somebody(self.clone()), wake.clone()))
        }
    }

    /// A queue of its own, for answers.
    pub fn queue(&self) -> Queue {
        // SAFETY: the client is live; the library never answers null here.
        unsafe {
            let raw = NonNull::new_unchecked(sys::rd_kafka_queue_new(self.raw()));
            Queue::own(raw, Owner::Somebody(self.clone()))
        }
    }

    /// Whether a broker has ever answered. One that had us and then will not is restarting, as a rule, or somebody
    /// between us and it is at a loss: that passes.
    pub fn was_up(&self) -> bool {
        // SAFETY: the client is live; answers at once, with a text of ours to free, or null while nobody has answered.
        unsafe {
            let id = sys::rd_kafka_clusterid(self.raw(), 0);
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.raw(), id.cast());
            }
            !id.is_null()
        }
    }

    /// Why the broker refuses us for good, if it does.
    pub fn is_refused(&self) -> Option<Trouble> {
        self.0.news.refused().borrow().clone().filter(|_| !self.was_up())
    }

    /// Waits until the broker refuses us for good. Whoever waits for an answer waits for this too, because the call
    /// itself would only time out. Behaviour: cancel safe.
    pub async fn refused(&self) -> Trouble {
        let mut refused = self.0.news.refused();
        let serve = async {
            loop {
                // The news are kept in there; events that nobody asked for are dropped.
                while self.0.main.poll().is_some() {}
                self.0.main.filled().await;
            }
        };
        let wait = async {
            loop {
                if let Some(reason) = self.is_refused() {
                    return reason;
                }
                // Cannot fail: the sender lives as long as `self`.
                let _ = refused.changed().await;
            }
        };
        if self.0.served.load(Ordering::Relaxed) {
            return wait.await;
        }
        tokio::select! {
            reason = wait => reason,
            () = serve => std::future::pending().await,
        }
    }
}

impl Drop for Inner {
    /// The library joins its threads, which takes milliseconds, and a consumer leaves its group: on a thread of its own.
    /// Where the process ends before it has done so, that ends it too.
    fn drop(&mut self) {
        // SAFETY: dropped here and nowhere else, and not used again.
        unsafe { ManuallyDrop::drop(&mut self.main) };
        struct Last(NonNull<rd_kafka_t>, #[expect(dead_code, reason = "the callbacks' own")] Arc<News>);
        // SAFETY: the handle takes calls from any thread.
        unsafe impl Send for Last {}
        impl Drop for Last {
            fn drop(&mut self) {
                // SAFETY: the last use of the client; members that leave close themselves first.
                unsafe {
                    sys::rd_kafka_destroy_flags(self.0.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
                }
            }
        }
        let last = Last(self.rk, self.news.clone());
        // Where there can be no thread the closure is dropped here, and the client with it.
        let _ = std::thread::Builder::new().name("kafka-end".into()).spawn(move || drop(last));
    }
}

/// To be said before the library allocates much on one thread that is freed on another.
pub fn crosses_threads() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    crate::memory::crosses_threads();
}

/// OpenSSL would free its tables when the process ends, while the library's threads still use them. Asked first, it
/// leaves that to the kernel.
fn leave_openssl_alone() {
    const NO_ATEXIT: u64 = 0x0008_0000;
    unsafe extern "C" {
        fn OPENSSL_init_crypto(options: u64, settings: *const std::ffi::c_void) -> std::ffi::c_int;
    }
    // SAFETY: takes null settings; may be called any number of times, from any thread.
    unsafe { OPENSSL_init_crypto(NO_ATEXIT, std::ptr::null()) };
}
