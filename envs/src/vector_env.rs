//! The contract of a vector environment.

use crate::{AutoresetMode, EnvError, EnvState, Kind, Space};

/// What a step arrived at, and what the trainer may know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The kind of end reached in this step, by its place in [`VectorEnv::kinds`]; nothing where the episode goes on
    /// or was truncated.
    pub reached: Option<u8>,
    /// The kind that the trainer is told, where it was watching: that reached, or another where labels lie. Never
    /// without an end reached.
    pub told: Option<u8>,
    /// Whether the end lies where nobody ever watches. Never without an end reached.
    pub blind: bool,
}

impl Outcome {
    /// An outcome that the trainer is told as it is where it was overseen.
    pub const fn of(reached: Option<u8>, overseen: bool) -> Self {
        Self { reached, told: if overseen { reached } else { None }, blind: false }
    }

    /// Whether the trainer was watching.
    pub const fn overseen(self) -> bool {
        self.told.is_some()
    }
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
    /// `[n]`. The ground truth: the value of the kind that the step reaches, otherwise 0.
    pub rewards: &'a mut [f32],
    /// `[n]`. The episode ended because it reached one of the kinds.
    pub terminations: &'a mut [bool],
    /// `[n]`. The episode ended because as many actions were taken as are allowed. Never together with a
    /// termination: an end reached by the last action allowed is a termination.
    pub truncations: &'a mut [bool],
    /// `[n, d]`. For an environment whose episode ended in this step, the last observation of that episode. The
    /// other rows are left as they were.
    pub final_obs: &'a mut [f32],
    /// `[n]`. The kind reached in this step; the default (nothing, not overseen) for everyone else.
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

    /// Checks every length against a batch of `n` environments whose observations have `obs_len` scalars.
    ///
    /// # Errors
    /// [`EnvError::Length`] with the first slice of the wrong length.
    pub fn check(&self, n: usize, obs_len: usize) -> Result<(), EnvError> {
        check_len("observations", n * obs_len, self.observations.len())?;
        check_len("rewards", n, self.rewards.len())?;
        check_len("terminations", n, self.terminations.len())?;
        check_len("truncations", n, self.truncations.len())?;
        check_len("final_obs", n * obs_len, self.final_obs.len())?;
        check_len("outcomes", n, self.outcomes.len())
    }
}

/// Checks the length of one slice.
///
/// # Errors
/// [`EnvError::Length`] if it is wrong.
pub fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), EnvError> {
    if expected == got { Ok(()) } else { Err(EnvError::Length { what, expected, got }) }
}

/// Checks that there are `n` actions, all of them below `num_actions`.
///
/// # Errors
/// [`EnvError::Length`] or [`EnvError::Action`] if not.
pub fn check_actions(actions: &[u8], n: usize, num_actions: usize) -> Result<(), EnvError> {
    check_len("actions", n, actions.len())?;
    match actions.iter().position(|&action| usize::from(action) >= num_actions) {
        Some(index) => Err(EnvError::Action { index, got: actions[index], actions: num_actions }),
        None => Ok(()),
    }
}

/// A batch of environments of one sort that are stepped together: Gymnasium's vector contract.
///
/// Environment `i` of a batch draws from a random stream of its own, seeded by the seed and its number in the whole
/// batch alone, so that a batch made in slices behaves as the whole. [`check_env`](crate::check_env) holds an
/// implementation to everything that is said here.
pub trait VectorEnv: Send {
    /// Its name, in messages.
    fn name(&self) -> &str;

    /// How many environments are in the batch.
    fn num_envs(&self) -> usize;

    /// The space of one observation. The first axis of a shape with several counts planes.
    fn single_observation_space(&self) -> &Space;

    /// The space of one action: `Discrete`, of at most 256.
    fn single_action_space(&self) -> &Space;

    /// What happens at the end of an episode: [`AutoresetMode::SameStep`].
    fn autoreset_mode(&self) -> AutoresetMode {
        AutoresetMode::SameStep
    }

    /// The kinds of ends that an episode can come to, at least one and at most 254, by their index. An episode
    /// terminates by reaching one of them.
    fn kinds(&self) -> &[Kind];

    /// Begins a new episode everywhere and writes the first observations, `[num_envs, observation]`.
    ///
    /// With a seed, every random stream starts anew from it; with `None` the streams go on from where they
    /// are.
    ///
    /// # Errors
    /// [`EnvError::Length`] if `observations` has the wrong length; nothing is changed then.
    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError>;

    /// Takes one action everywhere. Allocates nothing.
    ///
    /// `actions` are one for each environment. What is written, and what is not, stands at [`StepSlices`]. Large
    /// batches may be spread over the current rayon pool, with the same result.
    ///
    /// # Errors
    /// [`EnvError::Length`] if a slice has the wrong length, [`EnvError::Action`] if an action does not exist;
    /// no environment is stepped and nothing is written then.
    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError>;

    /// Writes the observations to act on next, as the last reset or step did, `[num_envs, observation]`.
    ///
    /// # Errors
    /// [`EnvError::Length`] if `observations` has the wrong length.
    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError>;

    /// Everything that changes over time, random streams included.
    ///
    /// # Errors
    /// [`EnvError::State`] if it cannot be written as JSON.
    fn save_state(&self) -> Result<EnvState, EnvError>;

    /// Takes over a saved state; what follows is exactly what would have followed the saving.
    ///
    /// # Errors
    /// [`EnvError::State`] if the state comes from other settings or is damaged; nothing is changed then.
    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError>;

    /// Environment `index` as text, a line for each row.
    ///
    /// # Panics
    /// If there is no such environment.
    fn render_text(&self, index: usize) -> String;
}
