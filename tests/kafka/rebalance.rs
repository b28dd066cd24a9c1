//! What the library does to the partitions that stay while others go: it stops reading, throws away what it has fetched,
//! and goes on where it thinks that we are.

use std::time::{Duration, Instant};

use evcat::broker::{Kind, Received, Settlement, SubscribeOptions};
use tokio::time::{sleep, timeout};

use crate::brokers::{kafka, or_skip, python};
use crate::members::{Member, PROTOCOLS, add, lag, rig, text, working};
use crate::{DEADLINE, address, output, publish_by_kcat, run, try_broker};

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

/// That events are gone is said in the queue of their partition, which nobody looks at while there is enough at work.
#[test]
fn a_partition_that_cannot_be_read_on_is_told_of_also_after_a_rebalance() {
    let Some(url) = kafka() else { return };
    let Some(python) = or_skip(python()) else { return };
    // Each protocol's own way to share gives the second member the other partition.
    for (options, partition) in PROTOCOLS.into_iter().zip([1, 0]) {
        run(async {
            let broker = try_broker(&url, DEADLINE, options).unwrap();
            loop {
                let (_, topic, group) = rig(&url, 2, 0).await;
                let lines: String = (0..30).map(|i| format!("{i}\n")).collect();
                publish_by_kcat(&url, &topic, partition, &lines);
                let patient = SubscribeOptions { grace: DEADLINE, ..working(5) };
                let mut first = Member::of(&broker, &topic, &group, patient).await;
                let held = first.take(5).await;
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
                let delete = [script, address(&url), &topic, &format!("delete:20:{partition}")];
                output(std::process::Command::new(&python).args(delete), b"");
                let second = Member::of(&broker, &topic, &group, working(5)).await;
                let mut told = timeout(Duration::from_secs(3), first.subscription.receive()).await;
                second.close().await;
                if told.is_err() {
                    let _ = first.settle(&held, Settlement::Ack).await;
                    told = timeout(DEADLINE, first.subscription.receive()).await;
                }
                match told.expect("it is told") {
                    Err(error) => return assert_eq!(error.kind(), Kind::Gone, "{error}"),
                    Ok(other) => assert!(matches!(other, Received::Revoking(_)), "{other:?}"),
                }
            }
        });
    }
}
