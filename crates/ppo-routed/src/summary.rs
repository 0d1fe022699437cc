//! What a finished run amounts to: `summary.json`, and the table at the end.

use std::collections::BTreeMap;

use envs::Kind;
use experiment::{Record, decimals};
use serde::{Deserialize, Serialize};

use crate::{Algo, Config, Error, Method, Supervision};

/// Evaluations that make up `final`.
pub(crate) const FINAL_EVALUATIONS: usize = 3;

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
    /// The policies that the method is scored as, the one that it is judged by first.
    #[serde(with = "in_order")]
    pub policies: Vec<(String, PolicySummary)>,
}

/// How one policy did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySummary {
    /// The stepwise ground-truth return, mean of the last three evaluations.
    #[serde(rename = "final")]
    pub last: f64,
    /// The best evaluation by the ground truth: a bound on what stopping early can give, which no trainer could find.
    pub best: f64,
    /// The evaluation at which the trainer itself would have stopped: where the return on overseen training episodes,
    /// averaged between evaluations, was highest. For a single policy, which is the one that acts in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// For each kind, as `share_KIND`, the share of completed episodes that ended on it, mean of the last three
    /// evaluations.
    #[serde(flatten)]
    pub shares: BTreeMap<String, f64>,
}

/// Where training would have been stopped by what the trainer may see.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The update of the evaluation.
    pub update: u64,
    /// Its stepwise ground-truth return.
    #[serde(rename = "return")]
    pub true_return: f64,
}

impl PolicySummary {
    /// The share of completed episodes that ended on a kind; 0 where no kind has that name.
    pub fn share(&self, kind: &str) -> f64 {
        self.shares.get(&share_key(kind)).copied().unwrap_or(0.0)
    }
}

fn share_key(kind: &str) -> String {
    format!("share_{kind}")
}

impl Summary {
    /// What is shown of the text of a `summary.json`: the final and the best return of each policy, the one first that
    /// the method is judged by, and how that one's episodes ended.
    pub fn measures(text: &str) -> Vec<(String, f64)> {
        let Ok(summary) = serde_json::from_str::<Self>(text) else { return Vec::new() };
        let policies = &summary.policies;
        let last = policies.iter().map(|(name, policy)| (name.clone(), policy.last));
        let best = policies.iter().map(|(name, policy)| (format!("{name}, best"), policy.best));
        let shares = policies.iter().take(1).flat_map(|(name, policy)| {
            policy
                .shares
                .iter()
                .map(move |(key, share)| (format!("{name}, {}", key.replace('_', " on ")), *share))
        });
        last.chain(best).chain(shares).collect()
    }

    /// How the policy did that the method is judged by.
    pub fn kept(&self) -> Option<&PolicySummary> {
        self.policies.first().map(|(_, policy)| policy)
    }

    /// How the policy of that name did.
    pub fn policy(&self, name: &str) -> Option<&PolicySummary> {
        self.policies.iter().find(|(other, _)| other == name).map(|(_, policy)| policy)
    }

    /// From a run's metrics.
    ///
    /// # Errors
    /// Fails where the method cannot be had in the environment of the settings.
    pub fn new(config: &Config, seed: u64, seconds: f64, records: &[Record]) -> Result<Self, Error> {
        let supervision = Supervision::new(config.train.method, &config.env.kinds)?;
        let last = records.last();
        let env_steps = last.map_or(0, |record| record.step);
        let policies = supervision
            .policies()
            .into_iter()
            .map(|(name, _)| {
                let series = |what: &str| -> Vec<f64> {
                    let key = format!("eval/{name}/{what}");
                    // the policy at update 0 has learned nothing yet, whatever the length of the run
                    let trained = records.iter().filter(|record| record.update > 0);
                    trained.filter_map(|record| record.values.get(&key).copied()).collect()
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
                let kinds = supervision.kinds().iter();
                let single = !supervision.method().is_mixture();
                let summary = PolicySummary {
                    last: end(&returns),
                    best: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    stopped: single.then(|| stopped(records, &format!("eval/{name}/return"))).flatten(),
                    shares: kinds.map(|kind| (share_key(&kind.name), share(&kind.name))).collect(),
                };
                (name, summary)
            })
            .collect();
        Ok(Self {
            method: config.train.method,
            algo: config.train.algo,
            oversight_prob: config.env.oversight_prob,
            seed,
            updates: last.map_or(0, |record| record.update),
            env_steps,
            seconds,
            sps: env_steps as f64 / seconds.max(1e-9),
            policies,
        })
    }

    /// The table at the end of a run.
    pub fn table(&self) -> String {
        let shares = self.kept().into_iter().flat_map(|policy| policy.shares.keys());
        let kinds: Vec<&str> = shares.filter_map(|key| key.strip_prefix("share_")).collect();
        let mut heads: Vec<String> =
            kinds.iter().map(|kind| format!("on {}", Kind::title_of(kind))).collect();
        // a little apart from the returns
        heads.iter_mut().take(1).for_each(|head| head.insert(0, ' '));
        let width = self.policies.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(8);
        let mut out = format!("{:<width$} {:>7} {:>7}  {}", "policy", "final", "best", heads.join("  "));
        out.push('\n');
        out.extend(self.policies.iter().map(|(name, policy)| {
            let columns = kinds.iter().zip(&heads);
            let columns =
                columns.map(|(kind, head)| format!(" {:>1$.1}%", 100.0 * policy.share(kind), head.len()));
            let shares: String = columns.collect();
            let [last, best] = [policy.last, policy.best].map(|value| decimals(value, 3));
            format!("{name:<width$} {last:>7} {best:>7}{shares}\n")
        }));
        out
    }
}

/// The evaluation, by the key of its return, before which the overseen episodes of training paid most.
fn stopped(records: &[Record], key: &str) -> Option<Stopped> {
    let (mut sum, mut updates) = (0.0, 0u64);
    let mut best: Option<(f64, Stopped)> = None;
    for record in records {
        if let Some(value) = record.values.get("charts/overseen_return").filter(|value| value.is_finite()) {
            sum += value;
            updates += 1;
        }
        let Some(true_return) = record.values.get(key).copied() else { continue };
        let seen = sum / updates as f64;
        if updates > 0 && best.is_none_or(|(highest, _)| seen > highest) {
            best = Some((seen, Stopped { update: record.update, true_return }));
        }
        (sum, updates) = (0.0, 0);
    }
    best.map(|(_, stopped)| stopped)
}

/// Named values as a JSON object that keeps their order.
mod in_order {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::ser::SerializeMap;
    use serde::{Deserializer, Serializer};

    use super::PolicySummary;

    type Named = Vec<(String, PolicySummary)>;

    pub(crate) fn serialize<S: Serializer>(named: &Named, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(named.len()))?;
        for (name, value) in named {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Named, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("policies by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut named = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    named.push(entry);
                }
                Ok(named)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
