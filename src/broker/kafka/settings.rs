//! From a URL and options to what a client is made with.

use std::time::Duration;

use super::client::Role;
use super::options;
use crate::broker::registry::known_option;
use crate::broker::{Error, Kind, Location, Result, Surroundings, backend_of, percent_decoded};

/// What every client of a broker shares.
#[derive(Clone)]
pub struct Settings {
    /// `host:9092,host2:9092`, as errors name it.
    pub servers: String,
    /// The longest time without the broker; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Set whatever the role, and gone before by what the user set.
    base: Vec<(String, String)>,
    /// What the user set.
    given: Vec<(String, String)>,
}

impl Settings {
    /// Of `kafka://[user@]host[:port][,host...][?key=value&...]`; options go before the query. Errors:
    /// [`Kind::Unsupported`] for a key that is unknown or not to be set, and for a URL that says too little.
    pub fn of(location: &Location, surroundings: &Surroundings) -> Result<Settings> {
        let rest = location.rest.strip_prefix("//").unwrap_or(&location.rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, hosts) = match place.rsplit_once('@') {
            Some((user, hosts)) => (Some(decoded(user)?), hosts),
            None => (None, place),
        };
        let servers = servers(hosts)?;
        let mut given: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                refuse(format!("?{pair} has no value")).with_hint("options are ?KEY=VALUE&KEY=VALUE")
            })?;
            let key = decoded(key)?;
            backend_of("kafka").map_or(Ok(()), |backend| known_option(backend, &key))?;
            given.push((key, decoded(value)?));
        }
        given.extend(surroundings.options.iter().cloned());
        let mut password = None;
        given.retain(|(key, value)| {
            key != "password" || {
                password = Some(value.clone());
                false
            }
        });
        if let Some((key, why)) = given.iter().find_map(|(key, _)| Some((key, options::reserved(key)?))) {
            return Err(refuse(format!("-X {key}: cannot be set")).with_hint(why));
        }
        let base = base(location.scheme == "kafkas", &servers, user, password, &given)?;
        Ok(Settings { servers, timeout: surroundings.timeout, base, given })
    }

    /// What a client of this role is made with, in the order it is set: a later one overrides an earlier one.
    pub fn pairs<'a>(
        &'a self,
        role: Role,
        defaults: &'a [(&str, &str)],
        fixed: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = |pair: &'a (String, String)| (&*pair.0, &*pair.1);
        let all = self.base.iter().map(text).chain(defaults.iter().copied());
        let all = all.chain(self.given.iter().map(text)).chain(fixed.iter().copied());
        all.filter(move |(key, _)| !options::is_own(key) && options::concerns(key, role))
    }

    /// What the user set for a key, if anything.
    pub fn given(&self, key: &str) -> Option<&str> {
        self.given.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// All that the user set, in order.
    pub fn all_given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Who we say we are, if anybody.
    pub fn user(&self) -> Option<&str> {
        let in_url = self.base.iter().find(|(key, _)| key == "sasl.username").map(|(_, user)| user.as_str());
        self.given("sasl.username").or(in_url)
    }

    /// The values that are never shown.
    pub fn secrets(&self) -> Vec<String> {
        let all = self.base.iter().chain(&self.given);
        all.filter(|(key, value)| options::is_secret(key) && !value.is_empty())
            .map(|(_, value)| value.clone())
            .collect()
    }
}

/// What the URL says in the library's words.
fn base(
    tls: bool,
    servers: &str,
    user: Option<String>,
    password: Option<String>,
    given: &[(String, String)],
) -> Result<Vec<(String, String)>> {
    let has = |keys: &[&str]| given.iter().any(|(key, _)| keys.contains(&&**key));
    const MECHANISM: &[&str] = &["sasl.mechanism", "sasl.mechanisms"];
    let logs_in = user.is_some() || has(&["sasl.username"]) || has(MECHANISM);
    let protocol = match (tls, logs_in) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    let mut base = vec![
        ("bootstrap.servers".to_owned(), servers.to_owned()),
        ("client.id".to_owned(), "evcat".to_owned()),
        ("security.protocol".to_owned(), protocol.to_owned()),
        // Nobody asked for a report on this machine to whoever runs the broker, and it costs a request.
        ("enable.metrics.push".to_owned(), "false".to_owned()),
    ];
    if logs_in && !has(MECHANISM) {
        if !tls && !has(&["security.protocol"]) {
            let hint = "-X sasl.mechanism=SCRAM-SHA-512 (or SCRAM-SHA-256), or kafkas:// for TLS; PLAIN shows the password to the network";
            return Err(refuse("a user without TLS needs to be told how to log in").with_hint(hint));
        }
        base.push(("sasl.mechanism".to_owned(), "PLAIN".to_owned()));
    }
    match (user, password) {
        (None, Some(_)) if !has(&["sasl.username"]) => {
            return Err(refuse("there is a password and no user").with_hint("kafka://USER@host:9092"));
        }
        (user, password) => {
            base.extend(user.map(|user| ("sasl.username".to_owned(), user)));
            base.extend(password.map(|password| ("sasl.password".to_owned(), password)));
        }
    }
    Ok(base)
}

/// `host:port,...` with each port written out. Errors: no host, or a port that is none.
fn servers(hosts: &str) -> Result<String> {
    let hosts = hosts.trim_end_matches('/');
    let one = |host: &str| {
        let bad = |why: &str| {
            refuse(format!("'{host}' {why}"))
                .with_hint("kafka://host:9092,host2:9092, and [::1]:9092 for IPv6")
        };
        if host.is_empty() {
            return Err(bad("is no host"));
        }
        if host.contains(['/', '#', ' ']) {
            return Err(bad("is no host: a Kafka URL has no path"));
        }
        // `[::1]` has colons of its own.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, "9092"),
        };
        let in_brackets = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || (name.contains(':') && !in_brackets) {
            return Err(bad("is no host"));
        }
        match port.parse::<u16>() {
            Ok(1..) => Ok(format!("{name}:{port}")),
            _ => Err(bad("has no good port")),
        }
    };
    Ok(hosts.split(',').map(one).collect::<Result<Vec<_>>>()?.join(","))
}

fn decoded(text: &str) -> Result<String> {
    percent_decoded(text).ok_or_else(|| refuse("the URL is not percent-encoded UTF-8"))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, "open", "", message)
}
