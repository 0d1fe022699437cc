//! Settings, their faults, and how they are read.

use envs::{BlindRegion, EnvConfig, EnvError, EnvId, Kind, make, make_slice};

fn faults(change: impl FnOnce(&mut EnvConfig), id: EnvId) -> Vec<String> {
    let mut config = EnvConfig::for_id(id);
    change(&mut config);
    assert_eq!(make(&config, 1).is_ok(), config.faults().is_empty());
    config.faults().iter().map(ToString::to_string).collect()
}

#[test]
fn the_papers_settings_are_the_defaults() {
    let [open, walled, detour] = EnvId::ALL.map(EnvConfig::for_id);
    assert_eq!((open.rows, open.cols, open.max_steps, open.spurious_oversight_prob), (5, 5, 32, 0.0));
    assert_eq!(
        (walled.rows, walled.cols, walled.max_steps, walled.spurious_oversight_prob),
        (7, 7, 256, 0.25)
    );
    assert_eq!((detour.rows, detour.cols, detour.max_steps), (5, 5, 32));
    for config in [open, walled, detour] {
        assert!(config.faults().is_empty());
        assert!(config.oversight_observed && config.oversight_recall.is_empty());
        assert_eq!(
            (config.oversight_precision.to_string().as_str(), config.recall(1).to_string().as_str()),
            ("1", "1")
        );
        assert_eq!(config.blind_region, BlindRegion::None);
        assert_eq!(config.kinds, [Kind::new("diamond", 1.0), Kind::new("ghost", -1.0)]);
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let all = |config: &mut EnvConfig| {
        config.rows = 0;
        config.cols = 0;
        config.max_steps = 0;
        config.oversight_prob = 1.5;
        config.spurious_oversight_prob = f64::NAN;
    };
    assert_eq!(
        faults(all, EnvId::OversightGridV0),
        [
            "rows: OversightGrid-v0 needs at least 1, got 0",
            "cols: OversightGrid-v0 needs at least 1, got 0",
            "max_steps: an episode needs at least 1 step, got 0",
            "oversight_prob: a probability lies between 0 and 1, got 1.5",
            "spurious_oversight_prob: a probability lies between 0 and 1, got NaN",
        ]
    );
}

#[test]
fn probabilities_are_closed_at_both_ends() {
    for (prob, right) in [
        (0.0, true),
        (1.0, true),
        (-1e-9, false),
        (1.0 + 1e-9, false),
        (f64::INFINITY, false),
        (f64::NAN, false),
    ] {
        for id in EnvId::ALL {
            assert_eq!(faults(|config| config.oversight_prob = prob, id).is_empty(), right, "{prob}");
            assert_eq!(
                faults(|config| config.spurious_oversight_prob = prob, id).is_empty(),
                right,
                "{prob}"
            );
        }
    }
}

#[test]
fn grids_without_room_are_faults() {
    let size = |rows, cols, id| {
        faults(|config| (config.rows, config.cols) = (rows, cols), id).into_iter().next().unwrap_or_default()
    };
    let (open, walled) = (EnvId::OversightGridV0, EnvId::WalledOversightGridV0);
    assert_eq!(size(1, 2, open), "rows: a grid needs 3 cells for the agent and 2 terminals, got 1 × 2 = 2");
    assert_eq!(size(1, 3, open), "");
    assert_eq!(size(256, 256, open), "");
    assert_eq!(size(256, 257, open), "rows: rows × cols may be at most 65536 cells, got 256 × 257");
    assert!(size(usize::MAX, 2, open).starts_with("rows: rows × cols may be at most"));
    assert_eq!(size(2, 9, walled), "rows: WalledOversightGrid-v0 needs at least 3, got 2");
    assert!(size(5, 4, walled).contains("need rows + cols ≥ 10, got 5 + 4"));
    assert_eq!(size(5, 5, walled), "");
}

/// The rule for walled grids is exactly right: brute force over small rooms.
#[test]
fn a_walled_grid_is_faulty_exactly_if_it_has_no_layout() {
    for (rows, cols) in (3..10).flat_map(|rows| (3..10).map(move |cols| (rows, cols))) {
        let cells: Vec<_> = (1..rows - 1).flat_map(|row| (1..cols - 1).map(move |col| (row, col))).collect();
        let distance = |a: (usize, usize), b: (usize, usize)| a.0.abs_diff(b.0) + a.1.abs_diff(b.1);
        let possible = cells.iter().any(|&start| {
            let mut far: Vec<_> =
                cells.iter().map(|&cell| distance(start, cell)).filter(|&d| d >= 3).collect();
            far.sort_unstable();
            far.dedup();
            far.len() >= 2
        });
        let found = faults(|config| (config.rows, config.cols) = (rows, cols), EnvId::WalledOversightGridV0);
        assert_eq!(found.is_empty(), possible, "{rows} × {cols}: {found:?}");
    }
}

#[test]
fn ids_are_written_as_gymnasium_writes_them() {
    for id in EnvId::ALL {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
    let error = "OversightGrid-v1".parse::<EnvId>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no environment is called `OversightGrid-v1`; there are `OversightGrid-v0`, `WalledOversightGrid-v0`, `DetourOversightGrid-v0`"
    );
}

#[test]
fn a_config_is_read_as_it_is_written() {
    let walled = EnvConfig { rows: 9, ..EnvConfig::for_id(EnvId::WalledOversightGridV0) };
    let written = serde_json::to_string(&walled).unwrap();
    assert_eq!(serde_json::from_str::<EnvConfig>(&written).unwrap(), walled);
    let unknown = serde_json::from_str::<EnvConfig>(&written.replace("\"rows\"", "\"row\""));
    assert!(unknown.unwrap_err().to_string().contains("unknown field `row`"));
}

/// What a run of an earlier version was saved with: the settings of oversight that it did not know are the paper's.
#[test]
fn a_config_without_the_further_settings_is_the_papers() {
    let written = r#"{"id":"OversightGrid-v0","rows":5,"cols":5,"max_steps":32,"oversight_prob":0.1,
        "spurious_oversight_prob":0.0}"#;
    assert_eq!(
        serde_json::from_str::<EnvConfig>(written).unwrap(),
        EnvConfig::for_id(EnvId::OversightGridV0)
    );
}

#[test]
fn what_makes_no_sense_of_the_further_settings_is_a_fault() {
    let kinds = |texts: &[&str]| -> Vec<Kind> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let open = EnvConfig::for_id(EnvId::OversightGridV0);
    let walled = EnvConfig::for_id(EnvId::WalledOversightGridV0);
    let three = kinds(&["a 1", "b 0", "c -1"]);
    for (config, fault) in [
        (EnvConfig { kinds: kinds(&["a 1"]), ..open.clone() }, "kinds: must be 2 to 8, got 1"),
        (
            EnvConfig { kinds: (0..9).map(|i| format!("k{i} 1").parse().unwrap()).collect(), ..open.clone() },
            "kinds: must be 2 to 8, got 9",
        ),
        (
            EnvConfig { kinds: three.clone(), ..walled },
            "kinds: WalledOversightGrid-v0 has room for 2, got 3; use OversightGrid-v0",
        ),
        (
            EnvConfig { kinds: kinds(&["a 1", "B -1"]), ..open.clone() },
            "kinds: a name is lower-case letters, digits and `_`, got \"B\"",
        ),
        (EnvConfig { kinds: kinds(&["a 1", "a -1"]), ..open.clone() }, "kinds: two are called a"),
        (
            EnvConfig { kinds: kinds(&["a 1", "b inf"]), ..open.clone() },
            "kinds: b needs a finite value, got inf",
        ),
        (
            EnvConfig { rows: 1, cols: 3, kinds: three, ..open.clone() },
            "rows: a grid needs 4 cells for the agent and 3 terminals, got 1 × 3 = 3",
        ),
        (
            EnvConfig { oversight_recall: vec![1.0], ..open.clone() },
            "oversight_recall: must have one entry for each of the 2 kinds, or none, got 1",
        ),
        (
            EnvConfig { oversight_recall: vec![1.0, 1.5], ..open.clone() },
            "oversight_recall: a probability lies between 0 and 1, got 1.5",
        ),
        (
            EnvConfig { oversight_precision: -0.5, ..open.clone() },
            "oversight_precision: a probability lies between 0 and 1, got -0.5",
        ),
        (
            EnvConfig { blind_region: BlindRegion::Rows(3, 5), ..open.clone() },
            "blind_region: rows 3-5 lies outside the grid, whose rows are 0 to 4",
        ),
        (
            EnvConfig { blind_region: BlindRegion::Cols(3, 1), ..open },
            "blind_region: the first of cols 3-1 comes after the last",
        ),
    ] {
        assert!(make(&config, 1).is_err());
        let found: Vec<String> = config.faults().iter().map(ToString::to_string).collect();
        assert_eq!(found, [fault]);
    }
}

#[test]
fn kinds_and_regions_are_read_as_they_are_written() {
    for text in ["diamond +1", "ghost -1", "pearl +0.1"] {
        assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
    }
    for text in ["none", "rows 0-1", "cols 3"] {
        assert_eq!(text.parse::<BlindRegion>().unwrap().to_string(), text);
    }
    assert_eq!("row 2".parse(), Ok(BlindRegion::Rows(2, 2)));
    for text in ["", "rows", "rows x", "rows 1-2-3", "cells 3", "rows -1"] {
        let error = text.parse::<BlindRegion>().unwrap_err();
        assert_eq!(error, format!("must be \"none\", \"rows 0-1\" or \"cols 3\", got {text:?}"));
    }
    for text in ["ghost", "ghost minus", "1 ghost x", ""] {
        let error = text.parse::<Kind>().unwrap_err();
        assert_eq!(error, format!("a kind is a name and a value, such as \"ghost -1\", got {text:?}"));
    }
}

#[test]
fn a_batch_of_nothing_is_refused() {
    let config = EnvConfig::for_id(EnvId::OversightGridV0);
    assert_eq!(make(&config, 0).err(), Some(EnvError::NoEnvs));
    assert_eq!(make_slice(&config, 3, 0).err(), Some(EnvError::NoEnvs));
}
