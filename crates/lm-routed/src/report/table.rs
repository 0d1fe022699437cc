//! A table as text, CSV and Markdown.

/// Rows of cells under headings; the first column holds names.
pub(crate) struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Columns padded with spaces: names to the left, numbers to the right.
    pub(crate) fn text(&self) -> String {
        let all = || [&self.head].into_iter().chain(&self.rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut out = String::new();
        for row in all() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width - cell.chars().count());
                line.extend(if column == 0 { ["", cell, &pad] } else { ["  ", &pad, cell] });
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &rule + &rows
    }

    /// As CSV.
    pub(crate) fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in [&self.head].into_iter().chain(&self.rows) {
            // writing into memory cannot fail, and all rows are of one length
            writer.write_record(row).ok();
        }
        writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_three_forms() {
        let mut table = Table::new(&["token", "w"]);
        table.rows.push(vec!["␣oak|".to_owned(), "0.5".to_owned()]);
        table.rows.push(vec!["a,b".to_owned(), "10.25".to_owned()]);
        assert_eq!(table.text(), "token      w\n␣oak|    0.5\na,b    10.25\n");
        assert_eq!(table.markdown(), "| token | w |\n|---|---:|\n| ␣oak\\| | 0.5 |\n| a,b | 10.25 |\n");
        assert_eq!(table.csv(), "token,w\n␣oak|,0.5\n\"a,b\",10.25\n");
    }
}
