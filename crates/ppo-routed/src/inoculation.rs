//! A plane that tells the agent whether it is in training.

use envs::{EnvError, EnvState, Kind, Space, StepBuffers, StepSlices, VectorEnv, check_actions, check_len};

use crate::Method;
use crate::method::Extra;

/// The environments as a method sees them, in training or at evaluation.
pub(crate) fn seen_by(method: Method, env: Box<dyn VectorEnv>, training: bool) -> Box<dyn VectorEnv> {
    match method.extra {
        Extra::None | Extra::RewardModel => env,
        Extra::Inoculation => Box::new(Inoculated::new(env, if training { 1.0 } else { 0.0 })),
    }
}

/// Environments whose observations have a further plane at their end that is the same number everywhere.
struct Inoculated {
    inner: Box<dyn VectorEnv>,
    space: Space,
    number: f32,
    /// Entries of the inner observation, and of this one.
    widths: (usize, usize),
    buffers: StepBuffers,
}

impl Inoculated {
    fn new(inner: Box<dyn VectorEnv>, number: f32) -> Self {
        let space = with_plane(inner.single_observation_space());
        let widths = (inner.single_observation_space().flat_len(), space.flat_len());
        let buffers = StepBuffers::for_env(inner.as_ref());
        Self { inner, space, number, widths, buffers }
    }

    /// Writes the observation of an environment behind which the plane follows.
    fn write(&self, env: usize, from: &[f32], to: &mut [f32]) {
        let (inner, outer) = self.widths;
        let row = &mut to[env * outer..(env + 1) * outer];
        row[..inner].copy_from_slice(&from[env * inner..(env + 1) * inner]);
        row[inner..].fill(self.number);
    }

    fn write_all(&self, from: &[f32], to: &mut [f32]) {
        (0..self.num_envs()).for_each(|env| self.write(env, from, to));
    }

    fn check(&self, observations: &[f32]) -> Result<(), EnvError> {
        check_len("observations", self.num_envs() * self.widths.1, observations.len())
    }
}

/// A space with one plane more; with one entry more where there are no planes.
fn with_plane(space: &Space) -> Space {
    let mut shape = space.shape().to_vec();
    match shape.first_mut() {
        Some(planes) => *planes += 1,
        None => shape.push(2),
    }
    match *space {
        Space::MultiBinary { .. } => Space::MultiBinary { shape },
        Space::Box { low, high, .. } => Space::Box { low: low.min(0.0), high: high.max(1.0), shape },
        Space::Discrete { n } => Space::Box { low: 0.0, high: n.max(1) as f32, shape },
    }
}

impl VectorEnv for Inoculated {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn num_envs(&self) -> usize {
        self.inner.num_envs()
    }

    fn single_observation_space(&self) -> &Space {
        &self.space
    }

    fn single_action_space(&self) -> &Space {
        self.inner.single_action_space()
    }

    fn kinds(&self) -> &[Kind] {
        self.inner.kinds()
    }

    fn reset(&mut self, seed: Option<u64>, observations: &mut [f32]) -> Result<(), EnvError> {
        self.check(observations)?;
        self.inner.reset(seed, &mut self.buffers.observations)?;
        self.write_all(&self.buffers.observations, observations);
        Ok(())
    }

    fn step(&mut self, actions: &[u8], out: StepSlices<'_>) -> Result<(), EnvError> {
        let n = self.num_envs();
        out.check(n, self.widths.1)?;
        check_actions(actions, n, self.single_action_space().num_actions().unwrap_or(0))?;
        let StepSlices { observations, rewards, terminations, truncations, final_obs, outcomes } = out;
        let inner = StepSlices {
            observations: &mut self.buffers.observations,
            rewards: &mut *rewards,
            terminations: &mut *terminations,
            truncations: &mut *truncations,
            final_obs: &mut self.buffers.final_obs,
            outcomes: &mut *outcomes,
        };
        self.inner.step(actions, inner)?;
        self.write_all(&self.buffers.observations, observations);
        for env in (0..n).filter(|env| terminations[*env] || truncations[*env]) {
            self.write(env, &self.buffers.final_obs, final_obs);
        }
        Ok(())
    }

    fn observe(&self, observations: &mut [f32]) -> Result<(), EnvError> {
        self.check(observations)?;
        let mut inner = vec![0.0; self.num_envs() * self.widths.0];
        self.inner.observe(&mut inner)?;
        self.write_all(&inner, observations);
        Ok(())
    }

    fn save_state(&self) -> Result<EnvState, EnvError> {
        self.inner.save_state()
    }

    fn load_state(&mut self, state: &EnvState) -> Result<(), EnvError> {
        self.inner.load_state(state)
    }

    fn render_text(&self, index: usize) -> String {
        self.inner.render_text(index)
    }
}

#[cfg(test)]
mod tests {
    use envs::{EnvConfig, EnvId, check_env, maker};

    use super::*;

    #[test]
    fn it_keeps_the_contract_and_says_whether_it_is_training() {
        for id in EnvId::ALL {
            for (training, number) in [(true, 1.0), (false, 0.0)] {
                let inner = maker(&EnvConfig { max_steps: 9, ..EnvConfig::for_id(id) });
                let make = |first, n| Ok(seen_by(Method::INOCULATION, inner(first, n)?, training));
                check_env(make).unwrap();
                let (plain, dressed) = (inner(0, 3).unwrap(), make(0, 3).unwrap());
                let observed = |env: &dyn VectorEnv| {
                    let mut observations = vec![9.0; 3 * env.single_observation_space().flat_len()];
                    env.observe(&mut observations).unwrap();
                    observations
                };
                let (plain, dressed) = (observed(plain.as_ref()), observed(dressed.as_ref()));
                for (plain, dressed) in plain.chunks(plain.len() / 3).zip(dressed.chunks(dressed.len() / 3)) {
                    let (own, plane) = dressed.split_at(plain.len());
                    assert!(own == plain && plane.iter().all(|x| x.total_cmp(&number).is_eq()), "{id}");
                    let cells = if id == EnvId::WalledOversightGridV0 { 49 } else { 25 };
                    assert_eq!(plane.len(), cells);
                }
            }
        }
    }

    #[test]
    fn other_methods_see_the_environment_as_it_is() {
        let inner = maker(&EnvConfig::for_id(EnvId::OversightGridV0));
        for method in Method::ALL.into_iter().filter(|method| *method != Method::INOCULATION) {
            let env = seen_by(method, inner(0, 1).unwrap(), true);
            assert_eq!(env.single_observation_space().shape(), [4, 5, 5], "{method:?}");
        }
    }
}
