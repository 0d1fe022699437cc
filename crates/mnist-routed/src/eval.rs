//! The verb `eval`: a saved autoencoder and its certificates on the validation images.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::driver::{BuildContext, Program as _, ResumePoint};
use experiment::{DeviceArg, RunFolder};
use serde_json::json;

use crate::Config;
use crate::program::Autoencoder;

/// Scores a run's networks, after `set` has changed its settings, and returns one JSON line a network.
///
/// # Errors
/// Fails where the folder holds no run or no intact checkpoint.
pub fn eval(
    program: &Autoencoder,
    run: &Path,
    checkpoint: Option<&Path>,
    set: &[String],
    device: &DeviceArg,
    threads: usize,
) -> Result<String> {
    let device = device.open()?;
    let view = RunFolder::view_of(run, Autoencoder::NAME)?;
    let config: Config = experiment::load_run(&view.config_path(), set)?;
    let point = ResumePoint::asked_or_newest::<Autoencoder>(&view, checkpoint)?;
    if set.is_empty() {
        point.require_config(&config)?;
    }
    let cx = BuildContext { seed: point.seed, threads, lanes: threads, device: &device, folder: run };
    let mut trainer = program.rewind(&config, &cx, &point)?;
    let evaluation = trainer.evaluate()?;
    let split = &trainer.objective().split;
    let labels: Vec<String> = (0..split.parts()).map(|part| split.digits_label(part)).collect();
    let by_part = |values: &[f64]| -> serde_json::Map<String, serde_json::Value> {
        labels.iter().cloned().zip(values.iter().map(|value| json!(value))).collect()
    };
    let mut out = String::new();
    for (name, errors) in evaluation.networks(split) {
        let line = json!({
            "network": name,
            "mse": by_part(&errors.part_mse),
            "mae": by_part(&errors.part_mae),
            "mse_of_digits": errors.mse,
            "mae_of_digits": errors.mae,
            "images": trainer.test_images().len(),
            "dataset": trainer.config().data.dataset,
            "updates": trainer.updates_done(),
            "checkpoint": point.origin(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(out)
}
