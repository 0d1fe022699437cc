use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Results, State, Sweep, run_all, run_one, state};
use super::toy::{Toy, planned, resources};
use crate::driver::Bar;
use crate::{RunFolder, UserError};

const TOY: Toy = Toy { dies_at: None };

/// What a sweep came to.
fn sums(sweep: &Sweep<Toy>) -> Vec<(String, u64)> {
    let results = Results::gather(&TOY, sweep).unwrap();
    results.rows.iter().map(|row| (row.planned.name.clone(), row.summary.sum.to_bits())).collect()
}

/// What it comes to when nobody disturbs it.
fn undisturbed() -> Vec<(String, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    let ended = run_all(&TOY, &sweep, 2, resources(), true).unwrap();
    assert!(ended.failed.is_empty() && !ended.interrupted, "{ended:?}");
    let sums = sums(&sweep);
    assert_eq!(sums.len(), 4);
    assert!(sums[0].1 != sums[1].1 && sums[0].1 != sums[2].1);
    sums
}

/// The files of a folder and what is in them, but for locks.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != ".lock" {
                let content = fs::read(&path).unwrap();
                files.insert(path, content);
            }
        }
    }
    files
}

#[test]
fn runs_that_break_anywhere_come_to_the_same_when_they_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    for dies_at in [2, 4, 6, 9] {
        let ended = run_all(&Toy { dies_at: Some(dies_at) }, &sweep, 2, resources(), true).unwrap();
        let names: Vec<&str> = ended.failed.iter().map(|failed| failed.name.as_str()).collect();
        assert_eq!(names, ["sign1-seed3", "sign-1-seed3", "sign1-seed4", "sign-1-seed4"]);
        assert!(ended.failed[0].fault.contains("the toy broke"), "{ended:?}");
        let expected = if dies_at > 4 { State::Interrupted } else { State::Open };
        assert_eq!(state(&TOY, &sweep, &sweep.runs[0]).unwrap(), expected, "{dies_at}");
    }
    assert!(run_all(&TOY, &sweep, 3, resources(), true).unwrap().failed.is_empty());
    assert_eq!(sums(&sweep), undisturbed());
    // what came before the first checkpoint stands aside: from the runs that broke at 2 and at 4
    for name in ["sign1-seed3.old-1", "sign1-seed3.old-2"] {
        assert!(folder.path().join(name).join("metrics.jsonl").exists(), "{name}");
    }
    assert!(!folder.path().join("sign1-seed3.old-3").exists());
    // finished runs are left as they are
    let before = tree(folder.path());
    assert!(run_all(&Toy { dies_at: Some(1) }, &sweep, 1, resources(), true).unwrap().failed.is_empty());
    assert_eq!(tree(folder.path()), before);
}

/// Has `spoil` spoil the folder of the second run, which broke at an update; then that run must fail by its name with
/// nothing changed in its folder, and the others be done.
fn fails_by_name(dies_at: u64, spoil: impl FnOnce(&Path), fault: &str) {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    run_all(&Toy { dies_at: Some(dies_at) }, &sweep, 1, resources(), true).unwrap();
    let spoiled = sweep.run_folder(&sweep.runs[1]);
    spoil(&spoiled);
    let before = tree(&spoiled);
    let ended = run_all(&TOY, &sweep, 2, resources(), true).unwrap();
    assert_eq!(ended.failed.len(), 1, "{ended:?}");
    assert_eq!(ended.failed[0].name, "sign-1-seed3");
    assert!(ended.failed[0].fault.contains(fault), "{ended:?}");
    assert_eq!(tree(&spoiled), before, "nothing may be changed");
    let results = Results::gather(&TOY, &sweep).unwrap();
    assert_eq!((results.rows.len(), results.unfinished), (3, vec![1]));
    assert!(results.unusable[0].fault.starts_with("sign-1-seed3: "), "{:?}", results.unusable);
}

#[test]
fn checkpoints_that_cannot_be_read_are_not_a_run_that_has_not_begun() {
    let cut = |run: &Path| {
        for entry in fs::read_dir(run.join("checkpoints")).unwrap() {
            fs::write(entry.unwrap().path(), b"cut").unwrap();
        }
    };
    fails_by_name(6, cut, "has checkpoints, of which none can be read");
}

#[test]
fn foreign_files_are_left_alone() {
    let notes = |run: &Path| fs::write(run.join("notes.txt"), b"mine").unwrap();
    fails_by_name(2, notes, "has no checkpoint but holds notes.txt");
    let picture = |run: &Path| fs::write(run.join("plots/mine.png"), b"mine").unwrap();
    fails_by_name(2, picture, "has no checkpoint but holds plots/mine.png");
    // a checkpoint that somebody put away under another name
    let renamed = |run: &Path| fs::write(run.join("checkpoints/best.safetensors"), b"mine").unwrap();
    fails_by_name(2, renamed, "has no checkpoint but holds checkpoints/best.safetensors");
    let alone = |run: &Path| {
        fs::remove_dir_all(run).unwrap();
        fs::create_dir(run).unwrap();
        fs::write(run.join("notes.txt"), b"mine").unwrap();
    };
    fails_by_name(2, alone, "has no checkpoint but holds notes.txt");
}

#[test]
fn damaged_files_of_a_run_fail_it_alone() {
    let summary = |run: &Path| fs::write(run.join("summary.json"), b"{\"seed\": 3, \"su").unwrap();
    fails_by_name(6, summary, "summary.json: EOF while parsing");
    let summary = |run: &Path| fs::write(run.join("summary.json"), b"{\"seed\": 9, \"sum\": 1}").unwrap();
    fails_by_name(6, summary, "summary.json: it is of seed 9");
    let summary = |run: &Path| fs::write(run.join("summary.json"), b"{\"seed\": 3, \"sum\": 1e9}").unwrap();
    fails_by_name(6, summary, "summary.json: a sum beyond reason");
    let manifest = |run: &Path| fs::write(run.join("manifest.json"), b"{}").unwrap();
    fails_by_name(6, manifest, "cannot read");
    let config = |run: &Path| fs::write(run.join("config.toml"), b"[train]\nsigh = 1\n").unwrap();
    fails_by_name(6, config, "did you mean `train.sign`?");
}

#[test]
fn a_folder_in_use_is_not_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    let run = &sweep.runs[0];
    run_one(&Toy { dies_at: Some(2) }, &sweep, run, resources(), &mut Bar::new("numbers", true)).unwrap_err();
    let path = sweep.run_folder(run);
    let held = RunFolder::open(&path).unwrap();
    let before = tree(&path);
    let go = || run_one(&TOY, &sweep, run, resources(), &mut Bar::new("numbers", true));
    let error = go().unwrap_err();
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    assert_eq!(tree(&path), before);
    assert!(path.join(".lock").exists());
    drop(held);
    go().unwrap();
    assert!(folder.path().join("sign1-seed3.old-1").exists());
}

#[test]
fn what_a_run_leaves_that_had_written_nothing_is_begun_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    let run = &sweep.runs[0];
    let path = sweep.run_folder(run);
    fs::create_dir_all(path.join("checkpoints")).unwrap();
    fs::write(path.join(".lock"), b"1\n").unwrap();
    run_one(&TOY, &sweep, run, resources(), &mut Bar::new("numbers", true)).unwrap();
    assert!(!folder.path().join("sign1-seed3.old-1").exists());
}

#[test]
fn an_index_beyond_the_plan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = planned(folder.path()).run(4).unwrap_err().downcast::<UserError>().unwrap();
    assert_eq!((error.exit_code, error.message.as_str()), (2, "the plan has no run 4"));
}
