//! The life of a run, shared by every binary of Signalbox: its config, its seed streams, its folder, its
//! metrics, its checkpoints, and what a user sees of it in the terminal.
//!
//! A run goes through these hands in turn:
//!
//! | stage | what | here |
//! |---|---|---|
//! | command line | `--config`, `--set`, `--seed`, `--out`, … | [`CommonArgs`] |
//! | config | defaults < file < `--set`, all faults at once | [`load`], [`load_run`], [`Settings`] |
//! | randomness | one seed, one generator for each named purpose | [`SeedStreams`] |
//! | folder | created once, locked while in use, written atomically | [`RunFolder`], [`Manifest`] |
//! | training | one JSON line an update, event files, a bar, Ctrl-C | [`MetricsWriter`], [`EventWriter`], [`Progress`], [`Interrupt`] |
//! | resume | the newest intact checkpoint, the metrics cut back to it | [`CheckpointStore`], [`MetricsWriter::resume`] |
//! | sweep | many runs side by side or through Slurm, and their results | [`sweep`] |
//! | end | data on stdout; one `error:` line, one `hint:` line, an exit code | [`print`](fn@print), [`report`] |
//!
//! ```
//! use experiment::{MetricsWriter, RunFolder, SeedStreams, read_metrics};
//! use rand::RngExt;
//!
//! # fn main() -> Result<(), experiment::RunError> {
//! # let scratch = tempfile::tempdir().expect("a temporary folder");
//! let run = RunFolder::create(&scratch.path().join("demo-seed7"))?;
//! let mut noise = SeedStreams::new(7).stream("env");
//! let mut metrics = MetricsWriter::create(&run.metrics_path())?;
//! for update in 1..=3 {
//!     metrics.log(update * 128, update, &[("eval/return", noise.random::<f64>())])?;
//! }
//! metrics.flush()?;
//! assert_eq!(read_metrics(&run.metrics_path())?.len(), 3);
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod atomic;
mod checkpoint;
mod checkpoint_store;
mod cli;
mod config;
mod device;
pub mod driver;
mod error;
mod hold;
mod interrupt;
mod live;
mod logging;
mod manifest;
mod metrics;
mod numbers;
mod opening;
mod overview;
mod progress;
mod report;
mod run_folder;
mod seeds;
pub mod sweep;
mod tensorboard;
mod terminal;
mod user_cache;

pub use atomic::{require_vacant, write_atomic, write_folder};
pub use checkpoint::Checkpoint;
pub use checkpoint_store::CheckpointStore;
pub use cli::{
    CommonArgs, ConfigArgs, GivenOptions, ListArgs, LookupVerb, MOST_THREADS, OutputArgs, program_main, usage,
};
pub use config::{
    ConfigError, Fault, Faults, Settings, describe, differences, either, load, load_run, resolve, to_toml,
};
pub use crc32c::crc32c;
pub use device::DeviceArg;
pub use error::RunError;
pub use interrupt::{Interrupt, install};
pub use live::LiveView;
pub use logging::init_logging;
pub use manifest::{AskedOutputs, Manifest, utc_timestamp};
pub use metrics::{MetricsWriter, Record, read_metrics, write_csv};
pub use numbers::{decimals, signed_decimals};
pub use opening::{open_own, open_regular, read_at_most};
pub use overview::{Measures, Overview, RunState};
pub use progress::{Activity, Progress};
pub use rand_xoshiro::Xoshiro256PlusPlus;
pub use report::{UserError, report};
pub use run_folder::{RunFolder, create_folder};
pub use seeds::SeedStreams;
pub use tensorboard::EventWriter;
pub use terminal::{lines, print, say, shell_path, shell_word};
pub use user_cache::user_cache_folder;
