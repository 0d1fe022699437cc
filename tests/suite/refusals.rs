//! What the binary refuses: `cases/refused.toml`, each case in a folder of its own.
use serde::Deserialize;

use crate::workspace::{Tree, Workspace};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The arguments, split at spaces.
    args: String,
    /// Files to be there, by name.
    #[serde(default)]
    files: std::collections::BTreeMap<String, String>,
    /// The state of a run in the folder `run`, if there is to be one.
    run: Option<Run>,
    exit: i32,
    /// The lines on stderr; `…` stands for anything within a line.
    stderr: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Run {
    Finished,
    /// Cut off before its end.
    Unfinished,
    NoCheckpoints,
    CutCheckpoints,
    /// A bit flipped in the middle of each.
    DamagedCheckpoints,
    /// With the checkpoint of a single expert beside it.
    OtherArchitecture,
    EditedConfig,
    BrokenConfig,
    BrokenMetrics,
    /// They end before the checkpoint.
    FewerMetrics,
    NoMetrics,
    BrokenSnapshots,
    BrokenManifest,
}

fn prepare(ws: &Workspace, state: Run) {
    ws.lay("run", &crate::workspace::FINISHED);
    let checkpoint = ws.path("run/checkpoints/update-000004.safetensors");
    let summary = || std::fs::remove_file(ws.path("run/summary.json")).unwrap();
    match state {
        Run::Finished => {}
        Run::Unfinished => summary(),
        Run::NoCheckpoints => {
            summary();
            std::fs::remove_file(checkpoint).unwrap();
        }
        Run::CutCheckpoints => {
            summary();
            let bytes = std::fs::read(&checkpoint).unwrap();
            std::fs::write(checkpoint, &bytes[..bytes.len() / 2]).unwrap();
        }
        Run::DamagedCheckpoints => {
            summary();
            let mut bytes = std::fs::read(&checkpoint).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(checkpoint, bytes).unwrap();
        }
        Run::OtherArchitecture => {
            let other = Workspace::new();
            other.done("--set train.method=naive --out run");
            let bytes = &other.tree("run")[std::path::Path::new("checkpoints/update-000002.safetensors")];
            ws.write("other.safetensors", bytes);
        }
        Run::EditedConfig => {
            summary();
            let text = ws.read("run/config.toml");
            assert!(text.contains("gamma = 0.97"));
            ws.write("run/config.toml", text.replace("gamma = 0.97", "gamma = 0.9"));
        }
        Run::BrokenConfig => ws.write("run/config.toml", "[train\n"),
        Run::BrokenMetrics => ws.write("run/metrics.jsonl", "{\"step\":0,\"update\":0}\nnonsense\n"),
        Run::FewerMetrics => {
            summary();
            let text = ws.read("run/metrics.jsonl");
            ws.write("run/metrics.jsonl", text.split_inclusive('\n').take(2).collect::<String>());
        }
        Run::NoMetrics => {
            summary();
            std::fs::remove_file(ws.path("run/metrics.jsonl")).unwrap();
        }
        Run::BrokenSnapshots => ws.write("run/snapshots.jsonl", "nonsense\n"),
        Run::BrokenManifest => {
            summary();
            ws.write("run/manifest.json", "{}");
        }
    }
}

/// Whether `line` is `pattern`, in which `…` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match line.find(part) {
            Some(at) => line = &line[at + part.len()..],
            None => return false,
        }
    }
    line.ends_with(end)
}

#[test]
fn patterns() {
    assert!(matches("a … c … e", "a b c d e") && matches("a…", "a b") && matches("a", "a"));
    assert!(!matches("a … c", "a b d") && !matches("a", "a b") && !matches("…a…a", "a"));
}

#[test]
fn what_cannot_be_is_refused_with_a_clear_line_and_changes_nothing() {
    let cases: Cases = toml::from_str(include_str!("../cases/refused.toml")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases.case {
        let ws = Workspace::new();
        let files: Tree =
            case.files.iter().map(|(name, text)| (name.into(), text.clone().into_bytes())).collect();
        ws.lay("", &files);
        if let Some(state) = case.run {
            prepare(&ws, state);
        }
        let before = ws.tree("");
        let ended = ws.run(&case.args);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        let said = lines.len() == case.stderr.len()
            && case.stderr.iter().zip(&lines).all(|(pattern, line)| matches(pattern, line));
        if !said || ended.code != Some(case.exit) || !ended.stdout.is_empty() {
            wrong.push(format!("{}: {ended:#?}", case.name));
        }
        if ws.tree("") != before || (case.run.is_none() && ws.path("runs").exists()) {
            wrong.push(format!("{}: it left something behind", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
