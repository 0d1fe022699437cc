//! The keys of `[sweep]` that are this program's own.

use experiment::Faults;
use experiment::sweep::{AxisValue, NamedAxis, SweepKeys};
use serde::{Deserialize, Serialize};

use crate::Method;

/// What varies beside seeds and axes, and what counts as learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelEfficiency {
    /// The values of `train.method`.
    pub methods: Vec<Method>,
    /// The values of `env.oversight_prob`.
    pub oversight_probs: Vec<f64>,
    /// The stepwise return that counts as learned, in the figure of steps until then.
    pub threshold: f64,
    /// What others measured, drawn beside the learning curves of its level.
    pub published: Vec<Published>,
}

/// Returns of a method that others published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Whose they are, such as `naive, the authors' code`.
    pub label: String,
    /// The method, whose colour they have.
    pub method: Method,
    /// The level of oversight that they were measured at.
    pub oversight_prob: f64,
    /// Environment steps and the stepwise return after them.
    pub points: Vec<(f64, f64)>,
}

impl Default for LabelEfficiency {
    fn default() -> Self {
        Self {
            methods: vec![Method::ROUTING, Method::NAIVE, Method::FILTERING],
            oversight_probs: vec![0.01, 0.1],
            threshold: 0.5,
            published: Vec::new(),
        }
    }
}

impl SweepKeys for LabelEfficiency {
    fn axes(&self) -> Vec<NamedAxis> {
        let method = |method: &Method| AxisValue { set: method.name().into(), label: method.name().into() };
        let level = |p: &f64| AxisValue { set: format!("{p:?}"), label: format!("p{p}") };
        vec![
            NamedAxis {
                name: "methods",
                key: "train.method",
                values: self.methods.iter().map(method).collect(),
            },
            NamedAxis {
                name: "oversight_probs",
                key: "env.oversight_prob",
                values: self.oversight_probs.iter().map(level).collect(),
            },
        ]
    }

    fn faults(&self, faults: &mut Faults) {
        if let Some(value) = self.oversight_probs.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            faults.add("sweep.oversight_probs", format!("must lie between 0 and 1, got {value}"));
        }
        if !self.threshold.is_finite() {
            faults.add("sweep.threshold", format!("must be a finite number, got {}", self.threshold));
        }
        for Published { label, points, .. } in &self.published {
            if points.is_empty() || points.iter().any(|(x, y)| !(x.is_finite() && y.is_finite())) {
                faults.add("sweep.published", format!("`{label}` needs points, each two finite numbers"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use experiment::sweep::{Sweep, SweepConfig};

    use super::*;
    use crate::{Config, Ppo};

    fn owned(set: &[&str]) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    fn load(set: &[&str]) -> Result<SweepConfig<Config, LabelEfficiency>, experiment::ConfigError> {
        experiment::load(None, &owned(set))
    }

    fn plan(set: &[&str]) -> anyhow::Result<Sweep<Ppo>> {
        Sweep::plan("nowhere".as_ref(), None, &owned(set))
    }

    #[test]
    fn a_run_has_the_settings_that_it_would_have_alone() {
        let set = ["train.algo=reinforce", "env.num_envs=64", "loss.ent_coef=1"];
        let alone = experiment::load::<Config>(None, &set.map(str::to_owned)).unwrap();
        assert_eq!(load(&set).unwrap().run, alone);
    }

    #[test]
    fn the_resolved_settings_read_back() {
        let published =
            "sweep.published=[{label=\"a\", method=\"naive\", oversight_prob=0.1, points=[[1e6, 0.5]]}]";
        let set = ["sweep.seeds=[3, 1]", "sweep.axes=[\"loss.ent_coef=0.1,0.2\"]", published];
        let config = load(&set).unwrap();
        let text = experiment::to_toml(&config).unwrap();
        assert_eq!(toml::from_str::<SweepConfig<Config, LabelEfficiency>>(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn every_combination_has_a_run_and_a_name() {
        let runs = plan(&[
            "sweep.methods=[\"routing\", \"oracle\"]",
            "sweep.oversight_probs=[0.001, 1]",
            "sweep.seeds=[5, 2]",
            "sweep.axes=[\"train.algo=ppo,reinforce\", \"loss.ent_coef=0.1,0.5\"]",
        ]);
        let runs = runs.unwrap().runs;
        assert_eq!(runs.len(), 2 * 2 * 2 * 4);
        assert_eq!(runs[0].name, "routing-p0.001-algoppo-ent_coef0.1-seed5");
        // methods vary faster than oversight, oversight faster than seeds
        assert_eq!(runs[4].name, "oracle-p0.001-algoppo-ent_coef0.1-seed5");
        assert_eq!(runs[8].name, "routing-p1-algoppo-ent_coef0.1-seed5");
        let last = runs.last().unwrap();
        assert_eq!((last.name.as_str(), last.seed), ("oracle-p1-algoreinforce-ent_coef0.5-seed2", 2));
        assert_eq!((last.config.train.method, last.config.loss.ent_coef), (Method::ORACLE, 0.5));
        // the algorithm brings its own defaults along
        assert_eq!((runs[0].config.train.updates, last.config.train.updates), (120, 20_000));
        assert!(runs.iter().enumerate().all(|(index, run)| run.index == index));
    }

    #[test]
    fn a_bad_value_of_an_axis_is_found_before_anything_runs() {
        let error = plan(&["sweep.axes=[\"loss.ent_coef=0.1,-1\"]"]).unwrap_err();
        assert!(error.to_string().contains("`loss.ent_coef` (--set): must be 0 or more, got -1"), "{error}");
        let error = plan(&["sweep.axes=[\"loss.entcoef=1\"]"]).unwrap_err();
        assert!(error.to_string().contains("did you mean `loss.ent_coef`"), "{error}");
        let error = plan(&["sweep.axes=[\"eval.every=1,2\", \"checkpoint.every=1,2\"]"]);
        assert!(error.is_ok(), "every1-every2 and every2-every1 differ");
        let error = plan(&["sweep.axes=[\"env.id=OversightGrid-v0,OversightGrid_v0\"]"]).unwrap_err();
        assert!(error.to_string().contains("env.id"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (set, wanted) in [
            ("sweep.methods=[]", "`sweep.methods` (--set): needs at least one value"),
            ("sweep.methods=[\"routing\", \"routing\"]", "has routing twice"),
            ("sweep.oversight_probs=[0.1, 1.5]", "must lie between 0 and 1, got 1.5"),
            ("sweep.seeds=[1, 1]", "has 1 twice"),
            ("sweep.axes=[\"loss.ent_coef\"]", "each is written \"section.key=value,value\""),
            ("sweep.axes=[\"loss.ent_coef=0.1,\"]", "each is written \"section.key=value,value\""),
            ("sweep.axes=[\"train.method=naive\"]", "`train.method` cannot be an axis"),
            ("sweep.axes=[\"sweep.seeds=1\"]", "`sweep.seeds` cannot be an axis"),
            ("sweep.axes=[\"loss.ent_coef=1,1\"]", "has loss.ent_coef=1 twice"),
            ("sweep.axes=[\"loss.ent_coef=1\", \"loss.ent_coef=2\"]", "has loss.ent_coef twice"),
            ("sweep.seed=[1]", "did you mean `sweep.seeds`?"),
            (
                "sweep.published=[{label=\"a\", method=\"naive\", oversight_prob=0.1, points=[]}]",
                "`a` needs points, each two finite numbers",
            ),
            (
                "sweep.published=[{label=\"a\", method=\"naive\", oversight=0.1, points=[[1, 2]]}]",
                "unknown field `oversight`",
            ),
            ("train.gama=1", "did you mean `train.gamma`?"),
            ("train.gamma=2", "must lie between 0 and 1, got 2"),
        ] {
            let message = load(&[set]).unwrap_err().to_string();
            assert!(message.contains(wanted), "{set}: {message}");
        }
    }
}
