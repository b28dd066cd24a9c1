//! What a look makes, it removes; what a kill left behind is found.

use std::process::{Command, Stdio};
use std::time::Duration;

use evcat::broker::{ReadOptions, Start, Stop};

use crate::pubsub_fake::Fake;
use crate::{stage, suite};

fn looks(fake: &Fake) -> Vec<String> {
    fake.state().subscription_names().into_iter().filter(|name| name.starts_with("evcat-tail-")).collect()
}

#[test]
fn a_tail_that_is_ended_by_a_signal_leaves_nothing_behind() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        for signal in ["INT", "TERM"] {
            let mut tail = Command::new(env!("CARGO_BIN_EXE_evcat"))
                .args(["-b", &fake.url("evcat"), "tail", "orders"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            suite::until("it looks", async || looks(&fake).len() == 1).await;
            let pid = tail.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
            let ended = tokio::task::spawn_blocking(move || tail.wait().unwrap());
            tokio::time::timeout(suite::DEADLINE, ended).await.expect("it ends").unwrap();
            assert_eq!(looks(&fake), Vec::<String>::new(), "after SIG{signal}");
        }
    });
}

#[test]
fn a_look_that_cannot_begin_leaves_nothing_behind() {
    suite::run(async {
        let (fake, broker) = stage(&[("topic.retention", "1d")]);
        broker.create_topic("orders", &[]).await.unwrap();
        let options = |topics: &[&str]| ReadOptions {
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
            partition: None,
            start: Start::Earliest,
            stop: Stop::Never,
            unsettled: false,
        };
        assert!(broker.reader(options(&["orders", "nothing"])).await.is_err());
        assert_eq!(looks(&fake), Vec::<String>::new());
        fake.state().fail("Seek", tonic::Code::PermissionDenied, 1);
        assert!(broker.reader(options(&["orders"])).await.is_err());
        assert_eq!(looks(&fake), Vec::<String>::new());
        // Dropped on the way out by an error, it is removed by a task.
        drop(broker.reader(options(&["orders"])).await.unwrap());
        suite::until("it is removed", async || looks(&fake).is_empty()).await;
    });
}

#[test]
fn what_a_kill_left_behind_is_found_by_its_age() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        broker.create_topic("orders", &[]).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let hour = Duration::from_secs(3600).as_secs();
        for made in [now - 2 * hour, now - hour / 2] {
            let look = googleapis_tonic_google_pubsub_v1::google::pubsub::v1::Subscription {
                name: format!("projects/evcat/subscriptions/evcat-tail-{made}-00ff"),
                topic: "projects/evcat/topics/orders".into(),
                ..Default::default()
            };
            fake.state().create_subscription(look).unwrap();
        }
        let all = broker.topics("*").await.unwrap();
        let left: Vec<_> = all.iter().filter(|info| info.temporary).map(|info| &*info.name).collect();
        assert_eq!(left, [format!("subscription:evcat-tail-{}-00ff", now - 2 * hour)]);
        broker.delete_topic(left[0]).await.unwrap();
        assert_eq!(looks(&fake).len(), 1, "one that may be at work stays");
        assert!(broker.groups("*").await.unwrap().is_empty(), "and is no group");
    });
}
