//! Every operation against central differences in `f64`, its gradient at the kinks, and its largest inputs.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::*;

/// Numbers between −2 and 2, none of them nearer than 0.004 to 0 or to another.
fn input(shape: &[usize], salt: usize) -> Var {
    let len: usize = shape.iter().product();
    let values: Vec<f64> = (0..len).map(|i| ((i * 389 + salt * 131) % 997) as f64 / 249.0 - 1.998).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// Holds the gradient of Σ c ⊙ f to central differences, entry by entry of every input, and sees to it that each
/// input gets one: c differs from output to output, so that no output's gradient is missed.
fn check(name: &str, inputs: &[Var], f: impl Fn() -> Result<Tensor>) {
    let loss = || -> Result<Tensor> {
        let out = f()?;
        let c: Vec<f64> = (0..out.elem_count()).map(|i| ((i * 7) % 13) as f64 / 4.0 - 1.6).collect();
        (&out * Tensor::from_vec(c, out.shape(), out.device())?)?.sum_all()
    };
    let gradients = loss().unwrap().backward().unwrap();
    for (number, var) in inputs.iter().enumerate() {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name}: input {number} has no gradient"));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!(gradient.iter().any(|g| g.abs() > 1e-3), "{name}: the gradient of input {number} is zero");
        let values = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |index: usize, delta: f64| -> f64 {
            let mut moved = values.clone();
            moved[index] += delta;
            var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
            loss().unwrap().to_scalar::<f64>().unwrap()
        };
        for (index, gradient) in gradient.iter().enumerate() {
            let difference = (at(index, 1e-5) - at(index, -1e-5)) / 2e-5;
            let error = (gradient - difference).abs();
            assert!(
                error < 1e-7 * difference.abs().max(1.0),
                "{name}, {number}[{index}]: {gradient}, {difference}"
            );
        }
        at(0, 0.0);
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let (x, y) = (input(&[3, 5], 1), input(&[3, 5], 2));
    check("relu", std::slice::from_ref(&x), || relu(&x));
    check("softmax", std::slice::from_ref(&x), || softmax(&x));
    check("log_softmax", std::slice::from_ref(&x), || log_softmax(&x));
    check("clamp", std::slice::from_ref(&x), || clamp(&x, -0.7, 1.1));
    check("maximum", &[x.clone(), y.clone()], || maximum(&x, &y));
    let (w, b) = (input(&[5], 3), input(&[5], 4));
    check("layer_norm", &[x.clone(), w.clone(), b.clone()], || layer_norm(&x, &w, Some(&b), 1e-5));
    check("layer_norm without a bias", &[x.clone(), w.clone()], || layer_norm(&x, &w, None, 1e-5));
    check("rms_norm", &[x.clone(), w.clone()], || rms_norm(&x, &w, 1e-5));
    let targets = Tensor::new(&[4u32, 0, 2], &Device::Cpu).unwrap();
    check("cross_entropy", std::slice::from_ref(&x), || cross_entropy(&x, &targets));
    let targets = Tensor::arange(0f64, 15.0, &Device::Cpu).unwrap().reshape((3, 5)).unwrap();
    let targets = (targets / 14.0).unwrap();
    check("binary_cross_entropy", std::slice::from_ref(&x), || binary_cross_entropy(&x, &targets));
    // over more dimensions than two
    let cube = input(&[2, 3, 4], 5);
    check("softmax of a cube", std::slice::from_ref(&cube), || softmax(&cube));
    let w = input(&[4], 6);
    check("rms_norm of a cube", &[cube.clone(), w.clone()], || rms_norm(&cube, &w, 1e-5));
}

#[test]
fn gradients_flow_through_every_operation_to_the_weights_before_it() {
    type Op = fn(&Tensor) -> Result<Tensor>;
    let ops: [(&str, Op); 8] = [
        ("relu", relu),
        ("softmax", softmax),
        ("log_softmax", log_softmax),
        ("maximum", |x| maximum(x, &(x * 0.5)?)),
        ("clamp", |x| clamp(x, -1.0, 1.0)),
        ("norms", |x| {
            let ones = Tensor::ones(4, x.dtype(), x.device())?;
            rms_norm(&layer_norm(x, &ones, Some(&ones), 1e-5)?, &ones, 1e-5)
        }),
        ("cross_entropy", |x| cross_entropy(x, &Tensor::new(&[0u32, 3, 1], x.device())?)),
        ("binary_cross_entropy", |x| binary_cross_entropy(x, &x.ones_like()?)),
    ];
    for dtype in [DType::F32, DType::F64] {
        for (name, op) in ops {
            let var = |shape: &[usize], salt| {
                Var::from_tensor(&input(shape, salt).as_detached_tensor().to_dtype(dtype).unwrap()).unwrap()
            };
            let (weight, bias) = (var(&[4, 6], 7), var(&[4], 8));
            let x = input(&[3, 6], 9).as_detached_tensor().to_dtype(dtype).unwrap();
            let z = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
            let out = op(&z).unwrap();
            // squares alone would not do: those of a row that was normed add up to the same whatever its weights
            let c: Vec<f64> = (0..out.elem_count()).map(|i| i as f64).collect();
            let c = Tensor::from_vec(c, out.shape(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let loss = (out.sqr().unwrap() * c).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            for var in [&weight, &bias] {
                let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} stops the gradient"));
                let size = gradient.sqr().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap();
                let size = size.to_scalar::<f64>().unwrap();
                assert!(size.is_finite() && size > 1e-9, "{name}: {size}");
            }
        }
    }
}

fn slope(x: &[f32], f: impl Fn(&Tensor) -> Result<Tensor>) -> Vec<f32> {
    let x = Var::new(x, &Device::Cpu).unwrap();
    let gradients = f(&x).unwrap().sum_all().unwrap().backward().unwrap();
    gradients.get(&x).unwrap().to_vec1::<f32>().unwrap()
}

#[test]
fn the_gradient_at_a_kink_is_the_one_that_is_promised() {
    assert_eq!(slope(&[-1.0, -0.0, 0.0, 1.0], relu), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(slope(&[-2.0, -1.0, 0.0, 1.0, 2.0], |x| clamp(x, -1.0, 1.0)), [0.0, 1.0, 1.0, 1.0, 0.0]);
    let other = Tensor::new(&[0f32, 1.0, 2.0], &Device::Cpu).unwrap();
    assert_eq!(slope(&[1.0, 1.0, 1.0], |x| maximum(x, &other)), [1.0, 1.0, 0.0]);
    assert_eq!(slope(&[1.0, 1.0, 1.0], |x| maximum(&other, x)), [1.0, 0.0, 0.0]);
}

#[test]
fn large_logits_give_finite_values_and_gradients() {
    let (large, device) = ([3e4f32, -3e4, 0.0], Device::Cpu);
    let row = |x: &Tensor| x.unsqueeze(0);
    let values = |tensor: Result<Tensor>| tensor.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let x = Tensor::new(&large, &device).unwrap();
    assert_eq!(values(softmax(&x)), [1.0, 0.0, 0.0]);
    assert_eq!(values(log_softmax(&x)), [0.0, -6e4, -3e4]);
    let target = Tensor::new(&[1u32], &device).unwrap();
    assert_eq!(values(cross_entropy(&row(&x).unwrap(), &target)), [6e4]);
    assert_eq!(slope(&large, |x| cross_entropy(&row(x)?, &target)), [1.0, -1.0, 0.0]);
    let targets = Tensor::new(&[0f32, 1.0, 1.0], &device).unwrap();
    let losses = values(binary_cross_entropy(&x, &targets));
    assert_eq!(losses[..2], [3e4, 3e4]);
    assert!((losses[2] - 2f32.ln()).abs() < 1e-6);
    assert_eq!(slope(&large, |x| binary_cross_entropy(x, &targets))[..2], [1.0, -1.0]);
}
