//! The fused CPU path against autograd on the same policy: forward values and every gradient.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use candle_core::{Device, Tensor};
use learning::kernels::SparseRows;
use policies::fused::{Activations, FusedPolicy, Gradient, OutputGradient, UniqueRows, Workspace};
use policies::{Gate, GateConv, Policy, PolicyConfig, RouteMasks, Steering};
use proptest::prelude::*;
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// A batch with a linear loss: Σ l⊙g + Σ z⊙q + Σ V⊙v in logits, gate's logits and value, whose output gradients are g, q and v.
struct Case {
    policy: Policy,
    observations: Vec<f32>,
    head: Vec<f32>,
    gate: Vec<f32>,
    value: Vec<f32>,
    expert_masks: Vec<f32>,
    gate_masks: Vec<f32>,
    rows: usize,
}

impl Case {
    fn new(config: &PolicyConfig, rows: usize, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let policy = Policy::new(config.clone(), &mut rng, &Device::Cpu).unwrap();
        for (_, var) in policy.parameters().iter().filter(|(name, _)| name.ends_with("bias")) {
            let values: Vec<f32> = (0..var.elem_count()).map(|_| rng.random_range(-0.5..0.5)).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        let mut observations = vec![0.0; rows * config.inputs()];
        for row in observations.chunks_exact_mut(config.inputs()) {
            for _ in 0..4 {
                row[rng.random_range(0..config.inputs())] = [1.0, 1.0, -0.7][rng.random_range(0..3)];
            }
        }
        let mut signal = |n: usize| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
        let head = signal(rows * config.actions);
        let gate = signal(rows * config.gate_outputs());
        let value = signal(rows);
        let experts = config.experts.len();
        let routes = (0..rows).map(|_| rng.random_range(0..=experts)).collect::<Vec<_>>();
        let expert_masks = routes
            .iter()
            .flat_map(|route| {
                (0..experts).map(move |e| f32::from(u8::from(*route == experts || *route == e)))
            })
            .collect();
        let gate_masks = routes.iter().map(|route| f32::from(u8::from(*route == experts))).collect();
        Self { policy, observations, head, gate, value, expert_masks, gate_masks, rows }
    }

    fn by_autograd(&self) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
        let config = self.policy.config();
        let tensor = |values: &[f32], cols: usize| {
            Tensor::from_vec(values.to_vec(), (self.rows, cols), &Device::Cpu).unwrap()
        };
        let x = tensor(&self.observations, config.inputs());
        let masks = RouteMasks {
            experts: tensor(&self.expert_masks, config.experts.len()),
            gate: tensor(&self.gate_masks, 1),
        };
        let out = self.policy.forward_routed(&x, &masks).unwrap();
        let product = |a: &Tensor, b: &Tensor| (a * b).unwrap().sum_all().unwrap();
        let mut loss = product(&out.logits, &tensor(&self.head, config.actions));
        if let Some(gate_logits) = &out.gate_logits {
            loss = (loss + product(gate_logits, &tensor(&self.gate, config.gate_outputs()))).unwrap();
        }
        let value = self.policy.value(&x).unwrap().unsqueeze(1).unwrap();
        loss = (loss + product(&value, &tensor(&self.value, 1))).unwrap();
        let grads = loss.backward().unwrap();
        let grads = self
            .policy
            .parameters()
            .iter()
            .map(|(name, var)| {
                let grad = grads.get(var).map_or(vec![0.0; var.elem_count()], |g| {
                    g.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                });
                (name.to_owned(), grad)
            })
            .collect();
        (out.logits.flatten_all().unwrap().to_vec1::<f32>().unwrap(), grads)
    }

    /// The fused path, with equal rows merged where `unique`.
    fn by_fused(&self, unique: bool) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
        let config = self.policy.config();
        let fused = FusedPolicy::new(config, self.policy.parameters()).unwrap();
        let mut set = UniqueRows::new(config.inputs());
        let mut plain = SparseRows::new(config.inputs());
        let mut slots = Vec::new();
        for (i, row) in self.observations.chunks_exact(config.inputs()).enumerate() {
            plain.push_dense(row);
            slots.push(if unique { set.insert_dense(row) as usize } else { i });
        }
        let x = if unique { set.rows() } else { &plain };
        let listed: Vec<u32> = (0..x.len() as u32).collect();
        let mut activations = Activations::new(config);
        fused.forward(x, &listed, Steering::Mixture, &mut activations).unwrap();
        let mut output = OutputGradient::default();
        output.reset(&fused, x.len());
        let (actions, experts) = (config.actions, config.experts.len());
        for (row, &slot) in slots.iter().enumerate() {
            let g = &self.head[row * actions..][..actions];
            let gate = activations.gate(slot);
            let scores: Vec<f32> = (0..experts)
                .map(|e| g.iter().zip(activations.expert_logits(e, slot)).map(|(g, u)| g * u).sum())
                .collect();
            let mean: f32 = gate.iter().zip(&scores).map(|(w, s)| w * s).sum();
            for (a, g) in g.iter().enumerate() {
                output.head[slot * actions + a] += g;
                for (e, weight) in gate.iter().enumerate() {
                    let mask = self.expert_masks[row * experts + e];
                    output.experts[e][slot * actions + a] += mask * weight * g;
                }
            }
            for k in 0..config.gate_outputs() {
                let own = self.gate[row * config.gate_outputs() + k];
                output.gate[slot * config.gate_outputs() + k] +=
                    own + self.gate_masks[row] * gate[k] * (scores[k] - mean);
            }
            output.value[slot] += self.value[row];
        }
        let mut gradient = Gradient::new(&fused);
        let mut workspace = Workspace::default();
        fused.backward(x, &listed, &activations, &output, &mut gradient, &mut workspace);
        let grads = fused.unpack(&gradient, self.policy.parameters()).unwrap();
        let grads = self
            .policy
            .parameters()
            .iter()
            .map(|(name, var)| {
                let grad = grads.get(var).unwrap();
                assert_eq!(grad.dims(), var.dims(), "{name}");
                (name.to_owned(), grad.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            })
            .collect();
        (slots.iter().flat_map(|slot| activations.logits(*slot).to_vec()).collect(), grads)
    }
}

fn assert_close(name: &str, got: &[f32], want: &[f32]) {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
    let scale = norm(&mut want.iter().map(|b| f64::from(*b))).max(1e-6);
    assert!(error / scale < 1e-5, "{name}: relative error {}", error / scale);
}

fn configs() -> Vec<PolicyConfig> {
    let small = PolicyConfig {
        value_planes: 3,
        value_hidden: vec![5, 3],
        ..PolicyConfig::mixture(["diamond", "ghost"], 4, 6, 4)
    };
    vec![
        PolicyConfig { hidden: vec![8, 8], ..small.clone() },
        PolicyConfig { hidden: vec![7, 5, 9], ..small.clone() },
        PolicyConfig { hidden: vec![11], value_hidden: vec![], ..small.clone() },
        PolicyConfig { hidden: vec![8, 6], gate: Gate::Constant, ..small.clone() },
        PolicyConfig { hidden: vec![8, 6], experts: vec!["only".into()], ..small.clone() },
        PolicyConfig {
            hidden: vec![8, 6],
            experts: vec!["a".into(), "b".into(), "c".into()],
            ..small.clone()
        },
        PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4),
        PolicyConfig { hidden: vec![8, 8], gate_conv: GateConv::Identity, ..small.clone() },
        PolicyConfig { hidden: vec![8, 8], gate_conv: GateConv::None, ..small.clone() },
        PolicyConfig { hidden: vec![11], gate_conv: GateConv::None, ..small.clone() },
        PolicyConfig { hidden: vec![8, 6], value_relu: true, ..small.clone() },
        PolicyConfig { hidden: vec![8], value_hidden: vec![70], value_relu: true, ..small.clone() },
        PolicyConfig { hidden: vec![8, 6], experts: vec!["only".into()], value_relu: true, ..small.clone() },
        PolicyConfig { hidden: vec![8], value_hidden: vec![], value_relu: true, ..small },
    ]
}

#[test]
fn gradients_equal_those_of_autograd_for_every_shape() {
    for (index, config) in configs().into_iter().enumerate() {
        for rows in [1, 2, 600] {
            let case = Case::new(&config, rows, index as u64 * 100 + rows as u64);
            let (logits, grads) = case.by_autograd();
            for unique in [false, true] {
                let (fused_logits, fused_grads) = case.by_fused(unique);
                assert_close("logits", &fused_logits, &logits);
                for ((name, got), (_, want)) in fused_grads.iter().zip(&grads) {
                    assert_close(&format!("config {index}, {rows} rows, {name}"), got, want);
                }
            }
        }
    }
}

#[test]
fn an_empty_batch_has_a_gradient_of_zero() {
    let case = Case::new(&configs()[0], 0, 3);
    let (logits, grads) = case.by_fused(true);
    assert!(logits.is_empty());
    assert!(grads.iter().all(|(_, grad)| grad.iter().all(|g| *g == 0.0)));
}

#[test]
fn values_agree_with_the_reference() {
    for (index, config) in configs().into_iter().enumerate() {
        let case = Case::new(&config, 40, 50 + index as u64);
        let fused = FusedPolicy::new(&config, case.policy.parameters()).unwrap();
        let mut x = SparseRows::new(config.inputs());
        case.observations.chunks_exact(config.inputs()).for_each(|row| x.push_dense(row));
        let dense = Tensor::from_vec(case.observations.clone(), (40, config.inputs()), &Device::Cpu).unwrap();
        let want = case.policy.value(&dense).unwrap().to_vec1::<f32>().unwrap();
        assert_close("of observations in full", &fused.values_of(&case.observations), &want);
        for steering in [Steering::Mixture, Steering::Expert(0)] {
            let mut activations = Activations::new(&config);
            for part in [0..13, 13..40] {
                let listed: Vec<u32> = part.collect();
                fused.forward(&x, &listed, steering, &mut activations).unwrap();
            }
            let values: Vec<f32> = (0..40).map(|row| activations.value(row)).collect();
            assert_close(&format!("config {index}, {steering:?}"), &values, &want);
        }
        assert!(fused.values_of(&[]).is_empty());
    }
}

#[test]
fn steering_agrees_with_the_reference() {
    let case = Case::new(&PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4), 40, 9);
    let config = case.policy.config();
    let fused = FusedPolicy::new(config, case.policy.parameters()).unwrap();
    let mut x = SparseRows::new(config.inputs());
    case.observations.chunks_exact(config.inputs()).for_each(|row| x.push_dense(row));
    let listed: Vec<u32> = (0..40).collect();
    let dense = Tensor::from_vec(case.observations.clone(), (40, config.inputs()), &Device::Cpu).unwrap();
    for steering in [Steering::Mixture, Steering::Expert(0), Steering::Expert(1)] {
        let mut activations = Activations::new(config);
        fused.forward(&x, &listed, steering, &mut activations).unwrap();
        let want = case.policy.forward(&dense, steering).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let got: Vec<f32> = (0..40).flat_map(|row| activations.logits(row).to_vec()).collect();
        assert_close("logits", &got, &flat(&want.logits));
        let gate: Vec<f32> = (0..40).flat_map(|row| activations.gate(row).to_vec()).collect();
        assert_close("gate", &gate, &flat(&want.gate));
    }
    let mut activations = Activations::new(config);
    let error = fused.forward(&x, &listed, Steering::Expert(2), &mut activations).unwrap_err().to_string();
    assert_eq!(error, "cannot steer to expert 2: the policy has 2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Rows appended step by step, as a rollout does, give the values of one batch.
    #[test]
    fn appending_rows_equals_one_batch(cut in 1usize..39, seed in 0u64..1000) {
        let case = Case::new(&configs()[0], 40, seed);
        let config = case.policy.config();
        let fused = FusedPolicy::new(config, case.policy.parameters()).unwrap();
        let mut x = SparseRows::new(config.inputs());
        case.observations.chunks_exact(config.inputs()).for_each(|row| x.push_dense(row));
        let listed: Vec<u32> = (0..40).collect();
        let (mut whole, mut parts) = (Activations::new(config), Activations::new(config));
        fused.forward(&x, &listed, Steering::Mixture, &mut whole).unwrap();
        fused.forward(&x, &listed[..cut], Steering::Mixture, &mut parts).unwrap();
        fused.forward(&x, &listed[cut..], Steering::Mixture, &mut parts).unwrap();
        for row in 0..40 {
            for (a, b) in whole.logits(row).iter().zip(parts.logits(row)) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }
    }
}
