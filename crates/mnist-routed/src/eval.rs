//! The verb `eval`: a saved autoencoder and its certificates on the validation images.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use experiment::{DeviceArg, RunFolder};
use serde_json::json;

use crate::data::Dataset;
use crate::{Config, checkpoint};

/// Scores a run's networks and returns one JSON line a network.
///
/// # Errors
/// Fails where the folder holds no run or no intact checkpoint.
pub fn eval(
    run: &Path,
    checkpoint: Option<&Path>,
    device: &DeviceArg,
    threads: usize,
    dataset: impl FnOnce(&Config) -> Result<Arc<Dataset>>,
) -> Result<String> {
    let device = device.open()?;
    let view = RunFolder::view(run)?;
    let config: Config = experiment::load(Some(&view.config_path()), &[])?;
    let (path, checkpoint) = checkpoint::open_checkpoint(&view, checkpoint)?;
    let (mut trainer, _) =
        checkpoint::restore(&checkpoint, &path, &config, &dataset(&config)?, threads, &device)?;
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
            "checkpoint": path.display().to_string(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(out)
}
