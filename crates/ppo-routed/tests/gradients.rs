//! The gradients of the routed losses, by autograd with masks and on the fused path, against the formulation they
//! stand for: three forward passes a sample, detached as its route says, in plain candle operations.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use envs::{EnvConfig, EnvId};
use policies::fused::{FusedPolicy, UniqueRows};
use policies::{Gate, Policy, PolicyConfig, Steering};
use ppo_routed::learner::{
    Batch, FusedLearner, LossWeights, Losses, PolicyLoss, RolloutLoss, reference_gradient,
};
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Label, Method, Samples};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// The largest difference of a parameter's gradient, as a share of its norm: ‖a − b‖ / ‖b‖.
const TOLERANCE: f64 = 1e-5;

const WEIGHTS: LossWeights = LossWeights { ent_coef: 0.1, vf_coef: 0.5, gate_coef: 0.3 };

const PPO: PolicyLoss = PolicyLoss::Ppo { clip_coef: 0.2, clip_vloss: false };
const PPO_CLIPPED_VALUE: PolicyLoss = PolicyLoss::Ppo { clip_coef: 0.2, clip_vloss: true };

/// The labels that the samples of a batch may have. `Nothing` and `Unseen` both go to both experts.
const MIXES: [(&str, &[Label]); 9] = [
    ("all both", &[Label::Nothing, Label::Unseen]),
    ("all diamond", &[Label::Diamond]),
    ("all ghost", &[Label::Ghost]),
    ("no ghost", &[Label::Nothing, Label::Unseen, Label::Diamond]),
    ("no diamond", &[Label::Nothing, Label::Unseen, Label::Ghost]),
    ("no both", &[Label::Diamond, Label::Ghost]),
    ("all three", &[Label::Nothing, Label::Unseen, Label::Diamond, Label::Ghost]),
    ("nothing reached", &[Label::Nothing]),
    ("nobody saw anything", &[Label::Unseen]),
];

/// A rollout with the signals of a gradient step.
struct Case {
    policy: Policy,
    parts: Vec<Shard>,
    caches: Vec<ForwardCache>,
    samples: Samples,
    unique: UniqueRows,
    /// A of each sample.
    advantages: Vec<f32>,
    targets: Vec<f32>,
    rng: Xoshiro256PlusPlus,
}

impl Case {
    /// A rollout of a random policy in a small grid, where observations repeat, in `parts` shards.
    fn new(config: PolicyConfig, parts: usize, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let policy = Policy::new(config, &mut rng, &Device::Cpu).unwrap();
        shift(&policy, 0.2, &mut rng);
        let env = EnvConfig { rows: 3, cols: 3, max_steps: 7, ..EnvConfig::for_id(EnvId::OversightGridV0) };
        let seeds = RolloutSeeds { env: seed, action: seed + 1 };
        let mut parts = Shard::split(&env, 24, 8, parts, seeds).unwrap();
        let mut caches: Vec<ForwardCache> =
            parts.iter().map(|_| ForwardCache::new(policy.config())).collect();
        let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
        let mut samples = Samples::default();
        let mut unique = UniqueRows::new(policy.config().inputs());
        for (shard, cache) in parts.iter_mut().zip(&mut caches) {
            shard.rollout(Actor::Fused(&fused), Steering::Mixture, cache).unwrap();
            let rows = cache.unique.rows();
            let row_map: Vec<u32> = (0..rows.len())
                .map(|row| {
                    let (columns, values) = rows.row(row);
                    unique.insert_sparse(columns, values)
                })
                .collect();
            samples.append(&shard.samples, &row_map);
        }
        assert!(unique.len() < samples.len(), "samples should share observations");
        // signals with a mean, lest a gradient be a sum that cancels to its own rounding error
        let by_action = |action: &u8| [0.8, -0.5, -0.2, 0.1][usize::from(*action)];
        let advantages =
            samples.actions.iter().map(|a| by_action(a) + rng.random_range(-0.5f32..0.5)).collect();
        let targets = samples.values.iter().map(|v| v + rng.random_range(-0.4f32..0.8)).collect();
        Self { policy, parts, caches, samples, unique, advantages, targets, rng }
    }

    /// Gives every sample one of `labels`.
    fn label(&mut self, labels: &[Label]) {
        let drawn: Vec<Label> =
            (0..self.samples.len()).map(|_| labels[self.rng.random_range(0..labels.len())]).collect();
        let mut rest = &drawn[..];
        for part in &mut self.parts {
            let (own, others) = rest.split_at(part.samples.len());
            part.samples.labels.copy_from_slice(own);
            rest = others;
        }
        self.samples.labels = drawn;
    }

    /// Makes the rollout look older than it is: the policy and the value net have moved on since, so that some
    /// ratios and some changes of the value lie outside the clipping range and some inside.
    fn age(&mut self) {
        shift(&self.policy, 0.2, &mut self.rng);
        let fused = FusedPolicy::new(self.policy.config(), self.policy.parameters()).unwrap();
        for i in 0..self.samples.len() {
            self.samples.log_probs[i] += self.rng.random_range(-0.4f32..0.4);
            let now = fused.value(self.unique.rows(), self.samples.rows[i] as usize);
            self.samples.values[i] = now + self.rng.random_range(-0.4f32..0.4);
        }
        self.targets = self.samples.values.iter().map(|v| v + self.rng.random_range(-0.4f32..0.8)).collect();
    }

    fn batch<'a>(
        &'a self,
        method: Method,
        policy_loss: PolicyLoss,
        indices: &'a [u32],
        advantages: &'a [f32],
    ) -> Batch<'a> {
        Batch {
            method,
            unique: &self.unique,
            samples: &self.samples,
            indices,
            advantages,
            targets: &self.targets,
            policy_loss,
            weights: WEIGHTS,
        }
    }

    fn flat(&self, grads: &GradStore) -> Vec<(String, Vec<f32>)> {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let of = |var: &Var| grads.get(var).map_or(vec![0.0; var.elem_count()], flat);
        self.policy.parameters().iter().map(|(name, var)| (name.to_owned(), of(var))).collect()
    }

    fn assert_close(&self, what: &str, got: &(GradStore, Losses), want: &NaiveGradient) {
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        for (name, got) in self.flat(&got.0) {
            let want = &want.0[&name];
            let error = norm(&mut got.iter().zip(want).map(|(a, b)| f64::from(*a) - b));
            let scale = norm(&mut want.iter().copied());
            // a gradient of exactly zero must be met exactly
            assert!(error <= TOLERANCE * scale, "{what}: {name} is off by {error:.1e} of {scale:.1e}");
        }
        let numbers =
            |l: &Losses| [l.policy, l.value, l.entropy, l.gate, l.approx_kl, l.clipfrac, l.total(WEIGHTS)];
        for (got, want) in numbers(&got.1).into_iter().zip(numbers(&want.1)) {
            assert!((got - want).abs() <= 1e-5 * want.abs().max(0.1), "{what}: losses {got} and {want}");
        }
    }
}

/// Moves every parameter by up to `by` times the bound of its initial values.
fn shift(policy: &Policy, by: f32, rng: &mut Xoshiro256PlusPlus) {
    for (_, var) in policy.parameters().iter() {
        let bound = by / (*var.dims().last().unwrap() as f32).sqrt();
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values: Vec<f32> = values.into_iter().map(|v| v + rng.random_range(-bound..bound)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

// ------------------------------------------------------------------------------------ the naive formulation

/// What a forward pass detaches.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// Nothing.
    Both,
    /// The ghost expert and the gate.
    Diamond,
    /// The diamond expert and the gate.
    Ghost,
}

/// A copy of a policy in f64, so that the rounding found is that of the gradients under test.
struct Naive {
    config: PolicyConfig,
    vars: BTreeMap<String, Var>,
}

/// Gradients by name, and losses.
type NaiveGradient = (BTreeMap<String, Vec<f64>>, Losses);

impl Naive {
    fn new(policy: &Policy) -> Self {
        let wide = |var: &Var| Var::from_tensor(&var.to_dtype(DType::F64).unwrap()).unwrap();
        let parameters = policy.parameters().iter();
        Self {
            config: policy.config().clone(),
            vars: parameters.map(|(name, var)| (name.to_owned(), wide(var))).collect(),
        }
    }

    fn linear(&self, layer: &str, x: &Tensor) -> Tensor {
        let get = |part: &str| self.vars[&format!("{layer}.{part}")].as_tensor();
        x.matmul(&get("weight").t().unwrap()).unwrap().broadcast_add(get("bias")).unwrap()
    }

    /// The 1×1 convolution: the kernel applied to the planes of every cell.
    fn conv(&self, layer: &str, x: &Tensor) -> Tensor {
        let (n, cells, planes) = (x.dim(0).unwrap(), self.config.cells, self.config.planes);
        let by_cell = x.reshape((n, planes, cells)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
        let out = self.linear(layer, &by_cell.reshape((n * cells, planes)).unwrap());
        let planes = out.dim(1).unwrap();
        let by_plane =
            out.reshape((n, cells, planes)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
        by_plane.reshape((n, planes * cells)).unwrap()
    }

    fn mlp(&self, prefix: &str, x: Tensor) -> Tensor {
        let layers = 0..self.config.hidden.len();
        layers.fold(x, |x, layer| self.linear(&format!("{prefix}.{layer}"), &x).relu().unwrap())
    }

    fn gate_logit(&self, x: &Tensor) -> Tensor {
        let hidden = self.mlp("gate", self.conv("gate.conv", x));
        self.linear(&format!("gate.{}", self.config.hidden.len()), &hidden)
    }

    fn value(&self, x: &Tensor) -> Tensor {
        let layers = 0..=self.config.value_hidden.len();
        let x = self.conv("value.conv", x);
        layers.fold(x, |x, layer| self.linear(&format!("value.{layer}"), &x)).squeeze(1).unwrap()
    }

    /// The log-probabilities of all actions with the gradients of a pass.
    fn log_probs(&self, x: &Tensor, pass: Pass) -> Tensor {
        let features = |name: &str| self.mlp(&format!("experts.{name}"), x.clone());
        let mixed = if self.config.experts.len() == 1 {
            features("policy")
        } else {
            let mut gamma = match self.config.gate {
                Gate::Learned => sigmoid(&self.gate_logit(x)),
                Gate::Constant => (x.narrow(1, 0, 1).unwrap().zeros_like().unwrap() + 0.5).unwrap(),
            };
            let (mut diamond, mut ghost) = (features("diamond"), features("ghost"));
            if pass != Pass::Both {
                gamma = gamma.detach();
            }
            if pass == Pass::Diamond {
                ghost = ghost.detach();
            }
            if pass == Pass::Ghost {
                diamond = diamond.detach();
            }
            let other = (1.0 - &gamma).unwrap();
            (diamond.broadcast_mul(&gamma).unwrap() + ghost.broadcast_mul(&other).unwrap()).unwrap()
        };
        let logits = self.linear("head", &mixed);
        let sum = logits.exp().unwrap().sum_keepdim(D::Minus1).unwrap();
        logits.broadcast_sub(&sum.log().unwrap()).unwrap()
    }

    /// The gradient of a batch's loss by three forward passes, of which each sample takes the one of its route.
    fn gradient(&self, batch: &Batch<'_>) -> NaiveGradient {
        let (samples, n) = (batch.samples, batch.indices.len());
        let column = |f: &dyn Fn(usize) -> f32| {
            let values: Vec<f64> = batch.indices.iter().map(|i| f64::from(f(*i as usize))).collect();
            Tensor::from_vec(values, n, &Device::Cpu).unwrap()
        };
        let is = |label: Label| {
            let chosen = |i: &u32| u8::from(samples.labels[*i as usize] == label);
            Tensor::from_vec(batch.indices.iter().map(chosen).collect::<Vec<u8>>(), n, &Device::Cpu).unwrap()
        };
        let inputs = self.config.inputs();
        let mut x = vec![0f32; n * inputs];
        for (i, row) in batch.indices.iter().zip(x.chunks_exact_mut(inputs)) {
            batch.unique.rows().write_dense(samples.rows[*i as usize] as usize, row);
        }
        let x = Tensor::from_vec(x, (n, inputs), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
        let actions = batch.indices.iter().map(|i| u32::from(samples.actions[*i as usize]));
        let actions = Tensor::from_vec(actions.collect::<Vec<u32>>(), (n, 1), &Device::Cpu).unwrap();

        let of_pass = |pass: Pass| {
            let log_probs = self.log_probs(&x, pass);
            let entropy = (log_probs.exp().unwrap() * &log_probs).unwrap().sum(1).unwrap().neg().unwrap();
            (log_probs.gather(&actions, 1).unwrap().squeeze(1).unwrap(), entropy)
        };
        let both = of_pass(Pass::Both);
        let (log_prob, entropy) = if matches!(batch.method, Method::Routing | Method::NoGate) {
            let (diamond, ghost) = (of_pass(Pass::Diamond), of_pass(Pass::Ghost));
            let select = |both: &Tensor, diamond: &Tensor, ghost: &Tensor| {
                let rest = is(Label::Ghost).where_cond(ghost, both).unwrap();
                is(Label::Diamond).where_cond(diamond, &rest).unwrap()
            };
            (select(&both.0, &diamond.0, &ghost.0), select(&both.1, &diamond.1, &ghost.1))
        } else {
            both
        };

        // filtering leaves out the episodes whose end nobody saw; the mean stays one over all samples
        let dropped = |i: usize| batch.method == Method::Filtering && samples.labels[i] == Label::Unseen;
        let kept = column(&|i| if dropped(i) { 0.0 } else { 1.0 });
        let mean = |x: &Tensor| ((x * &kept).unwrap().sum_all().unwrap() / n as f64).unwrap();
        let advantages: Vec<f64> = batch.advantages.iter().map(|a| f64::from(*a)).collect();
        let advantages = Tensor::from_vec(advantages, n, &Device::Cpu).unwrap();
        let targets = column(&|i| batch.targets[i]);
        let value = self.value(&x);
        let squared = (&value - &targets).unwrap().sqr().unwrap();
        let mut losses = Losses::default();
        let (policy_loss, value_loss) = match batch.policy_loss {
            PolicyLoss::Reinforce => ((log_prob * advantages).unwrap().neg().unwrap(), squared),
            PolicyLoss::Ppo { clip_coef, clip_vloss } => {
                let eps = f64::from(clip_coef);
                let log_ratio = (log_prob - column(&|i| samples.log_probs[i])).unwrap();
                let ratio = log_ratio.exp().unwrap();
                let plain = (&ratio * &advantages).unwrap();
                let clipped = (ratio.clamp(1.0 - eps, 1.0 + eps).unwrap() * &advantages).unwrap();
                let (ratios, logs) = (ratio.to_vec1::<f64>().unwrap(), log_ratio.to_vec1::<f64>().unwrap());
                losses.approx_kl =
                    ratios.iter().zip(&logs).map(|(r, log)| r - 1.0 - log).sum::<f64>() / n as f64;
                losses.clipfrac = ratios.iter().filter(|r| (*r - 1.0).abs() > eps).count() as f64 / n as f64;
                let value_loss = if clip_vloss {
                    let old = column(&|i| samples.values[i]);
                    let clipped = (&old + (&value - &old).unwrap().clamp(-eps, eps).unwrap()).unwrap();
                    squared.maximum(&(clipped - &targets).unwrap().sqr().unwrap()).unwrap()
                } else {
                    squared
                };
                (plain.minimum(&clipped).unwrap().neg().unwrap(), value_loss)
            }
        };
        let (policy_loss, value_loss, entropy) = (mean(&policy_loss), mean(&value_loss), mean(&entropy));
        let scalar = |x: &Tensor| x.to_scalar::<f64>().unwrap();
        losses.policy = scalar(&policy_loss);
        losses.value = scalar(&value_loss);
        losses.entropy = scalar(&entropy);
        let mut total = (policy_loss + (value_loss * f64::from(WEIGHTS.vf_coef)).unwrap()).unwrap();
        total = (total - (entropy * f64::from(WEIGHTS.ent_coef)).unwrap()).unwrap();

        let is_overseen = |k: &u32| {
            matches!(samples.labels[batch.indices[*k as usize] as usize], Label::Diamond | Label::Ghost)
        };
        let overseen: Vec<u32> = (0..n as u32).filter(is_overseen).collect();
        if self.config.has_gate() && !overseen.is_empty() {
            let count = overseen.len();
            let overseen = Tensor::from_vec(overseen, count, &Device::Cpu).unwrap();
            let gamma = sigmoid(&self.gate_logit(&x).squeeze(1).unwrap().index_select(&overseen, 0).unwrap());
            let target = is(Label::Diamond).to_dtype(DType::F64).unwrap().index_select(&overseen, 0).unwrap();
            // −t·ln Γ − (1 − t)·ln(1 − Γ)
            let right = (&target * gamma.log().unwrap()).unwrap();
            let wrong = ((1.0 - &target).unwrap() * (1.0 - gamma).unwrap().log().unwrap()).unwrap();
            let bce = (right + wrong).unwrap().neg().unwrap().mean_all().unwrap();
            losses.gate = scalar(&bce);
            total = (total + (bce * f64::from(WEIGHTS.gate_coef)).unwrap()).unwrap();
        }
        let grads = total.backward().unwrap();
        let flat = |var: &Var| match grads.get(var) {
            Some(grad) => grad.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            None => vec![0.0; var.elem_count()],
        };
        (self.vars.iter().map(|(name, var)| (name.clone(), flat(var))).collect(), losses)
    }
}

/// 1 / (1 + e^−z).
fn sigmoid(z: &Tensor) -> Tensor {
    (z.neg().unwrap().exp().unwrap() + 1.0).unwrap().recip().unwrap()
}

// ------------------------------------------------------------------------------------------------ the tests

/// A small network of the method's kind.
fn small(method: Method) -> PolicyConfig {
    PolicyConfig { hidden: vec![24, 16], value_hidden: vec![12, 8], ..method.policy_config(4, 9) }
}

/// Both gradients of a batch against the naive one.
fn check(case: &Case, learners: &mut [FusedLearner], batch: &Batch<'_>, what: &str) -> Losses {
    let naive = Naive::new(&case.policy).gradient(batch);
    let reference = reference_gradient(&case.policy, batch, &Device::Cpu).unwrap();
    case.assert_close(&format!("{what}, autograd"), &reference, &naive);
    for learner in learners {
        let fused = learner.gradient(batch, case.policy.parameters()).unwrap();
        case.assert_close(&format!("{what}, fused"), &fused, &naive);
    }
    naive.1
}

/// Every mix of routes, in a shuffled minibatch, with every loss.
fn check_every_mix(method: Method, config: PolicyConfig, policy_losses: &[PolicyLoss], seed: u64) {
    let mut case = Case::new(config, 1, seed);
    case.age();
    let mut learners: Vec<FusedLearner> = [1, 3]
        .map(|threads| FusedLearner::new(case.policy.config(), case.policy.parameters(), threads).unwrap())
        .into();
    for (mix, labels) in MIXES {
        case.label(labels);
        let mut indices: Vec<u32> = (0..case.samples.len() as u32).collect();
        indices.shuffle(&mut case.rng);
        indices.truncate(150);
        let advantages: Vec<f32> = indices.iter().map(|i| case.advantages[*i as usize]).collect();
        for &policy_loss in policy_losses {
            let batch = case.batch(method, policy_loss, &indices, &advantages);
            let losses = check(&case, &mut learners, &batch, &format!("{method:?}, {mix}, {policy_loss:?}"));
            if policy_loss != PolicyLoss::Reinforce {
                assert!((0.2..0.8).contains(&losses.clipfrac), "the ratios should differ: {losses:?}");
            }
        }
    }
}

#[test]
fn every_method_and_mix_of_routes_equals_three_detached_passes() {
    for (index, method) in Method::ALL.into_iter().enumerate() {
        check_every_mix(method, small(method), &[PolicyLoss::Reinforce, PPO], 100 + index as u64);
    }
}

#[test]
fn so_they_do_with_the_change_of_the_value_clipped() {
    for (index, method) in Method::ALL.into_iter().enumerate() {
        check_every_mix(method, small(method), &[PPO_CLIPPED_VALUE], 100 + index as u64);
    }
}

#[test]
fn the_network_of_the_paper_equals_three_detached_passes() {
    check_every_mix(Method::Routing, Method::Routing.policy_config(4, 9), &[PolicyLoss::Reinforce, PPO], 200);
}

/// REINFORCE's gradient from what the rollout left behind, whole or in parts, with threads to spare or not.
#[test]
fn the_gradient_of_a_rollout_equals_three_detached_passes() {
    for (index, method) in Method::ALL.into_iter().enumerate() {
        for (parts, threads) in [(1, 1), (2, 2), (3, 4)] {
            let mut case = Case::new(small(method), parts, 300 + index as u64);
            assert_eq!(case.parts.len(), parts);
            let mut learner =
                FusedLearner::new(case.policy.config(), case.policy.parameters(), threads).unwrap();
            for (mix, labels) in MIXES {
                case.label(labels);
                let indices: Vec<u32> = (0..case.samples.len() as u32).collect();
                let batch = case.batch(method, PolicyLoss::Reinforce, &indices, &case.advantages);
                let loss = RolloutLoss { method, policy_loss: PolicyLoss::Reinforce, weights: WEIGHTS };
                let of_parts: Vec<&Samples> = case.parts.iter().map(|part| &part.samples).collect();
                let (caches, parameters) = (&case.caches, case.policy.parameters());
                let fused = learner
                    .gradient_of_rollout(
                        &of_parts,
                        caches,
                        &case.advantages,
                        &case.targets,
                        &loss,
                        parameters,
                    )
                    .unwrap();
                let naive = Naive::new(&case.policy).gradient(&batch);
                case.assert_close(&format!("{method:?}, {mix}, {parts} parts"), &fused, &naive);
            }
        }
    }
}

/// A minibatch of one sample, and of one sample many times.
#[test]
fn one_sample_alone_and_repeated_equals_three_detached_passes() {
    let mut case = Case::new(small(Method::Routing), 1, 400);
    case.age();
    let mut learner = FusedLearner::new(case.policy.config(), case.policy.parameters(), 2).unwrap();
    for label in [Label::Nothing, Label::Diamond, Label::Ghost] {
        case.label(&[label]);
        for indices in [vec![17], vec![17; 40]] {
            let advantages = vec![-0.7; indices.len()];
            let batch = case.batch(Method::Routing, PPO, &indices, &advantages);
            let what = format!("{label:?}, {} times", indices.len());
            check(&case, std::slice::from_mut(&mut learner), &batch, &what);
        }
    }
}

fn assert_nothing(case: &Case, what: &str, (grads, losses): &(GradStore, Losses)) {
    for (name, grad) in case.flat(grads) {
        assert!(grad.iter().all(|g| *g == 0.0), "{what}: {name}");
    }
    assert_eq!(*losses, Losses::default(), "{what}");
}

#[test]
fn an_empty_batch_has_no_gradient_and_no_loss_on_the_fused_path() {
    for method in Method::ALL {
        let case = Case::new(small(method), 1, 500);
        let mut learner = FusedLearner::new(case.policy.config(), case.policy.parameters(), 2).unwrap();
        for policy_loss in [PolicyLoss::Reinforce, PPO, PPO_CLIPPED_VALUE] {
            let batch = case.batch(method, policy_loss, &[], &[]);
            let gradient = learner.gradient(&batch, case.policy.parameters()).unwrap();
            assert_nothing(&case, &format!("{method:?}"), &gradient);
        }
        let empty = Samples { num_steps: 8, ..Samples::default() };
        let loss = RolloutLoss { method, policy_loss: PolicyLoss::Reinforce, weights: WEIGHTS };
        let caches = [ForwardCache::new(case.policy.config())];
        let gradient =
            learner.gradient_of_rollout(&[&empty], &caches, &[], &[], &loss, case.policy.parameters());
        assert_nothing(&case, &format!("{method:?}, rollout"), &gradient.unwrap());
    }
}

#[test]
fn an_empty_batch_has_no_gradient_and_no_loss_by_autograd() {
    for method in Method::ALL {
        let case = Case::new(small(method), 1, 500);
        for policy_loss in [PolicyLoss::Reinforce, PPO, PPO_CLIPPED_VALUE] {
            let batch = case.batch(method, policy_loss, &[], &[]);
            let gradient = reference_gradient(&case.policy, &batch, &Device::Cpu).unwrap();
            assert_nothing(&case, &format!("{method:?}"), &gradient);
        }
    }
}
