//! Time of one step of a batch, random actions included, over batch sizes and thread counts.
//!
//! Besides the speed it shows from which batch size on a second thread pays.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use envs::{EnvConfig, EnvId, StepBuffers};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;

fn step(criterion: &mut Criterion) {
    for id in EnvId::ALL {
        let mut group = criterion.benchmark_group(id.as_str());
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap_or_else(|error| panic!("a pool of {threads} threads cannot be started: {error}"));
            for num_envs in [64, 512, 4096, 16_384] {
                let mut env = envs::make(&EnvConfig::for_id(id), num_envs)
                    .unwrap_or_else(|error| panic!("{id} cannot be made: {error}"));
                let mut buffers = StepBuffers::for_env(env.as_ref());
                let mut actions = vec![0; num_envs];
                let mut random = Xoroshiro128PlusPlus::seed_from_u64(0);
                group.throughput(Throughput::Elements(num_envs as u64));
                group.bench_function(BenchmarkId::new(format!("{threads} threads"), num_envs), |bencher| {
                    pool.install(|| {
                        bencher.iter(|| {
                            random.fill_bytes(&mut actions);
                            for action in &mut actions {
                                *action &= 3;
                            }
                            env.step(&actions, buffers.slices())
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, step);
criterion_main!(benches);
