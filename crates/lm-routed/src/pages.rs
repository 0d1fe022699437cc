//! The tables and figures of results of several methods that stand in pages.

use std::path::Path;

use anyhow::Result;
use experiment::sweep::{NoKeys, PageProgram, Results, Row, Spread, not_of_these};

use crate::Language;
use crate::adapt::{ArmResult, tables as adapted};
use crate::attack::{self, Measure};
use crate::config::{Config, Experiment};
use crate::evaluate::Losses;
use crate::finetune::Relearned;
use crate::methods::{Part, percent};
use crate::modules::ModuleResult;
use crate::report::composition::{self, KindCurves};
use crate::report::modules::{self, ModuleDifference};
use crate::report::{Table, plots, tables, tradeoff};
use crate::results::PartResult;

/// A model, with its result of every seed.
struct Arm {
    /// The values of further axes in words.
    variant: String,
    part: Part,
    /// In the order of the runs.
    seeds: Vec<(u64, PartResult)>,
}

impl PageProgram for Language {
    const TABLES: &'static [&'static str] = &[
        "methods",
        "stages",
        "profiles",
        "ends",
        "modules",
        "composition",
        "attack",
        "attack_taught",
        "attack_found",
        "adapted",
        "adapted_relearning",
    ];
    const FIGURES: &'static [&'static str] = &[
        "losses",
        "relearning",
        "relearned",
        "labelled",
        "tradeoff",
        "matrix",
        "compute_ratio",
        "attack_steps",
    ];
    const VALUES: &'static [&'static str] = &[];

    fn table(&self, results: &Results<Self>, _: &NoKeys, name: &str) -> Result<String> {
        match name {
            "profiles" | "ends" => {
                let (means, config) = mean_modules(results, name)?;
                let ends = name == "ends";
                return Ok(modules::losses(&means, config, |row| !ends || row.is_end(config)).markdown());
            }
            "modules" => return Ok(worth(results)?.markdown()),
            "composition" => {
                let (means, config) = mean_modules(results, name)?;
                let table = composition::composition(&means, config, &kind_curves(results, config));
                return Ok(table.ok_or_else(|| not_of_these(name, "runs with modules"))?.markdown());
            }
            "adapted" => return Ok(adapted::measures_of_runs(&adapted_models(results, name)?).markdown()),
            "adapted_relearning" => {
                let table = adapted::relearning_of_runs(&adapted_models(results, name)?);
                return Ok(table.ok_or_else(|| not_of_these(name, "runs that teach it again"))?.markdown());
            }
            "attack" | "attack_taught" | "attack_found" => {
                let measures = attacked(results, name)?;
                let table = attack::table(&measures, name).filter(|table| table.head.len() > 1);
                let table = table.ok_or_else(|| not_of_these(name, "attacks with these numbers"))?;
                return Ok(table.markdown());
            }
            _ => {}
        }
        let (arms, stories) = (arms(results, name)?, stories(results, name)?);
        match name {
            "methods" => Ok(methods(&arms, &stories).markdown()),
            "stages" => Ok(stages(&arms, &stories).markdown()),
            _ => Err(not_of_these(name, &format!("one of the names {}", Self::TABLES.join(", ")))),
        }
    }

    fn value(&self, _: &Results<Self>, name: &str) -> Result<String> {
        Err(not_of_these(name, "a program that has numbers for sentences"))
    }

    /// The figures that a run draws of itself, of the means over seeds.
    fn figure(&self, results: &Results<Self>, _: &NoKeys, name: &str, file: &Path) -> Result<()> {
        if name == "matrix" {
            let (means, config) = mean_modules(results, name)?;
            let matrix = modules::matrix(&means, config);
            return Ok(matrix.ok_or_else(|| not_of_these(name, "runs with a baseline"))?.write_png(file)?);
        }
        if name == "compute_ratio" {
            let (means, config) = mean_modules(results, name)?;
            let ratios = composition::ratios(&means, config, &kind_curves(results, config));
            return Ok(ratios.ok_or_else(|| not_of_these(name, BY_CONCEPT))?.write_png(file)?);
        }
        if name == "attack_steps" {
            let figure = attack::steps_figure(&attacked(results, name)?);
            return Ok(figure
                .ok_or_else(|| not_of_these(name, "an attacked model `pure`"))?
                .write_png(file)?);
        }
        let (arms, stories) = (arms(results, name)?, stories(results, name)?);
        if arms.iter().any(|arm| arm.variant != arms[0].variant) {
            return Err(not_of_these(name, "runs without further axes"));
        }
        let means: Option<Vec<PartResult>> = arms.iter().map(|arm| mean_of(&arm.seeds)).collect();
        let means = means.ok_or_else(|| not_of_these(name, "runs with the same stages"))?;
        let figure = match name {
            "losses" => return Ok(plots::losses(&means, &stories).write_png(file)?),
            "relearning" => plots::relearning(&means, &stories),
            "relearned" => plots::relearned(&means),
            "labelled" => plots::labelled(&means),
            "tradeoff" => tradeoff::tradeoff(&means),
            _ => None,
        };
        let figure = figure.ok_or_else(|| not_of_these(name, "runs that the figure can show"))?;
        Ok(figure.write_png(file)?)
    }
}

/// Runs that compare methods, arm by arm.
fn arms(results: &Results<Language>, name: &str) -> Result<Vec<Arm>> {
    let mut arms: Vec<Arm> = Vec::new();
    for row in &results.rows {
        if row.planned.config.experiment.kind != Experiment::Era {
            return Err(not_of_these(name, "runs that compare methods"));
        }
        let (variant, seed) = (row.planned.variant(), row.planned.seed);
        for result in parts(row)? {
            let part = result.part();
            match arms.iter_mut().find(|arm| arm.variant == variant && arm.part == part) {
                Some(arm) => arm.seeds.push((seed, result)),
                None => arms.push(Arm { variant: variant.clone(), part, seeds: vec![(seed, result)] }),
            }
        }
    }
    Ok(arms)
}

fn parts(row: &Row<Language>) -> Result<Vec<PartResult>> {
    let parts = row.summary.get("parts").cloned().unwrap_or_default();
    Ok(serde_json::from_value(parts)?)
}

/// The numbers of stories that all runs teach the concept back from.
fn stories(results: &Results<Language>, name: &str) -> Result<Vec<usize>> {
    let of = |row: &Row<Language>| row.planned.config.retrain.stories.clone();
    let first = results.rows.first().map(of).unwrap_or_default();
    if results.rows.iter().any(|row| of(row) != first) {
        return Err(not_of_these(name, "runs with the same retrain.stories"));
    }
    Ok(first)
}

/// The mean of a model's results over seeds; nothing where they have different stages.
fn mean_of(seeds: &[(u64, PartResult)]) -> Option<PartResult> {
    let results: Vec<&PartResult> = seeds.iter().map(|(_, result)| result).collect();
    let count = results.len() as f64;
    let number =
        |of: &dyn Fn(&PartResult) -> f64| results.iter().map(|result| of(result)).sum::<f64>() / count;
    let losses = |of: &dyn Fn(&PartResult) -> Losses| Losses {
        forget: number(&|result| of(result).forget),
        retain: number(&|result| of(result).retain),
    };
    let first = *results.first()?;
    let same = |other: &&PartResult| {
        let shape = |result: &PartResult| -> Vec<(usize, Vec<u64>, usize)> {
            let of = |r: &Relearned| (r.stories, r.steps.clone(), r.curve.len());
            result.relearned.iter().map(of).collect()
        };
        shape(other) == shape(first)
    };
    if !results.iter().all(same) {
        return None;
    }
    let relearned = first.relearned.iter().enumerate().map(|(i, of_first)| Relearned {
        best: losses(&|result| result.relearned[i].best),
        repeats: results.iter().flat_map(|result| result.relearned[i].repeats.clone()).collect(),
        curve: (0..of_first.curve.len()).map(|at| number(&|result| result.relearned[i].curve[at])).collect(),
        ..of_first.clone()
    });
    Some(PartResult {
        trained: losses(&|result| result.trained),
        ablated: losses(&|result| result.ablated),
        coherent: losses(&|result| result.coherent),
        relearned: relearned.collect(),
        ..first.clone()
    })
}

/// A loss, and how far it lies above the base model's of the same seed and variant: `mean (+above ± half the 95%
/// interval)`; empty where there is none.
fn cell(arms: &[Arm], arm: &Arm, of: &dyn Fn(&PartResult) -> Option<f64>) -> String {
    let values: Vec<f64> = arm.seeds.iter().filter_map(|(_, result)| of(result)).collect();
    let Some(spread) = Spread::of(&values) else { return String::new() };
    let base = arms.iter().find(|other| other.part.method.is_base() && other.variant == arm.variant);
    let Some(base) = base.filter(|_| !arm.part.method.is_base()) else {
        return format!("{:.3}", spread.mean);
    };
    let above = arm.seeds.iter().filter_map(|(seed, result)| {
        let (_, base) = base.seeds.iter().find(|(other, _)| other == seed)?;
        Some(of(result)? - of(base)?)
    });
    let above: Vec<f64> = above.collect();
    let above = Spread::of(&above).map_or_else(String::new, |above| {
        let half = above.half.map(|half| format!(" ± {half:.3}")).unwrap_or_default();
        format!(" ({}{half})", experiment::signed_decimals(above.mean, 3)).replace('-', "−")
    });
    format!("{:.3}{above}", spread.mean)
}

fn title(arm: &Arm) -> String {
    let title = arm.seeds.first().map(|(_, result)| plots::label(result)).unwrap_or_default();
    match arm.variant.as_str() {
        "" => title,
        variant => format!("{title}, {variant}"),
    }
}

/// A line a model: its losses made coherent, and taught back from the most stories.
fn methods(arms: &[Arm], stories: &[usize]) -> Table {
    let last = stories.last().copied();
    let mut table = Table::new(&["method", "seeds", "coherent: forget", "retain"]);
    if let Some(count) = last {
        table.head.extend([format!("relearned {count}: forget"), "retain".to_owned()]);
    }
    for arm in arms {
        let relearned = |result: &PartResult| Some(result.relearned_from(last?)?.best);
        let mut row = vec![
            title(arm),
            arm.seeds.len().to_string(),
            cell(arms, arm, &|result| Some(result.coherent.forget)),
            cell(arms, arm, &|result| Some(result.coherent.retain)),
        ];
        if last.is_some() {
            row.push(cell(arms, arm, &|result| relearned(result).map(|losses| losses.forget)));
            row.push(cell(arms, arm, &|result| relearned(result).map(|losses| losses.retain)));
        }
        table.rows.push(row);
    }
    table
}

/// A line a stage, with two columns a model.
fn stages(arms: &[Arm], stories: &[usize]) -> Table {
    let mut table = Table::new(&["stage"]);
    for arm in arms {
        table.head.extend([format!("{}: forget", title(arm)), "retain".to_owned()]);
    }
    for (index, stage) in tables::stage_names(stories).into_iter().enumerate() {
        let mut row = vec![stage];
        for arm in arms {
            let losses = |result: &PartResult| tables::stages(result, stories)[index];
            row.push(cell(arms, arm, &|result| losses(result).map(|losses| losses.forget)));
            row.push(cell(arms, arm, &|result| losses(result).map(|losses| losses.retain)));
        }
        table.rows.push(row);
    }
    table
}

/// The results of models with modules, each the mean over the seeds, and the settings of the first run.
fn mean_modules<'a>(results: &'a Results<Language>, name: &str) -> Result<(Vec<ModuleResult>, &'a Config)> {
    let Some(first) = results.rows.first() else { return Err(not_of_these(name, "runs")) };
    let variant = first.planned.variant();
    let same = |row: &Row<Language>| {
        row.planned.config.experiment.kind == Experiment::Modules && row.planned.variant() == variant
    };
    if !results.rows.iter().all(same) {
        return Err(not_of_these(name, "runs with modules that have the same settings"));
    }
    let of = |row: &Row<Language>| -> Result<Vec<ModuleResult>> {
        Ok(serde_json::from_value(row.summary.get("parts").cloned().unwrap_or_default())?)
    };
    let mut means = of(first)?;
    for (number, row) in results.rows.iter().enumerate().skip(1) {
        let more = of(row)?;
        for (mean, more) in means.iter_mut().zip(&more) {
            let each = mean.profiles.iter_mut().zip(&more.profiles);
            for (mean, more) in each.flat_map(|(mean, more)| mean.losses.iter_mut().zip(&more.losses)) {
                mean.loss += (more.loss - mean.loss) / (number + 1) as f64;
            }
        }
    }
    Ok((means, &first.planned.config))
}

/// What compute ratios need.
const BY_CONCEPT: &str = "runs with eval.by_concept, measured four times or more";

/// The baseline's curves, each the mean over the seeds.
fn kind_curves(results: &Results<Language>, config: &Config) -> KindCurves {
    let mut means = results.rows.first().map(|row| row.curves.clone()).unwrap_or_default();
    for (number, row) in results.rows.iter().enumerate().skip(1) {
        for (metric, mean) in &mut means {
            let other = row.curves.get(metric).map(Vec::as_slice).unwrap_or_default();
            for ((_, mean), (_, value)) in mean.iter_mut().zip(other) {
                *mean += (value - *mean) / (number + 1) as f64;
            }
        }
    }
    KindCurves::of_result(&means, config)
}

/// The models of each run of `adapt`.
fn adapted_models(results: &Results<Language>, name: &str) -> Result<Vec<Vec<ArmResult>>> {
    let runs = results.rows.iter().map(|row| {
        if row.planned.config.experiment.kind != Experiment::Adapt {
            return Err(not_of_these(name, "runs of `adapt`"));
        }
        let models = row.summary.get("parts").cloned();
        Ok(serde_json::from_value(models.ok_or_else(|| not_of_these(name, "finished runs"))?)?)
    });
    runs.collect()
}

/// The numbers of the runs' attacks: means over seeds, with half the 95% interval in place of the error over stories.
fn attacked(results: &Results<Language>, name: &str) -> Result<Vec<Measure>> {
    let mut found: Vec<(Measure, Vec<[f64; 2]>)> = Vec::new();
    let variant = results.rows.first().map(|row| row.planned.variant());
    for row in &results.rows {
        let measures = row.summary.get(attack::KEY).cloned();
        let measures = measures.filter(|_| Some(row.planned.variant()) == variant);
        let measures =
            measures.ok_or_else(|| not_of_these(name, "runs of the same settings, each attacked"))?;
        for one in serde_json::from_value::<Vec<Measure>>(measures)? {
            let numbers = [one.value, one.anchor.unwrap_or(f64::NAN)];
            let of = |one: &Measure| (one.concept.clone(), one.model.clone(), one.what.clone());
            match found.iter_mut().find(|(other, _)| of(other) == of(&one)) {
                Some((_, values)) => values.push(numbers),
                None => found.push((one, vec![numbers])),
            }
        }
    }
    let means = found.into_iter().filter_map(|(first, values)| {
        let spread = |of: usize| Spread::of(&values.iter().map(|both| both[of]).collect::<Vec<_>>());
        let value = spread(0)?;
        let standard_error = value.half.or(first.standard_error);
        Some(Measure {
            value: value.mean,
            anchor: spread(1).map(|anchor| anchor.mean),
            standard_error,
            ..first
        })
    });
    Ok(means.collect())
}

/// What the modules are worth: over seeds with the 95% interval, of one seed with the standard error over stories.
fn worth(results: &Results<Language>) -> Result<Table> {
    let mut found: Vec<(ModuleDifference, String, Vec<f64>)> = Vec::new();
    for row in &results.rows {
        let variant = row.planned.variant();
        let differences = row.summary.get("modules").cloned().unwrap_or_default();
        for one in serde_json::from_value::<Vec<ModuleDifference>>(differences)? {
            let same = |(other, of, _): &&mut (ModuleDifference, String, Vec<f64>)| {
                (&other.kind, &other.what, of) == (&one.kind, &one.what, &variant)
                    && percent(other.labelled).to_bits() == percent(one.labelled).to_bits()
            };
            match found.iter_mut().find(same) {
                Some((_, _, values)) => values.push(one.mean),
                None => found.push((one.clone(), variant.clone(), vec![one.mean])),
            }
        }
    }
    let several = found.iter().any(|(_, variant, _)| *variant != found[0].1);
    let mut table = Table::new(&["on documents of", "difference", "seeds", "nats"]);
    for (first, variant, values) in found {
        let Some(spread) = Spread::of(&values) else { continue };
        let half = match spread.half {
            Some(half) => format!(" ± {half:.3}"),
            None => first.standard_error.map(|error| format!(" (s.e. {error:.3})")).unwrap_or_default(),
        };
        let kind = if several { format!("{}, {variant}", first.kind) } else { first.kind };
        let nats = format!("{:+.3}{half}", spread.mean).replace('-', "−");
        table.rows.push(vec![kind, first.what, values.len().to_string(), nats]);
    }
    Ok(table)
}
