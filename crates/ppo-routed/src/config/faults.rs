//! What makes no sense in a config, by its key.

use experiment::Faults;

use super::{Algo, Config, ModelSection};
use crate::Supervision;

/// The most numbers of an observation that a policy takes.
const MOST_ENTRIES: usize = 1 << 16;

impl ModelSection {
    fn add_faults(&self, faults: &mut Faults) {
        if self.hidden.is_empty() {
            faults.add("model.hidden", "an expert has at least one hidden layer, got none");
        }
        faults.hidden_layers([
            ("model.hidden", self.hidden.as_slice()),
            ("model.value_hidden", self.value_hidden.as_slice()),
        ]);
    }
}

impl Config {
    /// Everything that makes no sense, each by its key.
    pub(super) fn add_faults(&self, faults: &mut Faults) {
        let Self { env, model, train, ppo, loss, eval, checkpoint } = self;
        for fault in env.config().faults() {
            faults.add(format!("env.{}", fault.key), fault.message);
        }
        if let (true, Err(error)) = (faults.is_empty(), Supervision::new(train.method, &env.kinds)) {
            faults.add("env.kinds", error.to_string());
        }
        let entries = env.rows.saturating_mul(env.cols).saturating_mul(env.planes());
        if entries > MOST_ENTRIES {
            let (rows, cols, planes) = (env.rows, env.cols, env.planes());
            faults.add(
                "env.rows",
                format!(
                    "an observation may have at most {MOST_ENTRIES} entries, got {rows} × {cols} × {planes} planes"
                ),
            );
        }
        model.add_faults(faults);
        let counts = [
            ("env.num_envs", env.num_envs),
            ("train.num_steps", train.num_steps),
            ("ppo.update_epochs", ppo.update_epochs),
            ("ppo.num_minibatches", ppo.num_minibatches),
            ("eval.num_envs", eval.num_envs),
        ];
        faults.at_least_one(counts);
        for (key, value) in counts.iter().filter(|(_, value)| *value > 1 << 20) {
            faults.add(*key, format!("must be at most 1,048,576, got {value}"));
        }
        faults.at_least_one([
            ("train.updates", train.updates),
            ("eval.every", eval.every),
            ("checkpoint.every", checkpoint.every),
        ]);
        faults.up_to_one([("train.gamma", train.gamma), ("ppo.gae_lambda", ppo.gae_lambda)]);
        faults.above_zero([("train.learning_rate", train.learning_rate), ("ppo.clip_coef", ppo.clip_coef)]);
        faults.zero_or_more([
            ("ppo.max_grad_norm", ppo.max_grad_norm),
            ("loss.ent_coef", loss.ent_coef),
            ("loss.vf_coef", loss.vf_coef),
            ("loss.gate_coef", loss.gate_coef),
        ]);
        let samples = env.num_envs.saturating_mul(train.num_steps);
        if samples > 1 << 24 {
            faults.add(
                "train.num_steps",
                format!("a rollout of {samples} samples is too large; use at most 16,777,216"),
            );
        }
        let epochs = if train.algo == Algo::Ppo { ppo.update_epochs } else { 1 };
        let learned = samples.saturating_mul(epochs);
        if learned > 1 << 32 {
            let message = format!(
                "an update would learn from {learned} samples, {epochs} times the {samples} of a rollout: use at most \
                 4,294,967,296"
            );
            faults.add("ppo.update_epochs", message);
        }
        let total = u128::from(self.updates_total()) * samples as u128;
        if total > 1 << 62 {
            let message = format!("the run would take {total} steps: use at most 4,611,686,018,427,387,904");
            faults.add("train.updates", message);
        }
        if train.algo == Algo::Ppo && ppo.num_minibatches > 0 && samples > 0 && ppo.num_minibatches > samples
        {
            let message =
                format!("must be at most the {samples} samples of a rollout, got {}", ppo.num_minibatches);
            faults.add("ppo.num_minibatches", message);
        }
    }
}
