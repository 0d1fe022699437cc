//! An environment of one's own, with three kinds of ends, trained by ppo-routed: `cargo run -p three-kinds`.
#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use candle_core::Device;
use envs::{EnvError, EnvState, Kind, Outcome, Space, StepSlices, VectorEnv};
use envs::{check_actions, check_env, check_len};
use ppo_routed::{Config, Trainer};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;
use serde::{Deserialize, Serialize};

const TREES: usize = 5;
const MAX_STEPS: u8 = 8;
const PLANES: usize = 4;
const LEN: usize = PLANES * TREES;
static KINDS: [Kind; 3] = [Kind::new("ripe", 1.0), Kind::new("green", 0.0), Kind::new("rotten", -1.0)];

/// A row of trees with a ripe, a green and a rotten apple. The picker walks left or right, and picks.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    random: Xoroshiro128PlusPlus,
    /// The picker's tree, then the trees of the three apples.
    at: [usize; PLANES],
    step: u8,
}

impl Row {
    fn new(seed: u64, env: usize) -> Self {
        let random = Xoroshiro128PlusPlus::seed_from_u64(seed.rotate_left(20) ^ env as u64);
        let mut row = Self { random, at: [0; PLANES], step: 0 };
        row.begin();
        row
    }

    fn begin(&mut self) {
        let mut trees: Vec<usize> = (0..TREES).collect();
        trees.shuffle(&mut self.random);
        self.at.copy_from_slice(&trees[..PLANES]);
        self.step = 0;
    }

    fn observe(&self, out: &mut [f32]) {
        out.fill(0.0);
        self.at.iter().enumerate().for_each(|(plane, tree)| out[plane * TREES + tree] = 1.0);
    }
}

/// A batch of rows.
struct Orchard {
    first_env: usize,
    observation: Space,
    action: Space,
    rows: Vec<Row>,
}

impl VectorEnv for Orchard {
    fn name(&self) -> &'static str {
        "Orchard"
    }
    fn num_envs(&self) -> usize {
        self.rows.len()
    }
    fn single_observation_space(&self) -> &Space {
        &self.observation
    }
    fn single_action_space(&self) -> &Space {
        &self.action
    }
    fn kinds(&self) -> &[Kind] {
        &KINDS
    }
    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError> {
        check_len("observations", self.rows.len() * LEN, observations.len())?;
        for (env, row) in self.rows.iter_mut().enumerate() {
            match seed {
                Some(seed) => *row = Row::new(seed, self.first_env + env),
                None => row.begin(),
            }
        }
        self.observe(observations)
    }
    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError> {
        out.check(self.rows.len(), LEN)?;
        check_actions(actions, self.rows.len(), 3)?;
        for (env, (row, action)) in self.rows.iter_mut().zip(actions).enumerate() {
            let entries = env * LEN..(env + 1) * LEN;
            row.step += 1;
            let mut picked = None;
            match action {
                0 => row.at[0] = row.at[0].saturating_sub(1),
                1 => row.at[0] = (row.at[0] + 1).min(TREES - 1),
                _ => picked = row.at[1..].iter().position(|tree| *tree == row.at[0]),
            }
            out.rewards[env] = picked.map_or(0.0, |kind| KINDS[kind].value);
            out.terminations[env] = picked.is_some();
            out.truncations[env] = picked.is_none() && row.step == MAX_STEPS;
            // half of the apples are looked at
            let overseen = picked.is_some() && row.random.random();
            out.outcomes[env] = Outcome::of(picked.map(|kind| kind as u8), overseen);
            if out.terminations[env] || out.truncations[env] {
                row.observe(&mut out.final_obs[entries.clone()]);
                row.begin();
            }
            row.observe(&mut out.observations[entries]);
        }
        Ok(())
    }
    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError> {
        check_len("observations", self.rows.len() * LEN, observations.len())?;
        self.rows.iter().zip(observations.chunks_exact_mut(LEN)).for_each(|(row, out)| row.observe(out));
        Ok(())
    }
    fn save_state(&self) -> Result<EnvState, EnvError> {
        EnvState::of(&self.rows)
    }
    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let rows: Vec<Row> = state.read()?;
        check_len("rows", self.rows.len(), rows.len())?;
        self.rows = rows;
        Ok(())
    }
    fn render_text(&self, index: usize) -> String {
        format!("picker, ripe, green and rotten at {:?}\n", self.rows[index].at)
    }
}

fn main() -> Result<(), ppo_routed::Error> {
    let make_env = |first_env: usize, num_envs: usize| -> Result<Box<dyn VectorEnv>, EnvError> {
        let observation = Space::MultiBinary { shape: vec![PLANES, TREES] };
        let rows = (0..num_envs).map(|env| Row::new(0, first_env + env)).collect();
        Ok(Box::new(Orchard { first_env, observation, action: Space::Discrete { n: 3 }, rows }))
    };
    check_env(make_env)?;
    let mut config = Config::default();
    (config.env.num_envs, config.train.num_steps, config.eval.num_envs) = (64, 16, 256);
    (config.train.updates, config.train.learning_rate) = (40, 1e-3);
    let mut trainer = Trainer::with_envs(&config, make_env, 0, 2, &Device::Cpu)?;
    while trainer.updates_done() < trainer.updates_total() {
        trainer.update()?;
    }
    for (name, e) in trainer.evaluate()? {
        let [ripe, green, rotten] = ["ripe", "green", "rotten"].map(|kind| 100.0 * e.share(kind));
        let score = e.stepwise_return;
        println!("{name} policy: return {score:.2}; {ripe:.0}% ripe, {green:.0}% green, {rotten:.0}% rotten");
    }
    Ok(())
}
