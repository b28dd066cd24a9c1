//! Why the broker was not reached, out of what the client said of its connections.
//!
//! The library tells it as one line per address, in words for its own developers. Known situations get words of ours
//! and the option that mends them; anything else is repeated without the decoration.

use super::client::Client;
use super::error::{About, CREDENTIALS, Trouble};
use super::sys::Code;
use crate::broker::{Error, Kind};

/// A situation: what the library's words contain, and ours with what to do.
struct Known {
    kind: Kind,
    contains: &'static [&'static str],
    message: &'static str,
    hint: &'static str,
    /// No patience helps.
    last: bool,
}

const HUNG_UP_AT_TLS: &str =
    "closed the connection at the first word of TLS, as a port does that does not speak it";
const TO_PLAIN: &str = "kafka:// instead of kafkas://, or the port that speaks TLS";

const KNOWN: &[Known] = &[
    Known {
        kind: Kind::Unreachable,
        contains: &["connecting to a PLAINTEXT broker listener"],
        message: HUNG_UP_AT_TLS,
        hint: TO_PLAIN,
        last: false,
    },
    // With our first word unread in its hands: the kernel then resets the connection.
    Known {
        kind: Kind::Unreachable,
        contains: &["reset by peer", "in state SSL_HANDSHAKE"],
        message: HUNG_UP_AT_TLS,
        hint: TO_PLAIN,
        last: false,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["SSL handshake failed", "unexpected eof"],
        message: HUNG_UP_AT_TLS,
        hint: TO_PLAIN,
        last: false,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["SSL handshake failed", "wrong version number"],
        message: "does not speak TLS on this port",
        hint: TO_PLAIN,
        last: true,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["by peer", "in state APIVERSION_QUERY"],
        message: "closed the connection at the first request, as a port that speaks TLS does",
        hint: "kafkas:// instead of kafka://, or the port without TLS",
        last: false,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["by peer", "in state UP"],
        message: "closed the connection at our first question, as a broker does that wants to know who asks",
        hint: "kafka://USER@host with -X sasl.mechanism=SCRAM-SHA-512, or kafkas://USER@host",
        last: false,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["certificate verify failed"],
        message: "its certificate is not signed by anybody we know, or not for this name",
        hint: "-X ssl.ca.location=FILE names who signed it; the host in the URL must be a name in the certificate",
        last: true,
    },
    Known {
        kind: Kind::Denied,
        contains: &["certificate required"],
        message: "wants a certificate of us",
        hint: "-X ssl.certificate.location=FILE -X ssl.key.location=FILE",
        last: true,
    },
    Known {
        kind: Kind::Denied,
        contains: &["SSL alert number 42"],
        message: "does not take our certificate, or wants one of us",
        hint: "-X ssl.certificate.location=FILE -X ssl.key.location=FILE",
        last: true,
    },
    Known {
        kind: Kind::Denied,
        contains: &["supported mechanisms"],
        message: "does not take this way to log in, or none at all on this port",
        hint: "",
        last: true,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["ApiVersionRequest failed", "Timed out"],
        message: "takes connections and answers nothing",
        hint: "is it stopped, or overloaded, or something else than Kafka?",
        last: false,
    },
    Known {
        kind: Kind::Unreachable,
        contains: &["Invalid response size"],
        message: "something that is not Kafka answers on this port",
        hint: "is it the port of another service? Kafka's is 9092 as a rule",
        last: true,
    },
];

/// What of TLS does not pass, in OpenSSL's words; the rest may be a broker that goes or comes.
const FINAL_OF_TLS: &[&str] = &["certificate", "version", "alert", "unsupported protocol", "cipher"];

/// What the library said, as what it was: to it a connection that is lost while it asks how to log in is a login that
/// failed.
pub fn heard(code: Code, words: &str) -> Trouble {
    const NOT_SAID: &str = ": broker's supported mechanisms: (n/a)";
    match words.contains(NOT_SAID) {
        true => Trouble { code: Code::LOCAL_TRANSPORT, words: words.replace(NOT_SAID, "") },
        false => Trouble { code, words: words.to_owned() },
    }
}

/// Whether no patience helps with this.
pub fn is_last(trouble: &Trouble) -> bool {
    match known(&trouble.words) {
        Some(known) => known.last,
        None if trouble.code == Code::LOCAL_SSL => {
            FINAL_OF_TLS.iter().any(|part| trouble.words.contains(part))
        }
        None => trouble.code == Code::LOCAL_AUTHENTICATION,
    }
}

/// The error of a call that did not reach its broker, or was sent away by it.
pub fn error(about: &About, client: &Client, trouble: &Trouble) -> Error {
    let mut reasons = client.news().reasons();
    if is_last(trouble) {
        reasons = vec![trouble.clone()];
    }
    let told = told(&reasons);
    let last = reasons.last().map_or("", |reason| &reason.words);
    let new = |kind, message: String| Error::new(kind, about.operation, about.subject.clone(), message);
    if let Some(known) = known(last).filter(|known| known.last || is_all(known, &reasons, client.was_up())) {
        let (place, words) = taken_apart(last);
        // The broker says which ways it knows.
        let ways = words.split("supported mechanisms: ").nth(1).filter(|ways| !ways.is_empty());
        let hint = match known.hint {
            "" => ways
                .map_or(CREDENTIALS.to_owned(), |ways| format!("it takes: {ways} (-X sasl.mechanism=...)")),
            hint => hint.to_owned(),
        };
        return new(known.kind, format!("{place}: {}", known.message)).with_hint(hint);
    }
    if let Some(reason) = reasons.iter().rfind(|reason| reason.code == Code::LOCAL_AUTHENTICATION) {
        let (place, words) = taken_apart(&reason.words);
        return new(Kind::Denied, format!("{place}: {words}")).with_hint(CREDENTIALS);
    }
    if is_last(trouble) {
        let (place, words) = taken_apart(last);
        return new(Kind::Unreachable, format!("{place}: {words}"));
    }
    let waited = client
        .timeout()
        .map_or(String::new(), |timeout| format!(" within {}", humantime::format_duration(timeout)));
    let timed_out = matches!(
        trouble.code,
        Code::LOCAL_TIMED_OUT | Code::LOCAL_TIMED_OUT_QUEUE | Code::LOCAL_MSG_TIMED_OUT
    );
    if told.is_empty() && !timed_out && !trouble.words.is_empty() {
        return new(Kind::Unreachable, trouble.words.clone()).with_hint("try again in a moment");
    }
    if told.is_empty() {
        let message = format!("no answer{waited} from {}{}", client.servers(), what(trouble));
        return new(Kind::Unreachable, message)
            .with_hint("is it up, and reachable from here? longer: --timeout");
    }
    let all: Vec<_> = told.iter().map(|(place, words)| format!("{place}: {words}")).collect();
    new(Kind::Unreachable, format!("not reached{waited}: {}", all.join("; ")))
        .with_hint("is it up, and is the address right? longer: --timeout")
}

/// Whether a situation that may pass is what all of the brokers are in. One that was killed closes its connections too,
/// and where another says something else, or one has had us before, that is likelier.
fn is_all(situation: &Known, reasons: &[Trouble], was_up: bool) -> bool {
    let mut last: Vec<(String, &str)> = Vec::new();
    for reason in reasons {
        let (place, _) = taken_apart(&reason.words);
        last.retain(|(known, _)| *known != place);
        last.push((place, &reason.words));
    }
    !was_up && last.iter().all(|(_, words)| known(words).is_some_and(|known| std::ptr::eq(known, situation)))
}

/// What was waited for, where the library says.
fn what(trouble: &Trouble) -> String {
    match trouble.words.is_empty() {
        true => String::new(),
        false => format!(" ({})", trouble.words),
    }
}

/// Address and words of each reason, the last of each address, in the order they were said.
fn told(reasons: &[Trouble]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for reason in reasons {
        let (place, words) = taken_apart(&reason.words);
        all.retain(|(known, _)| *known != place);
        all.push((place, words));
    }
    all
}

fn known(words: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.contains.iter().all(|part| words.contains(part)))
}

/// `sasl_ssl://h:9092/bootstrap: Connect to ipv4#1.2.3.4:9092 failed: Connection refused (after 0ms in state CONNECT)` as
/// `h:9092` and `Connection refused`.
fn taken_apart(text: &str) -> (String, String) {
    let (place, words) = text.split_once(": ").unwrap_or(("", text));
    let place = place.split_once("://").map_or(place, |(_, place)| place);
    let place = place.split_once('/').map_or(place, |(place, _)| place);
    let words = words.rsplit_once(" (after ").map_or(words, |(words, _)| words);
    let words = match words.strip_prefix("Connect to ").and_then(|rest| rest.split_once(" failed: ")) {
        Some((_, why)) => why,
        None => words,
    };
    (place.to_owned(), words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_lines_are_taken_apart() {
        let cut = |text| taken_apart(text);
        assert_eq!(
            cut(
                "127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)"
            ),
            ("127.0.0.1:9".into(), "Connection refused".into())
        );
        assert_eq!(
            cut("sasl_ssl://h:9092/1: SASL authentication error: no (after 3ms in state AUTH_REQ)"),
            ("h:9092".into(), "SASL authentication error: no".into())
        );
        assert_eq!(cut("odd"), (String::new(), "odd".into()));
    }

    #[test]
    fn each_address_is_told_of_once_by_its_last_words() {
        let reason = |words: &str| Trouble { code: Code::LOCAL_TRANSPORT, words: words.into() };
        let all = told(&[reason("a:1/1: x (after 1ms in state Y)"), reason("b:1/2: y"), reason("a:1/1: z")]);
        assert_eq!(all, [("b:1".into(), "y".into()), ("a:1".into(), "z".into())]);
    }

    #[test]
    fn a_closed_connection_is_told_by_when_it_was_closed() {
        let closed =
            "a:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 2ms in state";
        let message = |state: &str| known(&format!("{closed} {state})")).map(|known| known.hint);
        assert!(message("APIVERSION_QUERY").is_some_and(|hint| hint.starts_with("kafkas://")));
        assert!(message("UP").is_some_and(|hint| hint.contains("USER")));
        assert_eq!(message("CONNECT"), None);
        let reset = "a:1/1: Disconnected: connection reset by peer (after 2ms in state";
        let message = |state: &str| known(&format!("{reset} {state})")).map(|known| known.hint);
        assert!(message("APIVERSION_QUERY").is_some_and(|hint| hint.starts_with("kafkas://")));
        assert_eq!(message("SSL_HANDSHAKE"), Some(TO_PLAIN));
    }

    #[test]
    fn a_broker_that_was_killed_does_not_want_to_know_who_asks() {
        let of = |words: &str| Trouble { code: Code::LOCAL_TRANSPORT, words: words.into() };
        let closed = "Disconnected: connection closed by peer (after 2ms in state UP)";
        let refused = "Connect to ipv4#1.2.3.4:1 failed: Connection refused (after 0ms in state CONNECT)";
        let (one, two) = (of(&format!("a:1/1: {closed}")), of(&format!("b:1/2: {closed}")));
        let situation = known(&one.words).unwrap();
        assert!(is_all(situation, &[one.clone(), two.clone()], false), "nobody has ever answered");
        assert!(!is_all(situation, &[one.clone(), two.clone()], true), "it had us before");
        let gone = of(&format!("b:1/2: {refused}"));
        assert!(!is_all(situation, &[two.clone(), gone.clone(), one.clone()], false), "it went down");
        assert!(is_all(situation, &[gone, two, one], false), "it came up, and closes");
    }

    #[test]
    fn what_no_patience_helps_with_ends_at_once() {
        let trouble = |code, words: &str| Trouble { code, words: words.into() };
        assert!(is_last(&trouble(Code::LOCAL_AUTHENTICATION, "x")));
        assert!(is_last(&trouble(Code::LOCAL_SSL, "SSL handshake failed: certificate verify failed")));
        assert!(is_last(&trouble(Code::LOCAL_BAD_MSG, "Receive failed: Invalid response size 1213486160")));
        assert!(!is_last(&trouble(Code::LOCAL_TRANSPORT, "Connection refused")));
    }

    #[test]
    fn a_connection_that_is_lost_in_a_handshake_may_come_back() {
        let lost = "ssl://h:1/1: SSL handshake failed: Disconnected: connection closed by peer: connecting to a PLAINTEXT \
            broker listener? (after 3ms in state SSL_HANDSHAKE)";
        let eof =
            "ssl://h:1/1: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading";
        let login = "sasl_ssl://h:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's \
            supported mechanisms: (n/a) (after 1ms in state AUTH_HANDSHAKE)";
        for (code, words) in [
            (Code::LOCAL_TRANSPORT, lost),
            (Code::LOCAL_SSL, eof),
            (Code::LOCAL_SSL, "ssl://h:1/1: SSL handshake failed: SSL transport error: Broken pipe"),
            (Code::LOCAL_AUTHENTICATION, login),
        ] {
            assert!(!is_last(&heard(code, words)), "{words}");
        }
        assert_eq!(heard(Code::LOCAL_AUTHENTICATION, login).code, Code::LOCAL_TRANSPORT);
        let refused = login.replace("(n/a)", "SCRAM-SHA-512");
        assert!(is_last(&heard(Code::LOCAL_AUTHENTICATION, &refused)), "the broker has spoken");
        for final_words in ["wrong version number", "tlsv1 alert unknown ca", "certificate has expired"] {
            assert!(is_last(&heard(Code::LOCAL_SSL, &format!("SSL handshake failed: error: {final_words}"))));
        }
    }
}
