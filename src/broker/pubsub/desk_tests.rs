//! What a member has in hand, tried with times of the test's own.

use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn desk(stop: Option<Millis>, in_flight: usize) -> Desk {
    let source = Source { topic: "t".into(), subscription: "t.g".into() };
    Desk::new(vec![source], in_flight, LEASE, stop, Duration::from_secs(1), true)
}

fn message(id: &str, key: &str, second: i64) -> Arrived {
    let message = PubsubMessage {
        data: b"p"[..].into(),
        message_id: id.into(),
        ordering_key: key.into(),
        publish_time: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
        ..PubsubMessage::default()
    };
    let received = ReceivedMessage { ack_id: format!("a{id}"), message: Some(message), delivery_attempt: 0 };
    Arrived { received, source_topic: None }
}

fn tokens(desk: &mut Desk, now: Instant) -> Vec<Token> {
    match desk.say(now) {
        Some(Ok(Received::Deliveries(all))) => all.into_iter().map(|delivery| delivery.token).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_more_is_in_hand_than_asked_and_the_end_waits_for_silence() {
    let (mut desk, now) = (desk(Some(5000), 2), Instant::now());
    let all = ["1", "2", "3"].map(|id| message(id, "", 1)).into_iter().chain([message("4", "", 6)]);
    desk.arrived(0, all.collect(), now);
    let first = tokens(&mut desk, now);
    assert_eq!(first.len(), 2);
    assert!(desk.say(now).is_none());
    first.iter().for_each(|token| desk.settled(*token, now));
    let last = tokens(&mut desk, now);
    assert_eq!(last.len(), 1, "the fourth lies behind the stop");
    desk.release(last[0], now);
    let quiet = now + Duration::from_secs(1);
    assert!(!desk.is_to_ask(now) && desk.is_to_ask(quiet), "something may come yet");
    assert!(desk.say(quiet).is_none(), "nor is a server that hangs the end");
    desk.answered(quiet, quiet);
    assert!(matches!(desk.say(quiet + ANSWERED), Some(Ok(Received::End))));
    assert_eq!(desk.give_back().len(), 2, "what was released, and what lies behind the stop");
}

#[test]
fn a_lease_that_ended_takes_the_rest_of_its_key_with_it() {
    let (mut desk, now) = (desk(None, 3), Instant::now());
    let all = [("1", "k"), ("2", "k"), ("3", "other"), ("4", "k")].map(|(id, key)| message(id, key, 1));
    desk.arrived(0, all.into(), now);
    let held = tokens(&mut desk, now);
    desk.extended(&held[1..], now + LEASE / 2);
    let later = now + LEASE;
    assert!(!desk.holds(held[0], later));
    assert!(!desk.holds(held[1], later), "it must not overtake the first");
    assert!(desk.holds(held[2], later));
    match desk.say(later) {
        Some(Ok(Received::Lost(lost))) => assert_eq!(lost, held[..2]),
        other => panic!("{other:?}"),
    }
    assert!(desk.kept().is_empty(), "nor the one that waited");
}

#[test]
fn the_end_waits_for_what_was_under_way_when_a_stream_broke() {
    let (mut desk, now) = (desk(Some(5000), 2), Instant::now());
    desk.broke(LEASE, now);
    desk.arrived(0, vec![message("1", "", 6)], now + LEASE / 2);
    desk.answered(now + LEASE / 2, now + LEASE / 2);
    assert!(desk.end().is_some_and(|end| end > now + LEASE), "it comes again when its lease is over");
}

#[test]
fn what_comes_again_while_it_is_ours_is_not_handed_out_again() {
    let (mut desk, now) = (desk(None, 5), Instant::now());
    desk.arrived(0, vec![message("1", "", 1)], now);
    let held = tokens(&mut desk, now);
    let mut again = message("1", "", 1);
    again.received.ack_id = "newer".into();
    desk.arrived(0, vec![again], now);
    assert!(desk.say(now).is_none());
    assert_eq!(desk.ack_of(held[0]), Some((0, "newer".to_owned())));
}
