//! The table and figure of results that stand in pages.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::sweep::{PageProgram, Results, Spread, not_of_these};

use crate::table::{self, Row};
use crate::{Autoencoder, Config, TableKeys};

impl PageProgram for Autoencoder {
    const TABLES: &'static [&'static str] = &["settings"];
    const FIGURES: &'static [&'static str] = &["settings"];
    const VALUES: &'static [&'static str] = &["others", "own", "factor", "decoder"];

    fn table(&self, results: &Results<Self>, _: &TableKeys, name: &str) -> Result<String> {
        match name {
            "settings" => markdown(&table::rows(results), &results.rows[0].planned.config),
            _ => Err(not_of_these(name, "the name `settings`")),
        }
    }

    fn value(&self, results: &Results<Self>, name: &str) -> Result<String> {
        let rows = table::rows(results);
        let [row] = rows.as_slice() else { return Err(not_of_these(name, "a single setting and variant")) };
        Ok(match name {
            "others" => row.others.plus_minus(3),
            "own" => row.own.plus_minus(3),
            "decoder" => row.decoder_trained.plus_minus(3),
            _ => factor(row),
        })
    }

    fn figure(&self, results: &Results<Self>, _: &TableKeys, name: &str, file: &Path) -> Result<()> {
        match name {
            "settings" => {
                let config = &results.rows[0].planned.config;
                Ok(table::chart(&table::rows(results), config).write_png(file)?)
            }
            _ => Err(not_of_these(name, "the name `settings`")),
        }
    }
}

/// How many times larger the mean error on the others is than on the last part's own digits.
fn factor(row: &Row) -> String {
    format!("{:.2}", row.others.mean / row.own.mean)
}

/// The settings, a line each, beside the paper's numbers where its digits and parts are those of the runs.
fn markdown(rows: &[Row], config: &Config) -> Result<String> {
    let (others, own) = table::columns(&config.train.split);
    let paper = table::is_papers(config);
    let mut head = ["#", "setting", "seeds", &others, &own, "factor", "decoder"].map(str::to_owned).to_vec();
    if paper {
        head.extend([format!("paper: {others}"), own.clone()]);
    }
    let mut out = String::new();
    writeln!(out, "| {} |", head.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(head.len()))?;
    for row in rows {
        let error = |spread: Spread| spread.plus_minus(3);
        let mut cells = vec![
            row.setting.number().to_string(),
            row.title(),
            row.seeds.to_string(),
            error(row.others),
            error(row.own),
            factor(row),
            error(row.decoder_trained),
        ];
        if paper {
            let (others, own) = row.setting.paper();
            cells.extend([others, own].map(|value| format!("{value:.2}")));
        }
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(out)
}
