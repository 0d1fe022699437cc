//! What runs have come to, and what tells them apart, as tables.

use experiment::sweep::Spread;
use experiment::{Measures, Overview, decimals};
use serde::Serialize;

use crate::groups::{Group, Groups, value};

/// With more groups than this a table has a row for each, with fewer a column.
const FEW: usize = 4;

/// The numbers of a row for a group, the first ones.
const NUMBERS: usize = 6;

/// A table of a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Table {
    pub heads: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// A cell, with what it is sorted by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub text: String,
    pub number: Option<f64>,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        Self { text, number }
    }

    fn spread(values: &[f64]) -> Self {
        match Spread::of(values) {
            Some(spread) => Self { text: spread.plus_minus(3), number: Some(spread.mean) },
            None => Self::text("–"),
        }
    }
}

impl Table {
    /// As text in columns.
    pub(crate) fn text(&self) -> String {
        let heads = std::iter::once(self.heads.clone());
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| cell.text.clone()).collect());
        let all: Vec<Vec<String>> = heads.chain(rows).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        all.iter().map(line).collect()
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let heads = line(self.heads.iter().map(String::as_str).collect());
        let rule = line(vec!["---"; self.heads.len()]);
        let rows = self.rows.iter().map(|row| line(row.iter().map(|cell| cell.text.as_str()).collect()));
        heads + &rule + &rows.collect::<String>()
    }
}

/// The numbers of the finished runs of a group by their names, in the order of the first.
struct Numbers(Vec<(String, Vec<f64>)>);

impl Numbers {
    fn of(group: &Group<'_>, measures: Measures) -> Self {
        let mut all: Vec<(String, Vec<f64>)> = Vec::new();
        for (name, value) in group.runs.iter().filter_map(|run| run.summary.as_deref()).flat_map(measures) {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => all.push((name, vec![value])),
            }
        }
        Self(all)
    }

    /// What its runs are judged by, if one is done.
    fn score(&self) -> Option<&(String, Vec<f64>)> {
        self.0.first()
    }

    fn seeds_cell(&self) -> Cell {
        Cell::text(self.score().map_or(0, |(_, values)| values.len()).to_string())
    }

    fn score_cell(&self) -> Cell {
        Cell::spread(self.score().map_or(&[], |(_, values)| values))
    }

    fn cell(&self, name: &str) -> Cell {
        let found = self.0.iter().find(|(known, _)| known == name);
        Cell::spread(found.map_or(&[], |(_, values)| values))
    }
}

/// What each finished run of a group is judged by.
pub(crate) fn scores(group: &Group<'_>, measures: Measures) -> Option<Vec<f64>> {
    Numbers::of(group, measures).score().map(|(_, values)| values.clone())
}

/// What the groups have come to: the mean over the seeds with its 95% interval.
pub(crate) fn results(groups: &Groups<'_>, measures: Measures) -> Table {
    let found: Vec<Numbers> = groups.all.iter().map(|group| Numbers::of(group, measures)).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in found.iter().flat_map(|numbers| &numbers.0) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let judged = |numbers: &Numbers| numbers.score().map(|(name, _)| name) == names.first().copied();
    let alike = found.iter().all(judged);
    if groups.all.len() <= FEW {
        by_number(groups, &found, &names, alike)
    } else {
        // what all are judged by has a column of its own
        by_group(groups, &found, &names[usize::from(alike && !names.is_empty())..])
    }
}

/// A row for each number.
fn by_number(groups: &Groups<'_>, found: &[Numbers], names: &[&String], alike: bool) -> Table {
    let row = |name: &str, cell: &dyn Fn(&Numbers) -> Cell| {
        std::iter::once(Cell::text(name)).chain(found.iter().map(cell)).collect()
    };
    let mut rows: Vec<Vec<Cell>> = vec![row("seeds that are done", &Numbers::seeds_cell)];
    // what methods are judged by may have another name in each
    if !alike {
        rows.push(row("score", &Numbers::score_cell));
    }
    rows.extend(names.iter().map(|name| row(name, &|numbers| numbers.cell(name))));
    let labels = groups.all.iter().map(|group| group.label.clone());
    Table { heads: std::iter::once(String::new()).chain(labels).collect(), rows }
}

/// A row for each group.
fn by_group(groups: &Groups<'_>, found: &[Numbers], names: &[&String]) -> Table {
    let shown = &names[..names.len().min(NUMBERS)];
    let own = ["seeds", "score"].map(str::to_owned).into_iter();
    let heads = groups.keys.iter().cloned().chain(own).chain(shown.iter().map(|name| (*name).clone()));
    let rows = groups.all.iter().zip(found).map(|(group, numbers)| {
        let own = [numbers.seeds_cell(), numbers.score_cell()];
        let settings = group.values.iter().map(Cell::text).chain(own);
        settings.chain(shown.iter().map(|name| numbers.cell(name))).collect()
    });
    Table { heads: heads.collect(), rows: rows.collect() }
}

/// A row for each run.
pub(crate) fn runs(runs: &[Overview], groups: &Groups<'_>, measures: Measures) -> Table {
    let heads = ["run", "state", "seed"].map(str::to_owned).into_iter().chain(groups.keys.iter().cloned());
    let heads = heads.chain(["score", "began", "machine"].map(str::to_owned));
    let rows = runs.iter().map(|run| {
        let score = run.summary.as_deref().and_then(|summary| measures(summary).into_iter().next());
        let score = score.map_or_else(
            || Cell::text("–"),
            |(name, value)| Cell { text: format!("{} {name}", decimals(value, 3)), number: Some(value) },
        );
        let own =
            [Cell::text(&run.name), Cell::text(run.state.name()), Cell::text(run.manifest.seed.to_string())];
        let settings = groups.keys.iter().map(|key| Cell::text(value(run, key)));
        let manifest = &run.manifest;
        let last = [score, Cell::text(&manifest.started), Cell::text(&manifest.machine)];
        own.into_iter().chain(settings).chain(last).collect()
    });
    Table { heads: heads.collect(), rows: rows.collect() }
}

/// The settings that differ between groups: a row for each, with a column for each group.
pub(crate) fn differences(groups: &Groups<'_>, differing: impl IntoIterator<Item = String>) -> Option<Table> {
    if groups.all.len() > FEW || groups.all.len() < 2 {
        return None;
    }
    let heads = std::iter::once("setting".to_owned());
    let heads = heads.chain(groups.all.iter().map(|group| group.label.clone())).collect();
    let row = |key: String| {
        let values = groups.all.iter().map(|group| Cell::text(value(group.runs[0], &key)));
        std::iter::once(Cell::text(&key)).chain(values).collect()
    };
    Some(Table { heads, rows: differing.into_iter().map(row).collect() })
}
