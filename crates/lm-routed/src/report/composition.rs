//! Sets of modules as access profiles: what each keeps, what it forgets, and what that is worth.

use std::collections::BTreeMap;

use ::plots::Heatmap;
use experiment::Record;

use super::modules::{name_of, same_share};
use super::table::Table;
use crate::config::Config;
use crate::evaluate::eval_metric;
use crate::learning_curve::LearningCurve;
use crate::methods::{BASELINE, module_names};
use crate::modules::{ModuleResult, ProfileLosses};

/// The baseline's learning curve on documents of each kind, for those that were measured while it was trained.
#[derive(Default)]
pub(crate) struct KindCurves(BTreeMap<String, LearningCurve>);

impl KindCurves {
    /// Of the records of a run.
    pub(crate) fn of_records(records: &[Record], config: &Config) -> Self {
        Self::each(config, |metric| LearningCurve::of_metric(records, metric))
    }

    /// Of the curves of a result.
    pub(crate) fn of_result(curves: &BTreeMap<String, Vec<(u64, f64)>>, config: &Config) -> Self {
        Self::each(config, |metric| LearningCurve::of_points(curves.get(metric)?))
    }

    fn each(config: &Config, curve: impl Fn(&str) -> Option<LearningCurve>) -> Self {
        let kinds = std::iter::once("general".to_owned()).chain(module_names(config));
        Self(
            kinds
                .filter_map(|kind| Some((kind.clone(), curve(&eval_metric(BASELINE.files, &kind))?)))
                .collect(),
        )
    }

    /// The share of the baseline's training after which it had that loss.
    fn ratio(&self, losses: &ProfileLosses, kind: &str) -> Option<f64> {
        self.0.get(kind)?.share_at(losses.of(kind)?.loss)
    }

    /// A line a kind: what the curve is, and what it is off by.
    pub(crate) fn described(&self) -> String {
        let lines =
            self.0.iter().map(|(kind, curve)| format!("compute ratio, {kind}: {}\n", curve.described()));
        lines.collect()
    }
}

/// A row a profile: mean losses on what it keeps (documents about no concept, and about those whose modules are on) and on
/// what it forgets, beside the model that was trained without the same concepts, and the compute ratios of both.
pub(crate) fn composition(results: &[ModuleResult], config: &Config, curves: &KindCurves) -> Option<Table> {
    let names = module_names(config);
    let mut table = Table::new(&["profile", "kept", "− filtered", "forgotten", "− filtered"]);
    if !curves.0.is_empty() {
        table.head.extend(["compute ratio, kept".to_owned(), "forgotten".to_owned()]);
    }
    for result in results.iter().filter(|result| result.profiles.len() > 1) {
        for profile in result.profiles.iter().filter(|profile| profile.dose.is_none()) {
            let (on, off): (Vec<&String>, Vec<&String>) =
                names.iter().partition(|name| profile.modules.contains(name));
            let general = "general".to_owned();
            let kept: Vec<&String> = std::iter::once(&general).chain(on).collect();
            let without = match off.as_slice() {
                [] => None,
                [one] => Some((*one).clone()),
                several if several.len() == names.len() => Some("all".to_owned()),
                _ => None,
            };
            let filtered = results.iter().find(|other| {
                without.is_some() && other.filtered == without && same_share(other.labelled, result.labelled)
            });
            let filtered = filtered.and_then(|filtered| filtered.profiles.first());
            let mut row = vec![name_of(result, profile)];
            for kinds in [&kept, &off] {
                let loss = |losses: &ProfileLosses| mean(kinds, |kind| Some(losses.of(kind)?.loss));
                let own = loss(profile);
                row.push(cell(own, |value| format!("{value:.3}")));
                let above = own.zip(filtered.and_then(loss)).map(|(own, other)| own - other);
                row.push(cell(above, |value| format!("{value:+.3}").replace('-', "−")));
            }
            if !curves.0.is_empty() {
                for kinds in [&kept, &off] {
                    let ratio = mean(kinds, |kind| curves.ratio(profile, kind));
                    row.push(cell(ratio, |value| format!("{value:.2}")));
                }
            }
            table.rows.push(row);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The compute ratio of every profile on documents of each kind, as tinted cells.
pub(crate) fn ratios(results: &[ModuleResult], config: &Config, curves: &KindCurves) -> Option<Heatmap> {
    if curves.0.is_empty() {
        return None;
    }
    let columns: Vec<String> = std::iter::once("general".to_owned()).chain(module_names(config)).collect();
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for result in results {
        for profile in result.profiles.iter().filter(|profile| profile.dose.is_none()) {
            let ratio = |kind: &String| curves.ratio(profile, kind).unwrap_or(f64::NAN);
            values.push(columns.iter().map(ratio).collect());
            rows.push(name_of(result, profile));
        }
    }
    (!rows.is_empty()).then(|| Heatmap {
        title: "What each set of modules is worth".to_owned(),
        subtitle:
            "share of the baseline's training after which it had the same loss: 1 knows as much, dark is much"
                .to_owned(),
        x_label: "documents about".to_owned(),
        y_label: "model".to_owned(),
        columns,
        rows,
        values,
        range: Some((0.0, 1.0)),
    })
}

/// The mean over kinds; nothing where there is none, or one has no number.
fn mean(kinds: &[&String], of: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = kinds.iter().map(|kind| of(kind)).collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

fn cell(value: Option<f64>, shown: impl Fn(f64) -> String) -> String {
    value.map_or("-".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConceptSection;
    use crate::methods::Method;
    use crate::modules::KindLoss;

    #[test]
    fn a_profile_keeps_what_its_modules_know_and_stands_beside_the_model_filtered_of_the_rest() {
        let concept = |name: &str| ConceptSection::of_words(name, vec![name.to_owned()]);
        let config = Config { concept: vec![concept("sea"), concept("birds")], ..Config::default() };
        let profile = |modules: &[&str], losses: [f64; 3]| ProfileLosses {
            modules: modules.iter().map(ToString::to_string).collect(),
            dose: None,
            losses: ["general", "sea", "birds"]
                .into_iter()
                .zip(losses)
                .map(|(kind, loss)| KindLoss { kind: kind.to_owned(), loss, per_story: None })
                .collect(),
        };
        let result = |method: &str, filtered: Option<&str>, profiles: Vec<ProfileLosses>| ModuleResult {
            method: Method::named(method).unwrap(),
            labelled: 1.0,
            filtered: filtered.map(str::to_owned),
            profiles,
            seconds: 0.0,
        };
        let dosed = ProfileLosses { dose: Some(0.5), ..profile(&["sea", "birds"], [2.1; 3]) };
        let results = [
            result(
                "gram",
                None,
                vec![
                    profile(&[], [2.0, 2.4, 2.6]),
                    profile(&["sea"], [2.0, 2.2, 2.6]),
                    profile(&["birds"], [2.0, 2.4, 2.2]),
                    profile(&["sea", "birds"], [2.1, 2.2, 2.2]),
                    dosed,
                ],
            ),
            result("filtered", Some("birds"), vec![profile(&[], [1.9, 2.0, 2.7])]),
            result("filtered", Some("all"), vec![profile(&[], [1.9, 2.5, 2.7])]),
        ];
        let table = composition(&results, &config, &KindCurves::default()).unwrap();
        assert_eq!(
            table.rows,
            [
                ["GRAM: core", "2.000", "+0.100", "2.500", "−0.100"],
                ["GRAM: core + sea", "2.100", "+0.150", "2.600", "−0.100"],
                ["GRAM: core + birds", "2.100", "-", "2.400", "-"],
                ["GRAM: core + sea + birds", "2.167", "-", "-", "-"],
            ]
        );
        // a curve that falls as 1.5 + 1 / steps: 2 after two of ten steps
        let points: Vec<(u64, f64)> = (1..=10).map(|step| (step, 1.5 + (step as f64).recip())).collect();
        let curves = BTreeMap::from([("baseline/eval/general".to_owned(), points)]);
        let curves = KindCurves::of_result(&curves, &config);
        let ratio = curves.ratio(&results[0].profiles[0], "general").unwrap();
        assert!((ratio - 0.2).abs() < 0.01, "{ratio}");
    }
}
