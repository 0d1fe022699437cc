//! The methods under test as values: what each sees, what it is rewarded for, what it learns from and where.

mod label;
mod registry;
mod supervision;

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use ::plots::Colour;
use envs::{Kind, Outcome};
use policies::Gate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use label::Label;
pub use supervision::Supervision;

/// A method of training under partial oversight, as one value. The registry of [`Method`] lists them all.
#[derive(Debug)]
pub struct Recipe {
    /// The name in configs, tables and figures.
    pub name: &'static str,
    /// What it does, in a line.
    pub title: &'static str,
    /// The policy that is trained.
    pub policy: PolicyShape,
    /// The labeller: what the trainer learns of an episode that ended with an outcome.
    pub label: fn(Outcome) -> Label,
    /// The reward of the step that ended with an outcome.
    pub reward: fn(Outcome, &[Kind]) -> f32,
    /// The weight of a sample in every loss: 0 leaves it out.
    pub loss_weight: fn(Label) -> f32,
    /// The weight of a sample's policy and entropy gradients on their way into a part of the policy.
    pub route: fn(Label, Part) -> f32,
    /// What it has beside the policy.
    pub extra: Extra,
    /// Which share of the updates of a run it gets.
    pub updates: UpdateShare,
    /// PPO's default for `loss.ent_coef`.
    pub ppo_ent_coef: f64,
    /// Its colour in figures.
    pub colour: Colour,
    /// Whether it is drawn dashed.
    pub dash: bool,
}

/// The policy that a method trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyShape {
    /// An expert for each kind, mixed by a gate; scored as each expert alone and as the full mixture.
    Mixture(Gate),
    /// One expert.
    Single,
}

/// A part of a policy that gradients can be kept from. The head is always trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An expert, by its kind; that of a single-expert policy is 0.
    Expert(usize),
    /// The gate.
    Gate,
}

/// What a method has beside the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// A classifier of ends, trained on those that are overseen, that rewards the others.
    RewardModel,
    /// A plane in the observation that is one in training and zero at evaluation.
    Inoculation,
}

/// Which share of a run's updates a method gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateShare {
    /// All of them.
    Whole,
    /// The share p of them, p being the oversight probability: for a method that looks at every label, whose axis of
    /// steps is stretched by 1/p.
    Oversight,
}

/// A method by its name: an entry of the registry.
///
/// ```
/// use ppo_routed::Method;
///
/// let method: Method = "no_gate".parse()?;
/// assert_eq!(method, Method::NO_GATE);
/// assert!(method.is_mixture());
/// # Ok::<(), ppo_routed::Error>(())
/// ```
///
/// # Source
/// Cloud et al. 2024, §4.3: `routing` is the paper's method, the others its baselines and ablations.
#[derive(Clone, Copy)]
pub struct Method(&'static Recipe);

impl Method {
    /// True for the methods with several experts, which are scored as each expert's policy and the full one.
    pub fn is_mixture(self) -> bool {
        matches!(self.policy, PolicyShape::Mixture(_))
    }

    /// True for a method that looks at every label, however few are overseen.
    pub fn sees_everything(self) -> bool {
        self.updates == UpdateShare::Oversight
    }

    /// What makes a run in `env` pointless although it can be done: that the trainer is told of no end of an episode.
    pub(crate) fn pointless(self, env: &envs::EnvConfig) -> Option<String> {
        let unseen = env.oversight_prob == 0.0;
        let missed = (0..env.kinds.len()).all(|kind| env.recall(kind) == 0.0);
        let why = match self.policy {
            _ if self.sees_everything() && unseen => "gets that share of the updates, which is a single one",
            _ if self.sees_everything() || !(unseen || missed) => return None,
            PolicyShape::Mixture(_) => "is told of no end, and nothing tells its experts apart",
            PolicyShape::Single if (self.loss_weight)(Label::UNSEEN) == 0.0 => {
                "is told of no end, and learns from no episode that has one"
            }
            PolicyShape::Single if self.extra == Extra::RewardModel => {
                "is told of no end, and its classifier has no example"
            }
            PolicyShape::Single => return None,
        };
        let key = if unseen { "env.oversight_prob" } else { "env.oversight_recall" };
        Some(format!("{key} is 0: `{}` {why}", self.name))
    }

    /// The updates a run of `updates` does.
    pub fn updates(self, updates: u64, oversight_prob: f64) -> u64 {
        match self.updates {
            UpdateShare::Whole => updates,
            UpdateShare::Oversight => ((updates as f64 * oversight_prob).round() as u64).max(1),
        }
    }

    /// The name in configs and results.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl Deref for Method {
    type Target = Recipe;

    fn deref(&self) -> &Recipe {
        self.0
    }
}

impl Default for Method {
    /// The paper's method.
    fn default() -> Self {
        Self::ROUTING
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Method {}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Method {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|method| method.name == name).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(|method| format!("`{}`", method.name)).collect();
            // the words of serde, from which the config's fault finds the nearest name
            crate::Error::Setting(format!("unknown variant `{name}`, expected one of {}", names.join(", ")))
        })
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
