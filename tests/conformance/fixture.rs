//! The brokers that are tried, one row each.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evcat::broker::{Broker, Capabilities, Location, Result, Surroundings, local, open};

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
    /// The shortest lease it has.
    pub lease: Duration,
    /// How soon a sleeping reader has an event that another client published.
    pub wake: Duration,
}

/// A broker of one case's own.
pub trait World {
    /// Another client of it.
    fn connect(&self) -> Arc<dyn Broker>;
    /// A client whose broker is not there.
    fn nowhere(&self) -> Arc<dyn Broker>;
    /// Whether nothing has been made where nobody is.
    fn nowhere_is_untouched(&self) -> bool;
}

/// All of them.
pub const FIXTURES: &[Fixture] = &[Fixture {
    name: "local",
    missing: || {
        LocalFile(tempfile::tempdir().unwrap()).try_open("it.db").err().map(|error| error.to_string())
    },
    capabilities: local::capabilities,
    world: || Box::new(LocalFile(tempfile::tempdir().unwrap())),
    lease: Duration::from_millis(400),
    wake: Duration::from_secs(1),
}];

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
