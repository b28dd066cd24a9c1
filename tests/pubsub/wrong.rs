//! What goes wrong is told: by its kind, with what to do next.

use std::process::{Command, Stdio};
use std::time::Duration;

use evcat::broker::{Kind, Start, Stop};
use tonic::Code;

use crate::rig::{Home, Running};
use crate::{group, history, orders, publish, said, stage, suite};

#[test]
fn an_outcome_that_nobody_knows_is_told_as_that() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        fake.state().fail("Publish", Code::Unavailable, 2);
        publish(&broker, said("orders", "x")).await.expect("it is tried again");
        let hurried =
            suite::try_broker(&fake.url("evcat"), Duration::from_millis(300), &[("quiet", "1s")]).unwrap();
        fake.state().fail("Publish", Code::Unavailable, 1000);
        let error = publish(&hurried, said("orders", "x")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InDoubt, "{error}");
        let nobody =
            suite::try_broker("pubsub://p?emulator=127.0.0.1:1", Duration::from_millis(300), &[]).unwrap();
        let error = publish(&nobody, said("orders", "x")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    });
}

#[test]
fn one_bad_event_takes_no_other_with_it() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        // The whole request is refused, then one of the two.
        fake.state().fail("Publish", Code::InvalidArgument, 2);
        let publisher = broker.publisher(Default::default()).await.unwrap();
        let answers = publisher.send(vec![said("orders", "bad"), said("orders", "good")].into()).await;
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), Kind::Rejected);
        assert!(answers[1].is_ok());
    });
}

#[test]
fn rights_and_quotas_are_told_with_what_to_do() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        fake.state().fail("ListTopics", Code::PermissionDenied, 1);
        let error = broker.check().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(suite::words(&error).contains("roles/pubsub"), "{}", suite::words(&error));
        let hurried = suite::try_broker(&fake.url("evcat"), Duration::from_millis(200), &[]).unwrap();
        fake.state().fail("ListTopics", Code::ResourceExhausted, 1000);
        assert_eq!(hurried.check().await.unwrap_err().kind(), Kind::Full);
    });
}

#[test]
fn a_topic_that_keeps_nothing_says_how_it_would() {
    suite::run(async {
        let (_fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        let error = broker.reader(history(&["orders"], Stop::Now)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unsupported);
        let hint = "gcloud pubsub topics update orders --message-retention-duration=7d";
        assert!(suite::words(&error).contains(hint), "{}", suite::words(&error));
        let error = broker.create_group(&group("orders", "late"), &Start::Earliest, None).await.unwrap_err();
        assert!(suite::words(&error).contains(hint), "{}", suite::words(&error));
        assert!(broker.groups("*").await.unwrap().is_empty(), "and nothing was made");
    });
}

#[test]
fn a_look_that_is_cut_off_goes_on() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        fake.state().fail("StreamingPull", Code::Unavailable, 3);
        let options = evcat::broker::ReadOptions {
            topics: vec!["orders".into()],
            partition: None,
            start: Start::Latest,
            stop: Stop::Never,
            unsettled: false,
        };
        let mut reader = broker.reader(options).await.unwrap();
        publish(&broker, said("orders", "x")).await.unwrap();
        loop {
            if let evcat::broker::Read::Events(events) = reader.next().await.unwrap() {
                break assert_eq!(events[0].payload(), Some(&b"x"[..]));
            }
        }
        reader.close().await.unwrap();
    });
}

#[test]
fn missing_credentials_are_told_with_where_they_were_looked_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_evcat"))
        .args(["-b", "pubsub://evcat-test?endpoint=127.0.0.1:1", "--timeout", "5s", "topics", "list"])
        .env("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/credentials.json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{words}");
    for part in ["GOOGLE_APPLICATION_CREDENTIALS", "gcloud auth application-default login", "metadata server"]
    {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn a_lag_that_nobody_tells_is_not_waited_for() {
    let (fake, broker) = stage(&[]);
    suite::run(async { drop(orders(&broker).await) });
    let home = Home::new();
    let evcat = |args: &[&str]| Running::new(home.command(args).env("EVCAT_BROKER", fake.url("evcat"))).end();
    let shown = evcat(&["groups", "lag"]).ok().said("does not tell how many events wait");
    assert!(shown.out.contains("shipping"), "{}", shown.out);
    evcat(&["groups", "lag", "shipping", "--max", "0"]).exit(2).said("--max");
    evcat(&["groups", "lag", "shipping", "--watch"]).exit(2).said("--watch");
}
