//! The fused passes against candle's autograd, over every variant of the network and every intervention.

use std::sync::Arc;

use candle_core::Device;
use learning::{Backend, Parameters};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

use crate::batch::Batch;
use crate::engine::Model;
use crate::model::{
    Activation, Architecture, ChannelWeights, HookPoint, Hooks, Intervention, Norm, Position, copied, initial,
};

const TOKENS: usize = 70; // two blocks of queries, the second one short

fn architecture(position: Position, norm: Norm, tied: bool) -> Architecture {
    Architecture {
        n_layer: 2,
        n_head: 2,
        n_embd: 24,
        mlp_widths: vec![40, 33],
        block_size: 80,
        vocab_size: 50,
        position,
        norm,
        tied,
        ..Architecture::default()
    }
}

/// Parameters away from the symmetric start, so that no gradient is small by accident.
fn parameters(architecture: &Architecture) -> Parameters {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let parameters = initial(architecture, &mut rng, &Device::Cpu).unwrap();
    for (_, var) in parameters.iter() {
        let noise: Vec<f32> = (0..var.elem_count()).map(|_| rng.random::<f32>() * 0.4 - 0.2).collect();
        let noise = candle_core::Tensor::from_vec(noise, var.shape(), &Device::Cpu).unwrap();
        var.set(&(var.as_detached_tensor() + noise).unwrap()).unwrap();
    }
    parameters
}

fn batch(sequences: usize) -> Batch {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
    let documents: Vec<Vec<u32>> = (0..sequences)
        .map(|i| (0..TOKENS + 1 - 7 * (i % 2)).map(|_| rng.random_range(0..50)).collect())
        .collect();
    Batch::new(documents.iter().map(Vec::as_slice), TOKENS, 0)
}

fn hooks(tokens: usize) -> Hooks {
    let weights = |ends: Vec<usize>, salt: usize| {
        let count = tokens * ends.len();
        let weights = (0..count).map(|i| [1.0, 0.0, -0.75, 0.3][(i * 7 + salt) % 4]).collect();
        Some(Arc::new(ChannelWeights { ends, weights }))
    };
    Hooks::default()
        .with(
            0,
            HookPoint::MlpPost,
            Intervention { route: weights(vec![32, 40], 0), l1: 0.02, ..Intervention::default() },
        )
        .with(
            1,
            HookPoint::MlpPost,
            Intervention {
                route: weights(vec![33], 1),
                scale: weights(vec![8, 33], 3),
                ..Intervention::default()
            },
        )
        .with(
            0,
            HookPoint::AttnZ,
            Intervention { route: weights(vec![12, 24], 2), ..Intervention::default() },
        )
        .with(
            1,
            HookPoint::ResidPost,
            Intervention {
                route: weights(vec![1, 24], 5),
                add: Some(Arc::new((0..24).map(|i| i as f32 * 0.1).collect())),
                ..Intervention::default()
            },
        )
}

fn gradients(model: &mut Model, batch: &Batch, hooks: &Hooks) -> (f64, f64, Vec<(String, Vec<f32>)>) {
    let loss = model.gradient(batch, hooks).unwrap();
    (loss.loss, loss.penalty, model.gradients().unwrap())
}

#[test]
fn gradients_losses_and_logits_are_those_of_candle() {
    let heads = |n_head, n_kv_head, architecture| Architecture { n_head, n_kv_head, ..architecture };
    for (architecture, interventions) in [
        (architecture(Position::Learned, Norm::LayerNorm, true), false),
        (architecture(Position::Learned, Norm::LayerNorm, false), true),
        (heads(6, Some(2), architecture(Position::Rotary, Norm::RmsNorm, true)), true),
        (architecture(Position::Rotary, Norm::LayerNorm, false), false),
        (
            Architecture {
                bias: false,
                norm_eps: 0.05,
                ..heads(4, Some(1), architecture(Position::Rotary, Norm::LayerNorm, false))
            },
            true,
        ),
    ] {
        let parameters = parameters(&architecture);
        // 33 sequences: lanes take them in several parts, and not the same number each
        let batch = batch(33);
        let hooks = if interventions { hooks(batch.inputs.len()) } else { Hooks::default() };
        let model = |backend, threads| {
            Model::new(&architecture, copied(&parameters).unwrap(), TOKENS, threads, backend).unwrap()
        };
        let mut reference = model(Backend::Candle, 1);
        let mut fused = model(Backend::Fused, 2);
        let expected = gradients(&mut reference, &batch, &hooks);
        for round in 0..2 {
            let got = gradients(&mut fused, &batch, &hooks);
            assert!((expected.0 - got.0).abs() < 1e-5, "loss {} against {}", got.0, expected.0);
            assert!((expected.1 - got.1).abs() < 1e-5, "penalty {} against {}", got.1, expected.1);
            for ((name, expected), (_, got)) in expected.2.iter().zip(&got.2) {
                let scale = expected.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
                for (i, (e, g)) in expected.iter().zip(got).enumerate() {
                    assert!(
                        (e - g).abs() < 2e-5 * scale.max(0.05),
                        "round {round}, {name}[{i}]: {g} against {e}"
                    );
                }
            }
        }
        let (e, g) =
            (reference.token_losses(&batch, &hooks).unwrap(), fused.token_losses(&batch, &hooks).unwrap());
        assert!(e.iter().zip(&g).all(|(e, g)| (e - g).abs() < 2e-5));
        let places: Vec<usize> = (0..33).map(|i| i * 2).collect();
        let (e, g) = (
            reference.logits(&batch, &places, &hooks).unwrap(),
            fused.logits(&batch, &places, &hooks).unwrap(),
        );
        assert!(e.len() == 33 * 50 && e.iter().zip(&g).all(|(e, g)| (e - g).abs() < 2e-5));
    }
}

#[test]
fn the_gradient_of_a_loss_of_the_residual_stream_is_that_of_candle() {
    let architecture = architecture(Position::Learned, Norm::LayerNorm, true);
    let parameters = parameters(&architecture);
    let batch = batch(5);
    let loss = |first: usize, values: &[f32], gradient: &mut [f32]| -> f64 {
        let mut total = 0.0;
        for (i, (value, gradient)) in values.iter().zip(gradient).enumerate() {
            let target = ((first * 24 + i) % 5) as f32;
            total += f64::from((value - target).powi(2));
            *gradient = 2.0 * (value - target);
        }
        total
    };
    let run = |backend, threads| {
        let mut model =
            Model::new(&architecture, copied(&parameters).unwrap(), TOKENS, threads, backend).unwrap();
        let value = model.residual_gradient(&batch, 1, &loss).unwrap();
        (value, model.gradients().unwrap())
    };
    let (expected, got) = (run(Backend::Candle, 1), run(Backend::Fused, 3));
    assert!((expected.0 / got.0 - 1.0).abs() < 1e-5);
    for ((name, expected), (_, got)) in expected.1.iter().zip(&got.1) {
        let scale = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
        let close = expected.iter().zip(got).all(|(e, g)| (e - g).abs() < 2e-5 * scale);
        assert!(close, "{name}");
    }
}

#[test]
fn what_the_fused_passes_do_not_compute_is_left_to_candle_or_refused() {
    for activation in [Activation::Gelu, Activation::Silu] {
        let architecture =
            Architecture { activation, ..architecture(Position::Learned, Norm::LayerNorm, true) };
        let parameters = parameters(&architecture);
        let model = |backend| Model::new(&architecture, copied(&parameters).unwrap(), TOKENS, 1, backend);
        let error = model(Backend::Fused).err().unwrap().to_string();
        assert!(error.contains(&format!("GeluTanh only, not {activation:?}")), "{error}");
        let batch = batch(1);
        let losses = |backend| model(backend).unwrap().token_losses(&batch, &Hooks::default()).unwrap();
        assert_eq!(losses(Backend::Auto), losses(Backend::Candle));
        let plain = Architecture { activation: Activation::GeluTanh, ..architecture.clone() };
        let mut plain = Model::new(&plain, copied(&parameters).unwrap(), TOKENS, 1, Backend::Candle).unwrap();
        assert_ne!(losses(Backend::Auto), plain.token_losses(&batch, &Hooks::default()).unwrap());
    }
}
