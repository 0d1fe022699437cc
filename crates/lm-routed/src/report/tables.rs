//! Tables of losses.

use std::fmt::Write as _;

use crate::results::PartResult;

/// Rows of text under headings.
pub(super) struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns padded with spaces.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut out = String::new();
        for row in [&self.head].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width - cell.chars().count());
                // names to the left, numbers to the right
                if column == 0 {
                    line += &format!("{cell}{pad}");
                } else {
                    line += &format!("  {pad}{cell}");
                }
            }
            writeln!(out, "{}", line.trim_end()).ok();
        }
        out
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &rule + &rows
    }
}

/// Forget and retain loss of every part at every stage.
pub(super) fn losses(results: &[PartResult], stories: &[usize]) -> Table {
    let mut head = vec!["method".to_owned(), "labelled".to_owned()];
    for stage in ["trained", "ablated", "coherent"] {
        head.push(format!("{stage} forget"));
        head.push("retain".to_owned());
    }
    for count in stories {
        head.push(format!("relearned {count}"));
        head.push("retain".to_owned());
    }
    let rows = results
        .iter()
        .map(|result| {
            let mut row = vec![result.method.name().to_owned()];
            row.push(if result.method.needs_labels() {
                format!("{}%", result.labelled * 100.0)
            } else {
                "-".to_owned()
            });
            for losses in [result.trained, result.ablated, result.coherent] {
                row.push(format!("{:.3}", losses.forget));
                row.push(format!("{:.3}", losses.retain));
            }
            for count in stories {
                let cells = result.relearned_from(*count).map(|relearned| {
                    [relearned.best.forget, relearned.best.retain].map(|loss| format!("{loss:.3}"))
                });
                row.extend(cells.unwrap_or_else(|| ["-".to_owned(), "-".to_owned()]));
            }
            row
        })
        .collect();
    Table { head, rows }
}
