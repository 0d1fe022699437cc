//! The settings of the verb `adapt`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, Experiment};

/// What the adapter of a behaviour is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// Low-rank matrices at the projections of `adapt.targets`.
    Lora,
    /// An auxiliary MLP of `adapt.neurons` neurons beside each block's own.
    Mlp,
}

/// What the documents without a label move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// The rest's adapter; the behaviour's takes no part in their passes.
    Rest,
    /// Both adapters, and both take part: what is not labelled can be learned beside what is.
    Both,
}

/// `[adapt]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptSection {
    /// The model: a folder in the layout of Hugging Face, or a `.gguf` file.
    pub base: String,
    /// The uppermost blocks that get adapters; 0 for all. What lies below is computed once for each document.
    pub blocks: usize,
    /// The projections of the low-rank matrices: `q`, `k`, `v`, `o`, `gate`, `up`, `down`.
    pub targets: Vec<String>,
    /// Their rank.
    pub rank: usize,
    /// Their output is multiplied by `alpha` / `rank`.
    pub alpha: f64,
    /// Neurons of an auxiliary MLP in each block.
    pub neurons: usize,
    /// What the behaviour's adapter of `routed` is; `era` has an auxiliary MLP.
    pub behaviour: AdapterKind,
    /// What the documents without a label move in `routed`.
    pub others: Others,
    /// Split moments in `routed`: Adam's second moment from the gradients that the adapters would get without routes, at twice
    /// the time of a step.
    pub split_moments: bool,
    /// A generated text shows the behaviour where this regular expression matches; empty for a word of the concept.
    pub pattern: String,
    /// How the generated texts begin.
    pub prompt: String,
    /// Generated texts of each model.
    pub samples: usize,
    /// Tokens of each at most.
    pub sample_tokens: usize,
    /// The logits are divided by it.
    pub temperature: f64,
    /// The tokens to choose from, the likeliest ones; 0 for all.
    pub top_k: usize,
    /// MiB of memory for what the blocks below the adapters make of the documents.
    pub kept_mib: usize,
}

impl Default for AdaptSection {
    fn default() -> Self {
        Self {
            base: String::new(),
            blocks: 10,
            targets: ["q", "v", "up", "down"].map(str::to_owned).to_vec(),
            rank: 8,
            alpha: 16.0,
            neurons: 64,
            behaviour: AdapterKind::Lora,
            others: Others::Rest,
            split_moments: false,
            pattern: String::new(),
            prompt: "Once upon a time".to_owned(),
            samples: 64,
            sample_tokens: 60,
            temperature: 0.8,
            top_k: 40,
            kept_mib: 512,
        }
    }
}

impl Config {
    /// The defaults of the verb `adapt`.
    pub(crate) fn for_adapt() -> Self {
        let mut config = Self::default();
        config.experiment.kind = Experiment::Adapt;
        config.experiment.methods =
            ["base", "single", "filtered", "routed", "era"].map(str::to_owned).to_vec();
        (config.data.max_documents, config.data.validation_documents) = (6000, 2000);
        (config.train.steps, config.train.batch_size, config.train.warmup_steps) = (150, 4, 10);
        (config.train.learning_rate, config.train.min_learning_rate) = (1e-3, 1e-4);
        config.train.weight_decay = 0.0;
        config.retrain.stories = vec![16];
        (config.retrain.steps, config.retrain.every, config.retrain.repeats) = (20, 5, 1);
        (config.retrain.learning_rate, config.retrain.validation_stories) = (1e-3, 48);
        (config.eval.every, config.eval.stories) = (75, 48);
        (config.checkpoint.every, config.checkpoint.keep) = (25, 2);
        config
    }
}
