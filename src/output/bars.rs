//! Numbers as small pictures that also read well as text.

/// A bar of eighths of a column, such as `████▌`: `part` of `whole` in at most `width` columns; what is there at all is
/// seen.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if part == 0 || whole == 0 {
        return String::new();
    }
    let room = width as u128 * 8;
    let eighths = ((u128::from(part.min(whole)) * room + u128::from(whole) / 2) / u128::from(whole)).max(1);
    let mut bar = "█".repeat((eighths / 8) as usize);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[(eighths % 8) as usize]);
    }
    bar
}

/// A row of columns whose heights are the counts, such as `▁▄██▇▅ ▁`; a blank is none.
pub fn sparkline(counts: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0);
    let column = |count: u64| match count {
        0 => ' ',
        _ => HEIGHTS[((u128::from(count) * 8).div_ceil(u128::from(most)) - 1) as usize],
    };
    counts.iter().map(|count| column(*count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_its_share_and_never_nothing() {
        assert_eq!(bar(10, 10, 5), "█████");
        assert_eq!(bar(1, 2, 5), "██▌");
        assert_eq!(bar(1, 1_000_000, 5), "▏");
        assert_eq!((bar(0, 10, 5), bar(0, 0, 5)), (String::new(), String::new()));
        assert_eq!(bar(u64::MAX, u64::MAX, 3), "███");
    }

    #[test]
    fn a_sparkline_ends_at_its_highest() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[1, 1000]), "▁█");
        assert_eq!((sparkline(&[]), sparkline(&[0, 0])), (String::new(), "  ".into()));
    }
}
