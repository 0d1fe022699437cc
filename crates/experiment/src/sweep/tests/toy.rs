//! A program that adds random numbers, as small as a program can be.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    AxisValue, Collected, NamedAxis, Resources, Results, Spread, Sweep, SweepKeys, SweepProgram,
};
use crate::driver::{
    BuildContext, Due, Finished, FinishedRun, Outputs, Position, Program, Report, ResumePoint, State,
    Training,
};
use crate::{DeviceArg, Faults, SeedStreams, Settings};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub train: Train,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Train {
    pub sign: i64,
    pub scale: f64,
    pub updates: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { train: Train { sign: 1, scale: 1.0, updates: 10 } }
    }
}

impl Settings for Config {
    fn faults(&self, faults: &mut Faults) {
        if self.train.updates == 0 {
            faults.add("train.updates", "must be at least 1, got 0");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub signs: Vec<i64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { signs: vec![1, -1] }
    }
}

impl SweepKeys for Keys {
    fn axes(&self) -> Vec<NamedAxis> {
        let value = |sign: &i64| AxisValue { set: sign.to_string(), label: format!("sign{sign}") };
        vec![NamedAxis { name: "signs", key: "train.sign", values: self.signs.iter().map(value).collect() }]
    }

    fn faults(&self, _: &mut Faults) {}
}

/// What `summary.json` of a toy holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub seed: u64,
    pub sum: f64,
    #[serde(default)]
    pub seconds: f64,
}

/// The program. It breaks down in every run at the update `dies_at`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Toy {
    pub dies_at: Option<u64>,
}

pub(crate) struct Adding {
    config: Config,
    dies_at: Option<u64>,
    update: u64,
    sum: f64,
    rng: Xoshiro256PlusPlus,
}

impl Training for Adding {
    fn position(&self) -> Position {
        let (update, updates_total) = (self.update, self.config.train.updates);
        Position { update, updates_total, step: 2 * update, steps_total: 2 * updates_total }
    }

    fn update(&mut self) -> Result<Report> {
        if self.dies_at == Some(self.update + 1) {
            bail!("the toy broke");
        }
        let noise = self.rng.random::<f64>();
        self.sum += self.config.train.sign as f64 * self.config.train.scale * noise;
        self.update += 1;
        Ok(Report { values: vec![("losses/noise".to_owned(), noise)], message: None })
    }

    fn evaluate(&mut self) -> Result<Report> {
        Ok(Report { values: vec![("eval/sum".to_owned(), self.sum)], message: None })
    }

    fn due(&self, what: Due) -> bool {
        self.update.is_multiple_of(if what == Due::Evaluation { 2 } else { 4 })
    }

    fn state(&self) -> Result<State> {
        let sum = Tensor::new(&[self.sum], &Device::Cpu)?;
        Ok(State { header: json!({ "rng": self.rng }), tensors: BTreeMap::from([("sum".to_owned(), sum)]) })
    }
}

impl Program for Toy {
    type Config = Config;
    type Training = Adding;
    type Summary = Summary;

    const NAME: &'static str = "toy";
    const VERSION: &'static str = "1.0.0";
    const UNIT: &'static str = "numbers";
    const READERS: &'static str = "no verbs";

    fn run_name(&self, _: &Config) -> String {
        "toy".to_owned()
    }

    fn checkpoints_kept(&self, _: &Config) -> usize {
        2
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Adding> {
        let rng = SeedStreams::new(cx.seed).stream("noise");
        Ok(Adding { config: config.clone(), dies_at: self.dies_at, update: 0, sum: 0.0, rng })
    }

    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, point: &ResumePoint) -> Result<Adding> {
        #[derive(Deserialize)]
        struct Header {
            rng: Xoshiro256PlusPlus,
        }
        let Header { rng } = point.header()?;
        let sum = point.tensors["sum"].to_vec1::<f64>()?[0];
        Ok(Adding { update: point.update, sum, rng, ..self.build(config, cx)? })
    }

    fn finish(&self, training: &mut Adding, run: &FinishedRun<'_>) -> Result<Finished<Summary>> {
        let summary = Summary { seed: run.seed, sum: training.sum, seconds: run.seconds };
        Ok(Finished { summary, text: String::new() })
    }
}

impl SweepProgram for Toy {
    type Keys = Keys;

    const EARLY_FILES: &'static [&'static str] = &[];
    const CLOCKS: &'static [&'static str] = &["seconds"];

    fn steps(&self, config: &Config) -> u64 {
        2 * config.train.updates
    }

    fn options(&self) -> Vec<String> {
        vec!["--shelf".to_owned(), "top shelf".to_owned()]
    }

    fn in_curves(&self, metric: &str) -> bool {
        metric == "eval/sum"
    }

    fn check(&self, _: &Config, summary: &Summary) -> Result<(), String> {
        if summary.sum.abs() > 1e6 { Err("a sum beyond reason".to_owned()) } else { Ok(()) }
    }

    /// A line a run, and the mean of all.
    fn collect(&self, results: &Results<Self>, _: &Keys, folder: &Path) -> Result<Collected> {
        let line = |row: &super::super::Row<Self>| {
            format!("{} {} {:?}\n", row.planned.name, row.summary.sum, row.curves["eval/sum"])
        };
        let text: String = results.rows.iter().map(line).collect();
        let file = folder.join("sums.txt");
        crate::write_atomic(&file, text.as_bytes())?;
        let sums: Vec<f64> = results.rows.iter().map(|row| row.summary.sum).collect();
        let mean = Spread::of(&sums).map_or(f64::NAN, |spread| spread.mean);
        Ok(Collected { text: format!("mean {mean}\n"), effort: String::new(), files: vec![file] })
    }
}

pub(crate) fn resources() -> Resources {
    Resources { threads: 1, device: DeviceArg::Cpu, outputs: Outputs::default() }
}

/// A planned sweep of four runs.
pub(crate) fn planned(folder: &Path) -> Sweep<Toy> {
    let sweep = Sweep::plan(folder, None, &["sweep.seeds=[3, 4]".to_owned()]).unwrap();
    sweep.write().unwrap();
    sweep
}
