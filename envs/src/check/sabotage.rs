//! Environments that break one promise each, and that the checker must catch.

use super::{Checker, grid};
use crate::{
    AutoresetMode, EnvConfig, EnvError, EnvId, EnvState, GridWorld, Kind, Layout, Space, StepBuffers,
    StepSlices, VectorEnv, make_slice,
};

/// The promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    None,
    WrongId,
    SeedIgnored,
    StreamsRestart,
    ActionsMasked,
    LengthsUnchecked,
    SteppedBeforeRefusal,
    RewardOfGhost,
    OverseenWithoutTerminal,
    OversightForgotten,
    BlindnessForgotten,
    TruncatedAndTerminated,
    TruncationForgotten,
    StaleObservation,
    FinalObsOfNewEpisode,
    FinalObsEverywhere,
    UnknownKind,
    ObservesAnother,
    StateWithoutStreams,
    SliceFromZero,
}

/// An environment that keeps every promise but one.
struct Saboteur {
    inner: Box<dyn GridWorld>,
    /// Another one with other streams.
    decoy: Box<dyn GridWorld>,
    sabotage: Sabotage,
}

impl VectorEnv for Saboteur {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn num_envs(&self) -> usize {
        self.inner.num_envs()
    }

    fn single_observation_space(&self) -> &Space {
        self.inner.single_observation_space()
    }

    fn single_action_space(&self) -> &Space {
        self.inner.single_action_space()
    }

    fn autoreset_mode(&self) -> AutoresetMode {
        self.inner.autoreset_mode()
    }

    fn kinds(&self) -> &[Kind] {
        self.inner.kinds()
    }

    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError> {
        let observed = if self.sabotage == Sabotage::ObservesAnother { &self.decoy } else { &self.inner };
        observed.observe(observations)
    }

    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError> {
        let seed = match self.sabotage {
            Sabotage::SeedIgnored => seed.map(|_| 0),
            Sabotage::StreamsRestart => seed.or(Some(super::SEED)),
            _ => seed,
        };
        self.inner.reset(seed, observations)
    }

    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError> {
        let mut honest = StepBuffers::for_env(self.inner.as_ref());
        match self.sabotage {
            Sabotage::ActionsMasked => {
                let masked: Vec<u8> = actions.iter().map(|action| action & 3).collect();
                return self.inner.step(&masked, out);
            }
            Sabotage::LengthsUnchecked if out.outcomes.len() != self.num_envs() => return Ok(()),
            Sabotage::SteppedBeforeRefusal if actions.iter().any(|&action| action > 3) => {
                self.inner.step(&vec![0; self.num_envs()], honest.slices())?;
            }
            Sabotage::None
            | Sabotage::WrongId
            | Sabotage::SeedIgnored
            | Sabotage::StreamsRestart
            | Sabotage::StateWithoutStreams
            | Sabotage::ObservesAnother
            | Sabotage::SliceFromZero => return self.inner.step(actions, out),
            _ => {}
        }
        let StepSlices { observations, rewards, terminations, truncations, final_obs, outcomes } = out;
        let len = self.inner.single_observation_space().flat_len();
        let max_steps = self.config().max_steps;
        let last: Vec<bool> = (0..self.num_envs()).map(|i| self.layout(i).step + 1 == max_steps).collect();
        self.inner.step(
            actions,
            StepSlices {
                observations: &mut *observations,
                rewards: &mut *rewards,
                terminations: &mut *terminations,
                truncations: &mut *truncations,
                final_obs: &mut *final_obs,
                outcomes: &mut *outcomes,
            },
        )?;
        for i in 0..self.inner.num_envs() {
            let row = i * len..(i + 1) * len;
            let ended = terminations[i] || truncations[i];
            match self.sabotage {
                Sabotage::RewardOfGhost => rewards[i] = rewards[i].abs(),
                Sabotage::OverseenWithoutTerminal if truncations[i] => outcomes[i].told = Some(0),
                Sabotage::OversightForgotten => outcomes[i].told = None,
                Sabotage::BlindnessForgotten => outcomes[i].blind = !outcomes[i].blind && terminations[i],
                Sabotage::TruncatedAndTerminated => truncations[i] |= last[i],
                Sabotage::UnknownKind => {
                    outcomes[i].reached = outcomes[i].reached.map(|_| 2);
                }
                Sabotage::TruncationForgotten => truncations[i] = false,
                Sabotage::StaleObservation if ended => {
                    observations[row.clone()].copy_from_slice(&final_obs[row]);
                }
                Sabotage::FinalObsOfNewEpisode if ended => {
                    final_obs[row.clone()].copy_from_slice(&observations[row]);
                }
                Sabotage::FinalObsEverywhere if !ended => {
                    final_obs[row.clone()].copy_from_slice(&observations[row]);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn save_state(&self) -> Result<EnvState, EnvError> {
        self.inner.save_state()
    }

    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError> {
        if self.sabotage != Sabotage::StateWithoutStreams {
            return self.inner.load_state(state);
        }
        self.decoy.load_state(state)?;
        (0..self.num_envs()).try_for_each(|i| self.inner.set_layout(i, &self.decoy.layout(i)))
    }

    fn render_text(&self, index: usize) -> String {
        self.inner.render_text(index)
    }
}

impl GridWorld for Saboteur {
    fn id(&self) -> EnvId {
        match (self.sabotage, self.inner.id()) {
            (Sabotage::WrongId, EnvId::OversightGridV0) => EnvId::WalledOversightGridV0,
            (Sabotage::WrongId, _) => EnvId::OversightGridV0,
            (_, id) => id,
        }
    }

    fn config(&self) -> &EnvConfig {
        self.inner.config()
    }

    fn layout(&self, index: usize) -> Layout {
        self.inner.layout(index)
    }

    fn set_layout(&mut self, index: usize, layout: &Layout) -> Result<(), EnvError> {
        self.inner.set_layout(index, layout)
    }

    fn render_rgb(&self, index: usize) -> ndarray::Array3<u8> {
        self.inner.render_rgb(index)
    }
}

/// The verdict on an environment with one promise broken.
fn verdict(id: EnvId, sabotage: Sabotage) -> Result<(), String> {
    // a short episode and likely bits, so that everything happens within a rollout
    let config = EnvConfig { max_steps: 12, oversight_prob: 0.5, ..EnvConfig::for_id(id) };
    let make = |first: usize, n: usize| -> Result<Box<dyn GridWorld>, EnvError> {
        let first = if sabotage == Sabotage::SliceFromZero { 0 } else { first };
        let (inner, decoy) = (make_slice(&config, first, n)?, make_slice(&config, 1000, n)?);
        Ok(Box::new(Saboteur { inner, decoy, sabotage }))
    };
    let obs_len = config.planes() * config.rows * config.cols;
    Checker { make_env: &|first, n| Ok(make(first, n)?), obs_len, num_actions: 4 }.check()?;
    grid::Checker { config: &config, make_grid: &make }.check()
}

#[test]
fn the_checker_catches_every_broken_promise() {
    use Sabotage::*;
    let cases = [
        (WrongId, "it calls itself"),
        (SeedIgnored, "another seed begins the same episodes"),
        (StreamsRestart, "a reset without a seed begins the same episodes again"),
        (ActionsMasked, "action 4 gives None"),
        (LengthsUnchecked, "`outcomes` too short gives None"),
        (SteppedBeforeRefusal, "refused input changes the state"),
        (RewardOfGhost, "the reward is 1, not -1"),
        (OverseenWithoutTerminal, "a step is overseen that reached nothing"),
        (OversightForgotten, "the outcome is"),
        (BlindnessForgotten, "the outcome is"),
        (TruncatedAndTerminated, "terminated and truncated at once"),
        (TruncationForgotten, "final_obs is written though the episode goes on"),
        (StaleObservation, "`observe` writes other observations than the last step"),
        (FinalObsOfNewEpisode, "final_obs is not the last observation"),
        (FinalObsEverywhere, "final_obs is written though the episode goes on"),
        (UnknownKind, "it reached Some(2) of 2 kinds"),
        (ObservesAnother, "`observe` writes other observations than the last step"),
        (StateWithoutStreams, "a state changes by being loaded"),
        (SliceFromZero, "slices behave differently"),
    ];
    for id in EnvId::ALL {
        assert_eq!(verdict(id, None), Ok(()), "{id}: an honest environment is accused");
        for (sabotage, reason) in cases {
            let verdict = verdict(id, sabotage).expect_err(&format!("{id}: {sabotage:?} goes unnoticed"));
            assert!(verdict.contains(reason), "{id}: {sabotage:?} is reported as `{verdict}`");
        }
    }
}
