//! Numbers, sizes and times as people read them.

use std::ffi::OsString;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::event::Millis;
use crate::output::sanitize;
use crate::settings::duration;

/// `40,000`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What is said where fewer events came than `-c` asks for.
pub fn short(came: u64, asked: u64) -> String {
    format!("it ended after {} of the {} events of -c", count(came), count(asked))
}

/// A name as a message may quote it: on one line, cut where it is so long that it would hide what is said of it.
pub fn name(name: &str) -> String {
    let name = sanitize::text(name);
    match name.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.into_owned(),
    }
}

/// `312 B`, `1.2 KiB`, `3.4 MiB`.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{size:.1} {}", units[unit]) }
}

/// How long ago: `6h12m`, `2s`.
pub fn ago(at: Millis, now: Millis) -> String {
    duration::short(std::time::Duration::from_millis(now.saturating_sub(at).max(0) as u64))
}

/// `14:02:11.532`, with the date before it when it is not today.
pub fn clock(at: Millis, now: Millis, zone: &TimeZone) -> String {
    local(at, now, zone, "%H:%M:%S%.3f")
}

/// `14:02:11`, with the date before it when it is not today.
pub fn clock_seconds(at: Millis, now: Millis, zone: &TimeZone) -> String {
    local(at, now, zone, "%H:%M:%S")
}

fn local(at: Millis, now: Millis, zone: &TimeZone, format: &str) -> String {
    let (Ok(at), Ok(now)) = (Timestamp::from_millisecond(at), Timestamp::from_millisecond(now)) else {
        return format!("@{at}ms"); // beyond the year 9999
    };
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let time = at.strftime(format);
    if at.date() == now.date() { time.to_string() } else { format!("{} {time}", at.date()) }
}

/// One word as a shell reads it back.
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@+=%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The same for a program and its arguments.
pub fn shell_line<'a>(words: impl IntoIterator<Item = &'a OsString>) -> String {
    words.into_iter().map(|word| shell_quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(
            [0, 999, 1_000, 40_000, 1_234_567].map(count),
            ["0", "999", "1,000", "40,000", "1,234,567"]
        );
        assert_eq!([312, 1_204_331, 3 << 30].map(bytes), ["312 B", "1.1 MiB", "3.0 GiB"]);
    }

    #[test]
    fn times_carry_their_date_only_when_it_is_not_today() {
        let now = 1_795_269_731_532; // 2026-11-21T14:02:11.532Z
        assert_eq!(clock(now, now, &TimeZone::UTC), "14:02:11.532");
        assert_eq!(clock(now - 86_400_000, now, &TimeZone::UTC), "2026-11-20 14:02:11.532");
    }

    #[test]
    fn a_shell_reads_the_same_word() {
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
        assert_eq!(shell_quoted("kafka://a:1,b:2"), "kafka://a:1,b:2");
    }
}
