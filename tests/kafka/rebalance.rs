//! What the library does to the partitions that stay while others go: it stops reading, throws away what it has fetched,
//! and goes on where it thinks that we are.

use std::time::{Duration, Instant};

use evcat::broker::SubscribeOptions;
use tokio::time::{sleep, timeout};

use crate::brokers::kafka;
use crate::members::{Member, PROTOCOLS, add, lag, rig, text, working};
use crate::{DEADLINE, run, try_broker};

/// Waits until partitions are taken from a member.
async fn until_revoked(member: &mut Member) {
    let begun = Instant::now();
    while member.revoked.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "a revocation is said");
        let _ = timeout(Duration::from_millis(100), member.some()).await;
    }
}

#[test]
fn an_event_that_is_published_while_partitions_go_is_not_passed_over() {
    let Some(url) = kafka() else { return };
    for options in PROTOCOLS {
        run(async {
            let (_, topic, group) = rig(&url, 2, 5).await;
            let broker = try_broker(&url, DEADLINE, options).unwrap();
            let patient = SubscribeOptions { grace: DEADLINE, ..working(20) };
            let mut first = Member::of(&broker, &topic, &group, patient).await;
            let held = first.take(10).await;
            // It is told that there is no more, in both.
            sleep(Duration::from_millis(500)).await;
            let mut second = Member::of(&broker, &topic, &group, working(20)).await;
            until_revoked(&mut first).await;
            add(&url, &topic, 2, 5..6);
            first.ack(&held).await;
            let mut new = Vec::new();
            for member in [&mut first, &mut second] {
                let some = member.take(1).await;
                member.ack(&some).await;
                new.push(text(&some[0].event));
            }
            new.sort();
            assert_eq!(new, ["0-5", "1-5"]);
            assert_eq!(lag(&broker, &topic, &group).await, 0);
            first.close().await;
            second.close().await;
        });
    }
}
