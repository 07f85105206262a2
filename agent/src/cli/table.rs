//! Columns, padded.

/// Rows of text beneath a head.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// No column is made narrower than this.
const NARROWEST: usize = 8;

impl Table {
    pub(super) fn new<T: AsRef<str>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { rows: vec![head.into_iter().map(|cell| cell.as_ref().to_uppercase()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // Control characters would let a value of a manifest steer the terminal.
        let clean = |cell: String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Returns the lines, none wider than this if that can be.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let widths = self.widths(width);
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let mut widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
        let Some(limit) = limit else { return widths };
        while widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) > limit {
            let Some(widest) = widths.iter_mut().filter(|width| **width > NARROWEST).max() else { break };
            *widest -= 1;
        }
        widths
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{:width$}", cut(cell, *width)));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
