//! JSON Schema: whether a payload keeps to it, and where it does not.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use crate::event::Event;
use crate::outcome::Failure;

/// A schema from a file. It is never fetched from anywhere: references to other documents are refused.
pub struct Schema {
    name: String,
    validator: Validator,
}

impl Schema {
    /// Reads and compiles it; errors name the flag and the file.
    pub fn open(flag: &str, path: &Path) -> anyhow::Result<Schema> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            let message = format!("{flag} {shown}: {error}");
            anyhow::Error::from(error).context(message)
        })?;
        let refuse = |why: String| Failure::usage(format!("{flag} {shown}: {why}"));
        let schema: Value = serde_json::from_slice(&text).map_err(|error| {
            refuse(not_json(&error)).hint("a JSON Schema is a JSON file, such as {\"required\":[\"total\"]}")
        })?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| refuse(format!("not a JSON Schema: {}: {error}", pointer(&error))))?;
        let name = path.file_name().map_or_else(|| shown.to_string(), |name| name.to_string_lossy().into());
        Ok(Schema { name, validator })
    }

    /// Whether the payload is JSON and keeps to the schema; a tombstone has nothing that could break it. The error says
    /// where it breaks: `not valid for order.json: /total: "ten" is not of type "number"`.
    pub fn check(&self, event: &Event) -> Result<(), String> {
        let Some(payload) = event.payload() else { return Ok(()) };
        let wrong = |why: String| Err(format!("not valid for {}: {why}", self.name));
        let value: Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => return wrong(not_json(&error)),
        };
        if self.validator.is_valid(&value) {
            return Ok(());
        }
        let mut errors = self.validator.iter_errors(&value);
        let first = errors.next().map_or_else(String::new, |error| format!("{}: {error}", pointer(&error)));
        match errors.count() {
            0 => wrong(first),
            more => wrong(format!("{first} (and {more} more)")),
        }
    }
}

/// The place in words of our own: the parser's tell what it had hoped for.
fn not_json(error: &serde_json::Error) -> String {
    let told = error.to_string();
    match (error.line(), error.column()) {
        _ if error.is_eof() => "not JSON: it ends too early".into(),
        (line, _) if told.starts_with("recursion limit") => format!("nested too deep, at line {line}"),
        (line, column) => format!("not JSON: wrong at line {line}, column {column}"),
    }
}

/// Where in the payload; the whole of it is `/`.
fn pointer(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    if path.is_empty() { "/".into() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers, Position};

    fn schema(text: &str) -> anyhow::Result<Schema> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order.json");
        std::fs::write(&path, text).unwrap();
        Schema::open("--schema", &path)
    }

    fn check(schema: &Schema, payload: Option<&str>) -> Result<(), String> {
        let mut batch = Batch::default();
        let topic = "t".into();
        let payload = payload.map(str::as_bytes);
        batch.push(&topic, None, Headers::default(), payload, None, Position::Unknown);
        schema.check(&batch.finish()[0])
    }

    #[test]
    fn the_place_and_the_reason_are_told() {
        let order = schema(r#"{"properties":{"total":{"type":"number"},"id":{"type":"string"}}}"#).unwrap();
        assert_eq!(check(&order, Some(r#"{"total": 1.5}"#)), Ok(()));
        assert_eq!(check(&order, None), Ok(()));
        assert_eq!(
            check(&order, Some(r#"{"total":"ten"}"#)),
            Err("not valid for order.json: /total: \"ten\" is not of type \"number\"".into())
        );
        assert!(check(&order, Some(r#"{"total":"ten","id":1}"#)).unwrap_err().ends_with("(and 1 more)"));
        assert!(check(&order, Some("ten")).unwrap_err().contains("not JSON"));
        let whole = schema(r#"{"type":"integer","maximum":18446744073709551615}"#).unwrap();
        assert_eq!(check(&whole, Some("18446744073709551615")), Ok(()));
        assert!(check(&whole, Some("1.5")).unwrap_err().contains("/: 1.5"));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let told = |text: &str| schema(text).err().unwrap().to_string();
        assert!(told("").ends_with("order.json: not JSON: it ends too early"));
        assert!(told("type: object\n").ends_with("order.json: not JSON: wrong at line 1, column 2"));
        assert!(
            told("{\n  \"type\": object\n}").ends_with("order.json: not JSON: wrong at line 2, column 11")
        );
        assert!(told(&"[".repeat(1000)).ends_with("order.json: nested too deep, at line 1"));
        assert!(schema(r#"{"type":"nosuch"}"#).err().unwrap().to_string().contains("not a JSON Schema"));
        let foreign = schema(r#"{"$ref":"http://localhost:1/x.json"}"#);
        assert!(foreign.err().unwrap().to_string().contains("not a JSON Schema"));
    }
}
