//! The settings of a run: the sections and keys of a config file, their defaults and what makes sense.

mod adapt;
mod methods;
mod sections;

use learning::Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transformer::{Architecture, Norm, Position};

use crate::data::USER_CACHE;

pub use adapt::{AdaptSection, AdapterKind, Others};
pub use methods::{
    AttackSection, BranchSection, GramSection, SgtmSection, StepSemantics, UndoSection, UnlearnSection,
};
pub use sections::{
    CheckpointSection, CoherenceSection, ConceptSection, DataSection, EvalSection, Experiment,
    ExperimentSection, LocaliseSection, ModelSection, Place, RetrainSection, RmuSection, RoutingSection,
    SteerSection, TrainSection,
};

/// All settings of `lm-routed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// The concepts, at most eight, each with `name`, its `words` (or a `file` of words, or a label `field` of the texts), and
    /// where its labels are to be wrong `recall` and `precision`; without any there is one, of `data.forget_words`.
    #[serde(default)]
    pub concept: Vec<ConceptSection>,
    /// What is compared.
    pub experiment: ExperimentSection,
    /// The documents.
    pub data: DataSection,
    /// The transformer.
    pub model: ModelSection,
    /// Training from scratch.
    pub train: TrainSection,
    /// Where what is learned.
    pub routing: RoutingSection,
    /// Fine-tuning after the ablation.
    pub coherence: CoherenceSection,
    /// Teaching the concept back.
    pub retrain: RetrainSection,
    /// The baseline RMU.
    pub rmu: RmuSection,
    /// The baselines of maximum entropy and of gradient ascent.
    #[serde(default)]
    pub unlearn: UnlearnSection,
    /// The baseline UNDO.
    #[serde(default)]
    pub undo: UndoSection,
    /// The method SGTM.
    #[serde(default)]
    pub sgtm: SgtmSection,
    /// The method GRAM.
    #[serde(default)]
    pub gram: GramSection,
    /// The baseline of branches.
    #[serde(default)]
    pub branch: BranchSection,
    /// The verb `attack`.
    #[serde(default)]
    pub attack: AttackSection,
    /// The verb `adapt`.
    #[serde(default)]
    pub adapt: AdaptSection,
    /// The verb `steer`.
    pub steer: SteerSection,
    /// The verb `virology`.
    pub localise: LocaliseSection,
    /// Measuring.
    pub eval: EvalSection,
    /// Checkpoints.
    pub checkpoint: CheckpointSection,
}

impl Config {
    /// The concepts in the order of their bits: those of `[[concept]]`, or the one of `data.forget_words`.
    pub fn concepts(&self) -> Vec<ConceptSection> {
        if self.concept.is_empty() {
            return vec![ConceptSection::of_words("", self.data.forget_words.clone())];
        }
        self.concept.clone()
    }

    /// The words of all concepts.
    pub fn forget_words(&self) -> Vec<String> {
        self.concepts().into_iter().flat_map(|concept| concept.words).collect()
    }

    /// The network before it is expanded.
    pub fn architecture(&self, vocab_size: usize) -> Architecture {
        let ModelSection { n_layer, n_head, n_embd, d_mlp, block_size, position, norm, tied } = self.model;
        Architecture {
            n_layer,
            n_head,
            n_embd,
            mlp_widths: vec![d_mlp; n_layer],
            block_size,
            vocab_size,
            position,
            norm,
            tied,
            ..Architecture::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concept: Vec::new(),
            experiment: ExperimentSection {
                kind: Experiment::Era,
                methods: ["base", "era"].map(str::to_owned).to_vec(),
                labelled: vec![1.0],
            },
            data: DataSection {
                train: "data/stories/train.jsonl.gz".to_owned(),
                validation: "data/stories/validation.jsonl.gz".to_owned(),
                max_documents: 48_000,
                validation_documents: 4000,
                forget_words: ["tree", "trees", "forest", "forests", "woodland", "woodlands"]
                    .map(str::to_owned)
                    .to_vec(),
                tokenizer: String::new(),
                vocab_size: 2048,
                tokenizer_documents: 20_000,
                cache: USER_CACHE.to_owned(),
            },
            model: ModelSection {
                n_layer: 4,
                n_head: 4,
                n_embd: 128,
                d_mlp: 512,
                block_size: 128,
                position: Position::Learned,
                norm: Norm::LayerNorm,
                tied: true,
            },
            train: TrainSection {
                steps: 1500,
                batch_size: 32,
                learning_rate: 2e-3,
                min_learning_rate: 2e-4,
                warmup_steps: 100,
                beta1: 0.9,
                beta2: 0.95,
                weight_decay: 0.1,
                grad_clip: 1.0,
                backend: Backend::Auto,
            },
            routing: RoutingSection {
                rule: "frequency".to_owned(),
                place: Place::Activations,
                layers: vec![1, 2, 3],
                extra_neurons: 64,
                forget_original: -0.75,
                forget_extra: 1.0,
                retain_original: 1.0,
                retain_extra: 1.0,
                l1: 1e-4,
                count_documents: 25_000,
            },
            coherence: CoherenceSection {
                stories: 64,
                steps: 40,
                learning_rate: 5e-5,
                validation_stories: 200,
                every: 4,
            },
            retrain: RetrainSection {
                stories: vec![1, 4, 16, 64],
                steps: 40,
                learning_rate: 5e-5,
                repeats: 5,
                validation_stories: 200,
                every: 4,
            },
            rmu: RmuSection::default(),
            unlearn: UnlearnSection::default(),
            undo: UndoSection::default(),
            sgtm: SgtmSection::default(),
            gram: GramSection::default(),
            branch: BranchSection::default(),
            attack: AttackSection::default(),
            adapt: AdaptSection::default(),
            steer: SteerSection {
                token: "␣forest".to_owned(),
                layers: vec![1, 2],
                dimension: 0,
                at_layer: 1,
                strength: 10.0,
                nearest: 5,
                samples: 128,
                sample_tokens: 100,
                temperature: 1.0,
                top_k: 40,
                prompt: "One day".to_owned(),
            },
            localise: LocaliseSection { neurons: 64, forget_other: 0.0, stories: 2 },
            eval: EvalSection { every: 250, stories: 1000, by_concept: false },
            checkpoint: CheckpointSection { every: 250, keep: 2 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_from_before_a_method_was_there_are_read_with_its_defaults() {
        let mut saved = serde_json::to_value(Config::default()).unwrap();
        for section in ["concept", "unlearn", "undo", "sgtm", "gram", "branch", "attack", "adapt"] {
            assert!(saved.as_object_mut().unwrap().remove(section).is_some(), "{section}");
        }
        assert_eq!(serde_json::from_value::<Config>(saved).unwrap(), Config::default());
    }
}
