//! Time of the kernels and of the optimiser at the sizes of the oversight policies.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use learning::kernels::{Matrix, SparseRows, Write, gather_relu, matmul, scatter_add, transpose};
use learning::{Adam, AdamConfig, LearningError, Parameters, clip_grad_norm};

const WIDTH: usize = 256;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 997) as f32 / 500.0 - 1.0).collect()
}

/// The three products of a hidden layer; elements are floating-point operations.
fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    let weight = values(WIDTH * WIDTH);
    for rows in [64, 256, 1024] {
        let (input, above) = (values(rows * WIDTH), values(rows * WIDTH + 1));
        let (mut output, mut gradient) = (vec![0.0; rows * WIDTH], vec![0.0; WIDTH * WIDTH]);
        let (x, dz) = (Matrix::new(&input, rows, WIDTH), Matrix::new(&above, rows, WIDTH));
        let w = Matrix::new(&weight, WIDTH, WIDTH);
        group.throughput(Throughput::Elements((2 * rows * WIDTH * WIDTH) as u64));
        group.bench_function(BenchmarkId::new("x·W", rows), |b| {
            b.iter(|| matmul(&mut output, x, w, Write::Set));
        });
        group.bench_function(BenchmarkId::new("x·Wᵀ", rows), |b| {
            b.iter(|| matmul(&mut output, x, w.t(), Write::Set));
        });
        group.bench_function(BenchmarkId::new("dzᵀ·x", rows), |b| {
            b.iter(|| matmul(&mut gradient, dz.t(), x, Write::Add));
        });
    }
    group.finish();
}

/// The first layer on observations of five ones among a hundred entries.
fn sparse(criterion: &mut Criterion) {
    const ROWS: usize = 256;
    const INPUTS: usize = 100;
    let mut x = SparseRows::new(INPUTS);
    for row in 0..ROWS {
        let mut columns: Vec<u16> = (0..5).map(|k| ((row * 31 + k * 17) % INPUTS) as u16).collect();
        columns.sort_unstable();
        x.push_sparse(&columns, &[1.0; 5]);
    }
    let listed: Vec<u32> = (0..ROWS as u32).collect();
    let (mut table, bias) = (values(INPUTS * WIDTH), values(WIDTH));
    let mut h = vec![0.0; ROWS * WIDTH];
    let mut group = criterion.benchmark_group("sparse layer, 256 rows");
    group.bench_function("gather", |b| b.iter(|| gather_relu(&mut h, &x, &listed, &table, &bias)));
    group.bench_function("scatter", |b| b.iter(|| scatter_add(&mut table, &x, &listed, &h, WIDTH)));
    let (square, mut turned) = (values(WIDTH * WIDTH), vec![0.0; WIDTH * WIDTH]);
    group.bench_function("transpose 256×256", |b| b.iter(|| transpose(&mut turned, &square, WIDTH)));
    group.finish();
}

/// Clipping and one step of Adam on as many parameters as the mixture and its value net have.
fn optimiser(criterion: &mut Criterion) {
    let run = |criterion: &mut Criterion| -> Result<(), LearningError> {
        let mut parameters = Parameters::default();
        for trunk in 0..3 {
            for (layer, inputs) in [100, WIDTH].into_iter().enumerate() {
                let weight = Tensor::zeros((WIDTH, inputs), DType::F32, &Device::Cpu)?;
                parameters.insert(&format!("{trunk}.{layer}"), &weight)?;
            }
        }
        parameters.insert("value", &Tensor::zeros((WIDTH, 400), DType::F32, &Device::Cpu)?)?;
        let mut adam = Adam::new(&parameters, AdamConfig::default())?;
        let mut grads = GradStore::default();
        for (_, var) in parameters.iter() {
            grads.insert(var, Tensor::from_vec(values(var.elem_count()), var.shape(), &Device::Cpu)?);
        }
        let mut group = criterion.benchmark_group("optimiser");
        group.throughput(Throughput::Elements(parameters.num_elements() as u64));
        group.bench_function("clip", |b| b.iter(|| clip_grad_norm(&parameters, &mut grads, 0.5)));
        group.bench_function("adam", |b| b.iter(|| adam.step(&grads, 1e-4)));
        group.finish();
        Ok(())
    };
    run(criterion).unwrap_or_else(|error| panic!("the optimiser cannot be timed: {error}"));
}

criterion_group!(benches, products, sparse, optimiser);
criterion_main!(benches);
