//! The environments from outside.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

mod config;
mod contract;
mod golden;
mod oversight;
mod reference;
mod render;
mod sampling;
mod splitting;
mod state;

use envs::{BlindRegion, EnvConfig, EnvId, Kind};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;

/// Random actions, the same for the same seed.
struct Actions(Xoroshiro128PlusPlus);

impl Actions {
    fn new(seed: u64) -> Self {
        Self(Xoroshiro128PlusPlus::seed_from_u64(seed))
    }

    fn draw(&mut self, n: usize) -> Vec<u8> {
        let mut actions = vec![0; n];
        self.0.fill_bytes(&mut actions);
        actions.iter().map(|action| action & 3).collect()
    }
}

/// Kinds of terminals, the paper's first.
static KINDS: [Kind; 4] =
    [Kind::new("diamond", 1.0), Kind::new("ghost", -1.0), Kind::new("pearl", 0.5), Kind::new("mire", -0.25)];

/// Any small config without faults, whose trainer is told the truth of every arrival on a watched cell.
fn any_config() -> impl Strategy<Value = EnvConfig> {
    let id = prop::sample::select(EnvId::ALL.to_vec());
    let prob = || prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
    let region = prop_oneof![
        3 => Just(BlindRegion::None),
        1 => (0_usize..9, 0_usize..9).prop_map(|(a, b)| BlindRegion::Rows(a.min(b), a.max(b))),
        1 => (0_usize..9, 0_usize..9).prop_map(|(a, b)| BlindRegion::Cols(a.min(b), a.max(b))),
    ];
    let oversight = (prob(), prob(), region, any::<bool>());
    (id, 1_usize..10, 1_usize..10, 1_u32..20, oversight, 2_usize..=4)
        .prop_map(|(id, rows, cols, max_steps, oversight, kinds)| {
            let (oversight_prob, spurious_oversight_prob, region, oversight_observed) = oversight;
            let inside = match region {
                BlindRegion::None => true,
                BlindRegion::Rows(_, last) => last < rows,
                BlindRegion::Cols(_, last) => last < cols,
            };
            let kinds = if id == EnvId::WalledOversightGridV0 { 2 } else { kinds };
            EnvConfig {
                rows,
                cols,
                max_steps,
                oversight_prob,
                spurious_oversight_prob,
                oversight_observed,
                blind_region: if inside { region } else { BlindRegion::None },
                kinds: KINDS[..kinds].to_vec(),
                ..EnvConfig::for_id(id)
            }
        })
        .prop_filter("grids with room for a layout", |config| config.faults().is_empty())
}
