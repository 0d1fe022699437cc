//! The sections of single methods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[unlearn]`, for the baselines `maxent` and `ascent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnlearnSection {
    /// Steps at most.
    pub steps: u64,
    /// Documents of each kind in a step.
    pub batch_size: usize,
    /// `AdamW`'s learning rate.
    pub learning_rate: f64,
    /// The loss on labelled documents, in nats per token, at which `ascent` ends.
    pub ascent_limit: f64,
}

/// `[undo]`, for the baseline of that name, which unlearns as `[unlearn]` says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UndoSection {
    /// α, the share of the weights that is lost to noise.
    pub alpha: f64,
    /// β, the noise's size, of the size that weights have at the start of a training.
    pub beta: f64,
    /// Steps of learning the unlearned model's predictions.
    pub steps: u64,
    /// Documents of a step.
    pub batch_size: usize,
    /// `AdamW`'s learning rate after a tenth of the steps; it falls to a tenth of that.
    pub learning_rate: f64,
}

/// `[branch]`, for the baseline of that name, which fine-tunes the model filtered of all concepts on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BranchSection {
    /// Steps of a branch.
    pub steps: u64,
    /// Documents of a step.
    pub batch_size: usize,
    /// `AdamW`'s learning rate after a tenth of the steps; it falls to a tenth of that.
    pub learning_rate: f64,
    /// The rank of matrices that are learned beside the weights (`LoRA`); 0 for the weights themselves.
    pub lora_rank: usize,
}

/// `[attack]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AttackSection {
    /// Numbers of documents to teach from, each by itself.
    pub stories: Vec<usize>,
    /// Documents of a step at most.
    pub batch_size: usize,
    /// `AdamW`'s learning rates, of which the attacker has the best.
    pub learning_rates: Vec<f64>,
    /// The rank of the matrices that an attacker teaches who leaves the weights alone (`LoRA`); 0 for no such attacker.
    pub lora_rank: usize,
    /// That attacker's learning rates.
    pub lora_learning_rates: Vec<f64>,
    /// Steps.
    pub steps: u64,
    /// Steps between two measurements.
    pub every: u64,
    /// Reported documents about the concept to measure on while teaching; all else is measured on `eval.stories`.
    pub validation_stories: usize,
    /// Steps in which a bias on the logits is fitted, for losses that no unigram frequency decides; 0 leaves this out.
    pub calibration_steps: u64,
    /// Bits that weights are rounded to.
    pub bits: Vec<u32>,
    /// Shares of the weights that are pruned.
    pub pruned: Vec<f64>,
    /// Documents of each kind that a probe is fitted on, and as many that it is measured on.
    pub probe_stories: usize,
}

impl Default for AttackSection {
    fn default() -> Self {
        Self {
            stories: vec![1, 4, 16, 64, 256],
            batch_size: 32,
            learning_rates: vec![1e-4, 3e-4, 1e-3],
            lora_rank: 8,
            lora_learning_rates: vec![1e-3, 3e-3, 1e-2],
            steps: 40,
            every: 4,
            validation_stories: 100,
            calibration_steps: 200,
            bits: vec![8, 4],
            pruned: vec![0.1, 0.3, 0.5],
            probe_stories: 300,
        }
    }
}

/// What a step does with a parameter that its data do not train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepSemantics {
    /// It stays as it is to the bit, with its moments.
    Frozen,
    /// Its gradient is zero: moments and weight decay still move it.
    ZeroGradient,
}

/// `[sgtm]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SgtmSection {
    /// The last neurons of each MLP in `routing.layers`, set apart for the concept.
    pub neurons: usize,
    /// The last attention heads of each of these blocks, set apart likewise.
    pub heads: usize,
    /// The share of the documents without the concept that carry the label `retain`.
    pub retain_labelled: f64,
    /// Whether embeddings and norms stay as they are on documents that are labelled to be forgotten.
    pub mask_embeddings: bool,
    /// What a step does with a parameter that its data do not train.
    pub semantics: StepSemantics,
}

/// `[gram]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GramSection {
    /// Neurons of each concept's module in every MLP.
    pub neurons: usize,
    /// The probability that a step on a concept's documents trains the core too (auxiliary spread).
    pub p_as: f64,
    /// The probability that a step on other documents runs and trains one module, drawn anew, too (core robustness).
    pub p_cr: f64,
    /// Whether the modules' output weights start at zero, so that they change nothing at first.
    pub silent: bool,
    /// Weights, each by itself, with which all modules are measured in place of 1.
    pub doses: Vec<f64>,
}

impl Default for UnlearnSection {
    fn default() -> Self {
        Self { steps: 200, batch_size: 16, learning_rate: 1e-4, ascent_limit: 6.0 }
    }
}

impl Default for UndoSection {
    fn default() -> Self {
        Self { alpha: 0.6, beta: 0.1, steps: 900, batch_size: 32, learning_rate: 1e-3 }
    }
}

impl Default for BranchSection {
    fn default() -> Self {
        Self { steps: 300, batch_size: 32, learning_rate: 5e-4, lora_rank: 0 }
    }
}

impl Default for SgtmSection {
    fn default() -> Self {
        Self {
            neurons: 64,
            heads: 0,
            retain_labelled: 0.25,
            mask_embeddings: true,
            semantics: StepSemantics::Frozen,
        }
    }
}

impl Default for GramSection {
    fn default() -> Self {
        Self { neurons: 64, p_as: 0.5, p_cr: 0.25, silent: true, doses: Vec::new() }
    }
}
