//! Durations as people type and read them.

use std::time::Duration;

/// `500ms`, `10s`, `2h`, `3d`, `1h30m`, `1.5h`, `0`. For clap's `value_parser`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| format!("{why}; write 500ms, 10s, 2h, 3d or 1h30m");
    // Neither has a fixed length, and `10M` was meant as minutes.
    let units = text.split(|c: char| !c.is_ascii_alphabetic());
    if units
        .into_iter()
        .any(|unit| matches!(unit, "M" | "y") || unit.starts_with("month") || unit.starts_with("year"))
    {
        return Err(wrong("months and years have no fixed length (minutes are 'm')"));
    }
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => wrong("a unit is missing"),
        humantime::DurationError::UnknownUnit { unit, .. } => {
            wrong(&format!("'{unit}' is not a unit of time"))
        }
        humantime::DurationError::NumberOverflow => wrong("that is too long or too fine"),
        _ => wrong("that is not a duration"),
    })
}

/// The same where none at all would end the command before anything could come.
pub fn some(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("nothing can come within no time; write 500ms, 10s, 2h, 3d or 1h30m".into()),
        some => Ok(some),
    }
}

/// `300ms`, `1.4s`, `41s`, `3m58s`, `6h12m`, `6d17h`, `4d`: the two largest units, cut.
pub fn short(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let two = |large: u64, name: char, small: u64, other: char| match small {
        0 => format!("{large}{name}"),
        small => format!("{large}{name}{small}{other}"),
    };
    match seconds {
        0 if millis == 0 => "0s".into(),
        0 => format!("{millis}ms"),
        1..10 if millis >= 100 => format!("{seconds}.{}s", millis / 100),
        1..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3600..86_400 => two(seconds / 3600, 'h', seconds % 3600 / 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds % 86_400 / 3600, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("10sec", 10_000),
            ("5 minutes", 300_000),
            ("2h", 7_200_000),
            ("3d", 259_200_000),
            ("1w", 604_800_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_shows_a_right_one() {
        for text in [
            "",
            " ",
            "10",
            "-5s",
            "s",
            "10x",
            "10M",
            "1 month",
            "2y",
            "1e3s",
            "99999999999999999999s",
            "1:30",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.ends_with("write 500ms, 10s, 2h, 3d or 1h30m"), "{text}: {error}");
        }
    }

    #[test]
    fn some_time_is_more_than_none() {
        assert_eq!(some("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0", "0s", "-1s"] {
            let error = some(text).expect_err(text);
            assert!(error.ends_with("write 500ms, 10s, 2h, 3d or 1h30m"), "{text}: {error}");
        }
    }

    #[test]
    fn prints_two_units_at_most() {
        for (text, short_text) in [
            ("0", "0s"),
            ("300ms", "300ms"),
            ("1400ms", "1.4s"),
            ("9s", "9s"),
            ("9.05s", "9s"),
            ("41.7s", "41s"),
            ("1m", "1m"),
            ("238s", "3m58s"),
            ("6h12m30s", "6h12m"),
            ("1d", "1d"),
            ("6d17h59m", "6d17h"),
            ("400d", "400d"),
        ] {
            assert_eq!(parse(text).map(short).as_deref(), Ok(short_text), "{text}");
        }
    }
}
