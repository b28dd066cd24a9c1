//! What a client says about its connections beside the answers of its calls.
//!
//! A call that cannot reach its broker answers only "timed out" or "transport failure". Why (a refused connection, a
//! wrong password, TLS on a plain port) is told to the callbacks for errors and for the log, so the last of each is kept.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::connection;
use super::error::Trouble;
use super::queue::Event;
use super::sys::{self, Code, rd_kafka_conf_t, rd_kafka_t};

/// How many reasons are kept: one for each address of a usual list.
const KEPT: usize = 8;

/// The news of one client; its callbacks hold its address.
pub struct News {
    reasons: Mutex<VecDeque<Trouble>>,
    refused: watch::Sender<Option<Trouble>>,
    heard: watch::Sender<u64>,
    secrets: Vec<String>,
}

impl News {
    /// None so far. `secrets` are masked in every text.
    pub fn new(secrets: Vec<String>) -> News {
        News {
            reasons: Mutex::default(),
            refused: watch::Sender::new(None),
            heard: watch::Sender::new(0),
            secrets,
        }
    }

    /// What was told, such as `127.0.0.1:9092/bootstrap: Connect to ... failed: Connection refused (...)`, secrets masked,
    /// the newest last. Lost connections are followed by new ones, so what was told may be no longer true: it explains a
    /// failure, and does not make one.
    pub fn reasons(&self) -> Vec<Trouble> {
        self.lock().iter().cloned().collect()
    }

    /// The broker will not have us, and no patience helps: wrong credentials, a TLS handshake that cannot succeed. Said
    /// too by one who had us before; ask [`Client::refused`](super::client::Client::refused).
    pub fn refused(&self) -> watch::Receiver<Option<Trouble>> {
        self.refused.subscribe()
    }

    /// How often there was trouble so far. What comes in the main queue is heard once that is served.
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Without what is secret.
    pub fn masked(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Has a client of this configuration tell them. `self` must outlive the client.
    pub fn listen(&self, conf: *mut rd_kafka_conf_t) {
        // SAFETY: the configuration is live; the callbacks get the address of `self`, which outlives the client.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf, (&raw const *self).cast_mut().cast());
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(conf, Some(on_log));
        }
    }

    /// Keeps the news that an event of type `RD_KAFKA_EVENT_ERROR` is.
    pub fn hear(&self, event: &Event) {
        if let Some(Trouble { code, words }) = event.trouble() {
            self.add(code, &words);
        }
    }

    fn add(&self, code: Code, words: &str) {
        let reason = connection::heard(code, &self.masked(words));
        self.heard.send_modify(|heard| *heard += 1);
        // Says how many, and not why; ten times a second.
        if code == Code::LOCAL_ALL_BROKERS_DOWN {
            return;
        }
        let mut reasons = self.lock();
        // What is told already is no news, to a person least of all.
        if !reasons.iter().any(|known| known.words == reason.words) {
            tracing::debug!(code = %code.name(), "{}", reason.words);
        }
        // What the log tells again with a poorer code.
        if reason.code == Code::LOCAL_TRANSPORT && reasons.iter().any(|known| known.words == reason.words) {
            return;
        }
        reasons.retain(|known| known.words != reason.words);
        if reasons.len() == KEPT {
            reasons.pop_front();
        }
        reasons.push_back(reason.clone());
        drop(reasons);
        if connection::is_last(&reason) {
            self.refused.send_replace(Some(reason));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Trouble>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs inside the calls that serve a queue by callbacks (`rd_kafka_consume_callback_queue`); others answer events.
unsafe extern "C" fn on_error(rk: *mut rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: `opaque` is what `listen` set, and outlives the client.
    let news = unsafe { &*opaque.cast::<News>() };
    if code != Code::LOCAL_FATAL.0 {
        // SAFETY: the library's text lives during the callback.
        return news.add(Code(code), &unsafe { sys::text(reason) });
    }
    // SAFETY: the client is live while it calls us.
    if let Some((code, text)) = unsafe { sys::fatal_error(rk) } {
        news.add(code, &text);
    }
}

/// Runs on the library's threads.
unsafe extern "C" fn on_log(
    rk: *const rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: both are texts that live during the callback.
    let (facility, text) = unsafe { (sys::text(facility), sys::text(text)) };
    // SAFETY: the client calls us; before it is made whole it has no opaque.
    let news = unsafe { sys::rd_kafka_opaque(rk).cast::<News>().as_ref() };
    let Some(news) = news else { return };
    tracing::debug!(level, facility, "{}", news.masked(&text));
    // A connection that the other side closed is no error to the library, and is told here alone.
    if facility == "FAIL" {
        let text = text.split_once("]: ").map_or(text.as_str(), |(_thread, text)| text);
        news.add(Code::LOCAL_TRANSPORT, text);
    }
}
