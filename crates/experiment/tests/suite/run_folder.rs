//! The run folder: who may have it, and what is in it.
use std::fs;

use experiment::{Manifest, RunError, RunFolder, create_folder};
use insta::assert_snapshot;

#[test]
fn a_new_run_has_its_places() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("runs/routed-seed0");
    let run = RunFolder::create(&path).unwrap();
    run.write_text("config.toml", "[env]\n").unwrap();
    run.write_json("manifest.json", &Manifest::new("ppo-routed", "0.1.0", 7, 2, "cpu")).unwrap();
    assert_eq!(run.path(), path);
    assert_eq!(fs::read_to_string(run.config_path()).unwrap(), "[env]\n");
    let manifest = fs::read_to_string(run.manifest_path()).unwrap();
    assert!(manifest.ends_with("}\n"));
    assert_eq!(Manifest::read(&run.manifest_path()).unwrap().seed, 7);
    let error = Manifest::read(&run.config_path()).unwrap_err();
    assert!(matches!(error, RunError::Read { .. }), "{error}");
    // the disk was full before the run had begun
    fs::remove_file(run.manifest_path()).unwrap();
    let error = Manifest::read(&run.manifest_path()).unwrap_err();
    let text = format!("{error}\n{}", error.hint().unwrap()).replace(scratch.path().to_str().unwrap(), "DIR");
    assert_snapshot!(text, @"
    there is no DIR/runs/routed-seed0/manifest.json: the run was cut off before it began
    remove the folder and start the run again
    ");
    assert!(run.checkpoints().is_dir() && run.plots().is_dir());
    assert_eq!(run.metrics_path(), path.join("metrics.jsonl"));
    assert_eq!(run.summary_path(), path.join("summary.json"));
}

#[test]
fn a_folder_in_use_is_not_taken_for_a_new_run() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("notes.txt"), "mine").unwrap();
    let error = RunFolder::create(scratch.path()).unwrap_err();
    let text = format!("{error}\n{}", error.hint().unwrap()).replace(scratch.path().to_str().unwrap(), "DIR");
    assert_snapshot!(text, @"
    the run folder DIR already holds files
    choose another folder with --out or give the run another name; to go on with this run: resume DIR
    ");
    assert_eq!(error.exit_code(), 2);
    // and nothing was put into it
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);

    let error = RunFolder::create(&scratch.path().join("notes.txt")).unwrap_err();
    assert!(matches!(error, RunError::Write { .. }), "{error}");
}

#[test]
fn what_a_process_leaves_that_dies_at_once_is_no_obstacle() {
    let scratch = tempfile::tempdir().unwrap();
    drop(RunFolder::create(scratch.path()).unwrap());
    drop(RunFolder::create(scratch.path()).unwrap());
    fs::write(scratch.path().join("checkpoints/update-000001.safetensors"), "x").unwrap();
    assert!(matches!(RunFolder::create(scratch.path()), Err(RunError::FolderExists { .. })));
}

#[test]
fn only_one_holds_a_run() {
    let scratch = tempfile::tempdir().unwrap();
    let run = RunFolder::create(scratch.path()).unwrap();
    for second in [RunFolder::create(scratch.path()), RunFolder::open(scratch.path())] {
        let error = second.unwrap_err();
        let text = error.to_string().replace(scratch.path().to_str().unwrap(), "DIR");
        assert_eq!(
            text,
            format!("the run folder DIR is in use by another process (id {})", std::process::id())
        );
        assert_eq!(error.exit_code(), 2);
    }
    assert!(RunFolder::view(scratch.path()).is_ok());
    drop(run);
    RunFolder::open(scratch.path()).unwrap();
}

#[test]
fn only_a_run_is_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let faults = [scratch.path().join("none"), file, scratch.path().to_owned()].map(|path| {
        let error = RunFolder::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string().replace(scratch.path().to_str().unwrap(), "DIR")
    });
    assert_snapshot!(faults.join("\n"), @"
    DIR/none is not a run folder: there is no such folder
    DIR/file is not a run folder: it is a file
    DIR is not a run folder: it has no config.toml
    ");
    assert!(!scratch.path().join(".lock").exists());
    // a run that was copied without its hidden files
    fs::write(scratch.path().join("config.toml"), "").unwrap();
    RunFolder::open(scratch.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    create_folder(&scratch.path().join("runs/plots")).unwrap();
    create_folder(&scratch.path().join("runs/plots")).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    let error = create_folder(&scratch.path().join("file/plots")).unwrap_err();
    assert!(error.to_string().ends_with("file/plots"), "{error}");
}

#[test]
fn opening_clears_away_unfinished_writes() {
    let scratch = tempfile::tempdir().unwrap();
    drop(RunFolder::create(scratch.path()).unwrap());
    let left = [".unfinished-a1b2", "checkpoints/.unfinished-c3d4", "parts/.unfinished-e5f6"];
    let left = left.map(|name| scratch.path().join(name));
    fs::create_dir(scratch.path().join("parts")).unwrap();
    for path in &left {
        fs::write(path, "half").unwrap();
    }
    RunFolder::view(scratch.path()).unwrap();
    assert!(left.iter().all(|path| path.exists()));
    RunFolder::open(scratch.path()).unwrap();
    assert!(!left.iter().any(|path| path.exists()));
}

#[test]
fn a_run_that_was_cut_off_while_it_wrote_its_first_file_can_be_started_again() {
    let scratch = tempfile::tempdir().unwrap();
    drop(RunFolder::create(scratch.path()).unwrap());
    let left = scratch.path().join(".unfinished-a1b2");
    fs::write(&left, "half").unwrap();
    RunFolder::create(scratch.path()).unwrap();
    assert!(!left.exists());
}
