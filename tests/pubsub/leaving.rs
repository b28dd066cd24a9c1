//! What a look makes, it removes; what a kill left behind is found.

use evcat::broker::Stop;
use nix::sys::signal::Signal;

use crate::pubsub_fake::Fake;
use crate::rig::{Home, Running};
use crate::{history, publish, said, stage, suite};

fn looks(fake: &Fake) -> Vec<String> {
    fake.state().subscription_names().into_iter().filter(|name| name.starts_with("evcat-tail-")).collect()
}

/// What runs, what is said to it, and how it ends.
fn leaves_nothing(args: &[&str], signal: Option<Signal>, code: i32) {
    let (fake, broker) = stage(&[("topic.retention", "1d")]);
    suite::run(async {
        broker.create_topic("orders", &[]).await.unwrap();
        for payload in ["a", "b", "c"] {
            publish(&broker, said("orders", payload)).await.unwrap();
        }
    });
    let home = Home::new();
    let running = Running::new(home.command(args).env("EVCAT_BROKER", fake.url("evcat")));
    if let Some(signal) = signal {
        home.until("it looks", |_| (looks(&fake).len() == 1).then_some(()));
        running.signal(signal);
    }
    running.end().exit(code);
    assert_eq!(looks(&fake), Vec::<String>::new(), "after {args:?} and {signal:?}");
}

const TAIL: &[&str] = &["tail", "orders"];
const REPLAY: &[&str] = &["replay", "orders", "--from", "beginning", "--rate", "1/m"];

#[test]
fn a_look_that_is_ended_by_a_signal_leaves_nothing_behind() {
    for args in [TAIL, REPLAY] {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            leaves_nothing(args, Some(signal), code);
        }
    }
}

#[test]
fn a_look_that_ends_by_itself_or_by_an_error_leaves_nothing_behind() {
    leaves_nothing(&["tail", "orders", "--from", "beginning", "--no-follow"], None, 0);
    leaves_nothing(&["tail", "orders", "--from", "beginning", "-c", "2"], None, 0);
    leaves_nothing(&["replay", "orders", "--from", "beginning", "--dry-run"], None, 0);
    leaves_nothing(&["replay", "orders", "--from", "beginning", "--", "false"], None, 1);
    leaves_nothing(&["replay", "orders", "--from", "beginning", "--into", "nowhere"], None, 2);
}

#[test]
fn a_look_whose_server_refuses_in_the_middle_leaves_nothing_behind() {
    let (fake, broker) = stage(&[("topic.retention", "1d")]);
    suite::run(async { broker.create_topic("orders", &[]).await.unwrap() });
    let home = Home::new();
    for args in [TAIL, REPLAY, &["replay", "orders", "--dry-run"]] {
        fake.state().fail("StreamingPull", tonic::Code::PermissionDenied, 1);
        Running::new(home.command(args).env("EVCAT_BROKER", fake.url("evcat"))).end().exit(5);
        assert_eq!(looks(&fake), Vec::<String>::new(), "{args:?}");
    }
}

#[test]
fn what_a_kill_left_behind_is_removed_and_a_tail_at_work_is_not() {
    let (fake, broker) = stage(&[]);
    suite::run(async { broker.create_topic("orders", &[]).await.unwrap() });
    let home = Home::new();
    let evcat = |args: &[&str]| {
        let mut command = home.command(&[&["-X", "stale=3"], args].concat());
        Running::new(command.env("EVCAT_BROKER", fake.url("evcat")))
    };
    let (killed, works) = (evcat(TAIL), evcat(TAIL));
    home.until("both look", |_| (looks(&fake).len() == 2).then_some(()));
    // They say each second that they live, which is longer together than what counts as left behind.
    home.until("they live on", |_| (fake.state().calls.get("UpdateSubscription") >= Some(&9)).then_some(()));
    evcat(&["topics", "gc", "--yes"]).end().ok();
    assert_eq!(looks(&fake).len(), 2, "both are at work");
    killed.signal(Signal::SIGKILL);
    killed.end();
    home.until("it is found", |_| {
        evcat(&["topics", "gc", "--yes"]).end().ok();
        (looks(&fake).len() == 1).then_some(())
    });
    evcat(&["publish", "orders", "still there"]).end().ok();
    works.prints("still there");
    works.signal(Signal::SIGTERM);
    works.end().exit(143);
    assert_eq!(looks(&fake), Vec::<String>::new());
}

#[test]
fn a_look_that_cannot_begin_leaves_nothing_behind() {
    suite::run(async {
        let (fake, broker) = stage(&[("topic.retention", "1d")]);
        broker.create_topic("orders", &[]).await.unwrap();
        assert!(broker.reader(history(&["orders", "nothing"], Stop::Never)).await.is_err());
        assert_eq!(looks(&fake), Vec::<String>::new());
        fake.state().fail("Seek", tonic::Code::PermissionDenied, 1);
        assert!(broker.reader(history(&["orders"], Stop::Never)).await.is_err());
        assert_eq!(looks(&fake), Vec::<String>::new());
        // Dropped on the way out by an error, it is removed by a task.
        drop(broker.reader(history(&["orders"], Stop::Never)).await.unwrap());
        suite::until("it is removed", async || looks(&fake).is_empty()).await;
    });
}

#[test]
fn what_a_kill_left_behind_is_found_by_its_age() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        // Of an evcat that says no more than when it began.
        for made in [now - 1000, now - 800] {
            let look = googleapis_tonic_google_pubsub_v1::google::pubsub::v1::Subscription {
                name: format!("projects/evcat/subscriptions/evcat-tail-{made}-00ff"),
                topic: "projects/evcat/topics/orders".into(),
                ..Default::default()
            };
            fake.state().create_subscription(look).unwrap();
        }
        let all = broker.topics("*").await.unwrap();
        let left: Vec<_> = all.iter().filter(|info| info.temporary).map(|info| &*info.name).collect();
        assert_eq!(left, [format!("subscription:evcat-tail-{}-00ff", now - 1000)]);
        broker.delete_topic(left[0]).await.unwrap();
        assert_eq!(looks(&fake).len(), 1, "one that may be at work stays");
        assert!(broker.groups("*").await.unwrap().is_empty(), "and is no group");
    });
}
