//! Together with pika: what it wrote comes out whole, and it reads what evcat wrote.

use std::process::Command;

use serde_json::{Value, json};

use crate::brokers::{or_skip, python};
use crate::rabbit::Vhost;
use crate::rig::{Home, Running};
use crate::suite::*;
use crate::{vhost, with_group};

/// Runs the script with this virtual host, queue and step.
fn pika(vhost: &Vhost, queue: &str, step: &str) -> Option<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/client.py");
    let mut command = Command::new(or_skip(python())?);
    let url = vhost.url();
    command.args([script, url.split('?').next().unwrap(), queue, step]);
    let said = String::from_utf8(output(&mut command, b"")).unwrap();
    Some(said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn evcat(vhost: &Vhost, args: &[&str], stdin: &str) -> String {
    let home = Home::new();
    let file = std::fs::File::open(home.write("stdin", stdin)).unwrap();
    let mut command = home.command(args);
    Running::new(command.env("EVCAT_BROKER", vhost.url()).stdin(file)).end().ok().out
}

#[test]
fn what_pika_wrote_comes_out_whole_and_goes_back_the_same() {
    let Some(vhost) = vhost() else { return };
    run(async { with_group(&vhost.url(), "t", "g").await });
    let Some(written) = pika(&vhost, "t", "write") else { return };
    let lines = evcat(&vhost, &["subscribe", "t", "-g", "g", "--no-follow", "-o", "json"], "");
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), written.len());
    let whole = &events[0];
    assert_eq!(whole["key"], "a.b");
    assert_eq!(whole["payload"], json!({"n": 1}));
    assert_eq!(whole["timestamp"], "2023-11-14T22:13:20Z".replace('Z', ".000Z"));
    let properties = &whole["properties"];
    for (name, value) in [
        ("content_type", "application/json"),
        ("message_id", "m-1"),
        ("correlation_id", "c-1"),
        ("type", "order.placed"),
        ("app_id", "pika"),
        ("priority", "5"),
        ("expiration", "3600000"),
        ("reply_to", "answers"),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    let header = |name: &str| {
        let all = whole["headers"].as_array().unwrap();
        all.iter().find(|header| header[0] == name).unwrap().clone()
    };
    assert_eq!(header("int"), json!(["int", -7, "int"]));
    assert_eq!(header("yes"), json!(["yes", true, "bool"]));
    assert_eq!(header("none"), json!(["none", null]));
    assert_eq!(header("table"), json!(["table", {"a": [1, "x"]}, "table"]));
    assert_eq!(header("text"), json!(["text", "grün"]));
    assert_eq!(header("bytes"), json!(["bytes", {"base64": "AP8="}]));
    assert_eq!(events[1]["payload"], "AP8=");
    assert_eq!((&events[1]["encoding"], &events[1]["key"]), (&json!("base64"), &Value::Null));

    // There and back: pika finds what it wrote.
    evcat(&vhost, &["publish", "--input", "events", "--keep-timestamp"], &lines);
    let Some(found) = pika(&vhost, "t.g", "read") else { return };
    assert_eq!(found, written);
}

#[test]
fn pika_reads_what_evcat_wrote() {
    let Some(vhost) = vhost() else { return };
    run(async { with_group(&vhost.url(), "t", "g").await });
    let publish =
        ["publish", "t", "hello", "-k", "eu.A-17", "-H", "b=1", "-H", "a=2", "--type", "order.placed"];
    evcat(&vhost, &[&publish[..], &["--timestamp", "2026-01-31T14:05:00.250Z"]].concat(), "");
    let Some(found) = pika(&vhost, "t.g", "read") else { return };
    let [message] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&message["routing_key"], &message["body"]), (&json!("eu.A-17"), &json!("68656c6c6f")));
    assert_eq!((&message["headers"]["a"], &message["headers"]["b"]), (&json!("2"), &json!("1")));
    assert_eq!(message["headers"]["cloudEvents_type"], "order.placed");
    assert_eq!(message["headers"]["timestamp_in_ms"], 1_769_868_300_250_i64);
    assert_eq!((&message["timestamp"], &message["delivery_mode"]), (&json!(1_769_868_300), &json!(2)));
}
