//! Members of groups at work: what they are handed, what they keep over restarts, how they hand over to each other.

use std::collections::{HashMap, HashSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evcat::broker::{
    Broker, Delivery, Kind, Received, Result, Settlement, Source, Start, Stop, SubscribeOptions,
    Subscription, Taken, Token,
};
use evcat::event::Event;
use tokio::time::timeout;

use crate::brokers::kafka;
use crate::{DEADLINE, address, broker, kick, publish_by_kcat, run, try_broker, unique, until};

/// How both protocols are asked for.
pub const PROTOCOLS: [&[(&str, &str)]; 2] = [&[], &[("group.protocol", "consumer")]];

/// A topic with so many numbered events in each of its partitions, and a group at its beginning.
pub async fn rig(url: &str, partitions: i32, each: usize) -> (Arc<dyn Broker>, String, String) {
    let (broker, topic, group) = (broker(url), unique("t"), unique("g"));
    broker.create_topic(&topic, &[("partitions".into(), partitions.to_string())]).await.unwrap();
    add(url, &topic, partitions, 0..each);
    broker.create_group(&source(&topic, &group), &Start::Earliest, None).await.unwrap();
    (broker, topic, group)
}

pub fn add(url: &str, topic: &str, partitions: i32, numbers: std::ops::Range<usize>) {
    for partition in 0..partitions {
        let lines: String = numbers.clone().map(|i| format!("{partition}-{i}\n")).collect();
        publish_by_kcat(url, topic, partition, &lines);
    }
}

fn source(topic: &str, group: &str) -> Source {
    Source::Group { topics: vec![topic.into()], group: group.into() }
}

pub fn working(in_flight: usize) -> SubscribeOptions {
    SubscribeOptions {
        stop: Stop::Never,
        in_flight,
        lease: Duration::from_secs(9),
        grace: Duration::from_secs(3),
        ordered: true,
    }
}

fn to_the_end(in_flight: usize) -> SubscribeOptions {
    SubscribeOptions { stop: Stop::Now, ..working(in_flight) }
}

pub fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.payload().unwrap()).into_owned()
}

/// A member and what it was told beside deliveries.
pub struct Member {
    pub subscription: Box<dyn Subscription>,
    pub revoked: Vec<Token>,
    pub lost: Vec<Token>,
}

impl Member {
    pub async fn of(broker: &Arc<dyn Broker>, topic: &str, group: &str, options: SubscribeOptions) -> Member {
        let subscription = broker.subscription(source(topic, group), options).await.unwrap();
        Member { subscription, revoked: Vec::new(), lost: Vec::new() }
    }

    /// What is handed out next; nothing at the end.
    pub async fn some(&mut self) -> Vec<Delivery> {
        loop {
            match self.subscription.receive().await.unwrap() {
                Received::Deliveries(some) => return some,
                Received::Revoking(tokens) => self.revoked.extend(tokens),
                Received::Lost(tokens) => self.lost.extend(tokens),
                Received::End => return Vec::new(),
            }
        }
    }

    pub async fn take(&mut self, n: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < n {
            let some = timeout(DEADLINE, self.some()).await;
            all.extend(some.unwrap_or_else(|_| panic!("{} of {n} came", all.len())));
        }
        assert_eq!(all.len(), n);
        all
    }

    pub async fn settle(&self, all: &[Delivery], how: Settlement) -> Vec<Result<()>> {
        let items = all.iter().map(|delivery| (delivery.token, how.clone())).collect();
        let answers = self.subscription.settle(items).await.unwrap();
        answers.into_iter().map(|answer| answer.map(|_| ())).collect()
    }

    pub async fn ack(&self, all: &[Delivery]) {
        self.settle(all, Settlement::Ack).await.into_iter().for_each(|answer| answer.unwrap());
    }

    /// All until the end, acked.
    pub async fn drain(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let some = timeout(DEADLINE, self.some()).await.expect("the end comes");
            if some.is_empty() {
                return all;
            }
            self.ack(&some).await;
            all.extend(some.iter().map(|delivery| text(&delivery.event)));
        }
    }

    pub async fn close(self) {
        self.subscription.close().await.unwrap();
    }
}

pub async fn lag(broker: &Arc<dyn Broker>, topic: &str, group: &str) -> u64 {
    let all = broker.groups(topic).await.unwrap();
    all.into_iter().find(|info| info.group == group).unwrap().lag.unwrap().events
}

#[test]
fn what_was_not_settled_comes_again_and_nothing_else() {
    let Some(url) = kafka() else { return };
    for options in PROTOCOLS {
        run(async {
            let (_, topic, group) = rig(&url, 2, 100).await;
            let broker = try_broker(&url, DEADLINE, options).unwrap();
            let mut first = Member::of(&broker, &topic, &group, working(200)).await;
            let got = first.take(200).await;
            let (acked, left): (Vec<_>, Vec<_>) =
                got.into_iter().partition(|d| d.event.position().offset().unwrap() % 3 != 1);
            first.ack(&acked).await;
            first.close().await;
            let mut next = Member::of(&broker, &topic, &group, to_the_end(50)).await;
            let (mut again, mut want) =
                (next.drain().await, left.iter().map(|d| text(&d.event)).collect::<Vec<_>>());
            next.close().await;
            again.sort();
            want.sort();
            assert_eq!(again, want);
            assert_eq!(lag(&broker, &topic, &group).await, 0);
        });
    }
}

#[test]
fn two_members_share_the_partitions_and_nothing_is_lost_or_done_twice() {
    let Some(url) = kafka() else { return };
    for options in PROTOCOLS {
        run(async {
            let (_, topic, group) = rig(&url, 4, 500).await;
            let brokers =
                [try_broker(&url, DEADLINE, options).unwrap(), try_broker(&url, DEADLINE, options).unwrap()];
            let mut members = vec![Member::of(&brokers[0], &topic, &group, working(20)).await];
            let (mut seen, mut by_member) = (HashMap::<String, usize>::new(), [0; 2]);
            let begun = Instant::now();
            while seen.len() < 2000 {
                assert!(begun.elapsed() < DEADLINE, "{} of 2000, {by_member:?}", seen.len());
                if seen.len() > 300 && members.len() == 1 {
                    members.push(Member::of(&brokers[1], &topic, &group, working(20)).await);
                }
                for (i, member) in members.iter_mut().enumerate() {
                    // Slow enough that the second one gets its share.
                    let Ok(some) = timeout(Duration::from_millis(20), member.some()).await else { continue };
                    for (delivery, answer) in some.iter().zip(member.settle(&some, Settlement::Ack).await) {
                        answer.unwrap();
                        *seen.entry(text(&delivery.event)).or_default() += 1;
                        by_member[i] += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            for member in members {
                assert!(member.lost.is_empty());
                member.close().await;
            }
            assert!(seen.values().all(|times| *times == 1), "nothing came twice");
            assert!(by_member.iter().all(|n| *n > 0), "both worked: {by_member:?}");
            assert_eq!(lag(&brokers[0], &topic, &group).await, 0);
        });
    }
}

#[test]
fn what_goes_to_another_member_is_ours_until_it_is_settled() {
    let Some(url) = kafka() else { return };
    for options in PROTOCOLS {
        run(async {
            let (_, topic, group) = rig(&url, 2, 10).await;
            let broker = try_broker(&url, DEADLINE, options).unwrap();
            let mut first =
                Member::of(&broker, &topic, &group, SubscribeOptions { grace: DEADLINE, ..working(20) })
                    .await;
            let held = first.take(20).await;
            let mut second = Member::of(&broker, &topic, &group, working(20)).await;
            let begun = Instant::now();
            while first.revoked.is_empty() {
                assert!(begun.elapsed() < DEADLINE, "a revocation is said");
                let _ = timeout(Duration::from_millis(100), first.some()).await;
            }
            let (gone, kept): (Vec<_>, Vec<_>) =
                held.iter().cloned().partition(|d| first.revoked.contains(&d.token));
            assert_eq!((gone.len(), kept.len()), (10, 10), "one of the two partitions");
            let early = timeout(Duration::from_millis(500), second.some()).await;
            assert!(early.is_err(), "not while it is being worked on");
            first.ack(&gone[..7]).await;
            assert!(first.settle(&gone[7..], Settlement::Release).await.iter().all(Result::is_ok));
            let got: HashSet<_> = second.take(3).await.iter().map(|d| text(&d.event)).collect();
            assert_eq!(got, gone[7..].iter().map(|d| text(&d.event)).collect());
            first.ack(&kept).await;
            assert!(first.lost.is_empty());
            first.close().await;
        });
    }
}

#[test]
fn who_wants_no_more_hears_of_a_revocation_and_gives_back_what_nobody_has_begun() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 2, 10).await;
        let patient = SubscribeOptions { grace: 2 * DEADLINE, ..working(20) };
        let mut first = Member::of(&broker, &topic, &group, patient).await;
        assert!(timeout(Duration::from_secs(1), first.subscription.taken()).await.is_err());
        let mut second = Member::of(&broker, &topic, &group, working(20)).await;
        let taken = timeout(DEADLINE, first.subscription.taken()).await;
        assert!(matches!(&taken, Ok(Taken::Revoking(tokens)) if tokens.len() == 10), "{taken:?}");
        let got: Vec<_> =
            second.take(10).await.iter().chain(&first.take(10).await).map(|d| text(&d.event)).collect();
        assert_eq!(got.iter().collect::<HashSet<_>>().len(), 20, "all are there, each once");
        first.close().await;
        second.close().await;
    });
}

#[test]
fn what_is_not_settled_within_the_grace_is_lost() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 1, 3).await;
        let options = SubscribeOptions { grace: Duration::from_millis(300), ..working(5) };
        let mut members = [
            Member::of(&broker, &topic, &group, options.clone()).await,
            Member::of(&broker, &topic, &group, options.clone()).await,
        ];
        let begun = Instant::now();
        let mut held = Vec::new();
        // One of the two has the partition; whoever joins next may take it over, or not.
        while held.is_empty() {
            assert!(begun.elapsed() < DEADLINE);
            for member in &mut members {
                if let Ok(some) = timeout(Duration::from_millis(50), member.some()).await {
                    held = some;
                }
            }
        }
        // A topic more for the group: the partition stays. A member less that has it: it goes, in order.
        for member in members {
            let answers = member.settle(&held, Settlement::Release).await;
            let lost = answers.iter().filter(|a| a.as_ref().is_err_and(|e| e.kind() == Kind::Lost)).count();
            assert!(lost == 0 || lost == held.len(), "{answers:?}");
            member.close().await;
        }
    });
}

#[test]
fn a_topic_that_ends_in_marks_of_transactions_is_settled_to_its_end() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 1, 5).await;
        transaction_by_java_or_python(&url, &topic);
        assert!(lag(&broker, &topic, &group).await >= 8, "events and the mark");
        let mut member = Member::of(&broker, &topic, &group, to_the_end(50)).await;
        assert_eq!(member.drain().await.len(), 7);
        member.close().await;
        assert_eq!(lag(&broker, &topic, &group).await, 0);
    });
}

/// Two events in a transaction that is committed.
fn transaction_by_java_or_python(url: &str, topic: &str) {
    let Ok(python) = crate::brokers::python() else { panic!("tests/brokers/provision.sh makes one") };
    let code = "import sys\nfrom confluent_kafka import Producer\np = Producer({'bootstrap.servers': sys.argv[1], \
                'transactional.id': sys.argv[2]})\np.init_transactions()\np.begin_transaction()\n\
                p.produce(sys.argv[2], b'a', partition=0)\np.produce(sys.argv[2], b'b', partition=0)\np.commit_transaction()\n";
    let done = Command::new(python).args(["-c", code, crate::address(url), topic]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_member_that_is_killed_is_replaced_and_what_it_settled_stays() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 2, 50).await;
        let mut killed = Command::new(env!("CARGO_BIN_EXE_evcat"))
            .args(["-b", &url, "subscribe", &topic, "-g", &group, "--no-dlq", "--concurrency", "4", "--"])
            // Those whose number ends in 7 take for ever.
            .args(["sh", "-c", "case $(cat) in *7) sleep 600;; esac"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Only the slow ones are left of what its lanes can take: it is stuck, with holes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        until("it has settled some", || async { lag(&broker, &topic, &group).await < 95 }).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
        let mut next = Member::of(&broker, &topic, &group, to_the_end(100)).await;
        let again = next.drain().await;
        next.close().await;
        let unique: HashSet<_> = again.iter().cloned().collect();
        assert_eq!(again.len(), unique.len());
        let slow = ["7", "17", "27", "37", "47"];
        let begun = again.iter().filter(|text| slow.contains(&text.split_once('-').unwrap().1)).count();
        assert_eq!(begun, 10, "those that were not finished come again");
        assert!(again.len() < 95, "what it settled does not come again: {}", again.len());
        assert_eq!(lag(&broker, &topic, &group).await, 0);
    });
}

/// A member that was taken out of its group and has not heard of it.
#[test]
fn what_went_to_somebody_else_is_never_answered_as_settled() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 1, 10).await;
        let mut first = Member::of(&broker, &topic, &group, working(10)).await;
        let held = first.take(10).await;
        first.ack(&held[..4]).await;
        kick::all_members(address(&url), &group).unwrap();
        for answer in first.settle(&held[4..], Settlement::Ack).await {
            assert_eq!(answer.unwrap_err().kind(), Kind::Lost);
        }
        first.close().await;
        let mut second = Member::of(&broker, &topic, &group, to_the_end(10)).await;
        assert_eq!(second.drain().await, (4..10).map(|i| format!("0-{i}")).collect::<Vec<_>>());
    });
}

#[test]
fn a_static_member_comes_back_to_its_partitions_and_a_second_one_of_its_name_ends_the_first() {
    let Some(url) = kafka() else { return };
    run(async {
        let (_, topic, group) = rig(&url, 1, 4).await;
        let named = try_broker(&url, DEADLINE, &[("group.instance.id", "one")]).unwrap();
        let mut first = Member::of(&named, &topic, &group, working(4)).await;
        let got = first.take(4).await;
        first.ack(&got[..2]).await;
        first.close().await;
        // It did not leave: the group keeps its place for it.
        let mut again = Member::of(&named, &topic, &group, working(4)).await;
        let held = again.take(2).await;
        let mut twin = Member::of(&named, &topic, &group, working(4)).await;
        assert_eq!(twin.take(2).await.len(), 2, "whoever comes last has the name");
        let begun = Instant::now();
        let error = loop {
            assert!(begun.elapsed() < DEADLINE, "it is told");
            match timeout(Duration::from_millis(100), again.subscription.receive()).await {
                Ok(Err(error)) => break error,
                _ => continue,
            }
        };
        assert_eq!(error.kind(), Kind::Lost, "{error}");
        assert!(error.to_string().contains("group.instance.id"), "{error}");
        let settled = timeout(Duration::from_secs(2), again.settle(&held, Settlement::Ack)).await;
        let settled = settled.expect("what ends after it is answered at once");
        assert!(
            settled.iter().all(|answer| answer.as_ref().is_err_and(|e| e.kind() == Kind::Lost)),
            "{settled:?}"
        );
        let _ = again.subscription.close().await;
        twin.close().await;
    });
}

#[test]
fn a_partition_that_is_added_meanwhile_does_not_keep_a_run_to_the_end() {
    let Some(url) = kafka() else { return };
    run(async {
        let (_, topic, group) = rig(&url, 1, 10).await;
        // Noticed at once, and not within five minutes.
        let quick = try_broker(&url, DEADLINE, &[("topic.metadata.refresh.interval.ms", "100")]).unwrap();
        let mut member = Member::of(&quick, &topic, &group, to_the_end(5)).await;
        let held = member.take(5).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let grow = Command::new(crate::brokers::python().unwrap())
            .args([script, address(&url), &topic, "partitions:2"])
            .status();
        assert!(grow.unwrap().success());
        publish_by_kcat(&url, &topic, 1, "later\n");
        // It gets the new one, and has the old one for as long.
        let _ = timeout(Duration::from_secs(3), member.some()).await;
        member.ack(&held).await;
        assert_eq!(member.drain().await.len(), 5);
        member.close().await;
        assert_eq!(lag(&quick, &topic, &group).await, 0, "what came later is for another run");
    });
}

/// What the member ends with, and says so soon.
async fn end_of(member: &Member) -> String {
    let receive = timeout(DEADLINE / 2, member.subscription.receive()).await;
    match receive.expect("it does not hang") {
        Err(error) => crate::words(&error),
        Ok(said) => panic!("it works: {said:?}"),
    }
}

#[test]
fn a_group_that_cannot_be_joined_is_told_of() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic, group) = rig(&url, 1, 1).await;
        let an_hour = [("session.timeout.ms", "3600000"), ("max.poll.interval.ms", "3600000")];
        let long = try_broker(&url, DEADLINE, &an_hour).unwrap();
        let member = Member::of(&long, &topic, &group, working(1)).await;
        let words = end_of(&member).await;
        assert!(words.contains("session.timeout.ms"), "{words}");
        let _ = member.subscription.close().await;

        // Its members share by range or roundrobin, as is usual elsewhere.
        let mut kcat = Command::new("kcat")
            .args(["-b", address(&url), "-G", &group, &topic])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("kcat is at work", || async {
            broker.groups(&topic).await.unwrap().iter().any(|info| info.members == Some(1))
        })
        .await;
        let member = Member::of(&broker, &topic, &group, working(1)).await;
        let words = end_of(&member).await;
        assert!(words.contains("-X partition.assignment.strategy=range"), "{words}");
        let _ = member.subscription.close().await;
        kcat.kill().unwrap();
        kcat.wait().unwrap();
    });
}
