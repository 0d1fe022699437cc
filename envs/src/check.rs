//! The one checker of the contract, over every environment.

mod model;
#[cfg(test)]
mod sabotage;

use rand::{RngExt, SeedableRng};

use crate::stream::Stream;
use crate::{
    AutoresetMode, EnvConfig, EnvError, NUM_ACTIONS, Space, StepBuffers, VectorEnv, make, make_slice,
};

/// Checks that the environment of `config` keeps to the contract of [`VectorEnv`].
///
/// Random rollouts are compared, step by step, with what the documentation promises: spaces, the dynamics of
/// the grid, rewards, the ends of episodes, autoreset, outcomes, how episodes begin, refused input, seeding,
/// saved states, and slices of a batch. It takes well under a second for grids of the usual size.
///
/// # Errors
/// [`EnvError::Config`] if it cannot be made, [`EnvError::Contract`] with the first promise it breaks.
pub fn check_env(config: &EnvConfig) -> Result<(), EnvError> {
    make(config, 1)?;
    let checker = Checker { config, make_slice: &|first, n| make_slice(config, first, n) };
    checker.check().map_err(|reason| EnvError::Contract { id: config.id, reason })
}

/// `Err` with the promise that was broken.
type Verdict = Result<(), String>;

/// `Err` with `reason` unless `kept`.
fn ensure(kept: bool, reason: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(reason()) }
}

/// The seed that everything here is drawn from.
const SEED: u64 = 7;

/// The checks of one config, on environments made by `make_slice(first, n)`.
struct Checker<'a> {
    config: &'a EnvConfig,
    make_slice: &'a dyn Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
}

impl Checker<'_> {
    fn check(&self) -> Verdict {
        self.description()?;
        self.seeding()?;
        self.refusals()?;
        self.rollout()?;
        self.last_step()?;
        self.saved_state()?;
        self.slices()
    }

    /// A batch to check: large enough to see ends of episodes, small where observations are large.
    fn num_envs(&self) -> usize {
        (1_000_000 / self.obs_len()).clamp(2, 32)
    }

    /// Steps of a rollout, fewer where observations are large.
    fn steps(&self) -> usize {
        if self.obs_len() < 10_000 { 150 } else { 10 }
    }

    fn obs_len(&self) -> usize {
        self.config.id.planes() * self.config.rows * self.config.cols
    }

    fn make(&self, first: usize, n: usize) -> Result<(Box<dyn VectorEnv>, StepBuffers), String> {
        let env = (self.make_slice)(first, n).map_err(|error| format!("it cannot be made: {error}"))?;
        let buffers = StepBuffers::for_env(env.as_ref());
        Ok((env, buffers))
    }

    /// Names, sizes and spaces.
    fn description(&self) -> Verdict {
        let n = self.num_envs();
        let (env, _) = self.make(0, n)?;
        let &EnvConfig { id, rows, cols, .. } = self.config;
        let observation = Space::MultiBinary { shape: vec![id.planes(), rows, cols] };
        let action = Space::Discrete { n: NUM_ACTIONS };
        ensure(env.id() == id, || format!("it calls itself {}", env.id()))?;
        ensure(env.config() == self.config, || "its settings are not those it was made with".to_owned())?;
        ensure(env.num_envs() == n, || format!("it has {} environments, not {n}", env.num_envs()))?;
        ensure(*env.single_observation_space() == observation, || {
            format!("observations are of {:?}, not {observation:?}", env.single_observation_space())
        })?;
        ensure(*env.single_action_space() == action, || {
            format!("actions are of {:?}, not {action:?}", env.single_action_space())
        })?;
        ensure(env.autoreset_mode() == AutoresetMode::SameStep, || "autoreset is not same-step".to_owned())
    }

    /// The same seed begins the same episodes, another seed others; without a seed the streams go on.
    fn seeding(&self) -> Verdict {
        // enough that equal episodes everywhere are no accident even where there are six layouts
        let n = self.num_envs();
        let (mut a, mut at) = self.make(0, n)?;
        let (mut b, mut bt) = self.make(0, n)?;
        let layouts = |env: &dyn VectorEnv| (0..n).map(|i| env.layout(i)).collect::<Vec<_>>();
        reset(a.as_mut(), Some(SEED), &mut at.observations)?;
        let first = layouts(a.as_ref());
        model::check_beginnings(self.config, &first)?;
        model::check_observations(self.config, &first, &at.observations)?;
        reset(a.as_mut(), None, &mut at.observations)?;
        let second = layouts(a.as_ref());
        model::check_observations(self.config, &second, &at.observations)?;
        // where observations are large, batches are small, but layouts are many
        ensure(first != second, || "a reset without a seed begins the same episodes again".to_owned())?;
        for expected in [&first, &second] {
            let seed = (expected == &first).then_some(SEED);
            reset(b.as_mut(), seed, &mut bt.observations)?;
            ensure(layouts(b.as_ref()) == *expected, || "the same seed begins other episodes".to_owned())?;
        }
        reset(b.as_mut(), Some(SEED + 1), &mut bt.observations)?;
        ensure(layouts(b.as_ref()) != first, || "another seed begins the same episodes".to_owned())
    }

    /// Wrong lengths and wrong actions are refused, with the right numbers, and change nothing.
    fn refusals(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        let (state, untouched) = (env.save_state(), buffers.clone());
        let long = n * self.obs_len();
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
        let got = env.reset(Some(0), &mut buffers.observations[1..]).err();
        let expected = Some(EnvError::Length { what: "observations", expected: long, got: long - 1 });
        ensure(got == expected, || {
            format!("a reset into too short a slice gives {got:?}, not {expected:?}")
        })?;
        for wrong in [4, u8::MAX] {
            let mut actions = vec![1; n];
            actions[n - 1] = wrong;
            let got = env.step(&actions, buffers.slices()).err();
            let expected = Some(EnvError::Action { index: n - 1, got: wrong });
            ensure(got == expected, || format!("action {wrong} gives {got:?}, not {expected:?}"))?;
        }
        let layout = env.layout(0);
        let got = env.set_layout(n, &layout).err();
        ensure(got == Some(EnvError::Index { index: n, num_envs: n }), || {
            format!("a layout for environment {n} of {n} gives {got:?}")
        })?;
        ensure(env.save_state() == state, || "refused input changes the state".to_owned())?;
        ensure(buffers == untouched, || "refused input is answered by writing".to_owned())
    }

    /// Every step of a random rollout is what the model says.
    fn rollout(&self) -> Verdict {
        let (mut env, mut buffers) = self.make(0, self.num_envs())?;
        reset(env.as_mut(), Some(SEED), &mut buffers.observations)?;
        let mut random = Stream::seed_from_u64(SEED);
        for _ in 0..self.steps() {
            model::check_step(env.as_mut(), &mut buffers, &random_actions(&mut random, self.num_envs()))?;
        }
        Ok(())
    }

    /// The last action allowed truncates, unless it arrives at a terminal.
    fn last_step(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        reset(env.as_mut(), Some(SEED), &mut buffers.observations)?;
        let mut random = Stream::seed_from_u64(SEED + 1);
        for _ in 0..self.steps().div_ceil(4) {
            for i in 0..n {
                let mut layout = env.layout(i);
                layout.step = self.config.max_steps - 1;
                // beside a terminal, so that some of the last actions arrive
                layout.agent = model::beside(self.config, &layout).unwrap_or(layout.agent);
                env.set_layout(i, &layout)
                    .map_err(|error| format!("a possible layout is refused: {error}"))?;
                ensure(env.layout(i) == layout, || "`layout` is not what `set_layout` set".to_owned())?;
            }
            model::check_step(env.as_mut(), &mut buffers, &random_actions(&mut random, n))?;
            let ended = (0..n).all(|i| buffers.terminations[i] || buffers.truncations[i]);
            ensure(ended, || "an episode outlasts the last step".to_owned())?;
        }
        Ok(())
    }

    /// A saved state, loaded elsewhere, goes on exactly.
    fn saved_state(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, mut buffers) = self.make(0, n)?;
        let (mut other, mut others) = self.make(0, n)?;
        reset(env.as_mut(), Some(SEED), &mut buffers.observations)?;
        reset(other.as_mut(), Some(SEED + 1), &mut others.observations)?;
        let mut random = Stream::seed_from_u64(SEED);
        for _ in 0..self.steps() / 2 {
            step(env.as_mut(), &random_actions(&mut random, n), &mut buffers)?;
        }
        let state = env.save_state();
        other.load_state(&state).map_err(|error| format!("its own state is refused: {error}"))?;
        ensure(other.save_state() == state, || "a state changes by being loaded".to_owned())?;
        others.clone_from(&buffers);
        for _ in 0..self.steps() / 2 {
            let actions = random_actions(&mut random, n);
            step(env.as_mut(), &actions, &mut buffers)?;
            step(other.as_mut(), &actions, &mut others)?;
            ensure(buffers == others, || "a loaded state goes on differently".to_owned())?;
        }
        Ok(())
    }

    /// The slices of a batch behave as the whole.
    fn slices(&self) -> Verdict {
        let (n, len) = (self.num_envs(), self.obs_len());
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
            let actions = random_actions(&mut random, n);
            step(whole.as_mut(), &actions, &mut buffers)?;
            let (begin, end) = parts.slices().split_at(mid, len);
            head.step(&actions[..mid], begin).map_err(|error| error.to_string())?;
            tail.step(&actions[mid..], end).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn random_actions(random: &mut Stream, n: usize) -> Vec<u8> {
    (0..n).map(|_| random.random_range(0..NUM_ACTIONS as u8)).collect()
}

fn reset(env: &mut dyn VectorEnv, seed: Option<u64>, observations: &mut [f32]) -> Verdict {
    env.reset(seed, observations).map_err(|error| format!("a reset is refused: {error}"))
}

fn step(env: &mut dyn VectorEnv, actions: &[u8], buffers: &mut StepBuffers) -> Verdict {
    env.step(actions, buffers.slices()).map_err(|error| format!("a step is refused: {error}"))
}
