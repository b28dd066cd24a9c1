//! Timestamps as programs write them: RFC 3339, UTC, milliseconds.

use super::Millis;

/// The years that RFC 3339 can write, in milliseconds.
const YEARS: std::ops::Range<Millis> = -62_167_219_200_000..253_402_300_800_000;

/// Appends `2026-11-21T14:02:11.532Z`; nothing, and false, for a time outside of the years 0 to 9999.
#[inline]
pub fn rfc3339(out: &mut Vec<u8>, at: Millis) -> bool {
    if !YEARS.contains(&at) {
        return false;
    }
    let (day, ms) = (at.div_euclid(86_400_000), at.rem_euclid(86_400_000) as u32);
    let (year, month, day) = civil(day);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    two(&mut text, 0, year / 100);
    two(&mut text, 2, year % 100);
    two(&mut text, 5, month);
    two(&mut text, 8, day);
    two(&mut text, 11, ms / 3_600_000);
    two(&mut text, 14, ms / 60_000 % 60);
    two(&mut text, 17, ms / 1000 % 60);
    text[20] = b'0' + (ms % 1000 / 100) as u8;
    two(&mut text, 21, ms % 100);
    out.extend_from_slice(&text);
    true
}

/// The same as text; the bare milliseconds where there is no such form.
pub fn text(at: Millis) -> String {
    let mut out = Vec::with_capacity(24);
    if rfc3339(&mut out, at) { String::from_utf8_lossy(&out).into_owned() } else { at.to_string() }
}

/// Reads RFC 3339 of any offset; what is finer than a millisecond is cut off.
pub fn parse(text: &str) -> Option<Millis> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_nanosecond().div_euclid(1_000_000) as Millis)
}

#[inline]
fn two(text: &mut [u8; 24], at: usize, n: u32) {
    text[at] = b'0' + (n / 10) as u8;
    text[at + 1] = b'0' + (n % 10) as u8;
}

/// Year, month and day of a day counted from 1970-01-01, after Howard Hinnant's `civil_from_days`.
#[inline]
fn civil(day: i64) -> (u32, u32, u32) {
    let day = day + 719_468; // from 0000-03-01
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, (of_year - (153 * march + 2) / 5 + 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_writable_time_comes_back(at in YEARS) {
            let text = text(at);
            prop_assert_eq!(parse(&text), Some(at), "{}", text);
        }
    }

    #[test]
    fn the_edges() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(text(YEARS.start), "0000-01-01T00:00:00.000Z");
        assert_eq!(text(YEARS.end - 1), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(YEARS.end), YEARS.end.to_string());
        assert_eq!(text(Millis::MAX), Millis::MAX.to_string());
        assert_eq!(text(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(parse("2024-02-29T14:34:56.0079+02:00"), Some(1_709_210_096_007));
        assert_eq!(parse("2024-02-29"), None, "a day is not a time");
    }
}
