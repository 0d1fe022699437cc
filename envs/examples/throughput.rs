//! Steps per second of every environment, random actions drawn within the measurement.
//!
//! `cargo run --release -p envs --example throughput [-- NUM_ENVS [THREADS]]`; by default 4,096 environments on two
//! threads. Each line is the median, the least and the most of eleven repetitions.

#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use std::time::{Duration, Instant};

use envs::{EnvConfig, EnvId, StepBuffers, VectorEnv};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;

const REPETITIONS: usize = 11;
const LEAST: Duration = Duration::from_millis(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let num_envs = args.next().map_or(Ok(4096), |arg| arg.parse())?;
    let threads = args.next().map_or(Ok(2), |arg| arg.parse())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    println!("{num_envs} environments, {threads} threads, million steps/s: median (least to most)");
    for id in EnvId::ALL {
        let mut env = envs::make(&EnvConfig::for_id(id), num_envs)?;
        let mut rates = pool.install(|| rates(env.as_mut()))?;
        rates.sort_by(f64::total_cmp);
        let [least, median, most] = [0, REPETITIONS / 2, REPETITIONS - 1].map(|i| rates[i] / 1e6);
        println!("{id:<24}{median:>8.1} ({least:.1} to {most:.1})");
    }
    Ok(())
}

/// Steps per second, once for each repetition.
fn rates(env: &mut dyn VectorEnv) -> Result<Vec<f64>, envs::EnvError> {
    let mut buffers = StepBuffers::for_env(env);
    let mut actions = vec![0; env.num_envs()];
    let mut random = Xoroshiro128PlusPlus::seed_from_u64(0);
    env.reset(Some(0), &mut buffers.observations)?;
    let mut rates = Vec::with_capacity(REPETITIONS + 1);
    while rates.len() <= REPETITIONS {
        let (begin, mut steps) = (Instant::now(), 0);
        while begin.elapsed() < LEAST {
            for _ in 0..32 {
                random.fill_bytes(&mut actions);
                for action in &mut actions {
                    *action &= 3;
                }
                env.step(&actions, buffers.slices())?;
            }
            steps += 32 * actions.len();
        }
        rates.push(steps as f64 / begin.elapsed().as_secs_f64());
    }
    rates.remove(0); // the first one warms up
    Ok(rates)
}
