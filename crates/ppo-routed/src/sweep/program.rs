//! What the sweeps of `ppo-routed` have of their own.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::sweep::{Collected, Results as Gathered, SweepProgram};

use super::keys::LabelEfficiency;
use super::results::Results;
use super::{figures, tables};
use crate::{Config, Ppo, Summary, Supervision};

impl SweepProgram for Ppo {
    type Keys = LabelEfficiency;

    const EARLY_FILES: &'static [&'static str] = &["snapshots.jsonl"];
    const CLOCKS: &'static [&'static str] = &["seconds", "sps"];

    fn steps(&self, config: &Config) -> u64 {
        config.updates_total() * config.steps_per_update()
    }

    fn options(&self) -> Vec<String> {
        Vec::new()
    }

    fn in_curves(&self, metric: &str) -> bool {
        metric.starts_with("eval/") && metric.ends_with("/return")
    }

    fn check(&self, config: &Config, summary: &Summary) -> Result<(), String> {
        let supervision = Supervision::new(config.train.method, &config.env.kinds);
        let policies = supervision.map_err(|error| error.to_string())?.policies();
        let found: Vec<&str> = summary.policies.iter().map(|(name, _)| name.as_str()).collect();
        match policies.iter().find(|(name, _)| !found.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("it has no policy `{name}`")),
            None => Ok(()),
        }
    }

    fn collect(&self, gathered: &Gathered<Self>, keys: &LabelEfficiency, folder: &Path) -> Result<Collected> {
        let results = Results::new(gathered);
        let (mut files, text) = tables::write(&results, keys.threshold, folder)?;
        files.extend(figures::draw(&results, keys, &folder.join("plots"))?);
        let seconds: f64 = results.rows.iter().map(|row| row.summary.seconds).sum();
        let steps: u64 = results.rows.iter().map(|row| row.summary.env_steps).sum();
        let mut effort = format!("{} environment steps", figures::millions(steps));
        if seconds > 0.0 {
            write!(effort, ", {:.1} minutes of computing in all", seconds / 60.0)?;
        }
        Ok(Collected { text, effort, files })
    }
}
