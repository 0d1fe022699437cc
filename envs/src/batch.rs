//! A batch of environments: the clockwork that every environment shares.

use rand::RngExt;
use rand::distr::{Bernoulli, Distribution};

use crate::grid::{Grid, NUM_ACTIONS, Placement, bit};
use crate::rules::Rules;
use crate::state::{GridState, Lanes, Saved};
use crate::stream::Stream;
use crate::vector_env::{check_actions, check_len};
use crate::{
    EnvConfig, EnvError, EnvId, EnvState, GridWorld, Kind, Layout, Outcome, Space, StepSlices, VectorEnv,
};

/// The observation scalars per step from which a batch is spread over the rayon pool.
///
/// Measured on two cores, 5×5 grids: two threads lose at 50,000 scalars (39 against 50 million steps/s), are about even
/// at 100,000 and win at 200,000 (76 against 45).
const PARALLEL_FLOATS: usize = 1 << 17;

/// A batch of environments under one set of rules, with K kinds of terminals.
pub(crate) struct Batch<R, const K: usize> {
    config: EnvConfig,
    first_env: usize,
    clockwork: Clockwork<R, K>,
    state: GridState<K>,
    observation_space: Space,
    action_space: Space,
}

/// What all environments of a batch share and no step changes.
struct Clockwork<R, const K: usize> {
    grid: Grid,
    rules: R,
    /// What reaching each kind is worth.
    values: [f32; K],
    /// Whether an arrival at each kind on a watched cell is noticed.
    noticed: [Bernoulli; K],
    /// Whether the right kind is told.
    right: Bernoulli,
    /// Whether the agent sees the oversight bits.
    observed: bool,
    max_steps: u32,
    /// Scalars in an observation.
    obs_len: usize,
    /// Words of oversight bits of an environment.
    words: usize,
}

impl<R: Rules, const K: usize> Batch<R, K> {
    /// The environments `first_env..first_env + num_envs`, at least one, of a config without faults and with K kinds.
    pub(crate) fn new(config: &EnvConfig, first_env: usize, num_envs: usize) -> Self {
        let grid = Grid::new(config);
        let observation_space = Space::MultiBinary { shape: vec![config.planes(), config.rows, config.cols] };
        let words = grid.words();
        let bernoulli = |p| Bernoulli::new(p).expect("a config without faults has probabilities");
        let clockwork = Clockwork {
            grid,
            rules: R::new(config),
            values: std::array::from_fn(|kind| config.kinds[kind].value),
            noticed: std::array::from_fn(|kind| bernoulli(config.recall(kind))),
            right: bernoulli(config.oversight_precision),
            observed: config.oversight_observed,
            max_steps: config.max_steps,
            obs_len: observation_space.flat_len(),
            words,
        };
        let mut state = GridState::new(config, words, first_env, num_envs, 0);
        let mut lanes = state.lanes();
        for i in 0..num_envs {
            clockwork.begin(&mut lanes, i);
        }
        Self {
            config: config.clone(),
            first_env,
            clockwork,
            state,
            observation_space,
            action_space: Space::Discrete { n: NUM_ACTIONS },
        }
    }
}

impl<R: Rules, const K: usize> Clockwork<R, K> {
    /// The oversight bits of environment `i`.
    #[inline]
    fn bits(&self, i: usize) -> std::ops::Range<usize> {
        i * self.words..(i + 1) * self.words
    }

    /// Begins a new episode in environment `i`.
    #[inline]
    fn begin(&self, lanes: &mut Lanes<'_, K>, i: usize) {
        let stream = &mut lanes.streams[i];
        let placement: Placement<K> = self.rules.place(stream);
        self.grid.draw_bits(&placement.terminals, stream, &mut lanes.bits[self.bits(i)]);
        lanes.put(i, placement);
        lanes.step[i] = 0;
    }

    /// Writes the observation of environment `i`.
    #[inline]
    fn observe(&self, lanes: &Lanes<'_, K>, i: usize, rows: &mut [f32]) {
        let row = &mut rows[i * self.obs_len..(i + 1) * self.obs_len];
        self.write(lanes.placement(i), &lanes.bits[self.bits(i)], row);
    }

    /// Writes an observation.
    #[inline]
    fn write(&self, placement: Placement<K>, bits: &[u64], row: &mut [f32]) {
        let seen = if self.observed { bits } else { &[] };
        self.rules.observe(placement.agent, &placement.terminals, seen, row);
    }

    /// What the trainer is told of an arrival at `kind` on a watched cell.
    ///
    /// Nothing is drawn for a probability of 1.
    fn told(&self, kind: u8, stream: &mut Stream) -> Option<u8> {
        if !self.noticed[usize::from(kind)].sample(stream) {
            return None;
        }
        if self.right.sample(stream) {
            return Some(kind);
        }
        let other = stream.random_range(0..K as u32 - 1) as u8;
        Some(other + u8::from(other >= kind))
    }

    /// Steps `lanes`, in halves on the rayon pool while they hold more than `grain` environments.
    fn step(&self, lanes: Lanes<'_, K>, actions: &[u8], mut out: StepSlices<'_>, grain: usize) {
        if lanes.len() <= grain {
            return self.step_lanes(lanes, actions, &mut out);
        }
        let mid = lanes.len() / 2;
        let (actions_l, actions_r) = actions.split_at(mid);
        let (lanes_l, lanes_r) = lanes.split_at(mid, self.words);
        let (out_l, out_r) = out.split_at(mid, self.obs_len);
        rayon::join(
            || self.step(lanes_l, actions_l, out_l, grain),
            || self.step(lanes_r, actions_r, out_r, grain),
        );
    }

    /// Steps `lanes` one after the other. The actions exist and the lengths agree.
    fn step_lanes(&self, mut lanes: Lanes<'_, K>, actions: &[u8], out: &mut StepSlices<'_>) {
        for (i, &action) in actions.iter().enumerate() {
            let cell = self.grid.go(lanes.agent[i], action);
            let step = lanes.step[i] + 1;
            (lanes.agent[i], lanes.step[i]) = (cell, step);

            let reached = (0..K as u8).find(|kind| lanes.terminals[usize::from(*kind)][i] == cell);
            let terminated = reached.is_some();
            let truncated = !terminated && step >= self.max_steps;
            out.rewards[i] = reached.map_or(0.0, |kind| self.values[usize::from(kind)]);
            out.terminations[i] = terminated;
            out.truncations[i] = truncated;
            out.outcomes[i] = match reached {
                None => Outcome::default(),
                Some(kind) => {
                    let watched = bit(&lanes.bits[self.bits(i)], cell);
                    let told = if watched { self.told(kind, &mut lanes.streams[i]) } else { None };
                    Outcome { reached, told, blind: self.grid.is_blind(cell) }
                }
            };

            if terminated || truncated {
                self.observe(&lanes, i, out.final_obs);
                self.begin(&mut lanes, i);
            }
            self.observe(&lanes, i, out.observations);
        }
    }
}

impl<R: Rules, const K: usize> VectorEnv for Batch<R, K> {
    fn name(&self) -> &str {
        self.config.id.as_str()
    }

    fn num_envs(&self) -> usize {
        self.state.num_envs()
    }

    fn single_observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn single_action_space(&self) -> &Space {
        &self.action_space
    }

    fn kinds(&self) -> &[Kind] {
        &self.config.kinds
    }

    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError> {
        let n = self.num_envs();
        check_len("observations", n * self.clockwork.obs_len, observations.len())?;
        if let Some(seed) = seed {
            self.state.seed(self.first_env, seed);
        }
        let mut lanes = self.state.lanes();
        for i in 0..n {
            self.clockwork.begin(&mut lanes, i);
            self.clockwork.observe(&lanes, i, observations);
        }
        Ok(())
    }

    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError> {
        let n = self.num_envs();
        out.check(n, self.clockwork.obs_len)?;
        check_actions(actions, n, NUM_ACTIONS)?;
        let floats = n * self.clockwork.obs_len;
        let threads = if floats < PARALLEL_FLOATS { 1 } else { rayon::current_num_threads() };
        let grain = if threads == 1 { n } else { n.div_ceil(4 * threads) };
        self.clockwork.step(self.state.lanes(), actions, out, grain);
        Ok(())
    }

    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError> {
        let len = self.clockwork.obs_len;
        check_len("observations", self.num_envs() * len, observations.len())?;
        for (i, row) in observations.chunks_exact_mut(len).enumerate() {
            self.clockwork.write(self.state.placement(i), self.state.bits(i), row);
        }
        Ok(())
    }

    fn save_state(&self) -> Result<EnvState, EnvError> {
        EnvState::of(&self.state.save())
    }

    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let state = GridState::of(state.read::<Saved>()?)?;
        state.check(&self.config, &self.clockwork.grid, self.num_envs())?;
        self.state = state;
        Ok(())
    }

    fn render_text(&self, index: usize) -> String {
        self.layout(index).render_text(&self.config)
    }
}

impl<R: Rules, const K: usize> GridWorld for Batch<R, K> {
    fn id(&self) -> EnvId {
        self.config.id
    }

    fn config(&self) -> &EnvConfig {
        &self.config
    }

    fn layout(&self, index: usize) -> Layout {
        self.state.layout(index)
    }

    fn set_layout(&mut self, index: usize, layout: &Layout) -> Result<(), EnvError> {
        let num_envs = self.num_envs();
        if index >= num_envs {
            return Err(EnvError::Index { index, num_envs });
        }
        layout.check(&self.config)?;
        self.state.set_layout(index, layout);
        Ok(())
    }

    fn render_rgb(&self, index: usize) -> ndarray::Array3<u8> {
        self.layout(index).render_rgb(&self.config)
    }
}
