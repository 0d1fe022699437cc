//! The contract of a vector environment.

use crate::{AutoresetMode, EnvConfig, EnvError, EnvId, EnvState, Layout, Space};

/// The number of actions: north, east, south, west.
pub const NUM_ACTIONS: usize = 4;

/// Which terminal an agent arrived at.
///
/// In `WalledOversightGrid-v0` kind 0 is the Diamond and kind 1 the Ghost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Reached {
    /// None: the episode goes on, or was truncated.
    #[default]
    Nothing = 0,
    /// The terminal worth +1.
    Diamond = 1,
    /// The terminal worth −1.
    Ghost = 2,
}

impl Reached {
    /// The ground-truth reward of arriving: +1, −1, or 0 for nothing.
    pub const fn reward(self) -> f32 {
        match self {
            Self::Nothing => 0.0,
            Self::Diamond => 1.0,
            Self::Ghost => -1.0,
        }
    }
}

/// What a step arrived at, and whether the trainer may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// The terminal reached in this step.
    pub reached: Reached,
    /// Whether the bit of the terminal's cell is set. Never without a terminal.
    pub overseen: bool,
}

/// Where [`VectorEnv::step`] writes. The caller owns the memory.
///
/// # Shapes
/// With `n` environments and `d` scalars in an observation ([`Space::flat_len`]), row-major.
#[derive(Debug)]
pub struct StepSlices<'a> {
    /// `[n, d]`. The observation to act on next: for an environment whose episode ended in this step, the first
    /// one of the new episode.
    pub observations: &'a mut [f32],
    /// `[n]`. The ground truth: +1 on the step that arrives at the Diamond, −1 at the Ghost, otherwise 0.
    pub rewards: &'a mut [f32],
    /// `[n]`. The episode ended because a terminal was reached.
    pub terminations: &'a mut [bool],
    /// `[n]`. The episode ended because `max_steps` actions were taken. Never together with a termination: a
    /// terminal reached by the last action allowed is a termination.
    pub truncations: &'a mut [bool],
    /// `[n, d]`. For an environment whose episode ended in this step, the last observation of that episode. The
    /// other rows are left as they were.
    pub final_obs: &'a mut [f32],
    /// `[n]`. The terminal reached in this step; the default (nothing, not overseen) for everyone else.
    pub outcomes: &'a mut [Outcome],
}

/// Memory for what [`VectorEnv::step`] writes, for callers who have no better place.
#[derive(Clone, Debug, PartialEq)]
pub struct StepBuffers {
    /// See [`StepSlices::observations`].
    pub observations: Vec<f32>,
    /// See [`StepSlices::rewards`].
    pub rewards: Vec<f32>,
    /// See [`StepSlices::terminations`].
    pub terminations: Vec<bool>,
    /// See [`StepSlices::truncations`].
    pub truncations: Vec<bool>,
    /// See [`StepSlices::final_obs`].
    pub final_obs: Vec<f32>,
    /// See [`StepSlices::outcomes`].
    pub outcomes: Vec<Outcome>,
}

impl StepBuffers {
    /// Zeroed memory of the right lengths for `env`.
    pub fn for_env(env: &dyn VectorEnv) -> Self {
        let n = env.num_envs();
        let floats = n * env.single_observation_space().flat_len();
        Self {
            observations: vec![0.0; floats],
            rewards: vec![0.0; n],
            terminations: vec![false; n],
            truncations: vec![false; n],
            final_obs: vec![0.0; floats],
            outcomes: vec![Outcome::default(); n],
        }
    }

    /// The whole of it, to be written.
    pub fn slices(&mut self) -> StepSlices<'_> {
        StepSlices {
            observations: &mut self.observations,
            rewards: &mut self.rewards,
            terminations: &mut self.terminations,
            truncations: &mut self.truncations,
            final_obs: &mut self.final_obs,
            outcomes: &mut self.outcomes,
        }
    }
}

impl<'a> StepSlices<'a> {
    /// The first `mid` environments and the rest, when an observation has `obs_len` scalars.
    ///
    /// # Panics
    /// If a slice holds fewer than `mid` environments.
    pub fn split_at(self, mid: usize, obs_len: usize) -> (StepSlices<'a>, StepSlices<'a>) {
        let observations = self.observations.split_at_mut(mid * obs_len);
        let rewards = self.rewards.split_at_mut(mid);
        let terminations = self.terminations.split_at_mut(mid);
        let truncations = self.truncations.split_at_mut(mid);
        let final_obs = self.final_obs.split_at_mut(mid * obs_len);
        let outcomes = self.outcomes.split_at_mut(mid);
        (
            StepSlices {
                observations: observations.0,
                rewards: rewards.0,
                terminations: terminations.0,
                truncations: truncations.0,
                final_obs: final_obs.0,
                outcomes: outcomes.0,
            },
            StepSlices {
                observations: observations.1,
                rewards: rewards.1,
                terminations: terminations.1,
                truncations: truncations.1,
                final_obs: final_obs.1,
                outcomes: outcomes.1,
            },
        )
    }

    /// Checks every length against a batch of `n` environments.
    pub(crate) fn check(&self, n: usize, obs_len: usize) -> Result<(), EnvError> {
        check_len("observations", n * obs_len, self.observations.len())?;
        check_len("rewards", n, self.rewards.len())?;
        check_len("terminations", n, self.terminations.len())?;
        check_len("truncations", n, self.truncations.len())?;
        check_len("final_obs", n * obs_len, self.final_obs.len())?;
        check_len("outcomes", n, self.outcomes.len())
    }
}

/// Checks the length of one slice.
pub(crate) fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), EnvError> {
    if expected == got { Ok(()) } else { Err(EnvError::Length { what, expected, got }) }
}

/// A batch of environments of one kind that are stepped together: Gymnasium's vector contract.
///
/// A batch fresh from [`make`](crate::make) has been reset under seed 0.
pub trait VectorEnv: Send {
    /// Which environment this is.
    fn id(&self) -> EnvId;

    /// The settings it was made with.
    fn config(&self) -> &EnvConfig;

    /// How many environments are in the batch.
    fn num_envs(&self) -> usize;

    /// The space of one observation: `MultiBinary`, of shape `[planes, rows, cols]`.
    fn single_observation_space(&self) -> &Space;

    /// The space of one action: `Discrete`, `n` = 4.
    fn single_action_space(&self) -> &Space;

    /// What happens at the end of an episode: [`AutoresetMode::SameStep`].
    fn autoreset_mode(&self) -> AutoresetMode;

    /// Begins a new episode everywhere and writes the first observations, `[num_envs, planes, rows, cols]`.
    ///
    /// With a seed, every random stream starts anew from it; with `None` the streams go on from where they
    /// are.
    ///
    /// # Errors
    /// [`EnvError::Length`] if `observations` has the wrong length; nothing is changed then.
    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError>;

    /// Takes one action everywhere. Allocates nothing.
    ///
    /// `actions` are `0` north, `1` east, `2` south, `3` west, one for each environment. What is written, and
    /// what is not, stands at [`StepSlices`]. Large batches are spread over the current rayon pool, with the
    /// same result.
    ///
    /// # Errors
    /// [`EnvError::Length`] if a slice has the wrong length, [`EnvError::Action`] if an action does not exist;
    /// no environment is stepped and nothing is written then.
    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError>;

    /// Where everything is in environment `index`.
    ///
    /// # Panics
    /// If there is no such environment.
    fn layout(&self, index: usize) -> Layout;

    /// Puts everything in environment `index` where `layout` says. Its random stream stays as it is.
    ///
    /// The distances that `WalledOversightGrid-v0` keeps when it draws a layout need not be kept here.
    ///
    /// # Errors
    /// [`EnvError::Index`] if there is no such environment, [`EnvError::Layout`] if it cannot be in that layout;
    /// nothing is changed then.
    fn set_layout(&mut self, index: usize, layout: &Layout) -> Result<(), EnvError>;

    /// Everything that changes over time, random streams included.
    fn save_state(&self) -> EnvState;

    /// Takes over a saved state; what follows is exactly what would have followed the saving.
    ///
    /// # Errors
    /// [`EnvError::State`] if the state comes from other settings or is damaged; nothing is changed then.
    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError>;

    /// Environment `index` as text, a line for each row; the legend stands at [`Layout::render_text`].
    ///
    /// # Panics
    /// If there is no such environment.
    fn render_text(&self, index: usize) -> String;

    /// Environment `index` as a picture, `[rows * CELL_PIXELS, cols * CELL_PIXELS, 3]`; the legend stands at
    /// [`Layout::render_rgb`].
    ///
    /// # Panics
    /// If there is no such environment.
    fn render_rgb(&self, index: usize) -> ndarray::Array3<u8>;
}
