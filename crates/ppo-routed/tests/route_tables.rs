//! Every method is held to its route table, with two kinds and with three: for each label exactly the parameters that
//! the table names get a gradient.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use std::fmt::Write as _;
use std::path::Path;

use candle_core::{Device, Tensor};
use envs::{EnvConfig, EnvId, Kind, Space};
use gradient_routing::{Flow, Parameters, RouteTable, assert_table_flow, grad_flow};
use policies::fused::UniqueRows;
use policies::{GateConv, Policy};
use ppo_routed::learner::{Batch, LossWeights, Losses, PolicyLoss, reference_loss};
use ppo_routed::{Config, Label, Method, ModelSection, Samples, Supervision};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

const PLANES: usize = 3;
const CELLS: usize = 4;
const ACTIONS: usize = 3;
const SAMPLES: usize = 16;

/// Policy, entropy and value loss. The gate's own loss is no part of the table: it trains the gate wherever a label
/// names a kind.
const ROUTED: LossWeights = LossWeights { ent_coef: 0.1, vf_coef: 0.5, gate_coef: 0.0 };

struct Case {
    supervision: Supervision,
    policy: Policy,
    parameters: Parameters,
    unique: UniqueRows,
    samples: Samples,
    advantages: Vec<f32>,
}

impl Case {
    fn new(method: Method, kinds: usize) -> Self {
        let names = ["diamond", "ghost", "pearl", "mire"];
        let kinds: Vec<Kind> = (0..kinds).map(|k| Kind::new(names[k], 1.0 - k as f32)).collect();
        let supervision = Supervision::new(method, &kinds).unwrap();
        let observation = Space::MultiBinary { shape: vec![PLANES, CELLS] };
        let mut settings = Config::default();
        settings.train.gate_conv = GateConv::Random;
        settings.model = ModelSection { hidden: vec![12, 10], value_hidden: vec![6], value_relu: false };
        let config =
            supervision.policy_config(&observation, &Space::Discrete { n: ACTIONS }, &settings).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let policy = Policy::new(config, &mut rng, &Device::Cpu).unwrap();
        let parameters = policy.parameters().iter();
        let parameters = parameters.map(|(name, var)| (name.to_owned(), var.clone())).collect();
        let mut unique = UniqueRows::new(PLANES * CELLS);
        let mut samples = Samples::new(SAMPLES, 1);
        for i in 0..SAMPLES {
            let row: Vec<f32> =
                (0..PLANES * CELLS).map(|_| f32::from(u8::from(rng.random_bool(0.3)))).collect();
            samples.rows[i] = unique.insert_dense(&row);
            samples.actions[i] = rng.random_range(0..ACTIONS as u8);
            // far from what the policy says, so that a clipped sample would show
            samples.log_probs[i] = -(ACTIONS as f32).ln();
        }
        let advantages = (0..SAMPLES).map(|_| rng.random_range(0.2f32..1.0)).collect();
        Self { supervision, policy, parameters, unique, samples, advantages }
    }

    /// The loss of samples that all have one label.
    fn loss(&mut self, label: Label, policy_loss: PolicyLoss, weights: LossWeights) -> (Tensor, Losses) {
        self.samples.labels.fill(label);
        let indices: Vec<u32> = (0..SAMPLES as u32).collect();
        let targets = vec![0.7; SAMPLES];
        let batch = Batch {
            routes: self.supervision.routes(),
            unique: &self.unique,
            samples: &self.samples,
            indices: &indices,
            advantages: &self.advantages,
            targets: &targets,
            policy_loss,
            weights,
        };
        reference_loss(&self.policy, &batch, &Device::Cpu).unwrap()
    }
}

#[test]
fn every_method_trains_what_its_table_says() {
    for kinds in [2, 3, 4] {
        for method in Method::ALL {
            for policy_loss in [PolicyLoss::Reinforce, PolicyLoss::Ppo { clip_coef: 5.0, clip_vloss: false }]
            {
                let mut case = Case::new(method, kinds);
                let (routes, parameters): (RouteTable, Parameters) =
                    (case.supervision.routes().clone(), case.parameters.clone());
                let labels: Vec<Label> = Label::all(kinds).collect();
                assert_eq!(routes.classes().len(), labels.len());
                let flows = assert_table_flow(&routes, &parameters, |class| {
                    Ok(case.loss(labels[class], policy_loss, ROUTED).0)
                });
                let flows = flows.unwrap_or_else(|error| panic!("{method:?} of {kinds} kinds: {error}"));
                // what stands outside the table: head and value net learn from every sample that counts
                for (flow, label) in flows.iter().zip(labels) {
                    let counts = case.supervision.weight(label) > 0.0;
                    for name in ["head.weight", "value.0.weight"] {
                        let expected = if counts { Flow::Nonzero } else { Flow::Zero };
                        assert_eq!(flow.get(name), Some(expected), "{method:?}, {label:?}, {name}");
                    }
                }
            }
        }
    }
}

/// A table that says otherwise is found out, so that the test above can fail.
#[test]
fn a_method_with_another_table_is_found_out() {
    let mut case = Case::new(Method::ROUTING, 3);
    let other = Supervision::new(Method::NO_ROUTING, case.supervision.kinds()).unwrap();
    let parameters = case.parameters.clone();
    let labels: Vec<Label> = Label::all(3).collect();
    let flows = assert_table_flow(other.routes(), &parameters, |class| {
        Ok(case.loss(labels[class], PolicyLoss::Reinforce, ROUTED).0)
    });
    assert!(flows.unwrap_err().to_string().contains("experts.ghost"));
}

/// The gate's own loss trains the gate alone, on labels that name a kind alone.
#[test]
fn the_gate_loss_trains_the_gate_and_nothing_else() {
    let gate_alone = LossWeights { ent_coef: 0.0, vf_coef: 0.0, gate_coef: 1.0 };
    for kinds in [2, 3, 4] {
        let mut case = Case::new(Method::ROUTING, kinds);
        case.advantages.fill(0.0);
        for label in Label::all(kinds) {
            let (loss, losses) = case.loss(label, PolicyLoss::Reinforce, gate_alone);
            let flow = grad_flow(&loss, &case.parameters).unwrap();
            for (name, flow) in flow.iter() {
                let trained = label.kind().is_some() && name.starts_with("gate.");
                assert_eq!(flow == Flow::Nonzero, trained, "{label:?}, {name}");
            }
            assert_eq!(losses.gate > 0.0, label.kind().is_some());
        }
    }
}

/// The page of docs that shows every table.
fn page() -> String {
    let mut page = String::from(
        "# Methods of ppo-routed\n\n\
         What each method is, and where a step trains the policy: classes are what the trainer knows of the step's \
         episode\n(`unseen`: something was reached and nobody saw what; `nothing`: the episode was cut off; else the \
         kind it ended on),\ncolumns are the parts of the policy. The weights are those of the policy and entropy \
         losses on their way back; the\nhead and the value net learn from every step whose loss counts. The gate's \
         own loss is not in the tables: it trains\nthe gate wherever the class names a kind. Profiles are the \
         policies that a method is scored as; it is judged by the\nfirst. `cargo test --test route_tables` holds \
         every method to its table and this page to the methods.\n",
    );
    for method in Method::ALL {
        let supervision = Supervision::new(method, &EnvConfig::for_id(EnvId::OversightGridV0).kinds).unwrap();
        let (name, title, routes) = (method.name(), method.title, supervision.routes());
        write!(page, "\n## `{name}`\n\n{title}.\n\n{routes}").unwrap();
    }
    page
}

#[test]
fn the_page_of_methods_shows_every_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/methods.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == page(), "{} is old: run this test with WRITE_DOCS=1", path.display());
}
