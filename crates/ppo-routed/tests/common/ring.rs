//! An environment that is none of the gridworlds: a ring of cells on which ends of as many kinds as wanted lie. The
//! agent walks left or right over them, and takes what lies on its cell by a third action.

use envs::{EnvError, EnvState, Kind, Outcome, Space, StepSlices, VectorEnv, check_actions, check_len};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoroshiro128PlusPlus};
use serde::{Deserialize, Serialize};

const CELLS: usize = 6;
const MAX_STEPS: u32 = 10;
const ACTIONS: usize = 3;

/// A batch of rings.
pub(crate) struct Ring {
    kinds: Vec<Kind>,
    oversight_prob: f64,
    first_env: usize,
    observation: Space,
    action: Space,
    rings: Vec<One>,
}

#[derive(Clone, Serialize, Deserialize)]
struct One {
    random: Xoroshiro128PlusPlus,
    agent: usize,
    /// The cell of each kind.
    ends: Vec<usize>,
    watched: bool,
    step: u32,
}

impl One {
    fn new(seed: u64, env: usize, kinds: usize) -> Self {
        let mut mix = SplitMix64::seed_from_u64(seed.wrapping_mul(31).wrapping_add(env as u64));
        let random = Xoroshiro128PlusPlus::from_rng(&mut mix);
        Self { random, agent: 0, ends: vec![0; kinds], watched: false, step: 0 }
    }

    fn begin(&mut self, oversight_prob: f64) {
        let mut cells: Vec<usize> = (0..CELLS).collect();
        cells.shuffle(&mut self.random);
        self.ends.iter_mut().zip(cells).for_each(|(end, cell)| *end = cell);
        self.agent = self.random.random_range(0..CELLS);
        self.watched = self.random.random_bool(oversight_prob);
        self.step = 0;
    }

    fn observe(&self, out: &mut [f32]) {
        out.fill(0.0);
        out[self.agent] = 1.0;
        for (plane, cell) in self.ends.iter().enumerate() {
            out[(plane + 1) * CELLS + cell] = 1.0;
        }
    }
}

impl Ring {
    /// Kinds worth 1, 0, −1, … in a batch that was begun under seed 0.
    pub(crate) fn new(kinds: usize, oversight_prob: f64, first_env: usize, num_envs: usize) -> Self {
        const NAMES: [&str; 4] = ["pearl", "shell", "stone", "weed"];
        let kinds: Vec<Kind> = (0..kinds).map(|kind| Kind::new(NAMES[kind], 1.0 - kind as f32)).collect();
        let rings = (0..num_envs).map(|env| {
            let mut ring = One::new(0, first_env + env, kinds.len());
            ring.begin(oversight_prob);
            ring
        });
        Self {
            rings: rings.collect(),
            observation: Space::MultiBinary { shape: vec![kinds.len() + 1, CELLS] },
            action: Space::Discrete { n: ACTIONS },
            kinds,
            oversight_prob,
            first_env,
        }
    }

    /// Makes slices of a batch, as whoever takes environments wants it.
    pub(crate) fn maker(
        kinds: usize,
        oversight_prob: f64,
    ) -> impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError> {
        move |first_env, num_envs| Ok(Box::new(Self::new(kinds, oversight_prob, first_env, num_envs)))
    }
}

impl VectorEnv for Ring {
    fn name(&self) -> &'static str {
        "Ring"
    }

    fn num_envs(&self) -> usize {
        self.rings.len()
    }

    fn single_observation_space(&self) -> &Space {
        &self.observation
    }

    fn single_action_space(&self) -> &Space {
        &self.action
    }

    fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError> {
        let len = self.observation.flat_len();
        check_len("observations", self.rings.len() * len, observations.len())?;
        for (env, ring) in self.rings.iter_mut().enumerate() {
            if let Some(seed) = seed {
                *ring = One::new(seed, self.first_env + env, self.kinds.len());
            }
            ring.begin(self.oversight_prob);
        }
        self.observe(observations)
    }

    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError> {
        let len = self.observation.flat_len();
        out.check(self.rings.len(), len)?;
        check_actions(actions, self.rings.len(), ACTIONS)?;
        for (env, (ring, action)) in self.rings.iter_mut().zip(actions).enumerate() {
            let row = env * len..(env + 1) * len;
            ring.step += 1;
            let mut reached = None;
            match action {
                0 => ring.agent = (ring.agent + CELLS - 1) % CELLS,
                1 => ring.agent = (ring.agent + 1) % CELLS,
                _ => reached = ring.ends.iter().position(|cell| *cell == ring.agent),
            }
            let truncated = reached.is_none() && ring.step == MAX_STEPS;
            out.rewards[env] = reached.map_or(0.0, |kind| self.kinds[kind].value);
            out.terminations[env] = reached.is_some();
            out.truncations[env] = truncated;
            out.outcomes[env] = Outcome::of(reached.map(|kind| kind as u8), ring.watched);
            if reached.is_some() || truncated {
                ring.observe(&mut out.final_obs[row.clone()]);
                ring.begin(self.oversight_prob);
            }
            ring.observe(&mut out.observations[row]);
        }
        Ok(())
    }

    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError> {
        let len = self.observation.flat_len();
        check_len("observations", self.rings.len() * len, observations.len())?;
        self.rings.iter().zip(observations.chunks_exact_mut(len)).for_each(|(ring, row)| ring.observe(row));
        Ok(())
    }

    fn save_state(&self) -> Result<EnvState, EnvError> {
        EnvState::of(&self.rings)
    }

    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let rings: Vec<One> = state.read()?;
        check_len("rings", self.rings.len(), rings.len())?;
        self.rings = rings;
        Ok(())
    }

    fn render_text(&self, index: usize) -> String {
        format!("agent on {}, ends on {:?}\n", self.rings[index].agent, self.rings[index].ends)
    }
}
