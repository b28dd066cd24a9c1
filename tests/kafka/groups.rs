//! Groups as administrators see them: where they are, who is in them, moving and deleting them.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use evcat::broker::{Broker, GroupInfo, Kind, Source, Start};
use evcat::event::{Name, Position};

use crate::brokers::kafka;
use crate::{address, broker, publish_by_kcat, run, unique, until, words};

/// A topic of three partitions with 10, 20 and 30 events, and the name of a group.
async fn rig(url: &str) -> (Arc<dyn Broker>, String, String) {
    let (broker, topic) = (broker(url), unique("t"));
    broker.create_topic(&topic, &[("partitions".into(), "3".into())]).await.unwrap();
    for partition in 0..3 {
        let lines: String = (0..10 * (partition + 1)).map(|i| format!("{i}\n")).collect();
        publish_by_kcat(url, &topic, partition, &lines);
    }
    (broker, topic, unique("g"))
}

fn source(topic: &str, group: &str) -> Source {
    Source::Group { topics: vec![topic.into()], group: group.into() }
}

async fn facts(broker: &Arc<dyn Broker>, topic: &str, group: &str) -> GroupInfo {
    let all = broker.groups(topic).await.unwrap();
    all.into_iter().find(|info| info.group == group).expect("the group is listed")
}

/// The offset of each partition.
async fn places(broker: &Arc<dyn Broker>, topic: &str, group: &str) -> Vec<i64> {
    let facts = facts(broker, topic, group).await;
    facts.settled.iter().map(|(_, position)| position.offset().unwrap()).collect()
}

fn at(topic: &str, partition: i32, offset: i64) -> (Name, Position) {
    (topic.into(), Position::At { partition, offset })
}

#[test]
fn a_group_begins_at_a_point_in_every_partition() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, _) = rig(&url).await;
        for (start, want) in [
            (Start::Earliest, [0, 0, 0]),
            (Start::Latest, [10, 20, 30]),
            (Start::Time(0), [0, 0, 0]),
            (Start::Time(i64::MAX / 2), [10, 20, 30]),
            (Start::At(vec![at(&topic, 0, 3), at(&topic, 1, 20), at(&topic, 2, 0)]), [3, 20, 0]),
            (Start::After(vec![at(&topic, 0, 3), at(&topic, 1, 19), at(&topic, 2, 0)]), [4, 20, 1]),
            (Start::Last(60), [0, 0, 0]),
            (Start::Last(0), [10, 20, 30]),
        ] {
            let group = unique("g");
            broker.create_group(&source(&topic, &group), &start, None).await.unwrap();
            assert_eq!(places(&broker, &topic, &group).await, want, "{start:?}");
        }
        // The newest of all partitions together: whichever they are, so many.
        for n in [1, 7, 30, 59] {
            let group = unique("g");
            broker.create_group(&source(&topic, &group), &Start::Last(n), None).await.unwrap();
            let lag = facts(&broker, &topic, &group).await.lag.unwrap();
            assert_eq!(lag.events, n);
        }
    });
}

#[test]
fn a_place_that_is_none_is_refused_and_nothing_is_made() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        for (start, word) in [
            (Start::At(vec![at(&topic, 0, 11), at(&topic, 1, 0), at(&topic, 2, 0)]), "beyond the end"),
            (Start::At(vec![at(&topic, 7, 0)]), "no position here"),
            (Start::At(vec![at(&topic, 0, 0)]), "no position is given for partition 1"),
            (Start::At(vec![(topic.as_str().into(), Position::Offset(3))]), "PARTITION:OFFSET"),
        ] {
            let error = broker.create_group(&source(&topic, &group), &start, None).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{start:?}");
            assert!(words(&error).contains(word), "{}", words(&error));
        }
        assert!(broker.groups(&topic).await.unwrap().is_empty());
    });
}

/// A group of another program, which has a place only where it has read something.
#[test]
fn where_a_group_of_others_has_no_place_is_asked_for() {
    let Some(url) = kafka() else { return };
    let Some(python) = crate::brokers::or_skip(crate::brokers::python()) else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        let commit = "import sys\nfrom confluent_kafka import Consumer, TopicPartition\n\
            c = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[3]})\n\
            c.commit(offsets=[TopicPartition(sys.argv[2], 1, 5)], asynchronous=False)\n";
        let done = Command::new(python).args(["-c", commit, address(&url), &topic, &group]).status().unwrap();
        assert!(done.success());
        let source = source(&topic, &group);
        let error = broker.create_group(&source, &Start::Latest, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(words(&error).contains("no place in partition 0, 2"), "{}", words(&error));
        broker.create_group(&source, &Start::Last(14), None).await.unwrap();
        let places = places(&broker, &topic, &group).await;
        assert_eq!((places[1], 10 - places[0] + 30 - places[2]), (5, 14), "{places:?}");
    });
}

/// Which another program may do meanwhile.
#[test]
fn a_topic_that_grew_is_read_from_the_beginning_of_what_is_new() {
    let Some(url) = kafka() else { return };
    let Some(python) = crate::brokers::or_skip(crate::brokers::python()) else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        broker.create_group(&source(&topic, &group), &Start::Latest, None).await.unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let grow = Command::new(python).args([script, address(&url), &topic, "partitions:4"]).status();
        assert!(grow.unwrap().success());
        publish_by_kcat(&url, &topic, 3, "a\n");
        assert!(broker.create_group(&source(&topic, &group), &Start::Latest, None).await.unwrap().is_empty());
        assert_eq!(places(&broker, &topic, &group).await, [10, 20, 30]);
    });
}

#[test]
fn a_seek_moves_the_partitions_it_names() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        broker.create_group(&source(&topic, &group), &Start::Latest, None).await.unwrap();
        broker.seek_group(&topic, &group, &Start::At(vec![at(&topic, 1, 5)])).await.unwrap();
        assert_eq!(places(&broker, &topic, &group).await, [10, 5, 30]);
        assert_eq!(facts(&broker, &topic, &group).await.lag.unwrap().events, 15);
        let error = broker.seek_group(&topic, &unique("nobody"), &Start::Earliest).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        // Asked for alone, the same is known of it.
        let (alone, all) =
            (broker.group(&topic, &group).await.unwrap(), facts(&broker, &topic, &group).await);
        assert_eq!(alone.map(|it| (it.settled, it.end, it.lag)), Some((all.settled, all.end, all.lag)));
        assert!(broker.group(&topic, &unique("nobody")).await.unwrap().is_none());
    });
}

#[test]
fn a_group_is_deleted_from_one_topic_and_stays_on_another() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        let other = unique("other");
        broker.create_topic(&other, &[]).await.unwrap();
        for topic in [&topic, &other] {
            broker.create_group(&source(topic, &group), &Start::Earliest, None).await.unwrap();
        }
        broker.delete_group(&topic, &group).await.unwrap();
        assert!(broker.groups(&topic).await.unwrap().is_empty());
        assert_eq!(facts(&broker, &other, &group).await.members, Some(0));
        broker.delete_group(&other, &group).await.unwrap();
        assert!(broker.groups(&other).await.unwrap().is_empty());
        assert_eq!(broker.delete_group(&other, &group).await.unwrap_err().kind(), Kind::NotFound);
    });
}

/// Somebody else's member, gone with the test.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_moves_a_group_under_its_members() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url).await;
        broker.create_group(&source(&topic, &group), &Start::Earliest, None).await.unwrap();
        let member = Command::new("kcat")
            .args(["-b", address(&url), "-X", "auto.offset.reset=earliest", "-G", &group, &topic])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let _member = Member(member.unwrap());
        until("the member is at work", || async { facts(&broker, &topic, &group).await.members == Some(1) })
            .await;
        for error in [
            broker.seek_group(&topic, &group, &Start::Latest).await.unwrap_err(),
            broker.delete_group(&topic, &group).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Rejected);
            assert!(words(&error).contains("1 member is at work") && words(&error).contains("stop them"));
        }
        until("the lag is gone", || async { facts(&broker, &topic, &group).await.lag.unwrap().events == 0 })
            .await;
    });
}
