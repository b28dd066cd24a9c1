//! The broker and the peer on it.

use std::process::{Command, Stdio};

use crate::brokers::{self, Private};
use crate::spent::{evcat, spend};

/// A broker.
pub struct Kafka {
    url: String,
    /// It ends with the bench.
    _private: Option<Private>,
}

impl Kafka {
    /// The shared one, else one of its own; an error says why there is none.
    pub fn find() -> Result<Kafka, String> {
        if let Ok(url) = brokers::shared_kafka() {
            return Ok(Kafka { url, _private: None });
        }
        let private = Private::up("kafka:perf")?;
        Ok(Kafka { url: private.url().to_owned(), _private: Some(private) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A topic that nobody else has.
    pub fn topic(&self, partitions: usize) -> String {
        let name = format!("bench-{:016x}", fastrand::u64(..));
        spend(evcat(&self.url).args(["topics", "create", &name, "--partitions", &partitions.to_string()]));
        name
    }

    pub fn delete(&self, topic: &str) {
        spend(evcat(&self.url).args(["topics", "delete", topic, "--yes"]));
    }
}

/// kcat on this broker.
pub fn kcat(url: &str) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", url.split_once("://").unwrap().1]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
