//! Which verb takes which option. clap parses all of them for every verb; one that a verb would pass over in silence
//! is refused.
use clap::Args;

use super::CommonArgs;
use crate::device::DeviceArg;
use crate::driver::Outputs;
use crate::report::UserError;

/// What a training run writes beside the run folder's own files; flatten it into the parser.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArgs {
    /// Also write metrics.csv when the run is done.
    #[arg(long, global = true)]
    pub csv: bool,
    /// Also write event files for `TensorBoard` while training.
    #[arg(long, global = true)]
    pub tensorboard: bool,
}

impl OutputArgs {
    /// With the pictures that every run of the command line draws at its end.
    pub fn with_pictures(self) -> Outputs {
        Outputs { csv: self.csv, tensorboard: self.tensorboard, pictures: true }
    }
}

/// The options of a command line, and whether each was given.
///
/// ```
/// use experiment::{CommonArgs, GivenOptions, OutputArgs};
///
/// let common = CommonArgs { seed: Some(3), ..CommonArgs::default() };
/// let given = GivenOptions::new(&common, OutputArgs::default()).and("--setting", false);
/// assert!(given.refuse("render", &["--seed"], "").is_ok());
/// let error = given.refuse("plot", &["--out"], "it draws what the run has written").unwrap_err();
/// assert_eq!(error.message, "`plot` does not take --seed");
/// ```
#[derive(Clone, Debug)]
pub struct GivenOptions(Vec<(&'static str, bool)>);

impl GivenOptions {
    /// Those that every binary has. `--threads` and `--quiet` make sense for every verb.
    pub fn new(common: &CommonArgs, outputs: OutputArgs) -> Self {
        Self(vec![
            ("--config", common.config.is_some()),
            ("--set", !common.set.is_empty()),
            ("--seed", common.seed.is_some()),
            ("--out", common.out.is_some()),
            ("--device", common.device != DeviceArg::default()),
            ("--csv", outputs.csv),
            ("--tensorboard", outputs.tensorboard),
            ("--watch", common.watch),
        ])
    }

    /// With another one.
    pub fn and(mut self, option: &'static str, given: bool) -> Self {
        self.0.push((option, given));
        self
    }

    /// Refuses every option but those that `verb` takes.
    ///
    /// # Errors
    /// [`UserError::usage`] naming the first, with `advice` as the hint.
    pub fn refuse(&self, verb: &str, takes: &[&str], advice: &str) -> Result<(), UserError> {
        match self.0.iter().find(|(option, given)| *given && !takes.contains(option)) {
            Some((option, _)) => {
                Err(UserError::usage(format!("`{verb}` does not take {option}")).with_hint(advice))
            }
            None => Ok(()),
        }
    }
}
