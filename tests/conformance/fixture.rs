//! The brokers that are tried, one row each.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(feature = "aws")]
use evcat::broker::aws;
#[cfg(feature = "kafka")]
use evcat::broker::kafka;
#[cfg(feature = "rabbitmq")]
use evcat::broker::rabbitmq;
use evcat::broker::{Broker, Capabilities, Location, Result, Surroundings, local, open};

#[cfg(feature = "aws")]
use crate::account;
#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "aws"))]
use crate::brokers;
#[cfg(feature = "kafka")]
use crate::kick;
#[cfg(feature = "kafka")]
use crate::lanes;
#[cfg(feature = "pubsub")]
use crate::pubsub;
#[cfg(feature = "rabbitmq")]
use crate::rabbit::Vhost;
#[cfg(any(feature = "kafka", feature = "aws"))]
use crate::scoped::Scoped;
use crate::simulated::{self, Shape};

/// One broker.
pub struct Fixture {
    /// As the output of the run calls it.
    pub name: &'static str,
    /// What is missing to run it here.
    pub missing: fn() -> Option<String>,
    /// What it claims of a plain topic.
    pub capabilities: fn(&str) -> Capabilities,
    /// Makes one that nobody else uses.
    pub world: fn() -> Box<dyn World>,
    /// The shortest lease it has; `None` where a delivery stays with its member for as long as it is connected.
    pub lease: Option<Duration>,
    /// How soon a sleeping reader has an event that another client published.
    pub wake: Duration,
    /// What it does in its own way.
    pub habits: Habits,
}

/// What brokers do differently though no flag depends on it, so that no capability says it.
pub struct Habits {
    /// `queue:x` is a queue of its own, that no group reads.
    pub has_queues: bool,
    /// Without `ordered` a key may be at work twice.
    pub gives_up_order: bool,
    /// What is released is there for other members at once, not when its member leaves.
    pub releases_at_once: bool,
    /// A release counts as an attempt.
    pub counts_releases: bool,
    /// A group remembers its dead-letter topic.
    pub knows_dead_letters: bool,
    /// Retention by number of events too, and what is over it is gone at once; else by age alone, sooner or later.
    pub keeps_by_count: bool,
    /// An event is acknowledged before the groups have it.
    pub hands_on_later: bool,
}

/// A broker of one case's own.
pub trait World {
    /// Another client of it.
    fn connect(&self) -> Arc<dyn Broker>;
    /// A client whose broker is not there.
    fn nowhere(&self) -> Arc<dyn Broker>;
    /// Whether nothing has been made where nobody is.
    fn nowhere_is_untouched(&self) -> bool;
    /// Makes all members of the group `g` lose what they hold; only where there are no leases.
    fn cut(&self);
}

/// All of them.
pub const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "local",
        missing: || {
            LocalFile(tempfile::tempdir().unwrap()).try_open("it.db").err().map(|error| error.to_string())
        },
        capabilities: local::capabilities,
        world: || Box::new(LocalFile(tempfile::tempdir().unwrap())),
        lease: Some(Duration::from_millis(400)),
        wake: Duration::from_secs(1),
        habits: Habits {
            has_queues: false,
            gives_up_order: true,
            releases_at_once: true,
            counts_releases: false,
            knows_dead_letters: true,
            keeps_by_count: true,
            hands_on_later: false,
        },
    },
    #[cfg(feature = "kafka")]
    KAFKA,
    #[cfg(feature = "kafka")]
    Fixture { name: "kafka:cluster", missing: lanes::cluster_missing, world: lanes::cluster, ..KAFKA },
    #[cfg(feature = "kafka")]
    Fixture { name: "kafka:secure", missing: lanes::secure_missing, world: lanes::secure, ..KAFKA },
    #[cfg(feature = "kafka")]
    Fixture { name: "kafka:mock", missing: || None, world: lanes::mock, ..KAFKA },
    #[cfg(feature = "rabbitmq")]
    Fixture {
        name: "rabbitmq",
        missing: || brokers::shared_rabbitmq().err(),
        capabilities: rabbitmq::capabilities,
        world: || Box::new(Vhost::new(&brokers::shared_rabbitmq().expect("asked for before"))),
        lease: None,
        wake: Duration::from_secs(1),
        habits: Habits {
            has_queues: true,
            gives_up_order: false,
            releases_at_once: false,
            counts_releases: true,
            knows_dead_letters: true,
            keeps_by_count: false,
            hands_on_later: false,
        },
    },
    #[cfg(feature = "aws")]
    Fixture {
        name: "aws",
        missing: || brokers::shared_aws("").err(),
        capabilities: aws::capabilities,
        world: || Account::of(""),
        ..AWS
    },
    #[cfg(feature = "aws")]
    Fixture {
        name: "aws fifo",
        missing: || brokers::shared_aws("").err(),
        capabilities: |topic| aws::capabilities(&format!("{topic}.fifo")),
        world: || Account::of(".fifo"),
        ..AWS
    },
    #[cfg(feature = "pubsub")]
    pubsub::OUR_OWN,
    #[cfg(feature = "pubsub")]
    pubsub::PSTEST,
    Fixture {
        name: "log",
        capabilities: |topic| Shape::Log.capabilities(topic),
        world: || InMemory::of(Shape::Log),
        habits: Habits { has_queues: false, ..QUEUES },
        ..SIMULATED
    },
    Fixture {
        name: "lease",
        capabilities: |topic| Shape::Lease.capabilities(topic),
        world: || InMemory::of(Shape::Lease),
        habits: Habits { counts_releases: true, ..QUEUES },
        ..SIMULATED
    },
    Fixture {
        name: "fifo",
        capabilities: |topic| Shape::Fifo.capabilities(topic),
        world: || InMemory::of(Shape::Fifo),
        habits: Habits { counts_releases: true, ..QUEUES },
        ..SIMULATED
    },
    Fixture {
        name: "push",
        capabilities: |topic| Shape::Push.capabilities(topic),
        world: || InMemory::of(Shape::Push),
        lease: None,
        ..SIMULATED
    },
];

/// The shared one; other clusters are the same in all but how they are reached.
#[cfg(feature = "kafka")]
const KAFKA: Fixture = Fixture {
    name: "kafka",
    missing: || brokers::shared_kafka().err(),
    capabilities: kafka::capabilities,
    world: Shared::kafka,
    lease: None,
    wake: Duration::from_secs(1),
    habits: Habits {
        has_queues: false,
        gives_up_order: false,
        releases_at_once: false,
        counts_releases: false,
        knows_dead_letters: false,
        keeps_by_count: false,
        hands_on_later: false,
    },
};

/// What SNS and SQS do whoever stands in for them: leases are counted in seconds.
#[cfg(feature = "aws")]
const AWS: Fixture = Fixture {
    name: "",
    missing: || None,
    capabilities: aws::capabilities,
    world: || Account::of(""),
    lease: Some(Duration::from_secs(3)),
    wake: Duration::from_secs(3),
    habits: Habits { counts_releases: true, keeps_by_count: false, hands_on_later: true, ..QUEUES },
};

/// What the brokers in memory have in common.
const SIMULATED: Fixture = Fixture {
    name: "",
    missing: || None,
    capabilities: |_| Capabilities::default(),
    world: || InMemory::of(Shape::Log),
    lease: Some(Duration::from_millis(400)),
    wake: Duration::from_secs(1),
    habits: QUEUES,
};

const QUEUES: Habits = Habits {
    has_queues: true,
    gives_up_order: false,
    releases_at_once: false,
    counts_releases: false,
    knows_dead_letters: true,
    keeps_by_count: true,
    hands_on_later: false,
};

/// A simulated broker, and one that nobody should reach for.
struct InMemory(simulated::World, simulated::World);

impl InMemory {
    fn of(shape: Shape) -> Box<dyn World> {
        Box::new(InMemory(simulated::World::new(shape), simulated::World::new(shape)))
    }
}

impl World for InMemory {
    fn connect(&self) -> Arc<dyn Broker> {
        self.0.connect()
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        self.1.connect()
    }

    fn nowhere_is_untouched(&self) -> bool {
        self.1.store().asked == 0
    }

    fn cut(&self) {
        let members: Vec<u64> = self.0.store().members.keys().copied().collect();
        members.into_iter().for_each(|member| self.0.store().lose_all(member));
        self.0.ring();
    }
}

/// A file in a directory that goes with the case.
struct LocalFile(tempfile::TempDir);

impl LocalFile {
    fn try_open(&self, file: &str) -> Result<Arc<dyn Broker>> {
        let rest = self.0.path().join(file).display().to_string();
        open(&Location { scheme: "local".into(), rest }, surroundings(self.0.path()))
    }

    fn open(&self, file: &str) -> Arc<dyn Broker> {
        self.try_open(file).unwrap()
    }
}

impl World for LocalFile {
    fn connect(&self) -> Arc<dyn Broker> {
        self.open("it.db")
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        self.open("nowhere.db")
    }

    fn nowhere_is_untouched(&self) -> bool {
        !self.0.path().join("nowhere.db").exists()
    }

    fn cut(&self) {
        panic!("a file has no connections to cut");
    }
}

/// A server that all cases share, and names of one case's own on it.
#[cfg(feature = "kafka")]
struct Shared {
    url: String,
    prefix: String,
    /// Where nobody listens.
    nowhere: &'static str,
}

#[cfg(feature = "kafka")]
impl Shared {
    fn kafka() -> Box<dyn World> {
        let url = brokers::shared_kafka().expect("asked for before");
        let prefix = format!("c{:016x}-", fastrand::u64(..));
        Box::new(Shared { url, prefix, nowhere: "kafka://127.0.0.1:1" })
    }
}

/// What the cases want of a topic that a broker as it comes does not give: events of 1 MiB and a little, from any time,
/// kept for as long as the case takes.
#[cfg(feature = "kafka")]
pub const TOPICS: [(&str, &str); 3] = [
    ("topic.max.message.bytes", "2000000"),
    ("topic.message.timestamp.after.max.ms", "9223372036854775807"),
    ("topic.retention.ms", "-1"),
];

/// A client of the broker at this URL.
#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "aws", feature = "pubsub"))]
pub fn open_url(url: &str, options: &[(&str, &str)]) -> Arc<dyn Broker> {
    let (scheme, rest) = url.split_once(':').unwrap();
    let location = Location { scheme: scheme.into(), rest: rest.into() };
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    open(&location, Surroundings { options, ..surroundings("/nonexistent".as_ref()) }).unwrap()
}

/// A virtual host of one case's own.
#[cfg(feature = "rabbitmq")]
impl World for Vhost {
    fn connect(&self) -> Arc<dyn Broker> {
        open_url(&self.url(), &[])
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        open_url("amqp://127.0.0.1:1", &[])
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        Vhost::cut(self);
    }
}

/// An account of one case's own, all of whose topics have this suffix.
#[cfg(feature = "aws")]
struct Account(String, &'static str);

#[cfg(feature = "aws")]
impl Account {
    fn of(suffix: &'static str) -> Box<dyn World> {
        let shared = brokers::shared_aws("").expect("asked for before");
        Box::new(Account(account::new(&shared), suffix))
    }

    fn open(&self, url: &str) -> Arc<dyn Broker> {
        Arc::new(Scoped { suffix: self.1, ..Scoped::of(open_url(url, &[]), String::new()) })
    }
}

#[cfg(feature = "aws")]
impl World for Account {
    fn connect(&self) -> Arc<dyn Broker> {
        self.open(&self.0)
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        self.open("aws://us-east-1?endpoint=http://127.0.0.1:1")
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        panic!("a delivery stays with its member for as long as its lease lasts, connected or not");
    }
}

#[cfg(feature = "kafka")]
impl World for Shared {
    fn connect(&self) -> Arc<dyn Broker> {
        Arc::new(Scoped::of(open_url(&self.url, &TOPICS), self.prefix.clone()))
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        open_url(self.nowhere, &TOPICS)
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        let (_, rest) = self.url.split_once("://").unwrap();
        let address = rest.split(['?', ',', '/']).next().unwrap();
        kick::all_members(address, &format!("{}g", self.prefix)).unwrap();
    }
}

/// The real clock, and a patience longer than any case.
pub fn surroundings(data_dir: &std::path::Path) -> Surroundings {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    Surroundings {
        clock: Arc::new(now),
        timeout: Some(Duration::from_secs(30)),
        options: Vec::new(),
        data_dir: data_dir.into(),
    }
}
