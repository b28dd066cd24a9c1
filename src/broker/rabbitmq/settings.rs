//! From a URL and options to what a connection is made with.

use std::time::Duration;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};

use super::options;
use crate::broker::registry::known_option;
use crate::broker::{Error, Kind, Location, Result, Surroundings, backend_of, percent_decoded};

/// Where the management API is.
#[derive(Clone)]
pub struct Management {
    /// `https`.
    pub tls: bool,
    /// The host by itself.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What stands before `/api`.
    pub path: String,
}

/// What every connection to a broker shares.
#[derive(Clone)]
pub struct Settings {
    /// For the client. Holds the password: never shown.
    uri: AMQPUri,
    /// `host:5672`, as errors name it.
    pub server: String,
    /// The longest time without the broker; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The wall clock.
    pub clock: std::sync::Arc<dyn Fn() -> crate::event::Millis + Send + Sync>,
    /// Patterns of routing keys for queues that evcat binds.
    pub bindings: Vec<String>,
    /// PEM files: authority, certificate, key.
    pub files: [Option<String>; 3],
    /// Where lists are asked for.
    pub management: Option<Management>,
    /// The largest payload.
    pub max_event: usize,
    /// The type of exchanges that evcat makes.
    pub exchange_type: String,
}

impl Settings {
    /// Of `amqp://[user@]host[:port][/vhost][?key=value&...]`; options go before the query. Errors:
    /// [`Kind::Unsupported`] for a key that is unknown, a value that is none, and for a URL that says too little.
    pub fn of(location: &Location, surroundings: &Surroundings) -> Result<Settings> {
        let rest = location.rest.strip_prefix("//").unwrap_or(&location.rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, vhost) = match place.split_once('/') {
            // `amqp://host/` is the virtual host with no name in the standard, and nobody means that one.
            Some((place, "")) => (place, "/".to_owned()),
            Some((place, vhost)) => (place, decoded(vhost)?),
            None => (place, "/".to_owned()),
        };
        let (user, host) = place.rsplit_once('@').unwrap_or(("guest", place));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (decoded(user)?, Some(decoded(password)?)),
            None => (decoded(user)?, None),
        };
        let given = given(query, surroundings)?;
        let value = |key: (&str, &str)| given.iter().rev().find(|(k, _)| k == key.0).map(|(_, v)| v.as_str());
        let tls = location.scheme == "amqps";
        let (host, port) = address(host, if tls { 5671 } else { 5672 })?;
        let mechanism = match value(options::MECHANISM) {
            None | Some("plain") => SASLMechanism::Plain,
            Some("amqplain") => SASLMechanism::AMQPlain,
            Some("external") => SASLMechanism::External,
            Some(other) => return Err(wrong(options::MECHANISM, other, "plain, amqplain or external")),
        };
        let bindings: Vec<String> =
            value(options::BINDING).unwrap_or("#").split(',').map(str::to_owned).collect();
        if let Some(long) = bindings.iter().find(|binding| binding.len() > 255) {
            return Err(wrong(options::BINDING, long, "a pattern of at most 255 bytes"));
        }
        let exchange_type = value(options::KIND).unwrap_or("topic").to_owned();
        if !["topic", "direct", "fanout", "headers"].contains(&&*exchange_type) {
            return Err(wrong(options::KIND, &exchange_type, "topic, direct, fanout or headers"));
        }
        let known = if user == "guest" { "guest" } else { "" };
        let password = value(options::PASSWORD).map(str::to_owned).or(password);
        let uri = AMQPUri {
            scheme: if tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: user, password: password.unwrap_or_else(|| known.into()) },
                host: host.clone(),
                port,
            },
            vhost,
            query: AMQPQueryString {
                heartbeat: number(options::HEARTBEAT, value(options::HEARTBEAT))?,
                auth_mechanism: Some(mechanism),
                ..AMQPQueryString::default()
            },
        };
        let files = [options::CA, options::CERT, options::KEY].map(|key| value(key).map(str::to_owned));
        if files[1].is_some() != files[2].is_some() {
            return Err(
                refuse("a certificate and its key go together").with_hint("-X certfile=FILE -X keyfile=FILE")
            );
        }
        if !tls && files.iter().any(Option::is_some) {
            return Err(
                refuse("certificates are no use without TLS").with_hint("amqps:// instead of amqp://")
            );
        }
        Ok(Settings {
            uri,
            server: if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
            timeout: surroundings.timeout,
            clock: surroundings.clock.clone(),
            bindings,
            files,
            management: value(options::MANAGEMENT).map(management).transpose()?,
            max_event: number(options::MAX_SIZE, value(options::MAX_SIZE))?.unwrap_or(super::MAX_EVENT),
            exchange_type,
        })
    }

    /// For the client.
    pub fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// Who we say we are.
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    /// The same with the password, for who logs in elsewhere.
    pub fn user_and_password(&self) -> (&str, &str) {
        (self.user(), &self.uri.authority.userinfo.password)
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
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
        backend_of("amqp").map_or(Ok(()), |backend| known_option(backend, &key))?;
        given.push((key, decoded(value)?));
    }
    given.extend(surroundings.options.iter().cloned());
    Ok(given)
}

/// `host`, `host:5672`, `[::1]:5672`.
fn address(text: &str, default: u16) -> Result<(String, u16)> {
    if text.contains(',') {
        return Err(
            refuse("one host at a time: a list of them is not tried").with_hint("amqp://host:5672/vhost")
        );
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(refuse("the host is missing").with_hint("amqp://host:5672/vhost"));
    }
    let port = match port {
        None => default,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| refuse(format!("'{port}' is no port")).with_hint("amqp://host:5672/vhost"))?,
    };
    Ok((host.to_owned(), port))
}

fn management(url: &str) -> Result<Management> {
    let (tls, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        _ => {
            return Err(refuse("management: a URL begins with http:// or https://")
                .with_hint("-X management=http://host:15672"));
        }
    };
    let (place, path) = rest.split_once('/').map_or((rest, ""), |(place, path)| (place, path));
    if place.contains('@') {
        return Err(refuse("management: it is logged in to as the URL's user, so it has none of its own"));
    }
    let (host, port) = address(place, if tls { 15671 } else { 15672 })?;
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    Ok(Management { tls, host, port, path })
}

fn number<T: std::str::FromStr>(key: (&str, &str), value: Option<&str>) -> Result<Option<T>> {
    value.map(|value| value.parse().map_err(|_| wrong(key, value, "a whole number"))).transpose()
}

fn decoded(text: &str) -> Result<String> {
    percent_decoded(text).ok_or_else(|| refuse("the URL is not percent-encoded UTF-8"))
}

fn wrong(key: (&str, &str), value: &str, want: &str) -> Error {
    let shown = if options::is_secret(key.0) { "***" } else { value };
    refuse(format!("-X {}={shown}: it is {want}", key.0))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, "open", "", message)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
