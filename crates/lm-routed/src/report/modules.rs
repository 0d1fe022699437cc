//! The tables and the picture of models with modules: every set of modules against the models that were trained for it.

use ::plots::Heatmap;

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::config::Config;
use crate::methods::{module_names, percent};
use crate::modules::{ModuleResult, ProfileLosses};

/// A model with some of its modules, under the name of its row.
pub(crate) struct Row<'a> {
    name: String,
    losses: &'a ProfileLosses,
}

impl Row<'_> {
    /// Whether no module is on, or all of them.
    pub(crate) fn is_end(&self, config: &Config) -> bool {
        let on = self.losses.modules.len();
        self.losses.dose.is_none() && (on == 0 || on == module_names(config).len())
    }
}

/// Every model with every set of its modules.
fn rows(results: &[ModuleResult]) -> Vec<Row<'_>> {
    let each = results.iter().flat_map(|result| result.profiles.iter().map(move |losses| (result, losses)));
    each.map(|(result, losses)| Row { name: name_of(result, losses), losses }).collect()
}

/// What a model with some of its modules is called.
pub(super) fn name_of(result: &ModuleResult, losses: &ProfileLosses) -> String {
    let share = if result.labelled < 1.0 && result.method.needs_labels {
        format!(", {}% labelled", percent(result.labelled))
    } else {
        String::new()
    };
    let (title, modules) = (result.method.title, losses.modules.join(" + "));
    let name = match (&result.filtered, losses.dose) {
        (Some(filtered), _) => format!("filtered: {filtered}"),
        (None, _) if result.profiles.len() == 1 => title.to_owned(),
        (None, _) if losses.modules.is_empty() => format!("{title}: core"),
        (None, Some(dose)) => format!("{title}: core + {dose} · ({modules})"),
        (None, None) => format!("{title}: core + {modules}"),
    };
    name + &share
}

/// The kinds of documents: `general`, then the concepts.
fn kinds(config: &Config) -> Vec<String> {
    std::iter::once("general".to_owned()).chain(module_names(config)).collect()
}

/// The loss of models with sets of modules on documents of each kind: of those rows that are wanted.
pub(crate) fn losses(results: &[ModuleResult], config: &Config, wanted: impl Fn(&Row<'_>) -> bool) -> Table {
    let kinds = kinds(config);
    let mut table = Table::new(&["model"]);
    table.head.extend(kinds.iter().cloned());
    for row in rows(results).into_iter().filter(wanted) {
        let cell =
            |kind: &String| row.losses.of(kind).map_or("-".to_owned(), |found| format!("{:.3}", found.loss));
        table.rows.push(std::iter::once(row.name.clone()).chain(kinds.iter().map(cell)).collect());
    }
    table
}

/// A difference of two losses on the same documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModuleDifference {
    /// The share of the concepts' documents that were labelled.
    pub labelled: f64,
    /// The documents' kind.
    pub kind: String,
    /// Whose loss minus whose.
    pub what: String,
    /// In nats per token.
    pub mean: f64,
    /// Its standard error over stories, paired by story.
    pub standard_error: Option<f64>,
}

/// For each concept what its module is worth, beside the models that were trained for it: with the module off and the
/// others on against the model that never saw the concept, with all on against the baseline; and what the core costs on
/// documents about no concept.
pub(crate) fn differences(results: &[ModuleResult], config: &Config) -> Vec<ModuleDifference> {
    let names = module_names(config);
    let baseline = results.iter().find(|result| result.method.name == "baseline");
    let mut found = Vec::new();
    for result in results.iter().filter(|result| result.profiles.len() > 1) {
        let labelled = result.labelled;
        // modules of neurons are meant where nothing is said
        let other = result.method.has_branches();
        let whose = if other { format!("{}: ", result.method.title) } else { String::new() };
        let filtered = |name: &str| {
            let same = |other: &&ModuleResult| {
                other.filtered.as_deref() == Some(name) && same_share(other.labelled, labelled)
            };
            results.iter().find(same).and_then(|other| other.profiles.first())
        };
        let baseline = baseline.and_then(|baseline| baseline.profiles.first());
        let mut add = |kind: &str, what: &str, one: Option<&ProfileLosses>, other: Option<&ProfileLosses>| {
            let both = one.and_then(|one| one.of(kind)).zip(other.and_then(|other| other.of(kind)));
            let Some((one, other)) = both else { return };
            let stories = one.per_story.as_ref().zip(other.per_story.as_ref());
            found.push(ModuleDifference {
                labelled,
                kind: kind.to_owned(),
                what: whose.clone() + what,
                mean: one.loss - other.loss,
                standard_error: stories.and_then(|(one, other)| one.standard_error_to(other)),
            });
        };
        let all = result.with(&names);
        for name in &names {
            let others: Vec<String> = names.iter().filter(|other| *other != name).cloned().collect();
            let off = result.with(&others);
            add(name, "module off − module on", off, all);
            add(name, "filtered − baseline", filtered(name), baseline);
            add(name, "module off − filtered", off, filtered(name));
            add(name, "module on − baseline", all, baseline);
        }
        let core = result.with(&[]);
        add("general", "core − baseline", core, baseline);
        add("general", "core − filtered of all", core, filtered("all"));
        add("general", "all modules on − baseline", all, baseline);
    }
    found
}

/// The differences as a table.
pub(super) fn difference_table(differences: &[ModuleDifference]) -> Table {
    let mut table = Table::new(&["labelled", "on documents of", "difference", "nats", "±"]);
    table.rows.extend(differences.iter().map(|found| {
        vec![
            format!("{}%", percent(found.labelled)),
            found.kind.clone(),
            found.what.clone(),
            format!("{:+.3}", found.mean),
            found.standard_error.map_or("-".to_owned(), |error| format!("{error:.3}")),
        ]
    }));
    table
}

#[expect(clippy::float_cmp, reason = "both are the same number of the config")]
pub(super) fn same_share(one: f64, other: f64) -> bool {
    one == other
}

/// By how much each model with each set of modules lies above the baseline, as tinted cells.
pub(crate) fn matrix(results: &[ModuleResult], config: &Config) -> Option<Heatmap> {
    let kinds = kinds(config);
    let baseline = results.iter().find(|result| result.method.name == "baseline")?.profiles.first()?;
    let rows: Vec<Row<'_>> =
        rows(results).into_iter().filter(|row| !std::ptr::eq(row.losses, baseline)).collect();
    let above = |losses: &ProfileLosses, kind: &String| -> f64 {
        let found = losses.of(kind).zip(baseline.of(kind));
        found.map_or(f64::NAN, |(one, base)| one.loss - base.loss)
    };
    let values: Vec<Vec<f64>> =
        rows.iter().map(|row| kinds.iter().map(|kind| above(row.losses, kind)).collect()).collect();
    let all = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let high = all().fold(0.05, f64::max);
    (!rows.is_empty()).then(|| Heatmap {
        title: "What each set of modules knows".to_owned(),
        subtitle: "validation loss above the baseline's, in nats per token: dark is unknown".to_owned(),
        x_label: "documents about".to_owned(),
        y_label: "model".to_owned(),
        columns: kinds,
        rows: rows.into_iter().map(|row| row.name).collect(),
        values,
        range: Some((0.0, high)),
    })
}
