//! Together with boto3: what it wrote comes out whole, and it reads what evcat wrote.

use serde_json::json;

use crate::account;

#[test]
fn what_boto3_wrote_comes_out_whole_and_goes_back_the_same() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    let Some(written) = site.boto3(&["publish", "t"]) else { return };
    site.until_waiting("g", written.len() as u64);
    let lines = site.run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "json"]).ok().out;
    let events = crate::json(&lines);
    assert_eq!(events.len(), written.len());
    let whole = events.iter().find(|event| event["headers"] != json!([])).unwrap();
    assert_eq!(
        whole["headers"],
        json!([
            ["bytes", {"base64": "AP8="}],
            ["int", -7, "int"],
            ["label", "{}"],
            ["number", "1.50"],
            ["text", "grün"],
        ])
    );
    assert_eq!(whole["properties"], json!({"type:label": "String.json", "type:number": "Number"}));
    assert_eq!((&whole["payload"], &whole["key"]), (&json!({"n": 1}), &json!(null)));

    // There and back: boto3 finds what it wrote.
    site.feed(&["publish", "t", "--input", "events"], &lines).ok();
    site.until_waiting("g", written.len() as u64);
    let found = site.boto3(&["read", "t-g"]).unwrap();
    assert_eq!(sorted(found), sorted(written));
}

fn sorted(all: Vec<serde_json::Value>) -> Vec<String> {
    let mut all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.sort();
    all
}

#[test]
fn boto3_reads_what_evcat_wrote() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "queue:q"]).ok();
    let publish =
        ["publish", "queue:q", "hello", "-k", "A-17", "-H", "a=1", "-H", "b=2", "--type", "order.placed"];
    site.run(&publish).ok();
    site.feed(&["publish", "queue:q", "--input", "whole", "-H", "a=1"], "a\u{1}b").ok();
    site.run(&["publish", "queue:q", "--tombstone", "-k", "A-18"]).ok();
    let Some(found) = site.boto3(&["read", "q"]) else { return };
    let by = |body: &str, name: &str| {
        let is = |message: &&serde_json::Value| {
            message["body"] == body && message["attributes"].get(name).is_some()
        };
        found.iter().find(is).unwrap_or_else(|| panic!("no {body} with {name} in {found:?}"))["attributes"]
            .clone()
    };
    let plain = by("hello", "evcat-key");
    assert_eq!(plain["evcat-key"], json!({"DataType": "String", "StringValue": "A-17"}));
    assert_eq!((&plain["a"]["StringValue"], &plain["b"]["StringValue"]), (&json!("1"), &json!("2")));
    assert_eq!(plain["ce_type"]["StringValue"], "order.placed");
    let binary = by("-", "evcat-payload");
    assert_eq!(binary["evcat-payload"], json!({"DataType": "Binary", "BinaryValue": "YQFi"}));
    let tombstone = by("-", "evcat");
    assert_eq!(tombstone["evcat"]["StringValue"], "{\"payload\":\"null\"}");
}

#[test]
fn groups_and_ids_of_a_fifo_queue_are_keys_and_ids() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "queue:q.fifo"]).ok();
    let Some(written) = site.boto3(&["send", "q.fifo"]) else { return };
    let events = site.lines(&["subscribe", "queue:q.fifo", "--no-follow", "-o", "json"]);
    assert_eq!(events.len(), written.len());
    assert!(events.iter().all(|event| event["key"] == "A-17"), "{events:?}");
    let publish = ["publish", "queue:q.fifo", "x", "-k", "A-18", "--type", "t", "--id", "order-7"];
    site.run(&publish).ok();
    let again = site.run(&[&publish[..], &["-o", "json"]].concat()).ok();
    let found = site.boto3(&["read", "q.fifo"]).unwrap();
    assert_eq!(found.len(), 1, "the second had the id of the first: {again:?}", again = again.out);
    assert_eq!(
        (&found[0]["MessageGroupId"], &found[0]["MessageDeduplicationId"]),
        (&json!("A-18"), &json!("order-7"))
    );
    let twice =
        ["publish", "queue:q.fifo", "--key-from", ".payload.a", "--id-from", ".payload.a", "-o", "json"];
    let receipts = crate::json(&site.feed(&twice, "{\"a\":\"x\"}\n{\"a\":\"x\"}\n").ok().out);
    assert_eq!(
        receipts[0]["position"], receipts[1]["position"],
        "the second is dropped by AWS: {receipts:?}"
    );
    assert_eq!(receipts[1]["duplicate"], true, "{receipts:?}");
}
