//! Limits and refusals, before anything is sent and when a service says no.

use crate::{account, site};

#[test]
fn what_is_too_large_is_refused_before_it_is_sent_with_the_limit() {
    let Some(site) = account() else { return };
    site.run(&["topics", "create", "t"]).ok();
    let large = "x".repeat(262_001);
    site.feed(&["publish", "t", "--input", "whole"], &large).exit(1).said("262000 are allowed");
    site.feed(&["publish", "t", "--input", "whole"], &large[..262_000]).ok();
    let key = "k".repeat(1000);
    site.feed(&["publish", "t", "--input", "whole", "-k", &key], &large[..262_000])
        .exit(1)
        .said("at most 262144");
    site.run(&["topics", "create", "queue:q"]).ok();
    site.feed(&["publish", "queue:q", "--input", "whole"], &"x".repeat(1_048_432)).ok();
}

#[test]
fn what_is_not_there_is_named_and_a_name_that_cannot_be_is_refused_with_the_rule() {
    let Some(site) = account() else { return };
    site.run(&["publish", "nowhere", "x"]).exit(2).said("nowhere");
    site.run(&["publish", "queue:nowhere", "x"]).exit(2).said("nowhere");
    site.run(&["topics", "create", "orders.eu"]).exit(2).said("letters, digits, '-' and '_'");
    site.run(&["topics", "create", &"n".repeat(61)]).exit(2).said("60 leave room");
    site.run(&["publish", "arn:aws:sns:eu-west-1:123456789012:t", "x"]).exit(2).said("eu-west-1");
    site.run(&["replay", "nowhere", "--from", "beginning"]).exit(2).said("read history");
}

#[test]
fn without_credentials_the_chain_is_named() {
    let Some(site) = account() else { return };
    let (_, endpoint) = site.url.split_once("?endpoint=").unwrap();
    let url = format!("aws://us-east-1?endpoint={endpoint}");
    let mut command = site.command(&["publish", "t", "x"]);
    // Else it asks the machine that it is on, which is somebody else's business in a test.
    command.env("EVCAT_BROKER", url).env("AWS_EC2_METADATA_DISABLED", "true");
    let ran = crate::rig::Running::new(&mut command).end().exit(5);
    assert!(
        ran.err.contains("no credentials were found") && ran.err.contains("AWS_ACCESS_KEY_ID"),
        "{}",
        ran.err
    );
    let ran = crate::rig::Running::new(
        command.env("AWS_ACCESS_KEY_ID", "123456789012").env("AWS_SECRET_ACCESS_KEY", "s3cret"),
    );
    let ran = ran.end().exit(2).said("t");
    assert!(!ran.err.contains("s3cret"));
}

#[test]
fn nobody_there_is_told_as_such() {
    let home = crate::rig::Home::new();
    let mut command = home.command(&["publish", "t", "x", "--timeout", "2s"]);
    let url = "aws://a:b@us-east-1?endpoint=http://127.0.0.1:1";
    crate::rig::Running::new(command.env("EVCAT_BROKER", url)).end().exit(4).said("refused");
}

/// ElasticMQ has one account for all, so the queue has a name of its own; and it keeps AWS's limits more strictly than
/// the others.
#[test]
fn a_strict_queue_takes_all_that_we_call_a_message() {
    let Some(site) = site("strict") else { return };
    let queue = format!("queue:{}", crate::suite::unique("q"));
    site.run(&["topics", "create", &queue]).ok();
    let lines: String = (0..25).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    site.feed(&["publish", &queue, "--key-from", ".payload.n", "-H", "b=2", "-H", "a=1"], &lines).ok();
    let many: Vec<String> = (0..12).flat_map(|n| ["-H".to_owned(), format!("h{n}=v")]).collect();
    let mut publish = vec!["publish", &queue, "--input", "whole"];
    publish.extend(many.iter().map(String::as_str));
    site.feed(&publish, "\u{1}\u{7f}\u{0}").ok();
    site.run(&["publish", &queue, "--tombstone", "-k", "gone"]).ok();
    site.run(&["publish", &queue, "later", "--delay", "16m"]).exit(2);
    let events = site.lines(&["subscribe", &queue, "--no-follow", "-o", "json"]);
    assert_eq!(events.len(), 27);
    assert!(events.iter().any(|event| event["payload"] == serde_json::Value::Null && event["key"] == "gone"));
    let long = events.iter().find(|event| event["headers"].as_array().unwrap().len() == 12).unwrap();
    assert_eq!((&long["payload"], &long["headers"][11][0]), (&"\u{1}\u{7f}\u{0}".into(), &"h11".into()));
    site.run(&["topics", "delete", &queue, "--yes"]).ok();
}
