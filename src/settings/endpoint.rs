//! A broker's URL: taken apart for the backend, masked for everybody else.

use std::path::Path;

use super::Secret;
use crate::broker::{BACKENDS, Backend, Location, backend_of, nearest, percent_decoded};
use crate::outcome::Failure;

/// A URL that names a broker this version knows.
#[derive(Clone, Debug)]
pub struct Address {
    /// Which broker.
    pub backend: &'static Backend,
    /// For the backend; holds no password.
    pub location: Location,
    /// The password that stood in the URL.
    pub password: Option<Secret>,
    /// For people: the URL with its secrets masked.
    pub shown: String,
}

/// Whether this is meant as a URL; else it is the name of a profile.
pub fn is_url(text: &str) -> bool {
    text.contains(':')
}

/// Takes a URL apart; `home` is what `~/` stands for. Errors name the URL, masked.
pub fn parse(text: &str, home: Option<&Path>) -> Result<Address, Failure> {
    let shown = mask(text);
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(Failure::usage(format!("'{shown}' is not a URL")).hint(known()));
    };
    let scheme = scheme.to_ascii_lowercase();
    let Some(backend) = backend_of(&scheme) else {
        let schemes: Vec<&str> = BACKENDS.iter().flat_map(|b| b.schemes).copied().collect();
        let hint = match nearest(&scheme, &schemes) {
            Some(near) => format!("did you mean '{near}:'? {}", known()),
            None => known(),
        };
        let version = env!("CARGO_PKG_VERSION");
        return Err(Failure::usage(format!("{shown}: evcat {version} knows no broker '{scheme}'")).hint(hint));
    };
    let (rest, password) = match scheme.as_str() {
        "local" => (local_path(rest, &shown, home)?, None),
        _ => server(rest, &shown)?,
    };
    Ok(Address { backend, location: Location { scheme, rest }, password, shown })
}

fn known() -> String {
    let known: Vec<_> = BACKENDS.iter().map(|backend| format!("{}:", backend.schemes[0])).collect();
    format!("this version knows: {}", known.join(" "))
}

/// `~/` is expanded here because no shell does it behind `local:`.
fn local_path(rest: &str, shown: &str, home: Option<&Path>) -> Result<String, Failure> {
    if rest.starts_with("//") && !rest.starts_with("///") {
        let hint = format!("a file is local:PATH, such as local:{}", rest.trim_start_matches('/'));
        return Err(Failure::usage(format!("{shown}: the embedded broker has no host")).hint(hint));
    }
    match rest.strip_prefix("~/") {
        None => Ok(rest.to_owned()),
        Some(below) => match home {
            Some(home) => Ok(home.join(below).to_string_lossy().into_owned()),
            None => Err(Failure::usage(format!("{shown}: '~' means nothing while HOME is not set"))),
        },
    }
}

/// Takes the password out of `//user:password@host`.
fn server(rest: &str, shown: &str) -> Result<(String, Option<Secret>), Failure> {
    let Some(authority) = rest.strip_prefix("//").filter(|authority| !authority.is_empty()) else {
        return Err(Failure::usage(format!("{shown}: the host is missing, as in kafka://host:9092")));
    };
    // An '@' behind the '?' belongs to an option, unless the '?' is one of a password.
    let (place, query) = authority.find('?').map_or((authority, ""), |at| authority.split_at(at));
    let Some((user, host)) = place.rsplit_once('@') else {
        let port = place.rsplit_once(':').map_or("", |(_, port)| port);
        if query.contains('@') && !port.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = format!("{shown}: a '?' in a password is written %3F");
            return Err(Failure::usage(message));
        }
        return Ok((rest.to_owned(), None));
    };
    let Some((user, password)) = user.split_once(':') else { return Ok((rest.to_owned(), None)) };
    let password = percent_decoded(password)
        .ok_or_else(|| Failure::usage(format!("{shown}: the password is not percent-encoded UTF-8")))?;
    Ok((format!("//{user}@{host}{query}"), Some(Secret::new(password))))
}

/// The same text without what may be a secret: the password before an `@` (where there is no user name, all before
/// it: NATS tokens), and the values of query parameters that sound like one. Rather too much than too little.
pub fn mask(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = match rest.rsplit_once('@') {
        None => rest.to_owned(),
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None if matches!(scheme, "nats" | "tls") => format!("***@{host}"),
            None => rest.to_owned(),
        },
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if sounds_secret(key) => format!("{key}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{place}?{}", query.join("&"))
}

/// Whether the value of such a key is not to be shown.
pub fn sounds_secret(key: &str) -> bool {
    // Where a secret lies, or how one logs in, is none: `ssl.key.location`, `sasl.mechanism`.
    const HARMLESS: [&str; 5] = ["location", "mechanism", "mechanisms", "username", "protocol"];
    let key = key.to_ascii_lowercase();
    let mut words = key.split(|c: char| !c.is_ascii_alphanumeric());
    let harmless = words.clone().next_back().is_some_and(|last| HARMLESS.contains(&last));
    !harmless
        && (words.any(|word| word == "sas")
            || ["pass", "secret", "token", "credential", "key"].iter().any(|word| key.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_secret_is_one_and_what_names_its_place_is_not() {
        for key in [
            "password",
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "secret_key",
            "SharedAccessKey",
            "sas",
            "Token",
        ] {
            assert!(sounds_secret(key), "{key}");
        }
        for key in [
            "ssl.key.location",
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "client.id",
            "endpoint",
        ] {
            assert!(!sounds_secret(key), "{key}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("kafka://h:9092,h2:9092", "kafka://h:9092,h2:9092"),
            ("amqp://u:p@h/v", "amqp://u:***@h/v"),
            ("amqp://u:p@ss:w@h", "amqp://u:***@h"),
            ("amqp://u:p/w?x@h", "amqp://u:***@h"),
            ("redis://:p@h", "redis://:***@h"),
            ("nats://token@h", "nats://***@h"),
            ("nats://a:b@h1,nats://c:d@h2", "nats://a:***@h2"),
            ("amqp://guest@h", "amqp://guest@h"),
            ("aws://eu?endpoint=x&secret_key=y&Token=z", "aws://eu?endpoint=x&secret_key=***&Token=***"),
            ("local:/tmp/x", "local:/tmp/x"),
        ] {
            assert_eq!(mask(url), shown);
        }
    }

    #[test]
    fn an_at_in_an_option_moves_no_host() {
        let parts =
            |rest| server(rest, "it").map(|(rest, password)| (rest, password.map(|p| p.expose().to_owned())));
        let url = "//u:p@w@h:1?management=http://g:x@m:2";
        assert_eq!(parts(url).unwrap(), ("//u@h:1?management=http://g:x@m:2".into(), Some("p@w".into())));
        assert_eq!(parts("//h:9092?a=b@c").unwrap(), ("//h:9092?a=b@c".into(), None));
        assert!(parts("//u:p?w@h").is_err(), "half a password is not taken for a port");
    }

    #[test]
    fn the_embedded_broker_takes_a_path() {
        let rest = |url| parse(url, Some(Path::new("/h"))).map(|a| a.location.rest).map_err(|e| e.message);
        assert_eq!(rest("local:"), Ok("".into()));
        assert_eq!(rest("local:events.db"), Ok("events.db".into()));
        assert_eq!(rest("LOCAL:/tmp/a b.db"), Ok("/tmp/a b.db".into()));
        assert_eq!(rest("local:~/x.db"), Ok("/h/x.db".into()));
        assert!(rest("local://x.db").is_err(), "a host is not taken for a path");
        assert!(parse("local:~/x.db", None).is_err(), "no home is no panic");
    }

    #[test]
    fn an_unknown_broker_is_refused_with_the_nearest_and_without_its_password() {
        let failure = parse("locla:x", None).expect_err("unknown");
        assert_eq!(failure.exit, crate::outcome::Exit::Usage);
        assert!(failure.hint.is_some_and(|hint| hint.starts_with("did you mean 'local:'?")));
        let failure = parse("xyz://u:hunter2@h", None).expect_err("unknown");
        assert!(failure.message.contains("xyz://u:***@h") && !failure.message.contains("hunter2"));
    }

    #[test]
    fn a_password_does_not_stay_in_the_location() {
        let (rest, password) = server("//u:p%40ss@h:1/v", "").expect("a URL");
        assert_eq!((rest.as_str(), password), ("//u@h:1/v", Some(Secret::new("p@ss"))));
        assert!(server("//u:%zz@h", "").is_err());
        assert!(server("//", "").is_err());
    }
}
