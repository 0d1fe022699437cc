//! The numbers of an attack, one by one, each beside that of the model which never saw the concept.

use experiment::Record;
use serde::{Deserialize, Serialize};

use super::{AttackResult, Attacked};
use crate::evaluate::eval_metric;
use crate::learning_curve::LearningCurve;
use crate::methods::BASELINE;
use crate::per_story::PerStory;

/// The model that never saw the concept.
pub(crate) const ANCHOR: &str = "pure";
/// The model that knows it.
pub(crate) const BASE: &str = "base";

/// A number of a model: a line of `attacks/attack.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// The concept, of a run that has several and was attacked on some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<String>,
    /// The model.
    pub model: String,
    /// What is measured.
    pub what: String,
    /// In nats per token where it is a loss.
    pub value: f64,
    /// The same of the model that never saw the concept, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<f64>,
    /// Of a difference of losses, the standard error over stories, paired by story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
}

impl Measure {
    /// The row that it stands in: the model, behind the concept where there are several.
    pub(super) fn row(&self) -> String {
        self.concept.as_ref().map_or(self.model.clone(), |concept| format!("{concept}: {}", self.model))
    }
}

/// Where a run keeps what the losses of its base model were while it was trained.
pub(super) struct BaseMetrics {
    forget: String,
    /// None where other documents count as retained now than did then.
    retain: Option<String>,
}

impl BaseMetrics {
    pub(super) fn of_era() -> Self {
        Self { forget: eval_metric(BASE, "forget"), retain: Some(eval_metric(BASE, "retain")) }
    }

    /// Of the baseline of a run of `modules`, which has them with `eval.by_concept`.
    pub(super) fn of_concept(concept: &str) -> Self {
        Self { forget: eval_metric(BASELINE.files, concept), retain: None }
    }
}

/// What the losses of a run's base model were while it was trained.
pub(super) struct BaseCurves {
    /// On documents about the concept.
    pub forget: Option<LearningCurve>,
    /// On the others.
    pub retain: Option<LearningCurve>,
}

impl BaseCurves {
    /// Of the records of a run.
    pub(super) fn of(records: &[Record], metrics: &BaseMetrics) -> Self {
        let of = |metric: &String| LearningCurve::of_metric(records, metric);
        Self { forget: of(&metrics.forget), retain: metrics.retain.as_ref().and_then(of) }
    }
}

/// All numbers of all models.
pub(super) fn all(results: &[AttackResult], curves: &BaseCurves) -> Vec<Measure> {
    let named = |name: &str| results.iter().find(|result| result.model == name);
    let (anchor, base) = (named(ANCHOR), named(BASE));
    let of_anchor = anchor.map(|anchor| numbers(anchor, anchor, base, curves)).unwrap_or_default();
    let mut measures = Vec::new();
    for result in results {
        for (what, value, standard_error) in numbers(result, anchor.unwrap_or(result), base, curves) {
            let known = of_anchor.iter().find(|(other, ..)| *other == what);
            let beside = known.map(|(_, value, _)| *value);
            let model = result.model.clone();
            // what needs the anchor is not there without it
            if anchor.is_some() || !NEED_ANCHOR.iter().any(|name| what.ends_with(name)) {
                measures.push(Measure { concept: None, model, what, value, anchor: beside, standard_error });
            }
        }
    }
    measures
}

const LEAKAGE: &str = "leakage";
const STEPS: &str = " steps";
pub(super) const TIMES: &str = " times the steps";
const NEED_ANCHOR: [&str; 3] = [LEAKAGE, STEPS, TIMES];

type Number = (String, f64, Option<f64>);

fn numbers(
    result: &AttackResult,
    anchor: &AttackResult,
    base: Option<&AttackResult>,
    curves: &BaseCurves,
) -> Vec<Number> {
    let mut numbers: Vec<Number> = Vec::new();
    let mut add = |name: &str, value: Option<f64>, error: Option<f64>| {
        numbers.extend(value.map(|value| (name.to_owned(), value, error)));
    };
    let share = |curve: &Option<LearningCurve>, loss: f64| curve.and_then(|curve| curve.share_at(loss));
    let (before, elicited) = (&result.before, &result.elicited);
    let error = |one: &PerStory, other: &PerStory| one.standard_error_to(other);
    add("forget", Some(before.losses.forget), None);
    add("retain", Some(before.losses.retain), None);
    add(
        LEAKAGE,
        Some(anchor.before.losses.forget - before.losses.forget),
        error(&anchor.before.stories.forget, &before.stories.forget),
    );
    if let Some(base) = base {
        add(
            "retain cost",
            Some(before.losses.retain - base.before.losses.retain),
            error(&before.stories.retain, &base.before.stories.retain),
        );
    }
    add("compute ratio, forget", share(&curves.forget, before.losses.forget), None);
    add("compute ratio, retain", share(&curves.retain, before.losses.retain), None);
    if let Some(calibrated) = &result.calibrated {
        add("calibrated forget", Some(calibrated.losses.forget), None);
        add("calibrated retain", Some(calibrated.losses.retain), None);
    }
    add("elicited forget", Some(elicited.losses.forget), None);
    add(
        &format!("elicited {LEAKAGE}"),
        Some(anchor.elicited.losses.forget - elicited.losses.forget),
        error(&anchor.elicited.stories.forget, &elicited.stories.forget),
    );
    add("compute ratio, elicited", share(&curves.forget, elicited.losses.forget), None);
    for (by, one, other) in [
        ("relearned", &result.relearned, &anchor.relearned),
        ("LoRA", &result.relearned_lora, &anchor.relearned_lora),
    ] {
        for (attacked, of_anchor) in one.iter().zip(other) {
            let name = format!("{by} {}", attacked.stories);
            add(&name, Some(attacked.lowest), None);
            let steps = steps_until(attacked, of_anchor.lowest);
            add(&format!("{name}{STEPS}"), steps, None);
            let own = steps_until(of_anchor, of_anchor.lowest).filter(|own| *own > 0.0);
            add(&format!("{name}{TIMES}"), steps.zip(own).map(|(steps, own)| steps / own), None);
        }
    }
    for taught in &result.taught_others {
        add(&format!("from {} others", taught.stories), Some(taught.lowest), None);
    }
    for (bits, losses) in &result.quantised {
        add(&format!("{bits} bits"), Some(losses.forget), None);
    }
    for (share, losses) in &result.pruned {
        add(&format!("{:.0}% pruned", 100.0 * share), Some(losses.forget), None);
    }
    for (depth, area) in &result.probes {
        add(&format!("probe {depth}"), Some(*area).filter(|area| area.is_finite()), None);
    }
    numbers
}

/// The first step at which the loss is as low as the anchor's lowest; nothing where it never is.
fn steps_until(attacked: &Attacked, aim: f64) -> Option<f64> {
    let reached = attacked.steps.iter().zip(&attacked.curve).find(|(_, loss)| **loss <= aim);
    reached.map(|(step, _)| *step as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_those_until_the_anchors_loss() {
        let curve = vec![3.0, 2.5, 2.1, 2.2];
        let attacked =
            Attacked { stories: 4, learning_rate: 1e-3, lowest: 2.1, steps: vec![0, 4, 8, 12], curve };
        assert_eq!(steps_until(&attacked, 2.5), Some(4.0));
        assert_eq!(steps_until(&attacked, 2.0), None);
    }
}
