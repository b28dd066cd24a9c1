use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Extra, Headers, HeadersBuf, Name};

fn event(
    key: Option<&[u8]>,
    headers: Headers<'_>,
    payload: Option<&[u8]>,
    timestamp: Option<Millis>,
    position: Position,
) -> Event {
    let mut batch = Batch::default();
    batch.push(&Name::from("orders"), key, headers, payload, timestamp, position);
    batch.finish()[0].clone()
}

fn line(event: &Event) -> String {
    let mut out = Vec::new();
    write(&mut out, event);
    String::from_utf8(out).unwrap()
}

fn of_payload(payload: &[u8]) -> String {
    line(&event(None, Headers::default(), Some(payload), None, Position::Unknown))
}

#[derive(Clone, Debug)]
enum Value {
    Null,
    Bytes(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(i64),
    Table(String),
}

impl Value {
    fn as_header(&self) -> HeaderValue<'_> {
        match self {
            Value::Null => HeaderValue::Null,
            Value::Bytes(bytes) => HeaderValue::Bytes(bytes),
            Value::Int(n) => HeaderValue::Int(*n),
            Value::Float(n) => HeaderValue::Float(*n),
            Value::Bool(yes) => HeaderValue::Bool(*yes),
            Value::Time(at) => HeaderValue::Time(*at),
            Value::Table(table) => HeaderValue::Table(table),
        }
    }
}

/// Bytes of every kind: binary, text, and what is or nearly is JSON.
fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        any::<String>().prop_map(String::into_bytes),
        r#"[\[\]{},:"\\u0-9.eE+ \ta-f\n\r-]{0,20}"#.prop_map(String::into_bytes),
        prop::sample::select(vec![
            "null",
            "{\"a\":1,\"a\":2}",
            "1e999",
            "\"\\ud800\"",
            "{\"n\":1.50}",
            " 1",
            "[1]"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn some_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        some_bytes().prop_map(Value::Bytes),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("one NaN is as good as another", |n| !n.is_nan()).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Time),
        prop::sample::select(vec!["{\"a\":[1, 2.50]}", "[]", "{\"a\":\n1}", "5", "not json"])
            .prop_map(|text| Value::Table(text.to_owned())),
    ]
}

fn some_position() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::Unknown),
        any::<i32>().prop_map(Position::Partition),
        any::<i64>().prop_map(Position::Offset),
        (any::<i32>(), any::<i64>()).prop_map(|(partition, offset)| Position::At { partition, offset }),
        (any::<u64>(), any::<u64>()).prop_map(|(ms, seq)| Position::Pair(ms, seq)),
        "[a-z0-9-]{1,9}x".prop_map(|id| Position::Id(Name::from(id))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn what_is_written_is_read_back_byte_for_byte(
        key in prop::option::of(some_bytes()),
        headers in prop::collection::vec((some_bytes(), some_value()), 0..5),
        payload in prop::option::of(some_bytes()),
        timestamp in prop::option::of(prop_oneof![0..4_000_000_000_000i64, Millis::MIN + 1..=Millis::MAX]),
        position in some_position(),
    ) {
        let mut packed = HeadersBuf::default();
        headers.iter().for_each(|(name, value)| packed.push(name, value.as_header()));
        let event = event(key.as_deref(), packed.as_headers(), payload.as_deref(), timestamp, position.clone());
        let line = line(&event);
        prop_assert!(!line.contains(['\n', '\r']));
        let parsed = parse(line.as_bytes()).unwrap();
        prop_assert_eq!(parsed.topic.as_deref(), Some("orders"));
        prop_assert_eq!(&parsed.key, &key, "{}", line);
        prop_assert_eq!(&parsed.headers, &packed, "{}", line);
        prop_assert_eq!(&parsed.payload, &payload, "{}", line);
        prop_assert_eq!(parsed.timestamp, timestamp, "{}", line);
        prop_assert_eq!(&parsed.position, &position, "{}", line);
        // Readers less forgiving than ours must take it too.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
    }

    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in some_bytes()) {
        let _ = parse(&bytes);
    }
}

#[test]
fn looks_as_documented() {
    let mut headers = HeadersBuf::default();
    headers.push_str("source", "web");
    headers.push(b"n", HeaderValue::Int(5));
    headers.push(b"none", HeaderValue::Null);
    let place = Position::At { partition: 3, offset: 881 };
    let payload = br#"{"order": "A-17","total":42.50}"#;
    let event = event(Some(b"A-17"), headers.as_headers(), Some(payload), Some(1_700_000_000_532), place);
    let extra = Extra { properties: vec![("priority".into(), "5".into())] };
    let mut out = Vec::new();
    write_with(&mut out, &event.with_extra(extra.clone()), &[("failure", "{\"kind\":\"exit\"}")]);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        r#"{"topic":"orders","partition":3,"offset":881,"timestamp":"2023-11-14T22:13:20.532Z","key":"A-17","headers":[["source","web"],["n",5,"int"],["none",null]],"encoding":"json","payload":{"order": "A-17","total":42.50},"properties":{"priority":"5"},"failure":{"kind":"exit"}}"#
    );
    assert_eq!(parse(text.as_bytes()).unwrap().extra, Some(extra));
}

#[test]
fn the_payload_says_how_it_is_written() {
    let ends = |payload: &[u8], end: &str| {
        let line = of_payload(payload);
        assert!(line.ends_with(&format!("{end}}}")), "{line}");
    };
    ends(b"{\"a\":1}", r#""encoding":"json","payload":{"a":1}"#);
    ends(b"\"a\"", r#""encoding":"json","payload":"a""#);
    ends(b"{\"a\":\n1}", r#""encoding":"text","payload":"{\"a\":\n1}""#);
    ends(b"1 ", r#""encoding":"text","payload":"1 ""#);
    ends(b"null", r#""encoding":"text","payload":"null""#);
    ends(b"", r#""encoding":"text","payload":"""#);
    ends(b"\0", r#""encoding":"text","payload":"\u0000""#);
    ends(b"\xff", r#""encoding":"base64","payload":"/w==""#);
    let tombstone = line(&event(None, Headers::default(), None, None, Position::Unknown));
    assert_eq!(tombstone, r#"{"topic":"orders","key":null,"headers":[],"payload":null}"#);
}

#[test]
fn without_encoding_a_string_is_text_and_anything_else_json() {
    let payload = |line: &str| parse(line.as_bytes()).unwrap().payload;
    assert_eq!(payload(r#"{"payload":"a"}"#).as_deref(), Some(&b"a"[..]));
    assert_eq!(payload(r#" {"payload": {"a": 1.0} } "#).as_deref(), Some(&b"{\"a\": 1.0}"[..]));
    assert_eq!(payload(r#"{"payload":null}"#), None);
    assert_eq!(payload(r#"{"payload":null,"encoding":"json"}"#), None);
    assert_eq!(payload(r#"{"payload":"null"}"#).as_deref(), Some(&b"null"[..]));
}

#[test]
fn an_error_names_the_member() {
    let error = |line: &str| parse(line.as_bytes()).unwrap_err().to_string();
    for (line, start) in [
        ("", "EOF"),
        ("[1]", "invalid type: sequence, expected an object"),
        ("{}", "\"payload\": is missing"),
        (r#"{"payload":1,"payload":2}"#, "\"payload\" stands twice"),
        (r#"{"payload":1} x"#, "trailing characters (column 15)"),
        (r#"{"payload":{"a":1}"#, "EOF while parsing an object"),
        (r#"{"payload":1,"key":5}"#, "\"key\": must be a string"),
        (r#"{"payload":1,"key":{"base64":"?"}}"#, "\"key\": not base64"),
        (r#"{"payload":1,"topic":5}"#, "\"topic\": must be a string"),
        (r#"{"payload":1,"partition":"x"}"#, "\"partition\": must be a whole number"),
        (r#"{"payload":1,"offset":1.5}"#, "\"offset\": must be a whole number"),
        (r#"{"payload":1,"timestamp":"yesterday"}"#, "\"timestamp\": must be like"),
        (r#"{"payload":1,"headers":{"a":"b"}}"#, "\"headers\": must be a list"),
        (r#"{"payload":1,"headers":[["a"]]}"#, "\"headers\": must be a list"),
        (r#"{"payload":1,"headers":[["a",5]]}"#, "\"headers\": the value of \"a\" is not of type text"),
        (
            r#"{"payload":1,"headers":[["a",5,"bool"]]}"#,
            "\"headers\": the value of \"a\" is not of type bool",
        ),
        (r#"{"payload":1,"headers":[["a",5,"date"]]}"#, "\"headers\": no type is called \"date\""),
        (r#"{"payload":1,"encoding":"hex"}"#, "\"encoding\": \"hex\" is not known"),
        (r#"{"payload":1,"encoding":"text"}"#, "\"payload\": must be a string"),
        (r#"{"payload":"\ud800"}"#, "\"payload\": "),
        (r#"{"payload":1,"properties":{"a":1}}"#, "\"properties\": must be an object of strings"),
    ] {
        assert!(error(line).starts_with(start), "{line}: {}", error(line));
    }
    assert_eq!(parse(b"{\"payload\":\"\xff\"}").unwrap_err().to_string(), "not UTF-8 from byte 13 on");
}

#[test]
fn nesting_neither_overflows_nor_is_lost() {
    let deep = [vec![b'['; 2_000_000], vec![b']'; 2_000_000]].concat();
    let line = of_payload(&deep);
    assert_eq!(parse(line.as_bytes()).unwrap().payload, Some(deep.clone()));
    // Written by others, embedded.
    let line = [b"{\"payload\":", &deep[..], b"}"].concat();
    assert_eq!(parse(&line).unwrap().payload, Some(deep));
}
