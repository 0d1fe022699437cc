//! Same seed, same threads, same run.
use crate::files::{assert_same_run, newest_checkpoint, timeless_metrics};
use crate::place::Place;

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for settings in
        ["", "--set train.algo=reinforce", "--set ppo.update_epochs=2 --set ppo.num_minibatches=4"]
    {
        let place = Place::new();
        let train = |seed: u64, folder: &str| {
            place.done(&format!(
                "--threads 2 --seed {seed} --out {folder} --set env.num_envs=12 --set train.num_steps=8 \
                 --set train.updates=3 --set eval.every=2 --set eval.num_envs=6 {settings}"
            ));
            place.tree(folder)
        };
        let (first, again, other) = (train(5, "first"), train(5, "again"), train(6, "other"));
        assert_same_run(&first, &again);
        assert!(newest_checkpoint(&first).data != newest_checkpoint(&other).data);
        assert_ne!(timeless_metrics(&first), timeless_metrics(&other));
    }
}
