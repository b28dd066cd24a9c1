//! One streaming pull: opened, and opened again while patience lasts.

use std::sync::Arc;

use futures_util::StreamExt;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tonic::Streaming;

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

/// A stream, and how long it has been failing.
pub struct Pull {
    link: Arc<Link>,
    about: About,
    wish: Wish,
    stream: Option<Streaming<api::StreamingPullResponse>>,
    patience: Patience,
}

impl Pull {
    /// Behaviour: no I/O.
    pub fn new(link: Arc<Link>, about: About, wish: Wish) -> Pull {
        let patience = Patience::now(&link.settings);
        Pull { link, about, wish, stream: None, patience }
    }

    /// Begins anew, with a window in which nothing is.
    pub fn renew(&mut self) {
        self.stream = None;
    }

    /// What comes next. Errors: it is final. Not cancel safe while the stream is being opened: then it is opened again.
    pub async fn next(&mut self) -> Result<Vec<api::ReceivedMessage>> {
        loop {
            let status = match &mut self.stream {
                Some(stream) => match stream.message().await {
                    Ok(Some(response)) => {
                        self.patience = Patience::now(&self.link.settings);
                        if response.received_messages.is_empty() {
                            continue;
                        }
                        return Ok(response.received_messages);
                    }
                    // The service ends each stream after a while.
                    Ok(None) => tonic::Status::unavailable("the stream has ended"),
                    Err(status) => status,
                },
                None => match self.open().await? {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(status) => status,
                },
            };
            if self.stream.take().is_some() {
                self.patience = Patience::now(&self.link.settings);
            }
            if !is_passing(&status) || !self.patience.again().await {
                let error = self.about.map(&status);
                let server = self.link.settings.server.name();
                return Err(match error.kind() {
                    Kind::Unreachable => self
                        .about
                        .error(Kind::Unreachable, format!("{server}: {}", error.detail().message)),
                    _ => error,
                });
            }
            tracing::debug!("{status}; another stream");
        }
    }

    async fn open(
        &self,
    ) -> Result<std::result::Result<Streaming<api::StreamingPullResponse>, tonic::Status>> {
        let Wish { subscription, lease, messages, bytes, client } = self.wish.clone();
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
        let said = futures_util::stream::once(async { first }).chain(futures_util::stream::pending());
        let request = self.link.request(&self.about, &of, said).await?;
        let mut clients = self.link.clients();
        // A server may answer with the first message only, so that there is no limit to this once it is connected.
        Ok(clients.subscriber.streaming_pull(request).await.map(tonic::Response::into_inner))
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
