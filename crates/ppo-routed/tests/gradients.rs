//! The gradients of the routed losses, by autograd with masks and on the fused path, against the formulation they
//! stand for: a forward pass for each route, detached as it says, in plain candle operations.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use envs::{EnvConfig, EnvError, EnvId, VectorEnv};
use policies::fused::{FusedPolicy, UniqueRows};
use policies::{Gate, GateConv, Policy, PolicyConfig, Steering};
use ppo_routed::learner::{
    Batch, FusedLearner, LossWeights, Losses, PolicyLoss, RolloutLoss, reference_gradient,
};
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Config, Label, Method, Samples, Supervision};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

#[path = "common/ring.rs"]
mod ring;

use ring::Ring;

/// The largest difference of a parameter's gradient, as a share of its norm: ‖a − b‖ / ‖b‖.
const TOLERANCE: f64 = 1e-5;

const WEIGHTS: LossWeights = LossWeights { ent_coef: 0.1, vf_coef: 0.5, gate_coef: 0.3 };

const PPO: PolicyLoss = PolicyLoss::Ppo { clip_coef: 0.2, clip_vloss: false };
const PPO_CLIPPED_VALUE: PolicyLoss = PolicyLoss::Ppo { clip_coef: 0.2, clip_vloss: true };

/// The labels that the samples of a batch may have. `NOTHING` and `UNSEEN` both go to all experts.
fn mixes(kinds: usize) -> Vec<(String, Vec<Label>)> {
    let unrouted = [Label::NOTHING, Label::UNSEEN];
    let of = |kinds: &mut dyn Iterator<Item = usize>| -> Vec<Label> {
        kinds.map(|kind| Label::of_kind(kind as u8)).collect()
    };
    let mut mixes = vec![
        ("no kind".to_owned(), unrouted.to_vec()),
        ("kinds alone".to_owned(), of(&mut (0..kinds))),
        ("everything".to_owned(), Label::all(kinds).collect()),
        ("nothing reached".to_owned(), vec![Label::NOTHING]),
        ("nobody saw anything".to_owned(), vec![Label::UNSEEN]),
    ];
    for kind in 0..kinds {
        mixes.push((format!("kind {kind} alone"), of(&mut std::iter::once(kind))));
        let others = of(&mut (0..kinds).filter(|other| *other != kind));
        mixes.push((format!("no kind {kind}"), [&unrouted[..], &others].concat()));
    }
    mixes
}

/// The environments of a case: the gridworld for its two kinds, else a ring.
fn make_env(kinds: usize, first_env: usize, num_envs: usize) -> Result<Box<dyn VectorEnv>, EnvError> {
    if kinds != 2 {
        return Ring::maker(kinds, 0.5)(first_env, num_envs);
    }
    let config = EnvConfig { rows: 3, cols: 3, max_steps: 7, ..EnvConfig::for_id(EnvId::OversightGridV0) };
    envs::maker(&config)(first_env, num_envs)
}

/// A rollout with the signals of a gradient step.
struct Case {
    supervision: Supervision,
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
    /// A rollout of a random policy in a small world, where observations repeat, in `parts` shards.
    fn new(method: Method, kinds: usize, parts: usize, seed: u64) -> Self {
        Self::with_sizes(method, kinds, parts, seed, |config| PolicyConfig {
            hidden: vec![24, 16],
            value_hidden: vec![12, 8],
            ..config
        })
    }

    fn with_sizes(
        method: Method,
        kinds: usize,
        parts: usize,
        seed: u64,
        sized: impl Fn(PolicyConfig) -> PolicyConfig,
    ) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let env = make_env(kinds, 0, 1).unwrap();
        let supervision = Supervision::new(method, env.kinds()).unwrap();
        let mut settings = Config::default();
        settings.train.gate_conv = GateConv::Random;
        let config =
            supervision.policy_config(env.single_observation_space(), env.single_action_space(), &settings);
        let config = sized(config.unwrap());
        let policy = Policy::new(config, &mut rng, &Device::Cpu).unwrap();
        shift(&policy, 0.2, &mut rng);
        let seeds = RolloutSeeds { env: seed, action: seed + 1 };
        let mut parts = Shard::split(|first, n| make_env(kinds, first, n), 24, 8, parts, seeds).unwrap();
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
        Self { supervision, policy, parts, caches, samples, unique, advantages, targets, rng }
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
            let mut observation = vec![0.0; self.unique.rows().width()];
            self.unique.rows().write_dense(self.samples.rows[i] as usize, &mut observation);
            self.samples.values[i] = fused.values_of(&observation)[0] + self.rng.random_range(-0.4f32..0.4);
        }
        self.targets = self.samples.values.iter().map(|v| v + self.rng.random_range(-0.4f32..0.8)).collect();
    }

    fn batch<'a>(&'a self, policy_loss: PolicyLoss, indices: &'a [u32], advantages: &'a [f32]) -> Batch<'a> {
        Batch {
            routes: self.supervision.routes(),
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

/// The only expert that a forward pass trains, everything else of the mixture being detached, or all but a leak of its
/// gradient; `None` detaches nothing.
type Pass = Option<usize>;

/// A copy of a policy in f64, so that the rounding found is that of the gradients under test.
struct Naive {
    method: Method,
    kinds: usize,
    config: PolicyConfig,
    vars: BTreeMap<String, Var>,
}

/// Gradients by name, and losses.
type NaiveGradient = (BTreeMap<String, Vec<f64>>, Losses);

impl Naive {
    fn new(case: &Case) -> Self {
        let policy = &case.policy;
        let wide = |var: &Var| Var::from_tensor(&var.to_dtype(DType::F64).unwrap()).unwrap();
        let parameters = policy.parameters().iter();
        Self {
            method: case.supervision.method(),
            kinds: case.supervision.kinds().len(),
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

    /// Γ: the softmax of the gate's logits and a 0 for the last expert, or equal parts.
    fn gamma(&self, x: &Tensor) -> Tensor {
        let (n, experts) = (x.dim(0).unwrap(), self.config.experts.len());
        if self.config.gate == Gate::Constant {
            return Tensor::full(1.0 / experts as f64, (n, experts), &Device::Cpu).unwrap();
        }
        let seen =
            if self.config.gate_conv == GateConv::None { x.clone() } else { self.conv("gate.conv", x) };
        let hidden = self.mlp("gate", seen);
        let logits = self.linear(&format!("gate.{}", self.config.hidden.len()), &hidden);
        let last = Tensor::zeros((n, 1), DType::F64, &Device::Cpu).unwrap();
        let odds = Tensor::cat(&[&logits, &last], 1).unwrap().exp().unwrap();
        odds.broadcast_div(&odds.sum_keepdim(1).unwrap()).unwrap()
    }

    fn value(&self, x: &Tensor) -> Tensor {
        let layers = 0..=self.config.value_hidden.len();
        let x = self.conv("value.conv", x);
        let net = layers.fold(x, |x, layer| {
            let x = if self.config.value_relu && layer > 0 { x.relu().unwrap() } else { x };
            self.linear(&format!("value.{layer}"), &x)
        });
        net.squeeze(1).unwrap()
    }

    /// The values of `x` with the share of its gradient that a route leaves to what it does not name.
    fn kept_back(&self, x: &Tensor) -> Tensor {
        if self.method.name() == "leaky_routing" {
            return ((x * 0.25).unwrap() + (x.detach() * 0.75).unwrap()).unwrap();
        }
        x.detach()
    }

    /// The log-probabilities of all actions with the gradients of a pass.
    fn log_probs(&self, x: &Tensor, pass: Pass) -> Tensor {
        let mut gamma = self.gamma(x);
        if pass.is_some() {
            gamma = self.kept_back(&gamma);
        }
        let parts = self.config.experts.iter().enumerate().map(|(expert, name)| {
            let mut hidden = self.mlp(&format!("experts.{name}"), x.clone());
            if pass.is_some_and(|trained| trained != expert) {
                hidden = self.kept_back(&hidden);
            }
            hidden.broadcast_mul(&gamma.narrow(1, expert, 1).unwrap()).unwrap()
        });
        let mixed = parts.reduce(|sum, part| (sum + part).unwrap()).unwrap();
        let logits = self.linear("head", &mixed);
        let sum = logits.exp().unwrap().sum_keepdim(D::Minus1).unwrap();
        logits.broadcast_sub(&sum.log().unwrap()).unwrap()
    }

    /// The gradient of a batch's loss by a forward pass for each route, of which each sample takes its own.
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
        let (mut log_prob, mut entropy) = of_pass(None);
        if matches!(self.method.name(), "routing" | "no_gate" | "leaky_routing") {
            for kind in 0..self.kinds {
                let own = of_pass(Some(kind));
                let seen = is(Label::of_kind(kind as u8));
                log_prob = seen.where_cond(&own.0, &log_prob).unwrap();
                entropy = seen.where_cond(&own.1, &entropy).unwrap();
            }
        }

        // filtering leaves out the episodes whose end nobody saw; the mean stays one over all samples
        let dropped = |i: usize| self.method.name() == "filtering" && samples.labels[i] == Label::UNSEEN;
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

        let kind_of = |k: &u32| samples.labels[batch.indices[*k as usize] as usize].kind();
        let overseen: Vec<u32> = (0..n as u32).filter(|k| kind_of(k).is_some()).collect();
        if self.config.has_gate() && !overseen.is_empty() {
            let count = overseen.len();
            let kinds: Vec<u32> = overseen.iter().filter_map(kind_of).map(|kind| kind as u32).collect();
            let kinds = Tensor::from_vec(kinds, (count, 1), &Device::Cpu).unwrap();
            let overseen = Tensor::from_vec(overseen, count, &Device::Cpu).unwrap();
            let gamma = self.gamma(&x).index_select(&overseen, 0).unwrap();
            // −ln Γ of the expert that the label names
            let right = gamma.gather(&kinds, 1).unwrap();
            let cross_entropy = right.log().unwrap().neg().unwrap().mean_all().unwrap();
            losses.gate = scalar(&cross_entropy);
            total = (total + (cross_entropy * f64::from(WEIGHTS.gate_coef)).unwrap()).unwrap();
        }
        let grads = total.backward().unwrap();
        let flat = |var: &Var| match grads.get(var) {
            Some(grad) => grad.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            None => vec![0.0; var.elem_count()],
        };
        (self.vars.iter().map(|(name, var)| (name.clone(), flat(var))).collect(), losses)
    }
}

// ------------------------------------------------------------------------------------------------ the tests

/// Both gradients of a batch against the naive one.
fn check(case: &Case, learners: &mut [FusedLearner], batch: &Batch<'_>, what: &str) -> Losses {
    let naive = Naive::new(case).gradient(batch);
    let reference = reference_gradient(&case.policy, batch, &Device::Cpu).unwrap();
    case.assert_close(&format!("{what}, autograd"), &reference, &naive);
    for learner in learners {
        let fused = learner.gradient(batch, case.policy.parameters()).unwrap();
        case.assert_close(&format!("{what}, fused"), &fused, &naive);
    }
    naive.1
}

/// Every mix of routes, in a shuffled minibatch, with every loss.
fn check_every_mix(mut case: Case, policy_losses: &[PolicyLoss]) {
    case.age();
    let (method, kinds) = (case.supervision.method(), case.supervision.kinds().len());
    let mut learners: Vec<FusedLearner> = [1, 3]
        .map(|threads| FusedLearner::new(case.policy.config(), case.policy.parameters(), threads).unwrap())
        .into();
    for (mix, labels) in mixes(kinds) {
        case.label(&labels);
        let mut indices: Vec<u32> = (0..case.samples.len() as u32).collect();
        indices.shuffle(&mut case.rng);
        indices.truncate(150);
        let advantages: Vec<f32> = indices.iter().map(|i| case.advantages[*i as usize]).collect();
        for &policy_loss in policy_losses {
            let batch = case.batch(policy_loss, &indices, &advantages);
            let what = format!("{method:?} of {kinds} kinds, {mix}, {policy_loss:?}");
            let losses = check(&case, &mut learners, &batch, &what);
            if policy_loss != PolicyLoss::Reinforce {
                assert!((0.2..0.8).contains(&losses.clipfrac), "the ratios should differ: {losses:?}");
            }
        }
    }
}

/// Two kinds, of the gridworld, and three and four, of the ring.
const KINDS: [usize; 3] = [2, 3, 4];

fn for_every_method(seed: u64, test: impl Fn(Method, usize, u64)) {
    for kinds in KINDS {
        for (index, method) in Method::ALL.into_iter().enumerate() {
            test(method, kinds, seed + index as u64);
        }
    }
}

#[test]
fn every_method_and_mix_of_routes_equals_detached_passes() {
    for_every_method(100, |method, kinds, seed| {
        check_every_mix(Case::new(method, kinds, 1, seed), &[PolicyLoss::Reinforce, PPO]);
    });
}

#[test]
fn so_they_do_with_the_change_of_the_value_clipped() {
    for_every_method(100, |method, kinds, seed| {
        check_every_mix(Case::new(method, kinds, 1, seed), &[PPO_CLIPPED_VALUE]);
    });
}

#[test]
fn the_network_of_the_paper_equals_detached_passes() {
    let case = Case::with_sizes(Method::ROUTING, 2, 1, 200, |config| config);
    check_every_mix(case, &[PolicyLoss::Reinforce, PPO]);
}

/// REINFORCE's gradient from what the rollout left behind, whole or in parts, with threads to spare or not.
#[test]
fn a_gate_without_its_convolution_equals_detached_passes() {
    for gate_conv in [GateConv::Identity, GateConv::None] {
        let sized =
            |config| PolicyConfig { hidden: vec![24, 16], value_hidden: vec![12, 8], gate_conv, ..config };
        check_every_mix(Case::with_sizes(Method::ROUTING, 2, 1, 210, sized), &[PolicyLoss::Reinforce, PPO]);
    }
}

#[test]
fn a_value_net_with_relus_equals_detached_passes() {
    for method in [Method::ROUTING, Method::NAIVE] {
        let sized = |config| PolicyConfig {
            hidden: vec![24, 16],
            value_hidden: vec![12, 8],
            value_relu: true,
            ..config
        };
        check_every_mix(Case::with_sizes(method, 2, 1, 220, sized), &[PolicyLoss::Reinforce, PPO]);
    }
}

#[test]
fn the_gradient_of_a_rollout_equals_detached_passes() {
    for_every_method(300, |method, kinds, seed| {
        for (parts, threads) in [(1, 1), (2, 2), (3, 4)] {
            let mut case = Case::new(method, kinds, parts, seed);
            assert_eq!(case.parts.len(), parts);
            let mut learner =
                FusedLearner::new(case.policy.config(), case.policy.parameters(), threads).unwrap();
            for (mix, labels) in mixes(kinds) {
                case.label(&labels);
                let indices: Vec<u32> = (0..case.samples.len() as u32).collect();
                let batch = case.batch(PolicyLoss::Reinforce, &indices, &case.advantages);
                let routes = case.supervision.routes();
                let loss = RolloutLoss { routes, policy_loss: PolicyLoss::Reinforce, weights: WEIGHTS };
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
                let naive = Naive::new(&case).gradient(&batch);
                let what = format!("{method:?} of {kinds} kinds, {mix}, {parts} parts");
                case.assert_close(&what, &fused, &naive);
            }
        }
    });
}

/// A minibatch of one sample, and of one sample many times.
#[test]
fn one_sample_alone_and_repeated_equals_detached_passes() {
    for kinds in KINDS {
        let mut case = Case::new(Method::ROUTING, kinds, 1, 400);
        case.age();
        let mut learner = FusedLearner::new(case.policy.config(), case.policy.parameters(), 2).unwrap();
        for label in Label::all(kinds).filter(|label| *label != Label::UNSEEN) {
            case.label(&[label]);
            for indices in [vec![17], vec![17; 40]] {
                let advantages = vec![-0.7; indices.len()];
                let batch = case.batch(PPO, &indices, &advantages);
                let what = format!("{label:?} of {kinds} kinds, {} times", indices.len());
                check(&case, std::slice::from_mut(&mut learner), &batch, &what);
            }
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
    for_every_method(500, |method, kinds, seed| {
        let case = Case::new(method, kinds, 1, seed);
        let mut learner = FusedLearner::new(case.policy.config(), case.policy.parameters(), 2).unwrap();
        for policy_loss in [PolicyLoss::Reinforce, PPO, PPO_CLIPPED_VALUE] {
            let batch = case.batch(policy_loss, &[], &[]);
            let gradient = learner.gradient(&batch, case.policy.parameters()).unwrap();
            assert_nothing(&case, &format!("{method:?}"), &gradient);
        }
        let empty = Samples { num_steps: 8, ..Samples::default() };
        let routes = case.supervision.routes();
        let loss = RolloutLoss { routes, policy_loss: PolicyLoss::Reinforce, weights: WEIGHTS };
        let caches = [ForwardCache::new(case.policy.config())];
        let gradient =
            learner.gradient_of_rollout(&[&empty], &caches, &[], &[], &loss, case.policy.parameters());
        assert_nothing(&case, &format!("{method:?}, rollout"), &gradient.unwrap());
    });
}

#[test]
fn an_empty_batch_has_no_gradient_and_no_loss_by_autograd() {
    for_every_method(500, |method, kinds, seed| {
        let case = Case::new(method, kinds, 1, seed);
        for policy_loss in [PolicyLoss::Reinforce, PPO, PPO_CLIPPED_VALUE] {
            let batch = case.batch(policy_loss, &[], &[]);
            let gradient = reference_gradient(&case.policy, &batch, &Device::Cpu).unwrap();
            assert_nothing(&case, &format!("{method:?}"), &gradient);
        }
    });
}
