//! `evcat publish`: every input and every flag.

use serde_json::{Value, json};

use crate::rig::Home;

/// A canonical event without what differs from run to run.
fn plain(mut event: Value) -> Value {
    let event = event.as_object_mut().unwrap();
    ["topic", "offset", "timestamp"].iter().for_each(|name| drop(event.remove(*name)));
    json!(event)
}

#[track_caller]
fn published(args: &[&str], input: impl AsRef<[u8]>) -> Vec<Value> {
    let home = Home::new();
    home.feed(&[&["publish", "t"], args].concat(), input).ok();
    home.events("t").into_iter().map(plain).collect()
}

#[track_caller]
fn payloads(args: &[&str], input: impl AsRef<[u8]>) -> Vec<String> {
    let home = Home::new();
    home.feed(&[&["publish", "t"], args].concat(), input).ok();
    home.payloads("t")
}

#[test]
fn lines_are_events_blank_ones_are_counted_and_the_last_needs_no_end() {
    let home = Home::new();
    let ran = home.feed(&["publish", "t"], "a\n\nb\r\n \n\n\nc").ok();
    assert_eq!(home.payloads("t"), ["a", "b\r", " ", "c"], "the bytes between line breaks");
    assert_eq!(ran.err, "4 events published to t on local, 3 blank lines skipped\n");
    home.feed(&["publish", "u"], "a\nb").ok().said("").printed("");
    assert_eq!(home.feed(&["publish", "u"], "").ok().err, "", "no input is no error");
}

#[test]
fn any_bytes_are_kept() {
    let event = |encoding: &str, payload: &str| json!({"key": null, "headers": [], "encoding": encoding, "payload": payload});
    let input = b"x\0y\n\xff\xfe\n\xe2\x82\xac\nnull\n";
    let expected =
        [event("text", "x\0y"), event("base64", "//4="), event("text", "\u{20ac}"), event("text", "null")];
    assert_eq!(published(&[], input), expected);
    let long = "long ".repeat(1 << 18);
    assert_eq!(payloads(&[], format!("{long}\nshort\n")), [&long, "short"]);
}

#[test]
fn other_delimiters_whole_files_and_frames() {
    assert_eq!(payloads(&["-d", ";;"], "a;b;;c\nd;;"), ["a;b", "c\nd"]);
    assert_eq!(payloads(&["-0"], "a\0b\nc\0"), ["a", "b\nc"], "-0 is no payload");
    assert_eq!(payloads(&["--input", "whole"], "a\nb\n"), ["a\nb\n"]);
    assert_eq!(payloads(&["--input", "whole"], ""), [""], "an empty payload is one");
    let frames = b"\0\0\0\x03a\nb\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(payloads(&["--input", "frames"], frames), ["a\nb", "null", ""]);
    let tombstone = &published(&["--input", "frames"], frames)[1];
    assert_eq!(*tombstone, json!({"key": null, "headers": [], "payload": null}));
}

#[test]
fn json_values_keep_their_bytes_and_arrays_are_spread_only_when_asked() {
    let home = Home::new();
    home.feed(
        &["publish", "t", "--input", "json"],
        "{\"a\":1.0} {\"b\" : 1e2}\n[1, 2]\"x\" 12345678901234567890",
    )
    .ok();
    let raw = home.run(&["tail", "t", "--from", "beginning", "--no-follow", "-o", "raw"]).ok();
    assert_eq!(raw.out, "{\"a\":1.0}\n{\"b\" : 1e2}\n[1, 2]\n\"x\"\n12345678901234567890\n");
    let ran = home
        .feed(&["publish", "u", "--input", "json", "--each", "-o", "json"], "[{\"a\":1}, 2.50]\n{\"b\":3}");
    ran.ok().printed(
        "{\"topic\":\"u\",\"offset\":0}\n{\"topic\":\"u\",\"offset\":1}\n{\"topic\":\"u\",\"offset\":2}\n",
    );
    assert_eq!(home.payloads("u"), ["{\"a\":1}", "2.50", "{\"b\":3}"]);
}

#[test]
fn canonical_lines_come_back_as_they_were() {
    let home = Home::new();
    let line = r#"{"topic":"a","key":"k","headers":[["h","1"],["h","2"],["n",null],["b",{"base64":"/w=="}]],"encoding":"json","payload":{"x":1.0}}"#;
    let more = [
        r#"{"topic":"b","payload":"text"}"#,
        r#"{"topic":"b","payload":null}"#,
        r#"{"topic":"b","payload":[1]}"#,
    ];
    let input = format!("{line}\n{}\n", more.join("\n"));
    home.feed(&["publish", "--input", "events"], &input).ok();
    let expected: Value = serde_json::from_str(line).unwrap();
    assert_eq!(plain(home.events("a").remove(0)), plain(expected));
    assert_eq!(home.payloads("b"), ["text", "null", "[1]"]);
    assert!(home.events("b")[1].get("encoding").is_none(), "null is a tombstone");
    // A topic that is given wins.
    home.feed(&["publish", "all", "--input", "events"], &input).ok();
    assert_eq!(home.events("all").len(), 4);
    // A round trip through a file, byte for byte.
    let all = home.lines("all").join("\n") + "\n";
    home.feed(&["publish", "all2", "--input", "events", "--keep-timestamp"], &all).ok();
    assert_eq!(all.replace("\"topic\":\"all\"", "\"topic\":\"all2\""), home.lines("all2").join("\n") + "\n");
}

#[test]
fn times_are_the_brokers_unless_they_are_given_or_kept() {
    let home = Home::new();
    home.run(&["publish", "t", "x", "--timestamp", "2026-01-31T14:05:00Z"]).ok();
    let event = "{\"timestamp\":\"2020-02-03T04:05:06.789Z\",\"payload\":\"x\"}";
    home.feed(&["publish", "t", "--input", "events", "--keep-timestamp"], event).ok();
    home.feed(&["publish", "t", "--input", "events"], event).ok();
    let times = home.column("t", "timestamp");
    assert_eq!(times[..2], ["2026-01-31T14:05:00.000Z", "2020-02-03T04:05:06.789Z"]);
    assert!(times[2] > times[0], "{times:?}");
}

#[test]
fn keys_by_flag_by_delimiter_and_by_expression() {
    let home = Home::new();
    home.feed(&["publish", "t", "-k", "K"], "a\nb\n").ok();
    assert_eq!(home.column("t", "key"), ["K", "K"]);
    home.feed(&["publish", "u", "-K", "::"], "a::1\nb::2::3\n::4\n").ok();
    assert_eq!(
        (home.column("u", "key"), home.payloads("u")),
        (["a", "b", ""].map(str::to_owned).to_vec(), ["1", "2::3", "4"].map(str::to_owned).to_vec())
    );
    let ran = home.feed(
        &["publish", "v", "--key-from", ".payload.k", "--on-error", "continue"],
        "{\"k\":\"a\"}\n{\"k\":7}\n{\"k\":null}\nx\n",
    );
    let ran = ran.exit(6).said("error: 2 of 4 events were not delivered to v on local");
    let ran = ran.said("line 3  --key-from: the result is null; '// empty' leaves it as it is");
    ran.said("line 4  --key-from: cannot index");
    assert_eq!(home.column("v", "key"), ["a", "7"]);
}

#[test]
fn headers_keep_order_and_duplicates_and_a_type_makes_a_cloudevent() {
    let home = Home::new();
    let args = ["-H", "b=1", "-H", "a=2", "-H", "b=", "-H", "c=x=y"];
    home.run(&[&["publish", "t", "p"], &args[..]].concat()).ok();
    assert_eq!(home.events("t")[0]["headers"], json!([["b", "1"], ["a", "2"], ["b", ""], ["c", "x=y"]]));
    let cloud = ["--type", "order.placed", "--source", "/web", "--subject", "A-17", "--id", "one"];
    let ran = home.run(&[&["publish", "u", "p", "-o", "json"], &cloud[..]].concat()).ok();
    ran.printed("{\"topic\":\"u\",\"offset\":0,\"id\":\"one\"}\n");
    let headers = home.events("u").remove(0)["headers"].clone();
    let of = |name: &str| headers.as_array().unwrap().iter().find(|pair| pair[0] == name).unwrap()[1].clone();
    assert_eq!([of("ce_specversion"), of("ce_type"), of("ce_source")], ["1.0", "order.placed", "/web"]);
    assert_eq!([of("ce_subject"), of("ce_id")], ["A-17", "one"]);
    let ids = home.feed(&["publish", "v", "--type", "t", "-o", "json"], "a\nb\n").ok().out;
    let ids: Vec<Value> = ids.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ids[0]["id"].as_str().unwrap().len() == 36 && ids[0]["id"] != ids[1]["id"], "{ids:?}");
}

#[test]
fn the_trace_of_the_environment_goes_along() {
    let home = Home::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let status =
        home.command(&["publish", "t", "x"]).env("TRACEPARENT", parent).env("TRACESTATE", "a=b").status();
    assert!(status.unwrap().success());
    assert_eq!(home.events("t")[0]["headers"], json!([["traceparent", parent], ["tracestate", "a=b"]]));
}

#[test]
fn expressions_choose_topic_and_id_and_change_the_event() {
    let home = Home::new();
    let input = "{\"t\":\"a\",\"id\":\"1\",\"n\":1.50}\n{\"t\":\"b\",\"id\":\"2\",\"n\":2}\n";
    let ran = home
        .feed(&["publish", "--topic-from", ".payload.t", "--id-from", ".payload.id", "-o", "json"], input);
    ran.ok().printed(
        "{\"topic\":\"a\",\"offset\":0,\"id\":\"1\"}\n{\"topic\":\"b\",\"offset\":0,\"id\":\"2\"}\n",
    );
    home.feed(&["publish", "c", "--topic-from", ".payload.t"], input).ok();
    assert_eq!(home.events("c").len(), 2, "the one that is given wins");
    home.feed(&["publish", "d", "--transform", ".payload.t = \"z\""], input).ok();
    assert_eq!(
        home.payloads("d"),
        ["{\"t\":\"z\",\"id\":\"1\",\"n\":1.50}", "{\"t\":\"z\",\"id\":\"2\",\"n\":2}"]
    );
    let ran = home.feed(&["publish", "e", "--transform", "select(.payload.n < 2) | ., ."], input).ok();
    assert_eq!(home.payloads("e").len(), 2, "several results are several events, none is none");
    assert_eq!(ran.err, "2 events published to e on local, 1 left out by --transform\n");
}

#[test]
fn a_tombstone_an_empty_payload_and_a_dash() {
    let home = Home::new();
    home.run(&["publish", "t", "-k", "A-17", "--tombstone"]).ok();
    home.run(&["publish", "t", ""]).ok();
    home.run(&["publish", "t", "--", "-5"]).ok();
    home.feed(&["publish", "t", "-"], "from stdin\n").ok();
    assert_eq!(home.payloads("t"), ["null", "", "-5", "from stdin"]);
    assert_eq!(home.column("t", "key")[0], "A-17");
}

#[test]
fn stdin_is_not_read_where_a_payload_is_given() {
    let home = Home::new();
    home.feed(&["publish", "t", "given"], "not this\n").ok();
    home.feed(&["publish", "t", "-k", "k", "--tombstone"], "nor this\n").ok();
    assert_eq!(home.payloads("t"), ["given", "null"]);
    // In a loop over lines it must not eat the loop's input.
    home.bash("printf '%s\\n' a b c | while read -r x; do evcat publish loop \"$x\"; done").ok();
    assert_eq!(home.payloads("loop"), ["a", "b", "c"]);
    let ran = home.feed(&["publish", "t", "x", "--input", "json"], "").exit(2);
    ran.said("--input, -d and -0: stdin is not read, because a payload was given");
}

#[test]
fn files_are_a_payload_each_unless_said_otherwise() {
    let home = Home::new();
    home.write("one", "a\nb\n");
    home.write("two", "c");
    home.run(&["publish", "t", "-f", "one", "two", "-o", "human"]).ok().printed("t  0\nt  1\n");
    assert_eq!(home.payloads("t"), ["a\nb\n", "c"]);
    home.run(&["publish", "u", "--input", "lines", "-f", "one", "-f", "two"]).ok();
    assert_eq!(home.payloads("u"), ["a", "b", "c"], "one file's end ends its last line");
    // All of them are opened before the first is read.
    home.run(&["publish", "v", "-f", "one", "gone"]).exit(2).said("-f gone: No such file");
    home.run(&["tail", "v", "--no-follow"]).exit(2);
    let ran = home.run(&["publish", "w", "--input", "json", "-f", "one", "two", "--on-error", "continue"]);
    let ran = ran.exit(1).said("  one line 1  not JSON: ").said("  one line 2  ");
    ran.said("  two line 1  not JSON: ");
}

#[test]
fn repeat_and_count_and_rate() {
    let home = Home::new();
    home.run(&["publish", "t", "x", "--repeat", "3"]).ok();
    home.feed(&["publish", "t", "--repeat", "2"], "a\nb\n").ok();
    assert_eq!(home.payloads("t"), ["x", "x", "x", "a", "a", "b", "b"]);
    home.feed(&["publish", "u", "-c", "2"], "a\nb\nc\n").ok();
    home.feed(&["publish", "u", "-c", "3"], "d\ne\n")
        .exit(3)
        .said("warning: the input ended after 2 of 3 events");
    assert_eq!(home.payloads("u"), ["a", "b", "d", "e"], "what was read was published");
    // What failed wins over what was short.
    home.feed(&["publish", "u", "-c", "3", "-K:", "--on-error", "continue"], "d:1\ne\n").exit(6);
    let begun = std::time::Instant::now();
    home.feed(&["publish", "v", "--rate", "20/s"], "a\nb\nc\nd\ne\n").ok();
    assert!(begun.elapsed().as_millis() >= 190, "five events at 20/s take four pauses");
}

#[test]
fn an_id_seen_before_is_acknowledged_and_not_stored_where_the_topic_says_so() {
    let home = Home::new();
    home.run(&["topics", "create", "t", "--dedup", "1h"]).ok();
    home.run(&["publish", "t", "a", "--id", "1", "-o", "json"])
        .ok()
        .printed("{\"topic\":\"t\",\"offset\":0,\"id\":\"1\"}\n");
    let again = home.run(&["publish", "t", "b", "--id", "1", "-o", "json"]).ok();
    let again = again.printed("{\"topic\":\"t\",\"offset\":0,\"id\":\"1\",\"duplicate\":true}\n");
    again.said("1 event published to t on local, 1 of them a duplicate");
    home.feed(&["publish", "t", "--id-from", ".payload", "-o", "human"], "1\n2\n2\n")
        .ok()
        .printed("t  0  1  duplicate\nt  1  2\nt  1  2  duplicate\n");
    assert_eq!(home.payloads("t"), ["a", "2"]);
    home.feed(&["publish", "plain", "--id-from", ".payload"], "1\n1\n").ok();
    assert_eq!(home.events("plain").len(), 2, "other topics take everything");
}

#[test]
fn a_dry_run_reads_and_checks_and_publishes_nothing() {
    let home = Home::new();
    let ran = home.feed(&["publish", "t", "--dry-run", "-o", "json", "-k", "k"], "1\n2\n").ok();
    let ran = ran.said("nothing was published: 2 events would go to t on local");
    let event = |n| json!({"topic": "t", "key": "k", "headers": [], "encoding": "json", "payload": n});
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [event(1), event(2)]);
    home.feed(&["publish", "t", "--dry-run", "-K:"], "no key\n").exit(1).said("line 1: there is no ':'");
    home.run(&["tail", "t", "--no-follow"]).exit(2).said("does not exist");
}

#[test]
fn a_line_on_an_open_stdin_is_seen_by_a_waiting_tail_before_it_is_closed() {
    let home = Home::new();
    let tail = home.start(&["tail", "t", "-o", "raw"]);
    tail.says("waiting for it");
    let mut publish = home.start(&["publish", "t"]);
    for word in ["one", "two", "three"] {
        publish.write(&format!("{word}\n"));
        tail.prints(&format!("{word}\n"));
    }
    // Half a line is none yet, and is one at the end.
    publish.write("fo");
    publish.write("ur");
    publish.close();
    publish.end().ok();
    tail.prints("three\nfour\n");
}

#[test]
fn interrupted_it_says_what_was_published_and_ends_by_the_signal() {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let home = Home::new();
        let mut publish = home.start(&["publish", "t", "-o", "human"]);
        publish.write("one\n");
        publish.prints("t  0\n");
        publish.signal(signal);
        publish.end().exit(code).said("stopped: 1 event published to t on local");
        assert_eq!(home.payloads("t"), ["one"]);
    }
}
