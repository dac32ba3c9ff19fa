//! Tables for people, in the style of `kubectl`: upper-case headers, columns apart by spaces, no borders, numbers to
//! the right. Scripts read JSON.

use std::fmt::Write as _;

/// How a piece of text stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Bold.
    Strong,
    /// Green.
    Good,
    /// Red.
    Bad,
    /// Grey.
    Dim,
}

/// The text in its tone where `colour` is wanted.
pub fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        _ if !colour => return text.to_owned(),
        Tone::Plain => return text.to_owned(),
        Tone::Strong => "1",
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows of cells under headers.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Header and whether the column is aligned to the right.
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table. A header that starts with `>` aligns its column to the right.
    pub fn new(headers: &[&'static str]) -> Self {
        let column = |h: &&'static str| h.strip_prefix('>').map_or((*h, false), |h| (h, true));
        Self {
            columns: headers.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells at its end are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table without those of these columns, the first first, that it has to lose to be no wider than that.
    #[must_use]
    pub fn fitted(mut self, width: usize, dispensable: &[&str]) -> Self {
        for header in dispensable {
            let text = self.render(false);
            let widest = text.lines().map(|l| l.chars().count()).max();
            if widest.unwrap_or_default() <= width {
                break;
            }
            // Of several of a name the last is lost first.
            let Some(at) = self.columns.iter().rposition(|(h, _)| h == header) else {
                continue;
            };
            self.columns.remove(at);
            for row in self.rows.iter_mut().filter(|row| at < row.len()) {
                row.remove(at);
            }
        }
        self
    }

    /// The table as text, each line ended.
    pub fn render(&self, colour: bool) -> String {
        let headers: Vec<Cell> = self
            .columns
            .iter()
            .map(|(h, _)| Cell::toned(*h, Tone::Dim))
            .collect();
        let lines = || std::iter::once(&headers).chain(&self.rows);
        let width = |i: usize| {
            lines()
                .filter_map(|r| r.get(i))
                .map(|c| c.text.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| width(i).unwrap_or_default())
            .collect();
        let mut out = String::new();
        for row in lines() {
            let mut line = String::new();
            for ((cell, &width), &(_, right)) in row.iter().zip(&widths).zip(&self.columns) {
                let padding = width.saturating_sub(cell.text.chars().count());
                let painted = paint(&cell.text, cell.tone, colour && !cell.text.is_empty());
                let (before, after) = if right { (padding, 0) } else { (0, padding) };
                let _ = write!(line, "{:before$}{painted}{:after$}   ", "", "");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_go_to_the_right() {
        let mut table = Table::new(&["NAME", ">COST"]);
        table.row(["a".into(), "1.5".into()]);
        table.row(["longer".into(), Cell::toned("120.25", Tone::Good)]);
        assert_eq!(
            table.render(false),
            "NAME       COST\na           1.5\nlonger   120.25\n"
        );
        assert!(table.render(true).contains("\x1b[32m120.25\x1b[0m\n"));
    }

    #[test]
    fn what_is_too_wide_loses_columns_in_the_order_given() {
        let table = || {
            let mut table = Table::new(&["NAME", ">SEEN", ">SLO", ">SEEN", ">SLO"]);
            table.row(["a", "1", "2", "3", "4"].map(Cell::from));
            table
        };
        let headers = |width| {
            let text = table().fitted(width, &["SLO", "SLO", "NAME"]).render(false);
            text.lines().next().map(str::to_owned).unwrap_or_default()
        };
        assert_eq!(headers(80), "NAME   SEEN   SLO   SEEN   SLO");
        assert_eq!(headers(26), "NAME   SEEN   SLO   SEEN");
        assert_eq!(headers(20), "NAME   SEEN   SEEN");
        assert_eq!(headers(1), "SEEN   SEEN");
    }
}
