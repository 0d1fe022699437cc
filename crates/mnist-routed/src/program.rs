//! The experiment as a program of the driver: what it trains, what a checkpoint holds, and what is left at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use experiment::MOST_THREADS;
use experiment::driver::{
    BuildContext, Due, Finished, FinishedRun, Position, Program, Report, ResumePoint, State, Training,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::{self, Dataset, DatasetName};
use crate::summary::Summary;
use crate::{Config, Error, Objective, Split, Trainer, UpdateReport, plots};

/// An autoencoder with its certificates, on images that are looked for once.
#[derive(Debug, Default)]
pub struct Autoencoder {
    data_dir: Option<PathBuf>,
    quiet: bool,
    images: Mutex<Option<Arc<Dataset>>>,
}

impl Autoencoder {
    /// With images from a folder, or else from this machine's cache or the network; a download is announced unless
    /// `quiet`.
    pub fn new(data_dir: Option<PathBuf>, quiet: bool) -> Self {
        Self { data_dir, quiet, images: Mutex::default() }
    }

    /// The folder that the images come from, if one was given.
    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The images of a config.
    ///
    /// # Errors
    /// Fails where they cannot be had or are damaged.
    pub fn images(&self, config: &Config) -> Result<Arc<Dataset>> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dataset) = images.as_ref().filter(|dataset| dataset.name == config.data.dataset) {
            return Ok(Arc::clone(dataset));
        }
        let dataset = Arc::new(data::load(config.data.dataset, self.data_dir.as_deref(), self.quiet)?);
        *images = Some(Arc::clone(&dataset));
        Ok(dataset)
    }
}

impl Program for Autoencoder {
    type Config = Config;
    type Training = Trainer;
    type Summary = Summary;

    const NAME: &'static str = "mnist-routed";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const COMMIT: Option<&'static str> = option_env!("SIGNALBOX_COMMIT");
    const UNIT: &'static str = "images";
    const READERS: &'static str = "`plot` and `eval`";

    fn routes(&self, config: &Config) -> Result<BTreeMap<String, Value>> {
        let table = serde_json::to_value(Objective::new(config)?.routes)?;
        Ok([(config.train.setting.name().to_owned(), table)].into())
    }

    /// The data set, the setting, and the split, if it is not the paper's.
    fn run_name(&self, config: &Config) -> String {
        let dataset = match config.data.dataset {
            DatasetName::Mnist => "mnist",
            DatasetName::Fashion => "fashion",
            DatasetName::Sample => "sample",
        };
        let split = config.train.split.to_string().replace('|', "_");
        let split = if config.train.split == Split::default() { String::new() } else { format!("-{split}") };
        format!("{dataset}-{}{split}", config.train.setting.name())
    }

    fn checkpoints_kept(&self, config: &Config) -> usize {
        config.checkpoint.keep
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Trainer> {
        let images = self.images(config)?;
        Ok(Trainer::new(config, &images, cx.seed, cx.threads, cx.threads, cx.device)?)
    }

    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, checkpoint: &ResumePoint) -> Result<Trainer> {
        #[derive(Deserialize)]
        struct Header {
            shards: usize,
        }
        let refused = |fault: String| Error::State(format!("{} {fault}", checkpoint.origin()));
        let Header { shards } = checkpoint.header()?;
        if !(1..=MOST_THREADS).contains(&shards) {
            let fault = format!("splits a batch in {shards} parts; 1 to {MOST_THREADS} can be made");
            return Err(refused(fault).into());
        }
        let images = self.images(config)?;
        let mut trainer = Trainer::new(config, &images, cx.seed, cx.threads, shards, cx.device)?;
        let (update, total) = (checkpoint.update, trainer.updates_total());
        if update > total {
            return Err(refused(format!("has done {update} updates of {total}")).into());
        }
        trainer.load(&checkpoint.tensors, update, &checkpoint.origin())?;
        Ok(trainer)
    }

    fn finish(&self, trainer: &mut Trainer, run: &FinishedRun<'_>) -> Result<Finished<Summary>> {
        let summary = Summary::new(trainer.config(), run.seed, run.seconds, run.records);
        let mut text = summary.table();
        let Summary { images, seconds, images_per_second, factor, .. } = &summary;
        writeln!(text, "\nfactor {factor:.2}: other digits' error over the own digits', last certificate")?;
        writeln!(
            text,
            "{images} images in {seconds:.0} s, {images_per_second:.0} images/s with evaluations"
        )?;
        if run.pictures {
            let config = trainer.config().clone();
            let paths =
                plots::draw(&config, &[run.records.to_vec()], Some(trainer), &run.folder.make("plots")?)?;
            text += &experiment::lines(&paths);
        }
        Ok(Finished { summary, text })
    }
}

impl Training for Trainer {
    fn position(&self) -> Position {
        Position {
            update: self.updates_done(),
            updates_total: self.updates_total(),
            step: self.images_done(),
            steps_total: self.images_total(),
        }
    }

    fn update(&mut self) -> Result<Report> {
        let UpdateReport { losses, grad_norm, .. } = Self::update(self)?;
        let split = &self.objective().split;
        let certificates = losses.certificates.iter().enumerate();
        let mut values = vec![
            ("losses/reconstruction".to_owned(), losses.reconstruction),
            ("losses/l1".to_owned(), losses.l1),
            ("losses/correlation".to_owned(), losses.correlation),
        ];
        values.extend(
            certificates.map(|(part, loss)| (format!("losses/certificate_{}", split.part_name(part)), *loss)),
        );
        values.push(("charts/grad_norm".to_owned(), grad_norm));
        // grows without bound where nothing holds it back, and the loss does not show it
        values.push(("charts/latent_l1".to_owned(), losses.l1));
        Ok(Report { values, message: None })
    }

    fn evaluate(&mut self) -> Result<Report> {
        let evaluation = Self::evaluate(self)?;
        let split = &self.objective().split;
        let epoch = self.updates_done() as f64 / self.updates_per_epoch() as f64;
        let mut values = vec![("charts/epoch".to_owned(), epoch)];
        values.extend(evaluation.named(split));
        let last = split.parts() - 1;
        let errors = &evaluation.certificates[last].part_mse;
        let shown: Vec<String> = errors.iter().map(|mse| format!("{mse:.3}")).collect();
        Ok(Report { values, message: Some(format!("{} {}", split.part_name(last), shown.join("/"))) })
    }

    /// Both are counted in epochs.
    fn due(&self, what: Due) -> bool {
        let every = match what {
            Due::Evaluation => self.config().eval.every,
            Due::Checkpoint => self.config().checkpoint.every,
        };
        let (update, epoch) = (self.updates_done(), self.updates_per_epoch());
        update.is_multiple_of(epoch) && (update / epoch).is_multiple_of(every)
    }

    /// After the last update nothing moves the parameters any more, so that Adam's moments, two thirds of the
    /// state, are left out.
    fn state(&self) -> Result<State> {
        let mut tensors = Self::state(self)?;
        if self.updates_done() == self.updates_total() {
            tensors.retain(|name, _| !name.starts_with("adam."));
        }
        Ok(State { header: json!({"shards": self.shards()}), tensors })
    }
}
