//! A disk that is full: the run says so, and what was saved before is intact.
use crate::files::assert_same_run;
use crate::workspace::{Tree, Workspace};

/// Runs the binary where no file may grow beyond `blocks` of 512 bytes. The system refuses a write as it does on a
/// full disk, with another word for the reason.
fn run_cramped(ws: &Workspace, blocks: u32, line: &str) -> (Option<i32>, String) {
    ws.run_limited(&format!("-f {blocks}"), line)
}

const TRAIN: &str = "train --threads 1 --seed 3 --out run --set train.updates=12 --set checkpoint.every=4";

fn half_done() -> Workspace {
    let ws = Workspace::new();
    ws.done(TRAIN);
    for gone in
        ["summary.json", "checkpoints/update-000012.safetensors", "checkpoints/update-000008.safetensors"]
    {
        std::fs::remove_file(ws.path(&format!("run/{gone}"))).unwrap();
    }
    ws
}

#[test]
fn no_room_for_a_checkpoint_leaves_the_last_one_and_the_run_goes_on_when_there_is_room() {
    let whole = Workspace::new();
    whole.done(TRAIN);
    let ws = half_done();
    let size = std::fs::metadata(ws.path("run/checkpoints/update-000004.safetensors")).unwrap().len();
    // room for nothing, for a few lines, for less and less missing of a checkpoint
    for bytes in [0, 4096, size / 2, size - 512] {
        let (code, stderr) = run_cramped(&ws, (bytes / 512) as u32, "resume run");
        assert_eq!(code, Some(1), "{bytes} bytes: {stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
        assert!(stderr.contains("cannot write run/"), "{stderr}");
        let tree: Tree = ws.tree("run");
        assert!(
            !tree.keys().any(|path| path.to_string_lossy().contains(".unfinished-")),
            "{:?}",
            tree.keys()
        );
        assert!(ws.path("run/checkpoints/update-000004.safetensors").exists());
    }
    ws.done("resume run");
    assert_same_run(&ws.tree("run"), &whole.tree("run"));
}

#[test]
fn a_run_that_cannot_even_begin_says_so() {
    let ws = Workspace::new();
    let (code, stderr) = run_cramped(&ws, 0, TRAIN);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot write run/"), "{stderr}");
    // and the same command works when there is room
    ws.done(TRAIN);
}
