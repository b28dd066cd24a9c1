//! A virtual host of one test's own on a RabbitMQ that all share, by the management API.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A virtual host, and a user per client who may do everything in it. All are gone when this is dropped.
pub struct Vhost {
    admin: String,
    server: String,
    management: String,
    /// Its name.
    pub name: String,
    users: Mutex<Vec<String>>,
}

impl Vhost {
    /// On the server at this URL, which names its management API and somebody who may make virtual hosts.
    pub fn new(url: &str) -> Vhost {
        let (place, management) = url.split_once("?management=").expect("the URL names its management API");
        let (admin, server) = place.split_once("://").unwrap().1.split_once('@').unwrap();
        let name = format!("v{:016x}", fastrand::u64(..));
        let users = Mutex::default();
        let made =
            Vhost { admin: admin.into(), server: server.into(), management: management.into(), name, users };
        made.ask("PUT", &format!("vhosts/{}", made.name), "{}");
        made
    }

    /// As a user of its own.
    pub fn url(&self) -> String {
        self.url_at(&self.server)
    }

    /// The same by another way, such as a proxy.
    pub fn url_at(&self, server: &str) -> String {
        let user = self.user(r#"{"configure": ".*", "write": ".*", "read": ".*"}"#);
        format!("amqp://{user}:p%20w@{server}/{}?management={}", self.name, self.management)
    }

    /// A new user with these rights here, and the password `p w`.
    pub fn user(&self, rights: &str) -> String {
        let user = format!("u{:016x}", fastrand::u64(..));
        self.ask("PUT", &format!("users/{user}"), r#"{"password": "p w", "tags": "administrator"}"#);
        self.ask("PUT", &format!("permissions/{}/{user}", self.name), rights);
        self.users.lock().unwrap().push(user.clone());
        user
    }

    /// `host:port`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Ends all connections, those of the newest user first: who waits for what another has is not given it only to lose it.
    pub fn cut(&self) {
        for user in self.users.lock().unwrap().iter().rev() {
            self.ask("DELETE", &format!("connections/username/{user}"), "");
        }
    }

    /// One request to the management API as administrator; what it answers.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let host = self.management.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let word = STANDARD.encode(&self.admin);
        write!(
            stream,
            "{method} /api/{path} HTTP/1.0\r\nAuthorization: Basic {word}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ask("DELETE", &format!("vhosts/{}", self.name), "");
            for user in self.users.lock().unwrap().iter() {
                self.ask("DELETE", &format!("users/{user}"), "");
            }
        }
    }
}
