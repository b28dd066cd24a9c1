//! What holds for the keys, and the maker of `properties.rs`.
//!
//! `EVCAT_BLESS=1 cargo test --lib kafka::options` writes that file anew, after librdkafka was changed.
#![allow(clippy::disallowed_methods, reason = "the wish to bless is read here")]

use std::path::Path;

use super::*;
use crate::broker::kafka::conf::Conf;
use crate::broker::kafka::sys;

/// librdkafka's own tables, as it prints them for its documentation.
fn documentation() -> String {
    use nix::libc;
    let (mut text, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the stream fills `text` and `size` until it is closed, and the library's FILE is libc's.
    unsafe {
        let stream = libc::open_memstream(&mut text, &mut size);
        sys::rd_kafka_conf_properties_show(stream.cast());
        libc::fclose(stream);
        let shown = sys::text(text);
        libc::free(text.cast());
        shown
    }
}

/// What is when nothing is given, where that is not the library's own default.
const OURS: &[(&str, &str)] = &[
    ("check.crcs", "true"),
    ("client.id", "evcat"),
    ("enable.metrics.push", "false"),
    ("fetch.message.max.bytes", "subscribe: 4194304 / partitions, 65536 .. 1048576; else 1048576"),
    ("fetch.queue.backoff.ms", "subscribe: 10; else 1"),
    ("fetch.wait.max.ms", "3 to 100"),
    ("heartbeat.interval.ms", "1000"),
    ("linger.ms", "0"),
    ("delivery.timeout.ms", "--timeout"),
    ("max.in.flight", "1"),
    ("max.in.flight.requests.per.connection", "1"),
    ("max.partition.fetch.bytes", "as fetch.message.max.bytes"),
    ("message.max.bytes", "1000000000"),
    ("message.timeout.ms", "--timeout"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("queue.buffering.max.ms", "0"),
    ("queued.max.messages.kbytes", "16384, which subscribe shares among its partitions"),
    ("queued.min.messages", "20000, which subscribe shares among its partitions"),
    ("reconnect.backoff.max.ms", "1000"),
    ("sasl.mechanism", "PLAIN with TLS"),
    ("sasl.mechanisms", "PLAIN with TLS"),
    ("security.protocol", "what the URL says"),
    ("session.timeout.ms", "9000"),
    ("ssl.ca.location", "probe"),
    ("topic.metadata.propagation.max.ms", "2000"),
];

/// Of no use here: what needs libcurl or Kerberos, which are not built in, and what tells of the library.
fn is_dead(name: &str) -> bool {
    let kept = name == "sasl.oauthbearer.config";
    let needs = ["sasl.oauthbearer.", "sasl.kerberos.", "https."];
    name == "builtin.features" || !kept && needs.iter().any(|needs| name.starts_with(needs))
}

/// The tables as Rust: name and help of each property, and which concern one role only.
fn generated(markdown: &str) -> String {
    let mut rows: Vec<(String, &str, String)> = Vec::new();
    for line in markdown.lines() {
        let cells: Vec<&str> = line.splitn(6, " | ").map(str::trim).collect();
        let &[name, role @ ("*" | "C" | "P"), range, default, _importance, words] = &cells[..] else {
            continue;
        };
        // Functions of a program, legacy of a consumer that evcat is not, or there already for all topics.
        let foreign = words.contains("see dedicated API") || words.contains("LEGACY PROPERTY");
        if foreign || is_dead(name) || rows.iter().any(|(known, ..)| known == name) {
            continue;
        }
        let default = OURS.iter().find(|(ours, _)| *ours == name).map_or(default, |(_, value)| value);
        let reserved = reserved(name);
        let help =
            reserved.map_or_else(|| help(words, range, default), |why| format!("not to be set: {why}"));
        rows.push((name.to_owned(), role, help));
    }
    rows.sort();
    let of = |role: &str| {
        let names = rows.iter().filter(|row| row.1 == role).map(|row| format!("    {:?},\n", row.0));
        names.collect::<String>()
    };
    let all: String = rows.iter().map(|(name, _, help)| format!("    ({name:?}, {help:?}),\n")).collect();
    format!(
        "//! Every property of librdkafka that can mean something here, and a line of help. Written by the test of `options`.\n\
         #![cfg_attr(rustfmt, rustfmt_skip)]\n\n\
         /// All of them.\npub const PROPERTIES: &[(&str, &str)] = &[\n{all}];\n\n\
         /// Those of no use to a producer.\npub const CONSUMER_ONLY: &[&str] = &[\n{}];\n\n\
         /// Those of no use to a consumer.\npub const PRODUCER_ONLY: &[&str] = &[\n{}];\n",
        of("C"),
        of("P")
    )
}

/// The first sentence, what may be given and what is when nothing is.
fn help(words: &str, range: &str, default: &str) -> String {
    let words = words.split(" <br>").next().unwrap_or(words).replace("**", "").replace('`', "'");
    let end = words.find(". ").map_or(words.len(), |at| at + 1);
    let mut help = words[..end].trim_end_matches('.').to_owned();
    if !range.is_empty() {
        help.push_str(&format!(" ({range})"));
    }
    if !default.is_empty() {
        help.push_str(&format!(" [{default}]"));
    }
    help
}

#[test]
fn the_table_of_properties_is_the_librarys() {
    let wanted = generated(&documentation());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker/kafka/properties.rs");
    if std::env::var_os("EVCAT_BLESS").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap();
    assert!(found == wanted, "EVCAT_BLESS=1 cargo test --lib kafka::options writes {}", file.display());
    assert!(wanted.lines().count() > 200, "the library's documentation is not what it was");
}

/// Whether the library knows a key; the value fits none.
fn is_known(key: &str) -> bool {
    let words = Conf::new().set(key, "\u{1}").err().unwrap_or_default();
    !words.contains("No such configuration property")
}

#[test]
fn the_library_takes_every_key_that_is_offered() {
    for (key, _) in PROPERTIES {
        assert!(is_known(key), "{key}");
    }
    for (key, _) in RESERVED {
        assert!(is_known(key), "{key}");
    }
    assert!(!is_known("no.such.key"));
}

#[test]
fn a_role_is_not_given_what_concerns_the_other() {
    assert!(!concerns("linger.ms", Role::Consumer) && concerns("linger.ms", Role::Producer));
    assert!(!concerns("fetch.wait.max.ms", Role::Producer) && concerns("socket.timeout.ms", Role::Producer));
}

#[test]
fn secrets_are_known_by_name() {
    for key in ["sasl.password", "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret"] {
        assert!(is_secret(key), "{key}");
    }
    for key in ["ssl.key.location", "sasl.username", "ssl.ca.pem", "bootstrap.servers"] {
        assert!(!is_secret(key), "{key}");
    }
}
