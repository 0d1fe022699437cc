//! What a finished run amounts to: `summary.json`, and the table at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use experiment::Record;
use serde::{Deserialize, Serialize};

use crate::{Algo, Config, Method, PolicyName};

/// Evaluations that make up `final`.
const FINAL_EVALUATIONS: usize = 3;

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The method under test.
    pub method: Method,
    /// The learning algorithm.
    pub algo: Algo,
    /// The probability that a terminal cell is overseen.
    pub oversight_prob: f64,
    /// The seed of the run.
    pub seed: u64,
    /// Updates done.
    pub updates: u64,
    /// Environment steps taken in training.
    pub env_steps: u64,
    /// Seconds of training and evaluation, without those before an interruption that were lost; 0 where only the
    /// results are known.
    #[serde(default)]
    pub seconds: f64,
    /// Environment steps of training a second; 0 where only the results are known.
    #[serde(default)]
    pub sps: f64,
    /// The policies that the method is scored as.
    pub policies: BTreeMap<PolicyName, PolicySummary>,
}

/// How one policy did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySummary {
    /// The stepwise ground-truth return, mean of the last three evaluations.
    #[serde(rename = "final")]
    pub last: f64,
    /// The best evaluation.
    pub best: f64,
    /// Share of completed episodes that ended on the Diamond, mean of the last three evaluations.
    pub share_diamond: f64,
    /// Share that ended on the Ghost, likewise.
    pub share_ghost: f64,
}

impl Summary {
    /// From a run's metrics.
    pub fn new(config: &Config, seed: u64, seconds: f64, records: &[Record]) -> Self {
        let last = records.last();
        let env_steps = last.map_or(0, |record| record.step);
        let policies = PolicyName::of(config.train.method)
            .iter()
            .map(|name| {
                let series = |what: &str| -> Vec<f64> {
                    let key = format!("eval/{}/{what}", name.as_str());
                    records.iter().filter_map(|record| record.values.get(&key).copied()).collect()
                };
                let end = |values: &[f64]| {
                    let tail = &values[values.len().saturating_sub(FINAL_EVALUATIONS)..];
                    tail.iter().sum::<f64>() / tail.len().max(1) as f64
                };
                let returns = series("return");
                let share = |kind: &str| {
                    end(&series(&format!("share_{kind}_seen")))
                        + end(&series(&format!("share_{kind}_unseen")))
                };
                let summary = PolicySummary {
                    last: end(&returns),
                    best: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    share_diamond: share("diamond"),
                    share_ghost: share("ghost"),
                };
                (*name, summary)
            })
            .collect();
        Self {
            method: config.train.method,
            algo: config.train.algo,
            oversight_prob: config.env.oversight_prob,
            seed,
            updates: last.map_or(0, |record| record.update),
            env_steps,
            seconds,
            sps: env_steps as f64 / seconds.max(1e-9),
            policies,
        }
    }

    /// The table at the end of a run.
    pub fn table(&self) -> String {
        let mut out = String::from("policy     final    best   on Diamond  on Ghost\n");
        for (name, policy) in &self.policies {
            let line = writeln!(
                out,
                "{:<8} {:>7.3} {:>7.3} {:>11.1}% {:>8.1}%",
                name.as_str(),
                policy.last,
                policy.best,
                100.0 * policy.share_diamond,
                100.0 * policy.share_ghost,
            );
            debug_assert!(line.is_ok(), "writing to a string");
        }
        out
    }
}
