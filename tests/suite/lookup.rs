//! The verbs that answer questions before and after runs: `config`, `list`, `completions`.
use crate::files::{metrics, timeless_metrics};
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

/// The names in the first column of the table of metrics, as patterns: words in capitals stand for any name.
fn metric_patterns() -> Vec<regex::Regex> {
    let page = include_str!("../../docs/files.md");
    let table = page.split_once("## Metrics").unwrap().1;
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let names = rows.take_while(|line| line.starts_with('|')).flat_map(|line| {
        let first = line.split('|').nth(1).unwrap();
        first.split('`').skip(1).step_by(2)
    });
    let any = regex::Regex::new("POLICY|KIND|ROUTE|PART|MODEL|NETWORK|DIGITS?").unwrap();
    names.map(|name| regex::Regex::new(&format!("^{}$", any.replace_all(name, "[^/]+"))).unwrap()).collect()
}

#[test]
fn every_metric_stands_in_the_table() {
    let patterns = metric_patterns();
    let mut found = vec![false; patterns.len()];
    let naive = "--set train.method=naive";
    let parts = "--config blind.toml --set train.method=reward_model --set eval.bits=true";
    for (ws, of) in [
        (Workspace::new(), ""),
        (Workspace::new(), naive),
        (Workspace::new(), parts),
        (Workspace::for_mnist(), ""),
        (crate::language::ws(), ""),
    ] {
        ws.write("blind.toml", "[env]\nblind_region = \"rows 0-1\"\n");
        ws.done(&format!("train --out run --quiet {of}"));
        for name in metrics(&ws.tree("run")).iter().flat_map(|record| record.keys()) {
            let fits: Vec<usize> =
                (0..patterns.len()).filter(|index| patterns[*index].is_match(name)).collect();
            assert!(!fits.is_empty() || ["step", "update"].contains(&name.as_str()), "{name} in no row");
            for index in fits {
                found[index] = true;
            }
        }
    }
    let missing: Vec<&str> = patterns
        .iter()
        .zip(&found)
        .filter(|(_, found)| !**found)
        .map(|(pattern, _)| pattern.as_str())
        .collect();
    // that of models with modules needs a config of its own
    assert_eq!(missing, [r"^[^/]+/eval/[^/]+$"; 0]);
}
