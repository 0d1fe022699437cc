//! An adaptation as a program of the driver.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use experiment::driver::{BuildContext, Finished, FinishedRun, Program, ResumePoint};
use experiment::{RunFolder, UserError};
use serde_json::{Value, json};

use super::arm::Arm;
use super::measure::ArmResult;
use super::model::Shared;
use super::training::{Adapting, routes};
use crate::config::Config;
use crate::data::{CacheIs, PLACES, note_places};
use crate::results::read_json;
use crate::{Language, report};

/// Adapters of a model that somebody else trained.
#[derive(Clone, Copy, Debug)]
pub struct Adaptation {
    /// Who has named the cache of the documents.
    pub cache: CacheIs,
    /// No word about what is being done with the documents.
    pub quiet: bool,
}

impl Adaptation {
    fn begun(self, config: &Config, cx: &BuildContext<'_>, done: usize) -> Result<Adapting> {
        if !cx.device.is_cpu() {
            let error = UserError::usage("`adapt` computes on the CPU");
            return Err(error.with_hint("leave --device out").into());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(cx.threads).build();
        let pool = Arc::new(pool.context("starting threads")?);
        let shared = pool.install(|| Shared::read(config, cx.folder, cx.seed, self.cache, self.quiet))?;
        Ok(Adapting::new(shared, pool, done))
    }

    fn resumed(
        self,
        config: &Config,
        cx: &BuildContext<'_>,
        checkpoint: Option<&ResumePoint>,
    ) -> Result<Adapting> {
        // a damaged result shows now, not when everything else is done
        let results = Arm::of(config).into_iter().map(|arm| result(cx.folder, arm));
        let results = results.collect::<Result<Vec<_>>>()?;
        let mut training = self.begun(config, cx, results.iter().take_while(|one| one.is_some()).count())?;
        for result in results.iter().flatten() {
            training.shared().require_same_base(&result.base)?;
        }
        if let Some(checkpoint) = checkpoint {
            training.load(checkpoint)?;
        }
        Ok(training)
    }
}

/// The result of a model, if it is there.
pub(super) fn result(run: &Path, arm: Arm) -> Result<Option<ArmResult>> {
    read_json(&run.join("parts").join(format!("{}.json", arm.name())))
}

impl Program for Adaptation {
    type Config = Config;
    type Training = Adapting;
    type Summary = Value;

    const NAME: &'static str = Language::NAME;
    const VERSION: &'static str = Language::VERSION;
    const COMMIT: Option<&'static str> = Language::COMMIT;
    const UNIT: &'static str = Language::UNIT;
    const READERS: &'static str = "`plot` and `report`";

    fn routes(&self, config: &Config) -> Result<BTreeMap<String, Value>> {
        let arms = Arm::of(config).into_iter().filter(|arm| *arm != Arm::Base);
        Ok(arms.map(|arm| (arm.name().to_owned(), routes(arm, config))).collect())
    }

    fn run_name(&self, config: &Config) -> String {
        config.experiment.kind.name().to_owned()
    }

    fn checkpoints_kept(&self, config: &Config) -> usize {
        config.checkpoint.keep
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Adapting> {
        self.begun(config, cx, 0)
    }

    /// Models that are done are skipped; the one in training goes on from its checkpoint.
    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, checkpoint: &ResumePoint) -> Result<Adapting> {
        self.resumed(config, cx, Some(checkpoint))
    }

    /// The model in training begins anew.
    fn restart(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Option<Adapting>> {
        self.resumed(config, cx, None).map(Some)
    }

    fn prepare_folder(&self, folder: &RunFolder) -> Result<()> {
        let config: Config = experiment::load_run(&folder.config_path(), &[])?;
        if !folder.path().join(PLACES).exists() {
            note_places(&config.data, folder)?;
        }
        for name in ["parts", "adapters"] {
            folder.make(name)?;
        }
        Ok(())
    }

    fn finish(&self, training: &mut Adapting, run: &FinishedRun<'_>) -> Result<Finished<Value>> {
        let config = &training.shared().config;
        let report = report::write(run.folder, config, None)?;
        let (updates, tokens) = training.totals();
        let summary = json!({
            "experiment": config.experiment.kind,
            "seed": run.seed,
            "updates": updates,
            "tokens": tokens,
            "seconds": run.seconds,
            "base": config.adapt.base,
            "parts": report.parts,
        });
        let mut text = report.text;
        writeln!(text, "\n{tokens} tokens of training in {:.0} s", run.seconds)?;
        text += &experiment::lines(&report.files);
        Ok(Finished { summary, text })
    }
}
