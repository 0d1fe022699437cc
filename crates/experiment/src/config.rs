//! Settings of a run: defaults < file < `--set`, every fault reported at once.
//!
//! The known keys are those of the defaults. Each given key is first tried alone over the defaults, so that one
//! bad value does not hide another; then all good ones together go through [`Settings::faults`].
mod check;
mod describe;
mod faults;
mod given;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

pub use describe::{describe, differences};
pub use faults::{Fault, Faults};

use check::Checked;
pub use check::either;
use given::Given;

/// The settings of a binary: nested structs, one for each section, without `Option` fields.
///
/// ```
/// use experiment::{Faults, Settings};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Config {
///     train: Train,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Train {
///     updates: u64,
///     gamma: f64,
/// }
///
/// impl Default for Config {
///     fn default() -> Self {
///         Self { train: Train { updates: 100, gamma: 0.99 } }
///     }
/// }
///
/// impl Settings for Config {
///     fn faults(&self, faults: &mut Faults) {
///         if !(0.0..=1.0).contains(&self.train.gamma) {
///             faults.add("train.gamma", format!("must lie between 0 and 1, got {}", self.train.gamma));
///         }
///     }
/// }
///
/// let config: Config = experiment::load(None, &["train.updates=7".into()])?;
/// assert_eq!(config.train.updates, 7);
///
/// let error = experiment::load::<Config>(None, &["train.gama=1".into()]).err().unwrap();
/// assert_eq!(error.to_string(), "`train.gama` (--set): no such key, did you mean `train.gamma`?");
/// # Ok::<(), experiment::ConfigError>(())
/// ```
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Adds a fault for each value that has the right type and makes no sense.
    fn faults(&self, faults: &mut Faults);

    /// The defaults, where one key decides over those of others (an environment brings its size along). `given`
    /// holds the well-typed keys that the user gave, which go over whatever this returns.
    fn base(given: &Table) -> Self {
        let _ = given;
        Self::default()
    }
}

/// Why settings could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everything that is wrong with what was given.
    #[error("{}", faults::list(.0))]
    Faults(Vec<Fault>),
    /// The settings have no TOML form, which is a mistake in the program.
    #[error("the settings cannot be written as TOML: {0}")]
    Unwritable(String),
}

impl ConfigError {
    /// What the user can do, where the message alone does not say it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("give an existing TOML file with --config; configs/ has one for each figure".into())
            }
            Self::Faults(faults) if faults.iter().any(Fault::is_malformed_override) => {
                Some("a setting is written --set section.key=value".into())
            }
            _ => None,
        }
    }

    /// The exit code of a binary that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Faults(_) => 2,
            Self::Unwritable(_) => 1,
        }
    }
}

/// Loads settings: the defaults, over them the file, over them `overrides` in their order, each
/// `section.key=value`.
///
/// The value of an override is read as TOML; a bare word that is no TOML value is a string, and so is any single
/// value where a string is wanted. An integer stands
/// for a float where one is wanted.
///
/// # Errors
/// [`ConfigError::Read`], or [`ConfigError::Faults`] with everything that is wrong.
pub fn load<S: Settings>(file: Option<&Path>, overrides: &[String]) -> Result<S, ConfigError> {
    let defaults = table_of(&S::default())?;
    let mut faults = Vec::new();
    let mut given = Given::default();
    if let Some(path) = file {
        given.add_file(path, &defaults, &mut faults)?;
    }
    for text in overrides {
        given.add_override(text, &defaults, &mut faults);
    }
    settle(given, &defaults, faults)
}

/// Loads the settings that a run was saved with, over them `overrides`. Unlike a file of the user's, a run's is whole:
/// a key that it lacks is one that its version did not have, and stands for what that version did (the serde default
/// of the field), whatever the default of a new run has become since.
///
/// # Errors
/// As [`load`].
pub fn load_run<S: Settings>(file: &Path, overrides: &[String]) -> Result<S, ConfigError> {
    let defaults = table_of(&S::default())?;
    let mut faults = Vec::new();
    let mut given = Given::default();
    if let Some(saved) = given::read(file).ok().and_then(|text| toml::from_str::<S>(&text).ok()) {
        given.add_table(&[], table_of(&saved)?, &defaults, &|_| file.display().to_string());
    }
    given.add_file(file, &defaults, &mut faults)?;
    for text in overrides {
        given.add_override(text, &defaults, &mut faults);
    }
    settle(given, &defaults, faults)
}

/// Settings that were saved as JSON: over the defaults, so that what an earlier version did not know has a value.
///
/// # Errors
/// [`ConfigError::Faults`] with everything that is wrong.
pub fn resolve<S: Settings>(saved: &serde_json::Value) -> Result<S, ConfigError> {
    let mut found = Faults::default();
    if let Ok(settings) = S::deserialize(saved) {
        settings.faults(&mut found);
        if found.into_vec().is_empty() {
            return Ok(settings);
        }
    }
    let defaults = table_of(&S::default())?;
    let table = Table::deserialize(saved)
        .map_err(|error| ConfigError::Faults(vec![Fault::of("config", error.to_string())]))?;
    let mut given = Given::default();
    given.add_table(&[], table, &defaults, &|_| "saved settings".to_owned());
    settle(given, &defaults, Vec::new())
}

/// What was given, over the defaults; fails where there are faults.
fn settle<S: Settings>(given: Given, defaults: &Table, mut faults: Vec<Fault>) -> Result<S, ConfigError> {
    let given = given.effective();

    let Checked { good, bad } = check::leaves::<S>(&given, defaults, &mut faults);
    let mut table = table_of(&S::base(&good))?;
    check::lay_over(&mut table, good);
    match S::deserialize(toml::Value::Table(table)) {
        Ok(settings) => {
            let mut found = Faults::default();
            settings.faults(&mut found);
            faults.extend(found.into_vec().into_iter().filter(|fault| !bad.contains(&fault.key)).map(
                |mut fault| {
                    fault.origin =
                        given.iter().find(|leaf| leaf.key() == fault.key).map(|leaf| leaf.origin.clone());
                    fault
                },
            ));
            if faults.is_empty() { Ok(settings) } else { Err(ConfigError::Faults(faults)) }
        }
        Err(error) => {
            // each key is good alone: only the whole can say what is wrong with their combination
            if faults.is_empty() {
                faults.push(Fault::of("config", error.message()));
            }
            Err(ConfigError::Faults(faults))
        }
    }
}

/// The settings as TOML, as they are saved with a run.
///
/// # Errors
/// [`ConfigError::Unwritable`] for settings that TOML cannot express.
pub fn to_toml<S: Settings>(settings: &S) -> Result<String, ConfigError> {
    toml::to_string(settings).map_err(|error| ConfigError::Unwritable(error.to_string()))
}

fn table_of<S: Settings>(settings: &S) -> Result<Table, ConfigError> {
    Table::try_from(settings).map_err(|error| ConfigError::Unwritable(error.to_string()))
}
