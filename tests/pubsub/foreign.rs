//! Google's own Python client: what it wrote comes out whole, and it reads what evcat wrote.

use std::path::Path;
use std::process::Command;

use evcat::broker::{Settlement, Stop};
use evcat::event::{Event, HeadersBuf, Position};
use serde_json::{Value, json};

use crate::{brokers, group, member, one, orders, publish, stage, suite};

fn client(python: &Path, emulator: &str, arguments: &[&str], stdin: &str) -> Vec<Value> {
    let mut command = Command::new(python);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pubsub/client.py");
    command.arg(script).args(arguments).env("PUBSUB_EMULATOR_HOST", emulator).env("PROJECT", "evcat");
    let said = String::from_utf8(suite::output(&mut command, stdin.as_bytes())).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn they_read_what_we_wrote_and_we_read_what_they_wrote() {
    let Some(python) = brokers::or_skip(brokers::google_python()) else { return };
    suite::run(async {
        let (fake, broker) = stage(&[]);
        let shipping = orders(&broker).await;
        let emulator = fake.address.to_string();
        let asked = json!({"data": "AP8K", "key": "A-17", "attributes": {"source": "wéb", "empty": ""}});
        let line = format!("{asked}\n");
        let told = {
            let (python, emulator) = (python.clone(), emulator.clone());
            tokio::task::spawn_blocking(move || client(&python, &emulator, &["publish", "orders"], &line))
        };
        assert!(told.await.unwrap().is_empty());
        let worker = member(&broker, shipping, Stop::Never).await;
        let theirs = one(&*worker).await;
        assert_eq!(
            (theirs.event.payload(), theirs.event.key()),
            (Some(&b"\0\xff\n"[..]), Some(&b"A-17"[..]))
        );
        let headers: Vec<_> =
            theirs.event.headers().iter().map(|(name, value)| (name, value.as_str())).collect();
        assert_eq!(headers, [(&b"empty"[..], Some("")), (b"source", Some("wéb"))]);
        worker.settle(vec![(theirs.token, Settlement::Ack)]).await.unwrap().remove(0).unwrap();
        worker.close().await.unwrap();

        broker.create_group(&group("orders", "theirs"), &evcat::broker::Start::Latest, None).await.unwrap();
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push_str("b", "2");
        let topic = "orders".into();
        let ours =
            Event::new(&topic, Some(b"A-18"), headers.as_headers(), Some(b"\0\xff"), None, Position::Unknown);
        publish(&broker, ours).await.unwrap();
        let got = tokio::task::spawn_blocking(move || {
            client(&python, &emulator, &["pull", "orders.theirs", "1"], "")
        });
        let want = json!({"data": "AP8=", "key": "A-18", "attributes": {"a": "1", "b": "2"}});
        assert_eq!(got.await.unwrap(), [want]);
    });
}
