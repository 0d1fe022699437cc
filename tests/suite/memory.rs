//! Memory that cannot be had.
use crate::files::assert_same_run;
use crate::workspace::{TINY, Workspace};

const TRAIN: &str = "train --threads 1 --seed 3 --out run --set train.updates=12 --set checkpoint.every=4";

#[test]
fn too_little_memory_ends_a_run_with_a_line_and_it_goes_on_where_there_is_more() {
    let whole = Workspace::new();
    whole.done(TRAIN);
    let mut failed = 0;
    for kib in [60_000, 80_000, 120_000, 180_000, 260_000] {
        let ws = Workspace::new();
        let (code, stderr) =
            ws.run_limited(&format!("-v {kib}"), &TRAIN.replacen("train", &format!("train {TINY}"), 1));
        if code != Some(0) {
            failed += 1;
            assert_eq!(code, Some(1), "{kib} KiB: {stderr}");
            let line = stderr.lines().next().unwrap();
            assert!(line.starts_with("error: ") || line.starts_with("memory allocation of "), "{stderr}");
        }
        // a folder without a checkpoint is begun anew, whatever else is in it
        if ws.path("run/checkpoints").read_dir().is_ok_and(|mut files| files.next().is_some()) {
            ws.run("resume run");
        } else {
            std::fs::remove_dir_all(ws.path("run")).ok();
            ws.done(TRAIN);
        }
        assert_same_run(&ws.tree("run"), &whole.tree("run"));
    }
    assert!(failed > 0, "all of these were enough");
}
