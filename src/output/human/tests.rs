use super::*;
use crate::event::{Batch, HeadersBuf, Name, Position};

const NOW: Millis = 1_795_269_731_532; // 2026-11-21T14:02:11.532Z

fn human(style: Style, pretty: bool) -> Human {
    Human { zone: TimeZone::UTC, ..Human::new(style, pretty, Arc::new(|| NOW)) }
}

fn event(offset: i64, at: Millis, key: Option<&[u8]>, kind: Option<&str>, payload: Option<&[u8]>) -> Event {
    let mut headers = HeadersBuf::default();
    if let Some(kind) = kind {
        headers.push_str("ce_type", kind);
    }
    let mut batch = Batch::default();
    let topic = Name::from("orders");
    batch.push(&topic, key, headers.as_headers(), payload, Some(at), Position::Offset(offset));
    batch.finish()[0].clone()
}

fn printed(human: &mut Human, events: &[Event]) -> String {
    let mut out = Vec::new();
    human.prepare(events);
    events.iter().for_each(|event| human.event(&mut out, event));
    String::from_utf8(out).unwrap()
}

const TERMINAL: Style = Style { color: false, terminal: true };

#[test]
fn lines_look_as_on_the_model_screen() {
    let mut avro = vec![0, 0, 0, 0, 42, 12];
    avro.resize(312, 0xff);
    let events = [
        event(41, NOW, Some(b"A-17"), Some("order.placed"), Some(br#"{"order":"A-17","total":42.5}"#)),
        event(43, NOW + 2338, Some(b"A-17"), None, None),
        event(44, NOW + 9000, None, None, Some(&avro)),
    ];
    assert_eq!(
        printed(&mut human(TERMINAL, false), &events),
        "14:02:11.532  41  A-17  order.placed  {\"order\":\"A-17\",\"total\":42.5}\n\
         14:02:13.870  43  A-17  -             (tombstone)\n\
         14:02:20.532  44  -     -             (binary, 312 B, schema id 42) 00 00 00 00 2a 0c …\n"
    );
    let mut several = human(TERMINAL, false);
    several.topics = true;
    assert!(printed(&mut several, &events).starts_with("14:02:11.532  orders  41  A-17  order.placed  {"));
}

#[test]
fn what_acts_is_escaped_on_a_terminal_only() {
    let events = [event(1, NOW, Some(b"\x1b[2J"), Some("a\u{202e}b"), Some(b"x\x07\ny"))];
    assert_eq!(
        printed(&mut human(TERMINAL, false), &events),
        "14:02:11.532  1  \\x1b[2J  a\\u{202e}b  x\\x07\\ny\n"
    );
    assert_eq!(
        printed(&mut human(Style::default(), false), &events),
        "14:02:11.532  1  \x1b[2J  a\u{202e}b  x\x07\ny\n"
    );
}

#[test]
fn a_long_payload_is_cut_on_a_terminal_only() {
    let long = "é".repeat(1 << 20);
    let events = [event(1, NOW, None, None, Some(long.as_bytes()))];
    let shown = printed(&mut human(TERMINAL, false), &events);
    assert!(shown.len() < 5000 && shown.ends_with("é… 2.0 MiB more, -o raw shows all\n"), "{}", shown.len());
    assert!(printed(&mut human(Style::default(), false), &events).len() > 2 << 20);
}

#[test]
fn odd_keys_payloads_and_dates() {
    let mut human = human(TERMINAL, false);
    let framed = [&[0, 0, 0, 0, 7][..], b"{\"a\":1}"].concat();
    let events = [
        event(1, NOW - 86_400_000, Some(b""), None, Some(b"")),
        event(2, NOW, Some(b"\xff\x00"), None, Some(b"\xff")),
        event(3, NOW, None, None, Some(&framed)),
        event(4, NOW, None, None, Some(b"{\n  \"a\": 1\n}")),
        event(5, Millis::MAX, None, None, Some(b"a\0b")),
    ];
    let lines = printed(&mut human, &events);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0].trim_end(), "2026-11-20 14:02:11.532  1  \"\"      -");
    assert_eq!(lines[1], "14:02:11.532             2  0xff00  -  (binary, 1 B) ff");
    assert!(lines[2].ends_with("(12 B, schema id 7) {\"a\":1}"));
    assert!(lines[3].ends_with("  {\"a\":1}"), "JSON on several lines is shown on one");
    assert!(lines[4].ends_with("(binary, 3 B) 61 00 62"));
}

#[test]
fn pretty_shows_headers_and_lays_json_out() {
    let events = [event(41, NOW, Some(b"k"), Some("t"), Some(br#"{"a":[1.50]}"#))];
    assert_eq!(
        printed(&mut human(TERMINAL, true), &events),
        "14:02:11.532  41  k  t\n  ce_type = t\n  {\n    \"a\": [\n      1.50\n    ]\n  }\n"
    );
}
