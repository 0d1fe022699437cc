//! What signals do to a process that trains: the test binary starts itself as that process.
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use experiment::{RunError, RunFolder, install};

/// Set for the process that plays the run: the folder it takes.
const RUN: &str = "EXPERIMENT_TEST_RUN";

/// Not a test of its own: the run that the tests below start and stop.
#[test]
#[ignore = "started by the other tests of this module"]
fn a_run() {
    let run = RunFolder::open(Path::new(&env::var(RUN).unwrap())).unwrap();
    let interrupt = install().unwrap();
    assert!(!install().unwrap().requested());
    println!("started");
    while !interrupt.requested() {
        thread::sleep(Duration::from_millis(5));
    }
    println!("requested");
    if !run.path().join("slow").exists() {
        run.write_text("saved", "").unwrap();
        return;
    }
    thread::sleep(Duration::from_mins(1));
}

struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

fn start(folder: &Path) -> Run {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["signals::a_run", "--exact", "--ignored", "--nocapture"])
        .env(RUN, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut run = Run { child, lines };
    run.wait_for("started");
    run
}

impl Run {
    fn wait_for(&mut self, word: &str) {
        assert!(self.lines.any(|line| line.unwrap().ends_with(word)), "the run ended before it was {word}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

fn folder() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    drop(RunFolder::create(scratch.path()).unwrap());
    scratch
}

#[test]
fn the_first_signal_lets_the_run_end_well() {
    // under `nohup` its children ignore that one, too
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let hangs_up = ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 0);
    for name in ["INT", "TERM"].into_iter().chain(hangs_up.then_some("HUP")) {
        let scratch = folder();
        let mut run = start(scratch.path());
        run.signal(name);
        assert!(run.child.wait().unwrap().success());
        assert!(scratch.path().join("saved").exists());
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let scratch = folder();
    std::fs::write(scratch.path().join("slow"), "").unwrap();
    let mut run = start(scratch.path());
    run.signal("INT");
    run.wait_for("requested");
    run.signal("INT");
    assert_eq!(run.child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_process_that_was_killed_holds_no_lock() {
    let scratch = folder();
    let mut run = start(scratch.path());
    let refused = RunFolder::open(scratch.path()).unwrap_err();
    assert!(matches!(refused, RunError::Locked { pid: Some(pid), .. } if pid == run.child.id()), "{refused}");
    run.signal("KILL");
    run.child.wait().unwrap();
    RunFolder::open(scratch.path()).unwrap();
}
