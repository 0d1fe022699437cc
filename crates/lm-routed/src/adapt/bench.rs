//! The speed of a routed step of adapters on a frozen base, with nothing of it computed beforehand.

use std::path::Path;

use anyhow::Result;
use experiment::driver::{BenchArgs, BenchFields, BenchPlan};
use experiment::{DeviceArg, SeedStreams};
use learning::{Adam, AdamConfig, clip_grad_norm};
use rand::RngExt;
use serde_json::{Value, json};
use transformer::{Batch, Hooks};

use super::arm::Arm;
use super::model::opened;
use crate::Error;
use crate::config::Config;

/// Steps before the first timed one.
const WARM_UP: u64 = 1;

/// Times `times.repetitions` steps of the model `routed` on random tokens, of which every second document is labelled: the
/// whole forward pass, backward, clipping, Adam. One line of JSON, as `bench` prints it for other steps.
///
/// # Errors
/// Fails where the base cannot be read or a step fails.
pub fn bench(base: &Path, config: &Config, threads: usize, times: BenchArgs) -> Result<String> {
    let work = "routed step of adapters on a frozen base";
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| {
        let base = opened(&base.display().to_string())?;
        let (decoder, streams) = (&base.decoder, SeedStreams::new(0));
        let adapters = Arm::Routed.adapters(config, decoder.shape(), streams).map_err(Error::for_user)?;
        let (tokens, sequences) = (config.model.block_size, config.train.batch_size);
        let mut rng = streams.stream("bench");
        let mut token = || rng.random_range(0..decoder.shape().vocab_size) as u32;
        let documents: Vec<Vec<u32>> =
            (0..sequences).map(|_| (0..=tokens).map(|_| token()).collect()).collect();
        let batch = Batch::new(documents.iter().map(Vec::as_slice), tokens, 0);
        let labelled: Vec<bool> = (0..sequences).map(|document| document % 2 == 0).collect();
        let gates = Arm::Routed.gates(config, &labelled, tokens);
        let mut adam = Adam::new(adapters.parameters(), AdamConfig::default())?;
        let plan = BenchPlan { warm_up: WARM_UP, times, updates: Some(1), seconds: 0.0 };
        let timed = plan.time(|| {
            let loss = decoder.loss(&batch, &Hooks::default(), Some((&adapters, &gates)))?;
            let mut gradients = loss.backward()?;
            let norm = clip_grad_norm(adapters.parameters(), &mut gradients, 1.0)?;
            anyhow::ensure!(norm.is_finite(), "the gradient is not a number");
            adam.step(&gradients, config.train.learning_rate)?;
            Ok((sequences * tokens) as u64)
        })?;
        let Some(rates) = timed else { return Ok(times.untimed_line(work)) };
        let others = [
            ("parameters", json!(decoder.parameters())),
            ("adapter_parameters", json!(adapters.parameters().num_elements())),
            ("tokens", json!(sequences * tokens)),
        ];
        let others =
            others.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
        let fields = BenchFields { work, device: DeviceArg::Cpu, threads, others };
        Ok(rates.line(["tokens_per_second", "tokens_per_second_min", "tokens_per_second_max"], fields))
    })
}
