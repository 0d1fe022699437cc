//! Making environments.

use crate::batch::Batch;
use crate::detour::DetourOversightGrid;
use crate::oversight_grid::OversightGrid;
use crate::rules::Rules;
use crate::walled::WalledOversightGrid;
use crate::{EnvConfig, EnvError, EnvId, GridWorld, MAX_KINDS, VectorEnv};

/// A batch of `num_envs` environments, reset under seed 0.
///
/// # Errors
/// [`EnvError::Config`] with every fault of `config`; [`EnvError::NoEnvs`] if `num_envs` is 0.
pub fn make(config: &EnvConfig, num_envs: usize) -> Result<Box<dyn GridWorld>, EnvError> {
    make_slice(config, 0, num_envs)
}

/// The environments `first_env..first_env + num_envs` of a larger batch, reset under seed 0.
///
/// The random stream of an environment depends only on the seed and its number in the larger batch, so slices
/// stepped by themselves behave bit for bit as the whole.
///
/// # Errors
/// As [`make`].
pub fn make_slice(
    config: &EnvConfig,
    first_env: usize,
    num_envs: usize,
) -> Result<Box<dyn GridWorld>, EnvError> {
    let faults = config.faults();
    if !faults.is_empty() {
        return Err(EnvError::Config(faults));
    }
    if num_envs == 0 {
        return Err(EnvError::NoEnvs);
    }
    Ok(match config.id {
        EnvId::OversightGridV0 => batch::<OversightGrid>(config, first_env, num_envs),
        EnvId::WalledOversightGridV0 => {
            Box::new(Batch::<WalledOversightGrid, 2>::new(config, first_env, num_envs))
        }
        EnvId::DetourOversightGridV0 => batch::<DetourOversightGrid>(config, first_env, num_envs),
    })
}

/// A batch compiled for the number of kinds, which has no fault.
fn batch<R: Rules + 'static>(config: &EnvConfig, first: usize, n: usize) -> Box<dyn GridWorld> {
    match config.kinds.len() {
        2 => Box::new(Batch::<R, 2>::new(config, first, n)),
        3 => Box::new(Batch::<R, 3>::new(config, first, n)),
        4 => Box::new(Batch::<R, 4>::new(config, first, n)),
        5 => Box::new(Batch::<R, 5>::new(config, first, n)),
        6 => Box::new(Batch::<R, 6>::new(config, first, n)),
        7 => Box::new(Batch::<R, 7>::new(config, first, n)),
        _ => Box::new(Batch::<R, MAX_KINDS>::new(config, first, n)),
    }
}

/// [`make_slice`] for these settings, as whoever takes environments of any sort wants it: `(first_env, num_envs)` to
/// a batch.
pub fn maker(config: &EnvConfig) -> impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError> + use<> {
    let config = config.clone();
    move |first_env, num_envs| {
        let env: Box<dyn VectorEnv> = make_slice(&config, first_env, num_envs)?;
        Ok(env)
    }
}
