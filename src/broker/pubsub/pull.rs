//! One streaming pull: opened, and opened again while patience lasts.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::{Status, Streaming};

use super::error::{About, is_passing};
use super::link::{Link, Patience};
use super::settings::Server;
use super::subscriptions;
use crate::broker::{Kind, Result};

/// What one asks for.
#[derive(Clone)]
pub struct Wish {
    /// The whole name.
    pub subscription: String,
    /// The lease in seconds, 10 to 600.
    pub lease: i32,
    /// The most messages and bytes unsettled; 0: no limit.
    pub messages: i64,
    /// See `messages`.
    pub bytes: i64,
}

/// The longest that the service is waited for to end a stream that we have ended.
const ENDING: Duration = Duration::from_millis(500);

/// Nothing came for so long from an emulator: it is asked whether it is there. Not by HTTP/2's own pings: servers of gRPC
/// take more than one in five minutes for an attack, and hang up (gRFC A8, `GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL`).
const SILENT: Duration = Duration::from_secs(10);

/// What comes, and what ends our half of it when it is dropped.
struct Stream {
    came: Streaming<api::StreamingPullResponse>,
    said: oneshot::Sender<()>,
    /// The number of its connection.
    connection: u64,
}

type Opening = Pin<Box<dyn Future<Output = Result<std::result::Result<Stream, Status>>> + Send>>;

/// A stream, and how long it has been failing. Where one has its window full of what will not be settled there are more.
pub struct Pull {
    link: Arc<Link>,
    about: About,
    wish: Wish,
    /// Who asks, for the service, which hands what is behind an event in its key to the client that has that event. When a
    /// stream broke it is somebody new: of what was lost on the way nobody here has heard, and what is behind it must not
    /// come before it does.
    client: String,
    streams: Vec<Stream>,
    /// Kept while nobody waits: what the service sends on a stream that we gave up is nobody's for a whole lease. With the
    /// number of its connection.
    opening: Option<(u64, Opening)>,
    patience: Patience,
    /// A stream broke, and nobody was told.
    broke: bool,
    silence: Pin<Box<Sleep>>,
    /// Whether the server is there.
    asking: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
}

/// What a look at all streams found.
enum Seen {
    Came(Vec<api::ReceivedMessage>),
    Opened(Box<Result<std::result::Result<Stream, Status>>>),
    Broke(Status),
    Answered(Result<()>),
}

impl Pull {
    /// Behaviour: no I/O.
    pub fn new(link: Arc<Link>, about: About, wish: Wish) -> Pull {
        let patience = Patience::now(&link.settings);
        let silence = Box::pin(sleep(SILENT));
        let (streams, opening, broke, asking) = (Vec::new(), None, false, None);
        Pull { link, about, wish, client: a_client(), streams, opening, patience, broke, silence, asking }
    }

    /// One stream more, with a window in which nothing is. What is under way on the others still comes.
    pub fn widen(&mut self) {
        if self.opening.is_none() && !self.streams.is_empty() {
            self.opening = Some(self.open());
        }
    }

    /// What comes next; nothing: a stream broke, and what was under way on it is ours for the service until its lease is
    /// over. Behaviour: cancel safe. Errors: it is final.
    pub async fn next(&mut self) -> Result<Vec<api::ReceivedMessage>> {
        loop {
            if std::mem::take(&mut self.broke) {
                return Ok(Vec::new());
            }
            if self.streams.is_empty() && self.opening.is_none() {
                self.opening = Some(self.open());
            }
            let status = match poll_fn(|context| self.poll(context)).await {
                Seen::Came(messages) => {
                    self.heard();
                    if messages.is_empty() {
                        continue;
                    }
                    return Ok(messages);
                }
                Seen::Answered(answered) => {
                    answered?;
                    self.heard();
                    self.leave_old();
                    continue;
                }
                Seen::Opened(opened) => match (*opened)? {
                    Ok(stream) => {
                        self.streams.push(stream);
                        continue;
                    }
                    // It may have sent something before it was heard of; and while there is none, nothing can come.
                    Err(status) => {
                        self.has_broken();
                        status
                    }
                },
                // The service ends each stream after a while.
                Seen::Broke(status) => {
                    self.heard();
                    self.has_broken();
                    status
                }
            };
            if !is_passing(&status) || !self.patience.again().await {
                let error = self.about.map(&status);
                let words = format!("{}: {}", self.link.settings.server.name(), error.detail().message);
                return Err(match error.kind() {
                    Kind::Unreachable => self.about.error(Kind::Unreachable, words),
                    _ => error,
                });
            }
            tracing::debug!("{status}; another stream");
        }
    }

    fn heard(&mut self) {
        self.patience = Patience::now(&self.link.settings);
        self.silence.as_mut().reset(Instant::now() + SILENT);
    }

    /// What goes over a connection that was given up for another will never come.
    fn leave_old(&mut self) {
        let (current, before) = (self.link.connection().0, self.streams.len());
        self.streams.retain(|stream| stream.connection == current);
        let opening = self.opening.take_if(|(connection, _)| *connection != current);
        if self.streams.len() < before || opening.is_some() {
            self.has_broken();
        }
    }

    fn has_broken(&mut self) {
        self.broke = true;
        self.client = a_client();
    }

    /// Whether nothing can come.
    pub fn is_ended(&self) -> bool {
        self.streams.is_empty() && self.opening.is_none()
    }

    /// Ends all streams, and answers what was still under way on them.
    pub async fn end(&mut self) -> Vec<api::ReceivedMessage> {
        let mut rest = Vec::new();
        self.opening = None;
        for Stream { mut came, said, connection: _ } in self.streams.drain(..) {
            drop(said);
            let ended = async {
                while let Some(Ok(response)) = came.next().await {
                    rest.extend(response.received_messages);
                }
            };
            let _ = timeout(ENDING, ended).await;
        }
        rest
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Seen> {
        for at in 0..self.streams.len() {
            let status = match self.streams[at].came.poll_next_unpin(context) {
                Poll::Pending => continue,
                Poll::Ready(Some(Ok(response))) => {
                    return Poll::Ready(Seen::Came(response.received_messages));
                }
                Poll::Ready(Some(Err(status))) => status,
                Poll::Ready(None) => Status::unavailable("the stream has ended"),
            };
            drop(self.streams.remove(at));
            return Poll::Ready(Seen::Broke(status));
        }
        if let Some((_, opening)) = &mut self.opening
            && let Poll::Ready(opened) = opening.as_mut().poll(context)
        {
            self.opening = None;
            return Poll::Ready(Seen::Opened(Box::new(opened)));
        }
        if let Server::Service(_) = self.link.settings.server {
            // Its connection has pings.
            return Poll::Pending;
        }
        if self.asking.is_none() {
            std::task::ready!(self.silence.as_mut().poll(context));
        }
        let asking = self.asking.get_or_insert_with(|| {
            let (link, about, of) = (self.link.clone(), self.about.clone(), self.wish.subscription.clone());
            Box::pin(async move { subscriptions::is_there(&link, &about, &of).await })
        });
        let answered = std::task::ready!(asking.as_mut().poll(context));
        self.asking = None;
        Poll::Ready(Seen::Answered(answered))
    }

    /// A server may answer with the first message only, so that there is no limit to this once it is connected.
    fn open(&self) -> (u64, Opening) {
        let Wish { subscription, lease, messages, bytes } = self.wish.clone();
        let (link, about) = (self.link.clone(), self.about.clone());
        let (connection, mut clients) = link.connection();
        let of = format!("subscription={subscription}");
        let first = api::StreamingPullRequest {
            subscription,
            stream_ack_deadline_seconds: lease,
            client_id: self.client.clone(),
            max_outstanding_messages: messages,
            max_outstanding_bytes: bytes,
            ..api::StreamingPullRequest::default()
        };
        // Nothing more is said on it: what is settled and extended goes by calls that are answered.
        let (end, ended) = oneshot::channel::<()>();
        let nothing = futures_util::stream::once(ended).filter_map(async |_| None);
        let said = futures_util::stream::once(async { first }).chain(nothing);
        let opening = async move {
            let request = link.request(&about, &of, said).await?;
            let opened = clients.subscriber.streaming_pull(request).await;
            Ok(opened.map(|response| Stream { came: response.into_inner(), said: end, connection }))
        };
        (connection, Box::pin(opening))
    }
}

/// The most that [`at_once`] answers.
pub const AT_ONCE: i32 = 1000;

/// What there is at this moment, without waiting for it. Of a server that is one process an answer without a message is
/// certain; Google's may have some all the same.
pub async fn at_once(link: &Link, about: &About, subscription: &str) -> Result<Vec<api::ReceivedMessage>> {
    #[allow(deprecated, reason = "discouraged because it is slow, and asked once, at the end")]
    let request = api::PullRequest {
        subscription: subscription.to_owned(),
        return_immediately: true,
        max_messages: AT_ONCE,
    };
    let of = format!("subscription={subscription}");
    let pulled = link.call(about, &of, request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.pull(request).await })
    });
    Ok(pulled.await?.received_messages)
}

fn a_client() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Tells the service about these ack ids: done.
pub async fn acknowledge(link: &Link, about: &About, subscription: &str, ids: &[String]) -> Outcome {
    let request = api::AcknowledgeRequest { subscription: subscription.to_owned(), ack_ids: ids.to_vec() };
    let of = format!("subscription={subscription}");
    let told = link.ask(about, &of, request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.acknowledge(request).await })
    });
    Outcome::of(told.await)
}

/// The same: so many seconds more, or given back with 0.
pub async fn modify(link: &Link, about: &About, subscription: &str, ids: &[String], seconds: i32) -> Outcome {
    let request = api::ModifyAckDeadlineRequest {
        subscription: subscription.to_owned(),
        ack_ids: ids.to_vec(),
        ack_deadline_seconds: seconds,
    };
    let of = format!("subscription={subscription}");
    let told = link.ask(about, &of, request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.modify_ack_deadline(request).await })
    });
    Outcome::of(told.await)
}

/// What became of ack ids.
pub enum Outcome {
    /// All went well, as far as a subscription without exactly-once delivery tells.
    Done,
    /// These were refused, with the reason; the others went well.
    Refused(std::collections::BTreeMap<String, String>),
    /// Nobody knows of any.
    Failed(crate::broker::Error),
}

impl Outcome {
    fn of(told: std::result::Result<(), super::link::Refusal>) -> Outcome {
        match told {
            Ok(()) => Outcome::Done,
            Err(refusal) => {
                let refused = refusal.status.as_ref().map(super::error::refused_acks).unwrap_or_default();
                match refused.is_empty() {
                    true => Outcome::Failed(refusal.error),
                    false => Outcome::Refused(refused),
                }
            }
        }
    }
}

/// Whether a word on an ack id may be said again with another end.
pub fn is_transient(reason: &str) -> bool {
    reason.starts_with("TRANSIENT_FAILURE")
}
