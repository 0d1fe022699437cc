//! What a run leaves for its reader: tables on stdout, as CSV and Markdown, and pictures.

mod above_base;
pub(crate) mod composition;
pub(crate) mod modules;
pub(crate) mod plots;
mod table;
pub(crate) mod tables;
pub(crate) mod tradeoff;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::{RunFolder, read_metrics, write_atomic};

use crate::adapt::tables as adapt;
use crate::config::{Config, Experiment};
use crate::localise::LocaliseResult;
use crate::methods::Part;
use crate::modules::ModuleResult;
use crate::results::{PartResult, read_json};
use crate::steer::SteerResult;
use above_base::AboveBase;
use composition::KindCurves;
use modules::ModuleDifference;
pub(crate) use table::Table;

/// What was written.
pub(crate) struct Report {
    /// For stdout.
    pub text: String,
    /// For `summary.json`.
    pub parts: serde_json::Value,
    /// For `summary.json`: by how much the other parts' losses lie above the base model's; empty where there is none.
    pub above_base: Vec<AboveBase>,
    /// For `summary.json`: what the modules are worth; empty where there are none.
    pub modules: Vec<ModuleDifference>,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// Where a report goes and what has been written there.
struct Target<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
}

impl Target<'_> {
    fn path(&mut self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.files.push(path.clone());
        path
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        Ok(write_atomic(&self.path(name), text.as_bytes())?)
    }

    /// A table as CSV, and under a heading in `markdown`.
    fn table(&mut self, name: &str, heading: &str, table: &Table, markdown: &mut String) -> Result<()> {
        self.text(&format!("{name}.csv"), &table.csv())?;
        writeln!(markdown, "## {heading}\n\n{}", table.markdown())?;
        Ok(())
    }
}

/// Writes tables and pictures of a run's results into `out`, or into the run's folder `plots`.
///
/// # Errors
/// Fails where the run has no results yet, one cannot be read, or a file cannot be written.
pub(crate) fn write(folder: &RunFolder, config: &Config, out: Option<&Path>) -> Result<Report> {
    let plots = folder.plots();
    let into = if let Some(out) = out {
        experiment::create_folder(out)?;
        out
    } else {
        folder.make("plots")?;
        &plots
    };
    let mut target = Target { folder: into, files: Vec::new() };
    let mut markdown = String::new();
    let mut above = Vec::new();
    let mut differences_of_modules = Vec::new();
    let (text, parts) = match config.experiment.kind {
        Experiment::Era => {
            let results: Vec<PartResult> = all_results(folder, config)?;
            above = above_base::all(&results, &config.retrain.stories);
            era(config, &results, &above, &mut target, &mut markdown)?
        }
        Experiment::Steer => {
            let result: SteerResult = only_result(folder, config)?;
            let (near, pushes) = (tables::nearest(&result), tables::pushes(&result));
            let axis = format!(
                "The axis: {}dimension {}, the way that the unembedding vector of {} points.",
                if result.sign < 0 { "−" } else { "" },
                result.dimension,
                result.token
            );
            writeln!(markdown, "{axis}\n")?;
            target.table("nearest", "Unembedding vectors nearest to the axis", &near, &mut markdown)?;
            target.table("pushes", "Texts generated with a push", &pushes, &mut markdown)?;
            for push in &result.pushes {
                writeln!(markdown, "**{:+}**: {}\n", push.strength, push.text.replace('\n', " "))?;
            }
            plots::pushes(&result).write_png(&target.path("pushes.png"))?;
            (format!("{axis}\n\n{}\n{}", near.text(), pushes.text()), serde_json::to_value(&result)?)
        }
        Experiment::Virology => {
            let result: LocaliseResult = only_result(folder, config)?;
            let table = tables::localised(&result);
            target.table("localised", "Losses with and without the neurons", &table, &mut markdown)?;
            writeln!(markdown, "Tokens: {}", result.tokens.join(" "))?;
            plots::localised(&result).write_png(&target.path("localised.png"))?;
            (table.text(), serde_json::to_value(&result)?)
        }
        Experiment::Modules => {
            let results: Vec<ModuleResult> = all_results(folder, config)?;
            let losses = modules::losses(&results, config, |_| true);
            target.table(
                "profiles",
                "Loss in nats per token with every set of modules",
                &losses,
                &mut markdown,
            )?;
            let differences = modules::differences(&results, config);
            let table = modules::difference_table(&differences);
            let heading = "What a module is worth, with the standard error over stories, paired";
            target.table("modules", heading, &table, &mut markdown)?;
            if let Some(matrix) = modules::matrix(&results, config) {
                matrix.write_png(&target.path("profiles.png"))?;
            }
            let curves = KindCurves::of_records(&read_metrics(&folder.metrics_path())?, config);
            if let Some(table) = composition::composition(&results, config, &curves) {
                let heading =
                    "What each profile keeps and forgets, beside the model filtered of the same concepts";
                target.table("composition", heading, &table, &mut markdown)?;
                writeln!(markdown, "{}", curves.described())?;
            }
            if let Some(ratios) = composition::ratios(&results, config, &curves) {
                ratios.write_png(&target.path("compute_ratio.png"))?;
            }
            differences_of_modules = differences;
            let parts: Vec<ModuleResult> = results.iter().map(ModuleResult::without_stories).collect();
            (format!("{}\n{}", losses.text(), table.text()), serde_json::to_value(&parts)?)
        }
        Experiment::Adapt => {
            let results = adapt::results(folder, config)?;
            let measures = adapt::measures(&results);
            let heading = "Loss in nats per token on documents with the behaviour and without, and generated texts with it";
            target.table("adapted", heading, &measures, &mut markdown)?;
            let mut text = measures.text();
            if let Some(table) = adapt::relearning(&results) {
                let heading = "Loss on documents with the behaviour while a fresh adapter is taught it";
                target.table("relearning", heading, &table, &mut markdown)?;
                write!(text, "\n{}", table.text())?;
            }
            (text, serde_json::to_value(&results)?)
        }
    };
    let records = read_metrics(&folder.metrics_path())?;
    if let Some(figure) = plots::training(&records) {
        figure.write_png(&target.path("training.png"))?;
    }
    target.text("report.md", &markdown)?;
    Ok(Report { text, parts, above_base: above, modules: differences_of_modules, files: target.files })
}

fn era(
    config: &Config,
    results: &[PartResult],
    above: &[AboveBase],
    target: &mut Target<'_>,
    markdown: &mut String,
) -> Result<(String, serde_json::Value)> {
    let stories = &config.retrain.stories;
    let losses = tables::losses(results, stories);
    target.table(
        "losses",
        "Loss in nats per token on documents with the concept and without",
        &losses,
        markdown,
    )?;
    let mut text = tables::in_short(results, above, stories);
    if let Some(per_story) = results.iter().find_map(|result| result.per_story.as_ref()) {
        let [with, without] = [per_story.trained.forget.len(), per_story.trained.retain.len()];
        write!(text, "measured on {with} stories with the concept and {without} without")?;
        let taught = results.iter().find_map(|result| result.relearned.first()?.per_story.as_ref());
        if let Some(taught) = taught {
            let [with, without] = [taught.forget.len(), taught.retain.len()];
            write!(text, ", after relearning on {with} and {without}")?;
        }
        text.push_str("\n\n");
    }
    if let Some(differences) = tables::against_base(results, above, stories) {
        let heading = "Above the base model, with the standard error over stories, paired";
        target.table("against_base", heading, &differences, markdown)?;
    }
    if let Some(routed) = tables::routed_tokens(results) {
        target.table("routed_tokens", "The most routed tokens", &routed, markdown)?;
        let first: Vec<&str> = routed.rows.iter().take(10).map(|row| row[0].as_str()).collect();
        writeln!(text, "most routed tokens: {}", first.join(" "))?;
    }
    plots::losses(results, stories).write_png(&target.path("losses.png"))?;
    for (name, figure) in [
        ("relearning.png", plots::relearning(results, stories)),
        ("relearned.png", plots::relearned(results)),
        ("labelled.png", plots::labelled(results)),
        ("tradeoff.png", tradeoff::tradeoff(results)),
    ] {
        if let Some(figure) = figure {
            figure.write_png(&target.path(name))?;
        }
    }
    let parts: Vec<PartResult> = results.iter().map(PartResult::without_stories).collect();
    Ok((text, serde_json::to_value(&parts)?))
}

/// The result of a part, if it is there.
fn result<T: serde::de::DeserializeOwned>(folder: &RunFolder, part: &Part) -> Result<Option<T>> {
    read_json(&folder.path().join("parts").join(format!("{}.json", part.name())))
}

/// The results of a run's parts, in their order; those that are there, of which there must be one.
fn all_results<T: serde::de::DeserializeOwned>(folder: &RunFolder, config: &Config) -> Result<Vec<T>> {
    let results = Part::all(config).into_iter().map(|part| result(folder, &part));
    let results: Vec<T> = results.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    if results.is_empty() {
        let error = experiment::UserError::failed(format!("{} has no result yet", folder.path().display()));
        return Err(error.with_hint("its first model is still in training: `resume` goes on with it").into());
    }
    Ok(results)
}

/// The result of a run that has one part.
fn only_result<T: serde::de::DeserializeOwned>(folder: &RunFolder, config: &Config) -> Result<T> {
    let part = Part::all(config).into_iter().next().context("an experiment has a part")?;
    let missing = experiment::UserError::failed(format!("{} has no result yet", folder.path().display()));
    Ok(result(folder, &part)?.ok_or(missing)?)
}

/// How many parts of a run are done, from the first one on. Parts after one without a result count for nothing.
///
/// # Errors
/// Fails where any result cannot be read.
pub(crate) fn parts_done(folder: &RunFolder, config: &Config) -> Result<usize> {
    let mut there = Vec::new();
    for part in Part::all(config) {
        there.push(match config.experiment.kind {
            Experiment::Era => result::<PartResult>(folder, &part)?.is_some(),
            Experiment::Steer => result::<SteerResult>(folder, &part)?.is_some(),
            Experiment::Virology => result::<LocaliseResult>(folder, &part)?.is_some(),
            Experiment::Modules => result::<ModuleResult>(folder, &part)?.is_some(),
            // it has no part of this kind
            Experiment::Adapt => false,
        });
    }
    Ok(there.iter().take_while(|there| **there).count())
}
