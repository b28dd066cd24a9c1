//! What a handler is told of its event: its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::event::{Event, Position, cloudevents, identity, line, time, trace};

/// The longest value of one fact; Linux refuses a process whose variable is longer than twice that.
const LONGEST: usize = 64 << 10;

/// Every name that may be set. Those that are not set are taken out of the environment: a handler that runs `evcat`
/// must not pass on the facts of another event.
pub const NAMES: [&str; 13] = [
    "EVCAT_TOPIC",
    "EVCAT_POSITION",
    "EVCAT_KEY",
    "EVCAT_ID",
    "EVCAT_TYPE",
    "EVCAT_TIMESTAMP",
    "EVCAT_ATTEMPT",
    "EVCAT_GROUP",
    "EVCAT_HEADERS",
    "EVCAT_BROKER",
    "EVCAT_OMITTED",
    "TRACEPARENT",
    "TRACESTATE",
];

/// The facts of one event.
pub fn of(event: &Event, attempt: u32, group: Option<&str>, broker: &str) -> Vec<(&'static str, OsString)> {
    let mut facts = Facts::default();
    facts.put("EVCAT_TOPIC", event.topic().as_bytes());
    if !matches!(event.position(), Position::Unknown) {
        facts.put("EVCAT_POSITION", event.position().to_string().as_bytes());
    }
    if let Some(key) = event.key() {
        facts.put("EVCAT_KEY", key);
    }
    facts.put("EVCAT_ID", identity(event).as_bytes());
    if let Some(kind) = cloudevents::kind(event.headers()) {
        facts.put("EVCAT_TYPE", kind.as_bytes());
    }
    if let Some(at) = event.timestamp() {
        let mut text = Vec::new();
        if time::rfc3339(&mut text, at) {
            facts.put("EVCAT_TIMESTAMP", &text);
        }
    }
    facts.put("EVCAT_ATTEMPT", attempt.to_string().as_bytes());
    if let Some(group) = group {
        facts.put("EVCAT_GROUP", group.as_bytes());
    }
    let mut headers = Vec::new();
    line::write_headers(&mut headers, event.headers());
    facts.put("EVCAT_HEADERS", &headers);
    facts.put("EVCAT_BROKER", broker.as_bytes());
    if let Some((parent, state)) = trace::context(event.headers()) {
        facts.put("TRACEPARENT", parent.as_bytes());
        if let Some(state) = state {
            facts.put("TRACESTATE", state.as_bytes());
        }
    }
    if !facts.omitted.is_empty() {
        let omitted = facts.omitted.join(" ");
        facts.all.push(("EVCAT_OMITTED", omitted.into()));
    }
    facts.all
}

#[derive(Default)]
struct Facts {
    all: Vec<(&'static str, OsString)>,
    omitted: Vec<&'static str>,
}

impl Facts {
    /// No variable can hold a NUL, and a process with too long a one cannot be started.
    fn put(&mut self, name: &'static str, value: &[u8]) {
        if value.len() > LONGEST || value.contains(&0) {
            self.omitted.push(name);
        } else {
            self.all.push((name, OsString::from_vec(value.to_vec())));
        }
    }
}

/// Sets the facts of an event, and nothing of another one.
pub fn set(command: &mut tokio::process::Command, facts: &[(&'static str, OsString)]) {
    for name in NAMES {
        match facts.iter().find(|(fact, _)| *fact == name) {
            Some((_, value)) => command.env(name, OsStr::from_bytes(value.as_bytes())),
            None => command.env_remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeadersBuf};

    fn facts(key: Option<&[u8]>, headers: &HeadersBuf) -> Vec<(&'static str, OsString)> {
        let mut batch = Batch::default();
        batch.push(
            &"orders".into(),
            key,
            headers.as_headers(),
            Some(b"{}"),
            Some(1_700_000_000_123),
            Position::Offset(42),
        );
        of(&batch.finish()[0].clone(), 2, Some("shipping"), "local:")
    }

    fn get(facts: &[(&'static str, OsString)], name: &str) -> Option<String> {
        facts.iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn tells_what_is_known() {
        let mut headers = HeadersBuf::default();
        headers.push_str("ce_type", "order.placed");
        headers.push_str("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let facts = facts(Some(b"A-18"), &headers);
        for (name, value) in [
            ("EVCAT_TOPIC", "orders"),
            ("EVCAT_POSITION", "42"),
            ("EVCAT_KEY", "A-18"),
            ("EVCAT_ID", "orders/42"),
            ("EVCAT_TYPE", "order.placed"),
            ("EVCAT_TIMESTAMP", "2023-11-14T22:13:20.123Z"),
            ("EVCAT_ATTEMPT", "2"),
            ("EVCAT_GROUP", "shipping"),
            ("EVCAT_BROKER", "local:"),
            ("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(get(&facts, name).as_deref(), Some(value), "{name}");
        }
        assert!(
            get(&facts, "EVCAT_HEADERS")
                .is_some_and(|json| json.starts_with(r#"[["ce_type","order.placed"]"#))
        );
        assert!(facts.iter().all(|(name, _)| NAMES.contains(name)));
    }

    #[test]
    fn what_a_variable_cannot_hold_is_named() {
        let mut headers = HeadersBuf::default();
        headers.push_str("large", &"x".repeat(70_000));
        let facts = facts(Some(b"a\0b"), &headers);
        assert_eq!(get(&facts, "EVCAT_OMITTED").as_deref(), Some("EVCAT_KEY EVCAT_HEADERS"));
        assert_eq!((get(&facts, "EVCAT_KEY"), get(&facts, "EVCAT_HEADERS")), (None, None));
    }
}
