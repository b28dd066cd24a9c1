//! The way to the service: one HTTP/2 connection for all calls, credentials where it is Google's, and patience.
//!
//! Everything goes over gRPC, administration too. Google's own crate for Pub/Sub asks for topics and subscriptions over
//! HTTP/JSON, on which no stand-in but Google's emulator answers, ignores `PUBSUB_EMULATOR_HOST`, and brings a second
//! crypto library with it. Its credentials are used as they are: `google-cloud-auth` knows the whole chain.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials};
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tokio::time::{Instant, timeout};
use tonic::codegen::http;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

use super::error::{About, is_passing, never_left};
use super::settings::{Server, Settings};
use crate::broker::{Error, Kind, Result};

/// The longest that one try may take: a server that takes connections and says nothing would else be waited for.
const TRY: Duration = Duration::from_secs(20);
/// Between two tries, first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// Of an answer: a message of 10 MB and what is round it.
const LARGEST: usize = 64 << 20;
/// What may be under way to us of one stream, and of all of them.
const WINDOW: [u32; 2] = [1 << 20, 8 << 20];
/// Google's own scope for Pub/Sub.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";
/// Where credentials are looked for.
pub const CHAIN: &str = "application default credentials are looked for in this order: the file that \
    GOOGLE_APPLICATION_CREDENTIALS names, gcloud's own (gcloud auth application-default login), the metadata server of a \
    Google Cloud machine; an emulator needs none: -X emulator=host:port";

type Publisher = api::publisher_client::PublisherClient<Channel>;
type Subscriber = api::subscriber_client::SubscriberClient<Channel>;
/// What a call answers.
pub type Reply<R> = Pin<Box<dyn Future<Output = std::result::Result<Response<R>, Status>> + Send>>;

/// Both halves of the service.
#[derive(Clone)]
pub struct Clients {
    /// Topics.
    pub publisher: Publisher,
    /// Subscriptions.
    pub subscriber: Subscriber,
}

/// See the module.
pub struct Link {
    /// What it was made from.
    pub settings: Settings,
    endpoint: Endpoint,
    connection: Mutex<Connection>,
    credentials: OnceLock<Credentials>,
}

/// The one there is now. One on which nothing is answered is given up for another: where a tunnel, a proxy or a machine
/// between has gone, nobody says that it is over.
#[derive(Clone)]
struct Connection {
    number: u64,
    clients: Clients,
}

/// For how long the server may be away: counted from when it was there last.
#[derive(Clone, Copy)]
pub struct Patience {
    longest: Option<Duration>,
    since: Instant,
    pause: Duration,
}

impl Clients {
    fn on(endpoint: &Endpoint) -> Clients {
        let channel = endpoint.connect_lazy();
        Clients {
            publisher: Publisher::new(channel.clone()).max_decoding_message_size(LARGEST),
            subscriber: Subscriber::new(channel).max_decoding_message_size(LARGEST),
        }
    }
}

impl Patience {
    /// It is there, or was asked for the first time.
    pub fn now(settings: &Settings) -> Patience {
        Patience { longest: settings.timeout, since: Instant::now(), pause: PAUSE[0] }
    }

    /// What is left of it; `None`: for ever.
    fn left(&self) -> Option<Duration> {
        self.longest.map(|longest| longest.saturating_sub(self.since.elapsed()))
    }

    /// How long one try may take.
    pub fn one_try(&self) -> Duration {
        self.left().map_or(TRY, |left| left.clamp(PAUSE[0], TRY))
    }

    /// Waits before the next try. `false`: there is no patience for it.
    pub async fn again(&mut self) -> bool {
        if self.left().is_some_and(|left| left <= self.pause) {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE[1]);
        true
    }
}

impl Link {
    /// Behaviour: no I/O; connects with the first call. Requires: a runtime.
    pub fn open(settings: &Settings) -> Result<Link> {
        let about = About::new("open", "");
        let broken = |error: tonic::transport::Error| {
            let message = format!("{}: {}", settings.server.name(), innermost(&error));
            about.error(Kind::Invalid, message).with_hint("a host and a port, without http://")
        };
        let endpoint = match &settings.server {
            Server::Emulator(host) => Endpoint::from_shared(format!("http://{host}")).map_err(broken)?,
            Server::Service(host) => Endpoint::from_shared(format!("https://{host}"))
                .and_then(|endpoint| endpoint.tls_config(ClientTlsConfig::new().with_native_roots()))
                .map_err(broken)?
                .http2_keep_alive_interval(Duration::from_secs(60))
                .keep_alive_while_idle(true),
        };
        let endpoint = endpoint
            .user_agent(concat!("evcat/", env!("CARGO_PKG_VERSION")))
            .map_err(broken)?
            .connect_timeout(TRY / 2)
            .initial_stream_window_size(WINDOW[0])
            .initial_connection_window_size(WINDOW[1]);
        let connection = Mutex::new(Connection { number: 0, clients: Clients::on(&endpoint) });
        Ok(Link { settings: settings.clone(), endpoint, connection, credentials: OnceLock::new() })
    }

    /// Which connection it is now, counted from 0, and both halves of the service on it.
    pub fn connection(&self) -> (u64, Clients) {
        let Connection { number, clients } = self.current().clone();
        (number, clients)
    }

    fn current(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the connection of this number, if nobody has yet.
    fn renew(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            *current = Connection { number: number + 1, clients: Clients::on(&self.endpoint) };
        }
    }

    /// Asks, and asks again while the server is away and patience lasts. `of`: `topic=projects/...`, by which Google
    /// finds the place that answers. Of a `send` that may have arrived the error is [`Kind::InDoubt`].
    pub async fn call<T: Clone, R>(
        &self,
        about: &About,
        of: &str,
        message: T,
        send: fn(Clients, Request<T>) -> Reply<R>,
    ) -> Result<R> {
        self.ask(about, of, message, send).await.map_err(|refusal| refusal.error)
    }

    /// The same with what the server said.
    pub async fn ask<T: Clone, R>(
        &self,
        about: &About,
        of: &str,
        message: T,
        send: fn(Clients, Request<T>) -> Reply<R>,
    ) -> std::result::Result<R, Refusal> {
        let mut patience = Patience::now(&self.settings);
        let mut left = false;
        loop {
            let refused = |error| Refusal { error, status: None };
            let request = self.request(about, of, message.clone()).await.map_err(refused)?;
            let (number, clients) = self.connection();
            let status = match timeout(patience.one_try(), send(clients, request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => {
                    self.renew(number);
                    Status::deadline_exceeded("takes connections and answers nothing")
                }
            };
            left |= is_passing(&status) && !never_left(&status);
            // What Google says of single acks of a subscription with exactly-once delivery is for the caller.
            let told = !super::error::refused_acks(&status).is_empty();
            if !is_passing(&status) || told || !patience.again().await {
                let error = self.unanswered(about, &status, left);
                return Err(Refusal { error, status: Some(status) });
            }
            tracing::debug!("{status}; another try");
        }
    }

    /// The error of a call that was given up.
    fn unanswered(&self, about: &About, status: &Status, left: bool) -> Error {
        let error = about.map(status);
        if error.kind() != Kind::Unreachable {
            return error;
        }
        let words = format!("{}: {}", self.settings.server.name(), error.detail().message);
        match left && about.operation == "send" {
            true => about.error(Kind::InDoubt, format!("{words}; it may have been published all the same")),
            false => about.error(Kind::Unreachable, words),
        }
    }

    /// A request with what Google wants to know of it.
    pub async fn request<T>(&self, about: &About, of: &str, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if let Server::Service(_) = self.settings.server {
            let known = self.credentials(about)?.headers(http::Extensions::new());
            let headers = match timeout(TRY, known).await {
                Ok(Ok(CacheableResource::New { data, .. })) => data,
                Ok(Ok(CacheableResource::NotModified)) => http::HeaderMap::new(),
                Ok(Err(error)) => return Err(no_credentials(about, &innermost(&error))),
                Err(_) => return Err(no_credentials(about, "nobody answered when asked for a token")),
            };
            request.metadata_mut().as_mut().extend(headers);
        }
        let of = of.replace('%', "%25").replace('/', "%2F").replace('+', "%2B");
        if let Ok(value) = of.parse() {
            request.metadata_mut().insert("x-goog-request-params", value);
        }
        Ok(request)
    }

    /// Found once, by Google's own chain.
    fn credentials(&self, about: &About) -> Result<&Credentials> {
        if let Some(known) = self.credentials.get() {
            return Ok(known);
        }
        // One crypto library in the process; whoever was here before has put the same one in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = Builder::default().with_scopes([SCOPE]).build();
        let made = made.map_err(|error| no_credentials(about, &innermost(&error)))?;
        Ok(self.credentials.get_or_init(|| made))
    }
}

/// A call that went wrong.
pub struct Refusal {
    /// As ours.
    pub error: Error,
    /// What the server said; `None`: nothing was asked.
    pub status: Option<Status>,
}

fn no_credentials(about: &About, why: &str) -> Error {
    about.error(Kind::Denied, format!("there are no credentials for Google Cloud: {why}")).with_hint(CHAIN)
}

/// The last cause, which says more than those before it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
