//! Oversight that is hidden, misses arrivals, lies about them, or is blind somewhere. Seeds are fixed, so these tests
//! either always pass or never; the bounds are five standard deviations out.

use envs::{BlindRegion, EnvConfig, EnvId, Outcome, StepBuffers, make};
use proptest::prelude::*;

use crate::{Actions, KINDS, any_config};

/// The outcomes of all arrivals of a long random rollout, and the cells that they were on.
fn arrivals(config: &EnvConfig, seed: u64, steps: usize) -> Vec<(Outcome, usize)> {
    let n = 256;
    let mut env = make(config, n).unwrap();
    let mut buffers = StepBuffers::for_env(env.as_ref());
    let len = buffers.observations.len() / n;
    let cells = config.rows * config.cols;
    env.reset(Some(seed), &mut buffers.observations).unwrap();
    let mut actions = Actions::new(seed);
    let mut found = Vec::new();
    for _ in 0..steps {
        env.step(&actions.draw(n), buffers.slices()).unwrap();
        for (i, outcome) in buffers.outcomes.iter().enumerate().filter(|(_, o)| o.reached.is_some()) {
            // where the agent's plane is
            let last = &buffers.final_obs[i * len..(i + 1) * len];
            let plane = if config.id == EnvId::WalledOversightGridV0 { &last[5 * cells..] } else { last };
            found.push((*outcome, plane.iter().position(|x| *x > 0.5).unwrap()));
        }
    }
    found
}

/// That `hits` of `n` is what comes of a probability.
fn assert_rate(hits: usize, n: usize, prob: f64, what: &str) {
    let bound = 5.0 * (n as f64 * prob * (1.0 - prob)).sqrt();
    assert!(n > 1000 && (hits as f64 - n as f64 * prob).abs() <= bound, "{what}: {hits} of {n}, not {prob}");
}

#[test]
fn arrivals_are_noticed_at_the_rate_of_their_kind() {
    for id in EnvId::ALL {
        let recall = [0.8, 0.25];
        let config =
            EnvConfig { oversight_prob: 0.6, oversight_recall: recall.to_vec(), ..EnvConfig::for_id(id) };
        let found = arrivals(&config, 1, 400);
        for (kind, recall) in recall.into_iter().enumerate() {
            let of_kind: Vec<_> =
                found.iter().filter(|(outcome, _)| outcome.reached == Some(kind as u8)).collect();
            let told = of_kind.iter().filter(|(outcome, _)| outcome.overseen()).count();
            assert_rate(told, of_kind.len(), 0.6 * recall, &format!("{id}, kind {kind}"));
            assert!(of_kind.iter().all(|(outcome, _)| outcome.told.is_none_or(|told| told == kind as u8)));
        }
    }
}

#[test]
fn labels_name_the_right_kind_at_the_rate_of_the_precision_and_the_others_alike() {
    let config = EnvConfig {
        oversight_prob: 1.0,
        oversight_precision: 0.7,
        kinds: KINDS.to_vec(),
        ..EnvConfig::for_id(EnvId::OversightGridV0)
    };
    let found = arrivals(&config, 2, 400);
    for kind in 0..4 {
        let told: Vec<Option<u8>> = found
            .iter()
            .filter(|(outcome, _)| outcome.reached == Some(kind))
            .map(|(outcome, _)| outcome.told)
            .collect();
        for other in 0..4 {
            let named = told.iter().filter(|name| **name == Some(other)).count();
            assert_rate(
                named,
                told.len(),
                if other == kind { 0.7 } else { 0.1 },
                &format!("{other} for {kind}"),
            );
        }
    }
}

#[test]
fn a_precision_of_zero_always_lies() {
    let config = EnvConfig {
        oversight_prob: 1.0,
        oversight_precision: 0.0,
        ..EnvConfig::for_id(EnvId::OversightGridV0)
    };
    let found = arrivals(&config, 3, 50);
    assert!(
        !found.is_empty()
            && found.iter().all(|(outcome, _)| outcome.told == outcome.reached.map(|kind| 1 - kind))
    );
}

#[test]
fn nothing_is_overseen_in_the_blind_region_and_all_else_as_often_as_without() {
    for id in EnvId::ALL {
        for region in [BlindRegion::Rows(1, 2), BlindRegion::Cols(3, 3)] {
            let config = EnvConfig {
                oversight_prob: 0.5,
                spurious_oversight_prob: 0.5,
                blind_region: region,
                ..EnvConfig::for_id(id)
            };
            let (mut inside, mut outside, mut told) = (0, 0, 0);
            for (outcome, cell) in arrivals(&config, 4, 600) {
                let blind = region.holds(cell / config.cols, cell % config.cols);
                assert_eq!(outcome.blind, blind);
                assert!(!(blind && outcome.overseen()), "{id}, {region}: overseen on cell {cell}");
                inside += usize::from(blind);
                outside += usize::from(!blind);
                told += usize::from(outcome.overseen());
            }
            assert!(inside > 100, "{id}, {region}: {inside}");
            assert_rate(told, outside, 0.5, &format!("{id}, {region}"));
        }
    }
}

/// What is spelled out as the default is the default, draw by draw; who never notices oversees nothing.
#[test]
fn settings_that_change_nothing_draw_nothing() {
    for id in EnvId::ALL {
        let config = EnvConfig { spurious_oversight_prob: 0.25, ..EnvConfig::for_id(id) };
        let spelled = EnvConfig { oversight_recall: vec![1.0, 1.0], ..config.clone() };
        let missed = EnvConfig { oversight_recall: vec![0.0, 0.0], ..config.clone() };
        let [usual, spelled, missed] = [&config, &spelled, &missed].map(|config| arrivals(config, 5, 60));
        assert!(usual == spelled);
        assert!(missed.iter().all(|(outcome, _)| !outcome.overseen()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Hidden oversight is the same world with a plane of zeros.
    #[test]
    fn hidden_oversight_changes_one_plane_alone(config in any_config(), seed: u64) {
        let cells = config.rows * config.cols;
        let plane = if config.id == EnvId::WalledOversightGridV0 { 4 } else { 1 + config.kinds.len() };
        let play = |oversight_observed: bool| {
            let mut env = make(&EnvConfig { oversight_observed, ..config.clone() }, 5).unwrap();
            let mut buffers = StepBuffers::for_env(env.as_ref());
            env.reset(Some(seed), &mut buffers.observations).unwrap();
            let mut actions = Actions::new(seed);
            let mut all = vec![buffers.clone()];
            for _ in 0..30 {
                env.step(&actions.draw(5), buffers.slices()).unwrap();
                all.push(buffers.clone());
            }
            all
        };
        let mut seen = play(true);
        for buffers in &mut seen {
            for observations in [&mut buffers.observations, &mut buffers.final_obs] {
                for row in observations.chunks_exact_mut(config.planes() * cells) {
                    row[plane * cells..(plane + 1) * cells].fill(0.0);
                }
            }
        }
        prop_assert!(seen == play(false));
    }
}
