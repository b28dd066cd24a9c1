//! What AWS says no to, or not now: no stand-in does it, so that somebody between them and evcat does.

use std::collections::HashMap;
use std::time::Duration;

use evcat::broker::{Kind, Received, STORED, Settlement, Source, Stop, SubscribeOptions, Subscription};
use serde_json::json;

use crate::between::{Between, Instead};
use crate::{Site, account};

/// An account, and the same through somebody who may answer in its place.
fn watched() -> Option<(Site, Site, Between)> {
    let site = account()?;
    let (url, endpoint) = site.url.split_once("?endpoint=").unwrap();
    let between = Between::new(endpoint.strip_prefix("http://").unwrap());
    let watched =
        Site { home: crate::rig::Home::new(), url: format!("{url}?endpoint={}", between.endpoint()) };
    Some((site, watched, between))
}

#[test]
fn what_is_asked_for_too_fast_waits_and_says_so_once() {
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    let lines: String = (0..200).map(|n| format!("{n}\n")).collect();
    between.next("PublishBatch", 3, Instead::Say(400, "Throttling", "Rate exceeded"));
    let ran = watched.feed(&["publish", "t"], &lines).ok();
    assert_eq!(ran.err.matches("asked for slower requests").count(), 1, "{}", ran.err);
    assert!(between.asked("PublishBatch") >= 20 + 3);
    site.until_waiting("g", 200);
    between.next("ReceiveMessage", 2, Instead::Say(403, "RequestThrottled", "Too many requests"));
    between.next("DeleteMessageBatch", 2, Instead::Say(400, "ThrottlingException", "Rate exceeded"));
    let ran = watched.run(&["subscribe", "t", "-g", "g", "--no-follow", "-o", "raw"]).ok();
    assert_eq!(ran.out.lines().count(), 200, "each once");
    assert_eq!(ran.err.matches("asked for slower requests").count(), 1, "{}", ran.err);
    assert_eq!(site.lag("t"), 0);
}

#[test]
fn what_is_never_let_through_ends_when_the_patience_does() {
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "t"]).ok();
    between.next("PublishBatch", usize::MAX, Instead::Say(400, "Throttling", "Rate exceeded"));
    let ran = watched.run(&["publish", "t", "x", "--timeout", "2s"]).exit(4);
    assert!(ran.err.contains("asked for slower requests: Rate exceeded"), "{}", ran.err);
}

#[test]
fn a_refusal_says_which_right_is_missing_or_who_was_asked_who_we_are() {
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "t"]).ok();
    let missing = "User: arn:aws:iam::1:user/u is not authorized to perform: SNS:Publish on resource: \
                   arn:aws:sns:us-east-1:1:t because no identity-based policy allows the SNS:Publish action";
    let cases: &[(&str, u16, &str, &str, &[&str])] = &[
        (
            "PublishBatch",
            403,
            "AuthorizationError",
            missing,
            &["SNS:Publish on resource", "policies of the user"],
        ),
        (
            "ListTopics",
            403,
            "AuthorizationError",
            "no SNS:ListTopics",
            &["SNS:ListTopics", "named by its ARN"],
        ),
        (
            "ListTopics",
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
            &["the credentials have expired", "aws sso login"],
        ),
        (
            "ListTopics",
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
            &["AWS_ACCESS_KEY_ID", "the instance"],
        ),
        (
            "ListTopics",
            403,
            "SignatureDoesNotMatch",
            "Credential should be scoped to a valid region.",
            &["scoped to a valid region", "aws://REGION"],
        ),
    ];
    for (action, status, code, message, parts) in cases {
        between.next(action, 1, Instead::Say(*status, code, message));
        let ran = watched.run(&["publish", "t", "x"]).exit(5);
        for part in *parts {
            assert!(ran.err.contains(part), "{code}: not said: {part}\n{}", ran.err);
        }
        assert!(!ran.err.contains("test@"), "the secret is not told: {}", ran.err);
    }
    site.run(&["topics", "create", "queue:q"]).ok();
    let denied =
        "User: arn:aws:iam::1:user/u is not authorized to perform: sqs:receivemessage on resource: q";
    between.next("ReceiveMessage", 1, Instead::Say(403, "AccessDeniedException", denied));
    let ran = watched.run(&["subscribe", "queue:q"]).exit(5).said("sqs:receivemessage on resource");
    assert!(ran.err.contains("policies of the user"), "{}", ran.err);
    between.next(
        "GetQueueUrl",
        1,
        Instead::Say(403, "UnrecognizedClientException", "The security token is invalid"),
    );
    watched.run(&["subscribe", "queue:q"]).exit(5).said("AWS_ACCESS_KEY_ID");
}

#[test]
fn an_event_that_failed_in_a_batch_is_not_overtaken_by_its_key() {
    const EACH: usize = 30;
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "queue:q.fifo"]).ok();
    let lines: String =
        (0..EACH).flat_map(|n| ["a", "b", "c"].map(|k| format!("{{\"k\":\"{k}\",\"n\":{n}}}\n"))).collect();
    for _ in 0..2 {
        between.next("SendMessageBatch", 1, Instead::FailFirst("InternalError"));
        between.next("SendMessageBatch", 1, Instead::FailFirst("RequestThrottled"));
    }
    watched.feed(&["publish", "queue:q.fifo", "--key-from", ".payload.k"], &lines).ok();
    let events = site.lines(&["subscribe", "queue:q.fifo", "--no-follow", "-o", "json"]);
    let mut seen = HashMap::<String, Vec<u64>>::new();
    for event in &events {
        let key = event["key"].as_str().unwrap().to_owned();
        seen.entry(key).or_default().push(event["payload"]["n"].as_u64().unwrap());
    }
    assert_eq!(seen.len(), 3);
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..EACH as u64).collect::<Vec<_>>(), "key {key}, each once and in order");
    }
}

#[test]
fn why_aws_ended_a_redrive_by_itself_is_told_with_what_to_do() {
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "t"]).ok();
    site.run(&["groups", "create", "g", "t"]).ok();
    site.run(&["publish", "t.g.dlq", "x"]).ok();
    let failed = |reason: &str, moved: u64| {
        json!({"Results": [{"Status": "FAILED", "FailureReason": reason, "StartedTimestamp": 7,
            "ApproximateNumberOfMessagesMoved": moved, "ApproximateNumberOfMessagesToMove": 9}]})
    };
    let replay = |ends: serde_json::Value, code: i32| {
        // None before it is begun.
        between.next("ListMessageMoveTasks", 1, Instead::Answer(json!({"Results": []})));
        between.next("StartMessageMoveTask", 1, Instead::Answer(json!({"TaskHandle": "h"})));
        between.next("ListMessageMoveTasks", 1, Instead::Answer(ends));
        watched.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes"]).exit(code)
    };
    let ran = replay(failed("CouldNotDetermineMessageSource", 4), 6);
    assert!(ran.err.contains("when 4 were put back") && ran.err.contains("--into queue:NAME"), "{}", ran.err);
    replay(failed("AccessDenied", 0), 1).said("sqs:SendMessage where they go");
    between.next(
        "StartMessageMoveTask",
        1,
        Instead::Say(403, "AccessDeniedException", "no sqs:StartMessageMoveTask"),
    );
    watched.run(&["dlq", "replay", "t.g.dlq", "--native", "--yes"]).exit(5).said("sqs:StartMessageMoveTask");
}

#[test]
fn a_letter_that_was_stored_and_not_deleted_is_told_as_such_and_comes_again() {
    let Some((site, watched, between)) = watched() else { return };
    site.run(&["topics", "create", "queue:back"]).ok();
    site.run(&["topics", "create", "queue:dead"]).ok();
    site.run(&["publish", "queue:dead", "x"]).ok();
    crate::suite::run(async {
        let broker = crate::suite::broker(&watched.url);
        let source = Source::DeadLetters { dlq: "queue:dead".into(), chosen: None };
        let lease = Duration::from_secs(2);
        let options = SubscribeOptions { stop: Stop::Now, in_flight: 1, lease, grace: lease, ordered: false };
        let letters = broker.subscription(source, options).await.unwrap();
        let (letter, token) = delivery(&*letters).await;
        between.next("DeleteMessageBatch", 1, Instead::Say(400, "ReceiptHandleIsInvalid", "expired"));
        let event = evcat::event::Event::new(
            &"queue:back".into(),
            letter.key(),
            letter.headers(),
            letter.payload(),
            None,
            evcat::event::Position::Unknown,
        );
        let back = Settlement::Move { event: Box::new(event), only: None };
        let error = letters.settle(vec![(token, back)]).await.unwrap().remove(0).unwrap_err();
        assert_eq!((error.kind(), error.detail().operation), (Kind::Lost, STORED), "{error}");
        let (again, token) = delivery(&*letters).await;
        assert_eq!(again.position(), letter.position());
        letters.settle(vec![(token, Settlement::Ack)]).await.unwrap().remove(0).unwrap();
        loop {
            match letters.receive().await.unwrap() {
                Received::End => break,
                Received::Deliveries(more) => panic!("{more:?}"),
                Received::Lost(_) | Received::Revoking(_) => (),
            }
        }
        letters.close().await.unwrap();
    });
    assert_eq!(site.run(&["subscribe", "queue:back", "--no-follow", "-o", "raw"]).ok().out, "x\n");
}

async fn delivery(subscription: &dyn Subscription) -> (evcat::event::Event, evcat::broker::Token) {
    loop {
        if let Received::Deliveries(mut all) = subscription.receive().await.unwrap() {
            let one = all.remove(0);
            return (one.event, one.token);
        }
    }
}
