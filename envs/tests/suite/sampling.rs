//! How episodes begin: uniform placements, independent bits at their rates. Seeds are fixed, so these tests either
//! always pass or never; the bounds are five standard deviations out.

use std::collections::HashMap;

use envs::{EnvConfig, EnvId, Layout, StepBuffers, make};

use crate::Actions;

/// The beginnings of episodes, half of them across a wide batch, half of them one after the other in a narrow one
/// that goes on by autoreset.
fn beginnings(config: &EnvConfig, samples: usize) -> Vec<Layout> {
    let mut layouts = Vec::with_capacity(samples);
    let wide = make(config, samples / 2).unwrap();
    layouts.extend((0..samples / 2).map(|i| wide.layout(i)));
    let mut narrow = make(&EnvConfig { max_steps: 1, ..config.clone() }, 4).unwrap();
    let mut buffers = StepBuffers::for_env(narrow.as_ref());
    narrow.reset(Some(3), &mut buffers.observations).unwrap();
    let mut actions = Actions::new(3);
    while layouts.len() < samples {
        narrow.step(&actions.draw(4), buffers.slices()).unwrap();
        layouts.extend((0..4).map(|i| narrow.layout(i)));
    }
    layouts
}

/// Pearson's statistic of `counts` against `expected` (which holds every possible outcome), in standard
/// deviations above its mean.
fn surprise<K: std::hash::Hash + Eq + std::fmt::Debug>(
    counts: &HashMap<K, usize>,
    expected: &HashMap<K, f64>,
) -> f64 {
    for outcome in counts.keys() {
        assert!(expected.contains_key(outcome), "{outcome:?} is impossible");
    }
    let statistic: f64 = expected
        .iter()
        .map(|(outcome, mean)| (*counts.get(outcome).unwrap_or(&0) as f64 - mean).powi(2) / mean)
        .sum();
    let freedom = (expected.len() - 1) as f64;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

fn count<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[test]
fn placements_on_the_open_grid_are_uniform_over_triples() {
    for (rows, cols, samples) in [(2, 2, 24_000), (1, 4, 24_000), (3, 3, 100_000), (5, 5, 600_000)] {
        let config = EnvConfig { rows, cols, ..EnvConfig::for_id(EnvId::OversightGridV0) };
        let layouts = beginnings(&config, samples);
        let cells = rows * cols;
        let triples = (cells * (cells - 1) * (cells - 2)) as f64;
        let mut expected = HashMap::new();
        for (a, g, d) in
            (0..cells).flat_map(|a| (0..cells).flat_map(move |g| (0..cells).map(move |d| (a, g, d))))
        {
            if a != g && a != d && g != d {
                expected.insert((a, g, d), samples as f64 / triples);
            }
        }
        let counts =
            count(layouts.iter().map(|layout| (layout.agent, layout.terminals[1], layout.terminals[0])));
        let surprise = surprise(&counts, &expected);
        assert!(surprise.abs() < 5.0, "{rows} × {cols}: {surprise} standard deviations");
    }
}

/// Start, farther and nearer terminal, kinds: the probabilities by brute force.
#[test]
fn placements_in_the_walled_room_follow_their_law() {
    for (rows, cols, samples) in [(5, 6, 40_000), (3, 9, 40_000), (7, 7, 600_000)] {
        let config = EnvConfig { rows, cols, ..EnvConfig::for_id(EnvId::WalledOversightGridV0) };
        let cells: Vec<usize> =
            (1..rows - 1).flat_map(|row| (1..cols - 1).map(move |col| row * cols + col)).collect();
        let distance = |a: usize, b: usize| (a / cols).abs_diff(b / cols) + (a % cols).abs_diff(b % cols);
        let far_from = |start: usize| cells.iter().copied().filter(move |&cell| distance(start, cell) > 3);
        let starts: Vec<usize> = cells.iter().copied().filter(|&cell| far_from(cell).count() > 0).collect();
        let mut expected = HashMap::new();
        for &start in &starts {
            let fars: Vec<usize> = far_from(start).collect();
            for &far in &fars {
                let nears: Vec<usize> = cells
                    .iter()
                    .copied()
                    .filter(|&near| (3..distance(start, far)).contains(&distance(start, near)))
                    .collect();
                for &near in &nears {
                    let chance = 0.5 / (starts.len() * fars.len() * nears.len()) as f64;
                    expected.insert((start, near, far), samples as f64 * chance);
                    expected.insert((start, far, near), samples as f64 * chance);
                }
            }
        }
        let counts = count(
            beginnings(&config, samples)
                .iter()
                .map(|layout| (layout.agent, layout.terminals[1], layout.terminals[0])),
        );
        let surprise = surprise(&counts, &expected);
        assert!(surprise.abs() < 5.0, "{rows} × {cols}: {surprise} standard deviations");
    }
}

/// Start, wanted terminal, the others: the probabilities by brute force.
#[test]
fn placements_with_a_detour_follow_their_law() {
    for (rows, cols, kinds, samples) in [(2, 3, 2, 40_000), (1, 4, 3, 20_000), (3, 3, 3, 100_000)] {
        let kinds = crate::KINDS[..kinds].to_vec();
        let config = EnvConfig { rows, cols, kinds, ..EnvConfig::for_id(EnvId::DetourOversightGridV0) };
        let cells: Vec<usize> = (0..rows * cols).collect();
        let distance = |a: usize, b: usize| (a / cols).abs_diff(b / cols) + (a % cols).abs_diff(b % cols);
        // the ways to place the others, in order
        let others = |start: usize, wanted: usize| -> Vec<Vec<usize>> {
            let near = |cell: &usize| *cell != start && distance(start, *cell) < distance(start, wanted);
            let near: Vec<usize> = cells.iter().copied().filter(near).collect();
            if config.kinds.len() == 2 {
                return near.iter().map(|cell| vec![*cell]).collect();
            }
            let pairs = near.iter().flat_map(|a| near.iter().map(move |b| vec![*a, *b]));
            pairs.filter(|pair| pair[0] != pair[1]).collect()
        };
        let wanted = |start: usize| -> Vec<usize> {
            cells.iter().copied().filter(|cell| !others(start, *cell).is_empty()).collect()
        };
        let starts: Vec<usize> = cells.iter().copied().filter(|cell| !wanted(*cell).is_empty()).collect();
        let mut expected = HashMap::new();
        for &start in &starts {
            for &first in &wanted(start) {
                let rest = others(start, first);
                for cells in &rest {
                    let chance = 1.0 / (starts.len() * wanted(start).len() * rest.len()) as f64;
                    let terminals: Vec<usize> = [first].iter().chain(cells).copied().collect();
                    expected.insert((start, terminals), samples as f64 * chance);
                }
            }
        }
        let counts =
            count(beginnings(&config, samples).into_iter().map(|layout| (layout.agent, layout.terminals)));
        let surprise = surprise(&counts, &expected);
        assert!(surprise.abs() < 5.0, "{rows} × {cols}: {surprise} standard deviations");
    }
}

#[test]
fn placements_of_three_kinds_are_uniform() {
    let (samples, cells) = (60_000, 6_usize);
    let kinds = crate::KINDS[..3].to_vec();
    let config = EnvConfig { rows: 2, cols: 3, kinds, ..EnvConfig::for_id(EnvId::OversightGridV0) };
    let mut expected = HashMap::new();
    for code in 0..cells.pow(4) {
        let digits: Vec<usize> = (0..4).map(|place| code / cells.pow(place) % cells).collect();
        if (0..4).all(|i| (0..i).all(|j| digits[i] != digits[j])) {
            expected.insert((digits[0], digits[1..].to_vec()), samples as f64 / 360.0);
        }
    }
    let counts =
        count(beginnings(&config, samples).into_iter().map(|layout| (layout.agent, layout.terminals)));
    let surprise = surprise(&counts, &expected);
    assert!(surprise.abs() < 5.0, "{surprise} standard deviations");
}

#[test]
fn bits_are_independent_and_come_at_their_rates() {
    let samples = 40_000;
    for id in EnvId::ALL {
        for (p, spurious) in [(0.1, 0.25), (0.5, 0.0), (0.003, 0.9)] {
            let config =
                EnvConfig { oversight_prob: p, spurious_oversight_prob: spurious, ..EnvConfig::for_id(id) };
            let layouts = beginnings(&config, samples);
            let seen = |layout: &Layout, cell: usize| layout.oversight.contains(&cell);
            let pairs = count(
                layouts
                    .iter()
                    .map(|layout| (seen(layout, layout.terminals[1]), seen(layout, layout.terminals[0]))),
            );
            let chance = |bit: bool| if bit { p } else { 1.0 - p };
            let mut expected = HashMap::new();
            for pair in [(false, false), (false, true), (true, false), (true, true)] {
                expected.insert(pair, samples as f64 * chance(pair.0) * chance(pair.1));
            }
            let surprise = surprise(&pairs, &expected);
            assert!(surprise.abs() < 5.0, "{id}, {p}: {surprise} standard deviations, {pairs:?}");

            // each other cell by itself: how often it is watched while no terminal lies on it
            let wall = usize::from(id == EnvId::WalledOversightGridV0);
            for cell in 0..config.rows * config.cols {
                let (row, col) = (cell / config.cols, cell % config.cols);
                let open =
                    (wall..config.rows - wall).contains(&row) && (wall..config.cols - wall).contains(&col);
                let spurious = if open { spurious } else { 0.0 };
                let free: Vec<_> = layouts
                    .iter()
                    .filter(|layout| layout.terminals[1] != cell && layout.terminals[0] != cell)
                    .collect();
                let n = free.len() as f64;
                let watched = free.iter().filter(|layout| seen(layout, cell)).count() as f64;
                let bound = 5.0 * (n * spurious * (1.0 - spurious)).sqrt();
                assert!((watched - n * spurious).abs() <= bound, "{id}, cell {cell}: {watched} of {n}");
            }
        }
    }
}

#[test]
fn a_bit_of_probability_zero_or_one_is_certain() {
    for id in EnvId::ALL {
        for (p, spurious) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
            let config =
                EnvConfig { oversight_prob: p, spurious_oversight_prob: spurious, ..EnvConfig::for_id(id) };
            for layout in beginnings(&config, 2000) {
                let terminals = [layout.terminals[1], layout.terminals[0]];
                let watched = layout.oversight.iter().filter(|cell| terminals.contains(cell)).count();
                assert_eq!(watched, if p > 0.5 { 2 } else { 0 });
                let others = layout.oversight.len() - watched;
                assert_eq!(others, if spurious > 0.5 { 23 } else { 0 });
            }
        }
    }
}

/// Neighbours in a batch, and neighbouring seeds, share nothing.
#[test]
fn streams_of_neighbours_differ() {
    let config = EnvConfig { rows: 16, cols: 16, ..EnvConfig::for_id(EnvId::OversightGridV0) };
    let mut seen = HashMap::new();
    let n = 1000;
    let mut env = make(&config, n).unwrap();
    let mut observations = vec![0.0; n * env.single_observation_space().flat_len()];
    for seed in 0..4 {
        env.reset(Some(seed), &mut observations).unwrap();
        for i in 0..n {
            let layout = env.layout(i);
            *seen.entry((layout.agent, layout.terminals[1], layout.terminals[0])).or_insert(0) += 1;
        }
    }
    // 4,000 draws out of 16.6 million: half a coincidence is expected
    assert!(seen.len() >= 4 * n - 4, "{} different beginnings", seen.len());
}
