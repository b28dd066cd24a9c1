//! Plain aligned tables: no boxes, two spaces between columns.

use unicode_width::UnicodeWidthStr;

use super::{Style, sanitize};

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows put together, then printed with columns as wide as their widest cell.
pub struct Table {
    columns: Vec<(String, Column)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(columns: &[(&str, Column)]) -> Table {
        Table {
            columns: columns.iter().map(|(name, column)| ((*name).to_owned(), *column)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells beyond the headings are not printed.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it; without any row only the headings. What came from a broker is sanitised on a terminal, and a line that
    /// is longer than the terminal is wide is cut there.
    pub fn print(&self, out: &mut Vec<u8>, style: Style) {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| clean(cell, style)).collect()).collect();
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(at, (name, _))| {
                rows.iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| cell.width())
                    .fold(name.width(), usize::max)
            })
            .collect();
        let line = |cells: &[&str]| {
            let mut text = String::new();
            for (at, ((_, column), width)) in self.columns.iter().zip(&widths).enumerate() {
                let cell = cells.get(at).copied().unwrap_or("-");
                let room = " ".repeat(width - cell.width().min(*width));
                if at > 0 {
                    text += "  ";
                }
                match column {
                    Column::Left => text.extend([cell, &room]),
                    Column::Right => text.extend([&room, cell]),
                }
            }
            text.truncate(text.trim_end().len());
            if style.terminal { cut(text, screen()) } else { text }
        };
        let heading = line(&self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        out.extend_from_slice(style.heading(&heading).as_bytes());
        out.push(b'\n');
        for row in &rows {
            out.extend_from_slice(line(&row.iter().map(String::as_str).collect::<Vec<_>>()).as_bytes());
            out.push(b'\n');
        }
    }
}

/// Columns of the terminal that stdout is; as many as wanted where nobody knows.
fn screen() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or(usize::MAX, |(width, _)| width.0.into())
}

/// At most so many columns, the last of them `…` where something is missing.
fn cut(mut text: String, most: usize) -> String {
    if text.width() <= most {
        return text;
    }
    while text.width() >= most && text.pop().is_some() {}
    text.push('…');
    text
}

/// A cell stays on its line everywhere; on a terminal nothing in it acts.
fn clean(cell: &str, style: Style) -> String {
    if style.terminal { sanitize::text(cell).into_owned() } else { cell.replace(['\n', '\r', '\t'], " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &Table) -> String {
        let mut out = Vec::new();
        table.print(&mut out, Style::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_terminal_has_no_room_for_is_cut() {
        assert_eq!(cut("12345678".into(), 8), "12345678");
        assert_eq!(cut("123456789".into(), 8), "1234567…");
        assert_eq!(cut("日本日本日".into(), 8), "日本日…", "no half of a wide character");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_on_the_screen() {
        let mut table = Table::new(&[("NAME", Column::Left), ("N", Column::Right), ("WHY", Column::Left)]);
        table.row(["日本".into(), "1,000".into(), "-".into()]);
        table.row(["a".into(), "2".into(), "long\nline".into()]);
        assert_eq!(printed(&table), "NAME      N  WHY\n日本  1,000  -\na         2  long line\n");
    }
}
