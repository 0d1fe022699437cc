//! Experiments with several seeds and settings as a sweep, and the table of their losses.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::sweep::{Collected, NoKeys, Planned, Results, Row, Spread, SweepProgram};
use experiment::{RunFolder, write_atomic};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Language;
use crate::adapt::ArmResult;
use crate::attack;
use crate::config::{Config, Experiment};
use crate::evaluate::Losses;
use crate::localise::LocaliseResult;
use crate::methods::Part;
use crate::modules::{KindLoss, ModuleResult};
use crate::report::Table;
use crate::results::PartResult;
use crate::steer::SteerResult;

impl SweepProgram for Language {
    type Keys = NoKeys;

    const EARLY_FILES: &'static [&'static str] = &["texts.json", "tokens.txt"];
    const CLOCKS: &'static [&'static str] = &["seconds"];
    const NEUTRAL: &'static [&'static str] = &["checkpoint", "data.cache"];

    fn steps(&self, config: &Config) -> u64 {
        let updates: u64 = Part::all(config).iter().map(|part| part.steps(config)).sum();
        updates * (config.train.batch_size * config.model.block_size) as u64
    }

    fn options(&self) -> Vec<String> {
        let list = self.list().and_then(|list| std::path::absolute(list).ok());
        list.map_or_else(Vec::new, |list| vec!["--tokens".to_owned(), list.display().to_string()])
    }

    fn in_curves(&self, metric: &str) -> bool {
        in_curves(metric)
    }

    /// The numbers of its attack, where there was one.
    fn beside(&self, folder: &RunFolder) -> Result<Option<(&'static str, Value)>> {
        let measures = attack::measures_of(folder)?;
        Ok(measures.map(serde_json::to_value).transpose()?.map(|measures| (attack::KEY, measures)))
    }

    fn check(&self, config: &Config, summary: &Value) -> Result<(), String> {
        measures(config, summary).map(drop)
    }

    /// Writes `results.csv` with all losses of all runs, and `table.csv` and `table.md` with their means.
    fn collect(&self, results: &Results<Self>, _: &NoKeys, folder: &Path) -> Result<Collected> {
        let mut runs = Table::new(&["name", "seed", "part", "stage", "measure", "value"]);
        let mut means: Vec<(Measure, Vec<f64>)> = Vec::new();
        for row in &results.rows {
            for (measure, value) in found(row)? {
                let Planned { name, seed, .. } = &row.planned;
                let Measure { part, stage, what, .. } = measure.clone();
                runs.rows.push(vec![name.clone(), seed.to_string(), part, stage, what, value.to_string()]);
                match means.iter_mut().find(|(known, _)| *known == measure) {
                    Some((_, values)) => values.push(value),
                    None => means.push((measure, vec![value])),
                }
            }
        }
        let several = means.iter().any(|(measure, _)| !measure.variant.is_empty());
        let mut csv = Table::new(&["variant", "part", "stage", "measure", "seeds", "mean", "half_interval"]);
        let shown = ["part", "stage", "measure", "seeds", "mean ± half the 95% interval"];
        let mut table = Table::new(&shown);
        for (Measure { variant, part, stage, what }, values) in means {
            let Some(spread) = Spread::of(&values) else { continue };
            let label = if several { format!("{part}, {variant}") } else { part.clone() };
            let seeds = spread.n.to_string();
            table.rows.push(vec![
                label.trim_end_matches(", ").to_owned(),
                stage.clone(),
                what.clone(),
                seeds.clone(),
                spread.plus_minus(4),
            ]);
            let half = spread.half.map(|half| half.to_string()).unwrap_or_default();
            csv.rows.push(vec![variant, part, stage, what, seeds, spread.mean.to_string(), half]);
        }
        let markdown = format!("Losses in nats per token.\n\n{}", table.markdown());
        let files = ["results.csv", "table.csv", "table.md"].map(|name| folder.join(name));
        for (file, text) in files.iter().zip([runs.csv(), csv.csv(), markdown]) {
            write_atomic(file, text.as_bytes())?;
        }
        let mut effort = String::new();
        let number = |row: &Row<Self>, key: &str| row.summary.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let sum = |key: &str| results.rows.iter().map(|row| number(row, key)).sum::<f64>();
        write!(effort, "{:.1}M tokens", sum("tokens") / 1e6)?;
        if sum("seconds") > 0.0 {
            write!(effort, ", {:.1} minutes of computing in all", sum("seconds") / 60.0)?;
        }
        Ok(Collected { text: table.text(), effort, files: files.to_vec() })
    }
}

/// Whether a metric says what came of the training, rather than how it went.
pub(crate) fn in_curves(metric: &str) -> bool {
    metric.contains("/eval/")
}

/// What is shown of the text of a `summary.json`: every loss, the concept's in the last part's model as it is kept first.
pub(crate) fn shown(text: &str) -> Vec<(String, f64)> {
    let summary: Value = serde_json::from_str(text).unwrap_or_default();
    let mut config = Config::default();
    let Some(Ok(kind)) = summary.get("experiment").map(Experiment::deserialize) else { return Vec::new() };
    config.experiment.kind = kind;
    let numbers = measures(&config, &summary).unwrap_or_default();
    let kept = numbers.iter().rposition(|(_, stage, what, _)| stage == "coherent" && *what == "forget");
    let mut named: Vec<(String, f64)> = numbers
        .into_iter()
        .map(|(part, stage, what, value)| (format!("{part} {stage}, {what}"), value))
        .collect();
    if let Some(kept) = kept {
        named[..=kept].rotate_right(1);
    }
    named
}

/// A number that is the same for all seeds but for chance.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Measure {
    /// The values of further axes in words.
    variant: String,
    part: String,
    stage: String,
    what: String,
}

/// The numbers of a finished run.
fn found(row: &Row<Language>) -> Result<Vec<(Measure, f64)>> {
    let variant = row.planned.variant();
    let found = measures(&row.planned.config, &row.summary).map_err(anyhow::Error::msg)?;
    let with_variant =
        |(part, stage, what, value): Number| (Measure { variant: variant.clone(), part, stage, what }, value);
    Ok(found.into_iter().map(with_variant).collect())
}

/// Part, stage, what is measured, and its value.
type Number = (String, String, String, f64);

/// The numbers that a summary holds.
fn measures(config: &Config, summary: &Value) -> Result<Vec<Number>, String> {
    fn parsed<T: DeserializeOwned>(summary: &Value) -> Result<T, String> {
        let parts = summary.get("parts").cloned().unwrap_or_default();
        serde_json::from_value(parts).map_err(|error| format!("its parts: {error}"))
    }
    let mut numbers = Vec::new();
    let mut add = |part: &str, stage: &str, losses: Losses| {
        for (what, value) in [("forget", losses.forget), ("retain", losses.retain)] {
            numbers.push((part.to_owned(), stage.to_owned(), what.to_owned(), value));
        }
    };
    match config.experiment.kind {
        Experiment::Era => {
            for result in parsed::<Vec<PartResult>>(summary)? {
                let part = result.part().name();
                add(&part, "trained", result.trained);
                add(&part, "ablated", result.ablated);
                add(&part, "coherent", result.coherent);
                for relearned in &result.relearned {
                    add(&part, &format!("relearned {}", relearned.stories), relearned.best);
                }
            }
        }
        Experiment::Steer => {
            let result: SteerResult = parsed(summary)?;
            add("steer", "trained", result.trained);
            for push in &result.pushes {
                let stage = format!("push {:+}", push.strength);
                numbers.push(("steer".to_owned(), stage, "frequency".to_owned(), push.frequency));
            }
        }
        Experiment::Virology => {
            let result: LocaliseResult = parsed(summary)?;
            let stages = [
                ("trained", result.trained),
                ("ablated", result.ablated),
                ("coherent", result.coherent),
                ("relearned", result.relearned),
            ];
            for (stage, losses) in stages {
                add("all tokens", stage, losses.all);
                add("unlisted tokens", stage, losses.unlisted);
            }
        }
        Experiment::Adapt => {
            for result in parsed::<Vec<ArmResult>>(summary)? {
                for (profile, losses) in result.profiles {
                    add(result.arm.name(), profile.name(), losses);
                }
            }
        }
        Experiment::Modules => {
            for result in parsed::<Vec<ModuleResult>>(summary)? {
                let part = result.part_name();
                for profile in &result.profiles {
                    let stage = if profile.modules.is_empty() {
                        "core".to_owned()
                    } else {
                        profile.modules.join("+")
                    };
                    let dose = profile.dose.map(|dose| format!(" × {dose}")).unwrap_or_default();
                    let stage = stage + &dose;
                    let of = |kind: &KindLoss| (part.clone(), stage.clone(), kind.kind.clone(), kind.loss);
                    numbers.extend(profile.losses.iter().map(of));
                }
            }
        }
    }
    Ok(numbers)
}
