//! `bench`: one line of JSON.
use serde_json::{Map, Value};

use crate::workspace::Workspace;

#[test]
fn bench_prints_one_line_with_the_keys_of_the_contract() {
    const NUMBERS: [&str; 7] =
        ["env_only_sps", "gemm_gflops", "learn_s", "rollout_s", "sps_max", "sps_median", "sps_min"];
    let ws = Workspace::new();
    for algo in ["ppo", "reinforce"] {
        let stdout = ws.done(&format!(
            "bench --algo {algo} --threads 1 --repetitions 5 --updates 1 --set env.num_envs=8 --set train.num_steps=8"
        ));
        assert_eq!(stdout.lines().count(), 1);
        let line: Map<String, Value> = serde_json::from_str(&stdout).unwrap();
        let mut keys: Vec<&str> = line.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut expected = [&["algo", "device", "threads", "work"][..], &NUMBERS].concat();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(
            (&line["algo"], &line["device"], &line["threads"]),
            (&algo.into(), &"cpu".into(), &1.into())
        );
        let number = |key: &str| line[key].as_f64().unwrap();
        assert!(NUMBERS.iter().all(|key| number(key) > 0.0), "{stdout}");
        assert!(number("sps_min") <= number("sps_median") && number("sps_median") <= number("sps_max"));
    }
    assert!(ws.tree("").is_empty(), "it writes nothing");
}

#[test]
fn bench_takes_the_algorithm_from_the_config() {
    let ws = Workspace::new();
    ws.write("r.toml", "[train]\nalgo = \"reinforce\"\nnum_steps = 8\n[env]\nnum_envs = 8\n");
    for (given, algo) in [("", "reinforce"), (" --algo ppo", "ppo"), (" --set train.algo=ppo", "ppo")] {
        let stdout =
            ws.done(&format!("bench --config r.toml --threads 1 --repetitions 5 --updates 1{given}"));
        let line: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(line["algo"], algo, "{given}");
    }
}

#[test]
fn bench_makes_steps_without_a_clock() {
    let ws = Workspace::new();
    let small = "--threads 1 --set env.num_envs=8 --set train.num_steps=8";
    let stdout = ws.done(&format!("bench --untimed 2 {small}"));
    assert_eq!(stdout, "{\"untimed\":2,\"work\":\"ppo-routed training step\"}\n");
    let refused = ws.run(&format!("bench --untimed 2 --repetitions 5 {small}"));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--repetitions"), "{}", refused.stderr);
}
