//! Time of the fused passes of the mixture policy on one thread, and of packing and unpacking its weights.

use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use learning::kernels::SparseRows;
use policies::fused::{Activations, FusedPolicy, Gradient, OutputGradient, Workspace};
use policies::{Policy, PolicyConfig, PolicyError, Steering};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

const CELLS: usize = 25;

fn passes(criterion: &mut Criterion) -> Result<(), PolicyError> {
    let config = PolicyConfig::mixture(["diamond", "ghost"], 4, CELLS, 4);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let policy = Policy::new(config.clone(), &mut rng, &Device::Cpu)?;
    let mut fused = FusedPolicy::new(&config, policy.parameters())?;
    let mut x = SparseRows::new(config.inputs());
    for _ in 0..2048 {
        let columns: Vec<u16> = (0..4).map(|plane| plane * 25 + rng.random_range(0..25)).collect();
        x.push_sparse(&columns, &[1.0; 4]);
    }
    let mut gradient = Gradient::new(&fused);
    let mut workspace = Workspace::default();

    let mut group = criterion.benchmark_group("mixture");
    for rows in [32, 256, 2048] {
        let listed: Vec<u32> = (0..rows as u32).collect();
        let mut activations = Activations::new(&config);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("forward", rows), |b| {
            b.iter(|| {
                activations.clear();
                fused.forward(&x, &listed, Steering::Mixture, &mut activations)
            });
        });
        let mut output = OutputGradient::default();
        output.reset(&fused, rows);
        let buffers =
            output.experts.iter_mut().chain([&mut output.head, &mut output.gate, &mut output.value]);
        for value in buffers.flatten() {
            *value = rng.random_range(-1.0..1.0);
        }
        group.bench_function(BenchmarkId::new("backward", rows), |b| {
            b.iter(|| fused.backward(&x, &listed, &activations, &output, &mut gradient, &mut workspace));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("weights");
    group.throughput(Throughput::Elements(policy.parameters().num_elements() as u64));
    group.bench_function("pack", |b| b.iter(|| fused.load(policy.parameters())));
    group.bench_function("unpack", |b| b.iter(|| fused.unpack(&gradient, policy.parameters())));
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    passes(criterion).unwrap_or_else(|error| panic!("the passes cannot be timed: {error}"));
}

criterion_group!(benches, all);
criterion_main!(benches);
