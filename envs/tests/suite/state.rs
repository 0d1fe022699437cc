//! Saved states and layouts: exact continuation, and refusal of what does not fit.

use envs::{EnvConfig, EnvError, EnvId, EnvState, StepBuffers, make};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Actions, any_config};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_state_that_was_written_and_read_goes_on_exactly(config in any_config(), n in 1_usize..10, seed: u64) {
        let mut env = make(&config, n).unwrap();
        let mut buffers = StepBuffers::for_env(env.as_ref());
        env.reset(Some(seed), &mut buffers.observations).unwrap();
        let mut actions = Actions::new(seed);
        for _ in 0..25 {
            env.step(&actions.draw(n), buffers.slices()).unwrap();
        }
        let written = env.save_state().unwrap().as_json().to_owned();
        let read = EnvState::from_json(written);
        let mut other = make(&config, n).unwrap();
        other.load_state(&read).unwrap();
        let mut others = buffers.clone();
        for _ in 0..40 {
            let actions = actions.draw(n);
            env.step(&actions, buffers.slices()).unwrap();
            other.step(&actions, others.slices()).unwrap();
            prop_assert_eq!(&buffers, &others);
        }
        env.reset(None, &mut buffers.observations).unwrap();
        other.reset(None, &mut others.observations).unwrap();
        prop_assert_eq!(&buffers, &others);
    }
}

#[test]
fn a_state_of_another_batch_is_refused() {
    let config = EnvConfig::for_id(EnvId::WalledOversightGridV0);
    let mut env = make(&config, 3).unwrap();
    let before = env.save_state().unwrap();
    for (other, n, reason) in [
        (config.clone(), 4, "environments, the batch 3"),
        (
            EnvConfig { rows: 8, ..config.clone() },
            3,
            "with 8 × 7 cells, the batch of WalledOversightGrid-v0 with 7 × 7",
        ),
        (
            EnvConfig { rows: 7, cols: 7, ..EnvConfig::for_id(EnvId::OversightGridV0) },
            3,
            "it is of OversightGrid-v0",
        ),
        (
            EnvConfig { kinds: crate::KINDS[..3].to_vec(), ..EnvConfig::for_id(EnvId::OversightGridV0) },
            3,
            "it has 3 kinds of terminals, the batch 2",
        ),
    ] {
        let error = env.load_state(&make(&other, n).unwrap().save_state().unwrap()).unwrap_err();
        assert!(matches!(error, EnvError::State { .. }) && error.to_string().contains(reason), "{error}");
        assert_eq!(env.save_state().unwrap(), before);
    }
}

#[test]
fn a_damaged_state_is_refused() {
    let config = EnvConfig::for_id(EnvId::WalledOversightGridV0);
    let mut env = make(&config, 2).unwrap();
    let before = env.save_state().unwrap();
    let written: Value = before.read().unwrap();
    let mut damage = |pointer: &str, value: Value| {
        let mut damaged = written.clone();
        *damaged.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is in {written}")) = value;
        let read = EnvState::from_json(damaged.to_string());
        let error = env.load_state(&read).unwrap_err().to_string();
        assert_eq!(env.save_state().unwrap(), before);
        error
    };
    let diamond = written.pointer("/diamond/data/1").unwrap().clone();
    assert!(damage("/agent/data/1", json!(0)).contains("environment 1: the layout does not fit"));
    assert!(damage("/ghost/data/1", json!(65_535)).contains("ghost is on cell 65535"));
    assert!(damage("/ghost/data/1", diamond).contains("need cells of their own"));
    assert!(damage("/step/data/0", json!(256)).contains("step 256 is no step of an episode of 256"));
    assert!(damage("/bits/data/0", json!(u64::MAX)).contains("an oversight bit is on cell 0"));
    assert!(damage("/agent", json!({"v": 1, "dim": [1], "data": [8]})).contains("the batch 2"));
    assert!(damage("/agent", json!(8)).contains("it cannot be read: invalid type"));
}

#[test]
fn a_layout_that_cannot_be_is_refused() {
    for id in EnvId::ALL {
        let config = EnvConfig { rows: 6, cols: 6, ..EnvConfig::for_id(id) };
        let mut env = make(&config, 2).unwrap();
        let (good, before) = (env.layout(1), env.save_state().unwrap());
        let corner = if id == EnvId::WalledOversightGridV0 { 0 } else { 36 };
        let mut cases = vec![good.clone(); 8];
        cases[0].rows = 5;
        cases[1].agent = corner;
        cases[2].terminals[1] = 36;
        cases[3].terminals[0] = usize::MAX;
        cases[4].oversight = vec![good.agent, corner];
        cases[5].agent = good.terminals[1];
        cases[6].step = config.max_steps;
        cases[7].terminals.pop();
        for layout in cases {
            assert!(matches!(env.set_layout(1, &layout), Err(EnvError::Layout { .. })), "{layout:?}");
            assert_eq!(env.save_state().unwrap(), before);
        }
        assert_eq!(env.set_layout(2, &good), Err(EnvError::Index { index: 2, num_envs: 2 }));
        env.set_layout(0, &good).unwrap();
        assert_eq!(env.layout(0), good);
    }
}
