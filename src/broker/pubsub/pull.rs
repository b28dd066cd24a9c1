//! One streaming pull: opened, and opened again while patience lasts.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::error::{About, is_passing};
use super::link::{Link, Patience};
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
    /// Who asks: the same over all streams of a member.
    pub client: String,
}

/// The longest that the service is waited for to end a stream that we have ended.
const ENDING: Duration = Duration::from_millis(500);

/// What comes, and what ends our half of it when it is dropped.
struct Stream {
    came: Streaming<api::StreamingPullResponse>,
    said: oneshot::Sender<()>,
}

type Opening = Pin<Box<dyn Future<Output = Result<std::result::Result<Stream, Status>>> + Send>>;

/// A stream, and how long it has been failing. Where one has its window full of what will not be settled there are more.
pub struct Pull {
    link: Arc<Link>,
    about: About,
    wish: Wish,
    streams: Vec<Stream>,
    /// Kept while nobody waits: what the service sends on a stream that we gave up is nobody's for a whole lease.
    opening: Option<Opening>,
    patience: Patience,
}

/// What a look at all streams found.
enum Seen {
    Came(Vec<api::ReceivedMessage>),
    Opened(Box<Result<std::result::Result<Stream, Status>>>),
    Broke(Status),
}

impl Pull {
    /// Behaviour: no I/O.
    pub fn new(link: Arc<Link>, about: About, wish: Wish) -> Pull {
        let patience = Patience::now(&link.settings);
        Pull { link, about, wish, streams: Vec::new(), opening: None, patience }
    }

    /// One stream more, with a window in which nothing is. What is under way on the others still comes.
    pub fn widen(&mut self) {
        if self.opening.is_none() && !self.streams.is_empty() {
            self.opening = Some(self.open());
        }
    }

    /// What comes next. Behaviour: cancel safe. Errors: it is final.
    pub async fn next(&mut self) -> Result<Vec<api::ReceivedMessage>> {
        loop {
            if self.streams.is_empty() && self.opening.is_none() {
                self.opening = Some(self.open());
            }
            let status = match poll_fn(|context| self.poll(context)).await {
                Seen::Came(messages) => {
                    self.patience = Patience::now(&self.link.settings);
                    if messages.is_empty() {
                        continue;
                    }
                    return Ok(messages);
                }
                Seen::Opened(opened) => match (*opened)? {
                    Ok(stream) => {
                        self.streams.push(stream);
                        continue;
                    }
                    Err(status) => status,
                },
                // The service ends each stream after a while.
                Seen::Broke(status) => {
                    self.patience = Patience::now(&self.link.settings);
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

    /// Whether nothing can come.
    pub fn is_ended(&self) -> bool {
        self.streams.is_empty() && self.opening.is_none()
    }

    /// Ends all streams, and answers what was still under way on them.
    pub async fn end(&mut self) -> Vec<api::ReceivedMessage> {
        let mut rest = Vec::new();
        self.opening = None;
        for Stream { mut came, said } in self.streams.drain(..) {
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
        let Some(opening) = &mut self.opening else { return Poll::Pending };
        let opened = std::task::ready!(opening.as_mut().poll(context));
        self.opening = None;
        Poll::Ready(Seen::Opened(Box::new(opened)))
    }

    /// A server may answer with the first message only, so that there is no limit to this once it is connected.
    fn open(&self) -> Opening {
        let Wish { subscription, lease, messages, bytes, client } = self.wish.clone();
        let (link, about) = (self.link.clone(), self.about.clone());
        let of = format!("subscription={subscription}");
        let first = api::StreamingPullRequest {
            subscription,
            stream_ack_deadline_seconds: lease,
            client_id: client,
            max_outstanding_messages: messages,
            max_outstanding_bytes: bytes,
            ..api::StreamingPullRequest::default()
        };
        // Nothing more is said on it: what is settled and extended goes by calls that are answered.
        let (end, ended) = oneshot::channel::<()>();
        let nothing = futures_util::stream::once(ended).filter_map(async |_| None);
        let said = futures_util::stream::once(async { first }).chain(nothing);
        Box::pin(async move {
            let request = link.request(&about, &of, said).await?;
            let opened = link.clients().subscriber.streaming_pull(request).await;
            Ok(opened.map(|response| Stream { came: response.into_inner(), said: end }))
        })
    }
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
