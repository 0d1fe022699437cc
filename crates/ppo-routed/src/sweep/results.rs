//! The results of a sweep, method by method and level by level of oversight.

use std::collections::BTreeMap;

use experiment::sweep::{self, Planned, Spread};

use crate::summary::FINAL_EVALUATIONS;
use crate::{Config, Method, PolicySummary, Ppo, Summary, Supervision};

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its index in the plan, its settings and seed.
    pub planned: Planned<Config>,
    /// Its summary.
    pub summary: Summary,
    /// The return of the kept policy after so many environment steps.
    pub curve: Vec<(u64, f64)>,
    /// The final return of the kept policy in parts of the episodes, by the part's name: those that ended in the blind
    /// region and outside it, and those with bits set and unset, where the settings ask for them.
    pub parts: BTreeMap<String, f64>,
}

impl Row {
    /// The method.
    pub fn method(&self) -> Method {
        self.planned.config.train.method
    }

    /// How the policy did that the method is judged by.
    ///
    /// # Panics
    /// Panics where the summary has no policy.
    pub fn kept(&self) -> &PolicySummary {
        &self.summary.policies[0].1
    }

    /// Environment steps, on the method's own axis, until an evaluation first reached `threshold`.
    pub fn steps_to(&self, threshold: f64) -> Option<f64> {
        let reached = self.curve.iter().find(|(_, value)| *value >= threshold);
        reached.map(|(step, _)| *step as f64 * stretch(self.method(), self.planned.config.env.oversight_prob))
    }
}

/// By how much the axis of environment steps is stretched: the oracle looks at every label, so its steps count
/// 1/p-fold against methods that look at the share p.
pub(crate) fn stretch(method: Method, oversight_prob: f64) -> f64 {
    if method.sees_everything() && oversight_prob > 0.0 { 1.0 / oversight_prob } else { 1.0 }
}

/// What is compared: a method, with values of the further axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The method.
    pub method: Method,
    /// The values of the further axes, such as `ent_coef 0.1`; empty without axes.
    pub variant: String,
}

impl Arm {
    fn of(planned: &Planned<Config>) -> Self {
        Self { method: planned.config.train.method, variant: planned.variant() }
    }

    /// Its name in figures and tables.
    pub fn label(&self) -> String {
        match self.variant.as_str() {
            "" => self.method.name().to_owned(),
            variant => format!("{}, {variant}", self.method.name()),
        }
    }
}

/// The seeds of an arm at one level of oversight.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The arm.
    pub arm: Arm,
    /// The oversight probability.
    pub oversight_prob: f64,
    /// Its finished runs, at least one.
    pub rows: Vec<&'a Row>,
}

impl Cell<'_> {
    /// A number of each run.
    pub fn values(&self, of: impl Fn(&Row) -> f64) -> Vec<f64> {
        self.rows.iter().map(|row| of(row)).collect()
    }

    /// The final return of each run.
    pub fn last(&self) -> Vec<f64> {
        self.values(|row| row.kept().last)
    }

    /// The best return of each run, a bound on what early stopping can find.
    pub fn best(&self) -> Vec<f64> {
        self.values(|row| row.kept().best)
    }

    /// The return of each run at the evaluation where its own overseen episodes would have stopped it; of the runs of a
    /// single policy alone.
    pub fn stopped(&self) -> Vec<f64> {
        let stopped = self.rows.iter().filter_map(|row| row.kept().stopped);
        stopped.map(|stopped| stopped.true_return).collect()
    }

    /// The curve of the kept policy: steps on the method's own axis, and the spread over the seeds. It ends where
    /// the first seed's does.
    pub fn curve(&self) -> Vec<(f64, Spread)> {
        let stretch = stretch(self.arm.method, self.oversight_prob);
        let len = self.rows.iter().map(|row| row.curve.len()).min().unwrap_or(0);
        let point = |i: usize| {
            let spread = Spread::of(&self.values(|row| row.curve[i].1))?;
            Some((self.rows[0].curve[i].0 as f64 * stretch, spread))
        };
        (0..len).filter_map(point).collect()
    }
}

/// The mean of the last evaluations that have a value, as a summary's `final` is made.
fn final_of(points: &[(u64, f64)]) -> f64 {
    let last = points.iter().rev().take(FINAL_EVALUATIONS).map(|(_, value)| *value);
    let values: Vec<f64> = last.filter(|value| value.is_finite()).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// A summary with its policies in the order of the method, the one that it is judged by first: JSON that went through
/// a value has them by the alphabet.
fn in_order(config: &Config, mut summary: Summary) -> Summary {
    if let Ok(supervision) = Supervision::new(config.train.method, &config.env.kinds) {
        let order = supervision.policies();
        let place = |name: &str| order.iter().position(|(other, _)| other == name).unwrap_or(order.len());
        summary.policies.sort_by_key(|(name, _)| place(name));
    }
    summary
}

/// All finished runs of a sweep.
#[derive(Clone, Debug)]
pub struct Results {
    /// The finished runs, in the order of the plan.
    pub rows: Vec<Row>,
    /// What is compared, in the order of the plan.
    pub arms: Vec<Arm>,
    /// The levels of oversight, ascending.
    pub levels: Vec<f64>,
}

impl Results {
    /// Sorts what was gathered; every summary has a policy, which was checked when it was gathered.
    pub fn new(gathered: &sweep::Results<Ppo>) -> Self {
        let row = |row: &sweep::Row<Ppo>| {
            let summary = in_order(&row.planned.config, row.summary.clone());
            let kept = summary.policies.first().map_or("", |(name, _)| name.as_str());
            let curve = row.curves.get(&format!("eval/{kept}/return")).cloned().unwrap_or_default();
            let parts = row.curves.iter().filter_map(|(metric, points)| {
                let part = metric.strip_prefix(&format!("eval/{kept}/"))?.strip_suffix("/return")?;
                Some((part.to_owned(), final_of(points)))
            });
            let parts = parts.collect();
            Row { planned: row.planned.clone(), summary, curve, parts }
        };
        let rows: Vec<Row> = gathered.rows.iter().map(row).collect();
        let mut arms: Vec<Arm> = Vec::new();
        for arm in rows.iter().map(|row| Arm::of(&row.planned)) {
            if !arms.contains(&arm) {
                arms.push(arm);
            }
        }
        let mut levels: Vec<f64> = rows.iter().map(|row| row.planned.config.env.oversight_prob).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        Self { rows, arms, levels }
    }

    /// The runs of an arm at a level; nothing where none is finished.
    pub fn cell(&self, arm: &Arm, oversight_prob: f64) -> Option<Cell<'_>> {
        let rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| {
                row.planned.config.env.oversight_prob.total_cmp(&oversight_prob).is_eq()
                    && Arm::of(&row.planned) == *arm
            })
            .collect();
        (!rows.is_empty()).then(|| Cell { arm: arm.clone(), oversight_prob, rows })
    }

    /// All cells, arm by arm, levels ascending.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.arms
            .iter()
            .flat_map(move |arm| self.levels.iter().filter_map(move |level| self.cell(arm, *level)))
    }

    /// The mean over the levels of each seed's final return, for the seeds that an arm has finished at all of
    /// `levels`.
    pub fn mean_over(&self, arm: &Arm, levels: &[f64]) -> Vec<f64> {
        let cells: Vec<Cell<'_>> = levels.iter().filter_map(|level| self.cell(arm, *level)).collect();
        let Some(first) = cells.first().filter(|_| cells.len() == levels.len()) else { return Vec::new() };
        let seeds = first.rows.iter().map(|row| row.planned.seed);
        let of_seed = |seed: u64| -> Option<f64> {
            let values: Option<Vec<f64>> = cells
                .iter()
                .map(|cell| cell.rows.iter().find(|row| row.planned.seed == seed).map(|row| row.kept().last))
                .collect();
            values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        seeds.filter_map(of_seed).collect()
    }

    /// Levels at which every arm of `arms` has finished runs.
    pub fn shared_levels(&self, arms: &[&Arm]) -> Vec<f64> {
        let all = |level: &&f64| arms.iter().all(|arm| self.cell(arm, **level).is_some());
        self.levels.iter().filter(all).copied().collect()
    }

    /// At each level the arm with the highest mean of the final return among those that see only the share p of
    /// the labels.
    pub fn leaders(&self) -> Vec<(f64, &Arm)> {
        let leader = |level: &f64| {
            let partial = self.arms.iter().filter(|arm| !arm.method.sees_everything());
            let means = partial.filter_map(|arm| {
                let spread = Spread::of(&self.cell(arm, *level)?.last())?;
                Some((spread.mean, arm))
            });
            let best = means.max_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((*level, best.1))
        };
        self.levels.iter().filter_map(leader).collect()
    }

    /// `words` where the oracle is among the methods, else nothing.
    pub fn about_oracle<'a>(&self, words: &'a str) -> &'a str {
        if self.arms.iter().any(|arm| arm.method.sees_everything()) { words } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use envs::Kind;
    use experiment::sweep::Selection;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_policy_that_the_method_is_judged_by_comes_first_whatever_its_name() {
        let mut config = Config::default();
        config.env.kinds = vec![Kind::new("wanted", 1.0), Kind::new("bad", -1.0)];
        let policy = |last: f64| json!({ "final": last, "best": last });
        let policies =
            BTreeMap::from([("wanted", policy(0.7)), ("bad", policy(-0.6)), ("full", policy(0.1))]);
        let line = json!({
            "program": "ppo-routed", "version": "0.1.0", "seed": 3, "config": config,
            "summary": {
                "method": "routing", "algo": "ppo", "oversight_prob": 0.1, "seed": 3, "updates": 1, "env_steps": 1,
                "policies": policies,
            },
            "curves": { "eval/wanted/return": [[8, 0.5]], "eval/bad/return": [[8, 0.25]] },
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results.jsonl");
        std::fs::write(&file, line.to_string()).unwrap();
        let results = Results::new(&sweep::Results::read(&Ppo, &[file], &Selection::default()).unwrap());
        let row = &results.rows[0];
        assert_eq!((row.kept().last, row.curve.as_slice()), (0.7, &[(8, 0.5)][..]));
        let names: Vec<&str> = row.summary.policies.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["wanted", "bad", "full"]);
    }
}
