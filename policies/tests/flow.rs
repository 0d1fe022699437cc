//! Where each loss trains each network, route by route: exactly the parameters named get a gradient, the masked
//! ones exactly zero, and the rest is not in the graph of the loss.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use candle_core::{D, DType, Device, Tensor, Var};
use gradient_routing::{Flow, assert_grad_flow};
use policies::{Gate, GateConv, Policy, PolicyConfig, PolicyOutput, RouteMasks};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

const DIAMOND: &[&str] = &[
    "experts.diamond.0.bias",
    "experts.diamond.0.weight",
    "experts.diamond.1.bias",
    "experts.diamond.1.weight",
];
const GHOST: &[&str] =
    &["experts.ghost.0.bias", "experts.ghost.0.weight", "experts.ghost.1.bias", "experts.ghost.1.weight"];
const SINGLE: &[&str] =
    &["experts.policy.0.bias", "experts.policy.0.weight", "experts.policy.1.bias", "experts.policy.1.weight"];
const GATE: &[&str] = &[
    "gate.0.bias",
    "gate.0.weight",
    "gate.1.bias",
    "gate.1.weight",
    "gate.2.bias",
    "gate.2.weight",
    "gate.conv.bias",
    "gate.conv.weight",
];
const GATE_WITHOUT_CONV: &[&str] =
    &["gate.0.bias", "gate.0.weight", "gate.1.bias", "gate.1.weight", "gate.2.bias", "gate.2.weight"];
const HEAD: &[&str] = &["head.bias", "head.weight"];
const VALUE: &[&str] = &[
    "value.0.bias",
    "value.0.weight",
    "value.1.bias",
    "value.1.weight",
    "value.2.bias",
    "value.2.weight",
    "value.conv.bias",
    "value.conv.weight",
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Net {
    Mixture,
    GateWithoutConv,
    ConstantGate,
    Single,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Policy,
    Entropy,
    GateBce,
    Value,
}

/// The route of the samples: `Mixed` takes all three in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    Both,
    Diamond,
    Ghost,
    Mixed,
}

const ROUTES: [Route; 4] = [Route::Both, Route::Diamond, Route::Ghost, Route::Mixed];

/// One line of the table: parameters with a gradient, with one of exactly zero; all others have none.
struct Row {
    net: Net,
    loss: Loss,
    routes: &'static [Route],
    trained: &'static [&'static [&'static str]],
    zero: &'static [&'static [&'static str]],
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { net: Net::Mixture, loss: Loss::Policy, routes: &[Route::Both, Route::Mixed], trained: &[DIAMOND, GHOST, GATE, HEAD], zero: &[] },
    Row { net: Net::Mixture, loss: Loss::Policy, routes: &[Route::Diamond], trained: &[DIAMOND, HEAD], zero: &[GHOST, GATE] },
    Row { net: Net::Mixture, loss: Loss::Policy, routes: &[Route::Ghost], trained: &[GHOST, HEAD], zero: &[DIAMOND, GATE] },
    Row { net: Net::Mixture, loss: Loss::Entropy, routes: &[Route::Both, Route::Mixed], trained: &[DIAMOND, GHOST, GATE, HEAD], zero: &[] },
    Row { net: Net::Mixture, loss: Loss::Entropy, routes: &[Route::Diamond], trained: &[DIAMOND, HEAD], zero: &[GHOST, GATE] },
    Row { net: Net::Mixture, loss: Loss::Entropy, routes: &[Route::Ghost], trained: &[GHOST, HEAD], zero: &[DIAMOND, GATE] },
    Row { net: Net::Mixture, loss: Loss::GateBce, routes: &ROUTES, trained: &[GATE], zero: &[] },
    Row { net: Net::Mixture, loss: Loss::Value, routes: &ROUTES, trained: &[VALUE], zero: &[] },
    Row { net: Net::GateWithoutConv, loss: Loss::Policy, routes: &[Route::Both, Route::Mixed], trained: &[DIAMOND, GHOST, GATE_WITHOUT_CONV, HEAD], zero: &[] },
    Row { net: Net::GateWithoutConv, loss: Loss::Policy, routes: &[Route::Diamond], trained: &[DIAMOND, HEAD], zero: &[GHOST, GATE_WITHOUT_CONV] },
    Row { net: Net::GateWithoutConv, loss: Loss::Policy, routes: &[Route::Ghost], trained: &[GHOST, HEAD], zero: &[DIAMOND, GATE_WITHOUT_CONV] },
    Row { net: Net::GateWithoutConv, loss: Loss::GateBce, routes: &ROUTES, trained: &[GATE_WITHOUT_CONV], zero: &[] },
    Row { net: Net::ConstantGate, loss: Loss::Policy, routes: &[Route::Both, Route::Mixed], trained: &[DIAMOND, GHOST, HEAD], zero: &[] },
    Row { net: Net::ConstantGate, loss: Loss::Policy, routes: &[Route::Diamond], trained: &[DIAMOND, HEAD], zero: &[GHOST] },
    Row { net: Net::ConstantGate, loss: Loss::Policy, routes: &[Route::Ghost], trained: &[GHOST, HEAD], zero: &[DIAMOND] },
    Row { net: Net::ConstantGate, loss: Loss::Entropy, routes: &[Route::Both, Route::Mixed], trained: &[DIAMOND, GHOST, HEAD], zero: &[] },
    Row { net: Net::ConstantGate, loss: Loss::Entropy, routes: &[Route::Diamond], trained: &[DIAMOND, HEAD], zero: &[GHOST] },
    Row { net: Net::ConstantGate, loss: Loss::Entropy, routes: &[Route::Ghost], trained: &[GHOST, HEAD], zero: &[DIAMOND] },
    Row { net: Net::ConstantGate, loss: Loss::Value, routes: &ROUTES, trained: &[VALUE], zero: &[] },
    Row { net: Net::Single, loss: Loss::Policy, routes: &[Route::Both], trained: &[SINGLE, HEAD], zero: &[] },
    Row { net: Net::Single, loss: Loss::Entropy, routes: &[Route::Both], trained: &[SINGLE, HEAD], zero: &[] },
    Row { net: Net::Single, loss: Loss::Value, routes: &[Route::Both], trained: &[VALUE], zero: &[] },
];

const ROWS: usize = 12;

struct Case {
    policy: Policy,
    observations: Tensor,
}

impl Case {
    fn new(net: Net) -> Self {
        let config = match net {
            Net::Mixture => PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4),
            Net::GateWithoutConv => PolicyConfig {
                gate_conv: GateConv::None,
                ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4)
            },
            Net::ConstantGate => {
                PolicyConfig { gate: Gate::Constant, ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) }
            }
            Net::Single => PolicyConfig::single(4, 25, 4),
        };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
        let policy = Policy::new(config, &mut rng, &Device::Cpu).unwrap();
        // the observations of a gridworld: an agent, a ghost, a diamond, and a bit on some cell
        let mut dense = vec![0f32; ROWS * 100];
        for row in dense.chunks_exact_mut(100) {
            for plane in row.chunks_exact_mut(25) {
                plane[rng.random_range(0..25)] = 1.0;
            }
        }
        Self { policy, observations: Tensor::from_vec(dense, (ROWS, 100), &Device::Cpu).unwrap() }
    }

    fn forward(&self, route: Route) -> PolicyOutput {
        let experts = self.policy.config().experts.len();
        let (mut expert_masks, mut gate_masks) = (Vec::new(), Vec::new());
        for row in 0..ROWS {
            let own = if route == Route::Mixed { ROUTES[row % 3] } else { route };
            let (masks, gate) = match own {
                Route::Diamond => ([1.0, 0.0], 0.0),
                Route::Ghost => ([0.0, 1.0], 0.0),
                _ => ([1f32, 1.0], 1f32),
            };
            expert_masks.extend_from_slice(&masks[..experts]);
            gate_masks.push(gate);
        }
        let masks = RouteMasks {
            experts: Tensor::from_vec(expert_masks, (ROWS, experts), &Device::Cpu).unwrap(),
            gate: Tensor::from_vec(gate_masks, (ROWS, 1), &Device::Cpu).unwrap(),
        };
        self.policy.forward_routed(&self.observations, &masks).unwrap()
    }

    fn loss(&self, loss: Loss, route: Route) -> Tensor {
        let output = self.forward(route);
        let exp = output.logits.exp().unwrap();
        let probs = exp.broadcast_div(&exp.sum_keepdim(D::Minus1).unwrap()).unwrap();
        match loss {
            Loss::Policy => {
                let actions: Vec<u32> = (0..ROWS as u32).map(|row| row % 4).collect();
                let actions = Tensor::from_vec(actions, (ROWS, 1), &Device::Cpu).unwrap();
                let advantages: Vec<f32> = (0..ROWS).map(|row| 0.3 * row as f32 - 1.0).collect();
                let advantages = Tensor::from_vec(advantages, (ROWS, 1), &Device::Cpu).unwrap();
                let log_prob = probs.gather(&actions, 1).unwrap().log().unwrap();
                (log_prob * advantages).unwrap().mean_all().unwrap().neg().unwrap()
            }
            Loss::Entropy => (&probs * probs.log().unwrap()).unwrap().sum_all().unwrap().neg().unwrap(),
            // ln(1 + e^-z) on the first half of the samples and ln(1 + e^z) on the others
            Loss::GateBce => {
                let signs: Vec<f32> = (0..ROWS).map(|row| if row < 5 { -1.0 } else { 1.0 }).collect();
                let signs = Tensor::from_vec(signs, (ROWS, 1), &Device::Cpu).unwrap();
                let logits = output.gate_logits.expect("a gate");
                ((logits * signs).unwrap().exp().unwrap() + 1.0).unwrap().log().unwrap().mean_all().unwrap()
            }
            Loss::Value => {
                let value = self.policy.value(&self.observations).unwrap();
                (value - 0.7).unwrap().sqr().unwrap().mean_all().unwrap()
            }
        }
    }
}

#[test]
fn every_route_trains_exactly_the_parameters_of_the_table() {
    let mut seen = Vec::new();
    for row in TABLE {
        let case = Case::new(row.net);
        for &route in row.routes {
            let at = format!("{:?}, {:?} loss, route {route:?}", row.net, row.loss);
            let trained: Vec<&str> = row.trained.concat();
            let flow = assert_grad_flow(&case.loss(row.loss, route), case.policy.parameters(), &trained)
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            let mut zero: Vec<&str> = row.zero.concat();
            zero.sort_unstable();
            assert_eq!(flow.names(Flow::Zero), zero, "{at}: gradient exactly zero");
            let rest = case.policy.parameters().keys().map(String::as_str);
            let rest: Vec<&str> =
                rest.filter(|name| !trained.contains(name) && !zero.contains(name)).collect();
            assert_eq!(flow.names(Flow::Unreached), rest, "{at}: no gradient");
            assert!(!seen.contains(&(row.net, row.loss, route)), "{at}: twice");
            seen.push((row.net, row.loss, route));
        }
    }
    // a table with a line lost would pass: 4 losses on 4 routes, 2 on 4 without the gate's convolution, 3 on 4 without
    // a gate network, 3 on one
    assert_eq!(seen.len(), 16 + 8 + 12 + 3);
}

/// The names of the table are all there are, so that no parameter escapes it.
#[test]
fn the_table_knows_every_parameter() {
    for (net, parts) in [
        (Net::Mixture, [DIAMOND, GHOST, GATE, HEAD, VALUE].concat()),
        (Net::GateWithoutConv, [DIAMOND, GHOST, GATE_WITHOUT_CONV, HEAD, VALUE].concat()),
        (Net::ConstantGate, [DIAMOND, GHOST, HEAD, VALUE].concat()),
        (Net::Single, [SINGLE, HEAD, VALUE].concat()),
    ] {
        let case = Case::new(net);
        assert_eq!(case.policy.parameters().keys().collect::<Vec<_>>(), parts, "{net:?}");
    }
}

/// A weight between 0 and 1 weighs: half a mask leaves half the gradient of its expert and all of the head's.
#[test]
fn a_fractional_mask_weighs_the_gradient() {
    let case = Case::new(Net::Mixture);
    let gradient = |diamond: f32| {
        let masks = RouteMasks {
            experts: Tensor::new(&[[diamond, 1.0]], &Device::Cpu).unwrap().repeat((ROWS, 1)).unwrap(),
            gate: Tensor::ones((ROWS, 1), DType::F32, &Device::Cpu).unwrap(),
        };
        let output = case.policy.forward_routed(&case.observations, &masks).unwrap();
        let grads = output.logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let flat = |var: &Var| grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [DIAMOND, GHOST, HEAD]
            .concat()
            .into_iter()
            .map(|name| flat(&case.policy.parameters()[name]))
            .collect::<Vec<_>>()
    };
    let (half, whole) = (gradient(0.5), gradient(1.0));
    for (index, (half, whole)) in half.iter().zip(&whole).enumerate() {
        let factor = if index < DIAMOND.len() { 0.5 } else { 1.0 };
        let largest = whole.iter().fold(0f32, |m, g| m.max(g.abs()));
        for (half, whole) in half.iter().zip(whole) {
            assert!((half - factor * whole).abs() <= 1e-6 * largest, "parameter {index}: {half} {whole}");
        }
    }
}
