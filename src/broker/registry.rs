//! Which brokers there are: one row each, known even where the backend is not compiled in.

use std::sync::Arc;

use super::{Broker, Capabilities, Error, Kind, Result, Surroundings};

/// A broker's URL, taken apart: `scheme:rest`. Secrets never pass through here; a backend is handed them by its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// `local`, `kafka`, ...
    pub scheme: String,
    /// All behind the colon: a path, or `//host:port/...?query`.
    pub rest: String,
}

/// Makes a broker from its URL, without I/O.
pub type Open = fn(&Location, Surroundings) -> Result<Arc<dyn Broker>>;

/// One row of the registry.
#[derive(Debug)]
pub struct Backend {
    /// What people call it, and what refusals list: `local`, `kafka`.
    pub name: &'static str,
    /// The schemes of its URLs; `name` itself is the first.
    pub schemes: &'static [&'static str],
    /// What its topics can do. Pure.
    pub capabilities: fn(&str) -> Capabilities,
    /// Its option keys for `-X`, each with a line of help.
    pub options: &'static [(&'static str, &'static str)],
    /// Makes it, without I/O; `None` where it is not compiled in.
    pub open: Option<Open>,
    /// The client library and its version, for `--version`.
    pub client: fn() -> String,
}

/// Every broker evcat knows.
pub const BACKENDS: &[Backend] = &[
    Backend {
        name: "local",
        schemes: &["local"],
        #[cfg(feature = "local")]
        capabilities: super::local::capabilities,
        #[cfg(not(feature = "local"))]
        capabilities: |_| Capabilities::default(),
        #[cfg(feature = "local")]
        options: super::local::OPTIONS,
        #[cfg(not(feature = "local"))]
        options: &[],
        #[cfg(feature = "local")]
        open: Some(super::local::open),
        #[cfg(not(feature = "local"))]
        open: None,
        #[cfg(feature = "local")]
        client: super::local::client,
        #[cfg(not(feature = "local"))]
        client: || "not compiled in".into(),
    },
    Backend {
        name: "kafka",
        schemes: &["kafka", "kafkas"],
        #[cfg(feature = "kafka")]
        capabilities: super::kafka::capabilities,
        #[cfg(not(feature = "kafka"))]
        capabilities: |_| Capabilities::default(),
        #[cfg(feature = "kafka")]
        options: super::kafka::OPTIONS,
        #[cfg(not(feature = "kafka"))]
        options: &[],
        #[cfg(feature = "kafka")]
        open: Some(super::kafka::open),
        #[cfg(not(feature = "kafka"))]
        open: None,
        #[cfg(feature = "kafka")]
        client: super::kafka::client,
        #[cfg(not(feature = "kafka"))]
        client: || "not compiled in".into(),
    },
    Backend {
        name: "rabbitmq",
        schemes: &["amqp", "amqps"],
        #[cfg(feature = "rabbitmq")]
        capabilities: super::rabbitmq::capabilities,
        #[cfg(not(feature = "rabbitmq"))]
        capabilities: |_| Capabilities::default(),
        #[cfg(feature = "rabbitmq")]
        options: super::rabbitmq::OPTIONS,
        #[cfg(not(feature = "rabbitmq"))]
        options: &[],
        #[cfg(feature = "rabbitmq")]
        open: Some(super::rabbitmq::open),
        #[cfg(not(feature = "rabbitmq"))]
        open: None,
        #[cfg(feature = "rabbitmq")]
        client: super::rabbitmq::client,
        #[cfg(not(feature = "rabbitmq"))]
        client: || "not compiled in".into(),
    },
    Backend {
        name: "aws",
        schemes: &["aws"],
        #[cfg(feature = "aws")]
        capabilities: super::aws::capabilities,
        #[cfg(not(feature = "aws"))]
        capabilities: |_| Capabilities::default(),
        #[cfg(feature = "aws")]
        options: super::aws::OPTIONS,
        #[cfg(not(feature = "aws"))]
        options: &[],
        #[cfg(feature = "aws")]
        open: Some(super::aws::open),
        #[cfg(not(feature = "aws"))]
        open: None,
        #[cfg(feature = "aws")]
        client: super::aws::client,
        #[cfg(not(feature = "aws"))]
        client: || "not compiled in".into(),
    },
    Backend {
        name: "pubsub",
        schemes: &["pubsub"],
        #[cfg(feature = "pubsub")]
        capabilities: super::pubsub::capabilities,
        #[cfg(not(feature = "pubsub"))]
        capabilities: |_| Capabilities::default(),
        #[cfg(feature = "pubsub")]
        options: super::pubsub::OPTIONS,
        #[cfg(not(feature = "pubsub"))]
        options: &[],
        #[cfg(feature = "pubsub")]
        open: Some(super::pubsub::open),
        #[cfg(not(feature = "pubsub"))]
        open: None,
        #[cfg(feature = "pubsub")]
        client: super::pubsub::client,
        #[cfg(not(feature = "pubsub"))]
        client: || "not compiled in".into(),
    },
];

/// The row of a scheme.
pub fn backend_of(scheme: &str) -> Option<&'static Backend> {
    BACKENDS.iter().find(|backend| backend.schemes.contains(&scheme))
}

/// Makes a broker from its URL. Behaviour: no I/O; an unknown scheme, a backend that is not compiled in and an unknown
/// option key are refused.
pub fn open(location: &Location, surroundings: Surroundings) -> Result<Arc<dyn Broker>> {
    let refuse = |message: String| Error::new(Kind::Unsupported, "open", "", message);
    let Some(backend) = backend_of(&location.scheme) else {
        let known: Vec<_> = BACKENDS.iter().map(|b| b.name).collect();
        return Err(refuse(format!("no broker has URLs that begin with '{}:'", location.scheme))
            .with_hint(format!("these are known: {}", known.join(", "))));
    };
    let Some(make) = backend.open else {
        return Err(refuse(format!("{} is not compiled into this evcat", backend.name))
            .with_hint(format!("cargo install evcat --features {}", backend.name)));
    };
    surroundings.options.iter().try_for_each(|(key, _)| known_option(backend, key))?;
    make(location, surroundings)
}

/// Refuses an option that the backend does not have, with the nearest that it has.
pub(super) fn known_option(backend: &Backend, key: &str) -> Result<()> {
    let known: Vec<_> = backend.options.iter().map(|(key, _)| *key).collect();
    if known.contains(&key) {
        return Ok(());
    }
    let message = format!("-X {key}: {} has no such option", backend.name);
    let error = Error::new(Kind::Unsupported, "open", "", message);
    Err(match nearest(key, &known) {
        Some(near) => error.with_hint(format!("did you mean '{near}'? all of them: -X help")),
        None => error.with_hint("all of them: -X help"),
    })
}

/// A part of a URL as it was meant; `None` where it is not percent-encoded UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// The nearest of the names, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let best = names.iter().map(|other| (strsim::damerau_levenshtein(name, other), *other)).min()?;
    (best.0 <= (name.chars().count() / 3).max(1)).then_some(best.1)
}
