//! Real brokers for the tests: the shared one of a whole run, and private ones to be killed.
//!
//! `tests/run` starts the shared brokers and says in the environment where they are. A test without its broker is
//! skipped, which is printed; `EVCAT_REQUIRE_ALL=1` turns that into a failure.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests read their own variables")]

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How `tests/brokers/broker` ends when a broker cannot run on this machine, and `env` when there is no Python for it.
const UNAVAILABLE: [i32; 2] = [69, 127];

/// The URL of the Kafka that all tests of a run share, each with topics of its own; else what is missing.
///
/// For suites with their own list of tests, which show a skip themselves.
pub fn shared_kafka() -> Result<String, String> {
    let found = std::env::var("EVCAT_TEST_KAFKA").ok().filter(|url| !url.is_empty());
    found.ok_or_else(|| {
        "there is no Kafka: EVCAT_TEST_KAFKA is not set (tests/run starts one and sets it)".into()
    })
}

/// The URL of the shared Kafka, or `None` after a line that says so.
pub fn kafka() -> Option<String> {
    or_skip(shared_kafka())
}

/// The same of RabbitMQ, where each test has a virtual host of its own (`support/rabbit.rs`).
pub fn shared_rabbitmq() -> Result<String, String> {
    let found = std::env::var("EVCAT_TEST_RABBITMQ").ok().filter(|url| !url.is_empty());
    found.ok_or_else(|| {
        "there is no RabbitMQ: EVCAT_TEST_RABBITMQ is not set (tests/run starts one and sets it)".into()
    })
}

/// The same of a stand-in for AWS (`fast` or `strict`, or the most faithful), where each test has an account of its own
/// (`support/account.rs`).
pub fn shared_aws(variant: &str) -> Result<String, String> {
    let variable = format!("EVCAT_TEST_AWS_{}", variant.to_uppercase());
    let variable = variable.trim_end_matches('_');
    let found = std::env::var(variable).ok().filter(|url| !url.is_empty());
    found.ok_or_else(|| {
        format!("there is no stand-in for AWS: {variable} is not set (tests/run starts one and sets it)")
    })
}

/// The same of `pstest`, the Pub/Sub of Google's Go client, where each test has topics named at random.
pub fn shared_pubsub() -> Result<String, String> {
    let found = std::env::var("EVCAT_TEST_PUBSUB").ok().filter(|url| !url.is_empty());
    found.ok_or_else(|| {
        "there is no pstest: EVCAT_TEST_PUBSUB is not set (tests/run starts one and sets it)".into()
    })
}

/// What is there; or `None`, after the reason was printed.
///
/// # Panics
/// If nothing may be skipped.
pub fn or_skip<T>(found: Result<T, String>) -> Option<T> {
    let missing = match found {
        Ok(found) => return Some(found),
        Err(missing) => missing,
    };
    let required = std::env::var("EVCAT_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{missing}, and EVCAT_REQUIRE_ALL is set");
    // Not by `eprintln!`, which the test runner keeps to itself while a test passes.
    writeln!(std::io::stderr(), "SKIPPED: {missing}").expect("stderr is there");
    None
}

/// A Python that has the clients of other people (`confluent_kafka`); else what is missing.
pub fn python() -> Result<PathBuf, String> {
    let python = home().join("clients/bin/python");
    match python.exists() {
        true => Ok(python),
        false => Err(format!("{} is not there; run tests/brokers/provision.sh", python.display())),
    }
}

/// A Python that has Google's own client of Pub/Sub; else what is missing.
pub fn google_python() -> Result<PathBuf, String> {
    let python = home().join("pubsub/client/bin/python");
    match python.exists() {
        true => Ok(python),
        false => Err(format!("{} is not there; run tests/brokers/provision.sh", python.display())),
    }
}

/// One of the programs that come with Kafka, by its class; else what is missing.
pub fn java(class: &str) -> Result<Command, String> {
    let mut java = java_of("kafka", class)?;
    // It lives for a second.
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", class]);
    Ok(java)
}

/// RabbitMQ's own bench, in Java; else what is missing.
pub fn perf_test() -> Result<Command, String> {
    let mut java = java_of("perftest", "com.rabbitmq.perf.PerfTest")?;
    java.args(["-XX:-UsePerfData", "com.rabbitmq.perf.PerfTest"]);
    Ok(java)
}

/// RabbitMQ's own command line, in Python, which comes with the server; else what is missing.
pub fn rabbitmqadmin() -> Result<Command, String> {
    let lib = home().join("trixie/usr/lib/rabbitmq/lib");
    let inside = |dir: PathBuf, start: &str| {
        let entries = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
        entries
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
    };
    let found = inside(lib.clone(), "rabbitmq_server-")
        .and_then(|server| inside(server.join("plugins"), "rabbitmq_management-"))
        .map(|plugin| plugin.join("priv/www/cli/rabbitmqadmin"))
        .filter(|script| script.exists())
        .ok_or_else(|| format!("{} has no rabbitmqadmin; run tests/brokers/provision.sh", lib.display()))?;
    let mut python = Command::new("python3");
    python.arg(found);
    Ok(python)
}

/// Java with the jars of this stage, before its options.
fn java_of(stage: &str, class: &str) -> Result<Command, String> {
    let libs = home().join(stage).join("libs");
    if !libs.exists() {
        return Err(format!("{} has no {class}; run tests/brokers/provision.sh", libs.display()));
    }
    let mut java = Command::new("java");
    java.env("CLASSPATH", libs.join("*"));
    Ok(java)
}

fn home() -> PathBuf {
    std::env::var_os("BROKERS_HOME").map_or_else(|| project().join("target/brokers"), PathBuf::from)
}

/// A broker of one test's own. It and its data are gone when this is dropped.
pub struct Private {
    name: &'static str,
    variables: HashMap<String, String>,
}

impl Private {
    /// Starts it and waits until all its nodes answer. `name` as in `tests/brokers/broker`: `kafka:cluster`.
    /// An error says why it cannot run on this machine.
    ///
    /// # Panics
    /// If it could run, and does not.
    pub fn up(name: &'static str) -> Result<Private, String> {
        let output = broker(&["up", name]);
        if output.status.code().is_some_and(|code| UNAVAILABLE.contains(&code)) {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        // Written for a shell: what holds more than plain characters is in quotes.
        let variable = |line: &str| {
            line.split_once('=').map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        };
        Ok(Private { name, variables: said.lines().filter_map(variable).collect() })
    }

    /// One of the variables that `broker env` prints, such as `EVCAT_TEST_KAFKA_CA`.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// All of them.
    pub fn variables(&self) -> &HashMap<String, String> {
        &self.variables
    }

    /// Where it is; of a cluster, the addresses of all nodes in their order.
    pub fn url(&self) -> &str {
        self.variable(&self.prefix())
    }

    /// SIGKILL. Nodes are counted from 1, as in the broker's own `node.id`.
    pub fn kill(&self, node: usize) {
        self.does("kill", node);
    }

    /// SIGSTOP: it takes connections, and answers nothing.
    pub fn pause(&self, node: usize) {
        self.does("pause", node);
    }

    /// SIGCONT.
    pub fn resume(&self, node: usize) {
        self.does("resume", node);
    }

    /// Ends it in order, if it runs, and starts it on the data it has; done when all that run know each other again.
    pub fn restart(&self, node: usize) {
        self.does("restart", node);
    }

    /// A line per node; `Err` if not all of them run and answer.
    pub fn status(&self) -> Result<String, String> {
        let output = broker(&["status", self.name, "--dir", self.dir()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    fn dir(&self) -> &str {
        self.variable(&format!("{}_DIR", self.prefix()))
    }

    /// What its variables begin with.
    fn prefix(&self) -> String {
        let mut names = self.variables.keys();
        let prefix = names.find_map(|name| name.strip_suffix("_DIR"));
        prefix.unwrap_or_else(|| panic!("{} has no directory", self.name)).to_owned()
    }

    fn does(&self, verb: &str, node: usize) {
        let output = broker(&[verb, self.name, "--dir", self.dir(), "--node", &node.to_string()]);
        assert!(output.status.success(), "{verb} {node}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let output = broker(&["down", self.name, "--dir", self.dir()]);
        // A second panic would end the process without a word about the first.
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn broker(arguments: &[&str]) -> Output {
    Command::new(project().join("tests/brokers/broker"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("tests/brokers/broker runs (Python 3)")
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
