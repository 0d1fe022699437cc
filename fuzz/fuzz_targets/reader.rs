//! Feeds one reader, which `TARGET` in the environment names, with what libFuzzer makes of its corpus. The good files
//! that the reader comes with are written into the folder `SAMPLES` first.
#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use readers::{TARGETS, Target};

static READER: OnceLock<(Target, PathBuf)> = OnceLock::new();

fn prepared() -> (Target, PathBuf) {
    let name = std::env::var("TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = *target.unwrap_or_else(|| panic!("TARGET must be one of {}", names.join(", ")));
    // in memory where there is a place for it; whoever stops the fuzzer leaves the folder
    let folder = tempfile::Builder::new().prefix("signalbox-fuzz-").tempdir_in("/dev/shm");
    let folder = folder.or_else(|_| tempfile::tempdir()).expect("a temporary folder").keep();
    if let Some(corpus) = std::env::var_os("SAMPLES").map(PathBuf::from) {
        for (number, sample) in (target.samples)(&folder).iter().enumerate() {
            std::fs::write(corpus.join(format!("sample-{number}")), sample).expect("a place for samples");
        }
    }
    let path = (target.prepare)(&folder);
    (target, path)
}

fuzz_target!(
    init: {
        // a panic that a reader catches is none; libFuzzer's own hook would end the process before that
        drop(std::panic::take_hook());
        READER.get_or_init(prepared);
    },
    |input: &[u8]| {
        let (target, path) = READER.get_or_init(prepared);
        std::fs::write(path, input).expect("a place for the input");
        match catch_unwind(AssertUnwindSafe(|| (target.read)(path))) {
            Ok(Err(words)) if words.trim().is_empty() => {
                eprintln!("{}: an error without words", target.name);
                std::process::abort();
            }
            Ok(_) => {}
            Err(_) => std::process::abort(),
        }
    }
);
