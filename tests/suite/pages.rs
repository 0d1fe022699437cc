//! The commands of the pages, run in their order in a folder with the repository's configs: `cases/pages.toml` says how each
//! is shortened.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::language::ws;
use crate::workspace::{TINY, TINY_LM, TINY_MNIST};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    command: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A part of the commands that it is for.
    #[serde(default)]
    has: String,
    /// The whole of the command that it is for, in place of a part.
    #[serde(default)]
    is: String,
    /// What is added; `PPO`, `MNIST` and `LM` stand for the tiny settings of that program.
    #[serde(default)]
    add: String,
    /// Why it is not run.
    skip: Option<String>,
    /// How it ends.
    #[serde(default)]
    code: i32,
}

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The commands in the `sh` blocks of a page, without what is said of them.
fn commands(page: &str) -> Vec<String> {
    let (mut inside, mut commands) = (false, Vec::new());
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.starts_with('#') && !line.is_empty() => {
                commands.push(line.split("  #").next().unwrap().trim_end().to_owned());
            }
            _ => {}
        }
    }
    commands
}

/// A `cargo` for `run --release -p NAME [-- …]` that runs the binaries under test.
fn shim() -> String {
    let run = |name: &str, binary: &Path| format!("{name}) exec {} \"$@\" ;;\n", binary.display());
    let binaries = [
        run("ppo-routed", assert_cmd::cargo::cargo_bin!("ppo-routed-under-test")),
        run("mnist-routed", assert_cmd::cargo::cargo_bin!("mnist-routed-under-test")),
        run("lm-routed", assert_cmd::cargo::cargo_bin!("lm-routed-under-test")),
    ];
    let binaries = binaries.concat();
    format!("#!/bin/sh\nname=$4; shift 4; [ \"$1\" != -- ] || shift\ncase $name in\n{binaries}esac\nexit 9\n")
}

#[test]
fn every_command_of_the_pages_does_what_it_should() {
    use std::os::unix::fs::PermissionsExt as _;

    let cases: Cases = toml::from_str(include_str!("../cases/pages.toml")).unwrap();
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for page in ["README.md", "docs/running.md", "docs/language-models.md", "docs/oversight.md"] {
        let ws = ws();
        fs::create_dir(ws.path("bin")).unwrap();
        ws.write("bin/cargo", shim());
        fs::set_permissions(ws.path("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(format!("{REPOSITORY}/configs"), ws.path("configs")).unwrap();
        ws.write(
            "mine.txt",
            "The captain went to the ship.\n\nA house by the sea.\n\nA red ball.\n\n".repeat(100),
        );
        let path = format!("{}:{}", ws.path("bin").display(), std::env::var("PATH").unwrap());
        for line in commands(&fs::read_to_string(format!("{REPOSITORY}/{page}")).unwrap()) {
            let fits =
                |case: &&Case| if case.is.is_empty() { line.contains(&case.has) } else { line == case.is };
            let case = cases.command.iter().find(fits).unwrap();
            if case.skip.is_some() {
                continue;
            }
            let tiny = case.add.replace("PPO", TINY).replace("MNIST", TINY_MNIST).replace("LM", TINY_LM);
            // `data.train` is what the page says, or what the case adds
            let tiny =
                tiny.replace("--set data.train=texts.jsonl --set data.validation", "--set data.validation");
            let words = tiny.split_whitespace().map(|word| match word {
                "--" | "--set" => word.to_owned(),
                word => format!("'{word}'"),
            });
            let added = words.collect::<Vec<_>>().join(" ");
            let command = match line.split_once(" > ") {
                Some((command, file)) => format!("{command} {added} > {file}"),
                None => format!("{line} {added}"),
            };
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(ws.path(""))
                .env("PATH", &path)
                .env("HOME", ws.path(""))
                .env_remove("XDG_CACHE_HOME")
                .env_remove("RUST_LOG")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            ran += 1;
            if output.status.code() != Some(case.code) {
                let said = String::from_utf8_lossy(&output.stderr);
                wrong.push(format!("{page}: {line}\n  {:?}: {said}", output.status.code()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 50, "only {ran} commands were found");
}
