//! What the suites of single brokers have in common.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evcat::broker::{Broker, Error, Location, Result, Surroundings, open};

/// Longer than anything takes.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A client of the broker at this URL, with options as `-X` gives them.
pub fn try_broker(url: &str, timeout: Duration, options: &[(&str, &str)]) -> Result<Arc<dyn Broker>> {
    let (scheme, rest) = url.split_once(':').unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let surroundings = Surroundings {
        clock: Arc::new(now),
        timeout: Some(timeout),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        data_dir: "/nonexistent".into(),
    };
    open(&Location { scheme: scheme.into(), rest: rest.into() }, surroundings)
}

/// The same with a patience that is enough.
pub fn broker(url: &str) -> Arc<dyn Broker> {
    try_broker(url, DEADLINE, &[]).unwrap()
}

/// As evcat itself runs.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * DEADLINE, future).await.expect("done in time") })
}

/// A name that nobody else has.
pub fn unique(word: &str) -> String {
    format!("{word}-{:016x}", fastrand::u64(..))
}

/// Message and hint.
pub fn words(error: &Error) -> String {
    format!("{error} / {}", error.detail().hint.as_deref().unwrap_or_default())
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < DEADLINE, "not so within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn address(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

/// Runs a program to its end; what it prints.
pub fn output(command: &mut Command, stdin: &[u8]) -> Vec<u8> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
