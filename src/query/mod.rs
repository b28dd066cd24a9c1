//! jq: filters, transforms and selections. The one place that knows the engine.
//!
//! Every expression sees the canonical event, and `header("x")` (the last value of that name) and `headers("x")` (all of
//! them) from anywhere in it. Evaluation happens on a thread of its own, with one second for each event.

mod depth;
mod engine;
mod runner;
mod transform;
mod value;

use std::sync::Arc;

use jaq_core::ValT as _;

use crate::event::Event;
use crate::outcome::Failure;
use engine::Engine;
use runner::Runner;

pub use transform::Transform;

/// What an expression made of an event, or why it made nothing.
pub type Answer<T> = Result<T, String>;

/// A compiled expression.
#[derive(Clone)]
pub struct Query {
    flag: String,
    engine: Arc<Engine>,
}

impl Query {
    /// Compiles an expression. Errors name the flag and point at the place; exit 2.
    pub fn compile(flag: &str, text: &str) -> Result<Query, Failure> {
        Ok(Query { flag: flag.into(), engine: Arc::new(Engine::compile(flag, text)?) })
    }
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("flag", &self.flag).finish_non_exhaustive()
    }
}

/// Whether events match expressions: `--where`.
pub struct Matches(Runner<bool>);

impl Matches {
    /// An event matches if every one of these gives a result that jq takes for true: anything but `false` and `null`. Of
    /// several results one is enough, as with jq's `select`.
    pub fn new(all: Vec<Query>) -> Matches {
        let flag = all.first().map_or("--where", |query| &query.flag).to_owned();
        Matches(Runner::new(
            &flag,
            Arc::new(move |event, failure| {
                let value = value::of_event(event, failure);
                for query in &all {
                    let mut results = query.engine.run(event.headers(), value.clone());
                    let truth = loop {
                        match results.next() {
                            None => break false,
                            Some(Ok(value)) if value.as_bool() => break true,
                            Some(Ok(_)) => (),
                            Some(Err(error)) => return Err(format!("{}: {error}", query.flag)),
                        }
                    };
                    if !truth {
                        return Ok(false);
                    }
                }
                Ok(true)
            }),
        ))
    }

    /// One answer per event. Errors: see [`Query`]; the third event that takes longer than a second.
    pub async fn judge(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> Result<Vec<Answer<bool>>, Failure> {
        self.0.run(events, failures).await
    }
}

/// The results of an expression, to be printed: `--select`.
pub struct Selection(Runner<Vec<String>>);

impl Selection {
    /// Of one expression.
    pub fn new(query: Query) -> Selection {
        Selection(Runner::new(
            &query.flag.clone(),
            Arc::new(move |event, failure| {
                let results = query.engine.run(event.headers(), value::of_event(event, failure));
                let written = results.map(|result| {
                    let mut json = String::new();
                    value::write(&result?, &mut json);
                    Ok(json)
                });
                written.collect::<Result<_, String>>().map_err(|error| format!("{}: {error}", query.flag))
            }),
        ))
    }

    /// The results of each event, as JSON in one line each.
    pub async fn select(
        &mut self,
        events: &[Event],
        failures: Option<&[String]>,
    ) -> Result<Vec<Answer<Vec<String>>>, Failure> {
        self.0.run(events, failures).await
    }
}

/// What an expression found for a part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A string as its text; a number or truth value as JSON writes it.
    Text(Vec<u8>),
    /// No result (`empty`): nothing is said about it.
    Unsaid,
}

/// Parts of an event that expressions name: `--key-from`, `--topic-from`, `--id-from`.
pub struct Extract(Runner<Vec<Part>>);

impl Extract {
    /// All of them, evaluated together.
    pub fn new(all: Vec<Query>) -> Extract {
        let flag = all.first().map_or("--key-from", |query| &query.flag).to_owned();
        Extract(Runner::new(
            &flag,
            Arc::new(move |event, failure| {
                let value = value::of_event(event, failure);
                let parts = all.iter().map(|query| {
                    let results = query.engine.run(event.headers(), value.clone());
                    part(results).map_err(|error| format!("{}: {error}", query.flag))
                });
                parts.collect()
            }),
        ))
    }

    /// For each event what each expression found, in the order they were given. `null`, more than one result, an object
    /// and a list are errors: a member that is missing must not become an event without a key.
    pub async fn extract(&mut self, events: &[Event]) -> Result<Vec<Answer<Vec<Part>>>, Failure> {
        self.0.run(events, None).await
    }
}

fn part(mut results: impl Iterator<Item = Result<jaq_json::Val, String>>) -> Answer<Part> {
    use jaq_json::Val;
    let Some(first) = results.next().transpose()? else { return Ok(Part::Unsaid) };
    if results.next().transpose()?.is_some() {
        return Err("more than one result".into());
    }
    match first {
        Val::Null => Err("the result is null; '// empty' leaves it as it is".into()),
        Val::TStr(text) | Val::BStr(text) => Ok(Part::Text(text.to_vec())),
        Val::Num(_) | Val::Bool(_) => {
            let mut json = String::new();
            value::write(&first, &mut json);
            Ok(Part::Text(json.into_bytes()))
        }
        Val::Arr(_) => Err("the result is a list, not text".into()),
        Val::Obj(_) => Err("the result is an object, not text".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeadersBuf, Position};

    fn event(payload: &str) -> Vec<Event> {
        let topic = "orders".into();
        let mut headers = HeadersBuf::default();
        headers.push_str("tenant", "acme");
        let mut batch = Batch::default();
        let at = Position::Offset(1);
        batch.push(&topic, Some(b"x"), headers.as_headers(), Some(payload.as_bytes()), Some(0), at);
        batch.finish().to_vec()
    }

    async fn matches(all: &[&str], payload: &str) -> Answer<bool> {
        let queries = all.iter().map(|text| Query::compile("--where", text).unwrap()).collect();
        Matches::new(queries).judge(&event(payload), None).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn truth_is_as_in_jq() {
        let payload = r#"{"amount":150,"zero":0,"no":false}"#;
        let contract = r#".payload.amount > 100 and .key == "x" and header("tenant") == "acme""#;
        assert_eq!(matches(&[contract], payload).await, Ok(true));
        for (text, expected) in [
            (".payload.zero", true),
            (".payload.none", false),
            (".payload.no", false),
            ("\"\"", true),
            ("empty", false),
            ("false, true", true),
            (".payload.amount | select(. > 200)", false),
        ] {
            assert_eq!(matches(&[text], payload).await, Ok(expected), "{text}");
        }
        assert_eq!(matches(&["true", "false"], payload).await, Ok(false), "all must hold");
        let error = matches(&[".payload.amount"], "text").await.unwrap_err();
        assert!(error.starts_with("--where: "), "{error}");
    }

    #[tokio::test]
    async fn no_recursion_overflows_the_stack() {
        for text in ["def f: 1 + f; f", "def f: [f]; f", "def f: (1 + f)?; f", "def f: walk(f); [1] | f"] {
            let error = matches(&[text], "1").await.unwrap_err();
            assert_eq!(error, "--where: it recurses too deep", "{text}");
        }
        assert_eq!(matches(&["[limit(9; def f: 1, (f | . + 1); f)] | length == 9"], "1").await, Ok(true));
        let nested = format!("{{\"text\":\"{}\"}}", "[".repeat(1_000_000));
        let error = matches(&[".payload.text | fromjson"], &nested).await.unwrap_err();
        assert!(error.contains("nested deeper"), "{error}");
        let sound = r#"{"text":"{\"n\":1.50}"}"#;
        assert_eq!(matches(&[".payload.text | fromjson | .n == 1.5"], sound).await, Ok(true));
        assert_eq!(matches(&["\"12\" | tonumber == 12"], sound).await, Ok(true));
    }

    #[tokio::test]
    async fn a_failure_can_be_asked_for() {
        let mut by_kind = Matches::new(vec![Query::compile("--where", ".failure.kind == \"exit\"").unwrap()]);
        let failures = [r#"{"kind":"exit"}"#.to_owned()];
        let answers = by_kind.judge(&event("{}"), Some(&failures)).await.unwrap();
        assert_eq!(answers, [Ok(true)]);
    }

    #[tokio::test]
    async fn a_selection_is_json() {
        let mut select = Selection::new(Query::compile("--select", ".payload.a, .key, .topic").unwrap());
        let answers = select.select(&event("{\"a\":1.10}"), None).await.unwrap();
        assert_eq!(answers, [Ok(vec!["1.10".into(), "\"x\"".into(), "\"orders\"".into()])]);
    }

    #[tokio::test]
    async fn a_part_is_text() {
        let ask = async |text: &str| {
            let mut extract = Extract::new(vec![Query::compile("--key-from", text).unwrap()]);
            extract.extract(&event("{\"a\":\"t\",\"n\":1.0,\"l\":[]}")).await.unwrap().remove(0)
        };
        assert_eq!(ask(".payload.a").await, Ok(vec![Part::Text(b"t".to_vec())]));
        assert_eq!(ask(".payload.n").await, Ok(vec![Part::Text(b"1.0".to_vec())]));
        assert_eq!(ask(".payload.none // empty").await, Ok(vec![Part::Unsaid]));
        assert!(ask(".payload.none").await.unwrap_err().contains("null"));
        assert!(ask(".payload.l").await.is_err());
        assert!(ask("1,2").await.is_err());
    }

    #[tokio::test]
    async fn a_loop_is_left_behind() {
        let error = matches(&["last(repeat(1))"], "{}").await.unwrap_err();
        assert_eq!(error, "--where: took longer than 1 s");
    }
}
