//! The verbs `eval` and `render --text`: a saved policy on fresh environments.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use envs::StepBuffers;
use experiment::driver::{Program as _, ResumePoint};
use experiment::{CommonArgs, RunFolder, SeedStreams};
use policies::Policy;
use policies::fused::FusedPolicy;
use rayon::ThreadPoolBuilder;
use serde_json::json;

use crate::inoculation::seen_by;
use crate::losses::log_softmax;
use crate::rollout::{Actor, ForwardCache};
use crate::{Config, Evaluation, Evaluator, Ppo, Supervision, checkpoint};

/// Scores a run's policies and returns one JSON line a policy: means over `repeats` evaluations, each on fresh
/// environments, with the standard error of the return.
///
/// # Errors
/// Fails where the folder holds no run or no intact checkpoint.
pub fn eval(
    run: &Path,
    checkpoint: Option<&Path>,
    common: &CommonArgs,
    threads: usize,
    repeats: u64,
) -> Result<String> {
    let device = common.device.open()?;
    let view = RunFolder::view_of(run, Ppo::NAME)?;
    let config: Config = experiment::load_run(&view.config_path(), &common.set)?;
    let point = ResumePoint::asked_or_newest::<Ppo>(&view, checkpoint)?;
    let policy = checkpoint::policy(&point, &config, &device)?;
    let seed = common.seed.unwrap_or(0);
    let scores =
        scores(&config, &policy, &device, threads, (0..repeats).map(|repeat| seed.wrapping_add(repeat)))?;
    let mut out = String::new();
    for (name, evaluations) in scores {
        let n = evaluations.len() as f64;
        let mean = |f: &dyn Fn(&Evaluation) -> f64| evaluations.iter().map(f).sum::<f64>() / n;
        let average = mean(&|e| e.stepwise_return);
        let squares: f64 = evaluations.iter().map(|e| (e.stepwise_return - average).powi(2)).sum();
        let error = if n > 1.0 { Some((squares / (n - 1.0) / n).sqrt()) } else { None };
        let mut line = json!({
            "policy": name,
            "return": average,
            "return_standard_error": error,
            "mean_length": mean(&|e| e.mean_length),
            "evaluations": evaluations.len(),
            "num_envs": config.eval.num_envs,
            "oversight_prob": config.env.oversight_prob,
            "checkpoint": point.origin(),
        });
        for kind in &config.env.kinds {
            line[format!("share_{}", kind.name)] = mean(&|e| e.share(&kind.name)).into();
        }
        for (index, part) in evaluations[0].parts.iter().enumerate() {
            for (what, _) in part.named() {
                let value = |e: &Evaluation| {
                    let found = e.parts[index].named().find(|(other, _)| *other == what);
                    found.map_or(f64::NAN, |(_, value)| value)
                };
                // a part that no episode of an evaluation belongs to has no numbers there
                let known: Vec<f64> = evaluations.iter().map(value).filter(|x| x.is_finite()).collect();
                let mean = known.iter().sum::<f64>() / known.len() as f64;
                line[what] = if known.is_empty() { serde_json::Value::Null } else { mean.into() };
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(out)
}

/// The evaluations of each policy, one for each seed, without a trainer.
fn scores(
    config: &Config,
    policy: &Policy,
    device: &Device,
    threads: usize,
    seeds: impl Iterator<Item = u64>,
) -> Result<Vec<(String, Vec<Evaluation>)>> {
    let supervision = Supervision::new(config.train.method, &config.env.kinds)?;
    let fused = if config.train.backend.is_fused_on(device)? {
        Some(FusedPolicy::new(policy.config(), policy.parameters())?)
    } else {
        None
    };
    let actor = fused.as_ref().map_or(Actor::Candle(policy, device), Actor::Fused);
    let parts = if fused.is_some() { threads } else { 1 };
    let make_env = envs::maker(&config.env.config());
    let mut evaluator = Evaluator::new(config, &supervision, make_env, parts)?;
    let mut caches: Vec<ForwardCache> =
        (0..evaluator.parts()).map(|_| ForwardCache::new(policy.config())).collect();
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().context("threads to evaluate on")?;
    let mut scores: Vec<(String, Vec<Evaluation>)> =
        supervision.policies().into_iter().map(|(name, _)| (name, Vec::new())).collect();
    for seed in seeds {
        let streams = SeedStreams::new(seed);
        let evaluations = pool.install(|| evaluator.score(actor, &mut caches, &streams, 0))?;
        for ((_, all), (_, evaluation)) in scores.iter_mut().zip(evaluations) {
            all.push(evaluation);
        }
    }
    Ok(scores)
}

/// Plays one episode of every policy in the same world and returns it as text, a frame a step.
///
/// # Errors
/// Fails where the folder holds no run or no intact checkpoint.
pub fn play(run: &Path, seed: u64) -> Result<String> {
    const ARROWS: [&str; 4] = ["north", "east", "south", "west"];
    let view = RunFolder::view_of(run, Ppo::NAME)?;
    let config: Config = experiment::load_run(&view.config_path(), &[])?;
    let point = ResumePoint::asked_or_newest::<Ppo>(&view, None)?;
    let policy = checkpoint::policy(&point, &config, &Device::Cpu)?;
    let supervision = Supervision::new(config.train.method, &config.env.kinds)?;
    let mut out = String::new();
    for (name, steering) in supervision.policies() {
        let mut env = seen_by(config.train.method, envs::make(&config.env.config(), 1)?, false);
        let mut buffers = StepBuffers::for_env(env.as_ref());
        env.reset(Some(seed), &mut buffers.observations)?;
        writeln!(out, "{name} policy\n\n{}", env.render_text(0))?;
        for step in 1..=config.env.max_steps {
            let shape = (1, buffers.observations.len());
            let observation = candle_core::Tensor::from_slice(&buffers.observations, shape, &Device::Cpu)?;
            let logits = policy.forward(&observation, steering)?.logits.to_vec2::<f32>()?;
            let mut log_probs = [0.0; ARROWS.len()];
            log_softmax(&logits[0], &mut log_probs);
            let best =
                (0..log_probs.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).unwrap_or(0);
            env.step(&[best as u8], buffers.slices())?;
            let end = match buffers.outcomes[0].reached {
                Some(kind) => Some(format!("reached the {}", env.kinds()[usize::from(kind)].title())),
                None if buffers.truncations[0] => Some("ran out of steps".to_owned()),
                None => None,
            };
            writeln!(out, "step {step}: {}", ARROWS[best])?;
            match end {
                Some(end) => {
                    writeln!(out, "{end}\n")?;
                    break;
                }
                None => writeln!(out, "\n{}", env.render_text(0))?,
            }
        }
    }
    Ok(out)
}
