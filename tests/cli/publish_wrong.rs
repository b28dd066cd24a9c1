//! `evcat publish`: every way to be wrong is named, and nothing is lost.

use serde_json::{Value, json};

use crate::rig::Home;

/// What is given, the exit code, and the words that must be said.
type Wrong = (&'static [&'static str], i32, &'static str);

#[test]
fn what_cannot_be_read_stops_it_there_or_is_kept_and_goes_again_when_mended() {
    let home = Home::new();
    let input = "a:1\nno key\nb:2\n";
    let ran = home.feed(&["publish", "stop", "-K", ":"], input).exit(6);
    let ran = ran.said("error: 1 of 2 events was not delivered to stop on local\n  line 2  there is no ':'");
    ran.said(
        "stopped: what was published stands, also what was on its way behind it, and nothing more is sent",
    );
    assert_eq!(home.payloads("stop"), ["1"]);

    let args = ["publish", "t", "-K", ":", "--on-error", "continue", "--failed-to", "failed.jsonl"];
    let ran = home.feed(&args, input).exit(6).said("error: 1 of 3 events was not delivered to t on local");
    ran.said("hint: it is in failed.jsonl; after a repair: evcat publish --input events < failed.jsonl");
    assert_eq!(home.payloads("t"), ["1", "2"]);
    let kept: Value = serde_json::from_str(&home.read("failed.jsonl")).unwrap();
    assert_eq!(
        (&kept["topic"], &kept["payload"], &kept["failure"]["at"]),
        (&json!("t"), &json!("no key"), &json!("line 2"))
    );

    // Not repaired, it is refused; repaired, it goes.
    let failed = home.read("failed.jsonl");
    home.feed(&["publish", "--input", "events"], &failed).exit(1).said("mend it and take \"failure\" out");
    let mut mended = kept.clone();
    mended.as_object_mut().unwrap().remove("failure");
    mended["key"] = json!("c");
    home.feed(&["publish", "--input", "events"], format!("{mended}\n")).ok();
    assert_eq!(
        (home.payloads("t"), home.column("t", "key")),
        (["1", "2", "no key"].map(str::to_owned).to_vec(), ["a", "b", "c"].map(str::to_owned).to_vec())
    );
}

#[test]
fn broken_json_among_good_is_named_and_the_good_goes_on() {
    let home = Home::new();
    let input = (1..=1000).map(|n| match n {
        17 => "{\"n\":17".to_owned() + "\n",
        210 => "{n:210}\n".to_owned(),
        n => format!("{{\"n\":{n}}}\n"),
    });
    let args = ["publish", "t", "--input", "json", "--on-error", "continue", "--failed-to", "f"];
    let ran = home.feed(&args, input.collect::<String>()).exit(6);
    assert!(
        ran.err.contains("\n  line 17   not JSON: ") && ran.err.contains("\n  line 210  not JSON: "),
        "{}",
        ran.err
    );
    let kept: Vec<Value> = home.read("f").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<u64> =
        home.events("t").iter().map(|event| event["payload"]["n"].as_u64().unwrap()).collect();
    let lost = (1..=1000).filter(|n| !seen.contains(n)).count();
    let text: String = kept.iter().map(|line| line["payload"].as_str().unwrap_or_default()).collect();
    assert!(kept.len() == 2 && lost <= 3 && text.contains("17") && text.contains("210"), "{kept:?} {lost}");
    assert_eq!(seen.len() + lost, 1000);
}

#[test]
fn a_truncated_frame_and_a_broken_line_of_events_are_named() {
    let home = Home::new();
    let ran = home.feed(&["publish", "t", "--input", "frames"], b"\0\0\0\x02ab\0\0\0\x05abc").exit(6);
    ran.said("frame 2  at byte 6: the input ends 2 bytes too early");
    assert_eq!(home.payloads("t"), ["ab"]);
    let input = "{\"payload\":\"ok\"}\n{\"payload\":\"x\",\"key\":5}\nxx\n{\"topic\":\"t\"}\n";
    let ran = home.feed(&["publish", "u", "--input", "events", "--on-error", "continue"], input).exit(6);
    let ran = ran.said("line 2  \"key\": must be a string, null or {\"base64\": \"...\"}").said("line 3  ");
    ran.said("line 4  \"payload\": is missing");
    assert_eq!(home.payloads("u"), ["ok"]);
    let ran = home.feed(&["publish", "--input", "events"], "{\"payload\":\"x\"}\n").exit(1);
    ran.said("line 1: \"topic\": is missing, and no TOPIC was given");
}

#[test]
fn a_schema_refuses_with_path_and_reason() {
    let home = Home::new();
    home.write(
        "order.json",
        r#"{"type":"object","required":["total"],"properties":{"total":{"type":"number"}}}"#,
    );
    let input = "{\"total\":1}\n{\"total\":\"ten\"}\n{}\nnope\n{\"total\":2}\n";
    let args = ["publish", "t", "--schema", "order.json", "--on-error", "continue", "--failed-to", "f"];
    let ran =
        home.feed(&args, input).exit(6).said("line 2  not valid for order.json: /total: \"ten\" is not");
    let ran = ran.said("line 3  not valid for order.json: ");
    ran.said("line 4  not valid for order.json: not JSON");
    assert_eq!(home.payloads("t"), ["{\"total\":1}", "{\"total\":2}"]);
    let kept: Vec<Value> = home.read("f").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept[0]["payload"], json!({"total": "ten"}));
    // These are events, and go again as they are; a second failure is added to the file.
    home.feed(&args[..4], "{}\n").exit(1).said("stopped: nothing was published");
    home.feed(&[&args[..], &["--input", "events"]].concat(), home.read("f")).exit(1);
    assert_eq!(home.read("f").lines().count(), 6);
    home.feed(&["publish", "again", "--input", "events"], home.read("f")).ok();
    assert_eq!(home.events("again").len(), 6);
    home.run(&["publish", "t", "{}", "--schema", "gone.json"])
        .exit(2)
        .said("--schema gone.json: No such file");
}

#[test]
fn what_was_typed_wrong_names_the_flag_and_publishes_nothing() {
    let home = Home::new();
    home.write("f", "x\n");
    let wrong: &[Wrong] = &[
        (&[], 2, "publish: TOPIC is missing"),
        (&["", "x"], 2, "publish: TOPIC is empty"),
        (&["t", "x", "-H", "nope"], 2, "-H nope: a header is NAME=VALUE"),
        (&["t", "x", "-k", "a", "-K", ":"], 2, "cannot be used with '--key-delimiter"),
        (&["t", "-K", ""], 2, "-K: an empty delimiter"),
        (&["t", "-K", ":", "--input", "json"], 2, "-K: cuts the key off lines"),
        (&["t", "-d", ""], 2, "-d: an empty delimiter"),
        (&["t", "-d", ",", "--input", "json"], 2, "cannot be used with"),
        (&["t", "--each"], 2, "--each: needs --input json"),
        (&["t", "--input", "yaml"], 2, "[possible values: lines, whole, json, events, frames]"),
        (&["t", "x", "--partition", "1"], 2, "--partition: local cannot"),
        (&["t", "--input", "events", "--keep-partition"], 2, "--keep-partition: local cannot"),
        (&["t", "x", "--keep-timestamp"], 2, "--keep-timestamp: needs --input events"),
        (&["t", "x", "--delay", "1s"], 2, "--delay: local cannot"),
        (&["t", "x", "--delay", "5"], 2, "'--delay <DUR>'"),
        (&["t", "x", "--timestamp", "nope"], 2, "'--timestamp <TIME>'"),
        (&["t", "x", "--timestamp", "123"], 2, "'123' for '--timestamp <TIME>': write 2026-"),
        (&["t", "x", "--rate", "5"], 2, "'--rate <N/s>'"),
        (&["t", "x", "--repeat", "0"], 2, "'--repeat <N>'"),
        (&["t", "x", "-c", "0"], 2, "'--count <N>'"),
        (&["t", "x", "--on-error", "pray"], 2, "[possible values: stop, continue]"),
        (&["t", "x", "--transform", ".payload."], 2, "--transform: the expression ends"),
        (&["t", "x", "--key-from", "nope("], 2, "--key-from: "),
        (&["t", "x", "--id", ""], 2, "--id: is empty"),
        (&["t", "x", "--id", "1", "--repeat", "2"], 2, "--id: names one event"),
        (&["t", "x", "--source", "s"], 2, "--type"),
        (&["t", "x", "--failed-to", "no/such/dir"], 2, "--failed-to no/such/dir: "),
        (&["t", "x", "-f", "f"], 2, "cannot be used with"),
        (&["t", "--input", "lines", "-f", "f", "--failed-to", "f"], 2, "--failed-to f: "),
        (&["t", "x", "-5"], 2, "unexpected argument '-5'"),
        (&["t", "x", "--key-from", "error"], 1, "--key-from: "),
        (&["t", "x", "--transform", "def f: f; f"], 1, "--transform"),
    ];
    for (args, code, words) in wrong {
        let ran = home.feed(&[&["publish"], *args].concat(), "line\n");
        assert!(ran.code == *code && ran.err.starts_with("error: "), "{args:?}: {} {}", ran.code, ran.err);
        assert!(ran.err.contains(words) && ran.out.is_empty(), "{args:?}: {}", ran.err);
    }
    home.run(&["tail", "t", "--no-follow"]).exit(2).said("topic 't' does not exist");
}
