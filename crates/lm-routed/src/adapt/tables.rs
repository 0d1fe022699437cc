//! The tables of an adaptation.

use anyhow::Result;
use experiment::sweep::Spread;
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

/// [`measures`] of several runs: means over them with half the 95% interval, texts of all together.
pub(crate) fn measures_of_runs(runs: &[Vec<ArmResult>]) -> Table {
    let mut table = Table::new(&["model: adapters", "behaviour", "other", "texts with it"]);
    for first in runs.iter().flatten().take(runs.first().map_or(0, Vec::len)) {
        for (profile, _) in &first.profiles {
            let same: Vec<&ArmResult> =
                runs.iter().flatten().filter(|result| result.arm == first.arm).collect();
            let losses = same.iter().filter_map(|result| {
                result.profiles.iter().find(|(other, _)| other == profile).map(|(_, losses)| losses)
            });
            let (forget, retain): (Vec<f64>, Vec<f64>) =
                losses.map(|losses| (losses.forget, losses.retain)).unzip();
            let spread =
                |losses: &[f64]| Spread::of(losses).map_or_else(String::new, |spread| spread.plus_minus(3));
            let rates =
                same.iter().filter_map(|result| result.rates.iter().find(|rate| rate.profile == *profile));
            let (shown, texts) = rates.fold((0, 0), |sum, rate| (sum.0 + rate.shown, sum.1 + rate.texts));
            table.rows.push(vec![
                format!("{}: {}", first.arm.name(), profile.name()),
                spread(&forget),
                spread(&retain),
                if texts == 0 { String::new() } else { format!("{shown} of {texts}") },
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

/// [`relearning`] over several runs, whose repeats count alike.
pub(crate) fn relearning_of_runs(runs: &[Vec<ArmResult>]) -> Option<Table> {
    let mut together = runs.first()?.clone();
    for result in &mut together {
        let others = runs[1..].iter().flatten().filter(|other| other.arm == result.arm);
        result.relearned.extend(others.flat_map(|other| other.relearned.clone()));
        result.relearned.sort_by_key(|one| one.stories);
    }
    relearning(&together)
}

#[cfg(test)]
mod tests {
    use super::super::arm::Profile;
    use super::super::measure::{Rate, Taught};
    use super::*;
    use crate::evaluate::Losses;

    fn run(forget: f64, shown: usize) -> Vec<ArmResult> {
        let profile = Profile::Rest;
        let curve = vec![Taught { step: 0, loss: forget }, Taught { step: 4, loss: forget / 2.0 }];
        vec![ArmResult {
            arm: Arm::Single,
            base: String::new(),
            parameters: 1,
            profiles: vec![(profile, Losses { forget, retain: 1.0 })],
            rates: vec![Rate { profile, shown, texts: 10, example: String::new() }],
            relearned: vec![Relearning { stories: 16, repeat: 0, curve }],
            seconds: 0.0,
        }]
    }

    #[test]
    fn runs_are_averaged_and_their_texts_counted_together() {
        let runs = [run(1.0, 3), run(2.0, 4)];
        let row = |table: &Table| table.rows[0].clone();
        let both = row(&measures_of_runs(&runs));
        assert!(both[1].starts_with("1.500 ± "), "{both:?}");
        assert_eq!((both[2].as_str(), both[3].as_str()), ("1.000 ± 0.000", "7 of 20"));
        assert_eq!(row(&relearning_of_runs(&runs).unwrap())[1..], ["1.500", "0.750"]);
        // one run reads as its own report does
        assert_eq!(row(&measures_of_runs(&runs[..1])), row(&measures(&runs[0])));
    }
}
