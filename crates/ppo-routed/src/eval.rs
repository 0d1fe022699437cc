//! The verbs `eval` and `render --text`: a saved policy on fresh environments.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use envs::StepBuffers;
use experiment::driver::ResumePoint;
use experiment::{CommonArgs, RunFolder};
use serde_json::json;

use crate::losses::log_softmax;
use crate::{Config, Evaluation, PolicyName, Ppo, Trainer, checkpoint};

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
    let view = RunFolder::view(run)?;
    let config: Config = experiment::load(Some(&view.config_path()), &common.set)?;
    let point = ResumePoint::asked_or_newest::<Ppo>(&view, checkpoint)?;
    let mut scores: Vec<(PolicyName, Vec<Evaluation>)> = Vec::new();
    for repeat in 0..repeats {
        let mut trainer =
            Trainer::new(&config, common.seed.unwrap_or(0).wrapping_add(repeat), threads, &device)?;
        checkpoint::load_policy(&trainer, &point)?;
        trainer.parameters_changed()?;
        for (name, evaluation) in trainer.evaluate()? {
            match scores.iter_mut().find(|(known, _)| *known == name) {
                Some((_, evaluations)) => evaluations.push(evaluation),
                None => scores.push((name, vec![evaluation])),
            }
        }
    }
    let mut out = String::new();
    for (name, evaluations) in scores {
        let n = evaluations.len() as f64;
        let mean = |f: fn(&Evaluation) -> f64| evaluations.iter().map(f).sum::<f64>() / n;
        let average = mean(|e| e.stepwise_return);
        let squares: f64 = evaluations.iter().map(|e| (e.stepwise_return - average).powi(2)).sum();
        let error = if n > 1.0 { Some((squares / (n - 1.0) / n).sqrt()) } else { None };
        let line = json!({
            "policy": name.as_str(),
            "return": average,
            "return_standard_error": error,
            "share_diamond": mean(Evaluation::share_diamond),
            "share_ghost": mean(Evaluation::share_ghost),
            "mean_length": mean(|e| e.mean_length),
            "evaluations": evaluations.len(),
            "num_envs": config.eval.num_envs,
            "oversight_prob": config.env.oversight_prob,
            "checkpoint": point.origin(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(out)
}

/// Plays one episode of every policy in the same world and returns it as text, a frame a step.
///
/// # Errors
/// Fails where the folder holds no run or no intact checkpoint.
pub fn play(run: &Path, seed: u64) -> Result<String> {
    const ARROWS: [&str; 4] = ["north", "east", "south", "west"];
    let view = RunFolder::view(run)?;
    let config: Config = experiment::load(Some(&view.config_path()), &[])?;
    let point = ResumePoint::asked_or_newest::<Ppo>(&view, None)?;
    let trainer = Trainer::new(&config, 0, 1, &Device::Cpu)?;
    checkpoint::load_policy(&trainer, &point)?;
    let mut out = String::new();
    for name in PolicyName::of(config.train.method) {
        let mut env = envs::make(&config.env.config(), 1)?;
        let mut buffers = StepBuffers::for_env(env.as_ref());
        env.reset(Some(seed), &mut buffers.observations)?;
        writeln!(out, "{} policy\n\n{}", name.as_str(), env.render_text(0))?;
        for step in 1..=config.env.max_steps {
            let shape = (1, buffers.observations.len());
            let observation = candle_core::Tensor::from_slice(&buffers.observations, shape, &Device::Cpu)?;
            let logits = trainer.policy().forward(&observation, name.steering())?.logits.to_vec2::<f32>()?;
            let mut log_probs = [0.0; envs::NUM_ACTIONS];
            log_softmax(&logits[0], &mut log_probs);
            let best =
                (0..log_probs.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).unwrap_or(0);
            env.step(&[best as u8], buffers.slices())?;
            let end = match buffers.outcomes[0].reached {
                envs::Reached::Diamond => Some("reached the Diamond"),
                envs::Reached::Ghost => Some("reached the Ghost"),
                envs::Reached::Nothing if buffers.truncations[0] => Some("ran out of steps"),
                envs::Reached::Nothing => None,
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
