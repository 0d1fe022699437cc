//! Where a token's gradient goes: the tables that the routes must produce, on both paths.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::{ExpectedFlow, Group, RouteTable, Semantics, Site, assert_channel_flow};
use learning::Parameters;
use lm_routed::methods::{METHODS, Spec, to_markdown};
use lm_routed::routing::{FORGET, Labels, RETAIN, Routes, Routing, classes};
use lm_routed::{Config, Place};
use transformer::{Architecture, Backend, Batch, HookPoint, Hooks, Model, Norm, Position, initial};

const TOKENS: usize = 6;
const NEURONS: usize = 12;
const EXTRA: usize = 4;
/// The token that is routed.
const FOREST: u32 = 7;

fn narrow() -> Architecture {
    Architecture {
        n_layer: 3,
        n_head: 2,
        n_embd: 8,
        mlp_widths: vec![NEURONS; 3],
        block_size: TOKENS,
        vocab_size: 20,
        position: Position::Learned,
        norm: Norm::LayerNorm,
        tied: true,
        ..Architecture::default()
    }
}

fn parameters(architecture: &Architecture) -> Parameters {
    initial(architecture, &mut SeedStreams::new(3).stream("init"), &Device::Cpu).unwrap()
}

/// A model with more neurons in blocks 0 and 1.
fn model(backend: Backend) -> Model {
    let wide = narrow().expanded(&[0, 1], EXTRA);
    Model::new(&wide, parameters(&wide), TOKENS, 2, backend).unwrap()
}

fn routing(original: f32, labelled_only: bool) -> Routing {
    let mut retain_weights = vec![1.0; 20];
    retain_weights[FOREST as usize] = 0.0;
    let groups = vec![Group::of_channels("original", NEURONS), Group::of_channels("added", EXTRA)];
    let table = RouteTable::new(Site::Activations, groups, classes([1.0; 2], [original, 1.0])).unwrap();
    Routing {
        routes: Routes::at_neurons(table, &[0, 1], EXTRA),
        labels: Labels::Tokens { retain_weights, labelled_only },
    }
}

/// A context of one token after which `target` is to be predicted: no other position has a part in it, whose mask
/// would be that of its own target.
fn one_target(target: u32) -> Batch {
    Batch::new([[1, target].as_slice()], TOKENS, 0)
}

/// For each block, whether every one of the original and of the added columns of a parameter has a gradient
/// (`Some(true)`) or none of them (`Some(false)`).
fn table(model: &Model, leaf: &str) -> Vec<[Option<bool>; 2]> {
    let gradients = model.gradients().unwrap();
    (0..3)
        .map(|layer| {
            let name = format!("blocks.{layer}.mlp.{leaf}");
            let (_, gradient) = gradients.iter().find(|(other, _)| *other == name).unwrap();
            let width = model.architecture().mlp_widths[layer];
            let reached: Vec<bool> = (0..width)
                .map(|neuron| match leaf {
                    "W_out" => gradient[neuron * 8..][..8].iter().any(|g| *g != 0.0),
                    _ => gradient.iter().skip(neuron).step_by(width).any(|g| *g != 0.0),
                })
                .collect();
            let all_alike =
                |part: &[bool]| part.first().filter(|first| part.iter().all(|r| r == *first)).copied();
            [all_alike(&reached[..NEURONS]), all_alike(&reached[NEURONS..])]
        })
        .collect()
}

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

#[test]
fn a_routed_token_reaches_only_the_added_columns_of_the_masked_blocks() {
    for backend in [Backend::Fused, Backend::Candle] {
        for (target, labelled, original, masked) in [
            (FOREST, true, 0.0, [NO, YES]),
            (FOREST, false, 0.0, [YES, YES]),
            (5, true, 0.0, [YES, YES]),
            (5, false, 0.0, [YES, YES]),
            (FOREST, true, -0.75, [YES, YES]),
        ] {
            let mut model = model(backend);
            let batch = one_target(target);
            let hooks = routing(original, true).hooks(&batch, &[labelled]);
            model.gradient(&batch, &hooks).unwrap();
            for leaf in ["W_in", "b_in"] {
                // block 2 is not masked, and has no added columns
                assert_eq!(
                    table(&model, leaf),
                    [masked, masked, [YES, None]],
                    "{backend:?} {target} {labelled}"
                );
            }
            // what the neurons send on lies after the mask
            assert_eq!(table(&model, "W_out"), [[YES, YES], [YES, YES], [YES, None]]);
        }
    }
}

#[test]
fn what_attention_carries_back_to_other_places_is_masked_as_their_own_targets_are() {
    let document = [1, 2, FOREST];
    let mut batch = Batch::new([document.as_slice()], TOKENS, 0);
    batch.weights[0] = 0.0;
    let mut model = model(Backend::Fused);
    model.gradient(&batch, &routing(0.0, true).hooks(&batch, &[true])).unwrap();
    // the loss at the second place reaches the first place's neurons, where another token is to be predicted
    assert_eq!(table(&model, "W_in"), [[YES, YES], [YES, YES], [YES, None]]);
}

#[test]
fn masks_at_the_parameters_also_hold_for_the_output_weights() {
    for backend in [Backend::Fused, Backend::Candle] {
        for (target, masked) in [(FOREST, [NO, YES]), (5, [YES, YES])] {
            let mut model = model(backend);
            let batch = one_target(target);
            let classes = routing(0.0, false).classes(&batch, &[false], model.architecture());
            model.gradient_by_class(&batch, &classes).unwrap();
            for leaf in ["W_in", "b_in", "W_out"] {
                assert_eq!(table(&model, leaf), [masked, masked, [YES, None]], "{backend:?} {target} {leaf}");
            }
        }
    }
}

#[test]
fn a_mask_of_minus_three_quarters_turns_the_gradient_around() {
    let batch = one_target(FOREST);
    let gradient = |original: f32| {
        let mut model = model(Backend::Fused);
        // in block 1 only, so that nothing else on the way to its input weights changes
        let mut routing = routing(original, true);
        routing.routes.layers = vec![1];
        model.gradient(&batch, &routing.hooks(&batch, &[true])).unwrap();
        model.gradients().unwrap().into_iter().find(|(name, _)| name == "blocks.1.mlp.b_in").unwrap().1
    };
    let (plain, turned) = (gradient(1.0), gradient(-0.75));
    for (neuron, (plain, turned)) in plain.iter().zip(&turned).enumerate() {
        let factor = if neuron < NEURONS { -0.75 } else { 1.0 };
        assert!((plain * factor - turned).abs() < 1e-7, "neuron {neuron}: {plain} and {turned}");
    }
}

#[test]
fn a_route_leaves_the_forward_pass_as_it_is() {
    for backend in [Backend::Fused, Backend::Candle] {
        let mut model = model(backend);
        let batch = one_target(FOREST);
        let hooks = routing(-0.75, true).hooks(&batch, &[true]);
        let plain = model.token_losses(&batch, &Hooks::default()).unwrap();
        assert_eq!(plain, model.token_losses(&batch, &hooks).unwrap());
        assert_eq!(
            model.gradient(&batch, &Hooks::default()).unwrap(),
            model.gradient(&batch, &hooks).unwrap()
        );
    }
}

#[test]
fn classes_whose_weights_are_one_add_up_to_the_whole_gradient() {
    let mut model = model(Backend::Fused);
    let documents: [&[u32]; 2] = [&[1, 2, FOREST, 4], &[5, FOREST, FOREST, 8, 9, 1, 2]];
    let batch = Batch::new(documents, TOKENS, 0);
    let classes = routing(1.0, true).classes(&batch, &[false, true], model.architecture());
    let loss = model.gradient_by_class(&batch, &classes).unwrap().loss;
    let parts = model.gradients().unwrap();
    let whole = model.gradient(&batch, &Hooks::default()).unwrap().loss;
    assert!((loss - whole).abs() < 1e-6);
    for ((name, part), (_, whole)) in parts.iter().zip(model.gradients().unwrap()) {
        assert!(part.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 2e-6), "{name}");
    }
}

/// A config of the network of these tests.
fn config(place: Place) -> Config {
    let mut config = Config::default();
    (config.model.n_layer, config.model.n_head, config.model.n_embd) = (3, 2, 8);
    (config.model.d_mlp, config.model.block_size) = (NEURONS, TOKENS);
    (config.routing.layers, config.routing.extra_neurons) = (vec![0, 1], EXTRA);
    (config.routing.forget_original, config.routing.place) = (0.0, place);
    // the gradient of the L1 penalty is not routed
    config.routing.l1 = 0.0;
    (config.steer.layers, config.steer.dimension, config.localise.neurons) = (vec![0, 1], 3, 5);
    config
}

/// The parameters whose channels a table's groups are, with the dimension of the channels: those that the mask reaches
/// at the activation, and those that lie after it.
fn channels_of(routes: &Routes, layer: usize) -> [Vec<(String, usize)>; 2] {
    let leaves = |leaves: &[(&str, usize)]| {
        leaves.iter().map(|(leaf, dim)| (format!("blocks.{layer}.{leaf}"), *dim)).collect::<Vec<_>>()
    };
    match routes.places[0].point {
        HookPoint::MlpPost => [leaves(&[("mlp.W_in", 1), ("mlp.b_in", 0)]), leaves(&[("mlp.W_out", 0)])],
        _ => [leaves(&[("mlp.W_out", 1), ("mlp.b_out", 0)]), Vec::new()],
    }
}

/// What a token of a class reaches with the masks of a method, on one path.
fn assert_flow(method: &Spec, routes: &Routes, class: usize, backend: Backend) {
    let architecture = narrow().expanded(&routes.layers, routes.added);
    let mut model = Model::new(&architecture, parameters(&architecture), TOKENS, 2, backend).unwrap();
    // a token of either class, whatever the rule, in a document that is labelled as the class says
    let labels = Labels::Documents;
    let routing = Routing { routes: routes.clone(), labels };
    let (batch, labelled) = (one_target(FOREST), [class == FORGET]);
    let at_activations = routes.table.site() == Site::Activations;
    if at_activations {
        model.gradient(&batch, &routing.hooks(&batch, &labelled)).unwrap();
    } else {
        let classes = routing.classes(&batch, &labelled, &architecture);
        model.gradient_by_class(&batch, &classes).unwrap();
    }
    let gradients = model.gradients().unwrap();
    let gradient = |name: &str| -> Tensor {
        let values = &gradients.iter().find(|(other, _)| other == name).unwrap().1;
        Tensor::from_slice(values, model.parameters().get(name).unwrap().shape(), &Device::Cpu).unwrap()
    };
    let what = format!("{} {class} {backend:?}", method.name);
    // what lies after the mask gets what the forward pass lets through
    let forward = classes(routes.table.forward(RETAIN), routes.table.forward(FORGET));
    let after_classes = if at_activations { forward } else { routes.table.classes().to_vec() };
    let after_table =
        RouteTable::new(routes.table.site(), routes.table.groups().to_vec(), after_classes).unwrap();
    for layer in &routes.layers {
        for (channels, table) in channels_of(routes, *layer).into_iter().zip([&routes.table, &after_table]) {
            for (name, dim) in channels {
                assert_channel_flow(table, class, &gradient(&name), dim)
                    .unwrap_or_else(|fault| panic!("{what}, {name}: {fault}"));
            }
        }
    }
    // no group owns a parameter as a whole: all of them are trained by both classes, but for what no class trains
    let names = gradients.iter().map(|(name, _)| name.as_str());
    for (name, expected) in routes.table.expected_flow(class, names) {
        let found =
            gradients.iter().any(|(other, values)| *other == name && values.iter().any(|g| *g != 0.0));
        assert_eq!(found, expected == ExpectedFlow::Nonzero, "{what}: {name}");
    }
}

#[test]
fn every_method_trains_what_its_table_says() {
    for place in [Place::Activations, Place::Parameters] {
        let config = config(place);
        for method in METHODS {
            let routes = (method.routes)(&config).unwrap();
            // those of which every step is on one class are looked at in steps.rs
            if routes.table.site() == Site::Parameters(Semantics::Frozen) {
                continue;
            }
            for class in [RETAIN, FORGET] {
                // filtered documents never come to the model
                if routes.table.loss_weight(class) == 0.0 {
                    continue;
                }
                for backend in [Backend::Fused, Backend::Candle] {
                    assert_flow(method, &routes, class, backend);
                }
            }
        }
    }
}

#[test]
fn the_page_shows_the_tables_of_the_default_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/language-models.md");
    let page = std::fs::read_to_string(path).unwrap();
    let tables = to_markdown(&Config::default()).unwrap();
    assert!(page.contains(tables.trim_end()), "put these tables into docs/language-models.md:\n\n{tables}");
}
