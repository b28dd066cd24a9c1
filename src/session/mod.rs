//! What a command works with: the broker it was given, how to talk, when to stop.

mod choice;
mod read_only;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

use crate::broker::{self, Ability, BACKENDS, Broker, Start, Stop, Surroundings, abilities};
use crate::cli::GlobalArgs;
use crate::event::{Millis, Name};
use crate::outcome::{Exit, Failure};
use crate::output::Ui;
use crate::settings::Environment;
use crate::settings::Secret;
use crate::settings::point::{self, Point, Range, Reference};
use crate::shutdown;

pub use choice::{Choice, broker_flag};

/// What is known before a broker was chosen; enough for `help`, `completions` and `profiles`.
pub struct Setup {
    /// How to talk.
    pub ui: Ui,
    /// When to stop.
    pub stop: shutdown::Stop,
    /// The global options.
    pub global: GlobalArgs,
    /// The environment.
    pub environment: &'static Environment,
}

/// The surroundings of one command.
pub struct Session {
    /// How to talk.
    pub ui: Ui,
    /// When to stop.
    pub stop: shutdown::Stop,
    /// The broker that was chosen.
    pub endpoint: Endpoint,
    /// Opened, not yet reached.
    pub broker: Arc<dyn Broker>,
    /// What it was opened with.
    pub surroundings: Surroundings,
    environment: &'static Environment,
}

/// A chosen broker, by the names that screens use.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `local`, or the profile's name, or the URL with its secrets masked.
    pub name: String,
    /// The backend's name: `local`, `kafka`.
    pub backend: &'static str,
    /// ` -b prod` where it was given and a pasted command must repeat it, else empty.
    pub flag: String,
    /// Writing is refused.
    pub read_only: bool,
    /// Where it is, whatever it is called here: a file, or the URL without its user.
    pub place: String,
    /// As it was chosen, for the `EVCAT_BROKER` of a child process; a URL may have a password in it.
    pub given: Secret,
}

impl Endpoint {
    /// Whether both are one broker, as far as their URLs and the file system say.
    pub fn is_same(&self, other: &Endpoint) -> bool {
        let file = |place: &str| std::fs::canonicalize(place).ok();
        let same_file = || file(&self.place).is_some_and(|path| Some(path) == file(&other.place));
        self.backend == other.backend && (self.place == other.place || same_file())
    }
}

/// The option by which a backend is told patterns of keys.
const BINDING: &str = "binding";

fn has_bindings(backend: &str) -> bool {
    let found = BACKENDS.iter().find(|known| known.name == backend);
    found.is_some_and(|backend| backend.options.iter().any(|(key, _)| *key == BINDING))
}

impl Setup {
    /// Makes the chosen broker, without I/O on it.
    pub fn session(&self) -> anyhow::Result<Session> {
        self.session_bound(&[])
    }

    /// The same with patterns of keys for what is bound; where there is no such thing, [`Session::binds`] refuses it.
    pub fn session_bound(&self, binding: &[String]) -> anyhow::Result<Session> {
        let mut choice = Choice::make(self.global.broker.as_deref(), self.environment)?;
        if choice.by_default && !self.ui.err.terminal {
            self.ui.status("broker: local: (neither -b nor EVCAT_BROKER is set)");
        }
        if !binding.is_empty() && has_bindings(choice.endpoint.backend) {
            choice.options.push((BINDING.to_owned(), binding.join(",")));
        }
        self.open(choice)
    }

    /// The same with a broker that was chosen otherwise.
    pub fn open(&self, choice: Choice) -> anyhow::Result<Session> {
        let mut options = choice.options.clone();
        for option in &self.global.options {
            options.push(key_value(option)?);
        }
        let surroundings = Surroundings {
            clock: Arc::new(wall_clock),
            timeout: Some(self.global.timeout).filter(|timeout| !timeout.is_zero()),
            options,
            data_dir: self.environment.data_dir.clone().unwrap_or_default(),
        };
        let broker = choice.open(surroundings.clone(), self.environment)?;
        let (ui, stop, environment) = (self.ui.clone(), self.stop.clone(), self.environment);
        Ok(Session { ui, stop, endpoint: choice.endpoint, broker, surroundings, environment })
    }
}

impl Session {
    /// Refuses `--binding` where nothing is bound.
    pub fn binds(&self, binding: &[String]) -> Result<(), Failure> {
        let backend = self.endpoint.backend;
        match binding.is_empty() || has_bindings(backend) {
            true => Ok(()),
            false => Err(Failure::usage(format!("--binding: {backend} has no bindings"))
                .hint("bindings belong to RabbitMQ's exchanges; filters work everywhere: --key 'GLOB'")),
        }
    }

    /// Opens another broker (`--to-broker`): its own options, the same clock and patience.
    pub fn second(&self, given: &str) -> anyhow::Result<(Endpoint, Arc<dyn Broker>)> {
        let mut choice = Choice::of(given, self.environment)?;
        choice.endpoint.flag = broker_flag(given);
        let surroundings = Surroundings { options: choice.options.clone(), ..self.surroundings.clone() };
        let broker = choice.open(surroundings, self.environment)?;
        Ok((choice.endpoint, broker))
    }

    /// Refuses, before any I/O, the first flag that this broker cannot serve on this topic.
    pub fn guard(&self, needs: &[(&str, &Ability)], topic: &str) -> Result<(), Failure> {
        guard(&self.endpoint, &*self.broker, needs, topic)
    }

    /// Refuses a command that writes where the profile says `read_only = true`.
    pub fn writable(&self, command: &str) -> Result<(), Failure> {
        writable(&self.endpoint, command)
    }

    /// Where `--from` begins, refused before any I/O where this broker cannot begin there.
    pub fn start(&self, flag: &str, points: &[Point], topics: &[Name]) -> Result<Start, Failure> {
        let start = self.point(flag, points, topics)?;
        self.guard_start(flag, &start, topics)?;
        Ok(start)
    }

    /// What POINTs mean, where nothing is to begin there.
    pub fn point(&self, flag: &str, points: &[Point], topics: &[Name]) -> Result<Start, Failure> {
        point::start(flag, points, topics, &self.reference(topics))
    }

    /// What `--from` and `--to` choose, refused before any I/O where this broker cannot serve it.
    pub fn range(&self, from: &[Point], to: &[Point], topics: &[Name]) -> Result<Range, Failure> {
        let range = point::range(from, to, topics, &self.reference(topics))?;
        if let Some(start) = &range.start {
            self.guard_start("--from", start, topics)?;
        }
        if let Some(Stop::At(_)) = range.stop {
            self.guard_all("--to", &abilities::BY_POSITION, topics)?;
        }
        Ok(range)
    }

    fn guard_start(&self, flag: &str, start: &Start, topics: &[Name]) -> Result<(), Failure> {
        match start {
            Start::Earliest => self.guard_all(flag, &abilities::HISTORY, topics),
            Start::Time(_) => self.guard_all(flag, &abilities::BY_TIME, topics),
            Start::At(_) | Start::After(_) => self.guard_all(flag, &abilities::BY_POSITION, topics),
            Start::Last(_) => self.guard_all(flag, &abilities::LAST, topics),
            Start::Latest => Ok(()),
        }
    }

    fn guard_all(&self, flag: &str, ability: &Ability, topics: &[Name]) -> Result<(), Failure> {
        topics.iter().try_for_each(|topic| self.guard(&[(flag, ability)], topic))
    }

    fn reference(&self, topics: &[Name]) -> Reference {
        let partitions = topics.iter().any(|topic| self.broker.capabilities(topic).partitions);
        Reference { now: self.now(), zone: TimeZone::system, partitions }
    }

    /// The time now.
    pub fn now(&self) -> Millis {
        (self.surroundings.clock)()
    }

    /// The zone of times that are shown, and of those typed without one.
    pub fn zone(&self) -> TimeZone {
        TimeZone::system()
    }

    /// The variables that evcat heeds.
    pub fn environment(&self) -> &'static Environment {
        self.environment
    }
}

/// The same as [`Session::guard`] for any broker, such as that of `--to-broker`.
pub fn guard(
    endpoint: &Endpoint,
    broker: &dyn Broker,
    needs: &[(&str, &Ability)],
    topic: &str,
) -> Result<(), Failure> {
    let Some((flag, ability)) = broker::missing(&broker.capabilities(topic), needs) else { return Ok(()) };
    let able: Vec<_> =
        BACKENDS.iter().filter(|b| (ability.has)(&(b.capabilities)(topic))).map(|b| b.name).collect();
    let hint = match able.is_empty() {
        true => "no broker that this version knows can".to_owned(),
        false => format!("these brokers can: {}", able.join(", ")),
    };
    let (backend, name) = (endpoint.backend, ability.name);
    Err(Failure::usage(format!("{flag}: {backend} cannot do that for '{topic}': {name}")).hint(hint))
}

/// Refuses, before any I/O, a name that no topic of this broker can be made with.
pub fn legal(broker: &dyn Broker, flag: &str, topic: &str) -> Result<(), Failure> {
    broker.legal(topic).map_err(|error| {
        let failure = Failure::usage(format!("{flag}: {error}"));
        match &error.detail().hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// The same as [`Session::writable`] for any broker, such as that of `--to-broker`.
pub fn writable(endpoint: &Endpoint, command: &str) -> Result<(), Failure> {
    let Endpoint { name, read_only, .. } = endpoint;
    match read_only {
        false => Ok(()),
        true => Err(Failure::usage(format!("{command}: {name} is for reading only"))
            .exit(Exit::Denied)
            .hint(format!("read_only = true stands in its profile: evcat profiles show {name}"))),
    }
}

/// `KEY=VALUE` of `-X`.
pub fn key_value(option: &str) -> Result<(String, String), Failure> {
    match option.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            Err(Failure::usage(format!("-X {option}: an option is KEY=VALUE"))
                .hint("all of them: evcat -X help"))
        }
    }
}

/// The time now, by the machine.
pub fn wall_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
