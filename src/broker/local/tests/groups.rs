//! What members of a group get, and what becomes of it.

use std::time::Duration;

use super::*;
use crate::broker::local::group;
use crate::broker::{GroupInfo, Source, Start};

async fn facts(rig: &Rig, name: &str) -> GroupInfo {
    group::groups(&rig.worker(), "*").await.unwrap().into_iter().find(|g| g.group == name).unwrap()
}

#[test]
fn a_key_is_with_one_member_at_a_time() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("x", "x1"), ("y", "y1"), ("x", "x2"), ("", "n1"), ("y", "y2"), ("x", "x3")]);
    assert_eq!(a.take_texts(1), ["x1"]);
    assert_eq!(b.take_texts(10), ["y1", "n1", "y2"], "a holds x");
    assert_eq!(b.take_texts(10), [""; 0]);
    assert_eq!(a.take_texts(10), ["x2", "x3"], "a may have more of its own key");
}

#[test]
fn without_order_keys_hold_nothing_back() {
    let rig = Rig::with_group("o", "g");
    let free = || SubscribeOptions { ordered: false, ..options() };
    let (mut a, mut b) = (rig.seat(&["o"], "g", free()), rig.seat(&["o"], "g", free()));
    rig.publish("o", &[("x", "x1"), ("x", "x2")]);
    assert_eq!(a.take_texts(1), ["x1"]);
    assert_eq!(b.take_texts(1), ["x2"]);
}

#[test]
fn a_key_in_backoff_waits_with_all_that_follows() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("x", "x1"), ("x", "x2"), ("y", "y1"), ("x", "x3")]);
    let got = a.take(2);
    assert!(a.settle(&got[0], Settlement::Retry(Duration::from_millis(40))));
    assert!(a.settle(&got[1], Settlement::Retry(Duration::ZERO)));
    let (_, others, claimed) = b.claim(10).unwrap();
    assert_eq!(texts(&others), ["y1"], "x backs off, y does not");
    assert_eq!(claimed.due, Some(rig.store.now() + 40), "says when to look again");
    rig.pass(40);
    let got: Vec<_> = b.take(10).into_iter().map(|got| (got.text(), got.attempt)).collect();
    assert_eq!(got, [("x1".into(), 2), ("x2".into(), 2), ("x3".into(), 1)]);
}

#[test]
fn settled_leaves_nothing_and_twice_is_lost() {
    let rig = Rig::with_group("o", "g");
    let mut a = rig.member(&["o"], "g");
    rig.publish("o", &[("x", "1"), ("", "2"), ("y", "3")]);
    let got = a.take(10);
    a.ack(&got);
    assert_eq!(rig.count("open"), 0);
    assert!(!a.settle(&got[0], Settlement::Ack), "twice is lost");
    assert!(!a.settle(&got[1], Settlement::Release));
    assert!(!a.settle(&got[2], Settlement::Retry(Duration::ZERO)));
    assert!(!a.settle(&got[2], move_to(event("o", "", "copy", &[]), None)));
    assert_eq!((rig.count("open"), rig.end("o")), (0, 3), "what is lost changes nothing");
}

#[test]
fn a_batch_of_moves_becomes_one_block_with_a_receipt_each() {
    let rig = Rig::with_group("o", "g");
    let mut a = rig.member(&["o"], "g");
    rig.publish("o", &[("x", "1"), ("y", "2"), ("z", "3")]);
    let got = a.take(10);
    let dead = |got: &Got| move_to(event("o.g.dlq", "", &got.text(), &[]), None);
    let items = [(&got[0], dead(&got[0])), (&got[1], Settlement::Ack), (&got[2], dead(&got[2]))];
    let answers: Vec<_> = a.settle_all(&items).into_iter().map(|answer| answer.unwrap()).collect();
    let positions: Vec<_> = answers.into_iter().map(|receipt| receipt.map(|r| r.position)).collect();
    assert_eq!(positions, [Some(Position::Offset(0)), None, Some(Position::Offset(1))]);
    assert_eq!((rig.end("o.g.dlq"), rig.count("block WHERE n = 2"), rig.count("open")), (2, 1, 0));
}

#[test]
fn a_put_back_is_for_one_group_and_changes_no_offset() {
    let rig = Rig::with_group("o", "g");
    rig.make_group("o", "h");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    let mut h = rig.member(&["o"], "h");
    rig.publish("o", &[("x", "x1")]);
    let got = a.take(1);
    a.settle(&got[0], move_to(event("o.g.dlq", "x", "x1", &[]), None));
    let got = h.take(10);
    h.ack(&got);
    rig.publish("o", &[("x", "x2")]);
    let x2 = b.take(1);

    let mut run = rig.letters("o.g.dlq", None);
    let letter = run.take(10);
    let headers = [("evcat-replay-topic", "o"), ("evcat-replay-position", "0")];
    assert!(run.settle(&letter[0], move_to(event("o", "x", "x1", &headers), Some("g"))));
    assert_eq!(rig.end("o"), 2, "no reader of the topic sees it");
    assert_eq!(a.take_texts(10), [""; 0], "b is at work on a later event of the key");
    let got = b.take(10);
    assert_eq!(texts(&got), ["x1"], "so b gets it");
    assert_eq!(got[0].event.position(), &Position::Offset(0), "its identity is what it was");
    assert_eq!(h.take_texts(10), ["x2"], "no other group is given it");
    b.ack(&[x2, got].concat());
    let missing = move_to(event("o", "x", "x1", &[]), Some("nobody"));
    rig.publish("o.g.dlq", &[("", "another")]);
    let mut run = rig.letters("o.g.dlq", None);
    let letter = run.take(1);
    let answer = run.settle_all(&[(&letter[0], missing)]).remove(0);
    assert_eq!(answer.unwrap_err().kind(), Kind::NotFound);
    assert!(run.settle(&letter[0], Settlement::Ack), "what was refused is still ours");
}

#[test]
fn what_was_released_comes_to_others_only_and_counts_as_untried() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("x", "x1"), ("x", "x2"), ("y", "y1")]);
    let got = a.take(1);
    assert!(a.settle(&got[0], Settlement::Release));
    assert_eq!(a.take_texts(10), ["y1"], "neither it nor what follows it in its key");
    let got: Vec<_> = b.take(10).into_iter().map(|got| (got.text(), got.attempt)).collect();
    assert_eq!(got, [("x1".into(), 1), ("x2".into(), 1)]);
}

#[test]
fn closing_gives_back_at_once_and_counts_only_what_was_looked_at() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("", "1"), ("", "2")]);
    let got = a.take(2);
    a.leave(&got[1..]);
    let got: Vec<_> = b.take(10).into_iter().map(|got| (got.text(), got.attempt)).collect();
    assert_eq!(got, [("1".into(), 2), ("2".into(), 1)]);
    assert_eq!(rig.count("member"), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_member_is_noticed_at_once() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("x", "x1"), ("x", "x2")]);
    assert_eq!(a.take_texts(1), ["x1"]);
    assert_eq!(b.take_texts(10), [""; 0]);
    drop(a);
    let got: Vec<_> = b.take(10).into_iter().map(|got| (got.text(), got.attempt)).collect();
    assert_eq!(got, [("x1".into(), 2), ("x2".into(), 1)]);
}

#[test]
fn a_lease_that_ran_out_loses_all_and_settles_nothing() {
    let rig = Rig::with_group("o", "g");
    let (mut a, mut b) = (rig.member(&["o"], "g"), rig.member(&["o"], "g"));
    rig.publish("o", &[("x", "x1"), ("x", "x2"), ("y", "y1")]);
    let old = a.take(10);
    rig.pass(30_001);
    let (lost, got, _) = b.claim(1).unwrap();
    assert_eq!(
        (lost, texts(&got)),
        (vec![], vec!["x1".to_string()]),
        "b's own ran out too, but nobody noticed"
    );
    assert!(!a.settle(&old[0], Settlement::Ack), "b has it");
    let (lost, new, _) = a.claim(10).unwrap();
    assert_eq!((lost, texts(&new)), (vec![0], vec!["y1".to_string()]), "a joins again; b has x");
    assert!(a.settle(&new[0], Settlement::Ack));
    b.ack(&got);
    assert_eq!(b.take_texts(10), ["x2"]);
}

#[test]
fn with_a_stop_it_ends_when_the_rest_is_settled_or_with_others() {
    let rig = Rig::with_group("o", "g");
    let now = || SubscribeOptions { stop: Stop::Now, ..options() };
    rig.publish("o", &[("x", "x1"), ("y", "y1"), ("x", "x2")]);
    let (mut a, mut b) = (rig.seat(&["o"], "g", now()), rig.member(&["o"], "g"));
    rig.publish("o", &[("z", "after the stop")]);
    let theirs = b.take(1);
    let (_, ours, claimed) = a.claim(10).unwrap();
    assert_eq!(texts(&ours), ["y1"]);
    assert!(!claimed.exhausted, "x2 waits for x1 and may be ours");
    b.ack(&theirs);
    let x2 = a.take(10);
    assert_eq!(texts(&x2), ["x2"]);
    assert!(a.settle(&x2[0], Settlement::Retry(Duration::from_secs(1))));
    assert!(!a.is_exhausted(), "a retry is still to come");
    rig.pass(1000);
    let x2 = a.take(10);
    assert!(a.settle(&x2[0], Settlement::Release));
    assert!(a.is_exhausted(), "what we released is not for us");
    assert_eq!(b.take_texts(10), ["x2", "after the stop"]);
    assert!(a.is_exhausted(), "what others have is not for us");
}

#[test]
fn topics_share_the_room_and_none_starves() {
    let rig = Rig::with_group("busy", "g");
    rig.make_group("calm", "g");
    rig.publish("busy", &[("", "b"); 50]);
    rig.publish("calm", &[("", "c"); 3]);
    let mut a = rig.member(&["busy", "calm"], "g");
    let got = a.take(10);
    assert_eq!(got.iter().filter(|got| got.text() == "c").count(), 3, "all of the calm one");
    assert_eq!(got.len(), 10, "and the rest of the room is the busy one's");
    assert!(got.iter().all(|got| got.event.topic().starts_with(&got.text())));
    a.ack(&got);
    assert_eq!(a.take(100).len(), 43);
}

#[test]
fn what_retention_took_is_said_with_its_number() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("x", "1"), ("x", "2"), ("x", "3"), ("x", "4")]);
    let mut a = rig.member(&["o"], "g");
    let got = a.take(1);
    a.settle(&got[0], Settlement::Retry(Duration::ZERO));
    rig.write(|sql| Ok(sql.execute("UPDATE topic SET first = 2", [])?));
    let Err(fault) = a.claim(10) else { panic!("it is gone") };
    let error = rig.store.explain(fault, "receive");
    assert_eq!(error.kind(), Kind::Gone);
    assert!(error.to_string().contains("has removed 2 events"), "{error}");
    let hint = error.detail().hint.clone();
    assert_eq!(hint.as_deref(), Some("to go on with what is left: evcat groups seek g o --from beginning"));
}

#[tokio::test]
async fn a_group_is_made_with_its_topics_and_stays_where_it_is() {
    let rig = Rig::new();
    rig.publish("o", &[("", "1"), ("", "2")]);
    let source = Source::Group { topics: vec!["o".into(), "new".into()], group: "g".into() };
    let worker = rig.worker();
    let made = group::create(&worker, &source, &Start::Latest, Some("dead")).await.unwrap();
    assert_eq!(made, ["topic new", "topic dead", "group g on o", "group g on new"]);
    let again = group::create(&worker, &source, &Start::Earliest, Some("dead")).await.unwrap();
    assert_eq!(again, [""; 0]);
    let facts = facts(&rig, "g").await;
    assert_eq!(facts.dead_letters.as_deref(), Some("dead"));
    for (topic, lag) in [("o", 0), ("new", 0)] {
        let all = group::groups(&worker, topic).await.unwrap();
        assert_eq!(all[0].lag.unwrap().events, lag, "{topic}: it stays where it is");
    }
    let bad = Source::Group { topics: vec!["o".into()], group: "".into() };
    assert_eq!(group::create(&worker, &bad, &Start::Latest, None).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(group::groups(&worker, "dead").await.unwrap().len(), 0);
}

#[tokio::test]
async fn facts_tell_lag_members_and_the_oldest() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("x", "1")]);
    let stored = rig.store.now();
    rig.pass(1000);
    rig.publish("o", &[("y", "2"), ("z", "3")]);
    let mut a = rig.member(&["o"], "g");
    let got = a.take(2);
    let told = facts(&rig, "g").await;
    assert_eq!((told.lag.unwrap().events, told.members, told.oldest), (3, Some(1), Some(stored)));
    assert_eq!(told.settled, [("o".into(), Position::Offset(0))]);
    assert_eq!(told.end, [("o".into(), Position::Offset(3))]);
    a.ack(&got[..1]);
    let told = facts(&rig, "g").await;
    assert_eq!((told.lag.unwrap().events, told.oldest), (2, Some(stored + 1000)));
    assert_eq!(told.settled, [("o".into(), Position::Offset(1))]);
    a.ack(&got[1..]);
    let got = a.take(10);
    let back = move_to(event("o", "z", "3", &[]), Some("g"));
    assert!(a.settle(&got[0], back));
    let told = facts(&rig, "g").await;
    assert_eq!(
        (told.lag.unwrap().events, told.oldest),
        (1, Some(5)),
        "a put-back is lag, as old as its event"
    );
    assert_eq!(told.settled, [("o".into(), Position::Offset(3))]);
}

#[tokio::test]
async fn seek_moves_an_idle_group_and_keeps_put_backs() {
    let rig = Rig::with_group("o", "g");
    rig.publish("o", &[("", "0"), ("", "1"), ("", "2"), ("", "3")]);
    let worker = rig.worker();
    let mut a = rig.member(&["o"], "g");
    let got = a.take(3);
    assert!(a.settle(&got[0], move_to(event("o", "", "back", &[]), Some("g"))));
    let refused = group::seek(&worker, "o", "g", &Start::Earliest).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Rejected);
    assert!(refused.to_string().contains("1 member is at work"), "{refused}");
    a.leave(&[]);
    let at = |offset| Start::At(vec![("o".into(), Position::Offset(offset))]);
    let after = |offset| Start::After(vec![("o".into(), Position::Offset(offset))]);
    let cases = [
        (Start::Earliest, 0),
        (Start::Latest, 4),
        (Start::Last(3), 1),
        (Start::Last(u64::MAX), 0),
        (Start::Time(1_000_001), 4),
        (Start::Time(1_000_000), 0),
        (at(2), 2),
        (after(2), 3),
    ];
    for (start, next) in cases {
        group::seek(&worker, "o", "g", &start).await.unwrap();
        let told = facts(&rig, "g").await;
        assert_eq!(told.lag.unwrap().events, 4 - next + 1, "{start:?}: and the put-back");
    }
    let mut b = rig.member(&["o"], "g");
    assert_eq!(b.take_texts(10), ["back", "3"]);
    b.leave(&[]);
    assert_eq!(group::seek(&worker, "o", "g", &at(9)).await.unwrap_err().kind(), Kind::Invalid);
    let other = Start::At(vec![("p".into(), Position::Offset(0))]);
    assert_eq!(group::seek(&worker, "o", "g", &other).await.unwrap_err().kind(), Kind::Invalid);
    rig.write(|sql| Ok(sql.execute("UPDATE topic SET first = 2", [])?));
    assert_eq!(group::seek(&worker, "o", "g", &at(1)).await.unwrap_err().kind(), Kind::Gone);
    assert_eq!(group::seek(&worker, "o", "nobody", &at(2)).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(group::seek(&worker, "nothing", "g", &at(2)).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn delete_removes_all_of_an_idle_group() {
    let rig = Rig::with_group("o", "g");
    rig.make_group("o", "h");
    rig.publish("o", &[("", "0"), ("", "1")]);
    let worker = rig.worker();
    let (mut a, mut h) = (rig.member(&["o"], "g"), rig.member(&["o"], "h"));
    a.take(1);
    h.take(2);
    assert_eq!(group::delete(&worker, "o", "g").await.unwrap_err().kind(), Kind::Rejected);
    a.leave(&[]);
    group::delete(&worker, "o", "g").await.unwrap();
    assert_eq!(
        (rig.count("grp"), rig.count("open"), rig.count("member")),
        (1, 2, 1),
        "the other group's stay"
    );
    assert_eq!(group::delete(&worker, "o", "g").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn where_a_group_that_exists_would_begin_is_not_asked() {
    let rig = Rig::with_group("o", "g");
    let worker = rig.worker();
    let source = Source::Group { topics: vec!["o".into()], group: "g".into() };
    // A service that is started again: what it begins at was kept then, and is no longer, or not yet.
    let nowhere = Start::At(vec![("o".into(), Position::Offset(17))]);
    let made = group::create(&worker, &source, &nowhere, Some("o.g.dlq")).await.unwrap();
    assert_eq!(made, ["topic o.g.dlq"]);
    let other = Source::Group { topics: vec!["o".into()], group: "h".into() };
    let refused = group::create(&worker, &other, &nowhere, None).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}

#[tokio::test]
async fn the_open_events_of_a_deleted_topic_go_with_it_and_no_others() {
    let rig = Rig::with_group("o", "g");
    rig.make_group("p", "g");
    rig.make_group("o", "h");
    for topic in ["o", "p"] {
        rig.publish(topic, &[("", "1"), ("", "2")]);
    }
    let held = [rig.member(&["o"], "g").take(9).len(), rig.member(&["o"], "h").take(9).len()];
    let mut other = rig.member(&["p"], "g");
    assert_eq!((held, other.take(9).len()), ([2, 2], 2));
    super::super::topics::delete(&rig.worker(), "o").await.unwrap();
    assert_eq!((rig.count("open"), rig.count("member"), rig.count("grp")), (2, 1, 1));
}
