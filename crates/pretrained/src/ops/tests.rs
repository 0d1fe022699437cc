//! Each pass and its gradients against the same in candle's primitives.

use candle_core::{D, Device, Tensor, Var};
use learning::ops::{cross_entropy, layer_norm, rms_norm, softmax};
use transformer::attention::{Heads, Rotary};
use transformer::rotary::{shared, turned, turns};

use super::*;

fn tensor(shape: &[usize], salt: usize) -> Tensor {
    let value = |i: usize| ((i * 7919 + salt * 104_729) % 997) as f32 / 400.0 - 1.2;
    Tensor::from_vec((0..shape.iter().product()).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu)
        .unwrap()
}

/// Values and the gradients of a sum, each output weighed by another number, of a function of some variables.
fn found(inputs: &[Tensor], of: impl Fn(&[Tensor]) -> Tensor) -> Vec<Vec<f32>> {
    let variables: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    // not leaves: what lies before a pass gets its gradient through it
    let moved: Vec<Tensor> = variables.iter().map(|input| (input.as_tensor() * 1.0).unwrap()).collect();
    let out = of(&moved);
    let weights = tensor(out.dims(), 50);
    let gradients = (&out * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let gradients = variables.iter().map(|variable| flat(gradients.get(variable).unwrap()));
    std::iter::once(flat(&out)).chain(gradients).collect()
}

fn assert_alike(
    inputs: &[Tensor],
    pass: impl Fn(&[Tensor]) -> Tensor + Sync,
    reference: impl Fn(&[Tensor]) -> Tensor,
) {
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (got, expected) = (pool.install(|| found(inputs, &pass)), found(inputs, &reference));
        for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(expected) {
                let close = (got - expected).abs() < 2e-4 * expected.abs().max(1.0);
                assert!(close, "{place}, {threads} threads: {got} against {expected}");
            }
        }
    }
}

#[test]
fn linear_is_a_product() {
    let weight = tensor(&[5, 7], 1);
    let reference = |x: &[Tensor]| x[0].matmul(&weight.t().unwrap()).unwrap();
    for rows in [1, 6] {
        assert_alike(&[tensor(&[rows, 7], 2)], |x| linear(&x[0], &weight).unwrap(), reference);
    }
}

#[test]
fn norms_are_those_of_primitives() {
    let (w, b, x) = (tensor(&[9], 1), tensor(&[9], 2), tensor(&[7, 9], 3));
    let weights = |bias: Option<&Tensor>| NormWeights { weight: w.clone(), bias: bias.cloned(), eps: 1e-5 };
    let (layer, rms) = (
        |x: &[Tensor]| norm(&x[0], weights(Some(&b))).unwrap(),
        |x: &[Tensor]| norm(&x[0], weights(None)).unwrap(),
    );
    assert_alike(std::slice::from_ref(&x), layer, |x| layer_norm(&x[0], &w, Some(&b), 1e-5).unwrap());
    assert_alike(&[x], rms, |x| rms_norm(&x[0], &w, 1e-5).unwrap());
}

#[test]
fn gated_neurons_are_those_of_primitives() {
    let inputs = [tensor(&[5, 6], 1), tensor(&[5, 6], 2)];
    let reference = |x: &[Tensor]| (x[0].silu().unwrap() * &x[1]).unwrap();
    assert_alike(&inputs, |x| silu_times(&x[0], &x[1]).unwrap(), reference);
}

#[test]
fn a_low_rank_product_weighs_rows_and_their_gradients_apart() {
    let (forward, gradient) = (vec![0.5, 0.0, 2.0, 1.0], vec![1.0, 1.0, 0.0, -0.5]);
    let inputs = [tensor(&[4, 6], 1), tensor(&[2, 6], 2), tensor(&[5, 2], 3)];
    let weights = || RowWeights { forward: forward.clone(), gradient: gradient.clone() };
    let column = |values: &[f32]| Tensor::from_slice(values, (4, 1), &Device::Cpu).unwrap();
    let reference = |x: &[Tensor]| {
        let y = x[0].matmul(&x[1].t().unwrap()).unwrap().matmul(&x[2].t().unwrap()).unwrap();
        let y = gradient_routing::route(&y, &column(&gradient)).unwrap();
        y.broadcast_mul(&column(&forward)).unwrap()
    };
    assert_alike(&inputs, |x| low_rank(&x[0], &x[1], &x[2], weights()).unwrap(), reference);
}

#[test]
fn attention_is_that_of_primitives() {
    let (sequences, tokens, count, width) = (2, 70, 4, 6);
    for (kv_count, rotary_width) in [(4, 0), (2, 6), (1, 4)] {
        let heads = Heads { tokens, count, kv_count, width };
        let rotary = (rotary_width > 0).then(|| Rotary::new(tokens, rotary_width, 500.0));
        let rows = sequences * tokens;
        let inputs = [(count, 1), (kv_count, 2), (kv_count, 3)]
            .map(|(heads, salt)| tensor(&[rows, heads * width], salt));
        let reference = |x: &[Tensor]| {
            let turns = turns(0..tokens, rotary_width, 500.0, candle_core::DType::F32, &Device::Cpu).unwrap();
            let split = |x: &Tensor, heads: usize| {
                let x = x.reshape((sequences, tokens, heads, width)).unwrap();
                x.transpose(1, 2).unwrap().contiguous().unwrap()
            };
            let turn = |x: &Tensor| turned(x, &turns, rotary_width).unwrap();
            let (q, k) = (turn(&split(&x[0], count)), turn(&split(&x[1], kv_count)));
            let (k, v) = (shared(&k, count).unwrap(), shared(&split(&x[2], kv_count), count).unwrap());
            let scores =
                (q.matmul(&k.t().unwrap().contiguous().unwrap()).unwrap() / (width as f64).sqrt()).unwrap();
            let hidden = |i: usize| if i % tokens > i / tokens { f32::NEG_INFINITY } else { 0.0 };
            let mask: Vec<f32> = (0..tokens * tokens).map(hidden).collect();
            let mask = Tensor::from_vec(mask, (tokens, tokens), &Device::Cpu).unwrap();
            let z = softmax(&scores.broadcast_add(&mask).unwrap()).unwrap().matmul(&v).unwrap();
            z.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, count * width)).unwrap()
        };
        let pass = |x: &[Tensor]| {
            let sizes = AttentionSizes { heads, rotary: rotary.clone() };
            attention(&x[0], &x[1], &x[2], sizes).unwrap()
        };
        assert_alike(&inputs, pass, reference);
    }
}

#[test]
fn the_loss_is_that_of_primitives_with_a_graph_and_without() {
    // more rows than a tile has
    let (rows, weight) = (175, tensor(&[11, 4], 1));
    let (tokens, weights): (Vec<u32>, Vec<f32>) =
        (0..rows).map(|row| ((row * 5 % 11) as u32, (row % 3) as f32)).unzip();
    let targets = || Targets { tokens: tokens.clone(), weights: weights.clone(), scale: 0.25 };
    let reference = |x: &[Tensor]| {
        let logits = x[0].matmul(&weight.t().unwrap()).unwrap();
        let losses = cross_entropy(&logits, &Tensor::new(tokens.as_slice(), &Device::Cpu).unwrap()).unwrap();
        let weighed = (losses * Tensor::new(weights.as_slice(), &Device::Cpu).unwrap()).unwrap();
        (weighed.sum(D::Minus1).unwrap() * 0.25).unwrap()
    };
    let x = tensor(&[rows, 4], 2);
    assert_alike(std::slice::from_ref(&x), |x| loss(&x[0], &weight, targets()).unwrap(), reference);
    let (without, expected) = (loss(&x, &weight, targets()).unwrap(), reference(std::slice::from_ref(&x)));
    let [got, expected] = [without, expected].map(|loss| loss.to_scalar::<f32>().unwrap());
    assert!((got - expected).abs() < 1e-4 * expected, "{got} against {expected}");
    let far = Targets { tokens: vec![11; rows], ..targets() };
    assert!(loss(&x, &weight, far).unwrap_err().to_string().contains("there is no token 11 of 11"));
}
