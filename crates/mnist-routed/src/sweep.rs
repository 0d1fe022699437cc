//! The autoencoders of several settings and seeds as a sweep.

use std::path::Path;

use anyhow::Result;
use experiment::Faults;
use experiment::sweep::{AxisValue, Collected, NamedAxis, Results, SweepKeys, SweepProgram};
use serde::{Deserialize, Serialize};

use crate::{Autoencoder, Config, Setting, Summary, table};

/// The keys of `[sweep]` that are this program's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableKeys {
    /// The values of `train.setting`.
    pub settings: Vec<Setting>,
}

impl Default for TableKeys {
    fn default() -> Self {
        Self { settings: Setting::ALL.to_vec() }
    }
}

impl SweepKeys for TableKeys {
    fn axes(&self) -> Vec<NamedAxis> {
        let value = |setting: &Setting| AxisValue {
            set: setting.name().to_owned(),
            label: format!("{:02}-{}", setting.number(), setting.name()),
        };
        let values = self.settings.iter().map(value).collect();
        vec![NamedAxis { name: "settings", key: "train.setting", values }]
    }

    fn faults(&self, _: &mut Faults) {}
}

impl SweepProgram for Autoencoder {
    type Keys = TableKeys;

    const EARLY_FILES: &'static [&'static str] = &[];
    const CLOCKS: &'static [&'static str] = &["seconds", "images_per_second"];

    fn steps(&self, config: &Config) -> u64 {
        config.train.epochs * config.data.dataset.training_images()
    }

    fn options(&self) -> Vec<String> {
        let folder = self.data_dir().and_then(|folder| std::path::absolute(folder).ok());
        folder.map_or_else(Vec::new, |folder| vec!["--data-dir".to_owned(), folder.display().to_string()])
    }

    fn in_curves(&self, metric: &str) -> bool {
        metric.starts_with("eval/")
    }

    fn check(&self, config: &Config, summary: &Summary) -> Result<(), String> {
        if summary.split != config.train.split {
            return Err("it is of another train.split".to_owned());
        }
        summary.fault().map_or(Ok(()), Err)
    }

    fn collect(&self, results: &Results<Self>, _: &TableKeys, folder: &Path) -> Result<Collected> {
        table::write(results, folder)
    }
}
