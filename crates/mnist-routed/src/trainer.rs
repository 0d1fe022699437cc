//! The training: batches, gradient steps, evaluations.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use experiment::SeedStreams;
use learning::require_finite;
use rand::seq::SliceRandom;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::data::{Batch, Dataset, Images};
use crate::evaluate::{Evaluation, Tally};
use crate::fused::FusedLearner;
use crate::reference::ReferenceLearner;
use crate::{Architecture, Config, Error, Losses, Objective, Reconstruction, State, StepReport};

/// An autoencoder and its certificates in training, with everything that changes.
pub struct Trainer {
    config: Config,
    objective: Objective,
    dataset: Arc<Dataset>,
    learner: Learner,
    streams: SeedStreams,
    update: u64,
    /// The order of the images in the epoch of that number.
    order: (Option<u64>, Vec<u32>),
    shards: usize,
    pool: ThreadPool,
}

enum Learner {
    Fused(Box<FusedLearner>),
    Candle(Box<ReferenceLearner>),
}

/// What an update reports.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateReport {
    /// The losses before the step.
    pub losses: Losses,
    /// The gradient's norm.
    pub grad_norm: f64,
    /// Images in the batch.
    pub images: usize,
    /// Seconds of the update.
    pub seconds: f64,
}

/// Images that are reconstructed at a time in an evaluation.
const EVALUATED_AT_ONCE: usize = 2000;

impl Trainer {
    /// Fresh networks; everything random follows from `seed`. The rows of a batch are split in `shards` parts,
    /// on which the result depends in its last digits.
    ///
    /// # Errors
    /// Fails where the settings do not fit the device.
    pub fn new(
        config: &Config,
        dataset: &Arc<Dataset>,
        seed: u64,
        threads: usize,
        shards: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let streams = SeedStreams::new(seed);
        let objective = Objective::new(config)?;
        let architecture = Architecture::new(config, &objective, dataset.train.pixels);
        let fused = config.train.backend.is_fused_on(device)?;
        let parameters = architecture.initial(&mut streams.stream("init"), device)?;
        let decay = config.train.weight_decay;
        let learner = if fused {
            let learner = FusedLearner::new(&architecture, &objective, &parameters, decay, shards)?;
            Learner::Fused(Box::new(learner))
        } else {
            let learner = ReferenceLearner::new(&architecture, &objective, &parameters, decay, device)?;
            Learner::Candle(Box::new(learner))
        };
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Setting(format!("cannot start {threads} threads: {e}")))?;
        Ok(Self {
            config: config.clone(),
            objective,
            dataset: Arc::clone(dataset),
            learner,
            streams,
            update: 0,
            order: (None, Vec::new()),
            shards,
            pool,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The losses and routes.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// The images.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Parts that the rows of a batch are split in.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Updates done.
    pub fn updates_done(&self) -> u64 {
        self.update
    }

    /// Updates of an epoch, the last of them on what is left over.
    pub fn updates_per_epoch(&self) -> u64 {
        (self.dataset.train.len() as u64).div_ceil(self.config.train.batch_size as u64)
    }

    /// Updates of the whole run.
    pub fn updates_total(&self) -> u64 {
        self.config.train.epochs * self.updates_per_epoch()
    }

    /// Images seen in training, each as often as it was seen.
    pub fn images_done(&self) -> u64 {
        self.images_at(self.update)
    }

    /// Images of the whole run.
    pub fn images_total(&self) -> u64 {
        self.images_at(self.updates_total())
    }

    fn images_at(&self, update: u64) -> u64 {
        let (epochs, rest) = (update / self.updates_per_epoch(), update % self.updates_per_epoch());
        epochs * self.dataset.train.len() as u64 + rest * self.config.train.batch_size as u64
    }

    /// One gradient step on the next batch. The order of an epoch's images follows from the seed and the number
    /// of the epoch alone.
    ///
    /// # Errors
    /// Fails where a loss or the gradient is not finite; the networks are then as they were.
    pub fn update(&mut self) -> Result<UpdateReport, Error> {
        let began = Instant::now();
        let (epoch, rest) = (self.update / self.updates_per_epoch(), self.update % self.updates_per_epoch());
        let images = &self.dataset.train;
        if self.order.0 != Some(epoch) {
            let order = &mut self.order.1;
            order.clear();
            order.extend(0..images.len() as u32);
            order.shuffle(&mut self.streams.stream(&format!("shuffle.{epoch}")));
            self.order.0 = Some(epoch);
        }
        let size = self.config.train.batch_size;
        let start = rest as usize * size;
        let batch = Batch { images, indices: &self.order.1[start..(start + size).min(images.len())] };
        let StepReport { losses, grad_norm } = match &mut self.learner {
            Learner::Fused(learner) => self.pool.install(|| learner.gradient(batch)),
            Learner::Candle(learner) => learner.gradient(batch)?,
        };
        let mut watched = losses.named(&self.objective.split);
        watched.push(("the gradient's norm".to_owned(), grad_norm));
        require_finite(&watched).map_err(|fault| Error::NotFinite { update: self.update + 1, fault })?;
        let lr = self.config.train.learning_rate;
        match &mut self.learner {
            Learner::Fused(learner) => self.pool.install(|| learner.step(lr)),
            Learner::Candle(learner) => learner.step(lr)?,
        }
        self.update += 1;
        let (images, seconds) = (batch.indices.len(), began.elapsed().as_secs_f64());
        Ok(UpdateReport { losses, grad_norm, images, seconds })
    }

    /// The errors of decoder and certificates on all validation images, digit by digit.
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn evaluate(&mut self) -> Result<Evaluation, Error> {
        let dataset = Arc::clone(&self.dataset);
        let indices: Vec<u32> = (0..dataset.test.len() as u32).collect();
        let mut tally = Tally::new(self.objective.parts());
        for chunk in indices.chunks(EVALUATED_AT_ONCE) {
            let batch = Batch { images: &dataset.test, indices: chunk };
            let reconstruction = self.reconstruct(batch)?;
            self.pool.install(|| tally.add(batch, &reconstruction));
        }
        Ok(tally.finish(&self.objective.split))
    }

    /// What decoder and certificates make of images.
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn reconstruct(&mut self, batch: Batch<'_>) -> Result<Reconstruction, Error> {
        match &mut self.learner {
            Learner::Fused(learner) => Ok(self.pool.install(|| learner.reconstruct(batch))),
            Learner::Candle(learner) => learner.reconstruct(batch),
        }
    }

    /// The validation images.
    pub fn test_images(&self) -> &Images {
        &self.dataset.test
    }

    /// Everything that was learned.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn state(&self) -> Result<State, Error> {
        match &self.learner {
            Learner::Fused(learner) => learner.state(),
            Learner::Candle(learner) => learner.state(),
        }
    }

    /// Goes back to a state after `update` updates.
    ///
    /// # Errors
    /// Fails where the state is not one of these networks; `origin` names its source in the message.
    pub fn load(&mut self, state: &State, update: u64, origin: &str) -> Result<(), Error> {
        match &mut self.learner {
            Learner::Fused(learner) => learner.load(state, origin)?,
            Learner::Candle(learner) => learner.load(state, origin)?,
        }
        self.update = update;
        Ok(())
    }
}
