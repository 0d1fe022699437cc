//! Where a token's gradient goes: the tables that the routes must produce, on both paths.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use candle_core::Device;
use experiment::SeedStreams;
use learning::Parameters;
use lm_routed::routing::TokenRoute;
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

fn route(original: f32, labelled_only: bool) -> TokenRoute {
    let mut table = vec![1.0; 20];
    table[FOREST as usize] = 0.0;
    TokenRoute {
        point: HookPoint::MlpPost,
        layers: vec![0, 1],
        ends: vec![NEURONS, NEURONS + EXTRA],
        routed: vec![original, 1.0],
        free: vec![1.0, 1.0],
        table,
        labelled_only,
        l1: 0.0,
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
            let hooks = route(original, true).hooks(&batch, &[labelled]);
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
    model.gradient(&batch, &route(0.0, true).hooks(&batch, &[true])).unwrap();
    // the loss at the second place reaches the first place's neurons, where another token is to be predicted
    assert_eq!(table(&model, "W_in"), [[YES, YES], [YES, YES], [YES, None]]);
}

#[test]
fn masks_at_the_parameters_also_hold_for_the_output_weights() {
    for backend in [Backend::Fused, Backend::Candle] {
        for (target, masked) in [(FOREST, [NO, YES]), (5, [YES, YES])] {
            let mut model = model(backend);
            let batch = one_target(target);
            let classes = route(0.0, false).classes(&batch, &[false], model.architecture());
            let classes: Vec<_> = classes.iter().map(|(shares, weights)| (shares.clone(), weights)).collect();
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
        let route = TokenRoute { layers: vec![1], ..route(original, true) };
        model.gradient(&batch, &route.hooks(&batch, &[true])).unwrap();
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
        let hooks = route(-0.75, true).hooks(&batch, &[true]);
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
    let route = TokenRoute { routed: vec![1.0, 1.0], ..route(1.0, true) };
    let classes = route.classes(&batch, &[false, true], model.architecture());
    let classes: Vec<_> = classes.iter().map(|(shares, weights)| (shares.clone(), weights)).collect();
    let loss = model.gradient_by_class(&batch, &classes).unwrap().loss;
    let parts = model.gradients().unwrap();
    let whole = model.gradient(&batch, &Hooks::default()).unwrap().loss;
    assert!((loss - whole).abs() < 1e-6);
    for ((name, part), (_, whole)) in parts.iter().zip(model.gradients().unwrap()) {
        assert!(part.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 2e-6), "{name}");
    }
}
