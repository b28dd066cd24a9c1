//! The copy that goes back: the event as it was before it died, and where it comes from.

use super::plan::Way;
use super::{Letter, decoders};
use crate::event::{Event, HeadersBuf, Millis, Name, Position, own, time};

/// The event that is put back: the failure record is taken off, `evcat-replay-*` says which run did it, how often it
/// has been done, and where the event once lay.
///
/// `contents` has the key, the other headers and the payload: the dead letter itself, or what an edit made of it; then
/// `of` is the id that it had before. To one group it goes as the event it was, at its old place and time; into a topic
/// as a new one.
pub fn put_back(contents: &Event, letter: &Letter, way: &Way, run: &str, of: Option<&str>) -> Event {
    let before = contents.headers();
    let mut headers = HeadersBuf::default();
    let ours = |name: &[u8]| name.starts_with(REPLAY.as_bytes()) || decoders::is_record_header(name);
    for (name, value) in before.iter().filter(|(name, _)| !ours(name)) {
        headers.push(name, value);
    }
    headers.push_str(own::REPLAY_RUN, run);
    headers.push_str(own::REPLAY_COUNT, &(letter.replays.saturating_add(1)).to_string());
    let group = match way {
        Way::Group { group, .. } => Some(group),
        Way::Topic { marked, .. } => marked.as_ref(),
        Way::Parked { .. } | Way::Here | Way::Stays(_) => None,
    };
    if let Some(group) = group {
        headers.push_str(own::REPLAY_GROUP, group);
    }
    let origin = &letter.origin;
    if let Some(topic) = &origin.topic {
        headers.push_str(own::REPLAY_TOPIC, topic);
        if origin.position != Position::Unknown {
            headers.push_str(own::REPLAY_POSITION, &origin.position.to_string());
        }
        if let Some(timestamp) = origin.timestamp {
            headers.push_str(own::REPLAY_TIMESTAMP, &time::text(timestamp));
        }
    }
    if let Some(of) = of.or(before.text(own::REPLAY_OF)) {
        headers.push_str(own::REPLAY_OF, of);
    }
    let (topic, timestamp, position) = match way {
        Way::Group { topic, .. } => (topic, origin.timestamp, origin.position.clone()),
        Way::Topic { topic, .. } | Way::Parked { topic } => (topic, None, Position::Unknown),
        // As it was handed out when it failed.
        Way::Here | Way::Stays(_) => {
            let topic = origin.topic.as_deref().map_or_else(|| contents.topic().clone(), Name::from);
            return rebuilt(&topic, contents, &headers, origin.timestamp, origin.position.clone());
        }
    };
    rebuilt(topic, contents, &headers, timestamp, position)
}

fn rebuilt(
    topic: &Name,
    contents: &Event,
    headers: &HeadersBuf,
    timestamp: Option<Millis>,
    position: Position,
) -> Event {
    let event =
        Event::new(topic, contents.key(), headers.as_headers(), contents.payload(), timestamp, position);
    with_extra(event, contents)
}

/// The dead letter as it is, with its whole record, in another topic.
pub fn park(event: &Event, topic: &Name) -> Event {
    let (headers, position) = (event.headers(), Position::Unknown);
    let parked = Event::new(topic, event.key(), headers, event.payload(), event.timestamp(), position);
    with_extra(parked, event)
}

/// A short name for a run, such as `k7m2`: letters and digits that are not mistaken for each other.
pub fn run_id(random: &mut fastrand::Rng) -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz";
    const DIGITS: &[u8] = b"23456789";
    let mut pick = |from: &[u8]| char::from(from[random.usize(..from.len())]);
    [pick(LETTERS), pick(DIGITS), pick(LETTERS), pick(DIGITS)].into_iter().collect()
}

const REPLAY: &str = "evcat-replay-";

fn with_extra(event: Event, from: &Event) -> Event {
    match from.extra() {
        Some(extra) => event.with_extra(extra.clone()),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletter::{Record, decode, stamp};
    use crate::event::{Batch, HeaderValue, Headers};

    const ORIGIN: Position = Position::Offset(41);

    fn event(headers: Headers<'_>) -> Event {
        let mut batch = Batch::default();
        batch.push(&"orders".into(), Some(b"A-17"), headers, Some(b"{}"), Some(5), ORIGIN);
        batch.finish()[0].clone()
    }

    fn die(event: &Event, position: Position, timestamp: i64) -> Event {
        let record = Record {
            topic: "orders".into(),
            position,
            timestamp: Some(timestamp),
            group: Some("shipping".into()),
            attempts: 5,
            kind: "exit".into(),
            error: "exit 1".into(),
            handler: Some("./ship.sh".into()),
            failed_at: 9,
        };
        stamp(event, &record, &"orders.shipping.dlq".into())
    }

    fn names(event: &Event) -> Vec<String> {
        event.headers().iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect()
    }

    fn to_group() -> Way {
        Way::Group { topic: "orders".into(), group: "shipping".into() }
    }

    #[test]
    fn to_one_group_it_is_the_event_it_was() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push(b"a", HeaderValue::Null);
        let before = event(headers.as_headers());
        let dead = die(&before, ORIGIN, 5);
        let back = put_back(&dead, &decode(&dead), &to_group(), "k7m2", None);
        assert_eq!((back.key(), back.payload()), (before.key(), before.payload()));
        assert_eq!((&**back.topic(), back.position(), back.timestamp()), ("orders", &ORIGIN, Some(5)));
        assert_eq!(
            back.headers().iter().take(2).collect::<Vec<_>>(),
            before.headers().iter().collect::<Vec<_>>()
        );
        assert!(!names(&back).iter().any(|name| name.starts_with("evcat-dlq-")));
        let text = |name| back.headers().text(name);
        assert_eq!(text(own::REPLAY_RUN), Some("k7m2"));
        assert_eq!((text(own::REPLAY_COUNT), text(own::REPLAY_GROUP)), (Some("1"), Some("shipping")));
        assert_eq!((text(own::REPLAY_TOPIC), text(own::REPLAY_POSITION)), (Some("orders"), Some("41")));
        assert_eq!(text(own::REPLAY_TIMESTAMP), Some("1970-01-01T00:00:00.005Z"));
        assert_eq!(text(own::REPLAY_OF), None);
    }

    #[test]
    fn each_round_counts_and_nothing_is_there_twice() {
        let mut now = event(Headers::default());
        for round in 1..=3 {
            let dead = die(&now, ORIGIN, 5);
            let letter = decode(&dead);
            assert_eq!(letter.replays, round - 1);
            now = put_back(&dead, &letter, &to_group(), &format!("run{round}"), None);
            let mut all = names(&now);
            all.sort();
            all.dedup();
            assert_eq!(all.len(), names(&now).len());
        }
        assert_eq!(now.headers().text(own::REPLAY_RUN), Some("run3"));
    }

    #[test]
    fn a_copy_into_a_topic_is_new_and_names_where_it_failed() {
        let dead = die(&event(Headers::default()), ORIGIN, 5);
        let way = Way::Topic { topic: "orders".into(), marked: Some("shipping".into()) };
        let copy = put_back(&dead, &decode(&dead), &way, "a2b3", None);
        assert_eq!((copy.timestamp(), copy.position()), (None, &Position::Unknown));
        assert_eq!(copy.headers().text(own::REPLAY_GROUP), Some("shipping"));
        // It dies again, at its new place.
        let dead = die(&copy, Position::Offset(900), 700);
        let way = Way::Topic { topic: "elsewhere".into(), marked: None };
        let again = put_back(&dead, &decode(&dead), &way, "c4d5", None);
        let text = |name| again.headers().text(name);
        assert_eq!((text(own::REPLAY_TOPIC), text(own::REPLAY_POSITION)), (Some("orders"), Some("900")));
        assert_eq!(text(own::REPLAY_TIMESTAMP), Some("1970-01-01T00:00:00.700Z"));
        assert_eq!(text(own::REPLAY_GROUP), None, "everybody is meant to see it");
        assert_eq!(&**again.topic(), "elsewhere");
    }

    #[test]
    fn an_edit_is_linked_to_what_it_was() {
        let dead = die(&event(Headers::default()), ORIGIN, 5);
        let first = put_back(&dead, &decode(&dead), &to_group(), "a2b3", Some("old-id"));
        assert_eq!(first.headers().text(own::REPLAY_OF), Some("old-id"));
        let dead = die(&first, ORIGIN, 5);
        let second = put_back(&dead, &decode(&dead), &to_group(), "c4d5", None);
        assert_eq!(second.headers().text(own::REPLAY_OF), Some("old-id"), "the link outlives a round");
    }

    #[test]
    fn what_is_parked_keeps_its_record() {
        let dead = die(&event(Headers::default()), ORIGIN, 5);
        let parked = park(&dead, &"orders.shipping.dlq.parked".into());
        assert_eq!(decode(&parked), decode(&dead));
        assert_eq!(parked.timestamp(), dead.timestamp());
    }

    #[test]
    fn a_run_has_a_short_name() {
        let mut random = fastrand::Rng::with_seed(7);
        let ids: Vec<_> = (0..100).map(|_| run_id(&mut random)).collect();
        assert!(ids.iter().all(|id| id.len() == 4 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert!(ids[1..].iter().any(|id| *id != ids[0]));
    }
}
