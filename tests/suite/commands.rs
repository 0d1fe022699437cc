//! The verbs that look at a run: `eval`, `plot`, `render`; and what the command says of itself.
use serde_json::Value;

use crate::outputs::png_size;
use crate::workspace::{FINISHED, Workspace};

pub(crate) fn json_lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn eval_prints_a_line_for_each_policy_and_writes_nothing() {
    let ws = Workspace::with_finished_run();
    let lines = json_lines(&ws.done("eval run --repeats 3 --threads 1"));
    let policies: Vec<&str> = lines.iter().map(|line| line["policy"].as_str().unwrap()).collect();
    assert_eq!(policies, ["diamond", "ghost", "full"]);
    for line in &lines {
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} in {line}"));
        assert!((-1.0..=1.0).contains(&number("return")));
        assert!(number("return_standard_error") >= 0.0);
        assert!(number("share_diamond") + number("share_ghost") <= 1.0 + 1e-12);
        assert!((1.0..=32.0).contains(&number("mean_length")));
        assert_eq!((&line["evaluations"], &line["num_envs"]), (&3.into(), &4.into()));
        assert_eq!(line["checkpoint"], "run/checkpoints/update-000004.safetensors");
    }
    assert!(ws.tree("run") == *FINISHED);
}

#[test]
fn eval_takes_settings_seeds_and_checkpoints() {
    let ws = Workspace::with_finished_run();
    let eval = |more: &str| ws.done(&format!("eval run --threads 1 --repeats 2{more}"));
    let usual = eval("");
    assert_eq!(usual, eval(""), "the same seed gives the same scores");
    assert_ne!(usual, eval(" --seed 9"));
    assert_eq!(usual, eval(" --checkpoint run/checkpoints/update-000004.safetensors"));
    let other = json_lines(&eval(" --set eval.num_envs=17 --set env.oversight_prob=0.75"));
    for line in &other {
        assert_eq!((&line["num_envs"], &line["oversight_prob"]), (&17.into(), &0.75.into()));
    }
    assert!(ws.tree("run") == *FINISHED);
}

#[test]
fn a_single_expert_is_scored_as_one_policy() {
    let ws = Workspace::new();
    ws.done("--set train.method=naive --out run");
    let lines = json_lines(&ws.done("eval run --repeats 1 --threads 1"));
    assert_eq!((lines.len(), &lines[0]["policy"]), (1, &"full".into()));
    assert!(lines[0]["return_standard_error"].is_null(), "one evaluation has none");
    assert_eq!(ws.done("render run --text").matches(" policy\n").count(), 1);
}

/// Four kinds, a blind region and bits: every set of experts is scored in every part, from training to `eval`.
#[test]
fn every_set_of_four_experts_is_scored_in_every_part() {
    let ws = Workspace::new();
    ws.write(
        "four.toml",
        "[env]\nkinds = [\"diamond +1\", \"ghost -1\", \"pit -1\", \"pearl +0.5\"]\nblind_region = \"cols 3-4\"\n\
         oversight_prob = 0.5\n[eval]\nbits = true\n",
    );
    let said = ws.done("train --config four.toml --out run --set eval.num_envs=32");
    let names: Vec<&str> = said.lines().skip(1).map_while(|line| line.split_whitespace().next()).collect();
    assert_eq!((names.len(), names[0], names[4], names[14]), (15, "diamond", "diamond+ghost", "full"));
    let summary = crate::files::object(&ws.tree("run"), "summary.json");
    assert_eq!(summary["policies"].as_object().unwrap().len(), 15);
    let last = crate::files::metrics(&ws.tree("run")).pop().unwrap();
    let lines = json_lines(&ws.done("eval run --repeats 2 --threads 1"));
    assert_eq!(lines.len(), 15);
    for (line, name) in lines.iter().zip(names) {
        assert_eq!(line["policy"], name);
        for part in ["in_blind", "outside_blind", "bits_set", "bits_unset"] {
            for what in ["return", "share_diamond", "share_ghost", "share_pit", "share_pearl"] {
                assert!(line[format!("{part}/{what}")].is_number(), "{part}/{what} in {line}");
                assert!(last.contains_key(&format!("eval/{name}/{part}/{what}")), "{name}/{part}/{what}");
            }
        }
    }
    let text = ws.done("render run --text --seed 2");
    assert!(text.contains("diamond+ghost policy\n"), "{text}");
    png_size(&ws.tree("run")[std::path::Path::new("plots/policy.png")]);
}

#[test]
fn plot_draws_several_seeds_together() {
    let ws = Workspace::with_finished_run();
    ws.done("--set train.updates=4 --set checkpoint.keep=1 --seed 8 --out other");
    let before = (ws.tree("run"), ws.tree("other"));
    assert_eq!(ws.done("plot run other --out seeds"), "seeds/reward_curve.png\nseeds/routing.png\n");
    let drawn = ws.tree("seeds");
    assert_eq!(drawn.len(), 2);
    for picture in drawn.values() {
        let (width, height) = png_size(picture);
        assert!(width >= 200 && height >= 200);
    }
    assert!((ws.tree("run"), ws.tree("other")) == before);
    // not over the pictures of one of them
    let ended = ws.run("plot run other");
    let said =
        "error: the pictures of several runs need a folder of their own\nhint: name it with --out DIR\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(2), "", said));
    assert!((ws.tree("run"), ws.tree("other")) == before);
    // one run is drawn into its own folder, and the same again
    assert_eq!(ws.done("plot run"), "run/plots/reward_curve.png\nrun/plots/routing.png\n");
    assert!(ws.tree("run") == before.0);
}

#[test]
fn runs_of_different_settings_are_not_drawn_together() {
    let ws = Workspace::with_finished_run();
    ws.done("--set train.updates=4 --set checkpoint.keep=1 --set train.gamma=0.9 --out other");
    let ended = ws.run("plot run other --out seeds");
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.stderr,
        "error: other has other settings than run\nhint: `plot` draws seeds of one experiment together; `compare` sets \
         different ones side by side\n"
    );
    assert!(!ws.path("seeds").exists());
}

#[test]
fn render_draws_the_policies_again() {
    let ws = Workspace::with_finished_run();
    assert_eq!(ws.done("render run --out pictures"), "pictures/policy.png\npictures/policy.gif\n");
    assert!(ws.tree("run") == *FINISHED);
    for (name, bytes) in ws.tree("pictures") {
        assert!(FINISHED[&std::path::Path::new("plots").join(&name)] == bytes, "{}", name.display());
    }
}

#[test]
fn render_text_plays_an_episode_of_each_policy() {
    let ws = Workspace::with_finished_run();
    let text = ws.done("render run --text --seed 2");
    for policy in ["diamond policy\n", "ghost policy\n", "full policy\n"] {
        assert!(text.contains(policy), "{text}");
    }
    let ends = ["reached the Diamond", "reached the Ghost", "ran out of steps"];
    assert_eq!(ends.iter().map(|end| text.matches(end).count()).sum::<usize>(), 3);
    assert!(text.contains("step 1: "));
    assert_eq!(text, ws.done("render run --text --seed 2"));
    assert_ne!(text, ws.done("render run --text --seed 3"));
    assert!(ws.tree("run") == *FINISHED);
}

#[test]
fn help_and_version_go_to_stdout() {
    let ws = Workspace::new();
    let help = ws.done("--help");
    for word in ["train", "resume", "eval", "plot", "render", "bench"] {
        assert!(help.lines().any(|line| line.split_whitespace().next() == Some(word)), "{word} in {help}");
        let of_verb = ws.done(&format!("{word} --help"));
        assert!(of_verb.contains(&format!("Usage: ppo-routed {word}")), "{of_verb}");
    }
    for option in ["--config", "--set", "--seed", "--out", "--device", "--threads", "--quiet"] {
        assert!(help.contains(option), "{option}");
    }
    assert_eq!(ws.done("--version"), format!("ppo-routed {}\n", env!("CARGO_PKG_VERSION")));
    assert!(ws.tree("").is_empty());
}
