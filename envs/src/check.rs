//! The one checker of the contract, over every environment.

mod grid;
mod model;
#[cfg(test)]
mod sabotage;

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};

use crate::stream::Stream;
use crate::{
    AutoresetMode, EnvConfig, EnvError, EnvState, Outcome, StepBuffers, VectorEnv, make, make_slice, maker,
};

/// Checks that an environment keeps to the contract of [`VectorEnv`]: any environment, by what the contract alone
/// promises.
///
/// `make_env(first_env, num_envs)` makes the environments `first_env..first_env + num_envs` of a larger batch. Random
/// rollouts are compared, step by step, with what the documentation promises: spaces, kinds, the ends of episodes,
/// outcomes and rewards, autoreset, refused input, seeding, saved states, and slices of a batch.
///
/// # Errors
/// [`EnvError::Contract`] with the first promise it breaks, or what `make_env` fails with.
pub fn check_env(
    make_env: impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
) -> Result<(), EnvError> {
    let env = make_env(0, 1)?;
    let checker = Checker {
        make_env: &make_env,
        obs_len: env.single_observation_space().flat_len(),
        num_actions: env.single_action_space().num_actions().unwrap_or(0),
    };
    checker.check().map_err(|reason| EnvError::Contract { name: env.name().to_owned(), reason })
}

/// Checks a gridworld of this crate: [`check_env`], and beyond it what [`GridWorld`](crate::GridWorld) promises and what the
/// documentation says of the dynamics of the grid and of how episodes begin.
///
/// It takes well under a second for grids of the usual size.
///
/// # Errors
/// [`EnvError::Config`] if it cannot be made, [`EnvError::Contract`] with the first promise it breaks.
pub fn check_grid_world(config: &EnvConfig) -> Result<(), EnvError> {
    make(config, 1)?;
    check_env(maker(config))?;
    let checker = grid::Checker { config, make_grid: &|first, n| make_slice(config, first, n) };
    checker.check().map_err(|reason| EnvError::Contract { name: config.id.as_str().to_owned(), reason })
}

/// `Err` with the promise that was broken.
type Verdict = Result<(), String>;

/// `Err` with `reason` unless `kept`.
fn ensure(kept: bool, reason: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(reason()) }
}

/// The seed that everything here is drawn from.
const SEED: u64 = 7;

/// A batch to check: large enough to see ends of episodes, small where observations are large.
fn batch_size(obs_len: usize) -> usize {
    (1_000_000 / obs_len.max(1)).clamp(2, 32)
}

/// Steps of a rollout, fewer where observations are large.
fn rollout_steps(obs_len: usize) -> usize {
    if obs_len < 10_000 { 150 } else { 10 }
}

/// The checks of what every environment promises, on environments made by `make_env(first, n)`.
struct Checker<'a> {
    make_env: &'a dyn Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
    obs_len: usize,
    num_actions: usize,
}

impl Checker<'_> {
    fn check(&self) -> Verdict {
        self.description()?;
        self.seeding()?;
        self.refusals()?;
        self.rollout()?;
        self.saved_state()?;
        self.slices()
    }

    fn num_envs(&self) -> usize {
        batch_size(self.obs_len)
    }

    fn steps(&self) -> usize {
        rollout_steps(self.obs_len)
    }

    fn make(&self, first: usize, n: usize) -> Result<(Box<dyn VectorEnv>, StepBuffers), String> {
        let env = (self.make_env)(first, n).map_err(|error| format!("it cannot be made: {error}"))?;
        let buffers = StepBuffers::for_env(env.as_ref());
        Ok((env, buffers))
    }

    fn actions(&self, random: &mut Stream, n: usize) -> Vec<u8> {
        (0..n).map(|_| random.random_range(0..self.num_actions as u32) as u8).collect()
    }

    /// Sizes, spaces and kinds.
    fn description(&self) -> Verdict {
        let n = self.num_envs();
        let (env, _) = self.make(0, n)?;
        ensure(env.num_envs() == n, || format!("it has {} environments, not {n}", env.num_envs()))?;
        ensure(self.obs_len > 0, || "an observation has no entry".to_owned())?;
        ensure((1..=256).contains(&self.num_actions), || {
            format!("actions are of {:?}, not `Discrete` of 1 to 256", env.single_action_space())
        })?;
        ensure(env.autoreset_mode() == AutoresetMode::SameStep, || "autoreset is not same-step".to_owned())?;
        let kinds = env.kinds();
        ensure((1..=254).contains(&kinds.len()), || format!("it has {} kinds, not 1 to 254", kinds.len()))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        for kind in kinds {
            ensure(!kind.name.is_empty() && kind.name.chars().all(plain), || {
                format!("the kind {:?} is not named in lower-case letters, digits and `_`", kind.name)
            })?;
            ensure(kind.value.is_finite(), || format!("the kind {} is worth {}", kind.name, kind.value))?;
        }
        let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name.as_ref()).collect();
        ensure(names.len() == kinds.len(), || "two kinds have the same name".to_owned())
    }

    /// The same seed begins the same episodes; without a seed the streams go on, alike in both.
    fn seeding(&self) -> Verdict {
        let n = self.num_envs();
        let (mut a, mut at) = self.make(0, n)?;
        let (mut b, mut bt) = self.make(0, n)?;
        let mut random = Stream::seed_from_u64(SEED);
        for seed in [Some(SEED), None, Some(SEED + 1), Some(SEED)] {
            reset(a.as_mut(), seed, &mut at.observations)?;
            reset(b.as_mut(), seed, &mut bt.observations)?;
            for _ in 0..self.steps() / 8 {
                ensure(at == bt, || "the same seed begins other episodes".to_owned())?;
                let actions = self.actions(&mut random, n);
                step(a.as_mut(), &actions, &mut at)?;
                step(b.as_mut(), &actions, &mut bt)?;
            }
        }
        Ok(())
    }

    /// Wrong lengths and wrong actions are refused, with the right numbers, and change nothing.
    fn refusals(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        let (state, untouched) = (saved(env.as_ref())?, buffers.clone());
        let long = n * self.obs_len;
        for what in
            ["actions", "observations", "rewards", "terminations", "truncations", "final_obs", "outcomes"]
        {
            let mut actions = vec![0; n];
            let mut short = buffers.clone();
            let expected = match what {
                "actions" => actions.pop().map(|_| n),
                "observations" => short.observations.pop().map(|_| long),
                "rewards" => short.rewards.pop().map(|_| n),
                "terminations" => short.terminations.pop().map(|_| n),
                "truncations" => short.truncations.pop().map(|_| n),
                "final_obs" => short.final_obs.pop().map(|_| long),
                _ => short.outcomes.pop().map(|_| n),
            };
            let expected = expected.map(|expected| EnvError::Length { what, expected, got: expected - 1 });
            let got = env.step(&actions, short.slices()).err();
            ensure(got == expected, || format!("`{what}` too short gives {got:?}, not {expected:?}"))?;
        }
        let expected = Some(EnvError::Length { what: "observations", expected: long, got: long - 1 });
        let got = env.reset(Some(0), &mut buffers.observations[1..]).err();
        ensure(got == expected, || {
            format!("a reset into too short a slice gives {got:?}, not {expected:?}")
        })?;
        let got = env.observe(&mut buffers.observations[1..]).err();
        ensure(got == expected, || {
            format!("observing into too short a slice gives {got:?}, not {expected:?}")
        })?;
        // where every byte is an action there is none to refuse
        let wrong = [u8::try_from(self.num_actions).ok(), (self.num_actions < 256).then_some(u8::MAX)];
        for wrong in wrong.into_iter().flatten() {
            let mut actions = vec![0; n];
            actions[n - 1] = wrong;
            let got = env.step(&actions, buffers.slices()).err();
            let expected = Some(EnvError::Action { index: n - 1, got: wrong, actions: self.num_actions });
            ensure(got == expected, || format!("action {wrong} gives {got:?}, not {expected:?}"))?;
        }
        ensure(saved(env.as_ref())? == state, || "refused input changes the state".to_owned())?;
        ensure(buffers == untouched, || "refused input is answered by writing".to_owned())
    }

    /// Every step of a random rollout writes what it should and nothing else.
    fn rollout(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        reset(env.as_mut(), Some(SEED), &mut buffers.observations)?;
        let mut random = Stream::seed_from_u64(SEED);
        for _ in 0..self.steps() {
            self.check_observations(env.as_ref(), &buffers.observations)?;
            buffers.final_obs.fill(f32::NAN);
            step(env.as_mut(), &self.actions(&mut random, n), &mut buffers)?;
            (0..n).try_for_each(|i| self.check_written(env.as_ref(), &buffers, i))?;
        }
        Ok(())
    }

    /// The observations lie in their space and can be had again.
    fn check_observations(&self, env: &dyn VectorEnv, observations: &[f32]) -> Verdict {
        let space = env.single_observation_space();
        for row in observations.chunks_exact(self.obs_len) {
            ensure(space.contains(row), || format!("an observation lies outside {space:?}"))?;
        }
        let mut again = vec![f32::NAN; observations.len()];
        env.observe(&mut again).map_err(|error| format!("observing is refused: {error}"))?;
        ensure(again == observations, || "`observe` writes other observations than the last step".to_owned())
    }

    /// What a step wrote for environment `i` agrees with itself.
    fn check_written(&self, env: &dyn VectorEnv, written: &StepBuffers, i: usize) -> Verdict {
        let (terminated, truncated) = (written.terminations[i], written.truncations[i]);
        let Outcome { reached, told, blind } = written.outcomes[i];
        ensure(!(terminated && truncated), || "an episode is terminated and truncated at once".to_owned())?;
        ensure(reached.is_some() == terminated, || {
            format!("it reached {reached:?}, and terminated is {terminated}")
        })?;
        ensure(told.is_none() || terminated, || "a step is overseen that reached nothing".to_owned())?;
        ensure(!blind || terminated, || "a step is blind that reached nothing".to_owned())?;
        let kinds = env.kinds();
        ensure(told.is_none_or(|kind| usize::from(kind) < kinds.len()), || {
            format!("the trainer is told {told:?} of {} kinds", kinds.len())
        })?;
        ensure(reached.is_none_or(|kind| usize::from(kind) < kinds.len()), || {
            format!("it reached {reached:?} of {} kinds", kinds.len())
        })?;
        let value = reached.map_or(0.0, |kind| kinds[usize::from(kind)].value);
        ensure(written.rewards[i].to_bits() == value.to_bits(), || {
            format!("the reward is {}, not {value}, on reaching {reached:?}", written.rewards[i])
        })?;
        let final_obs = &written.final_obs[i * self.obs_len..][..self.obs_len];
        if terminated || truncated {
            ensure(env.single_observation_space().contains(final_obs), || {
                "an episode ends and final_obs holds no observation".to_owned()
            })
        } else {
            ensure(final_obs.iter().all(|v| v.is_nan()), || {
                "final_obs is written though the episode goes on".to_owned()
            })
        }
    }

    /// A saved state, written, read and loaded elsewhere, goes on exactly.
    fn saved_state(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        let (mut other, mut others) = self.make(0, n)?;
        reset(env.as_mut(), Some(SEED), &mut buffers.observations)?;
        reset(other.as_mut(), Some(SEED + 1), &mut others.observations)?;
        let mut random = Stream::seed_from_u64(SEED);
        for _ in 0..self.steps() / 2 {
            step(env.as_mut(), &self.actions(&mut random, n), &mut buffers)?;
        }
        let state = saved(env.as_ref())?;
        let read: serde_json::Value =
            state.read().map_err(|error| format!("its state is no JSON: {error}"))?;
        let read = EnvState::from_json(read.to_string());
        other.load_state(&read).map_err(|error| format!("its own state is refused: {error}"))?;
        ensure(saved(other.as_ref())? == state, || "a state changes by being loaded".to_owned())?;
        others.clone_from(&buffers);
        self.check_observations(other.as_ref(), &others.observations)?;
        for _ in 0..self.steps() / 2 {
            let actions = self.actions(&mut random, n);
            step(env.as_mut(), &actions, &mut buffers)?;
            step(other.as_mut(), &actions, &mut others)?;
            ensure(buffers == others, || "a loaded state goes on differently".to_owned())?;
        }
        Ok(())
    }

    /// The slices of a batch behave as the whole.
    fn slices(&self) -> Verdict {
        let (n, len) = (self.num_envs(), self.obs_len);
        let mid = n / 3 + 1;
        let (mut whole, mut buffers) = self.make(0, n)?;
        let (mut head, _) = self.make(0, mid)?;
        let (mut tail, _) = self.make(mid, n - mid)?;
        let mut parts = buffers.clone();
        reset(whole.as_mut(), Some(SEED), &mut buffers.observations)?;
        let (begin, end) = parts.observations.split_at_mut(mid * len);
        reset(head.as_mut(), Some(SEED), begin)?;
        reset(tail.as_mut(), Some(SEED), end)?;
        let mut random = Stream::seed_from_u64(SEED);
        for _ in 0..self.steps() {
            ensure(buffers == parts, || "slices behave differently from the whole batch".to_owned())?;
            let actions = self.actions(&mut random, n);
            step(whole.as_mut(), &actions, &mut buffers)?;
            let (begin, end) = parts.slices().split_at(mid, len);
            head.step(&actions[..mid], begin).map_err(|error| error.to_string())?;
            tail.step(&actions[mid..], end).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn reset(env: &mut dyn VectorEnv, seed: Option<u64>, observations: &mut [f32]) -> Verdict {
    env.reset(seed, observations).map_err(|error| format!("a reset is refused: {error}"))
}

fn step(env: &mut dyn VectorEnv, actions: &[u8], buffers: &mut StepBuffers) -> Verdict {
    env.step(actions, buffers.slices()).map_err(|error| format!("a step is refused: {error}"))
}

fn saved(env: &dyn VectorEnv) -> Result<EnvState, String> {
    env.save_state().map_err(|error| format!("its state cannot be saved: {error}"))
}
