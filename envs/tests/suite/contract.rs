//! The one checker, over every environment.

use envs::{EnvConfig, EnvError, EnvId, MAX_CELLS, Space, check_env, check_grid_world, maker};
use proptest::prelude::*;

use crate::any_config;

#[test]
fn every_environment_keeps_the_contract() {
    for id in EnvId::ALL {
        check_grid_world(&EnvConfig::for_id(id)).unwrap();
    }
}

/// The core of the checker takes them as it takes any environment.
#[test]
fn every_environment_keeps_the_contract_of_all() {
    for id in EnvId::ALL {
        check_env(maker(&EnvConfig::for_id(id))).unwrap();
    }
    assert_eq!(check_env(|_, _| Err(EnvError::NoEnvs)), Err(EnvError::NoEnvs));
}

#[test]
fn spaces_know_their_elements() {
    let binary = Space::MultiBinary { shape: vec![2, 3] };
    assert_eq!((binary.flat_len(), binary.shape(), binary.num_actions()), (6, &[2, 3][..], None));
    assert!(binary.contains(&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]));
    assert!(!binary.contains(&[0.0, 1.0]) && !binary.contains(&[0.5; 6]));
    let bounded = Space::Box { low: -1.0, high: 2.0, shape: vec![2] };
    assert!(bounded.contains(&[-1.0, 2.0]) && !bounded.contains(&[0.0, 2.1]));
    assert!(!bounded.contains(&[0.0, f32::NAN]));
    let actions = Space::Discrete { n: 3 };
    assert_eq!((actions.flat_len(), actions.num_actions()), (1, Some(3)));
    assert!(actions.contains(&[2.0]) && !actions.contains(&[3.0]) && !actions.contains(&[0.5]));
}

#[test]
fn grids_of_the_least_size_keep_the_contract() {
    let [open, walled, detour] = EnvId::ALL.map(EnvConfig::for_id);
    for (base, rows, cols) in [
        (&open, 1, 3),
        (&open, 3, 1),
        (&open, 2, 2),
        (&walled, 3, 7),
        (&walled, 7, 3),
        (&walled, 5, 5),
        (&detour, 1, 3),
        (&detour, 3, 1),
        (&detour, 2, 2),
    ] {
        for max_steps in [1, 2, 9] {
            check_grid_world(&EnvConfig { rows, cols, max_steps, ..base.clone() }).unwrap();
        }
    }
}

#[test]
fn grids_of_the_greatest_size_keep_the_contract() {
    for id in EnvId::ALL {
        for (rows, cols) in [(256, 256), (4, MAX_CELLS / 4), (MAX_CELLS / 4, 4)] {
            let config = EnvConfig { rows, cols, spurious_oversight_prob: 0.01, ..EnvConfig::for_id(id) };
            check_grid_world(&config).unwrap();
        }
    }
}

#[test]
fn a_config_with_faults_is_an_error_with_all_of_them() {
    let config = EnvConfig { max_steps: 0, oversight_prob: 1.5, ..EnvConfig::for_id(EnvId::OversightGridV0) };
    assert_eq!(check_grid_world(&config), Err(EnvError::Config(config.faults())));
    assert_eq!(config.faults().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_config_without_faults_keeps_the_contract(
        config in any_config(), recall in 0.0_f64..=1.0, precision in 0.0_f64..=1.0, noisy in any::<bool>()
    ) {
        let (recall, oversight_precision) = if noisy { (recall, precision) } else { (1.0, 1.0) };
        let oversight_recall = vec![recall; config.kinds.len()];
        let config = EnvConfig { oversight_recall, oversight_precision, ..config };
        prop_assert_eq!(check_grid_world(&config), Ok(()));
    }
}
