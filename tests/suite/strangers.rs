//! Run folders that are moved, deleted or exchanged while a run is at work in them, and those of strangers.
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::kills::newest_update;
use crate::language;
use crate::workspace::{Running, Tree, Workspace};

/// Long enough to be met at work; never done.
const TRAIN: &str = "train --seed 1 --out run --set train.updates=1000000 --set eval.every=50 --set checkpoint.every=4 \
     --set env.num_envs=4 --set train.num_steps=4 --set eval.num_envs=1";

/// The command has ended with one error and one hint: one of these is not what it was.
fn assert_stopped(running: Running, what: &[&str]) {
    let ended = running.end();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((ended.code, ended.stdout.as_str(), lines.len()), (Some(1), "", 2), "{lines:?}");
    let end = " was moved, deleted or replaced while the run was at work";
    let error = lines[0].strip_prefix("error: ").and_then(|line| line.strip_suffix(end));
    assert!(error.is_some_and(|error| what.contains(&error)), "{lines:?}");
    assert!(lines[1].starts_with("hint: "), "{lines:?}");
}

fn at_work(ws: &Workspace) -> Running {
    let mut running = ws.start(TRAIN);
    running.wait_until(|| newest_update(ws) >= 8);
    running
}

#[test]
fn a_folder_deleted_under_its_run_is_not_made_anew() {
    let ws = Workspace::new();
    let running = at_work(&ws);
    // what is deleted one by one may get a new file in between
    while fs::remove_dir_all(ws.path("run")).is_err() {}
    // its lock may be gone before it
    assert_stopped(running, &["the run folder run", "the lock of the run folder run"]);
    assert!(!ws.path("run").exists());
}

#[test]
fn a_folder_renamed_under_its_run_is_left_as_it_was_and_goes_on_elsewhere() {
    let ws = Workspace::new();
    let mut running = at_work(&ws);
    fs::rename(ws.path("run"), ws.path("moved")).unwrap();
    // another run under the name keeps its own files
    let other: Tree = Workspace::with_finished_run().tree("run");
    ws.lay("run", &other);
    running.wait_until(|| false);
    assert_stopped(running, &["the run folder run"]);
    assert!(ws.tree("run") == other, "the other run is not what it was");
    let newest = |ws: &Workspace| fs::read_dir(ws.path("moved/checkpoints")).unwrap().count();
    assert!(newest(&ws) > 0);
    let mut running = ws.start("resume moved");
    let metrics = || fs::metadata(ws.path("moved/metrics.jsonl")).unwrap().len();
    let length = metrics();
    running.wait_until(|| metrics() > length);
    assert!(running.kill(), "it does not go on");
}

#[test]
fn a_run_whose_lock_is_taken_away_stops() {
    for again in [false, true] {
        let ws = Workspace::new();
        let running = at_work(&ws);
        fs::remove_file(ws.path("run/.lock")).unwrap();
        if again {
            fs::write(ws.path("run/.lock"), "").unwrap();
        }
        assert_stopped(running, &["the lock of the run folder run"]);
    }
}

/// The command ends before anything is read or written, as `what` at `path` has no place in a run folder.
fn assert_strange(ws: &Workspace, line: &str, path: &str, what: &str) {
    let ended = ws.run(line);
    let error = format!("error: {path} is {what}, which no run leaves\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}: {}", ended.stderr);
    assert!(ended.stderr.starts_with(&error), "{line}: {}", ended.stderr);
}

#[test]
fn a_linked_run_folder_is_neither_begun_nor_gone_on_with() {
    let ws = Workspace::with_finished_run();
    fs::remove_file(ws.path("run/summary.json")).unwrap();
    let before = ws.tree("run");
    symlink("run", ws.path("link")).unwrap();
    fs::create_dir(ws.path("empty")).unwrap();
    symlink("empty", ws.path("fresh")).unwrap();
    for line in ["resume link", "resume link/", "plot link", "eval link --repeats 1 --threads 1"] {
        let name = line.split(' ').nth(1).unwrap();
        assert_strange(&ws, line, name.trim_end_matches('/'), "a symbolic link");
    }
    assert_strange(&ws, "train --out fresh", "fresh", "a symbolic link");
    assert!(ws.tree("run") == before && ws.tree("empty").is_empty());
}

#[test]
fn a_run_of_a_sweep_behind_a_link_fails_by_its_name() {
    let ws = Workspace::new();
    let settings = "--set train.updates=1 --set env.num_envs=4 --set train.num_steps=4 --set eval.num_envs=1";
    ws.done(&format!("sweep plan {settings} --set sweep.seeds=[0] --out sweep"));
    let plan = ws.read("sweep/plan.jsonl");
    let name = plan.split("\"name\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    fs::create_dir(ws.path("mine")).unwrap();
    ws.write("mine/notes.txt", "mine");
    symlink("../mine", ws.path("sweep").join(&name)).unwrap();
    for target in ["notes.txt", "config.toml"] {
        if target == "config.toml" {
            fs::remove_file(ws.path("mine/notes.txt")).unwrap();
        }
        let before = ws.tree("mine");
        let ended = ws.run("sweep run sweep --index 0");
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(&name), "{}", ended.stderr);
        assert!(ws.tree("mine") == before, "{target}");
    }
}

#[test]
fn what_leads_out_of_a_run_folder_is_refused() {
    for name in
        [".lock", "metrics.jsonl", "snapshots.jsonl", "checkpoints", "plots", "config.toml", "tensorboard"]
    {
        let ws = Workspace::with_finished_run();
        fs::remove_file(ws.path("run/summary.json")).unwrap();
        fs::create_dir(ws.path("outside")).unwrap();
        let (inside, outside) = (ws.path("run").join(name), ws.path("outside").join(name));
        if inside.exists() {
            fs::rename(&inside, &outside).unwrap();
        } else {
            fs::write(&outside, "mine\n").unwrap();
        }
        symlink(&outside, &inside).unwrap();
        let before = ws.tree("outside");
        for line in ["resume run", "plot run", "eval run --repeats 1 --threads 1"] {
            assert_strange(&ws, line, &format!("run/{name}"), "a symbolic link");
        }
        assert!(ws.tree("outside") == before, "{name}");
    }
}

fn make_pipe(ws: &Workspace, name: &str) {
    fs::remove_file(ws.path(name)).ok();
    assert!(Command::new("mkfifo").arg(ws.path(name)).status().unwrap().success());
}

#[test]
fn a_pipe_in_place_of_a_file_keeps_nobody_waiting() {
    for name in ["metrics.jsonl", "snapshots.jsonl", "config.toml", "manifest.json"] {
        let ws = Workspace::with_finished_run();
        fs::remove_file(ws.path("run/summary.json")).unwrap();
        make_pipe(&ws, &format!("run/{name}"));
        for line in ["resume run", "plot run", "render run", "eval run --repeats 1 --threads 1"] {
            assert_strange(&ws, line, &format!("run/{name}"), "a pipe, a socket or a device");
        }
        ws.done("list .");
    }
    let ws = Workspace::with_finished_run();
    let checkpoint = "run/checkpoints/update-000004.safetensors";
    make_pipe(&ws, checkpoint);
    let ended = ws.run("eval run --repeats 1 --threads 1");
    assert_eq!(ended.code, Some(1));
    let warning = format!("warning: skipped: cannot read {checkpoint}: it is no regular file\n");
    assert!(ended.stderr.starts_with(&warning), "{}", ended.stderr);
    make_pipe(&ws, "pipe");
    for (line, words) in [
        ("--config pipe --out new", "cannot read the config pipe: it is no regular file"),
        ("sweep collect pipe", "pipe"),
        ("sweep import sweep pipe", "sweep has no plan.jsonl"),
    ] {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{line}: {}", ended.stderr);
    }
    let ws = language::ws();
    make_pipe(&ws, "texts.jsonl");
    let ended = ws.run("era --out run");
    assert!(ended.stderr.contains("texts.jsonl: it is no regular file"), "{}", ended.stderr);
}

#[test]
fn no_run_makes_a_cache_elsewhere_unless_it_is_trusted() {
    let ws = language::ws();
    ws.done("era --seed 3 --out run --threads 1");
    fs::remove_dir_all(ws.path("cache")).unwrap();
    fs::remove_file(ws.path("run/summary.json")).unwrap();
    let table = ws.done("eval run --threads 1 --trust");
    assert!(ws.path("cache").exists());
    fs::remove_dir_all(ws.path("cache")).unwrap();
    let warning = "warning: the run's config.toml has the texts kept in cache, which is not written without --trust: \
         they are tokenised each time\n";
    for (line, code) in [
        ("eval run --threads 1", 0),
        ("generate run --threads 1 --length 2", 0),
        ("resume run --threads 1", 0),
        ("resume run --threads 1", 2),
    ] {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(code), "{line}: {}", ended.stderr);
        // a text is continued without the texts
        let needs_texts = code == 0 && !line.starts_with("generate");
        assert_eq!(ended.stderr.contains(warning), needs_texts, "{line}: {}", ended.stderr);
        assert!(!ws.path("cache").exists(), "{line}");
        assert!(!line.starts_with("eval") || ended.stdout == table, "{line}: {}", ended.stdout);
    }
    ws.done("eval run --threads 1 --set data.cache=other");
    assert!(ws.path("other").exists());
}
