//! Runs that are stopped on the way, and go on as if nothing had happened.
use std::process::Command;
use std::sync::LazyLock;

use candle_core::Device;
use experiment::Interrupt;

use crate::files::{assert_same_run, metrics, object};
use crate::kills::{Kills, newest_update};
use crate::workspace::{FINISHED, Running, Tree, Workspace};

/// Long enough to be caught in the middle.
const TRAIN: &str = "train --seed 1 --out run --set train.updates=400 --set eval.every=40 --set checkpoint.every=8 \
     --set env.num_envs=4 --set train.num_steps=4 --set eval.num_envs=1";

/// The run when nobody stops it.
static UNDISTURBED: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::new();
    ws.done(TRAIN);
    ws.tree("run")
});

fn signal(running: &Running, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &running.id().to_string()]).status().unwrap().success());
}

fn stopped_and_resumed(name: &str) {
    let ws = Workspace::new();
    let mut running = ws.start(TRAIN);
    running.wait_until(|| newest_update(&ws) >= 60);
    signal(&running, name);
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "stopping after the work in hand; once more to stop at once");
    assert_eq!(lines[2..], ["hint: go on with: ppo-routed resume run"]);
    let update: u64 = lines[1]
        .strip_prefix("error: interrupted after update ")
        .and_then(|rest| rest.strip_suffix(" of 400; saved"))
        .unwrap_or_else(|| panic!("{lines:?}"))
        .parse()
        .unwrap();
    assert!((60..400).contains(&update));
    let tree = ws.tree("run");
    assert_eq!(newest_update(&ws), update);
    assert_eq!(metrics(&tree).pop().unwrap()["update"], update);
    assert!(object(&tree, "manifest.json")["finished"].is_null());
    assert!(!ws.path("run/summary.json").exists(), "it is not done");

    let said = ws.done("resume run");
    assert!(said.contains("run/plots/reward_curve.png"), "{said}");
    let tree = ws.tree("run");
    assert_same_run(&tree, &UNDISTURBED);
    let summary = |tree| object(tree, "summary.json");
    assert_eq!(summary(&tree)["policies"], summary(&UNDISTURBED)["policies"]);
    let manifest = object(&tree, "manifest.json");
    assert_eq!(manifest["resumed"].as_array().unwrap().len(), 1);
    assert!(manifest["finished"].is_string());
    assert_eq!(ws.run("resume run").code, Some(2), "it is done now");
}

#[test]
fn ctrl_c_stops_a_run_that_can_be_resumed() {
    stopped_and_resumed("INT");
}

#[test]
fn a_request_to_terminate_does_the_same() {
    stopped_and_resumed("TERM");
}

#[test]
fn a_terminal_that_is_closed_does_the_same() {
    // under `nohup` the runs ignore it, too
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    if ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 0) {
        stopped_and_resumed("HUP");
    }
}

#[test]
fn one_that_is_to_be_ignored_is() {
    let ws = Workspace::new();
    let line = format!("trap '' HUP; exec \"$0\" {TRAIN} --threads 1 --quiet");
    let binary = assert_cmd::cargo::cargo_bin!("ppo-routed-under-test");
    let mut child =
        Command::new("sh").args(["-c", &line]).arg(binary).current_dir(ws.path(".")).spawn().unwrap();
    while newest_update(&ws) < 8 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let hangup = || Command::new("kill").args(["-s", "HUP", &child.id().to_string()]).status().unwrap();
    for _ in 0..3 {
        hangup();
    }
    let before = newest_update(&ws);
    while newest_update(&ws) < before + 16 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let went_on = child.try_wait().unwrap().is_none() || ws.path("run/summary.json").exists();
    child.kill().ok();
    child.wait().unwrap();
    assert!(went_on, "it was stopped after update {before}");
}

#[test]
fn the_second_signal_says_what_is_on_the_disk() {
    let ws = Workspace::new();
    let mut running = ws.start(&format!("{TRAIN} --set ppo.update_epochs=1000000"));
    // no update of it ends while it is watched
    running.wait_until(|| ws.path("run/snapshots.jsonl").exists());
    let id = running.id().to_string();
    running.wait_until(|| {
        Command::new("kill").args(["-s", "INT", &id]).status().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        false
    });
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let stopping = "stopping after the work in hand; once more to stop at once";
    assert_eq!(lines, [stopping, "stopped at once; run has no checkpoint"]);
}

#[test]
fn a_run_that_is_killed_at_thirty_moments_ends_as_it_should() {
    let ws = Workspace::new();
    Kills { train: TRAIN, times: 30, apart: 0, total: 400 }.survive(&ws);
    assert_same_run(&ws.tree("run"), &UNDISTURBED);
}

#[test]
fn lines_torn_in_writing_are_written_again() {
    let ws = Workspace::with_finished_run();
    std::fs::remove_file(ws.path("run/summary.json")).unwrap();
    for file in ["run/metrics.jsonl", "run/snapshots.jsonl"] {
        ws.write(file, format!("{}{{\"step\":320,\"upd", ws.read(file)));
    }
    let ended = ws.run("resume run");
    assert_eq!(ended.code, Some(0));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(
        lines,
        ["warning: run/metrics.jsonl: dropped the last line, which was cut off after 16 bytes"]
    );
    assert_same_run(&ws.tree("run"), &FINISHED);
    assert_eq!(
        object(&ws.tree("run"), "summary.json")["policies"],
        object(&FINISHED, "summary.json")["policies"]
    );
}

#[test]
fn a_folder_is_for_one_process_at_a_time() {
    let ws = Workspace::new();
    let mut running = ws.start(TRAIN);
    running.wait_until(|| newest_update(&ws) > 0);
    for (line, refusal) in [
        (
            "resume run",
            format!("error: the run folder run is in use by another process (id {})", running.id()),
        ),
        ("train --out run", "error: the run folder run already holds files".to_owned()),
    ] {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(2));
        assert_eq!(ended.stderr.lines().next(), Some(refusal.as_str()));
    }
    // looking is allowed
    assert_eq!(ws.run("eval run --repeats 1 --threads 1").code, Some(0));
    signal(&running, "INT");
    assert_eq!(running.end().code, Some(1));
}

#[test]
fn an_update_of_either_algorithm_ends_before_its_next_step() {
    for algo in ["ppo", "reinforce"] {
        let set = [format!("train.algo={algo}"), "env.num_envs=4".to_owned(), "train.num_steps=4".to_owned()];
        let config = experiment::load::<ppo_routed::Config>(None, &set).unwrap();
        let mut trainer = ppo_routed::Trainer::new(&config, 0, 1, &Device::Cpu).unwrap();
        let interrupt = Interrupt::default();
        trainer.listen(&interrupt);
        interrupt.request();
        trainer.update().unwrap();
        interrupt.insist();
        assert!(matches!(trainer.update(), Err(ppo_routed::Error::CutOff)), "{algo}");
        assert_eq!(trainer.updates_done(), 1);
    }
}
