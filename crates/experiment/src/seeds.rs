//! One seed, one generator for each named purpose.
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The random streams of a run, all derived from one seed.
///
/// Each purpose draws from a stream of its own (`init`, `env`, `action`, `shuffle`, `data`), so that drawing
/// more for one leaves the others as they were. A stream is a plain generator; its state is saved and restored
/// with serde.
///
/// # Formula
/// The seed of a stream is `mix(mix(seed + γ) ⊕ fnv1a(name))`, where `γ = 0x9e3779b97f4a7c15`, `fnv1a` is the
/// 64-bit FNV-1a hash of the name's UTF-8 bytes, and `mix` is the finaliser of `SplitMix64`; sums wrap. The
/// stream is xoshiro256++ with its state filled from that seed by `SplitMix64`. All of it is fixed: the same
/// seed and name give the same numbers in every version and on every machine.
///
/// ```
/// use experiment::SeedStreams;
/// use rand::RngExt;
///
/// let streams = SeedStreams::new(1);
/// let (mut env, mut again) = (streams.stream("env"), streams.stream("env"));
/// assert_eq!(env.random::<u64>(), again.random::<u64>());
/// assert_ne!(streams.seed_of("env"), streams.seed_of("action"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedStreams {
    seed: u64,
}

impl SeedStreams {
    /// The streams of a run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The generator for one purpose, at its beginning.
    pub fn stream(&self, name: &str) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.seed_of(name))
    }

    /// The seed of that generator, for whatever has to be seeded by a number.
    pub fn seed_of(&self, name: &str) -> u64 {
        mix(mix(self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ fnv1a(name.as_bytes()))
    }
}

/// The finaliser of `SplitMix64`: a bijection in which each bit of the input moves about half of the output's.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
