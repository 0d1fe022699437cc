//! The sections of a config file.

use learning::Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transformer::{Norm, Position};

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    /// Expand, route, ablate, against other methods.
    Era,
    /// One dimension of the residual stream for one token.
    Steer,
    /// The neurons of a list of tokens.
    Virology,
    /// A module of neurons for each concept, any of which can be taken out.
    Modules,
    /// Adapters of a model from disk, one of them for a behaviour.
    Adapt,
}

impl Experiment {
    /// The name in configs and run folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Era => "era",
            Self::Steer => "steer",
            Self::Virology => "virology",
            Self::Modules => "modules",
            Self::Adapt => "adapt",
        }
    }
}

/// `[[concept]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConceptSection {
    /// Its name in tables, models and profiles.
    pub name: String,
    /// A document with one of these words, in any case, among its first `model.block_size` tokens is about it.
    #[serde(default)]
    pub words: Vec<String>,
    /// In place of words, a file of them, one a line.
    #[serde(default)]
    pub file: String,
    /// In place of words, a field of the lines of a `.jsonl`: a document is about the concept where it is the concept's
    /// name, a list with that name, or true.
    #[serde(default)]
    pub field: String,
    /// The share of its documents that are labelled so, of those that `experiment.labelled` says.
    #[serde(default = "all")]
    pub recall: f64,
    /// The share of the documents labelled so that are about it; the others are drawn from those that are not.
    #[serde(default = "all")]
    pub precision: f64,
}

fn all() -> f64 {
    1.0
}

impl ConceptSection {
    /// A concept of words, without noise in its labels.
    pub fn of_words(name: &str, words: Vec<String>) -> Self {
        let (name, file, field) = (name.to_owned(), String::new(), String::new());
        Self { name, words, file, field, recall: 1.0, precision: 1.0 }
    }

    /// For messages: what a document about it has.
    pub fn described(&self) -> String {
        let words = self.words.join(", ");
        if !self.field.is_empty() {
            return format!("the label {} in its field `{}`", self.name, self.field);
        }
        if self.name.is_empty() {
            return format!("a word of data.forget_words ({words})");
        }
        format!("a word of the concept {} ({words})", self.name)
    }
}

/// `[experiment]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentSection {
    /// What the run does; the verb decides over it.
    pub kind: Experiment,
    /// The names of the methods that `era` compares.
    pub methods: Vec<String>,
    /// The shares of the concept's documents that are labelled; each method that needs labels runs on each.
    pub labelled: Vec<f64>,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataSection {
    /// Training documents: `.jsonl` with a `text` a line, or plain text; may be packed as `.gz`; with the feature
    /// `hub` also `hub:OWNER/DATASET/FILE`.
    pub train: String,
    /// Validation documents; empty to hold back the last ones of `train`, which is the default where another `train` is
    /// given.
    pub validation: String,
    /// Training documents to read at most; 0 for all.
    pub max_documents: usize,
    /// Validation documents to read at most; 0 for all.
    pub validation_documents: usize,
    /// A document with one of these words, in any case, among its first `model.block_size` tokens is about the concept;
    /// `[[concept]]` takes its place.
    pub forget_words: Vec<String>,
    /// A tokenizer file in the JSON format of the `tokenizers` library; empty to train one on the documents.
    pub tokenizer: String,
    /// Tokens of a vocabulary that is trained.
    pub vocab_size: usize,
    /// Documents it is trained on.
    pub tokenizer_documents: usize,
    /// The folder for tokenised documents: `user` for the one of this user's caches, empty for none.
    pub cache: String,
}

/// `[model]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSection {
    /// Blocks.
    pub n_layer: usize,
    /// Attention heads of a block.
    pub n_head: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Neurons of a block's MLP.
    pub d_mlp: usize,
    /// Tokens of a context.
    pub block_size: usize,
    /// How a token's position enters.
    #[schemars(with = "String")]
    pub position: Position,
    /// The normalisation.
    #[schemars(with = "String")]
    pub norm: Norm,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainSection {
    /// Optimiser steps of a model.
    pub steps: u64,
    /// Documents of a step.
    pub batch_size: usize,
    /// `AdamW`'s learning rate after the warm-up.
    pub learning_rate: f64,
    /// Where the cosine ends.
    pub min_learning_rate: f64,
    /// Steps over which the rate rises from zero.
    pub warmup_steps: u64,
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// λ of the decoupled weight decay.
    pub weight_decay: f64,
    /// The largest gradient norm; 0 switches clipping off.
    pub grad_clip: f64,
    /// What computes forward and backward passes.
    #[schemars(with = "String")]
    pub backend: Backend,
}

/// Where the masks are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// To the gradient at the neurons' activations, on its way down.
    Activations,
    /// To the gradient of the MLPs' parameters.
    Parameters,
}

/// `[routing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoutingSection {
    /// The name of the rule by which tokens of a labelled document are routed.
    pub rule: String,
    /// Where the masks are applied.
    pub place: Place,
    /// The blocks whose MLPs are expanded and masked.
    pub layers: Vec<usize>,
    /// Neurons that are added to each of them.
    pub extra_neurons: usize,
    /// The original neurons' mask for routed tokens.
    pub forget_original: f32,
    /// The added neurons' mask for routed tokens.
    pub forget_extra: f32,
    /// The original neurons' mask for the others.
    pub retain_original: f32,
    /// The added neurons' mask for the others.
    pub retain_extra: f32,
    /// Weight of Σ |activation| / tokens of the masked MLPs in the loss.
    pub l1: f32,
    /// Documents of each kind over which the rule `frequency` counts at most.
    pub count_documents: usize,
}

/// `[coherence]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CoherenceSection {
    /// Documents without the concept to fine-tune on.
    pub stories: usize,
    /// Steps at most; 0 leaves this out.
    pub steps: u64,
    /// `AdamW`'s learning rate.
    pub learning_rate: f64,
    /// Validation documents that decide which step is kept.
    pub validation_stories: usize,
    /// Steps between two looks at them.
    pub every: u64,
}

/// `[retrain]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetrainSection {
    /// Numbers of documents about the concept to fine-tune on, each by itself; empty leaves this out.
    pub stories: Vec<usize>,
    /// Steps.
    pub steps: u64,
    /// `AdamW`'s learning rate.
    pub learning_rate: f64,
    /// Other documents each time.
    pub repeats: u64,
    /// Validation documents of each kind to measure on.
    pub validation_stories: usize,
    /// Steps between two measurements.
    pub every: u64,
}

/// `[rmu]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RmuSection {
    /// The blocks whose MLP output matrices are trained.
    pub layers: Vec<usize>,
    /// The block after which the residual stream is pushed.
    pub target: usize,
    /// Length of the vector it is pushed towards.
    pub norm: f64,
    /// Weight of staying the same on documents without the concept.
    pub alpha: f64,
    /// Steps.
    pub steps: u64,
    /// Documents of each kind in a step.
    pub batch_size: usize,
    /// `AdamW`'s learning rate.
    pub learning_rate: f64,
}

impl Default for RmuSection {
    fn default() -> Self {
        Self {
            layers: vec![0, 1, 2],
            target: 2,
            norm: 100.0,
            alpha: 200.0,
            steps: 500,
            batch_size: 16,
            learning_rate: 5e-4,
        }
    }
}

/// `[steer]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SteerSection {
    /// The token that gets the dimension; `␣` stands for a space.
    pub token: String,
    /// The blocks after which the gradient is let through in that dimension only.
    pub layers: Vec<usize>,
    /// The dimension of the residual stream.
    pub dimension: usize,
    /// The block after which the dimension is pushed when text is generated.
    pub at_layer: usize,
    /// How far it is pushed, towards the token and away from it.
    pub strength: f32,
    /// Unembedding vectors to list.
    pub nearest: usize,
    /// Texts to generate for each push.
    pub samples: usize,
    /// Tokens of each.
    pub sample_tokens: usize,
    /// Temperature of the generated texts.
    pub temperature: f64,
    /// The tokens to choose from, the likeliest ones; 0 for all.
    pub top_k: usize,
    /// How each of them begins.
    pub prompt: String,
}

/// `[localise]`, for the verb `virology`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocaliseSection {
    /// The first neurons of each MLP in `routing.layers` to which the tokens are routed.
    pub neurons: usize,
    /// The other neurons' mask for these tokens.
    pub forget_other: f32,
    /// Documents with the tokens on which the ablated model is fine-tuned.
    pub stories: usize,
}

/// `[eval]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvalSection {
    /// Steps between measurements while training; the last step is always measured.
    pub every: u64,
    /// Validation documents of each kind.
    pub stories: usize,
    /// Whether `modules` measures each concept by itself while training, of which compute ratios are made.
    #[serde(default)]
    pub by_concept: bool,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointSection {
    /// Steps between checkpoints; the last step of a model always has one.
    pub every: u64,
    /// Checkpoints to keep; 0 keeps all.
    pub keep: usize,
}
