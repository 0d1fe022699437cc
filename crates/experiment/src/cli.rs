//! The options that every binary has.
use std::path::PathBuf;

use clap::Args;

use crate::device::DeviceArg;

/// The options that every binary and every verb has; flatten it into the parser.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Read settings from a TOML file.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Set one key, over the file; can be given many times.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Seed of every random stream.
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// Folder of the run, in place of runs/NAME-seedN.
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,
    /// Where the tensors live: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceArg::Cpu, global = true)]
    pub device: DeviceArg,
    /// Threads to compute with; all cores if not given.
    #[arg(long, value_name = "N", value_parser = threads, global = true)]
    pub threads: Option<usize>,
    /// No progress bar and no warnings.
    #[arg(long, global = true)]
    pub quiet: bool,
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one thread is needed".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number is needed".into()),
    }
}
