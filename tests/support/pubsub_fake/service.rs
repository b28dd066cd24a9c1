//! The calls, by their paths.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use prost::Message;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::Shared;
use super::state::State;
use super::subscription::Puller;

/// As the real one: of a request.
const LARGEST: usize = 10_500_000;
/// How often a stream looks by itself: for leases that end, and pauses that are over.
const LOOK: Duration = Duration::from_millis(20);
/// The longest that a pull waits for something.
const PULL: Duration = Duration::from_millis(500);
/// Messages of one answer.
const MANY: usize = 1000;

pub struct Publisher;
pub struct Subscriber;

/// One of the two services.
pub struct Api<S> {
    shared: Arc<Shared>,
    which: PhantomData<fn() -> S>,
}

impl<S> Api<S> {
    pub fn new(shared: Arc<Shared>) -> Api<S> {
        Api { shared, which: PhantomData }
    }
}

impl<S> Clone for Api<S> {
    fn clone(&self) -> Api<S> {
        Api::new(self.shared.clone())
    }
}

impl NamedService for Api<Publisher> {
    const NAME: &'static str = "google.pubsub.v1.Publisher";
}

impl NamedService for Api<Subscriber> {
    const NAME: &'static str = "google.pubsub.v1.Subscriber";
}

impl<S> Service<http::Request<Body>> for Api<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move { Ok(answer(shared, request).await) })
    }
}

async fn answer(shared: Arc<Shared>, request: http::Request<Body>) -> http::Response<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    shared.goes_on().await;
    if let Some(status) = shared.state().fault(&method) {
        return status.into_http();
    }
    match method.as_str() {
        "CreateTopic" => unary(shared, request, State::create_topic).await,
        "GetTopic" => unary(shared, request, State::get_topic).await,
        "ListTopics" => unary(shared, request, State::list_topics).await,
        "ListTopicSubscriptions" => unary(shared, request, State::list_topic_subscriptions).await,
        "DeleteTopic" => unary(shared, request, State::delete_topic).await,
        "Publish" => unary(shared, request, State::publish).await,
        "CreateSubscription" => unary(shared, request, State::create_subscription).await,
        "GetSubscription" => unary(shared, request, State::get_subscription).await,
        "UpdateSubscription" => unary(shared, request, State::update_subscription).await,
        "ListSubscriptions" => unary(shared, request, State::list_subscriptions).await,
        "DeleteSubscription" => unary(shared, request, State::delete_subscription).await,
        "Acknowledge" => unary(shared, request, State::acknowledge).await,
        "ModifyAckDeadline" => unary(shared, request, State::modify_ack_deadline).await,
        "Seek" => unary(shared, request, State::seek).await,
        "Pull" => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_encoding_message_size(usize::MAX);
            grpc.unary(Pull(shared), request).await
        }
        "StreamingPull" => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_encoding_message_size(usize::MAX);
            grpc.streaming(StreamingPull(shared), request).await
        }
        other => Status::unimplemented(format!("{other} is not part of this stand-in")).into_http(),
    }
}

/// What a call does to the state.
type Does<T, R> = fn(&mut State, T) -> Result<R, Status>;

struct Unary<T, R>(Arc<Shared>, Does<T, R>);

impl<T: Message + Default + 'static, R: Message + 'static> UnaryService<T> for Unary<T, R> {
    type Response = R;
    type Future = BoxFuture<Response<R>, Status>;

    fn call(&mut self, request: Request<T>) -> Self::Future {
        let done = (self.1)(&mut self.0.state(), request.into_inner());
        self.0.changed.notify_waiters();
        Box::pin(async move { done.map(Response::new) })
    }
}

async fn unary<T: Message + Default + 'static, R: Message + Default + 'static>(
    shared: Arc<Shared>,
    request: http::Request<Body>,
    does: Does<T, R>,
) -> http::Response<Body> {
    let mut grpc = Grpc::new(ProstCodec::<R, T>::default()).max_decoding_message_size(LARGEST);
    grpc.unary(Unary(shared, does), request).await
}

struct Pull(Arc<Shared>);

impl UnaryService<api::PullRequest> for Pull {
    type Response = api::PullResponse;
    type Future = BoxFuture<Response<api::PullResponse>, Status>;

    fn call(&mut self, request: Request<api::PullRequest>) -> Self::Future {
        let (shared, request) = (self.0.clone(), request.into_inner());
        Box::pin(async move {
            let puller = shared.state().puller(String::new(), 0, 0, 0);
            let until = tokio::time::Instant::now() + PULL;
            loop {
                let many = usize::try_from(request.max_messages).unwrap_or(1);
                let received_messages = shared.state().take(&request.subscription, &puller, many)?;
                #[allow(deprecated, reason = "other people's clients set it")]
                let over = request.return_immediately || tokio::time::Instant::now() >= until;
                if over || !received_messages.is_empty() {
                    return Ok(Response::new(api::PullResponse { received_messages }));
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

struct StreamingPull(Arc<Shared>);

type Answers = Pin<Box<dyn futures_util::Stream<Item = Result<api::StreamingPullResponse, Status>> + Send>>;

impl StreamingService<api::StreamingPullRequest> for StreamingPull {
    type Response = api::StreamingPullResponse;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<api::StreamingPullRequest>>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let mut said = request.into_inner();
            let first = said.message().await?.ok_or_else(|| Status::invalid_argument("nothing was said"))?;
            shared.state().subscription(&first.subscription)?;
            if !(10..=600).contains(&first.stream_ack_deadline_seconds) {
                return Err(Status::invalid_argument("stream_ack_deadline_seconds: 10 to 600"));
            }
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(stream(shared, first, said, sender));
            let answers: Answers =
                Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
                    Some((receiver.recv().await?, receiver))
                }));
            Ok(Response::new(answers))
        })
    }
}

async fn stream(
    shared: Arc<Shared>,
    first: api::StreamingPullRequest,
    mut said: Streaming<api::StreamingPullRequest>,
    sender: mpsc::Sender<Result<api::StreamingPullResponse, Status>>,
) {
    let puller: Puller = shared.state().puller(
        first.client_id.clone(),
        first.stream_ack_deadline_seconds,
        first.max_outstanding_messages,
        first.max_outstanding_bytes,
    );
    let name = first.subscription.clone();
    let mut next = Some(first);
    loop {
        if let Some(request) = next.take() {
            let mut state = shared.state();
            let _ = state.ack(&name, &request.ack_ids);
            for (id, seconds) in request.modify_deadline_ack_ids.iter().zip(request.modify_deadline_seconds) {
                let _ = state.modify(&name, std::slice::from_ref(id), seconds);
            }
        }
        let Ok(permit) = sender.reserve().await else { return };
        shared.goes_on().await;
        let changed = shared.changed.notified();
        let taken = shared.state().take(&name, &puller, MANY);
        match taken {
            Ok(received_messages) if received_messages.is_empty() => {
                drop(permit);
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(LOOK) => {}
                    () = sender.closed() => return,
                    more = said.message() => match more {
                        Ok(Some(more)) => next = Some(more),
                        // Whoever says no more listens no more.
                        Ok(None) | Err(_) => return,
                    },
                }
            }
            Ok(received_messages) => {
                permit.send(Ok(api::StreamingPullResponse { received_messages, ..Default::default() }));
            }
            Err(status) => return permit.send(Err(status)),
        }
    }
}
