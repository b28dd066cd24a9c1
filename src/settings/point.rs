//! POINT: a place in a topic as people type it, and what it means once the clock and the broker are known.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::duration;
use crate::broker::{Start, Stop};
use crate::event::{Millis, Name, Position};
use crate::outcome::Failure;

/// What a POINT may be, for error messages and help.
pub const FORMS: &str = "beginning, now, 10m (ago), 14:05 (today), 2026-01-31, 2026-01-31T14:05:00Z, @1769868300 \
                         or a position such as 123 or 3:123";

/// What a time may be.
const TIMES: &str = "2026-01-31T14:05:00Z, 2026-01-31, 14:05 (today), 10m (ago), now or @1769868300";

/// One POINT, as typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Beginning,
    Now,
    Ago(std::time::Duration),
    At(Timestamp),
    /// A time without a zone.
    Local(DateTime),
    /// A time of today; `10:30` may also have been meant as partition 10, offset 30.
    Today(Time),
    Position(Position),
}

/// As it was typed.
impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a POINT is resolved against.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The time now.
    pub now: Millis,
    /// The zone of times that name none; to find the system's takes a millisecond, so only they ask.
    pub zone: fn() -> TimeZone,
    /// Whether the topics have partitions, so that `10:30` may be a position.
    pub partitions: bool,
}

/// What `--from` and `--to` choose. Events of `from <= event < to`; a place that was not given is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// Where to begin.
    pub start: Option<Start>,
    /// Where to end, once and for all.
    pub stop: Option<Stop>,
    /// Where `--from` is a time: earlier events that lie behind the start are not in the range.
    pub from: Option<Millis>,
    /// Where `--to` is a time: later events that lie before the stop are not in the range.
    pub to: Option<Millis>,
}

impl Range {
    /// Whether an event of this time is in the range.
    pub fn holds(&self, timestamp: Millis) -> bool {
        self.from.is_none_or(|from| from <= timestamp) && self.to.is_none_or(|to| timestamp < to)
    }
}

/// For clap's `value_parser`.
pub fn parse(text: &str) -> Result<Point, String> {
    let place = match text {
        "beginning" => Place::Beginning,
        "now" | "end" => Place::Now,
        _ => time(text)
            .or_else(|| position(text).map(Place::Position))
            .or_else(|| duration::parse(text).ok().map(Place::Ago))
            .ok_or_else(|| format!("write {FORMS}"))?,
    };
    Ok(Point { text: text.to_owned(), place })
}

/// The same for a place that must be a time.
pub fn parse_time(text: &str) -> Result<Point, String> {
    match parse(text) {
        Ok(point) if !matches!(point.place, Place::Beginning | Place::Position(_)) => Ok(point),
        _ => Err(format!("write {TIMES}")),
    }
}

fn time(text: &str) -> Option<Place> {
    if let Some(unix) = text.strip_prefix('@') {
        let (digits, millis) = match unix.strip_suffix("ms") {
            Some(digits) => (digits, true),
            // Seconds of twelve digits are the year 5138: as everywhere else, those are milliseconds.
            None => (unix, unix.len() > 11),
        };
        let number: i64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        let timestamp =
            if millis { Timestamp::from_millisecond(number) } else { Timestamp::from_second(number) };
        return timestamp.ok().map(Place::At);
    }
    if is_clock(text) {
        return text.parse().ok().map(Place::Today);
    }
    // A year, a dash: `1526919030474-55` is a position, `2026` is one too.
    if text.as_bytes().get(4) != Some(&b'-') || text.matches('-').count() < 2 {
        return None;
    }
    let zoned = || text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp());
    match text.parse::<Timestamp>().ok().or_else(zoned) {
        Some(timestamp) => Some(Place::At(timestamp)),
        None => text.parse().ok().map(Place::Local),
    }
}

/// `14:05`, `14:05:30`, `14:05:30.250`, by shape: a wrong hour is a wrong time and not a position.
fn is_clock(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let two = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let parts = clock.split(':').count();
    (parts == 2 && clock.len() == text.len() || parts == 3)
        && clock.split(':').all(two)
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// `123`, `3:123`, `1526919030474-55`.
pub fn position(text: &str) -> Option<Position> {
    fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }
    if let Some((partition, offset)) = text.split_once(':') {
        return (!is_clock(text))
            .then(|| Some(Position::At { partition: number(partition)?, offset: number(offset)? }))?;
    }
    match text.split_once('-') {
        Some((ms, seq)) => Some(Position::Pair(number(ms)?, number(seq)?)),
        None => number(text).map(Position::Offset),
    }
}

/// Where to begin; `flag` is what a refusal names. No point at all is `now`.
pub fn start(flag: &str, points: &[Point], topics: &[Name], at: &Reference) -> Result<Start, Failure> {
    match the_one(flag, points)? {
        None => positions(flag, points, topics, at).map(Start::At),
        Some(None) => Ok(Start::Latest),
        Some(Some(point)) => match &point.place {
            Place::Beginning => Ok(Start::Earliest),
            Place::Now => Ok(Start::Latest),
            _ => match point.millis(flag, at)? {
                time if matches!(point.place, Place::Today(_)) && time > at.now => {
                    let yesterday = shown(time - 86_400_000, at);
                    Err(Failure::usage(format!("{flag} {}: that time of today is still to come", point.text))
                        .hint(format!("yesterday: {flag} {yesterday}")))
                }
                time => Ok(Start::Time(time)),
            },
        },
    }
}

/// Where to end, and the time before which events are in the range, where the point is one: timestamps may lie in
/// any order, so the end of such a range is found by reading to the end that the topic has now.
pub fn stop(
    flag: &str,
    points: &[Point],
    topics: &[Name],
    at: &Reference,
) -> Result<(Stop, Option<Millis>), Failure> {
    match the_one(flag, points)? {
        None => Ok((Stop::At(positions(flag, points, topics, at)?), None)),
        Some(None) => Ok((Stop::Now, None)),
        Some(Some(point)) => match &point.place {
            Place::Beginning => Err(Failure::usage(format!("{flag} beginning: nothing lies before it"))),
            Place::Now => Ok((Stop::Now, None)),
            _ => Ok((Stop::Now, Some(point.millis(flag, at)?))),
        },
    }
}

/// Both ends; each is `None` where no point was given for it.
pub fn range(from: &[Point], to: &[Point], topics: &[Name], at: &Reference) -> Result<Range, Failure> {
    let mut range = Range::default();
    if !from.is_empty() {
        let start = start("--from", from, topics, at)?;
        range.from = if let Start::Time(time) = start { Some(time) } else { None };
        range.start = Some(start);
    }
    if !to.is_empty() {
        let (stop, before) = stop("--to", to, topics, at)?;
        (range.stop, range.to) = (Some(stop), before);
    }
    if let (Some(from), Some(to)) = (range.from, range.to)
        && from >= to
    {
        let (from, to) = (shown(from, at), shown(to, at));
        return Err(Failure::usage(format!("--from ({from}) is not before --to ({to}), so no event can be")));
    }
    // The same position twice is an empty range, which a script may well compute; a turned one is a mistake.
    if let (Some(Start::At(from)), Some(Stop::At(to))) = (&range.start, &range.stop)
        && let ([(_, Position::Offset(from))], [(_, Position::Offset(to))]) = (&from[..], &to[..])
        && from > to
    {
        return Err(Failure::usage(format!("--from {from} lies behind --to {to}, so no event can be")));
    }
    Ok(range)
}

/// `None`: all are positions. Else the single point, if there is one.
fn the_one<'a>(flag: &str, points: &'a [Point]) -> Result<Option<Option<&'a Point>>, Failure> {
    if !points.is_empty() && points.iter().all(|point| matches!(point.place, Place::Position(_))) {
        return Ok(None);
    }
    match points {
        [] => Ok(Some(None)),
        [point] => Ok(Some(Some(point))),
        _ => Err(Failure::usage(format!("{flag} was given more than once"))
            .hint(format!("only positions may be, one for each partition: {flag} 0:120 {flag} 1:98"))),
    }
}

fn positions(
    flag: &str,
    points: &[Point],
    topics: &[Name],
    at: &Reference,
) -> Result<Vec<(Name, Position)>, Failure> {
    let first = points.first().map_or("", |point| &point.text);
    let [topic] = topics else {
        return Err(Failure::usage(format!(
            "{flag} {first}: a position belongs to one topic, here are {}",
            topics.len()
        ))
        .hint(format!("a time works for several: {flag} 10m")));
    };
    let mut found: Vec<(Name, Position)> = Vec::new();
    for Point { text, place } in points {
        let Place::Position(position) = place else { continue };
        if !at.partitions && matches!(position, Position::At { .. }) {
            return Err(Failure::usage(format!("{flag} {text}: '{topic}' has no partitions"))
                .hint(format!("here a position is one number: {flag} 123")));
        }
        if found.iter().any(|(_, other)| other.partition() == position.partition()) {
            let message = match position.partition() {
                Some(partition) => format!("{flag}: partition {partition} was given twice"),
                None => format!("{flag}: more than one position without a partition"),
            };
            return Err(
                Failure::usage(message).hint(format!("one for each partition: {flag} 0:120 {flag} 1:98"))
            );
        }
        found.push((topic.clone(), position.clone()));
    }
    Ok(found)
}

/// As it can be typed back, in the zone of the reader.
fn shown(time: Millis, at: &Reference) -> String {
    match Timestamp::from_millisecond(time) {
        Ok(time) => time.to_zoned((at.zone)()).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => format!("@{time}ms"),
    }
}

impl Point {
    /// The time it means. Requires: neither `beginning` nor a position.
    fn millis(&self, flag: &str, at: &Reference) -> Result<Millis, Failure> {
        let text = &self.text;
        let outside = || Failure::usage(format!("{flag} {text}: that time is out of bounds"));
        let local = |time: DateTime| time.to_zoned((at.zone)()).map(|z| z.timestamp()).map_err(|_| outside());
        let now = Timestamp::from_millisecond(at.now).map_err(|_| outside())?;
        let timestamp = match &self.place {
            Place::Ago(ago) => now.checked_sub(*ago).map_err(|_| outside())?,
            Place::At(timestamp) => *timestamp,
            Place::Local(time) => local(*time)?,
            Place::Today(time) => {
                if at.partitions && text.len() == 5 {
                    let (partition, offset) = (&text[..2], &text[3..]);
                    return Err(Failure::usage(format!(
                        "{flag} {text} may be a time of today, or partition {partition}, offset {offset}"
                    ))
                    .hint(format!("write {text}:00 for the time, {partition}:0{offset} for the position")));
                }
                local(now.to_zoned((at.zone)()).date().to_datetime(*time))?
            }
            Place::Now | Place::Beginning | Place::Position(_) => now,
        };
        Ok(timestamp.as_millisecond())
    }
}

#[cfg(test)]
#[path = "point_tests.rs"]
mod tests;
