//! RabbitMQ's management API, for what AMQP cannot list: HTTP as far as that takes it.
//!
//! <https://www.rabbitmq.com/docs/http-api-reference>

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lapin::AsyncTcpStream;
use serde_json::Value;

use super::error::About;
use super::link;
use super::settings::{Management, Settings};
use crate::broker::{Error, Kind, Result};

/// The longest that an answer may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The largest answer: a million queues.
const MOST: u64 = 1 << 30;

/// A queue as it is listed.
pub struct ListedQueue {
    /// Its name.
    pub name: String,
    /// `quorum`, `classic`, `stream`.
    pub kind: String,
    /// What it was declared with.
    pub arguments: Value,
    /// The policy that holds for it; empty: none.
    pub policy: String,
    /// Waiting or with a member, as of some seconds ago.
    pub messages: Option<u64>,
    /// One connection's own.
    pub exclusive: bool,
}

impl ListedQueue {
    /// A text among its arguments.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }
}

/// Requires `-X management`. Errors: [`Kind::Unsupported`] without it, with the way out.
pub fn required<'a>(settings: &'a Settings, about: &About, what: &str) -> Result<&'a Management> {
    settings.management.as_ref().ok_or_else(|| {
        about
            .error(Kind::Unsupported, format!("AMQP has no way to list {what}"))
            .with_hint("-X management=http://host:15672 asks the management API; or name it")
    })
}

/// The queues of the virtual host.
pub async fn queues(settings: &Settings, about: &About) -> Result<Vec<ListedQueue>> {
    // Totals without statistics: newer, and quicker by far where there are many.
    let path = "queues/{vhost}?disable_stats=true&enable_queue_totals=true";
    let listed = list(settings, about, path, "queues").await?;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let number = |item: &Value, name: &str| item[name].as_u64();
    let queue = |item: &Value| ListedQueue {
        name: text(item, "name"),
        kind: text(item, "type"),
        arguments: item["arguments"].clone(),
        policy: text(item, "policy"),
        messages: number(item, "messages"),
        exclusive: item["exclusive"].as_bool().unwrap_or(false),
    };
    Ok(listed.iter().map(queue).collect())
}

/// Name and type of the exchanges that people made.
pub async fn exchanges(settings: &Settings, about: &About) -> Result<Vec<(String, String)>> {
    let listed = list(settings, about, "exchanges/{vhost}", "exchanges").await?;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let all = listed.iter().map(|item| (text(item, "name"), text(item, "type")));
    Ok(all.filter(|(name, _)| !name.is_empty() && !name.starts_with("amq.")).collect())
}

/// Exchange and queue of each binding between the two.
pub async fn bindings(settings: &Settings, about: &About) -> Result<Vec<(String, String)>> {
    let listed = list(settings, about, "bindings/{vhost}", "bindings").await?;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let of_queues = listed.iter().filter(|item| item["destination_type"] == "queue");
    Ok(of_queues.map(|item| (text(item, "source"), text(item, "destination"))).collect())
}

/// What this policy says. Requires: the tag `policymaker`.
pub async fn policy(settings: &Settings, about: &About, name: &str) -> Result<Value> {
    let listed = list(settings, about, "policies/{vhost}", "policies").await?;
    let found = listed.into_iter().find(|item| item["name"] == name);
    Ok(found.map(|mut item| item["definition"].take()).unwrap_or_default())
}

/// What the server says of itself.
pub async fn overview(settings: &Settings, about: &About) -> Result<Value> {
    get(settings, about, "overview", "servers").await
}

async fn list(settings: &Settings, about: &About, path: &str, what: &str) -> Result<Vec<Value>> {
    let path = path.replace("{vhost}", &encoded(settings.vhost()));
    items(get(settings, about, &path, what).await?).ok_or_else(|| {
        about.error(Kind::Broken, format!("the management API answers with no list of {what}"))
    })
}

/// All of a list. `None`: it is none, or a page of a longer one.
fn items(answer: Value) -> Option<Vec<Value>> {
    match answer {
        Value::Array(items) => Some(items),
        other if other["page_count"].as_u64() == Some(1) => other["items"].as_array().cloned(),
        _ => None,
    }
}

/// One question.
async fn get(settings: &Settings, about: &About, path: &str, what: &str) -> Result<Value> {
    let management = required(settings, about, what)?;
    let place = format!("management API at {}:{}", management.host, management.port);
    let refuse = |kind, words: String| about.error(kind, format!("{place}: {words}"));
    let asked = tokio::time::timeout(LONGEST, ask(settings, about, management, path)).await;
    let answer = asked
        .map_err(|_| refuse(Kind::Unreachable, "no answer".into()))?
        .map_err(|error: std::io::Error| refuse(Kind::Unreachable, error.to_string()))?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let status: u16 = std::str::from_utf8(&answer[..answer.len().min(12)])
        .ok()
        .and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok())
        .unwrap_or(0);
    match (status, head) {
        (200, Some(head)) => serde_json::from_slice(&answer[head + 4..])
            .map_err(|error| refuse(Kind::Broken, format!("its answer is no JSON: {error}"))),
        (401, _) => Err(denied(refuse(Kind::Denied, format!("does not let '{}' in", settings.user())))),
        (404, _) => Err(refuse(Kind::NotFound, format!("knows no virtual host '{}'", settings.vhost()))),
        (0, _) => Err(refuse(Kind::Unreachable, "something else than HTTP answers there".into())),
        (other, _) => Err(refuse(Kind::Broken, format!("HTTP {other}"))),
    }
}

fn denied(error: Error) -> Error {
    error.with_hint("the user needs a tag for it: rabbitmqctl set_user_tags USER management")
}

/// Its answer, head and body. HTTP 1.0, so that it comes in one piece and ends where the connection does.
async fn ask(
    settings: &Settings,
    about: &About,
    management: &Management,
    path: &str,
) -> std::io::Result<Vec<u8>> {
    let Management { tls, host, port, path: prefix } = management;
    let runtime = lapin::runtime::default_runtime().map_err(std::io::Error::other)?;
    let nowhere = || std::io::Error::other("the host has no address");
    let address = tokio::net::lookup_host((host.as_str(), *port)).await?.next().ok_or_else(nowhere)?;
    let mut stream = AsyncTcpStream::connect(&runtime, address).await?;
    if *tls {
        let config = link::tls(settings, about).map_err(std::io::Error::other)?;
        stream = stream.into_tls(host, config.as_ref()).await?;
    }
    let (user, password) = settings.user_and_password();
    let word = STANDARD.encode(format!("{user}:{password}"));
    let request = format!(
        "GET {prefix}/api/{path} HTTP/1.0\r\nHost: {host}:{port}\r\nAuthorization: Basic {word}\r\n\
         Accept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    (&mut stream).take(MOST).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A part of a path.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_whole_list_is_not_an_empty_one() {
        assert_eq!(items(json!([1])), Some(vec![json!(1)]));
        assert_eq!(items(json!({"items": [1], "page_count": 1})), Some(vec![json!(1)]));
        assert_eq!(items(json!({"items": [1], "page_count": 2})), None);
        assert_eq!(items(json!({"status": "ok"})), None);
    }
}
