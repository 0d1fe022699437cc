//! The verb `bench`: the speed of exactly the training step that `train` runs.

use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use envs::StepBuffers;
use experiment::driver::{BenchArgs, BenchFields, BenchPlan, median, peak_gflops};
use experiment::{DeviceArg, SeedStreams};
use learning::kernels::{Matrix, Write, matmul};
use learning::lanes::rows_of;
use rand::RngExt;
use serde_json::{Value, json};

use crate::{Config, Trainer};

/// Seconds that one repetition should take where the number of updates is not given.
const REPETITION_SECONDS: f64 = 2.0;

/// Updates before the first timed one.
const WARM_UP: u64 = 3;

/// Times `times.repetitions` × `updates` updates of a fresh run and returns one line of JSON: medians, with the
/// smallest and largest steps a second. Beside them stand the speed of the environment alone and of the matrix
/// product, both on the same threads, as the ceilings to compare with.
///
/// # Errors
/// Fails where training does.
pub fn bench(
    config: &Config,
    threads: usize,
    device_name: &DeviceArg,
    device: &Device,
    times: BenchArgs,
    updates: Option<u64>,
) -> Result<String> {
    let work = "ppo-routed training step";
    let mut config = config.clone();
    // long enough that the learning rate is never annealed to nothing while timing
    config.train.updates = u64::from(u32::MAX);
    let mut trainer = Trainer::new(&config, 0, threads, device)?;
    let plan = BenchPlan { warm_up: WARM_UP, times, updates, seconds: REPETITION_SECONDS };
    let (mut rollout, mut learn) = (Vec::new(), Vec::new());
    let timed = plan.time(|| {
        let report = trainer.update()?;
        rollout.push(report.rollout_seconds);
        learn.push(report.learn_seconds);
        Ok(config.steps_per_update())
    })?;
    let Some(rates) = timed else { return Ok(times.untimed_line(work)) };
    let timed = WARM_UP as usize;
    let others = [
        ("algo", json!(config.train.algo.name())),
        ("rollout_s", json!(median(&mut rollout[timed..]))),
        ("learn_s", json!(median(&mut learn[timed..]))),
        ("env_only_sps", json!(env_only(&config, threads)?.round())),
        ("gemm_gflops", json!(gemm_gflops(threads).round())),
    ];
    let others = others.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
    let fields = BenchFields { work, device: *device_name, threads, others };
    Ok(rates.line(["sps_median", "sps_min", "sps_max"], fields))
}

/// Steps a second of the run's environments alone, with random actions, on `threads` threads.
fn env_only(config: &Config, threads: usize) -> Result<f64> {
    const STEPS: usize = 2000;
    let threads = threads.min(config.env.num_envs);
    let mut parts = Vec::new();
    for part in 0..threads {
        let own = rows_of(part, threads, config.env.num_envs);
        let env = envs::make_slice(&config.env.config(), own.start, own.len())?;
        let rng = SeedStreams::new(0).stream(&format!("bench.{part}"));
        let num_actions = env.single_action_space().num_actions().unwrap_or(1) as u8;
        parts.push((StepBuffers::for_env(env.as_ref()), vec![0u8; env.num_envs()], env, rng, num_actions));
    }
    let began = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = parts
            .iter_mut()
            .map(|(buffers, actions, env, rng, num_actions)| {
                scope.spawn(move || -> Result<(), envs::EnvError> {
                    for _ in 0..STEPS {
                        for action in actions.iter_mut() {
                            *action = rng.random_range(0..*num_actions);
                        }
                        env.step(actions, buffers.slices())?;
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a thread of the environment bench died"))??;
        }
        Ok(())
    })?;
    Ok((STEPS * config.env.num_envs) as f64 / began.elapsed().as_secs_f64())
}

/// GFLOP/s of the hidden layer's product, 512×256 by 256×256, on each of `threads` threads at once.
fn gemm_gflops(threads: usize) -> f64 {
    const ROWS: usize = 512;
    const WIDTH: usize = 256;
    const TIMES: usize = 100;
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (input, weight) = (values(ROWS * WIDTH), values(WIDTH * WIDTH));
    peak_gflops(threads, TIMES * 2 * ROWS * WIDTH * WIDTH, || {
        let mut output = vec![0.0; ROWS * WIDTH];
        for _ in 0..TIMES {
            let (a, b) = (Matrix::new(&input, ROWS, WIDTH), Matrix::new(&weight, WIDTH, WIDTH));
            matmul(&mut output, a, b.t(), Write::Set);
        }
        std::hint::black_box(&output);
    })
}
