//! Sweeps: planned, run, stopped, gone on with, gathered.
use std::collections::BTreeSet;
use std::path::Path;

use crate::files::text;
use crate::outputs::png_size;
use crate::workspace::{Tree, Workspace};

/// Eight runs of twelve small updates each.
const CONFIG: &str = "
[sweep]
methods = [\"routing\", \"no_gate\", \"filtering\", \"oracle\"]
oversight_probs = [0.1, 0.5]
seeds = [4]
threshold = 0.01

[env]
num_envs = 4

[train]
updates = 12
num_steps = 8

[ppo]
update_epochs = 1
num_minibatches = 1

[eval]
every = 4
num_envs = 2

[checkpoint]
every = 2
";

fn ws() -> Workspace {
    let ws = Workspace::new();
    ws.write("small.toml", CONFIG);
    ws
}

/// What was gathered.
fn gathered(tree: &Tree) -> Tree {
    let of_the_sweep = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "csv" || extension == "md")
            || path.starts_with("plots")
    };
    tree.iter()
        .filter(|(path, _)| of_the_sweep(path))
        .map(|(path, data)| (path.clone(), data.clone()))
        .collect()
}

/// The sweep when nobody disturbs it.
static UNDISTURBED: std::sync::LazyLock<(String, Tree)> = std::sync::LazyLock::new(|| {
    let ws = ws();
    let said = ws.done("sweep --config small.toml --out swept --jobs 2");
    (said, ws.tree("swept"))
});

#[test]
fn a_sweep_runs_everything_and_gathers_tables_and_figures() {
    let (said, tree) = &*UNDISTURBED;
    assert!(said.contains("| filtering | 50% | 1 |"), "{said}");
    assert!(said.contains("Routing minus each other method"), "{said}");
    assert!(said.contains("8 of 8 runs"), "{said}");
    let lines: Vec<&str> = text(tree, "results.csv").lines().collect();
    assert_eq!(lines.len(), 9);
    assert!(lines[1].starts_with("routing-p0.1-seed4,routing,ppo,0.1,4,,12,384,"), "{}", lines[1]);
    let oracle = lines.iter().find(|line| line.starts_with("oracle-p0.5")).unwrap();
    assert!(oracle.contains(",0.5,4,,6,192,"), "the oracle does the share p of the updates: {oracle}");
    for name in
        ["return_vs_oversight", "final_and_best", "learning_curves_p0.1", "learning_curves_p0.5", "ablation"]
    {
        png_size(&tree[Path::new(&format!("plots/{name}.png"))]);
    }
    // the numbers are those of the runs
    let cells: Vec<&str> = lines[1].split(',').collect();
    let summary = crate::files::object(tree, "routing-p0.1-seed4/summary.json");
    assert_eq!(cells[8].parse::<f64>().ok(), summary["policies"]["diamond"]["final"].as_f64());
    assert_eq!(cells[12].parse::<f64>().ok(), summary["policies"]["ghost"]["final"].as_f64());
}

#[test]
fn a_run_of_a_sweep_is_the_run_that_train_does() {
    let ws = ws();
    ws.done(
        "train --threads 1 --seed 4 --out alone --set train.method=no_gate --set env.oversight_prob=0.5 \
         --set env.num_envs=4 --set train.updates=12 --set eval.every=4 --set eval.num_envs=2",
    );
    let alone = ws.tree("alone");
    let swept = &UNDISTURBED.1[Path::new("no_gate-p0.5-seed4/snapshots.jsonl")];
    assert_eq!(&alone[Path::new("snapshots.jsonl")], swept);
}

#[test]
fn a_sweep_that_is_killed_three_times_gathers_the_same() {
    let ws = ws();
    let done = || {
        let Ok(runs) = std::fs::read_dir(ws.path("swept")) else { return 0 };
        runs.filter(|run| run.as_ref().unwrap().path().join("summary.json").exists()).count()
    };
    for (finished, pause) in [(1, 3), (3, 11), (5, 23)] {
        let mut running = ws.start("sweep --config small.toml --out swept --jobs 2");
        running.wait_until(|| done() >= finished);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        assert!(running.kill(), "killed with {finished} runs done");
    }
    let before: BTreeSet<_> = ws.tree("swept").into_keys().collect();
    assert!(before.iter().all(|path| path.extension().is_none_or(|extension| extension != "csv")));
    let ended = ws.run("sweep --config small.toml --out swept --jobs 1");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(gathered(&ws.tree("swept")), gathered(&UNDISTURBED.1));
}

#[test]
fn any_engine_can_run_a_plan_by_its_indices() {
    let ws = ws();
    let said = ws.done("sweep plan --config small.toml --out swept");
    assert_eq!(
        said,
        "8 runs in swept/plan.jsonl\neach: ppo-routed sweep run swept --index I\n\
         then: ppo-routed sweep collect swept\n"
    );
    assert_eq!(ws.done("sweep run swept --index 6"), "swept/filtering-p0.5-seed4\n");
    let ended = ws.run("sweep collect swept");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("1 of 8 runs"), "{}", ended.stdout);
    assert_eq!(
        ended.stderr,
        "error: 7 of 8 runs are not finished: 0, 1, 2, 3, 4, 5, 7\n\
         hint: each: ppo-routed sweep run swept --index I\n"
    );
    for index in [7, 5, 4, 3, 2, 1, 0, 6] {
        ws.done(&format!("sweep run swept --index {index}"));
    }
    ws.done("sweep collect swept");
    assert_eq!(gathered(&ws.tree("swept")), gathered(&UNDISTURBED.1));
}

#[test]
fn a_failed_run_does_not_stop_the_others() {
    let ws = ws();
    // the learning rate of one run takes its parameters past all numbers
    let line = "sweep --config small.toml --out swept --set sweep.methods=[\"routing\"] \
        --set sweep.oversight_probs=[0.1] --set train.anneal_lr=false --set ppo.max_grad_norm=0 \
        --axis train.learning_rate=1e-3,1e30";
    let ended = ws.run(line);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("1 of 2 runs"), "{}", ended.stdout);
    let fault = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(
        fault.starts_with("error: 1 of 2 runs failed: routing-p0.1-learning_rate1e30-seed4: "),
        "{fault}"
    );
    assert!(ended.stderr.ends_with("hint: the others are gathered; the same command tries these again\n"));
}

#[test]
fn sweeps_that_make_no_sense_are_refused() {
    let ws = ws();
    for (line, refusal) in [
        ("sweep --set sweep.method=1", "error: `sweep.method` (--set): no such key"),
        (
            "sweep --axis loss.ent=1,2",
            "error: `loss.ent` (--set): no such key, did you mean `loss.ent_coef`?",
        ),
        ("sweep --seed 1", "error: `sweep` does not take --seed"),
        ("sweep collect nowhere", "error: nowhere has no plan.jsonl"),
        ("sweep run nowhere --index 0", "error: nowhere has no plan.jsonl"),
        ("sweep --jobs 0", "error: invalid value '0' for '--jobs <N>': at least one is needed"),
        (
            "sweep slurm --config small.toml --sbatch partition",
            "error: \"partition\" is not an option of sbatch",
        ),
    ] {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.stderr.starts_with(refusal), "{line}: {}", ended.stderr);
        assert!(ended.stderr.lines().count() <= 2, "{line}: {}", ended.stderr);
    }
    ws.lay("swept", &UNDISTURBED.1);
    assert_eq!(
        ws.run("sweep run swept --index 8").stderr.lines().next(),
        Some("error: the plan has no run 8")
    );
    let ended = ws.run("sweep --config small.toml --out swept --set train.gamma=0.5");
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.stderr.lines().next(),
        Some("error: swept/routing-p0.1-seed4 holds a run with other settings")
    );
    assert_eq!(ws.tree("swept"), UNDISTURBED.1, "the plan is as it was");
}

#[test]
fn a_finished_sweep_is_gathered_again_from_its_folder_alone() {
    let ws = Workspace::new();
    ws.lay("swept", &UNDISTURBED.1);
    let said = ws.done("sweep --out swept");
    assert_eq!(said, UNDISTURBED.0);
    assert_eq!(gathered(&ws.tree("swept")), gathered(&UNDISTURBED.1));
}

#[test]
fn only_a_sweep_with_the_oracle_speaks_of_it() {
    assert!(UNDISTURBED.0.contains("\nHighest mean without the oracle's labels: "), "{}", UNDISTURBED.0);
    let said = ws().done(
        "sweep --config small.toml --out swept --set sweep.methods=[\"routing\",\"no_gate\"] \
         --set sweep.oversight_probs=[0.5]",
    );
    assert!(said.contains("\nHighest mean: "), "{said}");
}

#[test]
fn exported_results_draw_the_same_where_no_run_is() {
    let ws = ws();
    ws.lay("swept", &UNDISTURBED.1);
    assert_eq!(ws.done("sweep export swept results.jsonl"), "8 of 8 runs in results.jsonl\n");
    let lines = ws.read("results.jsonl");
    assert_eq!(lines.lines().count(), 8);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["program"], &line["seed"]), (&"ppo-routed".into(), &4.into()));
        assert!(line["config"]["train"]["updates"].is_u64() && line["summary"]["policies"].is_object());
        assert!(line["summary"].get("seconds").is_none() && line["summary"].get("sps").is_none());
    }
    ws.done("sweep plan --config small.toml --out elsewhere");
    assert_eq!(ws.done("sweep import elsewhere results.jsonl"), "results.jsonl: 8 results\n");
    let said = ws.done("sweep collect elsewhere");
    assert!(said.contains("8 of 8 runs, 2.5k environment steps\n"), "{said}");
    assert_eq!(gathered(&ws.tree("elsewhere")), gathered(&UNDISTURBED.1));
    // there is nothing left to run
    assert_eq!(ws.done("sweep --out elsewhere"), said);
    assert_eq!(ws.tree("elsewhere").keys().filter(|path| path.ends_with("config.toml")).count(), 0);
    ws.write("other.jsonl", lines.replacen("\"best\":", "\"best\":1", 1));
    let ended = ws.run("sweep import elsewhere other.jsonl");
    assert_eq!(ended.code, Some(1));
    let error = "error: other.jsonl line 1: routing-p0.1-seed4 has other numbers than there are already: summary.policies.";
    assert!(ended.stderr.starts_with(error), "{}", ended.stderr);
}

#[test]
fn a_run_that_cannot_be_read_fails_by_name_and_keeps_its_files() {
    let ws = ws();
    ws.lay("swept", &UNDISTURBED.1);
    let run = "swept/no_gate-p0.1-seed4";
    let names: Vec<String> = std::fs::read_dir(ws.path(&format!("{run}/checkpoints")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in names {
        ws.write(&format!("{run}/checkpoints/{name}"), "cut");
    }
    std::fs::remove_file(ws.path(&format!("{run}/summary.json"))).unwrap();
    let before = ws.tree(run);
    let ended = ws.run("sweep --config small.toml --out swept --quiet");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("7 of 8 runs"), "{}", ended.stdout);
    let error = format!(
        "error: 1 of 8 runs failed: no_gate-p0.1-seed4: {run} has checkpoints, of which none can be read\n\
         hint: restore one from a copy, or move the folder away to begin the run anew\n"
    );
    assert!(ended.stderr.ends_with(&error), "{}", ended.stderr);
    assert_eq!(ws.tree(run), before);
}
