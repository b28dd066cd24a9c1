//! The values of AMQP's tables as header values and as JSON, and back.
//!
//! Integers of every width become one, a text and a byte array become bytes. Within a nested table a time is RFC 3339
//! and bytes that are no UTF-8 are base64: so much of its types does not come back.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Number, Value, json};

use crate::event::{HeaderValue, time};

/// A header's value as the event has it; `None`: a nested one, as JSON by [`json_of`].
pub fn header_of(value: &AMQPValue) -> Option<HeaderValue<'_>> {
    Some(match value {
        AMQPValue::Void => HeaderValue::Null,
        AMQPValue::LongString(text) => HeaderValue::Bytes(text.as_bytes()),
        AMQPValue::ShortString(text) => HeaderValue::Bytes(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(bytes.as_slice()),
        AMQPValue::Boolean(yes) => HeaderValue::Bool(*yes),
        AMQPValue::Float(n) => HeaderValue::Float(f64::from(*n)),
        AMQPValue::Double(n) => HeaderValue::Float(*n),
        AMQPValue::DecimalValue(n) => HeaderValue::Float(f64::from(n.value) / 10f64.powi(i32::from(n.scale))),
        AMQPValue::Timestamp(seconds) => HeaderValue::Time(millis(*seconds)),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => return None,
        other => HeaderValue::Int(int(other)?),
    })
}

/// Any whole number.
pub fn int(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}

/// A value as JSON.
pub fn json_of(value: &AMQPValue) -> Value {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    match value {
        AMQPValue::FieldArray(list) => list.as_slice().iter().map(json_of).collect(),
        AMQPValue::FieldTable(table) => {
            let members =
                table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), json_of(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => match header_of(other) {
            None | Some(HeaderValue::Null) => Value::Null,
            Some(HeaderValue::Bytes(bytes)) => text(bytes),
            Some(HeaderValue::Int(n)) => n.into(),
            Some(HeaderValue::Bool(yes)) => yes.into(),
            Some(HeaderValue::Float(n)) => Number::from_f64(n).map_or(Value::Null, Value::Number),
            Some(HeaderValue::Time(at)) => time::text(at).into(),
            Some(HeaderValue::Table(json)) => Value::from(json),
        },
    }
}

/// The other direction. `None`: a nested value that is no JSON, or has a name of more than 255 bytes.
pub fn value_of(value: HeaderValue<'_>) -> Option<AMQPValue> {
    Some(match value {
        HeaderValue::Null => AMQPValue::Void,
        HeaderValue::Bytes(bytes) => AMQPValue::LongString(bytes.to_vec().into()),
        HeaderValue::Int(n) => AMQPValue::LongLongInt(n),
        HeaderValue::Float(n) => AMQPValue::Double(n),
        HeaderValue::Bool(yes) => AMQPValue::Boolean(yes),
        // Times are whole seconds here, and not before 1970.
        HeaderValue::Time(at) if at >= 0 && at % 1000 == 0 => AMQPValue::Timestamp(at.unsigned_abs() / 1000),
        HeaderValue::Time(at) => AMQPValue::LongString(time::text(at).into_bytes().into()),
        HeaderValue::Table(json) => from_json(&serde_json::from_str(json).ok()?)?,
    })
}

fn from_json(value: &Value) -> Option<AMQPValue> {
    Some(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(yes) => AMQPValue::Boolean(*yes),
        Value::Number(n) => match n.as_i64() {
            Some(n) => AMQPValue::LongLongInt(n),
            None => AMQPValue::Double(n.as_f64()?),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(list) => {
            AMQPValue::FieldArray(list.iter().map(from_json).collect::<Option<Vec<_>>>()?.into())
        }
        Value::Object(members) => {
            let mut table = FieldTable::default();
            for (name, value) in members {
                table.insert(ShortString::try_new(name.as_str()).ok()?, from_json(value)?);
            }
            AMQPValue::FieldTable(table)
        }
    })
}

/// The text of a value, where it is one.
pub fn text(value: &AMQPValue) -> Option<Cow<'_, str>> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ShortString(text) => Some(text.as_str().into()),
        _ => None,
    }
}

/// Seconds since 1970 as milliseconds.
pub fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let all = [
            HeaderValue::Null,
            HeaderValue::Bytes(b"\0\xff"),
            HeaderValue::Int(-7),
            HeaderValue::Float(0.5),
            HeaderValue::Bool(true),
            HeaderValue::Time(1_700_000_000_000),
        ];
        for value in all {
            let there = value_of(value).expect("it can be said");
            assert_eq!(header_of(&there), Some(value));
        }
        let json = r#"{"a":[1,null,"x",true,{"b":0.5}]}"#;
        let there = value_of(HeaderValue::Table(json)).expect("JSON");
        assert_eq!(json_of(&there).to_string(), json);
        assert!(value_of(HeaderValue::Table("{")).is_none(), "what is no JSON is not taken for some");
    }
}
