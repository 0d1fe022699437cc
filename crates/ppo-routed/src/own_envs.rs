//! Checkpoints of trainers in environments of one's own, which no run folder holds.

use candle_core::Device;
use envs::{EnvError, VectorEnv};
use experiment::Checkpoint;
use experiment::driver::{Program as _, ResumePoint, State};

use crate::{Config, Error, Ppo, Trainer, checkpoint};

impl Trainer {
    /// Everything that changes, to go on from later, as a run would save it; `seconds` is the time spent so far.
    ///
    /// # Errors
    /// Fails where a state cannot be written down.
    pub fn checkpoint(&self, seconds: f64) -> Result<Checkpoint, Error> {
        let State { mut header, tensors } = checkpoint::state(self)?;
        let config = serde_json::to_value(self.config()).map_err(|e| Error::State(e.to_string()))?;
        header["program"] = Ppo::NAME.into();
        header["update"] = self.update.into();
        header["seed"] = self.seed.into();
        header["seconds"] = seconds.into();
        header["config"] = config;
        Ok(Checkpoint { header, tensors })
    }

    /// A trainer that goes on exactly where `checkpoint` was taken by [`Trainer::checkpoint`].
    ///
    /// # Errors
    /// Fails where the checkpoint is of another run, policy or environment.
    pub fn resume_with_envs(
        config: &Config,
        make_env: impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
        checkpoint: &Checkpoint,
        threads: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let point = ResumePoint::new::<Ppo>("the checkpoint".into(), checkpoint.clone());
        let trainer =
            point.and_then(|point| checkpoint::restore(&point, config, &make_env, threads, threads, device));
        trainer.map_err(|error| Error::State(format!("{error:#}")))
    }
}
