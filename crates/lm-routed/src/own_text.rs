//! The loss of a run's models on a text of the user's.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use experiment::driver::Program as _;
use experiment::{RunFolder, UserError};
use serde_json::json;
use transformer::{Batch, Hooks};

use crate::checkpoint::load_network;
use crate::commands::{Options, model_names, model_path, vocabulary_of};
use crate::config::Config;
use crate::finetune::model_of;
use crate::{Error, Language};

/// What each model of a run loses on `text`, one JSON line a model: `tokens`, of which the first is the end of the text
/// before, and `losses`, in nats, of each of them but the first; with their mean as `loss`.
///
/// # Errors
/// Fails where the run has no model yet, or the text has no token or more than the context holds.
pub fn eval_text(run: &Path, text: &str, options: &Options) -> Result<String> {
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let names = model_names(&folder)?;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().context("starting threads")?;
    pool.install(|| {
        let vocabulary = vocabulary_of(&folder, &config, options.cache, options.quiet)?;
        let mut tokens = vec![vocabulary.end()];
        tokens.extend(vocabulary.encode(&[text.to_owned()]).map_err(Error::for_user)?.remove(0));
        let targets = tokens.len() - 1;
        let most = config.model.block_size;
        if targets == 0 || targets > most {
            let error =
                UserError::usage(format!("the text has {targets} tokens: from 1 to {most} can be measured"));
            return Err(error.with_hint("give it in pieces, each with --text").into());
        }
        let batch = Batch::new([tokens.as_slice()], most, vocabulary.end());
        let mut out = String::new();
        for name in names {
            let needed = config.architecture(vocabulary.size());
            let network = load_network(&model_path(&folder, &name), &needed, &options.device)?;
            let mut model = model_of(&network, &config, options.threads)?;
            let mut losses = model.token_losses(&batch, &Hooks::default())?;
            losses.truncate(targets);
            let loss = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / targets as f64;
            writeln!(out, "{}", json!({ "model": name, "loss": loss, "tokens": tokens, "losses": losses }))?;
        }
        Ok(out)
    })
}
