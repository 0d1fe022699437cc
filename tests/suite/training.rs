//! `train`: what a run leaves behind and what it says.
use std::collections::BTreeSet;
use std::path::Path;

use ppo_routed::{Config, Method};
use serde_json::{Map, Value};

use crate::commands::json_lines;
use crate::files::{metrics, newest_checkpoint, object, text};
use crate::workspace::{FINISHED, Tree, Workspace};

const MIXTURE: [&str; 3] = ["diamond", "full", "ghost"];

fn keys(object: &Map<String, Value>) -> Vec<&str> {
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Every value of a metric, in the order of the file.
fn series(tree: &Tree, key: &str) -> Vec<f64> {
    metrics(tree).iter().filter_map(|record| record.get(key)).map(number).collect()
}

#[test]
fn the_folder_of_a_run_holds_what_it_should() {
    let names: BTreeSet<String> = FINISHED.keys().map(|path| path.display().to_string()).collect();
    let expected = [
        "checkpoints/update-000004.safetensors",
        "config.toml",
        "manifest.json",
        "metrics.jsonl",
        "plots/policy.gif",
        "plots/policy.png",
        "plots/reward_curve.png",
        "plots/routing.png",
        "snapshots.jsonl",
        "summary.json",
    ];
    assert_eq!(names, expected.map(String::from).into());
}

#[test]
fn without_a_verb_it_trains_and_says_what_came_of_it() {
    let ws = Workspace::new();
    // neither run has a bar or anything else to say on stderr, which is no terminal here
    let loud = ws.done("");
    let quiet = ws.done("train --quiet --out quiet");
    for (stdout, folder) in [(&loud, "runs/routing-ppo-p0.1-seed0"), (&quiet, "quiet")] {
        let mut lines = stdout.lines();
        let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(heading, ["policy", "final", "best", "on", "Diamond", "on", "Ghost"]);
        for policy in ["diamond", "ghost", "full"] {
            let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
            assert_eq!((row[0], row.len()), (policy, 5));
            for cell in &row[1..] {
                cell.trim_end_matches('%').parse::<f64>().unwrap();
            }
        }
        assert_eq!(lines.next(), Some(""));
        assert!(lines.next().unwrap().starts_with("128 steps in "), "{stdout}");
        let paths: Vec<&str> = lines.collect();
        for picture in ["reward_curve.png", "routing.png", "policy.png", "policy.gif"] {
            let path = format!("{folder}/plots/{picture}");
            assert!(paths.contains(&path.as_str()) && ws.path(&path).is_file(), "{stdout}");
        }
        assert_eq!(paths.len(), 4);
    }
    // the same settings, so the same run, but for what the clock and the command line have a part in
    crate::files::assert_same_run(&ws.tree("runs/routing-ppo-p0.1-seed0"), &ws.tree("quiet"));
}

#[test]
fn the_resolved_config_reads_back() {
    let config: Config = toml::from_str(text(&FINISHED, "config.toml")).unwrap();
    assert_eq!((config.env.num_envs, config.train.updates, config.eval.num_envs), (8, 4, 4));
    assert_eq!((config.env.rows, config.train.method), (5, Method::ROUTING));
    // and is a config to train with
    let ws = Workspace::with_finished_run();
    ws.done(
        "train --config run/config.toml --set train.updates=4 --set checkpoint.keep=1 --out again --seed 7",
    );
    crate::files::assert_same_run(&ws.tree("again"), &FINISHED);
}

#[test]
fn the_manifest_says_what_ran() {
    let manifest = object(&FINISHED, "manifest.json");
    assert_eq!(
        keys(&manifest),
        [
            "command_line",
            "commit",
            "device",
            "finished",
            "machine",
            "name",
            "outputs",
            "platform",
            "resumed",
            "routes",
            "seed",
            "started",
            "threads",
            "version"
        ]
    );
    let overseen_ghosts = &manifest["routes"]["routing"]["classes"][3];
    assert_eq!(overseen_ghosts["gradient"], serde_json::json!([0.0, 1.0, 0.0]), "{overseen_ghosts}");
    assert_eq!((&manifest["name"], &manifest["device"]), (&"ppo-routed".into(), &"cpu".into()));
    assert_eq!((manifest["seed"].as_u64(), manifest["threads"].as_u64()), (Some(7), Some(1)));
    let command: Vec<&str> =
        manifest["command_line"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(command[0].starts_with("ppo-routed") && command.ends_with(&["--seed", "7"]), "{command:?}");
    for time in ["started", "finished"] {
        let time = manifest[time].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    }
    assert!(manifest["started"].as_str() <= manifest["finished"].as_str());
    assert_eq!(manifest["resumed"], Value::Array(Vec::new()));
}

#[test]
fn metrics_are_one_object_a_line_in_the_order_of_updates() {
    let records = metrics(&FINISHED);
    let at: Vec<(u64, u64)> = records
        .iter()
        .map(|record| (record["update"].as_u64().unwrap(), record["step"].as_u64().unwrap()))
        .collect();
    assert_eq!(at, [(0, 0), (1, 64), (2, 128), (3, 192), (4, 256)]);
    for line in text(&FINISHED, "metrics.jsonl").lines() {
        assert!(
            line.starts_with(r#"{"step":"#),
            "step and update come first, for those who read the file: {line}"
        );
    }
    for record in &records {
        for policy in MIXTURE {
            for what in ["return", "share_diamond_seen", "share_ghost_unseen", "mean_length"] {
                number(&record[&format!("eval/{policy}/{what}")]);
            }
        }
    }
    for record in &records[1..] {
        for key in [
            "charts/learning_rate",
            "charts/SPS",
            "losses/policy_loss",
            "losses/value_loss",
            "losses/entropy",
            "losses/approx_kl",
            "losses/clipfrac",
            "routing/share_diamond",
            "routing/share_ghost",
            "routing/share_both",
        ] {
            number(&record[key]);
        }
        for key in ["charts/episodic_return", "charts/episodic_length", "routing/gate_diamond"] {
            assert!(record[key].is_number() || record[key].is_null());
        }
        let shares =
            ["diamond", "ghost", "both"].map(|route| number(&record[&format!("routing/share_{route}")]));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

fn assert_summary_follows_from_metrics(tree: &Tree, policies: &[&str]) {
    let summary = object(tree, "summary.json");
    assert_eq!(
        keys(&summary),
        ["algo", "env_steps", "method", "oversight_prob", "policies", "seconds", "seed", "sps", "updates"]
    );
    let scores = summary["policies"].as_object().unwrap();
    assert_eq!(keys(scores), policies);
    let last = metrics(tree).pop().unwrap();
    assert_eq!((&summary["updates"], &summary["env_steps"]), (&last["update"], &last["step"]));
    let sps = number(&summary["env_steps"]) / number(&summary["seconds"]);
    assert!((number(&summary["sps"]) / sps - 1.0).abs() < 1e-9);
    for (policy, score) in scores {
        let score = score.as_object().unwrap();
        // where a single policy would have been stopped, if any training episode was overseen
        let found: Vec<&str> = keys(score).into_iter().filter(|key| *key != "stopped").collect();
        assert_eq!(found, ["best", "final", "share_diamond", "share_ghost"]);
        // without the evaluation before the first update
        let all = |what: &str| series(tree, &format!("eval/{policy}/{what}")).split_off(1);
        let end = |values: &[f64]| {
            let tail = &values[values.len().saturating_sub(3)..];
            tail.iter().sum::<f64>() / tail.len() as f64
        };
        let close = |key: &str, expected: f64| {
            assert!((number(&score[key]) - expected).abs() < 1e-12, "{policy} {key}: {expected}");
        };
        close("final", end(&all("return")));
        close("best", all("return").into_iter().fold(f64::MIN, f64::max));
        for kind in ["diamond", "ghost"] {
            let seen = end(&all(&format!("share_{kind}_seen")));
            close(&format!("share_{kind}"), seen + end(&all(&format!("share_{kind}_unseen"))));
        }
    }
}

#[test]
fn the_summary_follows_from_the_metrics() {
    assert_summary_follows_from_metrics(&FINISHED, &MIXTURE);
    let summary = object(&FINISHED, "summary.json");
    assert_eq!((&summary["method"], &summary["algo"]), (&"routing".into(), &"ppo".into()));
    assert_eq!((summary["seed"].as_u64(), summary["oversight_prob"].as_f64()), (Some(7), Some(0.1)));
}

/// Every method with every algorithm, in both environments by turns.
#[test]
fn every_method_trains_with_both_algorithms() {
    for (number, method) in Method::ALL.into_iter().enumerate() {
        for algo in ["ppo", "reinforce"] {
            let walled = (number + usize::from(algo == "ppo")) % 2 == 0;
            let env = if walled { "WalledOversightGrid-v0" } else { "OversightGrid-v0" };
            let ws = Workspace::new();
            ws.done(&format!(
                "--set train.method={} --set train.algo={algo} --set env.id={env} --out run \
                 --set env.oversight_prob=0.5 --set env.max_steps=16",
                method.name()
            ));
            let tree = ws.tree("run");
            assert_summary_follows_from_metrics(
                &tree,
                if method.is_mixture() { &MIXTURE } else { &["full"] },
            );
            // the oracle's axis is stretched by 1/p, so it does the share p of the updates
            let updates = if method == Method::ORACLE { 1 } else { 2 };
            let summary = object(&tree, "summary.json");
            assert_eq!(summary["updates"].as_u64(), Some(updates), "{}", method.name());
            assert_eq!((&summary["method"], &summary["algo"]), (&method.name().into(), &algo.into()));
            assert_eq!(tree.contains_key(Path::new("plots/routing.png")), method.is_mixture());
        }
    }
}

#[test]
fn the_oracle_does_a_share_of_the_updates() {
    let ws = Workspace::new();
    ws.done("--set train.method=oracle --set train.updates=30 --set eval.every=9 --out run");
    let updates: Vec<u64> =
        metrics(&ws.tree("run")).iter().map(|record| record["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, [0, 1, 2, 3]);
}

#[test]
fn the_newest_checkpoints_are_kept() {
    let ws = Workspace::new();
    ws.done("--set train.updates=5 --set checkpoint.every=2 --set checkpoint.keep=2 --out run");
    let tree = ws.tree("run");
    let names: Vec<String> = tree
        .keys()
        .filter(|path| path.starts_with("checkpoints"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["update-000004.safetensors", "update-000005.safetensors"]);
    assert_eq!(newest_checkpoint(&tree).header["update"], 5);
}

#[test]
fn a_run_is_named_by_its_config_and_its_seed() {
    let ws = Workspace::new();
    ws.write("my sweep.v2.toml", "[train]\nmethod = \"naive\"\n");
    std::fs::create_dir(ws.path("d")).unwrap();
    std::fs::rename(ws.path("my sweep.v2.toml"), ws.path("d/sweep,v2.toml")).unwrap();
    for (line, name) in [
        ("--seed 3 --config d/sweep,v2.toml", "runs/sweep,v2-seed3"),
        (
            "train --seed 12 --set env.oversight_prob=0.03 --set train.method=naive",
            "runs/naive-ppo-p0.03-seed12",
        ),
        (
            "train --set train.algo=reinforce --set train.method=filtering",
            "runs/filtering-reinforce-p0.1-seed0",
        ),
        ("--seed 4 --out some/where/else", "some/where/else"),
    ] {
        ws.done(line);
        assert!(ws.path(name).join("summary.json").is_file(), "{line}");
    }
}

#[test]
fn settings_before_and_behind_the_verb_count() {
    let ws = Workspace::new();
    ws.done("--set train.gamma=0.5 --set loss.ent_coef=0.25 --out run --seed 3 train");
    let config: Config = toml::from_str(&ws.read("run/config.toml")).unwrap();
    assert_eq!((config.train.gamma, config.loss.ent_coef), (0.5, 0.25));
    ws.write("a.toml", "[train]\nmethod = \"naive\"\n[env]\nnum_envs = 5\n");
    ws.done("--config a.toml --set train.gamma=0.5 --set=env.rows=4 train --set env.cols=4 --set env.num_envs=6 --out b");
    let config: Config = toml::from_str(&ws.read("b/config.toml")).unwrap();
    assert_eq!((config.env.rows, config.env.cols, config.env.num_envs), (4, 4, 6));
    assert_eq!((config.train.gamma, config.train.updates, config.train.method), (0.5, 2, Method::NAIVE));
}

#[test]
fn a_second_run_into_a_folder_changes_nothing() {
    let ws = Workspace::with_finished_run();
    for line in ["train --out run", "train --out run --seed 1 --set train.algo=reinforce --csv"] {
        let before = ws.tree("run");
        let ended = ws.run(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        let stderr: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(stderr[0], "error: the run folder run already holds files");
        assert!(stderr[1].starts_with("hint: ") && stderr[1].ends_with("resume run"), "{stderr:?}");
        assert_eq!(stderr.len(), 2);
        assert!(ws.tree("run") == before);
    }
}

/// One layer in each expert and none before the value's: what reads a run takes its sizes from the run.
#[test]
fn networks_have_the_sizes_of_the_config() {
    let ws = Workspace::new();
    for (backend, folder) in [("fast", "fast"), ("candle", "candle")] {
        let sizes = "--set model.hidden=[6] --set model.value_hidden=[]";
        ws.done(&format!("--quiet --out {folder} --set train.backend={backend} {sizes}"));
        let table = newest_checkpoint(&ws.tree(folder)).table;
        for (name, shape) in [
            ("policy.experts.ghost.0.weight", [6, 100]),
            ("policy.gate.1.weight", [1, 6]),
            ("policy.head.weight", [4, 6]),
            ("policy.value.0.weight", [1, 400]),
        ] {
            assert_eq!(table[name]["shape"], serde_json::json!(shape), "{name}");
        }
        assert!(table.get("policy.experts.ghost.1.weight").is_none());
        assert_eq!(json_lines(&ws.done(&format!("eval {folder} --repeats 1"))).len(), 3);
        ws.done(&format!("render {folder}"));
    }
}

#[test]
fn a_file_that_is_not_a_runs_own_is_safe_from_it() {
    let ws = Workspace::new();
    ws.lay("out", &Tree::from([("thesis.tex".into(), b"years of work".to_vec())]));
    assert_eq!(ws.run("--out out").code, Some(2));
    assert_eq!(ws.tree("out").len(), 1);
    // an empty folder is fine
    std::fs::create_dir(ws.path("empty")).unwrap();
    ws.done("--out empty");
}

#[test]
fn a_run_in_which_nobody_watches_is_warned_of() {
    let ws = Workspace::new();
    let warned = |set: &str| {
        let ended = ws.run(&format!("--out {} --set {set}", set.len()));
        assert_eq!(ended.code, Some(0), "{set}: {}", ended.stderr);
        std::fs::remove_dir_all(ws.path(&set.len().to_string())).unwrap();
        ended.stderr
    };
    for (method, why) in [
        ("routing", "is told of no end, and nothing tells its experts apart"),
        ("no_gate", "is told of no end, and nothing tells its experts apart"),
        ("filtering", "is told of no end, and learns from no episode that has one"),
        ("oracle", "gets that share of the updates, which is a single one"),
        ("reward_model", "is told of no end, and its classifier has no example"),
    ] {
        let said = warned(&format!("env.oversight_prob=0 --set train.method={method}"));
        assert_eq!(said, format!("warning: env.oversight_prob is 0: `{method}` {why}\n"));
    }
    let said = warned("env.oversight_recall=[0,0]");
    assert!(said.starts_with("warning: env.oversight_recall is 0: `routing` is told of no end"), "{said}");
    for quiet in ["env.oversight_prob=0 --set train.method=naive", "env.oversight_recall=[0,0.5]"] {
        assert_eq!(warned(quiet), "", "{quiet}");
    }
    assert_eq!(warned("env.oversight_prob=0 --quiet"), "");
}
