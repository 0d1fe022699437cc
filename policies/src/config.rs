//! What a policy is made of.

use serde::{Deserialize, Serialize};

use crate::PolicyError;

/// Where the weights come from with which the experts are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// A network of its own.
    Learned,
    /// The same weight for every expert: Γ = ½ for two.
    Constant,
}

/// The 1×1 convolution before the gate's layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateConv {
    /// From random weights, as in the authors' code. It mixes the planes of the observation before the gate has seen
    /// which of them tells the terminals apart.
    #[default]
    Random,
    /// From the identity: at the start the gate sees the observation as it is.
    Identity,
    /// None: the gate's first layer sees the observation.
    None,
}

/// Which policy a forward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steering {
    /// The experts mixed as the gate says.
    Mixture,
    /// One expert alone: its weight is 1, the others' 0.
    Expert(usize),
    /// Some experts, mixed with the gate's weights scaled up to a sum of 1 over them: bit e stands for expert e.
    Subset(u32),
}

impl Steering {
    /// Whether an expert plays a part.
    pub fn keeps(self, expert: usize) -> bool {
        match self {
            Self::Mixture => true,
            Self::Expert(kept) => kept == expert,
            Self::Subset(kept) => expert < 32 && kept >> expert & 1 == 1,
        }
    }
}

/// The sizes and parts of a policy and its value net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyConfig {
    /// Planes of the observation.
    pub planes: usize,
    /// Cells of a plane: rows × columns.
    pub cells: usize,
    /// Sizes of the hidden layers of every expert and of the gate.
    pub hidden: Vec<usize>,
    /// The number of actions.
    pub actions: usize,
    /// The experts' names. One name makes a plain policy.
    pub experts: Vec<String>,
    /// How the experts are mixed; without meaning for a single one.
    pub gate: Gate,
    /// What the gate network begins with; without meaning where there is none.
    #[serde(default)]
    pub gate_conv: GateConv,
    /// Planes of the value net's 1×1 convolution.
    pub value_planes: usize,
    /// Sizes of the value net's hidden layers.
    pub value_hidden: Vec<usize>,
    /// Whether a ReLU stands behind each hidden layer of the value net; without it the net is one linear function.
    #[serde(default)]
    pub value_relu: bool,
}

impl PolicyConfig {
    /// The paper's hidden layers of every expert and of the gate (app. F).
    pub const PAPER_HIDDEN: [usize; 2] = [256, 256];
    /// The paper's hidden layers of the value net (app. F).
    pub const PAPER_VALUE_HIDDEN: [usize; 2] = [256, 32];

    /// The mixture of these experts with a learned gate, in the sizes of the paper.
    ///
    /// # Source
    /// Cloud et al. 2024, §4.3 and app. F.
    pub fn mixture<S: Into<String>>(
        experts: impl IntoIterator<Item = S>,
        planes: usize,
        cells: usize,
        actions: usize,
    ) -> Self {
        Self {
            planes,
            cells,
            hidden: Self::PAPER_HIDDEN.into(),
            actions,
            experts: experts.into_iter().map(Into::into).collect(),
            gate: Gate::Learned,
            gate_conv: GateConv::Random,
            value_planes: 16,
            value_hidden: Self::PAPER_VALUE_HIDDEN.into(),
            value_relu: false,
        }
    }

    /// A single expert: the function class of the steered mixture, for the baselines.
    pub fn single(planes: usize, cells: usize, actions: usize) -> Self {
        Self { gate: Gate::Constant, ..Self::mixture(["policy"], planes, cells, actions) }
    }

    /// The length of an observation: planes × cells.
    pub fn inputs(&self) -> usize {
        self.planes * self.cells
    }

    /// True where a gate network is trained.
    pub fn has_gate(&self) -> bool {
        self.gate == Gate::Learned && self.experts.len() > 1
    }

    /// True where the gate network begins with a convolution.
    pub fn has_gate_conv(&self) -> bool {
        self.has_gate() && self.gate_conv != GateConv::None
    }

    /// True where the value net is no linear function.
    pub(crate) fn has_value_trunk(&self) -> bool {
        self.value_relu && !self.value_hidden.is_empty()
    }

    /// The gate's outputs: one fewer than experts, the last expert's logit being fixed at 0. For two experts
    /// this is the paper's sigmoid. Without a gate network 0.
    pub fn gate_outputs(&self) -> usize {
        if self.has_gate() { self.experts.len() - 1 } else { 0 }
    }

    /// The weights of the experts where no gate network decides them.
    ///
    /// # Errors
    /// Fails where `steering` names an expert that is not there.
    pub(crate) fn fixed_gate(&self, steering: Steering) -> Result<Option<Vec<f32>>, PolicyError> {
        let experts = self.experts.len();
        match steering {
            Steering::Expert(expert) if expert >= experts => {
                Err(PolicyError::NoSuchExpert { expert, experts })
            }
            // an empty subset lacks the first
            Steering::Subset(kept) if kept == 0 || u64::from(kept) >> experts.min(63) != 0 => {
                let expert = kept.checked_ilog2().unwrap_or(0) as usize;
                Err(PolicyError::NoSuchExpert { expert, experts })
            }
            Steering::Expert(expert) => {
                Ok(Some((0..experts).map(|e| if e == expert { 1.0 } else { 0.0 }).collect()))
            }
            _ if self.has_gate() => Ok(None),
            _ => {
                let kept = (0..experts).filter(|e| steering.keeps(*e)).count();
                let weight = |e| if steering.keeps(e) { 1.0 / kept as f32 } else { 0.0 };
                Ok(Some((0..experts).map(weight).collect()))
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        let fault = if self.experts.is_empty() {
            "it has no expert"
        } else if self.hidden.is_empty() || self.hidden.contains(&0) {
            "every expert needs hidden layers of at least one unit"
        } else if self.inputs() == 0 || self.actions == 0 || self.value_planes == 0 {
            "planes, cells, actions and value planes must be at least 1"
        } else if self.inputs() > 1 << 16 {
            "an observation may have at most 65,536 entries"
        } else if self.value_hidden.contains(&0) {
            "the value net's layers need at least one unit"
        } else {
            return Ok(());
        };
        Err(PolicyError::Config(fault.to_owned()))
    }
}
