//! The random stream of one environment.

use rand::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoroshiro128PlusPlus};

/// The generator of one environment: sixteen bytes of state.
pub(crate) type Stream = Xoroshiro128PlusPlus;

/// The stream of environment `index` under `seed`.
///
/// `key = splitmix64(seed) + index`, and the two words of state are the first two outputs of a `SplitMix64` that
/// starts from `key`. `splitmix64` is a bijection of sixty-four bits, so the environments of a batch never
/// share a stream, and those of two seeds do only if the two keys happen to lie within a batch of each other
/// (a chance of `num_envs / 2^63`).
pub(crate) fn stream(seed: u64, index: usize) -> Stream {
    let key = SplitMix64::seed_from_u64(seed).next_u64().wrapping_add(index as u64);
    Stream::seed_from_u64(key)
}
