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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn hash_and_mix_are_the_published_ones() {
        // the test vectors of FNV (Noll) and the first outputs of SplitMix64 from the state 0 and 1234567
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567_u64.wrapping_add(0x9e37_79b9_7f4a_7c15)), 6_457_827_717_110_365_317);
    }

    /// Name, seed and first output, as `tests/golden/seeds.py` prints them.
    const GOLDEN: [(&str, u64, u64); 5] = [
        ("init", 0x571f_ed4d_4de5_e1d2, 0xdfbd_0a08_46e1_8a6f),
        ("env", 0xbadb_43ce_eeac_c936, 0x77d7_db49_02e4_b08f),
        ("action", 0xcdb2_7c31_e095_4255, 0xe4ab_a258_bcaa_a3aa),
        ("shuffle", 0x8dbe_18a7_00e3_4641, 0x816e_01e7_de78_9546),
        ("data", 0x6cbb_3d9a_5211_74d5, 0xa148_cedd_b48c_8964),
    ];

    #[test]
    fn golden() {
        let streams = SeedStreams::new(1);
        for (name, seed, first) in GOLDEN {
            assert_eq!(streams.seed_of(name), seed, "{name}");
            assert_eq!(streams.stream(name).next_u64(), first, "{name}");
        }
    }

    #[test]
    fn a_saved_stream_goes_on_where_it_was() {
        let mut stream = SeedStreams::new(3).stream("action");
        stream.next_u64();
        let saved = serde_json::to_string(&stream).unwrap();
        let mut restored: Xoshiro256PlusPlus = serde_json::from_str(&saved).unwrap();
        for _ in 0..10 {
            assert_eq!(restored.next_u64(), stream.next_u64());
        }
    }

    #[test]
    fn no_two_of_many_streams_share_a_seed() {
        let names = ["init", "env", "action", "shuffle", "data", "eval", ""];
        let seeds: std::collections::HashSet<u64> =
            (0..1000).flat_map(|seed| names.map(|name| SeedStreams::new(seed).seed_of(name))).collect();
        assert_eq!(seeds.len(), 7000);
    }
}
