//! What the gridworlds promise beyond the contract of every environment.

use rand::{RngExt, SeedableRng};

use super::{SEED, Verdict, batch_size, ensure, model, reset, rollout_steps, saved};
use crate::grid::NUM_ACTIONS;
use crate::stream::Stream;
use crate::{EnvConfig, EnvError, GridWorld, Space, StepBuffers};

/// The checks of one config, on environments made by `make_grid(first, n)`.
pub(super) struct Checker<'a> {
    pub config: &'a EnvConfig,
    pub make_grid: &'a dyn Fn(usize, usize) -> Result<Box<dyn GridWorld>, EnvError>,
}

impl Checker<'_> {
    pub(crate) fn check(&self) -> Verdict {
        self.description()?;
        self.seeding()?;
        self.refusals()?;
        self.rollout()?;
        self.last_step()
    }

    fn obs_len(&self) -> usize {
        self.config.planes() * self.config.rows * self.config.cols
    }

    fn num_envs(&self) -> usize {
        batch_size(self.obs_len())
    }

    fn steps(&self) -> usize {
        rollout_steps(self.obs_len())
    }

    fn make(&self) -> Result<(Box<dyn GridWorld>, StepBuffers), String> {
        let n = self.num_envs();
        let env = (self.make_grid)(0, n).map_err(|error| format!("it cannot be made: {error}"))?;
        let buffers = StepBuffers::for_env(env.as_ref());
        Ok((env, buffers))
    }

    /// Names, settings, spaces and kinds.
    fn description(&self) -> Verdict {
        let (env, _) = self.make()?;
        let &EnvConfig { id, rows, cols, .. } = self.config;
        let observation = Space::MultiBinary { shape: vec![self.config.planes(), rows, cols] };
        let action = Space::Discrete { n: NUM_ACTIONS };
        ensure(env.id() == id && env.name() == id.as_str(), || {
            format!("it calls itself {} and {}", env.id(), env.name())
        })?;
        ensure(env.config() == self.config, || "its settings are not those it was made with".to_owned())?;
        ensure(*env.single_observation_space() == observation, || {
            format!("observations are of {:?}, not {observation:?}", env.single_observation_space())
        })?;
        ensure(*env.single_action_space() == action, || {
            format!("actions are of {:?}, not {action:?}", env.single_action_space())
        })?;
        ensure(env.kinds() == self.config.kinds, || format!("its kinds are {:?}", env.kinds()))
    }

    /// The same seed begins the same episodes, another seed others; without a seed the streams go on.
    fn seeding(&self) -> Verdict {
        // enough that equal episodes everywhere are no accident even where there are six layouts
        let n = self.num_envs();
        let (mut a, mut at) = self.make()?;
        let (mut b, mut bt) = self.make()?;
        let layouts = |env: &dyn GridWorld| (0..n).map(|i| env.layout(i)).collect::<Vec<_>>();
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

    /// A layout for an environment that is not there is refused and changes nothing.
    fn refusals(&self) -> Verdict {
        let n = self.num_envs();
        let (mut env, _) = self.make()?;
        let state = saved(env.as_ref())?;
        let layout = env.layout(0);
        let got = env.set_layout(n, &layout).err();
        ensure(got == Some(EnvError::Index { index: n, num_envs: n }), || {
            format!("a layout for environment {n} of {n} gives {got:?}")
        })?;
        ensure(saved(env.as_ref())? == state, || "a refused layout changes the state".to_owned())
    }

    /// Every step of a random rollout is what the model says.
    fn rollout(&self) -> Verdict {
        let (mut env, mut buffers) = self.make()?;
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
        let (mut env, mut buffers) = self.make()?;
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
}

fn random_actions(random: &mut Stream, n: usize) -> Vec<u8> {
    (0..n).map(|_| random.random_range(0..NUM_ACTIONS as u8)).collect()
}
