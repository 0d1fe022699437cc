//! `ppo-routed` as a program: how a run is built, brought back, and what is left of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use ::plots::PlotError;
use anyhow::Result;
use candle_core::Device;
use experiment::driver::{
    BuildContext, CutOff, Due, Finished, FinishedRun, Position, Program, Report, ResumePoint, State, Training,
};
use experiment::{Interrupt, RunFolder, decimals};
use serde_json::Value;

use crate::method::Extra;
use crate::snapshot::Snapshot;
use crate::summary::Summary;
use crate::{Config, Error, Supervision, Trainer, checkpoint, plots};

/// Oversight experiments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ppo;

/// A run in training.
pub struct PpoTraining {
    trainer: Trainer,
    /// The run folder, which takes a snapshot at every evaluation.
    folder: PathBuf,
    device: Device,
}

impl PpoTraining {
    fn new(trainer: Trainer, cx: &BuildContext<'_>) -> Self {
        Self { trainer, folder: cx.folder.to_owned(), device: cx.device.clone() }
    }
}

impl Program for Ppo {
    type Config = Config;
    type Training = PpoTraining;
    type Summary = Summary;

    const NAME: &'static str = "ppo-routed";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const COMMIT: Option<&'static str> = option_env!("SIGNALBOX_COMMIT");
    const UNIT: &'static str = "steps";
    const READERS: &'static str = "`plot`, `eval` and `render`";

    /// The method, algorithm and oversight.
    fn run_name(&self, config: &Config) -> String {
        let (method, algo) = (config.train.method.name(), config.train.algo.name());
        format!("{method}-{algo}-p{}", config.env.oversight_prob)
    }

    fn checkpoints_kept(&self, config: &Config) -> usize {
        config.checkpoint.keep
    }

    fn routes(&self, config: &Config) -> Result<BTreeMap<String, Value>> {
        let supervision = Supervision::new(config.train.method, &config.env.kinds)?;
        let table = serde_json::to_value(supervision.routes())?;
        Ok([(config.train.method.name().to_owned(), table)].into())
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<PpoTraining> {
        if let Some(why) = config.train.method.pointless(&config.env) {
            tracing::warn!("{why}");
        }
        Ok(PpoTraining::new(Trainer::new(config, cx.seed, cx.threads, cx.device)?, cx))
    }

    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, point: &ResumePoint) -> Result<PpoTraining> {
        let make_env = envs::maker(&config.env.config());
        let trainer = checkpoint::restore(point, config, &make_env, cx.threads, cx.lanes, cx.device)?;
        Ok(PpoTraining::new(trainer, cx))
    }

    fn cut_back(&self, folder: &RunFolder, update: u64) -> Result<()> {
        Ok(Snapshot::cut_back(folder.path(), update)?)
    }

    fn finish(&self, training: &mut PpoTraining, run: &FinishedRun<'_>) -> Result<Finished<Summary>> {
        let summary = Summary::new(training.trainer.config(), run.seed, run.seconds, run.records)?;
        let path = run.folder.path().to_owned();
        let mut paths = Vec::new();
        if run.pictures {
            paths.extend(drawn(plots::plot(std::slice::from_ref(&path), None))?);
            paths.extend(drawn(plots::render(&path, None))?);
        }
        let mut text = summary.table();
        let Summary { env_steps, seconds, sps, .. } = summary;
        writeln!(text, "\n{env_steps} steps in {seconds:.0} s, {sps:.0} steps/s")?;
        for path in paths {
            writeln!(text, "{}", path.display())?;
        }
        Ok(Finished { summary, text })
    }
}

/// Pictures, or none with a word where they cannot be drawn: a picture never costs a summary. A disk that takes none
/// is an error, as a resumed run writes them.
fn drawn(pictures: Result<Vec<PathBuf>>) -> Result<Vec<PathBuf>> {
    pictures.or_else(|error| {
        let plot = error.chain().find_map(|cause| cause.downcast_ref::<PlotError>());
        let of_ours = error.downcast_ref::<Error>();
        let plot =
            plot.or(of_ours.and_then(|error| if let Error::Plot(plot) = error { Some(plot) } else { None }));
        if plot.is_none_or(|plot| matches!(plot, PlotError::Write { .. })) {
            return Err(error);
        }
        tracing::warn!("left out: {error:#}");
        Ok(Vec::new())
    })
}

impl Training for PpoTraining {
    fn position(&self) -> Position {
        let steps = self.trainer.config().steps_per_update();
        Position::of_updates(self.trainer.updates_done(), self.trainer.updates_total(), steps)
    }

    fn listen(&mut self, interrupt: &Interrupt) {
        self.trainer.listen(interrupt);
    }

    fn update(&mut self) -> Result<Report> {
        match self.trainer.update() {
            Ok(report) => Ok(Report { values: report.values, message: None }),
            Err(Error::CutOff) => Err(CutOff.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Scores all policies and takes a snapshot.
    fn evaluate(&mut self) -> Result<Report> {
        let mut report = Report::default();
        for (name, evaluation) in self.trainer.evaluate()? {
            for (what, value) in evaluation.named() {
                report.values.push((format!("eval/{name}/{what}"), value));
            }
            // the first is the one that the method is judged by
            let message = || format!("{name} return {}", decimals(evaluation.stepwise_return, 3));
            report.message.get_or_insert_with(message);
        }
        let (step, update) = (self.trainer.env_steps(), self.trainer.updates_done());
        let device = &self.device;
        let snapshot =
            self.trainer.with_policy(|config, policy| Snapshot::take(config, policy, step, update, device));
        snapshot?.append(&self.folder)?;
        Ok(report)
    }

    fn due(&self, what: Due) -> bool {
        let config = self.trainer.config();
        let every = match what {
            Due::Evaluation => config.eval_every(),
            Due::Checkpoint => config.checkpoint.every,
        };
        self.trainer.updates_done().is_multiple_of(every)
    }

    fn state(&self) -> Result<State> {
        let mut state = checkpoint::state(&self.trainer)?;
        // so that nobody has to infer them from the settings
        let config = self.trainer.config();
        let mut planes = config.env.config().plane_names();
        planes.extend((config.train.method.extra == Extra::Inoculation).then(|| "in_training".to_owned()));
        state.header["planes"] = planes.into();
        state.header["actions"] = envs::ACTION_NAMES.to_vec().into();
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Config {
        let mut config = Config::default();
        (config.env.num_envs, config.train.num_steps) = (4, 4);
        config
    }

    #[test]
    fn an_update_ends_between_two_steps_where_it_was_asked_to_long_ago() {
        let mut trainer = Trainer::new(&tiny(), 0, 1, &Device::Cpu).unwrap();
        let interrupt = Interrupt::default();
        trainer.listen(&interrupt);
        trainer.update().unwrap();
        interrupt.request();
        trainer.update().unwrap();
        interrupt.insist();
        assert!(matches!(trainer.update(), Err(Error::CutOff)));
        assert_eq!(trainer.updates_done(), 2);
    }

    #[test]
    fn a_picture_that_cannot_be_drawn_is_left_out_and_one_that_cannot_be_written_is_an_error() {
        let too_large = || PlotError::TooLarge { size: (20_000, 10) };
        for error in [too_large().into(), Error::Plot(too_large()).into()] {
            assert!(drawn(Err(error)).unwrap().is_empty());
        }
        let full =
            PlotError::Write { path: PathBuf::from("a.png"), source: std::io::ErrorKind::StorageFull.into() };
        assert!(drawn(Err(full.into())).is_err());
        assert!(drawn(Err(anyhow::anyhow!("no run"))).is_err());
        assert_eq!(drawn(Ok(vec![PathBuf::from("a.png")])).unwrap().len(), 1);
    }
}
