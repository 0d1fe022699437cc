//! A batch, its slices, and its halves on a pool are the same environments.

use envs::{EnvConfig, EnvId, StepBuffers, make, make_slice};
use proptest::prelude::*;

use crate::{Actions, any_config};

/// Everything that every step of a run wrote.
fn run(config: &EnvConfig, n: usize, steps: usize) -> Vec<StepBuffers> {
    let mut env = make(config, n).unwrap();
    let mut buffers = StepBuffers::for_env(env.as_ref());
    env.reset(Some(5), &mut buffers.observations).unwrap();
    let mut actions = Actions::new(5);
    let mut all = vec![buffers.clone()];
    for _ in 0..steps {
        env.step(&actions.draw(n), buffers.slices()).unwrap();
        all.push(buffers.clone());
    }
    all
}

#[test]
fn a_pool_of_threads_changes_nothing() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    // nine by nine cells need two words of bits
    for (id, side) in [7, 9].into_iter().flat_map(|side| EnvId::ALL.map(|id| (id, side))) {
        let config =
            EnvConfig { rows: side, cols: side, spurious_oversight_prob: 0.2, ..EnvConfig::for_id(id) };
        // odd, so that the halves are unequal; large enough to be spread
        let n = 1501;
        let alone = pool(1).install(|| run(&config, n, 25));
        for threads in [2, 3, 7] {
            assert!(pool(threads).install(|| run(&config, n, 25)) == alone, "{id} on {threads} threads");
        }
        // a batch of that size is spread; its slices are too small to be
        let mut actions = Actions::new(5);
        let len = config.planes() * config.rows * config.cols;
        let mut slices: Vec<_> = (0..n)
            .step_by(100)
            .map(|first| (first, make_slice(&config, first, 100.min(n - first)).unwrap()))
            .collect();
        for (_, env) in &mut slices {
            let mut observations = vec![0.0; env.num_envs() * len];
            env.reset(Some(5), &mut observations).unwrap();
        }
        for whole in &alone[1..] {
            let actions = actions.draw(n);
            for (first, env) in &mut slices {
                let range = *first..*first + env.num_envs();
                let mut buffers = StepBuffers::for_env(env.as_ref());
                env.step(&actions[range.clone()], buffers.slices()).unwrap();
                assert!(buffers.observations == whole.observations[range.start * len..range.end * len]);
                assert!(buffers.outcomes == whole.outcomes[range]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn slices_behave_as_the_whole(config in any_config(), cuts in prop::collection::vec(1_usize..9, 1..6), seed: u64) {
        let n = cuts.iter().sum();
        let mut whole = make(&config, n).unwrap();
        let len = whole.single_observation_space().flat_len();
        let mut expected = StepBuffers::for_env(whole.as_ref());
        let mut buffers = expected.clone();
        whole.reset(Some(seed), &mut expected.observations).unwrap();
        let mut slices = Vec::new();
        let (mut first, mut rest) = (0, &mut buffers.observations[..]);
        for &cut in &cuts {
            let mut slice = make_slice(&config, first, cut).unwrap();
            let (head, tail) = rest.split_at_mut(cut * len);
            slice.reset(Some(seed), head).unwrap();
            slices.push(slice);
            (first, rest) = (first + cut, tail);
        }
        let mut actions = Actions::new(seed);
        for _ in 0..40 {
            prop_assert_eq!(&buffers, &expected);
            let actions = actions.draw(n);
            whole.step(&actions, expected.slices()).unwrap();
            let (mut first, mut rest) = (0, buffers.slices());
            for slice in &mut slices {
                let cut = slice.num_envs();
                let (head, tail) = rest.split_at(cut, len);
                slice.step(&actions[first..first + cut], head).unwrap();
                (first, rest) = (first + cut, tail);
            }
        }
    }
}
