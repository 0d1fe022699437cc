//! The verb `bench`: the speed of exactly the training step that `train` runs.

use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use experiment::DeviceArg;
use experiment::driver::{BenchArgs, BenchFields, BenchPlan, median};
use learning::kernels::peak_gflops;
use serde_json::{Value, json};

use crate::data::{self, Dataset};
use crate::{Config, DatasetName, Trainer};

/// Seconds that one repetition should take where the number of updates is not given.
const REPETITION_SECONDS: f64 = 3.0;

/// Updates before the first timed one.
const WARM_UP: u64 = 3;

/// A hidden layer's product on a thread, with which a step is compared: rows, inputs, outputs.
const HIDDEN_PRODUCT: [usize; 3] = [1024, 2048, 512];

/// Images to train on: as many as MNIST has.
const IMAGES: usize = 60_000;

/// Times `times.repetitions` × `updates` updates of a fresh run and returns one line of JSON: the median of the images a
/// second with the smallest and largest, and the speed of the largest matrix product on the same threads as the
/// ceiling to compare with. The images are those of the sample, repeated: the work does not depend on them.
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
    let work = "mnist-routed training step";
    let sample = data::load(DatasetName::Sample, None, true)?;
    let train = sample.train.repeated(IMAGES);
    let dataset = Arc::new(Dataset { train, ..sample });
    let mut trainer = Trainer::new(config, &dataset, 0, threads, threads, device)?;
    let plan = BenchPlan { warm_up: WARM_UP, times, updates, seconds: REPETITION_SECONDS };
    let mut seconds = Vec::new();
    let timed = plan.time(|| {
        let report = trainer.update()?;
        seconds.push(report.seconds);
        Ok(report.images as u64)
    })?;
    let Some(rates) = timed else { return Ok(times.untimed_line(work)) };
    let others = [
        ("setting", json!(config.train.setting.name())),
        ("batch_size", json!(config.train.batch_size)),
        ("step_s", json!(median(&mut seconds[WARM_UP as usize..]))),
        ("gemm_gflops", json!(peak_gflops(threads, HIDDEN_PRODUCT).round())),
    ];
    let others = others.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
    let fields = BenchFields { work, device: *device_name, threads, others };
    Ok(rates.line(["images_per_second", "images_per_second_min", "images_per_second_max"], fields))
}
