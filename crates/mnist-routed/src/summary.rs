//! What a finished run amounts to: `summary.json`, and the table at the end.

use std::fmt::Write as _;

use experiment::Record;
use serde::{Deserialize, Serialize};

use crate::data::DatasetName;
use crate::evaluate::Errors;
use crate::split::CLASSES;
use crate::{Config, Setting, Split};

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The row of Table 2.
    pub setting: Setting,
    /// Which digits belong together.
    pub split: Split,
    /// The images.
    pub dataset: DatasetName,
    /// The seed of the run.
    pub seed: u64,
    /// Epochs done.
    pub epochs: u64,
    /// Images of a gradient step.
    pub batch_size: usize,
    /// Updates done.
    pub updates: u64,
    /// Images seen in training, each as often as it was seen.
    pub images: u64,
    /// Seconds of training and evaluation, without those before an interruption that were lost; 0 where only the
    /// results are known.
    #[serde(default)]
    pub seconds: f64,
    /// Images of training a second; 0 where only the results are known.
    #[serde(default)]
    pub images_per_second: f64,
    /// How many times larger the last certificate's squared error is on the other digits than on its own.
    pub factor: f64,
    /// The errors after the last epoch, the decoder's first.
    pub networks: Vec<NetworkSummary>,
}

/// How one network did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// `decoder`, or the name of a certificate's part of the encoding.
    pub name: String,
    /// Its errors on the validation images.
    #[serde(flatten)]
    pub errors: Errors,
}

impl Summary {
    /// What keeps it from being a summary, though it reads like one.
    pub fn fault(&self) -> Option<String> {
        let parts = self.split.parts();
        if self.networks.len() != parts + 1 {
            return Some(format!("{} networks where {} are needed", self.networks.len(), parts + 1));
        }
        let lists = self.networks.iter().flat_map(|NetworkSummary { name, errors }| {
            let Errors { mse, mae, part_mse, part_mae } = errors;
            [(name, mse, CLASSES), (name, mae, CLASSES), (name, part_mse, parts), (name, part_mae, parts)]
        });
        let mut wrong = lists.filter(|(_, list, needed)| list.len() != *needed);
        let (name, list, needed) = wrong.next()?;
        Some(format!("{} errors of the network {name} where {needed} are needed", list.len()))
    }

    /// What is shown of the text of a `summary.json`: the factor, and each network's squared error on the digits of each
    /// part.
    pub fn measures(text: &str) -> Vec<(String, f64)> {
        let Ok(summary) = serde_json::from_str::<Self>(text) else { return Vec::new() };
        let mut measures = vec![("factor".to_owned(), summary.factor)];
        for NetworkSummary { name, errors } in &summary.networks {
            let parts = errors.part_mse.iter().enumerate();
            let named = |(part, mse): (usize, &f64)| {
                (format!("{name} on {}", summary.split.digits_label(part)), *mse)
            };
            measures.extend(parts.map(named));
        }
        measures
    }

    /// From a run's metrics.
    pub fn new(config: &Config, seed: u64, seconds: f64, records: &[Record]) -> Self {
        let last = records.last().cloned().unwrap_or_default();
        let split = &config.train.split;
        let names =
            std::iter::once("decoder".to_owned()).chain((0..split.parts()).map(|p| split.part_name(p)));
        let networks = names
            .map(|name| {
                let value = |key: String| last.values.get(&key).copied().unwrap_or(f64::NAN);
                let digits = |kind: &str| {
                    (0..CLASSES).map(|digit| value(format!("eval/{name}/{kind}_{digit}"))).collect()
                };
                let parts = |kind: &str| {
                    let key = |part: usize| format!("eval/{name}/{kind}/{}", split.digits_label(part));
                    (0..split.parts()).map(|part| value(key(part))).collect()
                };
                let errors = Errors {
                    mse: digits("mse"),
                    mae: digits("mae"),
                    part_mse: parts("mse"),
                    part_mae: parts("mae"),
                };
                NetworkSummary { name, errors }
            })
            .collect();
        Self {
            setting: config.train.setting,
            split: split.clone(),
            dataset: config.data.dataset,
            seed,
            epochs: config.train.epochs,
            batch_size: config.train.batch_size,
            updates: last.update,
            images: last.step,
            seconds,
            images_per_second: last.step as f64 / seconds.max(1e-9),
            factor: last.values.get("eval/factor").copied().unwrap_or(f64::NAN),
            networks,
        }
    }

    /// The table at the end of a run: squared errors on the digits of each part.
    pub fn table(&self) -> String {
        let labels: Vec<String> = (0..self.split.parts()).map(|part| self.split.digits_label(part)).collect();
        let width = labels.iter().map(String::len).max().unwrap_or(0).max(6);
        let mut out = format!("{:<20}", "validation MSE on");
        let row = |cells: Vec<String>, out: &mut String| {
            for cell in cells {
                let written = write!(out, "  {cell:>width$}");
                debug_assert!(written.is_ok(), "writing to a string");
            }
            out.push('\n');
        };
        row(labels, &mut out);
        for network in &self.networks {
            let name = if network.name == "decoder" {
                "decoder".to_owned()
            } else {
                format!("{} certificate", network.name)
            };
            let written = write!(out, "{name:<20}");
            debug_assert!(written.is_ok(), "writing to a string");
            row(network.errors.part_mse.iter().map(|mse| format!("{mse:.3}")).collect(), &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_back_and_one_with_fewer_numbers_is_refused() {
        let errors = Errors {
            mse: vec![0.5; CLASSES],
            mae: vec![0.5; CLASSES],
            part_mse: vec![0.5; 2],
            part_mae: vec![0.5; 2],
        };
        let network = |name: &str| NetworkSummary { name: name.to_owned(), errors: errors.clone() };
        let mut good = Summary::new(&Config::default(), 1, 2.0, &[]);
        good.factor = 1.0;
        good.networks = ["decoder", "top", "bottom"].map(network).into();
        let read =
            |summary: &Summary| serde_json::from_value::<Summary>(serde_json::to_value(summary).unwrap());
        assert_eq!(read(&good).unwrap(), good);
        assert_eq!(good.fault(), None);
        let refused = |change: &dyn Fn(&mut Summary)| {
            let mut other = good.clone();
            change(&mut other);
            read(&other).unwrap().fault().unwrap()
        };
        assert_eq!(refused(&|s| s.networks.truncate(2)), "2 networks where 3 are needed");
        let words = "1 errors of the network bottom where 2 are needed";
        assert_eq!(refused(&|s| s.networks[2].errors.part_mse.truncate(1)), words);
        let words = "0 errors of the network decoder where 10 are needed";
        assert_eq!(refused(&|s| s.networks[0].errors.mse.clear()), words);
        good.factor = f64::NAN;
        assert!(read(&good).unwrap_err().to_string().contains("invalid type: null"));
    }
}
