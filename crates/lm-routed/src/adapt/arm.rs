//! The models that are compared: which adapters each has, what a document moves in it, and what is left at the end.

use experiment::SeedStreams;
use pretrained::{Adapters, AuxMlp, Gate, Gates, Lora, Projection, Shape};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::{AdapterKind, Config, Others};

/// The adapter that is to learn the behaviour, and is removed.
pub(super) const BEHAVIOUR: &str = "behaviour";
/// The adapter of everything else.
pub(super) const REST: &str = "rest";

/// A model of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The base as it is.
    Base,
    /// One adapter, trained on everything.
    Single,
    /// One adapter, trained on what is not labelled.
    Filtered,
    /// Two adapters, of which labelled documents move the behaviour's alone.
    Routed,
    /// Expand, route, ablate on a finished model: neurons beside its own for the behaviour, and an adapter in place of its
    /// weights, of which labelled documents reverse the gradient.
    Era,
}

/// The weights f and m of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Weights {
    pub forward: f32,
    pub gradient: f32,
}

/// The adapters that are left on; a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// None: the base.
    None,
    /// As it was trained.
    Both,
    /// The behaviour's alone.
    Behaviour,
    /// The rest's alone: what is left once the behaviour's is removed.
    Rest,
}

impl Profile {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Both => "both",
            Self::Behaviour => "behaviour",
            Self::Rest => "rest",
        }
    }

    /// The gates of a pass without a gradient.
    pub(super) fn gates(self) -> Gates {
        let on = |on: bool| if on { Gate::All { forward: 1.0, gradient: 0.0 } } else { Gate::Off };
        let (behaviour, rest) = match self {
            Self::None => (false, false),
            Self::Both => (true, true),
            Self::Behaviour => (true, false),
            Self::Rest => (false, true),
        };
        [(BEHAVIOUR.to_owned(), on(behaviour)), (REST.to_owned(), on(rest))].into()
    }
}

impl Arm {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Base, Self::Single, Self::Filtered, Self::Routed, Self::Era];

    /// The name in configs, files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Single => "single",
            Self::Filtered => "filtered",
            Self::Routed => "routed",
            Self::Era => "era",
        }
    }

    /// Those that a config names.
    pub(super) fn of(config: &Config) -> Vec<Self> {
        let named = |arm: &Self| config.experiment.methods.iter().any(|name| name == arm.name());
        Self::ALL.into_iter().filter(named).collect()
    }

    /// Steps of its training.
    pub(super) fn steps(self, config: &Config) -> u64 {
        if self == Self::Base { 0 } else { config.train.steps }
    }

    /// The sets of adapters with which it is measured, the one that is kept last.
    pub fn profiles(self) -> &'static [Profile] {
        match self {
            Self::Base => &[Profile::None],
            Self::Single | Self::Filtered => &[Profile::Rest],
            Self::Routed | Self::Era => &[Profile::None, Profile::Both, Profile::Behaviour, Profile::Rest],
        }
    }

    /// The set that is kept.
    pub fn kept(self) -> Profile {
        if self == Self::Base { Profile::None } else { Profile::Rest }
    }

    /// The set that it was trained as.
    pub(super) fn trained(self) -> Profile {
        match self {
            Self::Base => Profile::None,
            Self::Single | Self::Filtered => Profile::Rest,
            Self::Routed | Self::Era => Profile::Both,
        }
    }

    /// The weights of the behaviour's adapter and of the rest's for a document.
    pub(super) fn weights(self, config: &Config, labelled: bool) -> [Weights; 2] {
        let weights = |forward, gradient| Weights { forward, gradient };
        let routing = &config.routing;
        match (self, labelled) {
            (Self::Base | Self::Single | Self::Filtered, _) => [weights(0.0, 0.0), weights(1.0, 1.0)],
            (Self::Routed, true) => [weights(1.0, 1.0), weights(1.0, 0.0)],
            (Self::Routed, false) => match config.adapt.others {
                Others::Rest => [weights(0.0, 0.0), weights(1.0, 1.0)],
                Others::Both => [weights(1.0, 1.0), weights(1.0, 1.0)],
            },
            (Self::Era, true) => [weights(1.0, routing.forget_extra), weights(1.0, routing.forget_original)],
            (Self::Era, false) => [weights(1.0, routing.retain_extra), weights(1.0, routing.retain_original)],
        }
    }

    /// The gates of a step on documents of `tokens` tokens each, of which some are labelled.
    pub(super) fn gates(self, config: &Config, labelled: &[bool], tokens: usize) -> Gates {
        let gate = |index: usize| {
            let mut gate = (Vec::new(), Vec::new());
            for labelled in labelled {
                let Weights { forward, gradient } = self.weights(config, *labelled)[index];
                gate.0.extend(std::iter::repeat_n(forward, tokens));
                gate.1.extend(std::iter::repeat_n(gradient, tokens));
            }
            Gate::Tokens { forward: gate.0, gradient: gate.1 }
        };
        [(BEHAVIOUR.to_owned(), gate(0)), (REST.to_owned(), gate(1))].into()
    }

    /// Its adapters at the start, drawn from the stream `init`: all models begin with the same ones.
    ///
    /// # Errors
    /// Fails where the model lacks a projection, or a rank does not fit.
    pub(super) fn adapters(
        self,
        config: &Config,
        shape: &Shape,
        streams: SeedStreams,
    ) -> Result<Adapters, Error> {
        let behaviour = match self {
            Self::Base | Self::Single | Self::Filtered => None,
            Self::Routed => Some(config.adapt.behaviour),
            Self::Era => Some(AdapterKind::Mlp),
        };
        let mut loras = vec![lora(REST, config, shape)?];
        let mut mlps = Vec::new();
        match behaviour {
            Some(AdapterKind::Lora) => loras.push(lora(BEHAVIOUR, config, shape)?),
            Some(AdapterKind::Mlp) => mlps.push(AuxMlp {
                name: BEHAVIOUR.to_owned(),
                neurons: config.adapt.neurons,
                layers: blocks(config, shape),
            }),
            None => {}
        }
        Ok(Adapters::with_mlps(loras, mlps, shape, &mut streams.stream("init"))?)
    }
}

/// A low-rank adapter as the config says.
///
/// # Errors
/// Fails where there is no such projection.
pub(super) fn lora(name: &str, config: &Config, shape: &Shape) -> Result<Lora, Error> {
    let adapt = &config.adapt;
    let target = |name: &String| projection(name).ok_or_else(|| Error::Setting(unknown(name)));
    Ok(Lora {
        name: name.to_owned(),
        rank: adapt.rank,
        alpha: adapt.alpha,
        targets: adapt.targets.iter().map(target).collect::<Result<_, _>>()?,
        layers: blocks(config, shape),
    })
}

/// The projection of a name.
pub(super) fn projection(name: &str) -> Option<Projection> {
    Projection::ALL.into_iter().find(|projection| projection.name() == name)
}

fn unknown(name: &str) -> String {
    format!("adapt.targets names \"{name}\", which is no projection")
}

/// The blocks that have adapters.
fn blocks(config: &Config, shape: &Shape) -> Vec<usize> {
    let count = if config.adapt.blocks == 0 { shape.n_layer } else { config.adapt.blocks };
    (shape.n_layer.saturating_sub(count)..shape.n_layer).collect()
}
