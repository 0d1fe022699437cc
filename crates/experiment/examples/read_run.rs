//! Reads a run of any of the programs: who made it, the last value of every metric, what its newest checkpoint holds.
//!
//! Run it with `cargo run -p experiment --example read_run -- runs/routing-ppo-p0.1-seed0`.

#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use candle_core::Device;
use experiment::{CheckpointStore, Manifest, RunFolder, read_metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("give a run folder")?.into();
    let run = RunFolder::view(&path)?;

    let Manifest { name: program, version, seed, threads, .. } = Manifest::read(&run.manifest_path())?;
    println!("{program} {version}, seed {seed}, {threads} threads");

    let mut last = BTreeMap::new();
    for record in read_metrics(&run.metrics_path())? {
        last.extend(record.values.into_iter().map(|(name, value)| (name, (record.update, value))));
    }
    for (name, (update, value)) in last {
        println!("{name}: {value} at update {update}");
    }

    // a damaged one is passed over
    if let Some((file, checkpoint)) = CheckpointStore::of_run(&run, 1).latest_intact(&Device::Cpu) {
        println!("{}", file.display());
        for (name, tensor) in checkpoint.tensors {
            println!("  {name}: {:?} {:?}", tensor.dtype(), tensor.shape());
        }
    }
    Ok(())
}
