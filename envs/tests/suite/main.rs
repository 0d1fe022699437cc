//! The environments from outside.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

mod config;
mod contract;
mod golden;
mod reference;
mod render;
mod sampling;
mod splitting;
mod state;

use envs::{EnvConfig, EnvId};
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

/// Any small config without faults.
fn any_config() -> impl Strategy<Value = EnvConfig> {
    let id = prop::sample::select(EnvId::ALL.to_vec());
    let prob = || prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
    (id, 1_usize..10, 1_usize..10, 1_u32..20, prob(), prob())
        .prop_map(|(id, rows, cols, max_steps, oversight_prob, spurious_oversight_prob)| EnvConfig {
            id,
            rows,
            cols,
            max_steps,
            oversight_prob,
            spurious_oversight_prob,
        })
        .prop_filter("grids with room for a layout", |config| config.faults().is_empty())
}
