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

    /// Whether neither TLS nor a login is wanted, and so nothing of OpenSSL.
    pub fn is_plaintext(&self) -> bool {
        self.base.iter().any(|(key, value)| key == "security.protocol" && value == "plaintext")
    }

    /// Whether what transactions have not committed counts as not there; `-X isolation.level=read_uncommitted` sees it.
    pub fn reads_committed(&self) -> bool {
        !self.given("isolation.level").is_some_and(|level| level.eq_ignore_ascii_case("read_uncommitted"))
    }

    /// The same for what must not see anything else.
    pub fn committed(&self) -> Settings {
        let mut settings = self.clone();
        settings.given.retain(|(key, _)| key != "isolation.level");
        settings
    }

    /// The same for what must see all there is.
    pub fn uncommitted(&self) -> Settings {
        let mut settings = self.committed();
        settings.given.push(("isolation.level".into(), "read_uncommitted".into()));
        settings
    }

    /// All that the user set, in order.
    pub fn all_given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The first file that is named and cannot be opened; the library says only that something failed.
    pub fn missing_file(&self) -> Option<(&str, &str)> {
        let mut files =
            self.all_given().filter(|(key, _)| key.ends_with(".location") && !key.contains(".ca."));
        let mut authorities = self.all_given().filter(|(key, _)| key.ends_with("ca.location"));
        let missing = |(_, file): &(&str, &str)| std::fs::metadata(file).is_err();
        files.find(missing).or_else(|| authorities.find(|pair| pair.1 != "probe" && missing(pair)))
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
    let value = |keys: &[&str]| {
        given.iter().rev().find(|(key, _)| keys.contains(&&**key)).map(|(_, value)| value.as_str())
    };
    let mechanism = value(&["sasl.mechanism", "sasl.mechanisms"]);
    let named = user.is_some() || value(&["sasl.username"]).is_some();
    let protocol = match (tls, named || mechanism.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    let protocol = value(&["security.protocol"]).map_or_else(|| protocol.to_owned(), str::to_ascii_lowercase);
    let mut base: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| base.push((key.to_owned(), value.to_owned()));
    set("bootstrap.servers", servers);
    set("client.id", "evcat");
    set("security.protocol", &protocol);
    // Nobody asked for reports on this machine to whoever runs the broker, and they cost a request.
    set("enable.metrics.push", "false");
    // The library doubles the pause up to ten seconds, and a broker that restarts is waited for by somebody.
    set("reconnect.backoff.max.ms", "1000");
    if protocol.ends_with("ssl") && value(&["ssl.ca.location", "ssl.ca.pem"]).is_none() {
        // The OpenSSL in here was built without knowing where this system keeps whom it trusts.
        set("ssl.ca.location", "probe");
    }
    if protocol.starts_with("sasl") {
        let mechanism = log_in(&protocol, mechanism, named, password.is_some(), given)?;
        set("sasl.mechanism", mechanism);
    } else if named || password.is_some() {
        let message = format!("a user is no use with -X security.protocol={protocol}");
        return Err(refuse(message).with_hint("leave it out: the URL says it"));
    }
    user.iter().for_each(|user| set("sasl.username", user));
    password.iter().for_each(|password| set("sasl.password", password));
    Ok(base)
}

/// How to log in. Errors: what is missing for it.
fn log_in<'a>(
    protocol: &str,
    mechanism: Option<&'a str>,
    user: bool,
    password: bool,
    given: &[(String, String)],
) -> Result<&'a str> {
    let mechanism = match mechanism {
        Some(mechanism) => mechanism,
        None if protocol == "sasl_ssl" => "PLAIN",
        None => {
            let hint =
                "-X sasl.mechanism=SCRAM-SHA-512 or SCRAM-SHA-256; PLAIN shows the password to the network";
            return Err(refuse("a user without TLS needs to be told how to log in").with_hint(hint));
        }
    };
    match mechanism {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
            if !user {
                return Err(refuse(format!("{mechanism} needs a user")).with_hint("kafkas://USER@host:9093"));
            }
            if !password {
                let hint =
                    "a profile takes it from a variable, a file or a command: evcat profiles add --help";
                return Err(refuse("there is a user and no password").with_hint(hint));
            }
            Ok(mechanism)
        }
        "OAUTHBEARER" => {
            // The library's other way of getting a token needs libcurl, which is not built in: `curl_global_init` at
            // each start, and a configure script that does not find the one that cargo builds.
            let unsecured = |(key, value): &(String, String)| {
                key == "enable.sasl.oauthbearer.unsecure.jwt"
                    && ["true", "t", "1"].contains(&&*value.to_ascii_lowercase())
            };
            if given.iter().any(unsecured) {
                return Ok(mechanism);
            }
            let message =
                "OAUTHBEARER: this evcat fetches no tokens (OIDC needs libcurl, which is not built in)";
            Err(refuse(message).with_hint("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or a client certificate"))
        }
        _ => {
            let message = format!("-X sasl.mechanism={mechanism}: this evcat does not know it");
            Err(refuse(message)
                .with_hint("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER; Kerberos is not built in"))
        }
    }
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

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
