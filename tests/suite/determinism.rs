//! Same seed, same threads, same run.
use crate::files::{assert_same_run, metrics, newest_checkpoint, timeless_metrics};
use crate::workspace::{Tree, Workspace};

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for settings in
        ["", "--set train.algo=reinforce", "--set ppo.update_epochs=2 --set ppo.num_minibatches=4"]
    {
        let ws = Workspace::new();
        let train = |seed: u64, folder: &str| {
            ws.done(&format!(
                "--threads 2 --seed {seed} --out {folder} --set env.num_envs=12 --set train.num_steps=8 \
                 --set train.updates=3 --set eval.every=2 --set eval.num_envs=6 {settings}"
            ));
            ws.tree(folder)
        };
        let (first, again, other) = (train(5, "first"), train(5, "again"), train(6, "other"));
        assert_same_run(&first, &again);
        assert!(newest_checkpoint(&first).data != newest_checkpoint(&other).data);
        assert_ne!(timeless_metrics(&first), timeless_metrics(&other));
    }
}

/// The work of a run is split as it was when the run began, whatever number of threads goes on with it.
#[test]
fn a_run_that_goes_on_with_other_threads_ends_the_same() {
    let ppo = "--set ppo.update_epochs=2 --set ppo.num_minibatches=3";
    let reinforce = "--set train.algo=reinforce";
    let pairs: Vec<(usize, usize)> =
        (1..=3).flat_map(|from| (1..=3).map(move |to| (from, to))).chain([(4, 1), (4, 2), (1, 4)]).collect();
    // fewer environments than lanes, in training, in evaluation, in both
    let some = &[(1, 3), (3, 1), (3, 2)];
    for (algo, envs, pairs) in [
        (ppo, (2, 6), &pairs[..]),
        (reinforce, (2, 6), &pairs[..]),
        (ppo, (12, 2), some),
        (reinforce, (12, 1), some),
    ] {
        let settings = format!(
            "--seed 5 --set env.num_envs={} --set eval.num_envs={} --set train.num_steps=8 \
             --set train.updates=4 --set checkpoint.every=2 --set checkpoint.keep=0 {algo}",
            envs.0, envs.1
        );
        goes_on_the_same(&Workspace::new(), &settings, pairs, "update-000004");
    }
    let settings = "--seed 5 --set train.epochs=2 --set checkpoint.keep=0";
    goes_on_the_same(&Workspace::for_mnist(), settings, &[(1, 2), (2, 3), (3, 1)], "");
}

/// Trains with the first number of threads of each pair, takes the end away, and goes on with the second.
fn goes_on_the_same(ws: &Workspace, settings: &str, pairs: &[(usize, usize)], last: &str) {
    for (from, to) in pairs {
        let run = format!("t{from}to{to}");
        ws.done(&format!("--threads {from} --out {run} {settings}"));
        let whole = ws.tree(&run);
        let newest = whole.keys().rfind(|path| path.starts_with("checkpoints")).unwrap();
        assert!(newest.to_string_lossy().contains(last));
        std::fs::remove_file(ws.path(&run).join(newest)).unwrap();
        std::fs::remove_file(ws.path(&run).join("summary.json")).unwrap();
        ws.done(&format!("resume {run} --threads {to}"));
        let resumed = ws.tree(&run);
        let what = format!("{from} to {to} threads, {settings}");
        assert!(timeless_metrics(&whole) == timeless_metrics(&resumed), "{what}");
        assert!(newest_checkpoint(&whole) == newest_checkpoint(&resumed), "{what}");
    }
}

/// Numbers of two runs that differ in their last digits only.
fn assert_near(a: &Tree, b: &Tree, tolerance: f64, what: &str) {
    let (a, b) = (metrics(a), metrics(b));
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(&b) {
        assert!(a.keys().eq(b.keys()), "{what}");
        for (name, a) in a.iter().filter(|(name, _)| *name != "charts/SPS") {
            // null stands for what there is none of, such as the length of episodes when none has ended
            let near = match (a.as_f64(), b[name].as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() <= tolerance * a.abs().max(1.0),
                (a, b) => a == b,
            };
            assert!(near, "{what}: {name} is {a} and {}", b[name]);
        }
    }
}

/// Sums over a batch are added up in another order by another number of threads: the README and
/// docs/reliability.md state the tolerance.
#[test]
fn another_number_of_threads_changes_the_last_digits_only() {
    let ppo = "--set env.num_envs=12 --set train.num_steps=8 --set train.updates=4";
    // two updates with the correlation penalty, whose gradient is large and jumps where a correlation changes its sign
    let correlated = "--set train.batch_size=100 --set train.epochs=1";
    for (ws, settings) in [
        (Workspace::new(), format!("{ppo} --set ppo.update_epochs=2 --set ppo.num_minibatches=2")),
        (Workspace::new(), format!("{ppo} --set train.algo=reinforce")),
        (Workspace::for_mnist(), "--set loss.correlation=0".to_owned()),
        (Workspace::for_mnist(), correlated.to_owned()),
        (crate::language::ws(), "--set experiment.methods=[\"base\",\"era\",\"demix\"]".to_owned()),
    ] {
        let train = |threads: usize| {
            ws.done(&format!("--threads {threads} --seed 5 --out t{threads} {settings}"));
            ws.tree(&format!("t{threads}"))
        };
        let one = train(1);
        for threads in [2, 3] {
            assert_near(&one, &train(threads), 1e-4, &format!("{threads} threads, {settings}"));
        }
    }
}
