//! The policy and its value net in candle operations.

use candle_core::{DType, Device, Tensor};
use gradient_routing::route;
use learning::ops::relu;
use learning::{Parameters, init};
use rand::Rng;

use crate::layers::{fold_conv, gate_weights, linear};
use crate::{GateConv, PolicyConfig, PolicyError, Steering};

/// A routed policy with its value net: all parameters by name, forward passes in candle operations.
///
/// ```text
/// expert e:  h_e = ReLU(W₂ ReLU(W₁ x + b₁) + b₂)        x: the flattened observation
/// gate:      Γ = softmax([MLP(flatten(conv1×1(x))), 0])    for two experts: the sigmoid; see [`GateConv`]
/// logits:    W (Σ_e Γ_e h_e) + b                            a mixture of hidden vectors, not of logits
/// value:     three linear layers on a 1×1 convolution, without a nonlinearity
/// ```
///
/// Parameter names: `experts.NAME.LAYER.{weight,bias}`, `gate.conv.*`, `gate.LAYER.*`, `head.*`, `value.conv.*`,
/// `value.LAYER.*`; weights are (out, in) as in PyTorch.
///
/// # Source
/// Cloud et al. 2024, §4.3 and app. F; the value net as in the authors' code.
#[derive(Clone, Debug)]
pub struct Policy {
    config: PolicyConfig,
    parameters: Parameters,
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct PolicyOutput {
    /// Logits of the actions, (n, actions).
    pub logits: Tensor,
    /// The gate's logits, (n, experts − 1), where there is a gate network.
    pub gate_logits: Option<Tensor>,
    /// The weights with which the experts were mixed, (n, experts).
    pub gate: Tensor,
}

/// Where the gradient of each sample's loss may go: 1 lets it through, 0 stops it, other numbers weigh it.
/// The head always gets it.
#[derive(Clone, Debug)]
pub struct RouteMasks {
    /// (n, experts): the mask of each expert's output.
    pub experts: Tensor,
    /// (n, 1): the mask of the gate's logits on the way from the policy's loss.
    pub gate: Tensor,
}

impl Policy {
    /// A policy with weights uniform on ±1/√(inputs of a unit) and zero biases, drawn in the sorted order of the
    /// parameters' names; a gate's convolution from the identity ([`GateConv::Identity`]) is set after that draw, so
    /// that all else is as with a random one.
    ///
    /// # Errors
    /// Fails where `config` describes no network or the tensors cannot be placed on `device`.
    pub fn new(config: PolicyConfig, rng: &mut impl Rng, device: &Device) -> Result<Self, PolicyError> {
        config.check()?;
        let mut layers = Vec::new();
        for expert in &config.experts {
            mlp(&mut layers, &format!("experts.{expert}"), config.inputs(), &config.hidden, None);
        }
        if config.has_gate() {
            if config.has_gate_conv() {
                layers.push(("gate.conv".to_owned(), config.planes, config.planes));
            }
            mlp(&mut layers, "gate", config.inputs(), &config.hidden, Some(config.gate_outputs()));
        }
        let last = config.hidden.last().copied().unwrap_or_default();
        layers.push(("head".to_owned(), config.actions, last));
        layers.push(("value.conv".to_owned(), config.value_planes, config.planes));
        let value_inputs = config.value_planes * config.cells;
        mlp(&mut layers, "value", value_inputs, &config.value_hidden, Some(1));
        layers.sort();

        let mut parameters = Parameters::default();
        for (name, outputs, inputs) in layers {
            let weight = init::uniform_fan_in(rng, &[outputs, inputs], inputs, device)?;
            parameters.insert(&format!("{name}.weight"), &weight)?;
            parameters.insert(&format!("{name}.bias"), &Tensor::zeros(outputs, DType::F32, device)?)?;
        }
        if config.has_gate_conv() && config.gate_conv == GateConv::Identity {
            let identity = Tensor::eye(config.planes, DType::F32, device)?;
            parameters.get("gate.conv.weight")?.set(&identity)?;
        }
        Ok(Self { config, parameters })
    }

    /// The sizes and parts.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// All parameters, shared with the policy: an optimiser's step changes the policy.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Logits of the actions under `steering`, every gradient let through.
    ///
    /// # Shapes
    /// `observations` (n, planes × cells).
    ///
    /// # Errors
    /// Fails on another shape and where `steering` names an expert that is not there.
    pub fn forward(&self, observations: &Tensor, steering: Steering) -> Result<PolicyOutput, PolicyError> {
        self.mix(observations, steering, None)
    }

    /// The mixture's logits with the same values as [`Policy::forward`], bit for bit, and gradients routed by
    /// `masks`.
    ///
    /// # Shapes
    /// `observations` (n, planes × cells), masks (n, experts) and (n, 1).
    ///
    /// # Errors
    /// Fails on other shapes.
    pub fn forward_routed(
        &self,
        observations: &Tensor,
        masks: &RouteMasks,
    ) -> Result<PolicyOutput, PolicyError> {
        self.mix(observations, Steering::Mixture, Some(masks))
    }

    /// The value of each observation, (n).
    ///
    /// # Errors
    /// Fails where `observations` is not (n, planes × cells).
    pub fn value(&self, observations: &Tensor) -> Result<Tensor, PolicyError> {
        self.check_observations(observations)?;
        let mut x = self.layer_behind_conv(observations, "value")?;
        for layer in 1..=self.config.value_hidden.len() {
            if self.config.value_relu {
                x = relu(&x)?;
            }
            x = self.layer(&x, "value", layer)?;
        }
        Ok(x.squeeze(1)?)
    }

    fn mix(
        &self,
        observations: &Tensor,
        steering: Steering,
        masks: Option<&RouteMasks>,
    ) -> Result<PolicyOutput, PolicyError> {
        self.check_observations(observations)?;
        let (rows, experts) = (observations.dim(0)?, self.config.experts.len());
        let mut gate_logits = None;
        let gate = if let Some(weights) = self.config.fixed_gate(steering)? {
            let weights = Tensor::from_vec(weights, (1, experts), observations.device())?;
            weights.to_dtype(observations.dtype())?.broadcast_as((rows, experts))?.contiguous()?
        } else {
            let logits = self.gate_logits(observations)?;
            let routed = match masks {
                Some(masks) => route(&logits, &masks.gate)?,
                None => logits.clone(),
            };
            gate_logits = Some(logits);
            gate_weights(&routed, steering)?
        };
        let mut mixed: Option<Tensor> = None;
        for (e, name) in self.config.experts.iter().enumerate() {
            if !steering.keeps(e) {
                continue;
            }
            let mut hidden = observations.clone();
            for layer in 0..self.config.hidden.len() {
                hidden = relu(&self.layer(&hidden, &format!("experts.{name}"), layer)?)?;
            }
            if let Some(masks) = masks {
                hidden = route(&hidden, &masks.experts.narrow(1, e, 1)?)?;
            }
            let part = hidden.broadcast_mul(&gate.narrow(1, e, 1)?)?;
            mixed = Some(match mixed {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let mixed = mixed.ok_or_else(|| PolicyError::Config("it has no expert".to_owned()))?;
        let logits = linear(&mixed, self.tensor("head.weight")?, self.tensor("head.bias")?)?;
        Ok(PolicyOutput { logits, gate_logits, gate })
    }

    fn gate_logits(&self, observations: &Tensor) -> Result<Tensor, PolicyError> {
        let first = if self.config.has_gate_conv() {
            self.layer_behind_conv(observations, "gate")?
        } else {
            self.layer(observations, "gate", 0)?
        };
        let mut hidden = relu(&first)?;
        for layer in 1..self.config.hidden.len() {
            hidden = relu(&self.layer(&hidden, "gate", layer)?)?;
        }
        self.layer(&hidden, "gate", self.config.hidden.len())
    }

    /// The first layer of a net on its 1×1 convolution of `x`, as one linear layer.
    fn layer_behind_conv(&self, x: &Tensor, prefix: &str) -> Result<Tensor, PolicyError> {
        let of = |part: &str| self.tensor(&format!("{prefix}.{part}"));
        let (weight, bias) = fold_conv(of("conv.weight")?, of("conv.bias")?, of("0.weight")?, of("0.bias")?)?;
        linear(x, &weight, &bias)
    }

    fn layer(&self, x: &Tensor, prefix: &str, layer: usize) -> Result<Tensor, PolicyError> {
        let weight = self.tensor(&format!("{prefix}.{layer}.weight"))?;
        linear(x, weight, self.tensor(&format!("{prefix}.{layer}.bias"))?)
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, PolicyError> {
        Ok(self.parameters.get(name)?.as_tensor())
    }

    fn check_observations(&self, observations: &Tensor) -> Result<(), PolicyError> {
        if observations.dims().get(1) == Some(&self.config.inputs()) && observations.rank() == 2 {
            return Ok(());
        }
        let rows = observations.dims().first().copied().unwrap_or_default();
        Err(PolicyError::Shape {
            what: "an observation batch",
            expected: vec![rows, self.config.inputs()],
            found: observations.dims().to_vec(),
        })
    }
}

/// Appends the layers of a net as (name, outputs, inputs).
fn mlp(
    layers: &mut Vec<(String, usize, usize)>,
    prefix: &str,
    inputs: usize,
    hidden: &[usize],
    outputs: Option<usize>,
) {
    let mut inputs = inputs;
    for (index, &width) in hidden.iter().chain(outputs.as_ref()).enumerate() {
        layers.push((format!("{prefix}.{index}"), width, inputs));
        inputs = width;
    }
}
