//! The life of a run: from the first line of the config to the table and the pictures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use experiment::{
    CheckpointStore, DeviceArg, Manifest, MetricsWriter, RunFolder, SeedStreams, UserError, read_metrics,
};

use crate::Error;
use crate::checkpoint::ResumePoint;
use crate::config::{Config, Experiment};
use crate::data::Dataset;
use crate::progress::Bar;
use crate::session::Session;
use crate::{localise, report, steer};

/// A run to be started.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The settings.
    pub config: Config,
    /// The seed of every random stream.
    pub seed: u64,
    /// The run folder, which must not hold anything yet.
    pub folder: PathBuf,
    /// Threads to compute with.
    pub threads: usize,
    /// Where the tensors live.
    pub device: DeviceArg,
    /// Whether to write `metrics.csv` as well.
    pub csv: bool,
    /// The token list of `virology`.
    pub tokens: Vec<String>,
}

/// The file with the token list in a run folder.
const TOKENS: &str = "tokens.txt";

/// Starts a run, sees it through and returns the text for the user.
///
/// # Errors
/// Fails where the folder is in use, the data are not there, training breaks down, or a file cannot be written. An
/// interrupted run has its checkpoint written first.
pub fn start(request: &RunRequest, bar: &mut Bar) -> Result<String> {
    let device = request.device.open()?;
    // whatever is wrong with the data shows before there is a folder
    let (pool, dataset, listed) = prepare(&request.config, request.threads, &request.tokens)?;
    let folder = RunFolder::create(&request.folder)?;
    folder.write_text("config.toml", &experiment::to_toml(&request.config)?)?;
    if !request.tokens.is_empty() {
        folder.write_text(TOKENS, &(request.tokens.join("\n") + "\n"))?;
    }
    make_folders(&folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let manifest = Manifest::new("lm-routed", version, request.seed, request.threads, &request.device);
    folder.write_json("manifest.json", &manifest)?;
    let metrics = MetricsWriter::create(&folder.metrics_path())?;
    let mut session = Session {
        store: CheckpointStore::new(folder.checkpoints(), request.config.checkpoint.keep),
        config: request.config.clone(),
        streams: SeedStreams::new(request.seed),
        interrupt: experiment::install()?,
        folder,
        manifest,
        metrics,
        dataset,
        listed,
        device,
        threads: request.threads,
        csv: request.csv,
        seconds_before: 0.0,
        started: Instant::now(),
        found: None,
    };
    pool.install(|| session.go_on(bar))
}

/// Goes on with an interrupted run: parts that are done are skipped, the one in training goes on from its newest
/// intact checkpoint, exactly as if it had not been interrupted.
///
/// # Errors
/// As [`start`]; and where the run is finished already.
pub fn resume(path: &Path, threads: Option<usize>, csv: bool, bar: &mut Bar) -> Result<String> {
    let folder = RunFolder::open(path)?;
    let config: Config = experiment::load(Some(&folder.config_path()), &[])?;
    let mut manifest = Manifest::read(&folder.manifest_path())?;
    if folder.summary_path().exists() {
        let message = format!("the run in {} is finished", path.display());
        return Err(UserError::usage(message)
            .with_hint("`plot`, `eval` and `generate` work on a finished run")
            .into());
    }
    let arg: DeviceArg = manifest.device.parse().context("the device in manifest.json")?;
    let device = arg.open()?;
    let threads = threads.unwrap_or(manifest.threads);
    let tokens = match config.experiment.kind {
        Experiment::Virology => localise::read_tokens(&folder.path().join(TOKENS))?,
        _ => Vec::new(),
    };
    let (pool, dataset, listed) = prepare(&config, threads, &tokens)?;
    let store = CheckpointStore::new(folder.checkpoints(), config.checkpoint.keep);
    let found = ResumePoint::newest(&store, &config)?;
    // a damaged result shows now, not when everything else is done
    let done = report::updates_done(&folder, &config)?;
    // parts that are done are not made again, nor are their metrics
    let update = found.as_ref().map_or(0, |found| found.header.update).max(done);
    if update > 0 && !read_metrics(&folder.metrics_path())?.iter().any(|record| record.update == update) {
        let metrics = folder.metrics_path();
        let message = format!("{} has no record of update {update}, the last one saved", metrics.display());
        return Err(UserError::failed(message)
            .with_hint("restore it from a copy, or start the run again")
            .into());
    }
    make_folders(&folder)?;
    let metrics = MetricsWriter::resume(&folder.metrics_path(), update)?;
    manifest.resume();
    folder.write_json("manifest.json", &manifest)?;
    let mut session = Session {
        streams: SeedStreams::new(manifest.seed),
        interrupt: experiment::install()?,
        seconds_before: found.as_ref().map_or(0.0, |found| found.header.seconds),
        found,
        store,
        config,
        folder,
        manifest,
        metrics,
        dataset,
        listed,
        device,
        threads,
        csv,
        started: Instant::now(),
    };
    pool.install(|| session.go_on(bar))
}

fn prepare(
    config: &Config,
    threads: usize,
    tokens: &[String],
) -> Result<(rayon::ThreadPool, Dataset, Vec<u32>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    let dataset = pool.install(|| Dataset::load(&config.data)).map_err(Error::for_user)?;
    let listed = localise::known_tokens(&dataset, tokens);
    if config.experiment.kind == Experiment::Steer {
        steer::token_of(config, &dataset).map_err(Error::for_user)?;
    }
    if config.experiment.kind == Experiment::Virology && listed.is_empty() {
        let error = UserError::usage("`virology` needs tokens that are in the vocabulary");
        return Err(error.with_hint("list them one a line in a file and give it with --tokens").into());
    }
    Ok((pool, dataset, listed))
}

fn make_folders(folder: &RunFolder) -> Result<()> {
    for name in ["parts", "models"] {
        experiment::create_folder(&folder.path().join(name))?;
    }
    Ok(())
}
