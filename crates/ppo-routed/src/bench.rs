//! The verb `bench`: the speed of exactly the training step that `train` runs.

use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use envs::StepBuffers;
use experiment::driver::{BenchArgs, BenchFields, BenchPlan, median};
use experiment::{DeviceArg, SeedStreams};
use learning::kernels::peak_gflops;
use learning::lanes::rows_of;
use rand::RngExt;
use serde_json::{Value, json};

use crate::{Config, Trainer};

/// Seconds that one repetition should take where the number of updates is not given.
const REPETITION_SECONDS: f64 = 2.0;

/// Updates before the first timed one.
const WARM_UP: u64 = 3;

/// A hidden layer's product on a thread, with which a step is compared: rows, inputs, outputs.
const HIDDEN_PRODUCT: [usize; 3] = [512, 256, 256];

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
        ("gemm_gflops", json!(peak_gflops(threads, HIDDEN_PRODUCT).round())),
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
