//! The baseline of branches: a core that never saw a concept, fine-tuned on each.

use learning::Parameters;
use plots::Colour;
use transformer::{Hooks, Network, copied};

use super::gram::FILTERED;
use super::plain::everything;
use super::{Filtered, Spec, Start};
use crate::Error;
use crate::config::{Config, Experiment};
use crate::finetune::Context;
use crate::learner::Learner;
use crate::routing::Labels;
use crate::train::{Order, StepContext, batch_of, cosine};

/// The model that saw no concept, and for each concept a copy of it that is fine-tuned on that concept's documents, in
/// full or by low-rank matrices. A set of concepts is the core with the sum of their changes.
///
/// # Source
/// The baselines FT-Full and FT-LoRA of GRAM, arXiv 2607.08077; added up as the task vectors of Ilharco et al. 2022,
/// arXiv 2212.04089.
pub(super) static BRANCH: Spec = Spec {
    name: "branch",
    title: "branches",
    about: "the model filtered of all concepts is fine-tuned on each, and the changes of a set of concepts are added up",
    colour: Colour::Orange,
    experiments: &[Experiment::Modules],
    files: "branch",
    needs_labels: true,
    filters: false,
    start: Start::Branches { from: &FILTERED },
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// The name of what the core was filtered of: all concepts, or the only one.
pub(crate) fn core_filtered_of(config: &Config) -> Option<String> {
    Filtered::each(config).pop().map(|filtered| filtered.name)
}

/// The core fine-tuned on the training documents that are labelled with a concept: concept `number`, of `concepts`, which
/// say for every document what it is labelled with.
pub(crate) fn branch(
    core: &Network,
    number: usize,
    concepts: &[u8],
    cx: Context<'_>,
    tell: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Network, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let settings = &config.branch;
    let labelled = |index: &usize| concepts[*index] >> number & 1 == 1;
    let documents: Vec<usize> = (0..concepts.len()).filter(labelled).collect();
    if documents.is_empty() {
        let fault = "a branch needs a document that is labelled with its concept: raise experiment.labelled";
        return Err(Error::Setting(fault.to_owned()));
    }
    let mut order = Order::new(documents, cx.streams);
    let mut model = cx.model(core)?;
    let low_rank = (settings.lora_rank > 0).then_some((settings.lora_rank, cx.streams));
    let mut learner = Learner::new(&model, &config.train, low_rank)?;
    for step in 0..settings.steps {
        tell(step)?;
        let chosen = order.batch(step, settings.batch_size);
        let batch = batch_of(&dataset.train, &chosen, model.tokens(), dataset.vocabulary.end());
        let loss = model.gradient(&batch, &Hooks::default())?;
        let top = settings.learning_rate;
        let learning_rate = cosine(step, settings.steps, settings.steps / 10, top, top / 10.0);
        let step_context = StepContext { part: "branch", step: step + 1, section: "branch" };
        learner.step(step_context, &mut model, loss, learning_rate, config.train.grad_clip)?;
    }
    Ok(Network { architecture: core.architecture.clone(), parameters: copied(model.parameters())? })
}

/// The core with the changes of some branches.
///
/// ```text
/// θ = θ₀ + Σ (θᵢ − θ₀)
/// ```
pub(crate) fn added_up(core: &Network, branches: &[&Network]) -> Result<Network, Error> {
    let mut parameters = Parameters::default();
    for (name, var) in core.parameters.iter() {
        let before = var.as_detached_tensor();
        let mut sum = before.clone();
        for branch in branches {
            sum = (sum + (branch.parameters.get(name)?.as_detached_tensor() - &before)?)?;
        }
        parameters.insert(name, &sum)?;
    }
    Ok(Network { architecture: core.architecture.clone(), parameters })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use transformer::Architecture;

    use super::*;

    #[test]
    fn the_changes_of_branches_are_added_to_the_core() {
        let network = |values: [f32; 3]| {
            let mut parameters = Parameters::default();
            parameters.insert("a", &Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
            Network { architecture: Architecture::default(), parameters }
        };
        let (core, one, other) =
            (network([1.0, 2.0, 3.0]), network([1.5, 2.0, 3.0]), network([1.0, 1.0, 3.25]));
        let values = |branches: &[&Network]| -> Vec<f32> {
            added_up(&core, branches).unwrap().parameters.get("a").unwrap().to_vec1().unwrap()
        };
        assert_eq!(values(&[]), [1.0, 2.0, 3.0]);
        assert_eq!(values(&[&one]), [1.5, 2.0, 3.0]);
        assert_eq!(values(&[&one, &other]), [1.5, 1.0, 3.25]);
    }
}
