use super::*;

/// 2026-11-21T12:00:00 in a zone two hours east.
fn at(partitions: bool) -> Reference {
    let now = "2026-11-21T10:00:00Z".parse::<Timestamp>().map(|t| t.as_millisecond()).expect("a time");
    Reference { now, zone: || TimeZone::fixed(jiff::tz::offset(2)), partitions }
}

fn points(texts: &[&str]) -> Vec<Point> {
    texts.iter().map(|text| parse(text).expect(text)).collect()
}

fn topics() -> Vec<Name> {
    vec!["orders".into()]
}

fn time_of(text: &str) -> String {
    match start("--from", &points(&[text]), &topics(), &at(false)) {
        Ok(Start::Time(time)) => Timestamp::from_millisecond(time).expect("a time").to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn times_in_every_form() {
    for (text, time) in [
        ("10m", "2026-11-21T09:50:00Z"),
        ("1h30m", "2026-11-21T08:30:00Z"),
        ("0s", "2026-11-21T10:00:00Z"),
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z"),
        ("2026-11-21T09:00:00.25+01:00", "2026-11-21T08:00:00.25Z"),
        ("2026-11-20", "2026-11-19T22:00:00Z"),
        ("2026-11-20T14:05", "2026-11-20T12:05:00Z"),
        ("2026-11-20 14:05:06", "2026-11-20T12:05:06Z"),
        ("09:05", "2026-11-21T07:05:00Z"),
        ("09:05:30.5", "2026-11-21T07:05:30.5Z"),
        ("@1526919030", "2018-05-21T16:10:30Z"),
        ("@1526919030474", "2018-05-21T16:10:30.474Z"),
        ("@1526919030474ms", "2018-05-21T16:10:30.474Z"),
    ] {
        assert_eq!(time_of(text), time, "{text}");
    }
}

#[test]
fn words_and_positions() {
    let start = |texts: &[&str], partitions| {
        start("--from", &points(texts), &topics(), &at(partitions)).map_err(|failure| failure.message)
    };
    let name: Name = "orders".into();
    let place = |partition, offset| (name.clone(), Position::At { partition, offset });
    assert_eq!(start(&["beginning"], false), Ok(Start::Earliest));
    assert_eq!(start(&["now"], false), Ok(Start::Latest));
    assert_eq!(start(&["end"], false), Ok(Start::Latest));
    assert_eq!(start(&["123"], false), Ok(Start::At(vec![(name.clone(), Position::Offset(123))])));
    assert_eq!(
        start(&["2026"], false),
        Ok(Start::At(vec![(name.clone(), Position::Offset(2026))])),
        "no year"
    );
    assert_eq!(start(&["3:123", "0:7"], true), Ok(Start::At(vec![place(3, 123), place(0, 7)])));
    assert_eq!(start(&["10:030"], true), Ok(Start::At(vec![place(10, 30)])));
    let pair = Position::Pair(1_526_919_030_474, 55);
    assert_eq!(start(&["1526919030474-55"], false), Ok(Start::At(vec![(name.clone(), pair)])));
}

#[test]
fn what_is_not_a_point_is_refused_with_a_right_one() {
    for text in [
        "",
        "yesterday",
        "25:00",
        "14:60",
        "@",
        "@-5",
        "@x",
        "3:",
        ":3",
        "3:-1",
        "-3",
        "2026-13-01",
        "1-2-3",
        "99999999999999999999",
        "10M",
        "beginnin",
        "14:05.5",
    ] {
        assert!(parse(text).expect_err(text).contains("2026-01-31T14:05:00Z"), "{text}");
    }
}

#[test]
fn what_has_two_meanings_is_refused() {
    let both = start("--from", &points(&["10:30"]), &topics(), &at(true)).expect_err("ambiguous");
    assert_eq!(both.hint.as_deref(), Some("write 10:30:00 for the time, 10:030 for the position"));
    assert!(start("--from", &points(&["10:30:00"]), &topics(), &at(true)).is_ok());
}

#[test]
fn a_time_of_today_still_to_come_names_that_of_yesterday() {
    let failure = start("--since", &points(&["23:50"]), &topics(), &at(false)).expect_err("in the future");
    assert_eq!(failure.hint.as_deref(), Some("yesterday: --since 2026-11-20T23:50:00"));
}

#[test]
fn only_positions_of_one_topic_may_be_repeated() {
    let refused =
        |texts: &[&str], topics: &[Name]| start("--from", &points(texts), topics, &at(true)).is_err();
    assert!(refused(&["10m", "20m"], &topics()));
    assert!(refused(&["0:1", "20m"], &topics()));
    assert!(refused(&["0:1", "0:2"], &topics()), "the same partition twice");
    assert!(refused(&["1", "2"], &topics()));
    assert!(refused(&["1"], &["a".into(), "b".into()]));
    assert!(start("--from", &points(&["3:1"]), &topics(), &at(false)).is_err(), "no partitions here");
}

#[test]
fn a_range_holds_its_start_and_not_its_end() {
    let range = range(&points(&["10m"]), &points(&["5m"]), &topics(), &at(false)).expect("a range");
    let now = at(false).now;
    assert_eq!(range.stop, Some(Stop::Now));
    assert!(range.holds(now - 600_000) && range.holds(now - 300_001));
    assert!(!range.holds(now - 600_001) && !range.holds(now - 300_000));
}

#[test]
fn a_range_that_can_hold_nothing_is_refused() {
    let range = |from: &str, to: &str| range(&points(&[from]), &points(&[to]), &topics(), &at(false));
    assert!(range("5m", "10m").is_err());
    assert!(range("5m", "5m").is_err());
    assert!(range("beginning", "beginning").is_err());
    assert!(range("beginning", "now").is_ok());
}

#[test]
fn a_range_that_is_turned_around_is_refused() {
    let range = |from, to| range(&points(&[from]), &points(&[to]), &topics(), &at(false));
    let failure = range("8", "5").unwrap_err();
    assert_eq!(failure.message, "--from 8 lies behind --to 5, so no event can be");
    assert!(range("5", "5").is_ok(), "an empty range is one");
}

#[test]
fn a_time_is_no_position() {
    assert!(parse_time("14:05").is_ok() && parse_time("10m").is_ok() && parse_time("now").is_ok());
    for text in ["1500", "beginning", "tomorrow", "3:5"] {
        let wrong = parse_time(text).unwrap_err();
        assert!(wrong.starts_with("write 2026-") && !wrong.contains("position"), "{text}: {wrong}");
    }
}
