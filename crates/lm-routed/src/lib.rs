//! Localising and removing a concept in a small language model by gradient routing.
//!
//! A decoder-only [`transformer`] is trained so that everything about a concept is learned in neurons that can be
//! cut out; they are cut out, and it is measured how hard the concept is to teach back.
//!
//! | to | use |
//! |---|---|
//! | have texts as tokens, told apart by a concept | [`data`] |
//! | say which token is learned where | [`routing`] |
//! | train and compare methods | [`methods`], [`Language`] |
//! | adapt a model from disk and remove a behaviour | [`adapt`] |
//! | measure and fine-tune what was trained | [`Validation`], [`make_coherent`], [`relearn`] |

pub mod adapt;
pub mod attack;
pub mod bench;
mod check;
mod checkpoint;
pub mod cli;
pub mod commands;
mod config;
pub mod data;
mod error;
mod evaluate;
mod export;
mod finetune;
mod learner;
mod learning_curve;
pub mod localise;
pub mod methods;
mod modules;
pub mod own_text;
mod pages;
mod parts;
mod per_story;
mod pipeline;
pub mod pretrained_verbs;
pub mod profiles;
mod program;
mod report;
mod results;
pub mod routing;
pub mod steer;
mod sweep;
mod train;

pub use config::{
    AdaptSection, AdapterKind, AttackSection, BranchSection, CheckpointSection, CoherenceSection,
    ConceptSection, Config, DataSection, EvalSection, Experiment, ExperimentSection, GramSection,
    LocaliseSection, ModelSection, Others, Place, RetrainSection, RmuSection, RoutingSection, SgtmSection,
    SteerSection, StepSemantics, TrainSection, UndoSection, UnlearnSection,
};
pub use error::Error;
pub use evaluate::{Losses, Validation};
pub use finetune::{Context, Relearned, make_coherent, relearn};
pub use modules::{KindLoss, ModuleResult, ProfileLosses};
pub use parts::Parts;
pub use per_story::{PerStory, StoryLosses};
pub use pipeline::after_training;
pub use program::Language;
pub use results::{PartResult, RoutedToken, StageStories};
pub use train::{LabelledOrder, Order, StepReport, Trainer, cosine};
