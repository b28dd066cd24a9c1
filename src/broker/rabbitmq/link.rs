//! A connection: made with patience, watched for alarms, and made anew by whoever needs it after it was lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event, ExchangeKind, Queue};
use tokio::time::{Instant, timeout};

use super::error::{About, is_login, is_missing};
use super::settings::Settings;
use crate::broker::{Error, Kind, Result};

/// The longest that one try may take: a server that takes connections and says nothing would else be waited for.
const TRY: Duration = Duration::from_secs(10);
/// Between two tries, first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// A connection that works, or did.
pub struct Link {
    connection: Connection,
    alarm: Arc<Mutex<Option<String>>>,
}

/// For how long the server may be away: counted from when it was there last.
#[derive(Clone, Copy)]
pub struct Patience {
    longest: Option<Duration>,
    since: Instant,
}

impl Patience {
    /// It is there, or was asked for the first time.
    pub fn now(settings: &Settings) -> Patience {
        Patience::since(settings, Instant::now())
    }

    /// It was there then.
    pub fn since(settings: &Settings, since: Instant) -> Patience {
        Patience { longest: settings.timeout, since }
    }

    /// Whether there is none left.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// What is left of it; `None`: for ever.
    fn left(&self) -> Option<Duration> {
        self.longest.map(|longest| longest.saturating_sub(self.since.elapsed()))
    }
}

/// A name as the protocol has it. Requires: at most 255 bytes, which `name` makes sure of.
pub fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

impl Link {
    /// Connects and logs in; tries again while the server is away and patience lasts.
    pub async fn open(settings: &Settings, about: &About, patience: Patience) -> Result<Link> {
        let tls = tls(settings, about)?;
        let mut pause = PAUSE[0];
        loop {
            let limit = patience.left().map_or(TRY, |left| left.clamp(PAUSE[0], TRY));
            let error = match timeout(limit, connect(settings, tls.clone())).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) if is_login(&error) => return Err(login(settings, about, &error)),
                Ok(Err(error)) => unreached(settings, about, about.map(&error)),
                Err(_) => {
                    let message = format!("{}: takes connections and answers nothing", settings.server);
                    about
                        .error(Kind::Unreachable, message)
                        .with_hint("is it stopped, or something else than RabbitMQ?")
                }
            };
            let over = patience.left().is_some_and(|left| left <= pause);
            if error.kind() != Kind::Unreachable || over || error.detail().hint.is_some() {
                return Err(error);
            }
            tracing::debug!("{error}; another try in {pause:?}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE[1]);
        }
    }

    /// An answer that is not for ever waited for: a server that has just started, or is about to end, may owe it.
    pub async fn soon<T>(about: &About, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let silent = || about.error(Kind::Unreachable, "the server does not answer");
        timeout(TRY, asked).await.unwrap_or_else(|_| Err(silent()))
    }

    /// A new channel. What the server refuses closes the channel it was asked on, so that a question that may be
    /// refused has one of its own.
    pub async fn channel(&self, about: &About) -> Result<Channel> {
        self.connection.create_channel().await.map_err(|error| about.map(&error))
    }

    /// The alarm that keeps the server from taking what we publish, in its words.
    pub fn alarm(&self) -> Option<String> {
        self.alarm.lock().ok()?.clone()
    }

    /// Whether it still works.
    pub fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// The frames that the server takes have at most so many bytes; headers must fit into one.
    pub fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// Says good-bye. What is left to be said by the server does not matter.
    pub async fn close(&self) {
        let _ = timeout(TRY, self.connection.close(200, short("done"))).await;
    }

    /// What the server knows of a queue; `None` where there is none.
    pub async fn queue(&self, about: &About, name: &str) -> Result<Option<Queue>> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel(about).await?;
        let found = channel.queue_declare(short(name), options, FieldTable::default()).await;
        self.found(about, &channel, found).await
    }

    /// Whether there is such an exchange.
    pub async fn exchange(&self, about: &About, name: &str) -> Result<bool> {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let channel = self.channel(about).await?;
        let kind = ExchangeKind::Topic;
        let found = channel.exchange_declare(short(name), kind, options, FieldTable::default()).await;
        Ok(self.found(about, &channel, found).await?.is_some())
    }

    async fn found<T>(&self, about: &About, channel: &Channel, found: lapin::Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => {
                let _ = channel.close(200, short("done")).await;
                Ok(Some(found))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(about.map(&error)),
        }
    }
}

async fn connect(settings: &Settings, tls: OwnedTLSConfig) -> lapin::Result<Link> {
    let properties = ConnectionProperties::default().with_connection_name("evcat".into());
    let runtime = lapin::runtime::default_runtime()?;
    let connection = Connection::connect_uri_with_config(settings.uri(), properties, tls, runtime).await?;
    let alarm = Arc::new(Mutex::new(None));
    let (mut events, told) = (connection.events_listener(), alarm.clone());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let now = match event {
                Event::ConnectionBlocked(why) => {
                    tracing::warn!("the server takes no events now: {why}");
                    Some(why)
                }
                Event::ConnectionUnblocked => None,
                _ => continue,
            };
            if let Ok(mut alarm) = told.lock() {
                *alarm = now;
            }
        }
    });
    Ok(Link { connection, alarm })
}

/// Reads the files that were named, each of them once per connection: certificates are renewed while programs run.
pub fn tls(settings: &Settings, about: &About) -> Result<OwnedTLSConfig> {
    let read = |file: &String| {
        std::fs::read(file).map_err(|error| {
            let kind = if error.kind() == std::io::ErrorKind::PermissionDenied {
                Kind::Denied
            } else {
                Kind::Invalid
            };
            about.error(kind, format!("{file}: {error}"))
        })
    };
    let [ca, cert, key] = &settings.files;
    let cert_chain = match ca.as_ref().map(read).transpose()? {
        None => None,
        Some(pem) => Some(String::from_utf8(pem).map_err(|_| {
            about.error(Kind::Invalid, format!("{}: is no PEM", ca.as_deref().unwrap_or_default()))
        })?),
    };
    let identity = match (cert.as_ref().map(read).transpose()?, key.as_ref().map(read).transpose()?) {
        (Some(pem), Some(key)) => Some(OwnedIdentity::PKCS8 { pem, key }),
        _ => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

fn login(settings: &Settings, about: &About, error: &lapin::Error) -> Error {
    let message = format!("{}: the server does not let '{}' in", settings.server, settings.user());
    let hint = "a profile takes the password from a variable, a file or a command: evcat profiles add --help\n\
                guest may log in from the server's own machine only";
    about.error(Kind::Denied, message).with_hint(hint).with_source(error.clone())
}

/// The same with the server's address in front, where it is about the connection.
fn unreached(settings: &Settings, about: &About, error: Error) -> Error {
    let detail = error.detail();
    if detail.kind != Kind::Unreachable {
        return error;
    }
    let named = about.error(Kind::Unreachable, format!("{}: {}", settings.server, detail.message));
    match &detail.hint {
        Some(hint) => named.with_hint(hint.clone()),
        None => named,
    }
}

/// Whether the same may go well on a new connection.
pub fn is_lost(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            matches!(said.kind(), lapin::protocol::AMQPErrorKind::Hard(hard)
                if matches!(hard, lapin::protocol::AMQPHardError::CONNECTIONFORCED))
        }
        ErrorKind::ParsingError(_) | ErrorKind::SerialisationError(_) => false,
        _ => true,
    }
}
