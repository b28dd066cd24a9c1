//! The server, queues on it, and the peers.

use std::process::{Command, Stdio};

use crate::brokers::{self, Private};
use crate::spent::{evcat, spend};

/// A server.
pub struct Rabbit {
    url: String,
    /// It ends with the bench.
    _private: Option<Private>,
}

impl Rabbit {
    /// The shared one, else one of its own; an error says why there is none.
    pub fn find() -> Result<Rabbit, String> {
        if let Ok(url) = brokers::shared_rabbitmq() {
            return Ok(Rabbit { url, _private: None });
        }
        let private = Private::up("rabbitmq")?;
        Ok(Rabbit { url: private.url().to_owned(), _private: Some(private) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A quorum queue that nobody else has; its bare name.
    pub fn queue(&self) -> String {
        let name = format!("bench-{:016x}", fastrand::u64(..));
        spend(evcat(&self.url).args(["topics", "create", &format!("queue:{name}")]));
        name
    }

    pub fn delete(&self, queue: &str) {
        spend(evcat(&self.url).args(["topics", "delete", &format!("queue:{queue}"), "--yes"]));
    }

    /// PerfTest on a queue that is there; else what is missing.
    pub fn perf_test(&self, queue: &str) -> Result<Command, String> {
        let mut command = brokers::perf_test()?;
        let amqp = self.url.split('?').next().unwrap();
        command.args(["--uri", amqp, "--predeclared", "--queue", queue]);
        Ok(quiet(command))
    }

    /// rabbitmqadmin on this server; else what is missing.
    pub fn admin(&self) -> Result<Command, String> {
        let mut command = brokers::rabbitmqadmin()?;
        let (amqp, management) = self.url.split_once("?management=http://").unwrap();
        let (user, password) =
            amqp.split_once("://").unwrap().1.split_once('@').unwrap().0.split_once(':').unwrap();
        let (host, port) = management.split_once(':').unwrap();
        command.args(["-H", host, "-P", port, "-u", user, "-p", password]);
        Ok(quiet(command))
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
