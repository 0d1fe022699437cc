//! The tables of each experiment.

use experiment::signed_decimals;

use super::above_base::{AboveBase, Difference};
use super::table::Table;
use crate::evaluate::Losses;
use crate::localise::{LocaliseResult, WithAndWithout};
use crate::methods::percent;
use crate::results::PartResult;
use crate::steer::SteerResult;

/// The stages of a part that all have a loss, with their names.
pub(crate) fn stages(result: &PartResult, stories: &[usize]) -> Vec<Option<Losses>> {
    let mut stages = vec![Some(result.trained), Some(result.ablated), Some(result.coherent)];
    stages.extend(stories.iter().map(|count| result.relearned_from(*count).map(|relearned| relearned.best)));
    stages
}

/// Names of [`stages`].
pub(crate) fn stage_names(stories: &[usize]) -> Vec<String> {
    let first = ["trained", "ablated", "coherent"].map(str::to_owned);
    first.into_iter().chain(stories.iter().map(|count| format!("relearned {count}"))).collect()
}

fn name_cells(result: &PartResult) -> Vec<String> {
    let share =
        if result.method.needs_labels { format!("{}%", percent(result.labelled)) } else { "-".into() };
    vec![result.method.name.to_owned(), share]
}

fn head(stories: &[usize]) -> Vec<String> {
    let mut head = vec!["method".to_owned(), "labelled".to_owned()];
    for stage in stage_names(stories) {
        head.push(format!("{stage}: forget"));
        head.push("retain".to_owned());
    }
    head
}

/// Forget and retain loss of every part at every stage.
pub(super) fn losses(results: &[PartResult], stories: &[usize]) -> Table {
    let rows = results.iter().map(|result| {
        let mut row = name_cells(result);
        for losses in stages(result, stories) {
            row.push(losses.map_or("-".into(), |losses| format!("{:.3}", losses.forget)));
            row.push(losses.map_or("-".into(), |losses| format!("{:.3}", losses.retain)));
        }
        row
    });
    Table { head: head(stories), rows: rows.collect() }
}

/// By how much every other part's losses lie above those of the base model at the same stage.
pub(super) fn against_base(results: &[PartResult], above: &[AboveBase], stories: &[usize]) -> Option<Table> {
    let mut table = Table::new(&["method", "labelled"]);
    for stage in stage_names(stories) {
        table.head.extend([format!("{stage}: forget"), "±".to_owned(), "retain".to_owned(), "±".to_owned()]);
    }
    for result in results.iter().filter(|result| !result.method.is_base()) {
        let mut row = name_cells(result);
        for stage in stage_names(stories) {
            let found = find(above, result, &stage);
            for difference in [found.map(|found| found.forget), found.map(|found| found.retain)] {
                row.extend([mean_cell(difference), error_cell(difference)]);
            }
        }
        table.rows.push(row);
    }
    (!above.is_empty()).then_some(table)
}

fn find<'a>(above: &'a [AboveBase], result: &PartResult, stage: &str) -> Option<&'a AboveBase> {
    let part = result.part().name();
    above.iter().find(|found| found.part == part && found.stage == stage)
}

fn mean_cell(difference: Option<Difference>) -> String {
    difference.map_or("-".to_owned(), |difference| signed_decimals(difference.mean, 3))
}

fn error_cell(difference: Option<Difference>) -> String {
    let error = difference.and_then(|difference| difference.standard_error);
    error.map_or("-".to_owned(), |error| format!("{error:.3}"))
}

/// One of the two losses of every part at every stage, and by how much it lies above the base model's, as text for
/// a terminal, where the whole table is too wide.
pub(super) fn in_short(results: &[PartResult], above: &[AboveBase], stories: &[usize]) -> String {
    let mut out = String::new();
    for kind in ["forget", "retain"] {
        let of = |losses: &Losses| if kind == "forget" { losses.forget } else { losses.retain };
        let mut table = Table { head: vec![format!("{kind} loss"), "labelled".to_owned()], rows: Vec::new() };
        table.head.extend(stage_names(stories));
        for result in results {
            let losses = stages(result, stories);
            let cell =
                |losses: &Option<Losses>| losses.map_or("-".into(), |losses| format!("{:.3}", of(&losses)));
            table.rows.push([name_cells(result), losses.iter().map(cell).collect()].concat());
            if above.is_empty() || result.method.is_base() {
                continue;
            }
            let differences = stage_names(stories).into_iter().map(|stage| {
                let found = find(above, result, &stage)?;
                Some(if kind == "forget" { found.forget } else { found.retain })
            });
            let named = |name: &str| vec![name.to_owned(), String::new()];
            let (mut means, mut errors) = (named("  above base"), named("  standard error"));
            for difference in differences {
                means.push(mean_cell(difference));
                errors.push(error_cell(difference));
            }
            table.rows.extend([means, errors]);
        }
        out.push_str(&table.text());
        out.push('\n');
    }
    out
}

/// The tokens that ERA routes most, where there is such a part.
pub(super) fn routed_tokens(results: &[PartResult]) -> Option<Table> {
    let era = results.iter().find(|result| !result.routed_tokens.is_empty())?;
    let mut table = Table::new(&["token", "w", "per 10k forget", "per 10k retain"]);
    for token in &era.routed_tokens {
        table.rows.push(vec![
            token.token.clone(),
            format!("{:.3}", token.weight),
            format!("{:.1}", token.per_10k_forget),
            format!("{:.1}", token.per_10k_retain),
        ]);
    }
    Some(table)
}

/// The unembedding vectors nearest to the steering axis.
pub(super) fn nearest(result: &SteerResult) -> Table {
    let mut table = Table::new(&["nearest to the axis", "cosine"]);
    for near in &result.nearest {
        table.rows.push(vec![near.token.clone(), format!("{:.3}", near.cosine)]);
    }
    table
}

/// What pushes along the steering axis do.
pub(super) fn pushes(result: &SteerResult) -> Table {
    let token = &result.token;
    let mut table = Table::new(&["push"]);
    table.head.push(format!("{token} in 1,000 generated"));
    table.head.push("times".to_owned());
    table.head.push("concept in 1,000".to_owned());
    table.head.push(format!("P({token}) in 1,000, forget"));
    table.head.push("retain".to_owned());
    for push in &result.pushes {
        let plain = result.pushes.iter().find(|other| other.strength == 0.0);
        let times = plain.filter(|plain| plain.frequency > 0.0).map(|plain| push.frequency / plain.frequency);
        table.rows.push(vec![
            format!("{:+}", push.strength),
            format!("{:.2}", 1000.0 * push.frequency),
            times.map_or("-".to_owned(), |times| format!("{times:.2}")),
            format!("{:.2}", 1000.0 * push.concept_frequency),
            format!("{:.3}", 1000.0 * push.probability.forget),
            format!("{:.3}", 1000.0 * push.probability.retain),
        ]);
    }
    table
}

/// The losses of `virology`, over all tokens and without the listed ones.
pub(super) fn localised(result: &LocaliseResult) -> Table {
    let mut table =
        Table::new(&["model", "forget", "unlisted", "retain", "unlisted", "forget − trained", "unlisted"]);
    let mut row = |name: String, losses: WithAndWithout| {
        let plain = [losses.all.forget, losses.unlisted.forget, losses.all.retain, losses.unlisted.retain];
        let above = [
            losses.all.forget - result.trained.all.forget,
            losses.unlisted.forget - result.trained.unlisted.forget,
        ];
        let cells = plain.iter().map(|loss| format!("{loss:.3}"));
        table.rows.push(
            [name].into_iter().chain(cells).chain(above.map(|loss| signed_decimals(loss, 3))).collect(),
        );
    };
    row("trained".to_owned(), result.trained);
    row("ablated".to_owned(), result.ablated);
    row("coherent".to_owned(), result.coherent);
    row(format!("relearned {}", result.stories), result.relearned);
    table
}
