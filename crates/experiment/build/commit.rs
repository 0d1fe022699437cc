//! Build script of the binaries: hands them the commit that is checked out, as `SIGNALBOX_COMMIT`, which can also be
//! given from outside. Without a clone there is none.
#![expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::env;
use std::path::Path;
use std::process::Command;

const NAME: &str = "SIGNALBOX_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={NAME}");
    // HEAD moves with a checkout, its log with a commit
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = env::var(NAME).ok().or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    if let Some(commit) = commit {
        println!("cargo::rustc-env={NAME}={commit}");
    }
}

/// What git prints, in one line; nothing where it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|line| !line.is_empty())
}
