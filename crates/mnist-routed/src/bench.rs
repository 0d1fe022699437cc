//! The verb `bench`: the speed of exactly the training step that `train` runs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use experiment::DeviceArg;
use learning::kernels::{Matrix, Write, matmul};
use serde_json::json;

use crate::data::{self, Dataset};
use crate::{Config, DatasetName, Trainer};

/// Seconds that one repetition should take where the number of updates is not given.
const REPETITION_SECONDS: f64 = 3.0;

/// Updates before the first timed one.
const WARM_UP: u64 = 3;

/// Images to train on: as many as MNIST has.
const IMAGES: usize = 60_000;

/// Times `repetitions` × `updates` updates of a fresh run and returns one line of JSON: the median of the images a
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
    repetitions: u32,
    updates: Option<u64>,
) -> Result<String> {
    let sample = data::load(DatasetName::Sample, None, true)?;
    let train = sample.train.repeated(IMAGES);
    let dataset = Arc::new(Dataset { train, ..sample });
    let mut trainer = Trainer::new(config, &dataset, 0, threads, threads, device)?;
    let warm_up = Instant::now();
    for _ in 0..WARM_UP {
        trainer.update()?;
    }
    let once = warm_up.elapsed().as_secs_f64() / WARM_UP as f64;
    let updates = updates.unwrap_or_else(|| ((REPETITION_SECONDS / once).ceil() as u64).max(1));
    let (mut speeds, mut seconds) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let (began, mut images) = (Instant::now(), 0);
        for _ in 0..updates {
            let report = trainer.update()?;
            images += report.images;
            seconds.push(report.seconds);
        }
        speeds.push(images as f64 / began.elapsed().as_secs_f64());
    }
    let line = json!({
        "work": "mnist-routed training step",
        "setting": config.train.setting.name(),
        "batch_size": config.train.batch_size,
        "device": device_name.to_string(),
        "threads": threads,
        "images_per_second": median(&mut speeds).round(),
        "images_per_second_min": speeds.first().copied().unwrap_or(0.0).round(),
        "images_per_second_max": speeds.last().copied().unwrap_or(0.0).round(),
        "step_s": median(&mut seconds),
        "gemm_gflops": gemm_gflops(threads).round(),
    });
    Ok(line.to_string())
}

/// Sorts and takes the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

/// GFLOP/s of a hidden layer's product, 1024×2048 by 2048×512, on each of `threads` threads at once: the best of
/// five tries.
fn gemm_gflops(threads: usize) -> f64 {
    const ROWS: usize = 1024;
    const INPUTS: usize = 2048;
    const OUTPUTS: usize = 512;
    const TIMES: usize = 8;
    let flop = (threads * TIMES * 2 * ROWS * INPUTS * OUTPUTS) as f64;
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (input, weight) = (values(ROWS * INPUTS), values(OUTPUTS * INPUTS));
    let mut best: f64 = 0.0;
    for _ in 0..5 {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut output = vec![0.0; ROWS * OUTPUTS];
                    for _ in 0..TIMES {
                        let (a, b) =
                            (Matrix::new(&input, ROWS, INPUTS), Matrix::new(&weight, OUTPUTS, INPUTS));
                        matmul(&mut output, a, b.t(), Write::Set);
                    }
                    std::hint::black_box(&output);
                });
            }
        });
        best = best.max(flop / began.elapsed().as_secs_f64() / 1e9);
    }
    best
}
