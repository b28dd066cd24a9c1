//! What the lanes are told once: how much at a time, in what order, how often, and when to stop.

use std::time::Duration;

use clap::ValueEnum;

/// Which events wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ordering {
    /// Those of one topic and key, one at a time, in the order received
    #[default]
    Key,
    /// Those of one partition (where a broker has none: of one topic)
    Partition,
    /// None
    None,
}

/// How long a failed event waits: at least `min`, at most `max`, and between them at random below a bound that doubles
/// with every try, so that events that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// No wait is shorter.
    pub min: Duration,
    /// No wait is longer.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The wait after this try (the first is 1); `random` is in `0.0..1.0`.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.min.saturating_mul(1u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX));
        let bound = doubled.min(self.max).max(self.min);
        self.min + (bound - self.min).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// How to work.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Lanes: the most events being handled at a time.
    pub concurrency: usize,
    /// The handler takes events as they come and answers in that order: they need no lane. Requires:
    /// [`Ordering::None`].
    pub passes: bool,
    /// Which events wait for each other.
    pub ordering: Ordering,
    /// Tries before an event is dead. `u32::MAX` where a failure cannot come from the event (printing).
    pub max_attempts: u32,
    /// The wait between tries.
    pub backoff: Backoff,
    /// So many dead in a row stop the work.
    pub max_dead: Option<u32>,
    /// Whether there is a place for the dead; without one, the first stops the work.
    pub dead_letters: bool,
    /// Stop after so many events were handled or died.
    pub limit: Option<u64>,
    /// The broker's own delay, where it counts deliveries: with [`Ordering::None`] a failed event waits there.
    pub retry_delay: Option<Duration>,
    /// Bytes in hand from which no more are wanted.
    pub bytes: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            concurrency: 1,
            passes: false,
            ordering: Ordering::Key,
            max_attempts: 5,
            backoff: Backoff::default(),
            max_dead: Some(100),
            dead_letters: true,
            limit: None,
            retry_delay: None,
            bytes: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_stays_in_its_bounds(attempt in 0u32..200, random in 0.0f64..1.0, min in 0u64..5_000, more in 0u64..90_000) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + more) };
            let wait = backoff.wait(attempt, random);
            prop_assert!(backoff.min <= wait && wait <= backoff.max, "{wait:?}");
        }
    }

    #[test]
    fn the_bound_doubles_with_every_try() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
        let bounds: Vec<_> = (1..=7).map(|attempt| backoff.wait(attempt, 1.0).as_secs()).collect();
        assert_eq!(bounds, [2, 4, 8, 16, 32, 60, 60]);
    }
}
