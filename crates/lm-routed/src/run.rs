//! The life of a run: from the first line of the config to the table and the pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::{
    CheckpointStore, DeviceArg, Interrupt, Manifest, MetricsWriter, RunFolder, SeedStreams, UserError,
    read_metrics, write_csv,
};

use crate::Error;
use crate::config::{Config, Experiment};
use crate::data::Dataset;
use crate::evaluate::Validation;
use crate::finetune::{Network, Surroundings};
use crate::methods::{Method, Part, Recipe, rmu};
use crate::model::{Hooks, copied};
use crate::saved::{Header, checkpoint, load_network, save_network};
use crate::train::Trainer;
use crate::watch::Bar;
use crate::{localise, pipeline, report, steer};

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
    let found = store.latest_intact(&Device::Cpu);
    let mut header = None;
    if let Some((file, checkpoint)) = &found {
        let read = Header::of(checkpoint, file)?;
        if read.config != config {
            let message = format!("{} was written under another config.toml", file.display());
            return Err(UserError::failed(message).with_hint("restore the run's config.toml").into());
        }
        header = Some(read);
    }
    let update = header.as_ref().map_or(0, |header| header.update);
    if update > 0 && !read_metrics(&folder.metrics_path())?.iter().any(|record| record.update == update) {
        let metrics = folder.metrics_path();
        let message = format!("{} has no record of update {update}, the checkpoint's", metrics.display());
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
        seconds_before: header.as_ref().map_or(0.0, |header| header.seconds),
        found: found.zip(header).map(|((_, checkpoint), header)| (checkpoint, header)),
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
) -> Result<(rayon::ThreadPool, Dataset, Vec<u16>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    let dataset = pool.install(|| Dataset::load(&config.data))?;
    let listed = localise::known_tokens(&dataset, tokens);
    if config.experiment.kind == Experiment::Virology && listed.is_empty() {
        let error = UserError::usage("`virology` needs tokens that are in the vocabulary");
        return Err(error.with_hint("list them one a line in a file and give it with --tokens").into());
    }
    Ok((pool, dataset, listed))
}

fn make_folders(folder: &RunFolder) -> Result<()> {
    for name in ["parts", "models"] {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).map_err(|source| experiment::RunError::Write { path, source })?;
    }
    Ok(())
}

/// A process at work on a run.
struct Session {
    folder: RunFolder,
    config: Config,
    manifest: Manifest,
    metrics: MetricsWriter,
    store: CheckpointStore,
    interrupt: Interrupt,
    dataset: Dataset,
    /// The tokens of `virology`.
    listed: Vec<u16>,
    streams: SeedStreams,
    device: Device,
    threads: usize,
    csv: bool,
    seconds_before: f64,
    started: Instant,
    /// The checkpoint to go on from.
    found: Option<(experiment::Checkpoint, Header)>,
}

/// Where a part stands among all updates and tokens.
#[derive(Clone, Copy)]
struct Place {
    updates_before: u64,
    total_tokens: u64,
}

impl Session {
    fn go_on(&mut self, bar: &mut Bar) -> Result<String> {
        let parts = Part::all(&self.config);
        let total_tokens =
            parts.iter().map(|part| part.steps(&self.config)).sum::<u64>() * self.tokens_per_step();
        let mut place = Place { updates_before: 0, total_tokens };
        let begin = self.found.as_ref().map_or(0, |(_, header)| header.update) * self.tokens_per_step();
        bar.begin(begin, total_tokens);
        for part in parts {
            let steps = part.steps(&self.config);
            if !self.part_path(part).exists() {
                self.run_part(part, place, bar)?;
            }
            place.updates_before += steps;
        }
        bar.end();
        self.finish(place.updates_before)
    }

    fn tokens_per_step(&self) -> u64 {
        (self.config.train.batch_size * self.config.model.block_size) as u64
    }

    fn part_path(&self, part: Part) -> PathBuf {
        self.folder.path().join("parts").join(format!("{}.json", part.name()))
    }

    fn model_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("models").join(format!("{name}.safetensors"))
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn around(&self) -> Surroundings<'_> {
        Surroundings {
            config: &self.config,
            dataset: &self.dataset,
            streams: self.streams,
            threads: self.threads,
        }
    }

    fn run_part(&mut self, part: Part, place: Place, bar: &Bar) -> Result<()> {
        let began = Instant::now();
        let recipe = Recipe::new(&self.config, part, &self.dataset, self.streams, &self.listed)?;
        let at = (place.updates_before + part.steps(&self.config)) * self.tokens_per_step();
        let interrupt = self.interrupt.clone();
        let run = self.folder.path().display().to_string();
        let say = |what: &str| -> Result<(), Error> {
            bar.update(at, 0.0, &format!("{}: {what}", part.name()));
            if interrupt.requested() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let trained = if part.method == Method::Rmu {
            let base = load_network(&self.model_path(Method::Base.name()), &self.device)?;
            rmu(&base, &recipe.labels, self.around(), |step| say(&format!("step {step}")))
        } else {
            Ok(self.train(part, &recipe, place, bar)?)
        };
        let outcome = trained.and_then(|trained| self.after(part, &recipe, &trained, began, say));
        match outcome {
            Err(Error::Interrupted) => {
                Err(UserError::failed(format!("interrupted behind the training of {}", part.name()))
                    .with_hint(format!("go on with: lm-routed resume {run}"))
                    .into())
            }
            other => Ok(other?),
        }
    }

    /// What follows on the training; ends with the part's result file.
    fn after(
        &self,
        part: Part,
        recipe: &Recipe,
        trained: &Network,
        began: Instant,
        say: impl Fn(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = format!("parts/{}.json", part.name());
        match self.config.experiment.kind {
            Experiment::Era => {
                let (mut result, kept) = pipeline::after_training(part, recipe, trained, self.around(), say)?;
                result.seconds = began.elapsed().as_secs_f64();
                save_network(&kept, &self.model_path(&part.name()))?;
                self.folder.write_json(&name, &result)?;
            }
            Experiment::Steer => {
                save_network(trained, &self.model_path(&part.name()))?;
                self.folder.write_json(&name, &steer::measure(trained, self.around(), say)?)?;
            }
            Experiment::Virology => {
                save_network(trained, &self.model_path(&part.name()))?;
                let result = localise::measure(trained, self.around(), &self.listed, say)?;
                self.folder.write_json(&name, &result)?;
            }
        }
        Ok(())
    }

    /// Trains a part's model to its end, from the checkpoint where it has one.
    fn train(&mut self, part: Part, recipe: &Recipe, place: Place, bar: &Bar) -> Result<Network> {
        let name = part.name();
        let (config, dataset) = (self.config.clone(), &self.dataset);
        let streams = self.streams;
        let mut trainer =
            Trainer::new(&config, dataset, part, recipe.clone(), streams, self.threads, &self.device)?;
        if let Some((checkpoint, header)) = self.found.take_if(|(_, header)| header.part == name) {
            trainer.load_state(&checkpoint.tensors, header.step, "the checkpoint")?;
        }
        let validation = Validation::new(dataset, config.eval.stories, config.model.block_size);
        let tokens = self.tokens_per_step();
        let total = part.steps(&config);
        let mut message = String::new();
        while trainer.step() < total {
            let began = Instant::now();
            let report = trainer.train_step().with_context(|| self.last_checkpoint())?;
            let rate = tokens as f64 / began.elapsed().as_secs_f64();
            let done = trainer.step();
            let last = done == total;
            let mut values = vec![
                (format!("{name}/losses/train"), report.loss),
                (format!("{name}/losses/l1"), report.penalty),
                (format!("{name}/charts/grad_norm"), report.norm),
                (format!("{name}/charts/learning_rate"), report.learning_rate),
                ("charts/TPS".to_owned(), rate),
            ];
            if done.is_multiple_of(config.eval.every) || last {
                let losses = validation.losses(&mut trainer.model, &Hooks::default())?;
                values.push((format!("{name}/eval/forget"), losses.forget));
                values.push((format!("{name}/eval/retain"), losses.retain));
                message = format!("forget {:.3} retain {:.3}", losses.forget, losses.retain);
            }
            let update = place.updates_before + done;
            let values: Vec<(&str, f64)> =
                values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            self.metrics.log(update * tokens, update, &values)?;
            if done.is_multiple_of(config.eval.every) {
                // so that `plot` draws a run that is still going on
                self.metrics.flush()?;
            }
            bar.update(update * tokens, rate, &format!("{name} {message}"));
            let interrupted = self.interrupt.requested();
            if done.is_multiple_of(config.checkpoint.every) || last || interrupted {
                self.metrics.sync()?;
                let seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
                let header = Header {
                    update,
                    part: name.clone(),
                    step: done,
                    seed: self.manifest.seed,
                    seconds,
                    config: config.clone(),
                };
                self.store.save(update, &checkpoint(&trainer, &header)?)?;
            }
            if interrupted && !last {
                let run = self.folder.path().display().to_string();
                let all = place.total_tokens / tokens;
                let error = UserError::failed(format!("interrupted after update {update} of {all}; saved"));
                return Err(error.with_hint(format!("go on with: lm-routed resume {run}")).into());
            }
        }
        let parameters = copied(trainer.model.parameters())?;
        Ok(Network { architecture: recipe.wide.clone(), parameters })
    }

    fn last_checkpoint(&self) -> String {
        let newest = self.store.list().ok().and_then(|list| list.last().map(|(_, path)| path.clone()));
        match newest {
            Some(path) => format!("the run stopped; its last good checkpoint is {}", path.display()),
            None => "the run stopped before its first checkpoint".to_owned(),
        }
    }

    fn finish(&mut self, updates: u64) -> Result<String> {
        self.metrics.sync()?;
        if self.csv {
            let records = read_metrics(&self.folder.metrics_path())?;
            write_csv(&records, &self.folder.path().join("metrics.csv"))?;
        }
        let report = report::write(&self.folder, &self.config, None)?;
        self.manifest.finish();
        self.folder.write_json("manifest.json", &self.manifest)?;
        // the summary says that a run is done, so it comes last
        let seconds = self.seconds();
        let tokens = updates * self.tokens_per_step();
        let summary = serde_json::json!({
            "experiment": self.config.experiment.kind,
            "seed": self.manifest.seed,
            "updates": updates,
            "tokens": tokens,
            "seconds": seconds,
            "parts": report.parts,
        });
        self.folder.write_json("summary.json", &summary)?;
        let mut text = report.text;
        writeln!(text, "\n{tokens} tokens of training in {seconds:.0} s")?;
        for path in report.files {
            writeln!(text, "{}", path.display())?;
        }
        Ok(text)
    }
}
