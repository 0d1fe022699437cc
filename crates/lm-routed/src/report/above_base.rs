//! By how much the losses of the parts lie above the base model's, with the error of that.

use serde::Serialize;

use super::tables::{stage_names, stages};
use crate::evaluate::Losses;
use crate::per_story::{PerStory, StoryLosses};
use crate::results::PartResult;

/// A difference of two mean losses, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Of the means.
    pub mean: f64,
    /// Its standard error over stories, paired by story; none where single stories' losses are not known.
    pub standard_error: Option<f64>,
}

/// How far a part lies above the base model at a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AboveBase {
    /// The name of the part.
    pub part: String,
    /// The stage, as in the tables.
    pub stage: String,
    /// On stories about the concept.
    pub forget: Difference,
    /// On the others.
    pub retain: Difference,
}

/// Every other part at every stage that both have; nothing where there is no base model.
pub(super) fn all(results: &[PartResult], stories: &[usize]) -> Vec<AboveBase> {
    let Some(base) = results.iter().find(|result| result.method.is_base()) else { return Vec::new() };
    let mut found = Vec::new();
    for result in results.iter().filter(|result| !result.method.is_base()) {
        let losses = stages(result, stories).into_iter().zip(stages(base, stories));
        let each = per_story(result, stories).into_iter().zip(per_story(base, stories));
        for ((stage, losses), each) in stage_names(stories).into_iter().zip(losses).zip(each) {
            let (Some(losses), Some(base)) = losses else { continue };
            let difference = |of: fn(&Losses) -> f64, kind: fn(&StoryLosses) -> &PerStory| Difference {
                mean: of(&losses) - of(&base),
                standard_error: each
                    .0
                    .zip(each.1)
                    .and_then(|(one, base)| kind(one).standard_error_to(kind(base))),
            };
            found.push(AboveBase {
                part: result.part().name(),
                stage,
                forget: difference(|losses| losses.forget, |each| &each.forget),
                retain: difference(|losses| losses.retain, |each| &each.retain),
            });
        }
    }
    found
}

/// The losses of single stories at the same stages.
fn per_story<'a>(result: &'a PartResult, stories: &[usize]) -> Vec<Option<&'a StoryLosses>> {
    let first = result.per_story.as_ref();
    let mut all = vec![
        first.map(|stages| &stages.trained),
        first.map(|stages| &stages.ablated),
        first.map(|stages| &stages.coherent),
    ];
    all.extend(stories.iter().map(|count| result.relearned_from(*count)?.per_story.as_ref()));
    all
}
