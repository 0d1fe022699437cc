//! The settings of a run: the sections and keys of a config file, their defaults and what makes sense.

mod faults;

use std::ops::{Deref, DerefMut};

use envs::{EnvConfig, EnvId};
use experiment::{Faults, Settings};
pub use learning::Backend;
pub use policies::GateConv;
use policies::PolicyConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Method;
use crate::minibatches::Shuffle;

/// The learning algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algo {
    /// Proximal policy optimisation with the hyper-parameters of the paper's first version.
    Ppo,
    /// REINFORCE with a value baseline, as in the paper's second version.
    Reinforce,
}

impl Algo {
    /// The name in configs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ppo => "ppo",
            Self::Reinforce => "reinforce",
        }
    }

    /// The name in figures.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ppo => "PPO",
            Self::Reinforce => "REINFORCE",
        }
    }
}

/// All settings of `ppo-routed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// The environment.
    pub env: EnvSection,
    /// The networks' sizes. Runs of versions without this section had the paper's.
    #[serde(default)]
    pub model: ModelSection,
    /// The algorithm, the method and the schedule.
    pub train: TrainSection,
    /// What only PPO uses.
    pub ppo: PpoSection,
    /// Weights of the losses.
    pub loss: LossSection,
    /// Evaluation while training.
    pub eval: EvalSection,
    /// Checkpoints.
    pub checkpoint: CheckpointSection,
}

/// `[env]`: the environment's own settings, which it reads as, and how many there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnvSection {
    /// The environment's own settings.
    #[serde(flatten)]
    pub world: EnvConfig,
    /// Environments that run side by side.
    pub num_envs: usize,
}

impl Deref for EnvSection {
    type Target = EnvConfig;

    fn deref(&self) -> &EnvConfig {
        &self.world
    }
}

impl DerefMut for EnvSection {
    fn deref_mut(&mut self) -> &mut EnvConfig {
        &mut self.world
    }
}

impl EnvSection {
    /// The environment's own configuration.
    pub fn config(&self) -> EnvConfig {
        self.world.clone()
    }
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSection {
    /// Units of the hidden layers of every expert and of the gate.
    pub hidden: Vec<usize>,
    /// Units of the value net's hidden layers.
    pub value_hidden: Vec<usize>,
    /// A ReLU behind each hidden layer of the value net. Without it, as in the paper's second version, the net is one
    /// linear function, in whatever sizes.
    pub value_relu: bool,
}

impl Default for ModelSection {
    /// The paper's sizes (app. F).
    fn default() -> Self {
        Self {
            hidden: PolicyConfig::PAPER_HIDDEN.into(),
            value_hidden: PolicyConfig::PAPER_VALUE_HIDDEN.into(),
            value_relu: false,
        }
    }
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainSection {
    /// The learning algorithm.
    pub algo: Algo,
    /// The method under test.
    #[schemars(with = "String")]
    pub method: Method,
    /// Updates: rollouts of `num_envs` × `num_steps` steps, each followed by learning.
    pub updates: u64,
    /// Steps of each environment in a rollout.
    pub num_steps: usize,
    /// Adam's learning rate, at the start where it is annealed.
    pub learning_rate: f64,
    /// Lower the learning rate linearly to zero over the run.
    pub anneal_lr: bool,
    /// The discount γ.
    pub gamma: f64,
    /// What computes forward and backward passes.
    #[schemars(with = "String")]
    pub backend: Backend,
    /// The 1×1 convolution before the gate. Runs of versions without this key had the paper's.
    #[serde(default)]
    #[schemars(with = "String")]
    pub gate_conv: GateConv,
}

/// `[ppo]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PpoSection {
    /// Passes over a rollout.
    pub update_epochs: usize,
    /// Minibatches of a pass.
    pub num_minibatches: usize,
    /// What is shuffled before a pass: the samples, or the different observations with all their samples, which computes
    /// fewer rows.
    #[serde(default)]
    pub shuffle: Shuffle,
    /// ε of the clipped objective.
    pub clip_coef: f64,
    /// Clip the value's change as well.
    pub clip_vloss: bool,
    /// λ of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Normalise the advantages of each minibatch.
    pub norm_adv: bool,
    /// The largest gradient norm; 0 switches clipping off.
    pub max_grad_norm: f64,
}

/// `[loss]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossSection {
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Weight of the gate's cross-entropy on overseen episodes.
    pub gate_coef: f64,
}

/// `[eval]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvalSection {
    /// Updates between evaluations; the last update is always evaluated.
    pub every: u64,
    /// Environments of an evaluation.
    pub num_envs: usize,
    /// Score the policies once more with the oversight bit of every terminal set, and with none set.
    #[serde(default)]
    pub bits: bool,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointSection {
    /// Updates between checkpoints; the last update always has one.
    pub every: u64,
    /// Checkpoints to keep; 0 keeps all.
    pub keep: usize,
}

impl Config {
    /// The defaults of an algorithm for a method on an environment: REINFORCE as in the paper's second version,
    /// PPO with the hyper-parameters of its first but for two.
    ///
    /// `loss.ent_coef` is not 0.05. For mixtures it is 0.2: any terminal pays alike, so a mixture that learns one
    /// of them first has little reason to visit the other, and its expert then goes untrained. Against advantages
    /// normalised to deviation 1 it takes this much entropy to keep both terminals in play while the experts part.
    /// A single expert needs nothing of the kind and is far stronger with `CleanRL`'s 0.01 (filtering at 10%
    /// oversight: 0.74, against 0.60 with 0.05 and 0.29 with 0.2), so each method is compared at its best.
    ///
    /// `train.updates` is 120 (2.0M steps), annealed to zero. Unseen episodes train both experts towards the
    /// nearest terminal, and PPO does so faster than it learns anything new: longer runs lose the split again.
    pub fn of(algo: Algo, method: Method, id: EnvId) -> Self {
        let (updates, learning_rate, loss, every) = match algo {
            Algo::Ppo => {
                (120, 2.5e-4, LossSection { ent_coef: method.ppo_ent_coef, vf_coef: 0.5, gate_coef: 0.3 }, 5)
            }
            Algo::Reinforce => {
                (20_000, 5e-5, LossSection { ent_coef: 0.1, vf_coef: 0.5, gate_coef: 0.01 }, 100)
            }
        };
        Self {
            env: EnvSection { world: EnvConfig::for_id(id), num_envs: 512 },
            model: ModelSection::default(),
            train: TrainSection {
                algo,
                method,
                updates,
                num_steps: 32,
                learning_rate,
                anneal_lr: algo == Algo::Ppo,
                gamma: 0.97,
                backend: Backend::Auto,
                gate_conv: GateConv::Identity,
            },
            ppo: PpoSection {
                update_epochs: 4,
                num_minibatches: 4,
                shuffle: Shuffle::Samples,
                clip_coef: 0.2,
                clip_vloss: true,
                gae_lambda: 0.95,
                norm_adv: true,
                max_grad_norm: 0.5,
            },
            loss,
            eval: EvalSection { every, num_envs: 512, bits: false },
            checkpoint: CheckpointSection { every: every * 4, keep: 3 },
        }
    }

    /// Environment steps of one update.
    pub fn steps_per_update(&self) -> u64 {
        (self.env.num_envs * self.train.num_steps) as u64
    }

    /// Updates of the whole run: fewer for the oracle, whose axis is stretched.
    pub fn updates_total(&self) -> u64 {
        self.train.method.updates(self.train.updates, self.env.oversight_prob)
    }

    /// Updates between evaluations: as many fewer as those of the whole run, so that a curve has as many points and
    /// ends on as late a part of it, whatever the method.
    pub fn eval_every(&self) -> u64 {
        self.train.method.updates(self.eval.every, self.env.oversight_prob)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::of(Algo::Ppo, Method::default(), EnvId::OversightGridV0)
    }
}

impl Settings for Config {
    fn base(given: &toml::Table) -> Self {
        let value = |section: &str, key: &str| given.get(section)?.get(key).cloned();
        let algo = value("train", "algo").and_then(|v| v.try_into().ok()).unwrap_or(Algo::Ppo);
        let method = value("train", "method").and_then(|v| v.try_into().ok()).unwrap_or_default();
        let id = value("env", "id").and_then(|v| v.try_into().ok()).unwrap_or(EnvId::OversightGridV0);
        Self::of(algo, method, id)
    }

    fn faults(&self, faults: &mut Faults) {
        self.add_faults(faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_the_method_and_the_environment_bring_their_defaults() {
        let load = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(ToString::to_string).collect();
            experiment::load::<Config>(None, &set)
        };
        assert_eq!(load(&[]).unwrap(), Config::default());
        let config = load(&["train.algo=reinforce", "env.id=WalledOversightGrid-v0", "env.rows=9"]).unwrap();
        assert_eq!((config.loss.ent_coef, config.env.rows, config.env.cols), (0.1, 9, 7));
        assert!(!config.train.anneal_lr);
        let ent_coef = |set: &[&str]| load(set).unwrap().loss.ent_coef.to_string();
        assert_eq!(ent_coef(&["train.method=naive"]), "0.01");
        assert_eq!(ent_coef(&["train.method=no_gate"]), "0.2");
        assert_eq!(ent_coef(&["train.method=naive", "loss.ent_coef=0.3"]), "0.3");
        let error = load(&["env.oversight_prob=1.5", "ppo.num_minibatches=0", "train.gama=1"]).unwrap_err();
        let message = error.to_string();
        for part in ["env.oversight_prob", "ppo.num_minibatches", "did you mean `train.gamma`"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_would_never_end_is_refused_with_its_cost() {
        let message = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(ToString::to_string).collect();
            experiment::load::<Config>(None, &set).unwrap_err().to_string()
        };
        let small = ["env.num_envs=8", "train.num_steps=512"];
        let epochs = message(&[small[0], small[1], "ppo.update_epochs=1048577"]);
        assert!(epochs.contains("must be at most 1,048,576"), "{epochs}");
        let cost = message(&["env.num_envs=16", small[1], "ppo.update_epochs=1048576"]);
        let words = "an update would learn from 8589934592 samples, 1048576 times the 8192 of a rollout";
        assert!(cost.contains(words), "{cost}");
        let steps = message(&[small[0], small[1], "train.updates=9223372036854775807"]);
        assert!(steps.contains("the run would take 37778931862957161705472 steps"), "{steps}");
    }

    #[test]
    fn the_resolved_config_reads_back() {
        let config = Config::of(Algo::Reinforce, Method::NO_GATE, EnvId::WalledOversightGridV0);
        let text = experiment::to_toml(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }
}
