//! Steps on one class: exactly which numbers move, and which stay as they are to the bit, on both paths.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::Semantics;
use learning::{Adam, AdamConfig, Moves, Parameters, WeightDecay};
use lm_routed::methods::Method;
use lm_routed::routing::{Routes, StepMasks};
use lm_routed::{ConceptSection, Config, StepSemantics};
use transformer::{
    Architecture, Backend, Batch, HookPoint, Hooks, Model, Network, Submodels, expanded, initial,
};

const TOKENS: usize = 6;

fn config() -> Config {
    let concept = |name: &str| ConceptSection::of_words(name, vec![name.to_owned()]);
    let mut config = Config { concept: vec![concept("sea"), concept("birds")], ..Config::default() };
    (config.model.n_layer, config.model.n_head, config.model.n_embd) = (2, 2, 8);
    (config.model.d_mlp, config.model.block_size) = (12, TOKENS);
    config.routing.layers = vec![1];
    (config.sgtm.neurons, config.sgtm.heads) = (5, 1);
    config.gram.neurons = 3;
    // else the first gradient of a module's input weights is zero
    config.gram.silent = false;
    config
}

fn routes(method: &str, config: &Config) -> Routes {
    (Method::named(method).unwrap().routes)(config).unwrap()
}

fn batch() -> Batch {
    let documents: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7], &[9, 8, 7]];
    Batch::new(documents, TOKENS, 0)
}

fn parameters(config: &Config, routes: &Routes) -> (Architecture, Parameters) {
    let base = config.architecture(20);
    let wide = base.expanded(&routes.layers, routes.added);
    let streams = SeedStreams::new(3);
    let small = initial(&base, &mut streams.stream("init"), &Device::Cpu).unwrap();
    let mut extra = streams.stream("init.extra");
    (wide.clone(), expanded(&small, &base, &wide, routes.silent, &mut extra).unwrap())
}

/// A model that has made a step with everything, so that its moments would move what a later step does not train.
fn model(config: &Config, routes: &Routes, backend: Backend) -> (Model, Adam, StepMasks) {
    let (architecture, parameters) = parameters(config, routes);
    let masks = StepMasks::new(routes, &architecture).unwrap();
    let adam = AdamConfig { weight_decay: WeightDecay::Decoupled(0.1), ..AdamConfig::default() };
    let mut adam = Adam::with_partitions(&parameters, adam, &masks.partitions).unwrap();
    let mut model = Model::new(&architecture, parameters, TOKENS, 2, backend).unwrap();
    model.gradient(&batch(), &Hooks::default()).unwrap();
    model.step_parts(&mut adam, 1e-2, 1.0, &Moves::new(), Semantics::Frozen).unwrap();
    (model, adam, masks)
}

/// The group of every element of a parameter, worked out from its name alone.
fn groups(name: &str, shape: &[usize], routes: &Routes) -> Vec<usize> {
    let shared = routes.table.groups().iter().position(|group| group.owns(name));
    let routed = routes.layers.iter().any(|layer| name.starts_with(&format!("blocks.{layer}.")));
    let of = |point: HookPoint| -> Vec<usize> {
        let channels = routes.channels_at(point);
        channels.iter().enumerate().flat_map(|(group, count)| vec![group; *count]).collect()
    };
    let (neurons, heads) = (of(HookPoint::MlpPost), of(HookPoint::AttnZ));
    let leaf = name.rsplit('.').next().unwrap();
    let channels = match leaf {
        "W_in" | "b_in" | "W_out" if routed => neurons,
        "W_QKV" | "b_QKV" if routed && !heads.is_empty() => heads.repeat(3),
        "W_O" if routed && !heads.is_empty() => heads,
        _ => return vec![shared.unwrap_or(0); shape.iter().product()],
    };
    match (leaf, shape) {
        // rows are channels
        ("W_out" | "W_O", [_, width]) => channels.iter().flat_map(|group| vec![*group; *width]).collect(),
        (_, [rows, _]) => channels.repeat(*rows),
        _ => channels,
    }
}

fn bits(values: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<u32>> {
    let of = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.iter().map(|(name, t)| (name.clone(), of(t).into_iter().map(f32::to_bits).collect())).collect()
}

/// Takes a step on every class of a method and compares, group by group, what has moved with the table.
fn assert_moves(method: &str, config: &Config, backend: Backend) {
    let routes = routes(method, config);
    for class in 0..routes.table.classes().len() {
        let what = format!("{method}, {}, {backend:?}", routes.table.classes()[class].name);
        let (mut model, mut adam, masks) = model(config, &routes, backend);
        let before = bits(&model.parameters().snapshot().unwrap());
        let moments = adam.state().unwrap();
        model.gradient(&batch(), &routes.forward_hooks(class)).unwrap();
        model.step_parts(&mut adam, 1e-2, 1.0, &masks.trained[class], masks.semantics).unwrap();
        let after = bits(&model.parameters().snapshot().unwrap());
        let moments_after = adam.state().unwrap();
        for (name, shape) in model.architecture().parameters() {
            let groups = groups(&name, &shape, &routes);
            for group in 0..routes.table.groups().len() {
                let of_group = |values: &[u32]| -> Vec<u32> {
                    values.iter().zip(&groups).filter(|(_, g)| **g == group).map(|(v, _)| *v).collect()
                };
                let (old, new) = (of_group(&before[&name]), of_group(&after[&name]));
                if old.is_empty() {
                    continue;
                }
                let trains = routes.table.gradient(class)[group] != 0.0;
                assert_eq!(old != new, trains, "{what}: group {group} of {name}");
                for kind in ["first", "second"] {
                    let key = format!("{kind}.{name}");
                    let moment = |state: &BTreeMap<String, Tensor>| {
                        of_group(&bits(&BTreeMap::from([(key.clone(), state[&key].clone())]))[&key])
                    };
                    let same = moment(&moments) == moment(&moments_after);
                    assert_eq!(same, !trains, "{what}: {kind} moment of group {group} of {name}");
                }
            }
        }
    }
}

#[test]
fn a_step_moves_the_groups_of_its_class_and_leaves_all_others_to_the_bit() {
    for backend in [Backend::Fused, Backend::Candle] {
        assert_moves("gram", &config(), backend);
        for mask_embeddings in [true, false] {
            let mut config = config();
            config.sgtm.mask_embeddings = mask_embeddings;
            assert_moves("sgtm", &config, backend);
        }
        let mut neurons_only = config();
        neurons_only.sgtm.heads = 0;
        assert_moves("sgtm", &neurons_only, backend);
    }
}

#[test]
fn with_zero_gradients_a_step_moves_what_it_does_not_train() {
    let mut config = config();
    config.sgtm.semantics = StepSemantics::ZeroGradient;
    let routes = routes("sgtm", &config);
    let forget = routes.table.class("forget").unwrap();
    let (mut model, mut adam, masks) = model(&config, &routes, Backend::Fused);
    let before = bits(&model.parameters().snapshot().unwrap());
    model.gradient(&batch(), &routes.forward_hooks(forget)).unwrap();
    model.step_parts(&mut adam, 1e-2, 1.0, &masks.trained[forget], masks.semantics).unwrap();
    let after = bits(&model.parameters().snapshot().unwrap());
    assert!(before.iter().all(|(name, old)| after[name] != *old));
}

#[test]
fn a_step_without_a_mask_is_the_plain_step() {
    let config = config();
    let routes = routes("sgtm", &config);
    let unlabelled = routes.table.class("unlabelled").unwrap();
    let (architecture, _) = parameters(&config, &routes);
    let run = |masked: bool| {
        let (mut model, mut adam, masks) = model(&config, &routes, Backend::Fused);
        assert!(routes.forward_hooks(unlabelled).iter().next().is_none(), "a plain forward pass");
        model.gradient(&batch(), &routes.forward_hooks(unlabelled)).unwrap();
        if masked {
            model.step_parts(&mut adam, 1e-2, 1.0, &masks.trained[unlabelled], masks.semantics).unwrap();
        } else {
            model.step(&mut adam, 1e-2, 1.0).unwrap();
        }
        bits(&model.parameters().snapshot().unwrap())
    };
    assert_eq!(run(true), run(false));
    assert_eq!(architecture, config.architecture(20), "nothing is added");
}

fn logits(network: &Network, hooks: &Hooks) -> Vec<f32> {
    let mut model = network.model(TOKENS, 1, Backend::Fused).unwrap();
    model.logits(&batch(), &[5, 1], hooks).unwrap()
}

fn near(one: &[f32], other: &[f32]) -> bool {
    one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn without_any_module_the_core_is_left_and_every_profile_is_the_pass_with_the_others_off() {
    let config = config();
    let routes = routes("gram", &config);
    let (mut model, mut adam, _) = model(&config, &routes, Backend::Fused);
    model.gradient(&batch(), &Hooks::default()).unwrap();
    model.step_parts(&mut adam, 1e-2, 1.0, &Moves::new(), Semantics::Frozen).unwrap();
    let architecture = model.architecture().clone();
    let network = Network { architecture: architecture.clone(), parameters: model.parameters().clone() };
    let groups = routes.groups(&architecture);
    let whole = logits(&network, &Hooks::default());
    for profile in routes.table.profiles() {
        let kept = network.keeping(&groups, &profile.keep).unwrap();
        let weights = routes.table.profile_weights(&profile.name).unwrap();
        let off = logits(&network, &routes.weighed(&weights));
        assert!(near(&logits(&kept, &Hooks::default()), &off), "{}", profile.name);
        assert_eq!(near(&off, &whole), profile.keep.len() == 3, "{}", profile.name);
    }
    let core = network.keeping(&groups, &[0]).unwrap();
    assert_eq!(core.architecture, config.architecture(20));
    for (name, var) in core.parameters.iter() {
        let whole = network.parameters.get(name).unwrap();
        let first = whole
            .dims()
            .iter()
            .zip(var.dims())
            .enumerate()
            .try_fold(whole.as_detached_tensor(), |tensor, (dim, (_, length))| {
                tensor.narrow(dim, 0, *length)
            });
        let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(var.as_tensor()), numbers(&first.unwrap()), "{name}");
    }
}

#[test]
fn removed_neurons_and_heads_say_nothing_and_cannot_learn_again() {
    let config = config();
    let routes = routes("sgtm", &config);
    let (model, _, _) = model(&config, &routes, Backend::Fused);
    let network =
        Network { architecture: model.architecture().clone(), parameters: model.parameters().clone() };
    let kept = network.keeping(&routes.groups(&network.architecture), &[0]).unwrap();
    assert_eq!(kept.architecture.mlp_widths, [12, 7]);
    let retain = routes.table.class("retain").unwrap();
    let off = logits(&network, &routes.forward_hooks(retain));
    assert!(near(&logits(&kept, &Hooks::default()), &off));
    assert!(!near(&off, &logits(&network, &Hooks::default())));
    let mut model = kept.model(TOKENS, 1, Backend::Fused).unwrap();
    model.gradient(&batch(), &Hooks::default()).unwrap();
    for (name, gradient) in model.gradients().unwrap() {
        let lost = groups(&name, model.parameters().get(&name).unwrap().dims(), &routes);
        if name.starts_with("blocks.1.attn.") && name != "blocks.1.attn.b_O" {
            let lost = gradient.iter().zip(&lost).filter(|(_, group)| **group == 1);
            assert!(lost.into_iter().all(|(g, _)| *g == 0.0), "{name}");
        }
    }
}

#[test]
fn what_takes_no_part_is_not_computed_and_the_gradient_is_that_of_the_whole_pass() {
    let config = config();
    let routes = routes("gram", &config);
    for backend in [Backend::Fused, Backend::Candle] {
        let (mut model, _, _) = model(&config, &routes, backend);
        let architecture = model.architecture().clone();
        let groups = routes.groups(&architecture);
        let mut parts = Submodels::new(&architecture, groups, 2, backend).unwrap();
        for class in 0..routes.table.classes().len() {
            let forward = routes.table.forward(class);
            let keep: Vec<usize> = (0..forward.len()).filter(|group| forward[*group] != 0.0).collect();
            // twice, with the buffers of the first time
            for _ in 0..2 {
                let whole = model.gradient(&batch(), &routes.forward_hooks(class)).unwrap();
                let expected = model.gradients().unwrap();
                let loss = parts.gradient(&mut model, &keep, &batch()).unwrap();
                assert!((whole.loss - loss.loss).abs() < 1e-5);
                for ((name, expected), (_, found)) in expected.iter().zip(model.gradients().unwrap()) {
                    let close = expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5);
                    assert!(close && expected.len() == found.len(), "{class} {backend:?} {name}");
                }
                model
                    .parameters()
                    .get("blocks.0.mlp.W_out")
                    .unwrap()
                    .set(&model.parameters().get("blocks.0.mlp.W_out").unwrap().affine(1.5, 0.0).unwrap())
                    .unwrap();
            }
        }
    }
    let sgtm = self::routes("sgtm", &config);
    let architecture = config.architecture(20);
    let refused = Submodels::new(&architecture, sgtm.groups(&architecture), 1, Backend::Fused);
    assert!(refused.err().unwrap().to_string().contains("heads to cut out"));
}
