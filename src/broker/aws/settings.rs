//! From a URL and options to what a client is made with.

use std::sync::Arc;
use std::time::Duration;

use super::options;
use crate::broker::registry::known_option;
use crate::broker::{Error, Kind, Location, Result, Surroundings, backend_of, percent_decoded};
use crate::event::Millis;

/// What every client of a broker shares.
pub struct Settings {
    /// `eu-central-1`; `None`: what the AWS configuration says.
    pub region: Option<String>,
    /// Where the services are, if not at AWS.
    pub endpoint: Option<String>,
    /// Of the AWS configuration files.
    pub profile: Option<String>,
    /// Access key and its secret, where they were given and no chain is asked. Never shown.
    pub key: Option<(String, String)>,
    /// The longest time without the broker; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// The longest poll, in seconds.
    pub wait: i32,
    /// Of new groups.
    pub max_receives: u32,
    /// So long without a sign of its tail, a temporary queue was left behind.
    pub stale: Duration,
}

impl Settings {
    /// Of `aws://[ACCESS_KEY@]REGION[?key=value&...]`; options go before the query. Errors: [`Kind::Unsupported`] for a key
    /// that is unknown, a value that is none, and for a URL that says too little.
    pub fn of(location: &Location, surroundings: &Surroundings) -> Result<Settings> {
        let rest = location.rest.strip_prefix("//").unwrap_or(&location.rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, region) = match place.rsplit_once('@') {
            Some((user, region)) => (Some(user), region),
            None => (None, place),
        };
        let region = region.strip_suffix('/').unwrap_or(region);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !region.chars().all(plain) {
            return Err(refuse(format!("'{region}' is no AWS region")).with_hint("aws://eu-central-1"));
        }
        let (user, mut password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, "")) => (Some(decoded(user)?), None),
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (None, None),
        };
        let given = given(query, surroundings)?;
        let value = |key: (&str, &str)| given.iter().rev().find(|(k, _)| k == key.0).map(|(_, v)| v.as_str());
        if let Some(given) = value(options::PASSWORD) {
            password = Some(given.to_owned());
        }
        let key = match (user, password) {
            (Some(user), Some(secret)) => Some((user, secret)),
            (None, None) => None,
            (Some(_), None) => {
                let message = "an access key in the URL needs its secret";
                return Err(refuse(message).with_hint(
                    "a profile has it: password_command, password_env or password_file; or leave the key out of the URL, \
                     and the AWS credential chain is asked",
                ));
            }
            (None, Some(_)) => {
                return Err(
                    refuse("a secret access key without its access key").with_hint("aws://ACCESS_KEY@REGION")
                );
            }
        };
        let endpoint = value(options::ENDPOINT).map(str::to_owned);
        if let Some(endpoint) = &endpoint
            && !endpoint.starts_with("http://")
            && !endpoint.starts_with("https://")
        {
            return Err(wrong(options::ENDPOINT, endpoint, "a URL that begins with http:// or https://"));
        }
        Ok(Settings {
            region: (!region.is_empty()).then(|| region.to_owned()),
            endpoint,
            profile: value(options::PROFILE).map(str::to_owned),
            key,
            timeout: surroundings.timeout,
            clock: surroundings.clock.clone(),
            wait: number(options::WAIT, value(options::WAIT), 1, 20)?.unwrap_or(20),
            max_receives: number(options::RECEIVES, value(options::RECEIVES), 2, 1000)?.unwrap_or(1000),
            stale: Duration::from_secs(
                number(options::STALE, value(options::STALE), 0, 1_000_000_000)?.unwrap_or(900),
            ),
        })
    }

    /// As errors and `check` name the place.
    pub fn server(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("AWS")
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
        backend_of("aws").map_or(Ok(()), |backend| known_option(backend, &key))?;
        given.push((key, decoded(value)?));
    }
    given.extend(surroundings.options.iter().cloned());
    Ok(given)
}

fn number<T>(key: (&str, &str), value: Option<&str>, least: T, most: T) -> Result<Option<T>>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let Some(value) = value else { return Ok(None) };
    match value.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(Some(number)),
        _ => Err(wrong(key, value, &format!("a whole number from {least} to {most}"))),
    }
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
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn settings(rest: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let surroundings = Surroundings {
            clock: Arc::new(|| 0),
            timeout: None,
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            data_dir: "/nonexistent".into(),
        };
        Settings::of(&Location { scheme: "aws".into(), rest: rest.into() }, &surroundings)
    }

    #[test]
    fn the_parts_of_a_url() {
        let all = settings("//AKIA@eu-west-1?endpoint=http://h:1&wait=3", &[("password", "s")]).unwrap();
        assert_eq!((all.region.as_deref(), all.endpoint.as_deref()), (Some("eu-west-1"), Some("http://h:1")));
        assert_eq!((all.key, all.wait), (Some(("AKIA".into(), "s".into())), 3));
        let least = settings("//us-east-1", &[]).unwrap();
        assert_eq!((least.region.as_deref(), least.key, least.wait), (Some("us-east-1"), None, 20));
        assert_eq!(settings("//?profile=p", &[]).unwrap().profile.as_deref(), Some("p"));
    }

    #[test]
    fn what_says_too_little_or_nonsense_is_refused() {
        let bad = [
            ("//host:1", &[][..], "region"),
            ("//AKIA@eu-west-1", &[], "secret"),
            ("//eu-west-1", &[("password", "hunter2")], "access key"),
            ("//eu-west-1?endpoint=h:1", &[], "http://"),
            ("//eu-west-1?wait=60", &[], "1 to 20"),
            ("//eu-west-1?max_receives=1", &[], "2 to 1000"),
            ("//eu-west-1?endpont=x", &[], "endpoint"),
        ];
        for (rest, options, part) in bad {
            let error = settings(rest, options).err().unwrap_or_else(|| panic!("{rest}"));
            assert_eq!(error.kind(), Kind::Unsupported);
            let words = format!("{error} {}", error.detail().hint.as_deref().unwrap_or_default());
            assert!(words.contains(part) && !words.contains("hunter2"), "{rest}: {words}");
        }
    }
}
