//! How fast events go: so many per second (`--rate`), or as fast as they once came (`--speed`).

use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Event, Millis};

/// `--rate`: at most so many events in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    events: u64,
    per: Duration,
}

impl Rate {
    /// Time from one event to the next.
    fn interval(self) -> Duration {
        self.per.div_f64(self.events as f64).max(Duration::from_nanos(1))
    }

    /// As so many in each second, where that is a whole number.
    pub fn per_second(self) -> Option<u64> {
        let seconds = self.per.as_secs();
        self.events.is_multiple_of(seconds).then_some(self.events / seconds)
    }

    /// How long so many events take.
    pub fn time_for(self, events: u64) -> Duration {
        Duration::try_from_secs_f64(self.interval().as_secs_f64() * events as f64).unwrap_or(Duration::MAX)
    }
}

/// As it is typed.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.per.as_secs() {
            1 => 's',
            60 => 'm',
            _ => 'h',
        };
        write!(f, "{}/{unit}", self.events)
    }
}

/// Parses `200/s`, `30/m`, `5/h`: clap's value parser of `--rate`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let parsed = text.split_once('/').and_then(|(events, unit)| {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let events = events.parse().ok().filter(|events| *events > 0)?;
        Some(Rate { events, per: Duration::from_secs(seconds) })
    });
    parsed.ok_or_else(|| "a rate is a number of events in a second, minute or hour: 200/s, 30/m".into())
}

/// `--speed`: how much faster than it once was; `max` does not wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(Option<f64>);

/// Parses `1x`, `10x`, `0.5x`, `max`: clap's value parser of `--speed`.
pub fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let factor = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
    let usable = factor.filter(|factor| factor.is_finite() && *factor > 0.0);
    usable.map(|factor| Speed(Some(factor))).ok_or_else(|| "a speed is 1x, 10x, 0.5x or max".into())
}

/// After a pause no more than this is caught up, so that a rate is never exceeded by a burst.
const SLACK: Duration = Duration::from_millis(50);

/// Says how many events may go, and waits until one may.
#[derive(Debug)]
pub struct Pacer {
    rate: Option<(Duration, Instant)>,
    speed: Option<(f64, Option<(Millis, Instant)>)>,
}

impl Pacer {
    /// Without either, nothing ever waits.
    pub fn new(rate: Option<Rate>, speed: Option<Speed>) -> Pacer {
        Pacer {
            rate: rate.map(|rate| (rate.interval(), Instant::now())),
            speed: speed.and_then(|speed| speed.0).map(|factor| (factor, None)),
        }
    }

    /// Whether it never waits.
    pub fn is_unbounded(&self) -> bool {
        self.rate.is_none() && self.speed.is_none()
    }

    /// How many of these events, from the first, may go now; waits until at least one may. The caller then sends
    /// exactly so many. Cancel safe: what was not answered was not counted.
    pub async fn permit(&mut self, events: &[Event]) -> usize {
        if self.is_unbounded() || events.is_empty() {
            return events.len();
        }
        loop {
            match self.allow(Instant::now(), events) {
                Ok(count) => return count,
                Err(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    /// How many may go at this time, or when the first may.
    fn allow(&mut self, now: Instant, events: &[Event]) -> Result<usize, Instant> {
        let mut count = events.len();
        if let Some((factor, origin)) = &mut self.speed {
            // The first event that has a time is the beginning; what is older than that, or has none, does not wait.
            let mut due = |event: &Event| {
                let timestamp = event.timestamp()?;
                let (first, start) = *origin.get_or_insert((timestamp, now));
                let later = Duration::from_millis(u64::try_from(timestamp - first).ok()?);
                start.checked_add(later.div_f64(*factor))
            };
            for (i, event) in events.iter().enumerate() {
                if let Some(at) = due(event).filter(|at| *at > now) {
                    if i == 0 {
                        return Err(at);
                    }
                    count = i;
                    break;
                }
            }
        }
        if let Some((interval, next)) = &mut self.rate {
            if *next > now {
                return Err(*next);
            }
            let behind = (now - *next).min(SLACK);
            count = count.min(1 + (behind.as_nanos() / interval.as_nanos()) as usize);
            *next = now - behind + interval.saturating_mul(count as u32);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers, Name, Position};

    fn at(times: &[Millis]) -> Vec<Event> {
        let topic: Name = "t".into();
        let mut batch = Batch::default();
        for time in times {
            batch.push(&topic, None, Headers::default(), None, Some(*time), Position::Unknown);
        }
        batch.finish().to_vec()
    }

    /// When each event goes, in milliseconds after the start.
    fn schedule(mut pacer: Pacer, events: &[Event]) -> Vec<u64> {
        let start = Instant::now();
        let (mut now, mut out, mut rest) = (start, Vec::new(), events);
        while !rest.is_empty() {
            match pacer.allow(now, rest) {
                Ok(count) => {
                    out.extend(std::iter::repeat_n((now - start).as_millis() as u64, count));
                    rest = &rest[count..];
                }
                Err(later) => now = later,
            }
        }
        out
    }

    #[test]
    fn a_rate_spreads_events_evenly() {
        let pacer = Pacer::new(Some(rate("10/s").unwrap()), None);
        assert_eq!(
            schedule(pacer, &at(&[0; 5])).iter().map(|ms| (ms + 50) / 100).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
    }

    #[test]
    fn a_pause_is_not_caught_up_by_a_burst() {
        let mut pacer = Pacer::new(Some(rate("1000/s").unwrap()), None);
        let later = Instant::now() + Duration::from_secs(3600);
        let count = pacer.allow(later, &at(&[0; 5000])).unwrap();
        assert!((1..=51).contains(&count), "{count}");
    }

    #[test]
    fn the_original_pace_is_kept_and_can_be_multiplied() {
        let events = at(&[1000, 1500, 1200, 3000]);
        let plain = Pacer::new(None, Some(speed("1x").unwrap()));
        assert_eq!(schedule(plain, &events), [0, 500, 500, 2000]);
        let fast = Pacer::new(None, Some(speed("10x").unwrap()));
        assert_eq!(schedule(fast, &events), [0, 50, 50, 200]);
        let max = Pacer::new(None, Some(speed("max").unwrap()));
        assert_eq!(schedule(max, &events), [0; 4]);
    }

    #[test]
    fn what_is_no_rate_or_speed_is_refused() {
        for text in ["", "10", "0/s", "-1/s", "10/d", "10/", "1.5/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["", "10", "0x", "-1x", "x", "infx", "nanx"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
