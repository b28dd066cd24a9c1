//! The failure record: ours is written here, everybody's becomes one [`Letter`] here.

use std::borrow::Cow;

use serde::Serialize;

use super::{decoders, fingerprint};
use crate::event::{Event, HeadersBuf, Millis, Name, Position, own, time};

/// The most bytes of a text in a record: headers count toward a broker's largest event.
pub const TEXT_LIMIT: usize = 4096;

/// Why and where `subscribe` gave an event up.
#[derive(Clone, Debug)]
pub struct Record {
    /// The topic it was delivered from.
    pub topic: Name,
    /// Its position there.
    pub position: Position,
    /// Its timestamp there.
    pub timestamp: Option<Millis>,
    /// The group; a bare queue has none.
    pub group: Option<Name>,
    /// Tries made, the first included.
    pub attempts: u32,
    /// One word: `exit`, `signal`, `timeout`, `dead`, `filter`, ...
    pub kind: Cow<'static, str>,
    /// For people, with what the handler said after the first colon: `exit 65: total is not a number`,
    /// `killed by signal 9`. Cut to [`TEXT_LIMIT`].
    pub error: String,
    /// The program that failed on it, without its arguments: `./ship.sh`, `curl …`, `--worker ./score.py`.
    pub handler: Option<String>,
    /// The time of death.
    pub failed_at: Millis,
}

/// The event as it goes into the dead-letter topic: key, payload and the other headers unchanged, the record in
/// `evcat-dlq-*` headers (those of an earlier death are replaced), stamped with the time of death.
pub fn stamp(event: &Event, record: &Record, dlq: &Name) -> Event {
    let mut headers = HeadersBuf::default();
    for (name, value) in event.headers().iter().filter(|(name, _)| !decoders::is_own(name)) {
        headers.push(name, value);
    }
    headers.push_str(own::DLQ_TOPIC, &record.topic);
    if record.position != Position::Unknown {
        headers.push_str(own::DLQ_POSITION, &record.position.to_string());
    }
    if let Some(at) = record.timestamp {
        headers.push_str(own::DLQ_TIMESTAMP, &time::text(at));
    }
    if let Some(group) = &record.group {
        headers.push_str(own::DLQ_GROUP, group);
    }
    headers.push_str(own::DLQ_ATTEMPTS, &record.attempts.to_string());
    headers.push_str(own::DLQ_KIND, &record.kind);
    headers.push_str(own::DLQ_ERROR, &cut(&record.error));
    if let Some(handler) = &record.handler {
        headers.push_str(own::DLQ_HANDLER, &cut(handler));
    }
    headers.push_str(own::DLQ_FAILED_AT, &time::text(record.failed_at));
    let stamped = Event::new(
        dlq,
        event.key(),
        headers.as_headers(),
        event.payload(),
        Some(record.failed_at),
        Position::Unknown,
    );
    match event.extra() {
        Some(extra) => stamped.with_extra(extra.clone()),
        None => stamped,
    }
}

/// Where a dead letter was published before it died.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The topic; `None`: nobody says.
    pub topic: Option<String>,
    /// Its position there.
    pub position: Position,
    /// Its timestamp there.
    pub timestamp: Option<Millis>,
}

/// What a dead letter says of itself, whoever wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// The ecosystem whose record was found; `None`: no record, it merely lies among dead letters.
    pub read_as: Option<&'static str>,
    /// One word: `exit`, `signal`, `timeout`, ...
    pub kind: Option<String>,
    /// What went wrong, for people; may have several lines.
    pub error: Option<String>,
    /// Where it was published before.
    pub origin: Origin,
    /// The group that gave it up.
    pub group: Option<String>,
    /// Tries made, the first included.
    pub attempts: Option<u32>,
    /// What failed on it.
    pub handler: Option<String>,
    /// When it died: as the record says, else when it was stored here.
    pub failed_at: Option<Millis>,
    /// How often it had been put back before it died.
    pub replays: u32,
    /// The run that put it back last.
    pub run: Option<String>,
    /// Its id before an edit.
    pub of: Option<String>,
    /// The same for whatever failed for the same reason.
    pub fingerprint: String,
}

/// Reads a dead letter. One without any record is a dead letter all the same, of unknown origin.
pub fn decode(event: &Event) -> Letter {
    let found = decoders::DECODERS.iter().find_map(|d| (d.decode)(event).map(|facts| (d.name, facts)));
    let (read_as, facts) = match found {
        Some((name, facts)) => (Some(name), facts),
        None => (None, decoders::Facts::default()),
    };
    let headers = event.headers();
    let fingerprint = fingerprint::of(
        facts.kind.as_deref().unwrap_or_default(),
        facts.error.as_deref().unwrap_or_default(),
    );
    Letter {
        read_as,
        kind: facts.kind,
        error: facts.error,
        origin: facts.origin,
        group: facts.group,
        attempts: facts.attempts,
        handler: facts.handler,
        failed_at: facts.failed_at.or(event.timestamp()),
        replays: headers.text(own::REPLAY_COUNT).and_then(|n| n.parse().ok()).unwrap_or(0),
        run: headers.text(own::REPLAY_RUN).map(str::to_owned),
        of: headers.text(own::REPLAY_OF).map(str::to_owned),
        fingerprint,
    }
}

/// The letter as the JSON object that `--where` and `-o json` see as `.failure`. Every member is always there; what is
/// not known is null. Positions are text, times RFC 3339 UTC.
pub fn failure_json(letter: &Letter) -> String {
    #[derive(Serialize)]
    struct Failure<'a> {
        kind: &'a Option<String>,
        error: &'a Option<String>,
        origin: Place<'a>,
        group: &'a Option<String>,
        attempts: Option<u32>,
        handler: &'a Option<String>,
        failed_at: Option<String>,
        replays: u32,
        run: &'a Option<String>,
        of: &'a Option<String>,
        fingerprint: &'a str,
        read_as: Option<&'static str>,
    }
    #[derive(Serialize)]
    struct Place<'a> {
        topic: &'a Option<String>,
        position: Option<String>,
        timestamp: Option<String>,
    }
    let Letter { read_as, kind, error, origin, group, attempts, handler, .. } = letter;
    let failure = Failure {
        kind,
        error,
        origin: Place {
            topic: &origin.topic,
            position: (origin.position != Position::Unknown).then(|| origin.position.to_string()),
            timestamp: origin.timestamp.map(time::text),
        },
        group,
        attempts: *attempts,
        handler,
        failed_at: letter.failed_at.map(time::text),
        replays: letter.replays,
        run: &letter.run,
        of: &letter.of,
        fingerprint: &letter.fingerprint,
        read_as: *read_as,
    };
    // Text and numbers alone: there is nothing in it that could fail.
    serde_json::to_string(&failure).unwrap_or_default()
}

/// A time as a record holds it: RFC 3339, UTC, to the millisecond, or bare milliseconds where no calendar reaches.
pub fn parse_time(text: &str) -> Option<Millis> {
    time::parse(text).or_else(|| text.parse().ok())
}

/// At most [`TEXT_LIMIT`] bytes: the beginning says what it is, the end most often why, so the middle goes.
fn cut(text: &str) -> Cow<'_, str> {
    const HEAD: usize = 256;
    const GAP: &str = " … ";
    if text.len() <= TEXT_LIMIT {
        return text.into();
    }
    let head = text.floor_char_boundary(HEAD);
    let tail = text.ceil_char_boundary(text.len() - (TEXT_LIMIT - HEAD - GAP.len()));
    format!("{}{GAP}{}", &text[..head], &text[tail..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, HeaderValue, Headers};

    fn event(headers: Headers<'_>) -> Event {
        let mut batch = Batch::default();
        batch.push(
            &"orders".into(),
            Some(b"A-17"),
            headers,
            Some(b"\xff\x00"),
            Some(5),
            Position::Offset(41),
        );
        batch.finish()[0].clone()
    }

    fn record() -> Record {
        Record {
            topic: "orders".into(),
            position: Position::At { partition: 3, offset: 881 },
            timestamp: Some(1_700_000_000_123),
            group: Some("shipping".into()),
            attempts: 5,
            kind: "exit".into(),
            error: "exit 65: total is not a number".into(),
            handler: Some("./ship.sh …".into()),
            failed_at: 1_700_000_009_000,
        }
    }

    #[test]
    fn what_is_stamped_is_read_back() {
        let dead = stamp(&event(Headers::default()), &record(), &"orders.shipping.dlq".into());
        let letter = decode(&dead);
        assert_eq!(
            letter,
            Letter {
                read_as: Some("evcat"),
                kind: Some("exit".into()),
                error: Some("exit 65: total is not a number".into()),
                origin: Origin {
                    topic: Some("orders".into()),
                    position: Position::At { partition: 3, offset: 881 },
                    timestamp: Some(1_700_000_000_123),
                },
                group: Some("shipping".into()),
                attempts: Some(5),
                handler: Some("./ship.sh …".into()),
                failed_at: Some(1_700_000_009_000),
                replays: 0,
                run: None,
                of: None,
                fingerprint: letter.fingerprint.clone(),
            }
        );
    }

    #[test]
    fn the_event_itself_is_unchanged() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push(b"a", HeaderValue::Null);
        headers.push(b"\xfe", HeaderValue::Int(7));
        let before = event(headers.as_headers());
        let dead = stamp(&before, &record(), &"d".into());
        assert_eq!((dead.key(), dead.payload()), (before.key(), before.payload()));
        assert_eq!(
            dead.headers().iter().take(3).collect::<Vec<_>>(),
            before.headers().iter().collect::<Vec<_>>()
        );
        assert_eq!((&**dead.topic(), dead.timestamp()), ("d", Some(1_700_000_009_000)));
        assert_eq!(dead.position(), &Position::Unknown);
    }

    #[test]
    fn a_second_death_replaces_the_first_and_keeps_the_count_of_put_backs() {
        let mut headers = HeadersBuf::default();
        headers.push_str(own::REPLAY_COUNT, "2");
        headers.push_str(own::REPLAY_RUN, "k7m2");
        let first = stamp(&event(headers.as_headers()), &record(), &"d".into());
        let second = stamp(&first, &Record { attempts: 1, handler: None, ..record() }, &"d".into());
        let named = |name: &str| second.headers().iter().filter(|(n, _)| *n == name.as_bytes()).count();
        assert_eq!(
            (named(own::DLQ_ERROR), named(own::DLQ_HANDLER)),
            (1, 0),
            "no stale half of an old record"
        );
        let letter = decode(&second);
        assert_eq!((letter.attempts, letter.replays, letter.run.as_deref()), (Some(1), 2, Some("k7m2")));
    }

    #[test]
    fn an_event_without_any_record_is_a_dead_letter_of_unknown_origin() {
        let letter = decode(&event(Headers::default()));
        assert_eq!((letter.read_as, letter.origin, letter.error), (None, Origin::default(), None));
        assert_eq!(letter.failed_at, Some(5), "the best there is: when it was stored");
    }

    #[test]
    fn a_damaged_record_says_what_it_can() {
        let mut headers = HeadersBuf::default();
        headers.push_str(own::DLQ_ATTEMPTS, "many");
        headers.push_str(own::DLQ_FAILED_AT, "yesterday");
        headers.push(own::DLQ_ERROR.as_bytes(), HeaderValue::Bytes(b"\xff"));
        headers.push_str(own::REPLAY_COUNT, "-1");
        let letter = decode(&event(headers.as_headers()));
        assert_eq!((letter.read_as, letter.attempts, letter.error), (Some("evcat"), None, None));
        assert_eq!((letter.failed_at, letter.replays), (Some(5), 0));
    }

    #[test]
    fn a_long_text_keeps_both_ends_and_whole_characters() {
        let text = format!("exit 1: {}ende", "ü".repeat(5000));
        let cut = cut(&text);
        assert!(cut.len() <= TEXT_LIMIT && cut.len() > TEXT_LIMIT - 8, "{}", cut.len());
        assert!(cut.starts_with("exit 1: ü") && cut.ends_with("üende"));
        assert_eq!(super::cut("short"), "short");
    }

    #[test]
    fn times_are_utc_to_the_millisecond_and_come_back() {
        for at in [0, -1, 1_700_000_000_123, Millis::MAX] {
            assert_eq!(parse_time(&time::text(at)), Some(at));
        }
        assert_eq!(parse_time("2023-11-14T23:13:20+01:00"), Some(1_700_000_000_000));
    }

    #[test]
    fn the_failure_is_one_json_object_with_every_member() {
        let known = failure_json(&decode(&stamp(&event(Headers::default()), &record(), &"d".into())));
        let value: serde_json::Value = serde_json::from_str(&known).unwrap();
        assert_eq!(value["origin"]["position"], "3:881");
        assert_eq!(value["origin"]["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["attempts"], 5);
        let unknown = failure_json(&decode(&event(Headers::default())));
        let members = |text: &str| {
            let value: serde_json::Map<_, _> = serde_json::from_str(text).unwrap();
            value.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(members(&known), members(&unknown));
    }
}
