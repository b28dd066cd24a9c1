//! The same pieces, however the input arrives.

use proptest::prelude::*;

use super::*;

/// The pieces as text, fed in steps of so many bytes.
fn fed(format: &Format, input: &[u8], step: usize) -> Vec<(u64, String)> {
    let (mut splitter, mut out, mut buffer) = (Splitter::new(format), Vec::new(), Vec::new());
    let mut steps = input.chunks(step.max(1));
    loop {
        let next = steps.next();
        buffer.extend_from_slice(next.unwrap_or_default());
        let mut pieces = Vec::new();
        let used = splitter.take(&buffer, next.is_none(), &mut pieces);
        let lost = splitter.is_lost(&pieces);
        out.extend(pieces.into_iter().map(|piece| {
            let text = String::from_utf8_lossy(&buffer[piece.range]).into_owned();
            let text = match piece.what {
                What::Bytes => text,
                What::Null => "(null)".into(),
                What::Blank => "(blank)".into(),
                What::Broken(why) => format!("(broken: {why}) {text}"),
            };
            (piece.number, text)
        }));
        buffer.drain(..used);
        if lost || next.is_none() && (buffer.is_empty() || used == 0) {
            return out;
        }
    }
}

fn texts(format: &Format, input: &str) -> Vec<String> {
    let all = fed(format, input.as_bytes(), usize::MAX);
    for step in 1..5 {
        assert_eq!(fed(format, input.as_bytes(), step), all, "{input:?} in steps of {step}");
    }
    all.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn lines() {
    assert_eq!(texts(&Format::Lines, ""), [""; 0]);
    assert_eq!(texts(&Format::Lines, "a\nb\n"), ["a", "b"]);
    assert_eq!(texts(&Format::Lines, "a\nb"), ["a", "b"], "the last line needs no newline");
    assert_eq!(texts(&Format::Lines, "a\n\nb\n\n"), ["a", "(blank)", "b", "(blank)"]);
    assert_eq!(texts(&Format::Lines, "a\r\nb\0\n"), ["a\r", "b\0"], "bytes stay as they are");
    let numbers: Vec<_> = fed(&Format::Lines, b"a\n\nb", 2).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn delimiters() {
    let ends = Format::Delimiter(b"--".to_vec());
    assert_eq!(texts(&ends, "a--b---c"), ["a", "b", "-c"]);
    assert_eq!(texts(&ends, "a-b\n--"), ["a-b\n"]);
    assert_eq!(texts(&Format::Delimiter(vec![0]), "a\0\0b\n"), ["a", "(blank)", "b\n"]);
}

#[test]
fn whole() {
    assert_eq!(texts(&Format::Whole, "a\n\nb\n"), ["a\n\nb\n"]);
    assert_eq!(texts(&Format::Whole, ""), [""], "an empty file is an empty payload");
}

const JSON: Format = Format::Json { each: false };

#[test]
fn json_values_keep_their_bytes() {
    assert_eq!(
        texts(&JSON, "{\"a\": 1.0}\n\n [1,\n 2] \"x\" 12 null"),
        ["{\"a\": 1.0}", "[1,\n 2]", "\"x\"", "12", "null"]
    );
    assert_eq!(texts(&JSON, " \n "), [""; 0]);
    let numbers: Vec<_> = fed(&JSON, b"\n1\n[2,\n3] 4", 1).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [2, 3, 4]);
}

#[test]
fn a_broken_value_costs_its_line_and_no_more() {
    assert_eq!(
        texts(&JSON, "{\"a\":1}\n{\"b\":\n{\"c\":3}\n{\"d\" 4}\n{\"e\":5}\n"),
        [
            "{\"a\":1}",
            "(broken: not JSON: '{' at line 4, column 1) {\"b\":",
            "{\"c\":3}",
            "(broken: not JSON: '4' at byte 6 of the value) {\"d\" 4}",
            "{\"e\":5}"
        ]
    );
    assert_eq!(
        texts(&JSON, "{\"a\":1\n{\"b\":2}\n"),
        ["(broken: not JSON: '{' at line 2, column 1) {\"a\":1", "{\"b\":2}"]
    );
    assert_eq!(texts(&JSON, "oops\n1\n"), ["(broken: not JSON: 'o' at byte 1 of the value) oops", "1"]);
    assert_eq!(
        texts(&JSON, "1\n{\"a\":"),
        ["1", "(broken: not JSON: the input ends within the value) {\"a\":"]
    );
    let pretty = "{\n  \"a\" 1,\n  \"b\": [\n    2\n  ]\n}\n{\"c\":3}\n";
    assert_eq!(texts(&JSON, pretty).len(), 2, "the inside of a broken object is not published");
}

#[test]
fn each_spreads_an_array() {
    let each = Format::Json { each: true };
    assert_eq!(
        texts(&each, "[1, {\"a\":[2]} ,\n\"x\"] [] {\"b\":[]}"),
        ["1", "{\"a\":[2]}", "\"x\"", "{\"b\":[]}"]
    );
    assert!(texts(&each, "[1,\n2,")[2].contains("the input ends within the array"));
    assert!(texts(&each, "[1 2]")[1].contains("where ',' or ']' should be"));
}

#[test]
fn frames() {
    let mut stream = Vec::new();
    for payload in [Some(&b"abc"[..]), None, Some(b"")] {
        crate::event::frames::write(&mut stream, payload);
    }
    let all = fed(&Format::Frames, &stream, 3);
    assert_eq!(all.iter().map(|(_, text)| &text[..]).collect::<Vec<_>>(), ["abc", "(null)", ""]);
    let cut = fed(&Format::Frames, &stream[..stream.len() - 1], 3);
    assert!(cut[2].1.contains(": at byte 11: the input ends 1 byte too early"), "{cut:?}");
    let foreign = fed(&Format::Frames, b"\xff\xff\xff\x00 and more", 100);
    assert_eq!(foreign.len(), 1);
}

proptest! {
    #[test]
    fn pieces_do_not_depend_on_how_the_input_arrives(
        input in "[a-c{}\\[\\]\",:1\\n -]{0,40}",
        step in 1usize..9,
    ) {
        for format in [
            Format::Lines,
            Format::Delimiter(b"ab".to_vec()),
            Format::Whole,
            JSON,
            Format::Json { each: true },
        ] {
            let all = fed(&format, input.as_bytes(), usize::MAX);
            prop_assert_eq!(fed(&format, input.as_bytes(), step), all, "{:?}", format);
        }
    }
}
