//! From a URL and options to what a connection is made with.
//!
//! The one variable that is read here, `PUBSUB_EMULATOR_HOST`, is part of what every client of Pub/Sub honours, as are
//! those of Google's credentials, which `google-cloud-auth` reads.

use std::sync::Arc;
use std::time::Duration;

use super::options;
use crate::broker::registry::known_option;
use crate::broker::{Error, Kind, Location, Result, Surroundings, backend_of, percent_decoded};
use crate::event::Millis;

/// The service for everybody.
const SERVICE: &str = "pubsub.googleapis.com";
/// Silence that means the end. Google's service: "a response with zero messages or with an error does not necessarily
/// indicate that there are no messages available" (<https://cloud.google.com/pubsub/docs/pull>), what was moved back in time
/// comes "eventually", a move taking up to a minute (<https://cloud.google.com/pubsub/docs/replay-overview>), and order is promised within a key
/// alone, so that one from behind the end says nothing of the others; nothing is certain there, and this is long. An
/// emulator is one process that sends what it has at once.
const QUIET: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(500)];
/// See [`Settings::stale`].
const STALE: Duration = Duration::from_secs(900);
/// How long a topic can keep its events.
pub const RETENTION: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(31 * 24 * 3600)];

/// Where Pub/Sub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Google's: TLS and credentials.
    Service(String),
    /// A stand-in: neither.
    Emulator(String),
}

impl Server {
    /// As errors name it.
    pub fn name(&self) -> &str {
        match self {
            Server::Service(host) | Server::Emulator(host) => host,
        }
    }
}

/// What every call shares.
#[derive(Clone)]
pub struct Settings {
    /// Whose topics and subscriptions.
    pub project: String,
    /// Where.
    pub server: Server,
    /// The longest time without the broker; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// Silence that means the end.
    pub quiet: Duration,
    /// So long without a sign of its tail, a temporary subscription was left behind.
    pub stale: Duration,
    /// For topics that evcat makes.
    pub retention: Option<Duration>,
    /// For groups that evcat makes.
    pub exactly_once: bool,
}

impl Settings {
    /// Of `pubsub://PROJECT[?key=value&...]`; options go before the query. Errors: [`Kind::Unsupported`] for a key that
    /// is unknown, a value that is none, and for a URL that says too little.
    pub fn of(location: &Location, surroundings: &Surroundings) -> Result<Settings> {
        Settings::with(location, surroundings, &emulator_host())
    }

    fn with(location: &Location, surroundings: &Surroundings, emulator: &str) -> Result<Settings> {
        let rest = location.rest.strip_prefix("//").unwrap_or(&location.rest);
        let (project, query) = rest.split_once('?').unwrap_or((rest, ""));
        let project = decoded(project.trim_end_matches('/'))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if project.is_empty() || !project.chars().all(legal) {
            let message = "the URL names a Google Cloud project by its id";
            return Err(
                refuse(message).with_hint("pubsub://my-project-123; which there are: gcloud projects list")
            );
        }
        let given = given(query, surroundings)?;
        let value = |key: (&str, &str)| given.iter().rev().find(|(k, _)| k == key.0).map(|(_, v)| v.as_str());
        let server = match (value(options::EMULATOR), value(options::ENDPOINT)) {
            (Some(_), Some(_)) => {
                return Err(refuse("emulator and endpoint: it is one or the other")
                    .with_hint("an emulator is plain text without credentials, an endpoint is Google's"));
            }
            (Some(host), None) => Server::Emulator(place(options::EMULATOR, host)?),
            (None, Some(host)) => Server::Service(place(options::ENDPOINT, host)?),
            (None, None) if !emulator.is_empty() => Server::Emulator(place(options::EMULATOR, emulator)?),
            (None, None) => Server::Service(SERVICE.into()),
        };
        let exactly_once = match value(options::EXACTLY_ONCE) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(wrong(options::EXACTLY_ONCE, other, "true or false")),
        };
        let retention = match value(options::RETENTION) {
            None => None,
            Some(text) => Some(retention(text).ok_or_else(|| wrong(options::RETENTION, text, "10m to 31d"))?),
        };
        let quiet = match value(options::QUIET) {
            None if matches!(server, Server::Emulator(_)) => QUIET[1],
            None => QUIET[0],
            Some(text) => humantime::parse_duration(text)
                .ok()
                .filter(|quiet| !quiet.is_zero())
                .ok_or_else(|| wrong(options::QUIET, text, "a duration such as 10s"))?,
        };
        let stale = match value(options::STALE) {
            None => STALE,
            Some(text) => match text.parse() {
                Ok(seconds @ 1..) => Duration::from_secs(seconds),
                _ => return Err(wrong(options::STALE, text, "a number of seconds")),
            },
        };
        let (timeout, clock) = (surroundings.timeout, surroundings.clock.clone());
        Ok(Settings { project, server, timeout, clock, quiet, stale, retention, exactly_once })
    }

    /// What the service calls a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("projects/{}/topics/{name}", self.project)
    }

    /// What the service calls a subscription.
    pub fn subscription(&self, name: &str) -> String {
        format!("projects/{}/subscriptions/{name}", self.project)
    }

    /// What the service calls the project.
    pub fn project(&self) -> String {
        format!("projects/{}", self.project)
    }
}

/// How long, where Pub/Sub can keep so long.
pub fn retention(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|age| (RETENTION[0]..=RETENTION[1]).contains(age))
}

#[allow(clippy::disallowed_methods, reason = "each client of Pub/Sub honours this variable")]
fn emulator_host() -> String {
    std::env::var("PUBSUB_EMULATOR_HOST").unwrap_or_default()
}

/// `host`, `host:port`.
fn place(key: (&str, &str), text: &str) -> Result<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match !text.is_empty() && text.chars().all(legal) {
        true => Ok(text.to_owned()),
        false => Err(wrong(key, text, "a host and a port, without http://")),
    }
}

/// What was set, the query first.
fn given(query: &str, surroundings: &Surroundings) -> Result<Vec<(String, String)>> {
    let mut given: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            refuse(format!("?{pair} has no value")).with_hint("options are ?KEY=VALUE&KEY=VALUE")
        })?;
        let key = decoded(key)?;
        backend_of("pubsub").map_or(Ok(()), |backend| known_option(backend, &key))?;
        given.push((key, decoded(value)?));
    }
    given.extend(surroundings.options.iter().cloned());
    Ok(given)
}

fn decoded(text: &str) -> Result<String> {
    percent_decoded(text).ok_or_else(|| refuse("the URL is not percent-encoded UTF-8"))
}

fn wrong(key: (&str, &str), value: &str, want: &str) -> Error {
    refuse(format!("-X {}={value}: it is {want}", key.0))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, "open", "", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rest: &str, emulator: &str) -> Result<Settings> {
        let surroundings = Surroundings {
            clock: Arc::new(|| 0),
            timeout: None,
            options: Vec::new(),
            data_dir: "/nonexistent".into(),
        };
        Settings::with(&Location { scheme: "pubsub".into(), rest: rest.into() }, &surroundings, emulator)
    }

    #[test]
    fn the_emulator_of_the_environment_gives_way_to_what_was_said() {
        let server = |rest, emulator| settings(rest, emulator).expect("it is right").server;
        assert_eq!(server("//p", ""), Server::Service(SERVICE.into()));
        assert_eq!(server("//p", "localhost:8085"), Server::Emulator("localhost:8085".into()));
        assert_eq!(server("//p?endpoint=eu.example", "localhost:8085"), Server::Service("eu.example".into()));
        assert_eq!(server("//p?emulator=h:1", "localhost:8085"), Server::Emulator("h:1".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (rest, word) in [
            ("//", "project"),
            ("//a b", "project"),
            ("//p?emulator=http://h:1", "emulator"),
            ("//p?emulator=h:1&endpoint=e", "endpoint"),
            ("//p?quiet=0s", "quiet"),
            ("//p?quiet=soon", "quiet"),
            ("//p?stale=0", "stale"),
            ("//p?topic.retention=1m", "topic.retention"),
            ("//p?exactly_once=yes", "exactly_once"),
            ("//p?emulatr=h", "emulator"),
        ] {
            let error = settings(rest, "").err().expect(rest);
            let words = format!("{error} {}", error.detail().hint.as_deref().unwrap_or_default());
            assert!(words.contains(word), "{rest}: {words}");
        }
    }
}
