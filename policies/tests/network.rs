//! The networks of the specification: sizes, first weights, forward values, steering, files.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use learning::LearningError;
use learning::kernels::SparseRows;
use policies::fused::{Activations, FusedPolicy};
use policies::{Gate, GateConv, Policy, PolicyConfig, RouteMasks, Steering};
use rand::{Rng, RngExt};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn policy(config: PolicyConfig, seed: u64) -> Policy {
    Policy::new(config, &mut rng(seed), &Device::Cpu).unwrap()
}

fn set(policy: &Policy, name: &str, mut value: impl FnMut() -> f32) {
    let var = policy.parameters().get(name).unwrap();
    let values: Vec<f32> = (0..var.elem_count()).map(|_| value()).collect();
    var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
}

/// Biases are zero at the start; draw some, so that a bias forgotten shows.
fn with_biases(policy: Policy, rng: &mut impl Rng) -> Policy {
    let names: Vec<String> = policy.parameters().iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| name.ends_with("bias")) {
        set(&policy, name, || rng.random_range(-0.3..0.3));
    }
    policy
}

fn observations(rows: usize, inputs: usize, rng: &mut impl Rng) -> Tensor {
    let values: Vec<f32> = (0..rows * inputs)
        .map(|_| if rng.random_bool(0.1) { rng.random_range(0.5..1.5) } else { 0.0 })
        .collect();
    Tensor::from_vec(values, (rows, inputs), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    flat(tensor).into_iter().map(f32::to_bits).collect()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn count(policy: &Policy, prefixes: &[&str]) -> usize {
    let parameters = policy.parameters().iter();
    let counted = parameters.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    counted.map(|(_, var)| var.elem_count()).sum()
}

#[test]
fn parameter_counts_are_those_of_the_specification() {
    let mixture = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 0);
    for (prefixes, expected) in [
        (&["experts.diamond."][..], 91_648),
        (&["experts.ghost."], 91_648),
        (&["head."], 1_028),
        (&["gate."], 91_925),
        (&["experts.", "gate.", "head."], 276_249),
        (&["value."], 110_993),
        (&[""], 276_249 + 110_993),
    ] {
        assert_eq!(count(&mixture, prefixes), expected, "{prefixes:?}");
    }
    let single = policy(PolicyConfig::single(4, 25, 4), 0);
    assert_eq!(count(&single, &["experts.", "gate.", "head."]), 92_676);
    assert_eq!(count(&single, &["value."]), 110_993);
    let constant = policy(
        PolicyConfig { gate: Gate::Constant, ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) },
        0,
    );
    assert_eq!(count(&constant, &["experts.", "gate.", "head."]), 276_249 - 91_925);
}

#[test]
fn weights_start_uniform_within_one_over_the_root_of_the_inputs_and_biases_at_zero() {
    for config in [PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), PolicyConfig::single(6, 49, 4)] {
        for (name, var) in policy(config, 3).parameters().iter() {
            let values = flat(var);
            if name.ends_with("bias") {
                assert!(values.iter().all(|v| *v == 0.0), "{name}");
                continue;
            }
            // weights are (out, in), of convolutions too
            let inputs = var.dims()[1] as f32;
            let bound = 1.0 / inputs.sqrt();
            let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest <= bound, "{name}: {largest} > {bound}");
            if values.len() < 1000 {
                continue;
            }
            assert!(largest > 0.99 * bound, "{name}: {largest} of {bound}");
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let variance = values.iter().map(|v| v * v).sum::<f32>() / n;
            // five standard errors of each
            assert!(mean.abs() < 5.0 * bound / (3.0 * n).sqrt(), "{name}: mean {mean}");
            assert!(
                (3.0 * variance / bound.powi(2) - 1.0).abs() < 5.0 * (0.8 / n).sqrt(),
                "{name}: {variance}"
            );
        }
    }
}

/// Against numbers worked out by another program: see `golden/initial_weights.py`.
#[test]
fn first_weights_are_those_of_the_golden_file() {
    let mixture = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 7);
    let again = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 7);
    assert_eq!(mixture.parameters().to_flat_vec().unwrap(), again.parameters().to_flat_vec().unwrap());
    let other = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 8);
    assert_ne!(mixture.parameters().to_flat_vec().unwrap(), other.parameters().to_flat_vec().unwrap());

    let golden = include_str!("golden/initial_weights.txt");
    assert_eq!(golden.lines().count(), 13 * 4);
    for line in golden.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let values = flat(mixture.parameters().get(fields[0]).unwrap());
        let (index, expected): (usize, f32) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        assert_eq!(values[index].to_bits(), expected.to_bits(), "{line}");
    }
}

/// A policy's weights in f64, and its forward pass in plain loops.
struct Naive {
    values: BTreeMap<String, (Vec<f64>, Vec<f64>)>,
    planes: usize,
}

impl Naive {
    fn new(policy: &Policy) -> Self {
        let mut values = BTreeMap::new();
        for (name, var) in policy.parameters().iter() {
            let wide: Vec<f64> = flat(var).into_iter().map(f64::from).collect();
            let (layer, part) = name.rsplit_once('.').unwrap();
            let entry: &mut (Vec<f64>, Vec<f64>) = values.entry(layer.to_owned()).or_default();
            *(if part == "weight" { &mut entry.0 } else { &mut entry.1 }) = wide;
        }
        Self { values, planes: policy.config().planes }
    }

    fn linear(&self, layer: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = &self.values[layer];
        let rows = weight.chunks_exact(x.len());
        rows.zip(bias).map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b).collect()
    }

    /// The 1×1 convolution, cell by cell: y[d, s] = Σ K[d, c]·x[c, s] + b[d] over c.
    fn conv(&self, layer: &str, x: &[f64]) -> Vec<f64> {
        let (kernel, bias) = &self.values[layer];
        let cells = x.len() / self.planes;
        let mut out = vec![0.0; bias.len() * cells];
        for plane_out in 0..bias.len() {
            for cell in 0..cells {
                out[plane_out * cells + cell] = bias[plane_out];
                for plane_in in 0..self.planes {
                    out[plane_out * cells + cell] +=
                        kernel[plane_out * self.planes + plane_in] * x[plane_in * cells + cell];
                }
            }
        }
        out
    }

    fn value(&self, x: &[f64]) -> f64 {
        let x = self.linear("value.0", &self.conv("value.conv", x));
        self.linear("value.2", &self.linear("value.1", &x))[0]
    }

    fn gate_logit(&self, x: &[f64]) -> f64 {
        let x = relu(self.linear("gate.0", &self.conv("gate.conv", x)));
        self.linear("gate.2", &relu(self.linear("gate.1", &x)))[0]
    }

    fn expert(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let x = relu(self.linear(&format!("experts.{name}.0"), x));
        relu(self.linear(&format!("experts.{name}.1"), &x))
    }

    fn logits(&self, x: &[f64], gamma: f64) -> Vec<f64> {
        let (diamond, ghost) = (self.expert("diamond", x), self.expert("ghost", x));
        let mixed: Vec<f64> =
            diamond.iter().zip(&ghost).map(|(d, g)| gamma * d + (1.0 - gamma) * g).collect();
        self.linear("head", &mixed)
    }
}

fn relu(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(|x| x.max(0.0)).collect()
}

/// Values, gate and logits equal the definition of the specification with an explicit 1×1 convolution and a
/// convex combination of hidden vectors, computed in f64.
#[test]
fn forward_values_equal_the_definition_in_f64() {
    let mut rng = rng(21);
    for (planes, cells) in [(4, 25), (6, 49), (4, 9)] {
        let policy =
            with_biases(policy(PolicyConfig::mixture(["diamond", "ghost"], planes, cells, 4), 5), &mut rng);
        let naive = Naive::new(&policy);
        let x = observations(10, planes * cells, &mut rng);
        let values = policy.value(&x).unwrap().to_vec1::<f32>().unwrap();
        let mixed = policy.forward(&x, Steering::Mixture).unwrap();
        let diamond = policy.forward(&x, Steering::Expert(0)).unwrap().logits.to_vec2::<f32>().unwrap();
        let ghost = policy.forward(&x, Steering::Expert(1)).unwrap().logits.to_vec2::<f32>().unwrap();
        let gate = mixed.gate.to_vec2::<f32>().unwrap();
        let gate_logits = flat(mixed.gate_logits.as_ref().unwrap());
        let logits = mixed.logits.to_vec2::<f32>().unwrap();
        let close = |what: &str, got: &[f32], want: &[f64]| {
            let error = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
            assert!(
                got.len() == want.len() && error < 2e-6,
                "{planes} planes, {what}: {got:?} is not {want:?}"
            );
        };
        for (row, x) in x.to_vec2::<f32>().unwrap().into_iter().enumerate() {
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            let z = naive.gate_logit(&x);
            let gamma = 1.0 / (1.0 + (-z).exp());
            close("value", &values[row..=row], &[naive.value(&x)]);
            close("gate's logit", &gate_logits[row..=row], &[z]);
            close("gate", &gate[row], &[gamma, 1.0 - gamma]);
            close("mixture", &logits[row], &naive.logits(&x, gamma));
            close("diamond", &diamond[row], &naive.logits(&x, 1.0));
            close("ghost", &ghost[row], &naive.logits(&x, 0.0));
        }
        let spread = gate.iter().map(|g| g[0]).fold((1f32, 0f32), |(low, high), g| (low.min(g), high.max(g)));
        assert!(spread.1 - spread.0 > 1e-3, "the gate should tell observations apart: {spread:?}");
    }
}

#[test]
fn routing_leaves_every_forward_value_as_it_was_bit_for_bit() {
    let mut rng = rng(4);
    for config in [
        PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4),
        PolicyConfig { gate: Gate::Constant, ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) },
        PolicyConfig::single(4, 25, 4),
    ] {
        let experts = config.experts.len();
        let policy = with_biases(policy(config, 1), &mut rng);
        let x = observations(33, 100, &mut rng);
        let plain = policy.forward(&x, Steering::Mixture).unwrap();
        for choices in [&[0f32][..], &[1.0], &[0.0, 1.0], &[0.0, 0.37, 1.0, -2.0]] {
            let mut mask =
                |n| -> Vec<f32> { (0..n).map(|_| choices[rng.random_range(0..choices.len())]).collect() };
            let masks = RouteMasks {
                experts: Tensor::from_vec(mask(33 * experts), (33, experts), &Device::Cpu).unwrap(),
                gate: Tensor::from_vec(mask(33), (33, 1), &Device::Cpu).unwrap(),
            };
            let routed = policy.forward_routed(&x, &masks).unwrap();
            assert_eq!(bits(&routed.logits), bits(&plain.logits));
            assert_eq!(bits(&routed.gate), bits(&plain.gate));
            assert_eq!(routed.gate_logits.as_ref().map(bits), plain.gate_logits.as_ref().map(bits));
        }
    }
}

/// A set of experts is their mixture with the gate's weights over their sum: of one, that expert; of all, the mixture.
#[test]
fn a_set_of_experts_is_their_mixture_with_the_gate_scaled_up() {
    let mut rng = rng(31);
    let x = observations(7, 100, &mut rng);
    for gate in [Gate::Learned, Gate::Constant] {
        let config = PolicyConfig { gate, ..PolicyConfig::mixture(["a", "b", "c"], 4, 25, 4) };
        let policy = with_biases(policy(config, 4), &mut rng);
        let logits = |steering| policy.forward(&x, steering).unwrap().logits.to_vec2::<f32>().unwrap();
        let alone: Vec<Vec<Vec<f32>>> = (0..3).map(|expert| logits(Steering::Expert(expert))).collect();
        let weights = policy.forward(&x, Steering::Mixture).unwrap().gate.to_vec2::<f32>().unwrap();
        for set in 1..8_u32 {
            let kept = |expert: usize| set >> expert & 1 == 1;
            let output = policy.forward(&x, Steering::Subset(set)).unwrap();
            let (got, gate) =
                (output.logits.to_vec2::<f32>().unwrap(), output.gate.to_vec2::<f32>().unwrap());
            for row in 0..7 {
                let sum: f32 = (0..3).filter(|e| kept(*e)).map(|e| weights[row][e]).sum();
                for expert in 0..3 {
                    let want = if kept(expert) { weights[row][expert] / sum } else { 0.0 };
                    assert!((gate[row][expert] - want).abs() < 1e-6, "{set}: {gate:?}");
                    assert!(kept(expert) || gate[row][expert] == 0.0);
                }
                for action in 0..4 {
                    let want: f32 = (0..3).map(|e| gate[row][e] * alone[e][row][action]).sum();
                    assert!(
                        (got[row][action] - want).abs() < 1e-5,
                        "{set}, {row}: {} {want}",
                        got[row][action]
                    );
                }
            }
            let fused: Vec<f32> =
                fused_logits(&policy, &x, Steering::Subset(set)).into_iter().map(f32::from_bits).collect();
            for (fused, candle) in fused.iter().zip(got.concat()) {
                assert!((fused - candle).abs() < 1e-5, "{set}: {fused} {candle}");
            }
        }
        assert_eq!(
            fused_logits(&policy, &x, Steering::Subset(7)),
            fused_logits(&policy, &x, Steering::Mixture)
        );
        assert_eq!(
            fused_logits(&policy, &x, Steering::Subset(2)),
            fused_logits(&policy, &x, Steering::Expert(1))
        );
        for set in [0, 8, 9] {
            assert!(policy.forward(&x, Steering::Subset(set)).is_err(), "{set}");
        }
    }
}

fn fused_logits(policy: &Policy, x: &Tensor, steering: Steering) -> Vec<u32> {
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let mut rows = SparseRows::new(policy.config().inputs());
    x.to_vec2::<f32>().unwrap().iter().for_each(|row| rows.push_dense(row));
    let listed: Vec<u32> = (0..rows.len() as u32).collect();
    let mut activations = Activations::new(policy.config());
    fused.forward(&rows, &listed, steering, &mut activations).unwrap();
    listed.iter().flat_map(|row| activations.logits(*row as usize)).map(|logit| logit.to_bits()).collect()
}

/// Γ := 1 is the network without the ghost expert and the gate: whatever they hold, NaN included, plays no part.
#[test]
fn a_steered_policy_does_not_see_what_was_removed() {
    let mut rng = rng(6);
    for config in [
        PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4),
        PolicyConfig { gate: Gate::Constant, ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) },
    ] {
        let x = observations(20, 100, &mut rng);
        for (expert, other) in [("diamond", "ghost"), ("ghost", "diamond")] {
            let steering = Steering::Expert(usize::from(expert == "ghost"));
            let policy = with_biases(policy(config.clone(), 2), &mut rng);
            let logits = policy.forward(&x, steering).unwrap().logits;
            let fused = fused_logits(&policy, &x, steering);

            let single = self::policy(PolicyConfig::single(4, 25, 4), 9);
            for (name, var) in single.parameters().iter() {
                let own = name.replace("experts.policy", &format!("experts.{expert}"));
                var.set(&policy.parameters().get(&own).unwrap().copy().unwrap()).unwrap();
            }
            let alone = single.forward(&x, Steering::Mixture).unwrap().logits;
            assert_eq!(bits(&alone), bits(&logits), "{expert}: a network of its own");
            assert_eq!(
                fused_logits(&single, &x, Steering::Mixture),
                fused,
                "{expert}: a fused network of its own"
            );

            let names = policy.parameters().iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
            for name in names.iter().filter(|n| n.starts_with("gate.") || n.contains(other)) {
                set(&policy, name, || f32::NAN);
            }
            let after = policy.forward(&x, steering).unwrap().logits;
            assert!(flat(&after).iter().all(|logit| logit.is_finite()));
            assert_eq!(bits(&after), bits(&logits), "{expert}");
            assert_eq!(fused_logits(&policy, &x, steering), fused, "{expert}, fused");
            let mixture = flat(&policy.forward(&x, Steering::Mixture).unwrap().logits);
            assert!(mixture.iter().all(|logit| logit.is_nan()), "the mixture does see it");
        }
    }
}

#[test]
fn a_saved_policy_comes_back_and_another_architecture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.safetensors");
    let mut rng = rng(8);
    let saved = with_biases(policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 1), &mut rng);
    saved.parameters().save_safetensors(&file).unwrap();

    let loaded = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 2);
    loaded.parameters().load_safetensors(&file).unwrap();
    assert_eq!(loaded.parameters().to_flat_vec().unwrap(), saved.parameters().to_flat_vec().unwrap());
    let x = observations(5, 100, &mut rng);
    for steering in [Steering::Mixture, Steering::Expert(0), Steering::Expert(1)] {
        let logits = |policy: &Policy| bits(&policy.forward(&x, steering).unwrap().logits);
        assert_eq!(logits(&loaded), logits(&saved));
    }
    assert_eq!(bits(&loaded.value(&x).unwrap()), bits(&saved.value(&x).unwrap()));

    let refused = |config: PolicyConfig| {
        let other = policy(config, 3);
        let before = other.parameters().to_flat_vec().unwrap();
        let error = other.parameters().load_safetensors(&file).unwrap_err();
        assert_eq!(other.parameters().to_flat_vec().unwrap(), before, "a refused file changes nothing");
        error
    };
    let error = refused(PolicyConfig::single(4, 25, 4));
    assert!(
        matches!(&error, LearningError::Missing { names, .. } if names.contains("experts.policy.0.bias")),
        "{error}"
    );
    let error = refused(PolicyConfig {
        gate: Gate::Constant,
        ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4)
    });
    assert!(
        matches!(&error, LearningError::Unexpected { names, .. } if names.contains("gate.conv.weight")),
        "{error}"
    );
    let error = refused(PolicyConfig::mixture(["diamond", "ghost"], 4, 9, 4));
    assert!(matches!(&error, LearningError::Shape { found, .. } if found == &[256, 100]), "{error}");
    assert!(error.to_string().contains("policy.safetensors"), "{error}");

    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(
        refused(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4)),
        LearningError::Unreadable { .. }
    ));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let policy = policy(PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 0);
    let wrong = Tensor::zeros((2, 99), DType::F32, &Device::Cpu).unwrap();
    let messages = [
        policy.forward(&wrong, Steering::Mixture).unwrap_err().to_string(),
        policy.value(&wrong).unwrap_err().to_string(),
    ];
    for message in messages {
        assert_eq!(message, "an observation batch has shape [2, 99], needed is [2, 100]");
    }
    let right = Tensor::zeros((2, 100), DType::F32, &Device::Cpu).unwrap();
    let message = policy.forward(&right, Steering::Expert(2)).unwrap_err().to_string();
    assert_eq!(message, "cannot steer to expert 2: the policy has 2");
    let masks = RouteMasks {
        experts: Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap(),
        gate: Tensor::ones((3, 1), DType::F32, &Device::Cpu).unwrap(),
    };
    assert!(policy.forward_routed(&right, &masks).is_err());
    for config in [
        PolicyConfig { experts: vec![], ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) },
        PolicyConfig { hidden: vec![8, 0], ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) },
        PolicyConfig::mixture(["diamond", "ghost"], 4, 0, 4),
    ] {
        assert!(Policy::new(config, &mut rng(0), &Device::Cpu).is_err());
    }
}

/// From the identity the gate begins as one without a convolution, and nothing else of the network is drawn otherwise
/// than with the paper's random one.
#[test]
fn a_gate_from_the_identity_begins_as_one_without_a_convolution() {
    let of = |gate_conv| {
        let config = PolicyConfig { gate_conv, ..PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4) };
        policy(config, 12)
    };
    let (random, identity) = (of(GateConv::Random), of(GateConv::Identity));
    for (name, var) in random.parameters().iter().filter(|(name, _)| *name != "gate.conv.weight") {
        assert_eq!(bits(var), bits(&identity.parameters()[name]), "{name}");
    }
    let none = of(GateConv::None);
    for (name, var) in none.parameters().iter() {
        var.set(&identity.parameters()[name].copy().unwrap()).unwrap();
    }
    let x = observations(20, 100, &mut rng(3));
    let gate = |policy: &Policy| policy.forward(&x, Steering::Mixture).unwrap().gate;
    assert_eq!(bits(&gate(&identity)), bits(&gate(&none)));
    assert_ne!(bits(&gate(&identity)), bits(&gate(&random)));
}
