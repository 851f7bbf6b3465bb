//! Aligned tables of text.
//!
//! ```text
//!                        T2V                V2T grouped
//! normalize    regime     R@1   R@5    MnR          R@1   R@5    MnR
//! ------------------------------------------------------------------
//! raw          raw       48.0  71.3  13.65         46.7  74.9  9.785
//! ```

use std::fmt;

/// Columns under shared titles, and rows of cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    groups: Vec<(String, usize)>,
    columns: Vec<String>,
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns of words, aligned to the left; figures follow by [`Table::figures`].
    pub fn new(columns: &[&str]) -> Self {
        Self {
            groups: vec![(String::new(), columns.len())],
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            left: columns.len(),
            rows: Vec::new(),
        }
    }

    /// Columns of figures under one title, aligned to the right. The title may be empty.
    pub fn figures(mut self, title: &str, columns: Vec<String>) -> Self {
        self.groups.push((title.to_owned(), columns.len()));
        self.columns.extend(columns);
        self
    }

    /// A row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Width of each column in characters.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| length(column)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(length(cell));
            }
        }
        // A title that is wider than its columns widens the first of them.
        let mut start = 0;
        for (title, count) in &self.groups {
            let span = &mut widths[start..start + count];
            let taken: usize = span.iter().sum::<usize>() + 2 * count.saturating_sub(1);
            if let Some(first) = span.first_mut() {
                *first += length(title).saturating_sub(taken);
            }
            start += count;
        }
        widths
    }

    fn line(&self, widths: &[usize], cells: &[String]) -> String {
        let mut line = String::new();
        let mut ends = self.groups.iter().scan(0, |end, (_, count)| {
            *end += count;
            Some(*end)
        });
        let mut end = ends.next().unwrap_or(0);
        for (index, width) in widths.iter().enumerate() {
            if index == end {
                line.push_str("  "); // a wider gap between groups
                end = ends.next().unwrap_or(0);
            }
            let cell = cells.get(index).map_or("", String::as_str);
            let gap = " ".repeat(width.saturating_sub(length(cell)));
            if index < self.left {
                line.push_str(&format!("{cell}{gap}  "));
            } else {
                line.push_str(&format!("{gap}{cell}  "));
            }
        }
        line.trim_end().to_owned()
    }

    fn titles(&self, widths: &[usize]) -> Option<String> {
        if self.groups.iter().all(|(title, _)| title.is_empty()) {
            return None;
        }
        let mut line = String::new();
        let mut start = 0;
        for (title, count) in &self.groups {
            // Every column is followed by two blanks, every group by two more.
            let width = widths[start..start + count].iter().sum::<usize>() + 2 * count + 2;
            line.push_str(title);
            line.push_str(&" ".repeat(width.saturating_sub(length(title))));
            start += count;
        }
        Some(line.trim_end().to_owned())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        if let Some(titles) = self.titles(&widths) {
            writeln!(out, "{titles}")?;
        }
        let head = self.line(&widths, &self.columns);
        let lines: Vec<String> = self.rows.iter().map(|row| self.line(&widths, row)).collect();
        let widest = lines.iter().chain([&head]).map(|line| length(line)).max().unwrap_or(0);
        writeln!(out, "{head}\n{}", "-".repeat(widest))?;
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}
