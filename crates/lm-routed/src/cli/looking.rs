//! The verbs that look at a model: what it has learned, and how it continues a text.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use experiment::{CommonArgs, GivenOptions, UserError};
use transformer::generate::Sampling;

use super::TrustArg;
use crate::data::CacheIs;
use crate::{commands, own_text, pretrained_verbs, profiles};

#[derive(Args, Debug)]
pub(super) struct EvalArgs {
    /// The run folder.
    run: PathBuf,
    /// One file of its models or checkpoints in place of all its models.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Print the tokens of this text and the loss of each.
    #[arg(long, conflicts_with = "checkpoint")]
    text: Option<String>,
    /// Of a run with modules, those that stay, with commas between them; `core` for none. Every kind of documents is
    /// measured.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["checkpoint", "text"])]
    profile: Option<Vec<String>>,
    #[command(flatten)]
    trust: TrustArg,
}

#[derive(Args, Debug)]
pub(super) struct GenerateArgs {
    /// The run folder, or one that `profile` has written; or a model as `model` takes it.
    run: PathBuf,
    /// The model, such as base or era.
    #[arg(long, value_name = "NAME", default_value = "era")]
    model: String,
    /// Of a run with modules, those that stay, with commas between them; `core` for none.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "model")]
    profile: Option<Vec<String>>,
    /// How the text begins.
    #[arg(long, default_value = "One day")]
    prompt: String,
    /// Tokens to add.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    length: u32,
    /// Texts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// The logits are divided by it; 0, for a model from disk, takes the likeliest token each time.
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// The tokens to choose from, the likeliest ones; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 40)]
    top_k: usize,
    /// Added to a dimension of the residual stream after a block.
    #[arg(long, value_name = "BLOCK:DIMENSION:STRENGTH", allow_hyphen_values = true)]
    push: Option<PushArg>,
    #[command(flatten)]
    trust: TrustArg,
}

pub(super) fn eval(args: EvalArgs, common: &CommonArgs, given: &GivenOptions) -> Result<String> {
    let EvalArgs { run, checkpoint, text, profile, trust } = args;
    let own = "it is measured with the settings of the run";
    if text.is_some() || profile.is_some() {
        given.refuse("eval", &["--device"], own)?;
    } else {
        let advice = "it prints on stdout and has the config of the run, to be changed with --set";
        given.refuse("eval", &["--set", "--device"], advice)?;
    }
    let options = options(common, trust.cache())?;
    match (text, profile) {
        (Some(text), _) => own_text::eval_text(&run, &text, &options),
        (None, Some(modules)) => profiles::eval(&run, &modules, &options),
        (None, None) => commands::eval(&run, checkpoint.as_deref(), &common.set, &options),
    }
}

pub(super) fn generate(args: GenerateArgs, common: &CommonArgs, given: &GivenOptions) -> Result<String> {
    given.refuse("generate", &["--seed", "--device"], "it prints on stdout")?;
    let (run, temperature) = (args.run, args.temperature);
    let from_disk = pretrained_verbs::is_model(&run);
    let greedy = from_disk && temperature == 0.0;
    if !(greedy || temperature > 0.0 && temperature.is_finite()) {
        let error = UserError::usage(format!("a temperature of {temperature} makes no sense"));
        return Err(error.with_hint("give a number above 0, such as 0.8").into());
    }
    let request = commands::GenerateRequest {
        model: args.model,
        profile: args.profile,
        prompt: args.prompt,
        size: (args.samples as usize, args.length as usize),
        sampling: Sampling { temperature, top_k: args.top_k },
        push: args.push.map(|push| (push.block, push.dimension, push.strength)),
        seed: common.seed.unwrap_or(0),
    };
    if from_disk {
        pretrained_verbs::generate(&run, &request, common.thread_count())
    } else {
        commands::generate(&run, &request, &options(common, args.trust.cache())?)
    }
}

/// What `eval` and `generate` compute with.
pub(super) fn options(common: &CommonArgs, cache: CacheIs) -> Result<commands::Options> {
    let CommonArgs { quiet, .. } = *common;
    Ok(commands::Options { threads: common.thread_count(), device: common.device.open()?, quiet, cache })
}

/// `BLOCK:DIMENSION:STRENGTH`
#[derive(Clone, Copy, Debug)]
struct PushArg {
    block: usize,
    dimension: usize,
    strength: f32,
}

impl std::str::FromStr for PushArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a push is BLOCK:DIMENSION:STRENGTH, such as 1:0:10";
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or(FORM);
        let (block, dimension) = (next()?.parse(), next()?.parse());
        match (block, dimension, next()?.parse::<f32>()) {
            (Ok(block), Ok(dimension), Ok(strength)) if strength.is_finite() => {
                Ok(Self { block, dimension, strength })
            }
            _ => Err(FORM),
        }
    }
}
