//! The settings of a run: the sections and keys of a config file, their defaults and what makes sense.

use experiment::{Faults, Settings};
pub use learning::Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DatasetName, Setting, Split};

/// All settings of `mnist-routed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// The images.
    pub data: DataSection,
    /// The sizes of the networks.
    pub model: ModelSection,
    /// The setting and the schedule.
    pub train: TrainSection,
    /// Where gradients go.
    pub route: RouteSection,
    /// Weights of the penalties.
    pub loss: LossSection,
    /// Evaluation while training.
    pub eval: EvalSection,
    /// Checkpoints.
    pub checkpoint: CheckpointSection,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataSection {
    /// Which images.
    #[schemars(with = "String")]
    pub dataset: DatasetName,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSection {
    /// Units of the encoder's hidden layers; decoders and certificates have them in reverse.
    pub hidden: Vec<usize>,
    /// Size of the encoding.
    pub latent: usize,
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainSection {
    /// The row of the paper's Table 2, which brings the defaults of `[route]` and `[loss]`.
    #[schemars(with = "String")]
    pub setting: Setting,
    /// Which digits belong together, such as `0-4|5-9`.
    #[schemars(with = "String")]
    pub split: Split,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images of a gradient step.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// λ of the coupled weight decay.
    pub weight_decay: f64,
    /// What computes forward and backward passes.
    #[schemars(with = "String")]
    pub backend: Backend,
}

/// `[route]`
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSection {
    /// The gradient of a digit's reconstruction reaches its own part of the encoding only.
    pub routing: bool,
    /// One decoder for each part of the digits.
    pub separate_decoders: bool,
    /// The last part of the encoding also learns from the other digits.
    pub open_last: bool,
    /// Only the last part's digits are reconstructed.
    pub last_only: bool,
}

/// `[loss]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossSection {
    /// Weight of the L1 penalty on the encoding.
    pub l1: f64,
    /// Its weight on the last part of the encoding.
    pub l1_last: f64,
    /// Weight of the mean absolute correlation between parts of the encoding.
    pub correlation: f64,
}

/// `[eval]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvalSection {
    /// Epochs between evaluations; the last epoch is always evaluated.
    pub every: u64,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointSection {
    /// Epochs between checkpoints; the last epoch always has one.
    pub every: u64,
    /// Checkpoints to keep; 0 keeps all.
    pub keep: usize,
}

impl Config {
    /// The defaults of a setting on a split: the paper's, but for a quicker schedule.
    pub fn for_setting(setting: Setting, split: &Split) -> Self {
        Self {
            data: DataSection { dataset: DatasetName::Mnist },
            model: ModelSection { hidden: vec![2048, 512], latent: 32 },
            train: TrainSection {
                setting,
                split: split.clone(),
                epochs: QUICK.0,
                batch_size: QUICK.1,
                learning_rate: 1e-3,
                weight_decay: 5e-5,
                backend: Backend::Auto,
            },
            route: setting.route(),
            loss: setting.loss(),
            eval: EvalSection { every: 1 },
            checkpoint: CheckpointSection { every: 2, keep: 1 },
        }
    }
}

/// Epochs and batch of the default schedule. How far the encoding splits depends on the number of steps much more
/// than on the images in each: batches of 128 take it in 3 epochs where batches of 2048 take it in 40.
const QUICK: (u64, usize) = (6, 128);

/// Epochs and batch of the paper's schedule.
pub const PAPER: (u64, usize) = (200, 2048);

impl Default for Config {
    fn default() -> Self {
        Self::for_setting(Setting::ROUTING, &Split::default())
    }
}

impl Settings for Config {
    fn base(given: &toml::Table) -> Self {
        let value = |key: &str| given.get("train")?.get(key).cloned();
        let setting = value("setting").and_then(|v| v.try_into().ok()).unwrap_or(Setting::ROUTING);
        let split = value("split").and_then(|v| v.try_into().ok()).unwrap_or_default();
        Self::for_setting(setting, &split)
    }

    fn faults(&self, faults: &mut Faults) {
        let Self { model, train, route, loss, eval, checkpoint, .. } = self;
        faults.from_one_to([
            ("train.epochs", train.epochs, 1 << 20),
            ("train.batch_size", train.batch_size as u64, 1 << 16),
            ("model.latent", model.latent as u64, 1 << 10),
            ("eval.every", eval.every, u64::MAX),
            ("checkpoint.every", checkpoint.every, u64::MAX),
        ]);
        let parts = train.split.parts();
        if model.latent > 0 && model.latent < parts {
            let message = format!("must be at least the {parts} parts of train.split, got {}", model.latent);
            faults.add("model.latent", message);
        }
        faults.hidden_layers([("model.hidden", model.hidden.as_slice())]);
        faults.above_zero([("train.learning_rate", train.learning_rate)]);
        faults.zero_or_more([
            ("train.weight_decay", train.weight_decay),
            ("loss.l1", loss.l1),
            ("loss.l1_last", loss.l1_last),
            ("loss.correlation", loss.correlation),
        ]);
        if route.open_last && !route.routing {
            faults
                .add("route.open_last", "needs route.routing: without it every part learns from all digits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(set: &[&str]) -> Result<Config, experiment::ConfigError> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        experiment::load::<Config>(None, &set)
    }

    #[test]
    fn the_setting_brings_its_defaults() {
        assert_eq!(load(&[]).unwrap(), Config::default());
        let config = load(&["train.setting=bottom-on-all", "train.split=0|1-9", "loss.l1=0.5"]).unwrap();
        assert!(config.route.open_last);
        assert!((config.loss.l1 - 0.5).abs() + (config.loss.l1_last - 2e-2).abs() < 1e-12);
        assert_eq!(config.train.split.digits(0), [0]);
        let error = load(&["train.setting=plan", "train.split=0-4|4-9", "model.latent=0"]).unwrap_err();
        let message = error.to_string();
        for part in ["did you mean `plain`", "the digit 4 stands in it twice", "model.latent"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_resolved_config_reads_back() {
        let split = "0|1|2-9".parse().unwrap();
        let config = Config::for_setting(Setting::LAST_DIGITS_L1, &split);
        let text = experiment::to_toml(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }
}
