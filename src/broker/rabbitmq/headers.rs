//! An event's headers in a table, which has no order and each name once.
//!
//! Where the order or a name that stands twice would be lost, one header more says how they were: a JSON list of names,
//! and `[name, value]` as in the canonical line for all but the last of a name. Everybody else reads the table.

use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::table;
use crate::event::{HeaderValue, Headers, HeadersBuf, line};

/// Says how the headers were.
const ORDER: &str = "evcat-headers";

/// The headers as a table. Errors: which header cannot be said, and why.
pub fn to_table(headers: Headers<'_>) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in headers.iter() {
        let shown = || String::from_utf8_lossy(name).chars().take(40).collect::<String>();
        let text =
            std::str::from_utf8(name).map_err(|_| format!("header '{}': its name is not UTF-8", shown()))?;
        let key = ShortString::try_new(text)
            .map_err(|_| format!("header '{}…': its name has more than 255 bytes", shown()))?;
        let value = table::value_of(value)
            .ok_or_else(|| format!("header '{}': it is no JSON that AMQP could carry", shown()))?;
        table.insert(key, value);
        names.push(text);
    }
    if !names.is_sorted_by(|a, b| a < b) {
        table.insert(ORDER.into(), AMQPValue::LongString(order(headers, &names).into()));
    }
    Ok(table)
}

/// How they were, where the table does not say it.
fn order(headers: Headers<'_>, names: &[&str]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, (name, value)) in headers.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if names[at + 1..].contains(&names[at]) {
            let mut one = HeadersBuf::default();
            one.push(name, value);
            let mut list = Vec::new();
            line::write_headers(&mut list, one.as_headers());
            out.extend_from_slice(&list[1..list.len() - 1]);
        } else {
            // Names are UTF-8, and text is always JSON.
            out.extend_from_slice(&serde_json::to_vec(names[at]).unwrap_or_default());
        }
    }
    out.push(b']');
    out
}

/// The headers of a table, without those that `leave` takes out. What was in an order of its own is in it again; what
/// somebody added since comes last.
pub fn from_table(out: &mut HeadersBuf, table: &FieldTable, leave: impl Fn(&str) -> bool) {
    let order = table.inner().get(ORDER).and_then(table::text);
    let order: Option<Vec<serde_json::Value>> = order.and_then(|text| serde_json::from_str(&text).ok());
    let mut told: Vec<&str> = Vec::new();
    for entry in order.iter().flatten() {
        match entry {
            serde_json::Value::String(name) if !leave(name) => {
                if let Some(value) = table.inner().get(name.as_str()) {
                    push(out, name, value);
                    told.push(name);
                }
            }
            serde_json::Value::Array(_) => {
                let text = format!("{{\"payload\":null,\"headers\":[{entry}]}}");
                if let Ok(parsed) = line::parse(text.as_bytes()) {
                    out.extend(parsed.headers.as_headers());
                }
            }
            _ => {}
        }
    }
    for (name, value) in table {
        let name = name.as_str();
        // One that is not ours is a header as any other.
        if (name != ORDER || order.is_none()) && !told.contains(&name) && !leave(name) {
            push(out, name, value);
        }
    }
}

fn push(out: &mut HeadersBuf, name: &str, value: &AMQPValue) {
    match table::header_of(value) {
        Some(value) => out.push(name.as_bytes(), value),
        None => out.push(name.as_bytes(), HeaderValue::Table(&table::json_of(value).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(headers: &HeadersBuf) -> HeadersBuf {
        let table = to_table(headers.as_headers()).expect("all can be said");
        let mut back = HeadersBuf::default();
        from_table(&mut back, &table, |_| false);
        back
    }

    #[test]
    fn order_and_duplicates_come_back() {
        let mut headers = HeadersBuf::default();
        for (name, value) in [("z", "1"), ("a", "2"), ("a", ""), ("z", "1"), ("m", "\"")] {
            headers.push_str(name, value);
        }
        headers.push(b"n", HeaderValue::Null);
        headers.push(b"n", HeaderValue::Int(3));
        assert_eq!(there_and_back(&headers), headers);
    }

    #[test]
    fn what_has_its_order_anyway_needs_no_word_more() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push_str("b", "2");
        let table = to_table(headers.as_headers()).expect("all can be said");
        assert_eq!(table.inner().len(), 2);
        assert_eq!(there_and_back(&headers), headers);
    }

    #[test]
    fn what_only_has_the_name_of_an_order_is_kept() {
        let mut table = FieldTable::default();
        table.insert(ORDER.into(), AMQPValue::LongString("mine".into()));
        let mut back = HeadersBuf::default();
        from_table(&mut back, &table, |_| false);
        assert_eq!(back.as_headers().iter().count(), 1);
    }

    #[test]
    fn what_somebody_added_comes_last() {
        let mut headers = HeadersBuf::default();
        headers.push_str("z", "1");
        headers.push_str("b", "2");
        let mut table = to_table(headers.as_headers()).expect("all can be said");
        table.insert("a".into(), AMQPValue::Boolean(true));
        let mut back = HeadersBuf::default();
        from_table(&mut back, &table, |name| name == "b");
        let names: Vec<_> = back.as_headers().iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [b"z", b"a"]);
    }
}
