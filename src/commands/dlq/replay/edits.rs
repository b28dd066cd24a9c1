//! What is changed on the way back: by `--transform`, by hand, and whether it may go as it is.

use crate::commands::dlq::heap::Dead;
use crate::deadletter::Letter;
use crate::event::cloudevents::{self, Binding};
use crate::event::{Event, Position};
use crate::flow::schema::Schema;
use crate::query::Transform;

/// Changes letters, and looks whether they are valid.
pub struct Edits {
    /// `--transform`.
    pub transform: Option<Transform>,
    /// `--schema`.
    pub schema: Option<Schema>,
    /// `--edit`: what the one letter has become.
    pub by_hand: Option<Event>,
    /// How this broker's headers carry the new id.
    pub binding: Binding,
}

/// What is put back of a letter.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its key, headers and payload.
    pub event: Event,
    /// The id before the edit, where there was one.
    pub of: Option<String>,
}

impl Edits {
    /// How the edits are called in a plan.
    pub fn name(&self) -> &'static str {
        if self.by_hand.is_some() { "--edit" } else { "--transform" }
    }

    /// For each letter what goes back, or why it stays.
    pub async fn apply(&mut self, dead: &[&Dead]) -> anyhow::Result<Vec<Result<Contents, String>>> {
        let mut out: Vec<Result<Contents, String>> = match (&self.by_hand, &mut self.transform) {
            (Some(edited), _) => dead.iter().map(|dead| Ok(self.changed(dead, edited.clone()))).collect(),
            (None, Some(transform)) => {
                let events: Vec<_> = dead.iter().map(|dead| dead.event.clone()).collect();
                let failures: Vec<_> = dead.iter().map(|dead| dead.failure.clone()).collect();
                let answers = transform.apply(&events, Some(&failures)).await?;
                let made =
                    dead.iter().zip(answers).map(|(dead, answer)| Ok(self.changed(dead, one(dead, answer)?)));
                made.collect()
            }
            (None, None) => {
                dead.iter().map(|dead| Ok(Contents { event: dead.event.clone(), of: None })).collect()
            }
        };
        if let Some(schema) = &self.schema {
            for contents in &mut out {
                if let Ok(Contents { event, .. }) = contents
                    && let Err(why) = schema.check(event)
                {
                    *contents = Err(why);
                }
            }
        }
        Ok(out)
    }

    /// An edited event is another one: it gets an id of its own, linked to the old.
    fn changed(&self, dead: &Dead, edited: Event) -> Contents {
        let before = &dead.event;
        let same = before.key() == edited.key()
            && before.payload() == edited.payload()
            && before.headers() == edited.headers();
        if same {
            return Contents { event: edited, of: None };
        }
        let mut headers = cloudevents::without(edited.headers(), "id");
        cloudevents::write(&mut headers, self.binding, "id", &uuid::Uuid::now_v7().to_string());
        let event = Event::new(
            edited.topic(),
            edited.key(),
            headers.as_headers(),
            edited.payload(),
            edited.timestamp(),
            edited.position().clone(),
        );
        let event = match edited.extra() {
            Some(extra) => event.with_extra(extra.clone()),
            None => event,
        };
        Contents { event, of: Some(identity(dead)) }
    }
}

/// Its id before: its own, else where it was published.
fn identity(dead: &Dead) -> String {
    let Letter { origin, .. } = &dead.letter;
    match (dead.id(), &origin.topic, &origin.position) {
        (Some(id), ..) => id.to_owned(),
        (None, Some(topic), position) if *position != Position::Unknown => format!("{topic}/{position}"),
        _ => crate::event::identity(&dead.event),
    }
}

fn one(dead: &Dead, answer: Result<Vec<Event>, String>) -> Result<Event, String> {
    let mut events = answer?;
    match (events.pop(), events.len()) {
        (Some(event), 0) if event.topic() == dead.event.topic() => Ok(event),
        (Some(_), 0) => Err("--transform changed the topic (--into TOPIC says where to)".into()),
        (None, _) => Err("--transform made nothing of it".into()),
        (Some(_), more) => Err(format!("--transform made {} events of it", more + 1)),
    }
}

/// What an edit changed, line by line: `- "carrier": "DHL"`, `+ "carrier": "UPS"`; at most so many lines.
pub fn difference(before: &Event, after: &Event, most: usize) -> Vec<String> {
    let (before, after) = (lines(before), lines(after));
    let start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (rest_before, rest_after) = (&before[start..], &after[start..]);
    let end = rest_before.iter().rev().zip(rest_after.iter().rev()).take_while(|(a, b)| a == b).count();
    let gone = &rest_before[..rest_before.len() - end];
    let come = &rest_after[..rest_after.len() - end];
    let mut out: Vec<String> =
        gone.iter().filter(|line| !come.contains(line)).map(|line| format!("- {line}")).collect();
    out.extend(come.iter().filter(|line| !gone.contains(line)).map(|line| format!("+ {line}")));
    if out.len() > most {
        let more = out.len() - most;
        out.truncate(most);
        out.push(format!("… {more} more lines"));
    }
    out
}

/// Key, headers and payload in lines that people compare.
fn lines(event: &Event) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = vec![format!("key {}", event.key().map_or("-".into(), text))];
    let own = |name: &[u8]| name.starts_with(crate::event::own::PREFIX.as_bytes());
    // The new id is told of in words.
    let headers = cloudevents::without(event.headers(), "id");
    for (name, value) in headers.as_headers().iter().filter(|(name, _)| !own(name)) {
        let value = match value {
            crate::event::HeaderValue::Bytes(bytes) => text(bytes),
            other => format!("{other:?}"),
        };
        out.push(format!("header {} = {value}", text(name)));
    }
    let pretty = |payload: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
        serde_json::to_string_pretty(&value).ok()
    };
    match event.payload() {
        None => out.push("(tombstone)".into()),
        Some(payload) => {
            let payload = pretty(payload).unwrap_or_else(|| text(payload));
            out.extend(payload.lines().map(|line| line.trim().trim_end_matches(',').to_owned()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeadersBuf};

    fn event(key: &str, payload: &str) -> Event {
        let mut headers = HeadersBuf::default();
        headers.push_str("ce_id", "7");
        headers.push_str("evcat-dlq-topic", "orders");
        let mut batch = Batch::default();
        let at = Position::Offset(3);
        let topic = "orders.shipping.dlq".into();
        batch.push(&topic, Some(key.as_bytes()), headers.as_headers(), Some(payload.as_bytes()), None, at);
        batch.finish()[0].clone()
    }

    fn edits(transform: &str) -> Edits {
        let transform = Transform::compile("--transform", transform).unwrap();
        Edits { transform: Some(transform), schema: None, by_hand: None, binding: Binding::Underscore }
    }

    async fn apply(transform: &str, dead: &Dead) -> Result<Contents, String> {
        edits(transform).apply(&[dead]).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn an_edit_gets_a_new_id_that_names_the_old() {
        let dead = Dead::of(event("k", r#"{"carrier":"DHL","n":1.10}"#));
        let made = apply(r#".payload.carrier = "UPS""#, &dead).await.unwrap();
        assert_eq!(made.event.payload(), Some(&br#"{"carrier":"UPS","n":1.10}"#[..]));
        assert_eq!(made.of.as_deref(), Some("7"));
        let id = cloudevents::id(made.event.headers()).unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    }

    #[tokio::test]
    async fn what_an_edit_leaves_alone_keeps_its_id() {
        let dead = Dead::of(event("k", r#"{"carrier":"DHL"}"#));
        let made = apply(".", &dead).await.unwrap();
        assert_eq!((cloudevents::id(made.event.headers()), made.of), (Some("7"), None));
    }

    #[tokio::test]
    async fn what_is_not_one_event_stays() {
        let dead = Dead::of(event("k", "{}"));
        assert_eq!(apply("empty", &dead).await.unwrap_err(), "--transform made nothing of it");
        assert_eq!(apply("., .", &dead).await.unwrap_err(), "--transform made 2 events of it");
        assert!(apply(".topic = \"x\"", &dead).await.unwrap_err().contains("--into"));
    }

    #[test]
    fn a_difference_is_short() {
        let (before, after) = (event("k", r#"{"a":1,"b":2,"c":3}"#), event("k", r#"{"a":1,"b":5,"c":3}"#));
        assert_eq!(difference(&before, &after, 6), [r#"- "b": 2"#, r#"+ "b": 5"#]);
        assert_eq!(difference(&before, &event("j", r#"{"a":1,"b":2,"c":3}"#), 6), ["- key k", "+ key j"]);
        let long = event("k", &format!("{:?}", (0..100).collect::<Vec<_>>()));
        assert_eq!(difference(&before, &long, 6).len(), 7);
        assert!(difference(&before, &before, 6).is_empty());
    }
}
