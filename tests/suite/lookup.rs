//! The verbs that answer questions before and after runs: `config`, `list`, `completions`.
use crate::files::timeless_metrics;
use crate::workspace::Workspace;

#[test]
fn the_printed_config_is_the_default_run() {
    for ws in [Workspace::new(), Workspace::for_mnist()] {
        let printed = ws.done("config");
        ws.write("settings.toml", &printed);
        assert_eq!(ws.done("config --of settings.toml"), printed);
        assert_eq!(ws.done("config --config settings.toml"), printed);
        ws.done("train --out plain --quiet");
        ws.done("train --config settings.toml --out printed --quiet");
        assert_eq!(timeless_metrics(&ws.tree("plain")), timeless_metrics(&ws.tree("printed")));
        // a comment above every key, and its type or values right above it
        let lines: Vec<&str> = printed.lines().collect();
        for (above, line) in lines.iter().zip(&lines[1..]).filter(|(_, line)| line.contains(" = ")) {
            assert!(above.starts_with("# "), "{line}");
        }
    }
}

#[test]
fn every_setting_of_the_language_models_is_explained() {
    let ws = Workspace::for_lm("");
    let printed = ws.done("config");
    ws.write("settings.toml", &printed);
    assert_eq!(ws.done("config --of settings.toml"), printed);
    let lines: Vec<&str> = printed.lines().collect();
    for pair in lines.windows(3).filter(|pair| pair[2].contains(" = ")) {
        assert!(pair[0].starts_with("# ") && pair[1].starts_with("# "), "{}", pair[2]);
    }
}

#[test]
fn config_takes_settings_and_names_what_may_be_chosen() {
    let ws = Workspace::new();
    let printed = ws.done("config --set train.algo=reinforce");
    for line in ["algo = \"reinforce\"", "updates = 20000", "# one of: ppo, reinforce"] {
        assert!(printed.lines().any(|other| other == line), "{line}");
    }
    let ended = ws.run("config --seed 3");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
}

#[test]
fn differences_are_those_of_the_settings_alone() {
    let ws = Workspace::new();
    ws.write("one.toml", "[train]\nupdates = 7\n");
    ws.write("other.toml", "[train]\nmethod = \"naive\"\nupdates = 7\n");
    let lines = ws.done("config --diff one.toml other.toml");
    assert_eq!(lines, "loss.ent_coef = 0.2 → 0.01\ntrain.method = \"routing\" → \"naive\"\n");
    assert_eq!(ws.done("config --diff one.toml one.toml"), "");
}

#[test]
fn the_list_has_each_run_with_its_state_and_what_differs() {
    let ws = Workspace::new();
    ws.done("train --out runs/a --quiet");
    ws.done("train --out runs/b --seed 4 --set train.method=naive --quiet");
    ws.done("train --out runs/c --quiet");
    std::fs::remove_file(ws.path("runs/c/summary.json")).unwrap();
    ws.write("runs/notes.txt", "no run");
    let list = ws.done("list");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 4, "{list}");
    assert_eq!(rows[1][..5], ["a", "ppo-routed", "done", "0", "diamond"]);
    assert_eq!(rows[2][..5], ["b", "ppo-routed", "done", "4", "full"]);
    assert_eq!(rows[3][..4], ["c", "ppo-routed", "interrupted", "0"]);
    let settings = "loss.ent_coef=0.01 train.method=\"naive\"";
    assert!(list.lines().nth(2).unwrap().ends_with(settings), "{list}");
    let ended = ws.run("list nowhere");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
}

#[test]
fn completions_know_the_verbs() {
    for ws in [Workspace::new(), Workspace::for_mnist(), Workspace::for_lm("")] {
        for shell in ["bash", "zsh", "fish"] {
            let script = ws.done(&format!("completions {shell}"));
            assert!(script.contains("sweep") && script.contains("--threads"), "{shell}");
        }
    }
}
