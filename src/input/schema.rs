//! `--schema`: whether a payload is valid for a JSON Schema.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jsonschema::Validator;

use crate::outcome::Failure;

/// A JSON Schema, compiled. Nothing is fetched: a reference to another document is refused.
#[derive(Clone)]
pub struct Schema {
    name: String,
    validator: Arc<Validator>,
}

impl Schema {
    /// Reads it from a file; `flag` is what errors name.
    pub fn load(flag: &str, path: &Path) -> anyhow::Result<Schema> {
        let name = || format!("{flag} {}", path.display());
        let bytes = std::fs::read(path).with_context(name)?;
        let schema: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::usage(format!("{}: not JSON: {error}", name())))?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| Failure::usage(format!("{}: not a JSON Schema: {error}", name())))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Schema { name, validator: Arc::new(validator) })
    }

    /// `Err`: where and why it is not valid, as in `not valid for order.json: /total: "ten" is not of type "number"`.
    pub fn check(&self, payload: Option<&[u8]>) -> Result<(), String> {
        let wrong = |why: String| Err(format!("not valid for {}: {why}", self.name));
        let Some(payload) = payload else { return wrong("a tombstone has no payload".into()) };
        let value: serde_json::Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => return wrong(format!("not JSON: {error}")),
        };
        match self.validator.validate(&value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the whole payload".to_owned() } else { path };
                wrong(format!("{place}: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Schema> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order.json");
        std::fs::write(&path, text).unwrap();
        Schema::load("--schema", &path)
    }

    #[test]
    fn a_refusal_names_the_place_and_the_reason() {
        let schema = load(r#"{"properties":{"total":{"type":"number"}},"required":["total"]}"#).unwrap();
        assert_eq!(schema.check(Some(br#"{"total":42.5}"#)), Ok(()));
        let why = schema.check(Some(br#"{"total":"ten"}"#)).unwrap_err();
        assert_eq!(why, r#"not valid for order.json: /total: "ten" is not of type "number""#);
        assert!(schema.check(Some(b"{}")).unwrap_err().contains("the whole payload: "));
        assert!(schema.check(Some(b"text")).unwrap_err().contains("not JSON"));
        assert!(schema.check(None).unwrap_err().contains("tombstone"));
    }

    #[test]
    fn what_is_no_schema_is_refused_by_the_name_of_the_flag() {
        for text in ["{", r#"{"type":"nonsense"}"#, r#"{"$ref":"https://example.com/x.json"}"#] {
            let error = load(text).err().unwrap().to_string();
            assert!(error.starts_with("--schema ") && error.contains("order.json: not "), "{error}");
        }
    }
}
