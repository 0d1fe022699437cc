//! A hand-written environment, one at a time and as slow as may be, against the batch.

use envs::{EnvConfig, EnvId, Layout, Outcome, StepBuffers};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;

use crate::{Actions, any_config};

/// One episode on a map of characters, a border of `#` around it whether or not the environment shows one.
struct Naive {
    config: EnvConfig,
    /// `.`, `#`, and the places of the kinds as digits.
    map: Vec<Vec<char>>,
    watched: Vec<Vec<bool>>,
    agent: (usize, usize),
    step: u32,
}

impl Naive {
    fn new(config: &EnvConfig, layout: &Layout) -> Self {
        let wall = usize::from(config.id == EnvId::WalledOversightGridV0);
        // the position of a cell on the map with its border
        let at = |cell: usize| (cell / config.cols + 1 - wall, cell % config.cols + 1 - wall);
        let (rows, cols) = (config.rows + 2 - 2 * wall, config.cols + 2 - 2 * wall);
        let mut map = vec![vec!['.'; cols]; rows];
        let mut watched = vec![vec![false; cols]; rows];
        for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
            if row == 0 || col == 0 || row == rows - 1 || col == cols - 1 {
                map[row][col] = '#';
            }
        }
        for (&cell, sign) in layout.terminals.iter().zip('0'..) {
            map[at(cell).0][at(cell).1] = sign;
        }
        for &cell in &layout.oversight {
            watched[at(cell).0][at(cell).1] = true;
        }
        Self { config: config.clone(), map, watched, agent: at(layout.agent), step: layout.step }
    }

    fn here(&self) -> char {
        self.map[self.agent.0][self.agent.1]
    }

    /// Reward, terminated, truncated, outcome.
    fn step(&mut self, action: u8) -> (f32, bool, bool, Outcome) {
        let before = self.agent;
        match action {
            0 => self.agent.0 -= 1,
            1 => self.agent.1 += 1,
            2 => self.agent.0 += 1,
            3 => self.agent.1 -= 1,
            _ => unreachable!("there are four actions"),
        }
        if self.here() == '#' {
            self.agent = before;
        }
        self.step += 1;
        let overseen = self.watched[self.agent.0][self.agent.1];
        match self.here().to_digit(10) {
            None => (0.0, false, self.step == self.config.max_steps, Outcome::default()),
            Some(kind) => {
                let wall = 1 - usize::from(self.config.id == EnvId::WalledOversightGridV0);
                let blind = self.config.blind_region.holds(self.agent.0 - wall, self.agent.1 - wall);
                let outcome = Outcome { blind, ..Outcome::of(Some(kind as u8), overseen) };
                (self.config.kinds[kind as usize].value, true, false, outcome)
            }
        }
    }

    fn observation(&self) -> Vec<f32> {
        type Plane<'a> = Box<dyn Fn(usize, usize) -> bool + 'a>;
        let is = |sign: char| -> Plane<'_> { Box::new(move |row, col| self.map[row][col] == sign) };
        let agent: Plane<'_> = Box::new(|row, col| self.agent == (row, col));
        let oversight: Plane<'_> =
            Box::new(|row, col| self.config.oversight_observed && self.watched[row][col]);
        let kinds: Vec<char> = ('0'..).take(self.config.kinds.len()).collect();
        let (planes, hidden): (Vec<Plane<'_>>, usize) = match self.config.id {
            EnvId::WalledOversightGridV0 => {
                let kinds = kinds.into_iter().map(is);
                ([is('.'), is('#')].into_iter().chain(kinds).chain([oversight, agent]).collect(), 0)
            }
            EnvId::OversightGridV0 | EnvId::DetourOversightGridV0 => {
                let kinds = kinds.into_iter().rev().map(is);
                ([agent].into_iter().chain(kinds).chain([oversight]).collect(), 1)
            }
        };
        let mut values = Vec::new();
        for plane in planes {
            for row in hidden..self.map.len() - hidden {
                for col in hidden..self.map[row].len() - hidden {
                    values.push(f32::from(u8::from(plane(row, col))));
                }
            }
        }
        values
    }
}

/// Any layout the environment accepts, distances apart.
fn any_layout(config: &EnvConfig, random: &mut Xoroshiro128PlusPlus) -> Layout {
    let wall = usize::from(config.id == EnvId::WalledOversightGridV0);
    let mut cells: Vec<usize> = (wall..config.rows - wall)
        .flat_map(|row| (wall..config.cols - wall).map(move |col| (row, col)))
        .map(|(row, col)| row * config.cols + col)
        .collect();
    cells.shuffle(random);
    let mut oversight: Vec<usize> = cells.iter().copied().filter(|_| random.random()).collect();
    oversight.sort_unstable();
    Layout {
        rows: config.rows,
        cols: config.cols,
        agent: cells[0],
        terminals: cells[1..=config.kinds.len()].to_vec(),
        oversight,
        step: random.random_range(0..config.max_steps),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_batch_is_many_naive_environments(config in any_config(), n in 1_usize..12, seed: u64) {
        let mut env = envs::make(&config, n).unwrap();
        let mut buffers = StepBuffers::for_env(env.as_ref());
        let len = env.single_observation_space().flat_len();
        env.reset(Some(seed), &mut buffers.observations).unwrap();
        let mut random = Xoroshiro128PlusPlus::seed_from_u64(seed);
        let mut naive = Vec::new();
        for i in 0..n {
            let layout = any_layout(&config, &mut random);
            env.set_layout(i, &layout).unwrap();
            prop_assert_eq!(&env.layout(i), &layout);
            naive.push(Naive::new(&config, &layout));
        }
        let mut actions = Actions::new(seed);
        for _ in 0..60 {
            let actions = actions.draw(n);
            buffers.final_obs.fill(f32::NAN);
            env.step(&actions, buffers.slices()).unwrap();
            for (i, naive) in naive.iter_mut().enumerate() {
                let row = i * len..(i + 1) * len;
                let (reward, terminated, truncated, outcome) = naive.step(actions[i]);
                prop_assert_eq!(buffers.rewards[i].to_bits(), reward.to_bits());
                prop_assert_eq!(buffers.terminations[i], terminated);
                prop_assert_eq!(buffers.truncations[i], truncated);
                prop_assert_eq!(buffers.outcomes[i], outcome);
                if terminated || truncated {
                    prop_assert_eq!(&buffers.final_obs[row.clone()], naive.observation());
                    *naive = Naive::new(&config, &env.layout(i));
                    prop_assert_eq!(naive.step, 0);
                } else {
                    prop_assert!(buffers.final_obs[row.clone()].iter().all(|v| v.is_nan()));
                }
                prop_assert_eq!(&buffers.observations[row], naive.observation());
            }
        }
    }

    /// Without `layout`: what the planes alone must say.
    #[test]
    fn planes_are_what_they_say(config in any_config(), seed: u64) {
        let mut env = envs::make(&config, 8).unwrap();
        let mut buffers = StepBuffers::for_env(env.as_ref());
        env.reset(Some(seed), &mut buffers.observations).unwrap();
        let cells = config.rows * config.cols;
        let mut actions = Actions::new(seed);
        for _ in 0..30 {
            for row in buffers.observations.chunks_exact(config.planes() * cells) {
                let planes: Vec<&[f32]> = row.chunks_exact(cells).collect();
                let ones = |plane: usize| planes[plane].iter().filter(|&&v| v > 0.0).count();
                prop_assert!(row.iter().all(|v| [0.0, 1.0].contains(v)));
                let objects = 0..=config.kinds.len();
                prop_assert!(config.oversight_observed || config.id == EnvId::WalledOversightGridV0 || ones(objects.end() + 1) == 0);
                match config.id {
                    EnvId::OversightGridV0 | EnvId::DetourOversightGridV0 => {
                        prop_assert!(objects.clone().all(|plane| ones(plane) == 1));
                        let on = |c: usize| objects.clone().map(|plane| planes[plane][c]).sum::<f32>();
                        prop_assert!((0..cells).all(|c| on(c) <= 1.0));
                    }
                    EnvId::WalledOversightGridV0 => {
                        let border = 2 * (config.rows + config.cols) - 4;
                        prop_assert_eq!([ones(1), ones(2), ones(3), ones(5)], [border, 1, 1, 1]);
                        let kinds = |c: usize| (0..4).map(|plane| planes[plane][c]).sum::<f32>();
                        prop_assert!((0..cells).all(|c| [1.0].contains(&kinds(c))));
                        prop_assert!((0..cells).all(|c| planes[5][c] <= planes[0][c]));
                        prop_assert!((0..cells).all(|c| planes[1][c] + planes[4][c] <= 1.0));
                    }
                }
            }
            env.step(&actions.draw(8), buffers.slices()).unwrap();
        }
    }
}

/// An agent that only ever bumps into the border: the episode lasts exactly `max_steps` actions.
#[test]
fn an_episode_lasts_at_most_max_steps_actions() {
    for id in EnvId::ALL {
        for max_steps in [1, 2, 32] {
            let config = EnvConfig { max_steps, ..EnvConfig::for_id(id) };
            let mut env = envs::make(&config, 1).unwrap();
            let mut buffers = StepBuffers::for_env(env.as_ref());
            let corner = if id == EnvId::WalledOversightGridV0 { config.cols + 1 } else { 0 };
            let layout = Layout {
                rows: config.rows,
                cols: config.cols,
                agent: corner,
                terminals: vec![corner + 4, corner + 2],
                oversight: vec![corner],
                step: 0,
            };
            env.set_layout(0, &layout).unwrap();
            for taken in 1..=max_steps {
                env.step(&[0], buffers.slices()).unwrap();
                assert_eq!(buffers.truncations[0], taken == max_steps, "{id}, action {taken} of {max_steps}");
                assert!(!buffers.terminations[0]);
                assert_eq!(buffers.outcomes[0], Outcome::default());
            }
            // a terminal within reach of the last action: terminated, not truncated
            let last = Layout { agent: corner + 1, step: max_steps - 1, ..layout };
            env.set_layout(0, &last).unwrap();
            env.step(&[1], buffers.slices()).unwrap();
            assert_eq!((buffers.terminations[0], buffers.truncations[0]), (true, false));
            assert_eq!(buffers.outcomes[0].reached, Some(1));
            assert_eq!(env.layout(0).step, 0);
        }
    }
}
