//! Stdout and stderr that take nothing: a full disk, a pipe whose reader has left. There is no panic, and the exit
//! code still says how it went.
use std::fs::File;
use std::process::{Command, Stdio};

use crate::workspace::Workspace;

/// A pipe that nobody reads.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk without room.
fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The exit code and what went to the other of the two streams.
fn ended(program: &str, line: &str, stdout: Option<Stdio>, stderr: Option<Stdio>) -> (Option<i32>, String) {
    let ws = Workspace::new();
    let output = Command::new(program)
        .args(line.split_whitespace())
        .current_dir(ws.path("."))
        .env_remove("RUST_LOG")
        .stdout(stdout.unwrap_or_else(Stdio::piped))
        .stderr(stderr.unwrap_or_else(Stdio::piped))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn programs() -> [&'static str; 3] {
    [
        assert_cmd::cargo::cargo_bin!("ppo-routed-under-test"),
        assert_cmd::cargo::cargo_bin!("mnist-routed-under-test"),
        assert_cmd::cargo::cargo_bin!("lm-routed-under-test"),
    ]
    .map(|path| path.to_str().unwrap())
}

#[test]
fn an_error_that_nobody_can_read_is_an_exit_code() {
    for program in programs() {
        for stderr in [full_disk, broken_pipe] {
            for line in ["--nonsense", "eval nothing-there", "--out /dev/null --set nothing.there=1"] {
                let (code, said) = ended(program, line, None, Some(stderr()));
                assert_eq!((code, said.as_str()), (Some(2), ""), "{program} {line}");
            }
        }
    }
}

#[test]
fn a_reader_that_has_left_is_no_failure_and_a_full_disk_is_one() {
    let full = "error: cannot write to stdout: No space left on device (os error 28)\n";
    for program in programs() {
        for line in ["--help", "--version"] {
            assert_eq!(
                ended(program, line, Some(broken_pipe()), None),
                (Some(0), String::new()),
                "{program}"
            );
            assert_eq!(
                ended(program, line, Some(full_disk()), None),
                (Some(1), full.to_owned()),
                "{program}"
            );
        }
    }
}

#[test]
fn data_and_warnings_that_nobody_can_read() {
    let ws = Workspace::with_finished_run();
    let run = ws.path("run");
    let line = format!("render {} --text", run.display());
    let ppo = programs()[0];
    assert_eq!(ended(ppo, &line, Some(broken_pipe()), None), (Some(0), String::new()));
    let (code, said) = ended(ppo, &line, Some(full_disk()), None);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: cannot write to stdout: "), "{said}");
    // each damaged checkpoint is named in a warning
    let newest = run.join("checkpoints/update-000005.safetensors");
    std::fs::write(newest, "damaged").unwrap();
    let (code, said) = ended(ppo, &format!("{line} --seed 1"), None, Some(full_disk()));
    assert_eq!(code, Some(0));
    assert!(!said.is_empty());
}
