//! The tables of an adaptation.

use anyhow::Result;
use experiment::{RunFolder, decimals};

use super::arm::Arm;
use super::measure::{ArmResult, Relearning};
use super::program::result;
use crate::config::Config;
use crate::report::Table;

/// The results that a run has, of which there must be one.
///
/// # Errors
/// Fails where there is none yet, or one cannot be read.
pub(crate) fn results(folder: &RunFolder, config: &Config) -> Result<Vec<ArmResult>> {
    let results = Arm::of(config).into_iter().map(|arm| result(folder.path(), arm));
    let results: Vec<ArmResult> = results.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    if results.is_empty() {
        let error = experiment::UserError::failed(format!("{} has no result yet", folder.path().display()));
        return Err(error.with_hint("its first model is still in training: `resume` goes on with it").into());
    }
    Ok(results)
}

/// Losses and shares of texts, a line for each model and set of adapters.
pub(crate) fn measures(results: &[ArmResult]) -> Table {
    let mut table = Table::new(&["model: adapters", "behaviour", "other", "texts with it"]);
    for result in results {
        for (profile, losses) in &result.profiles {
            let rate = result.rates.iter().find(|rate| rate.profile == *profile);
            table.rows.push(vec![
                format!("{}: {}", result.arm.name(), profile.name()),
                decimals(losses.forget, 3),
                decimals(losses.retain, 3),
                rate.map_or_else(String::new, |rate| format!("{} of {}", rate.shown, rate.texts)),
            ]);
        }
    }
    table
}

/// The loss on the behaviour while it is taught again to what is kept of each model; the mean over repeats.
pub(crate) fn relearning(results: &[ArmResult]) -> Option<Table> {
    let first = results.iter().find_map(|result| result.relearned.first())?;
    let steps: Vec<u64> = first.curve.iter().map(|point| point.step).collect();
    let head: Vec<String> = std::iter::once("model: documents".to_owned())
        .chain(steps.iter().map(|step| format!("step {step}")))
        .collect();
    let mut table = Table { head, rows: Vec::new() };
    for result in results {
        let mut stories: Vec<usize> = result.relearned.iter().map(|one| one.stories).collect();
        stories.dedup();
        for stories in stories {
            let of: Vec<&Relearning> = result.relearned.iter().filter(|one| one.stories == stories).collect();
            let mean = |index: usize| {
                let losses = of.iter().filter_map(|one| Some(one.curve.get(index)?.loss));
                losses.sum::<f64>() / of.len() as f64
            };
            let row = (0..steps.len()).map(|index| decimals(mean(index), 3));
            table
                .rows
                .push(std::iter::once(format!("{}: {stories}", result.arm.name())).chain(row).collect());
        }
    }
    Some(table)
}
